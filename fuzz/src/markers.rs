//! What the fuzz target of marker files checks. `turnmill-markers` includes this file in its tests,
//! so that the corpus and its generated inputs go through the same function.

use turnmill_markers::explain::{Outcome, explain};
use turnmill_markers::{
    Compatibility, FileFormat, MAX_DEPTH, MarkerEvent, MarkerSet, Node, Program, SourceFile,
};

/// Checks that any bytes are parsed or refused, deterministically.
///
/// Errors must point into the text. Parsed markers must survive formatting and parsing, and can be
/// compiled, stepped and explained.
pub(crate) fn markers(bytes: &[u8]) {
    for format in [FileFormat::Yaml, FileFormat::Json] {
        let file = SourceFile { name: "m".to_owned(), bytes: bytes.into(), format };
        let result = MarkerSet::parse(std::slice::from_ref(&file));
        assert_eq!(result, MarkerSet::parse(&[file]));
        match result {
            Ok((set, _)) => run(&set),
            Err(errors) => {
                assert!(!errors.is_empty());
                // YAML has more kinds of line breaks than `\n`, but each has at least one byte.
                let lines = bytes.len() + 2;
                for error in errors {
                    assert!(
                        (1..=lines).contains(&error.location.line) && error.location.column >= 1,
                        "{error}"
                    );
                }
            }
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(node) = Node::parse(text)
    {
        assert_eq!(Node::parse(&node.to_string()).as_ref(), Ok(&node));
    }
}

fn run(set: &MarkerSet) {
    let program = Program::of_set(set, Compatibility::Documented);
    assert_eq!(program.len(), set.markers().len());
    let name = "a";
    let events = [
        MarkerEvent::Action { name },
        MarkerEvent::User { intent: Some(name), full_retrieval_intent: None },
        MarkerEvent::Slot { name, is_set: true },
        MarkerEvent::Other,
    ];
    let mut state = program.start();
    let mut applied = vec![Vec::new(); program.len()];
    for (index, event) in events.into_iter().enumerate() {
        let stepped = program.step(&mut state, event, |hit| applied[hit.pattern].push(index));
        assert_eq!(stepped, Ok(()));
    }
    for (marker, applied) in set.markers().iter().zip(applied) {
        assert!(marker.config.depth() <= MAX_DEPTH);
        assert_eq!(Node::parse(&marker.config.to_string()).as_ref(), Ok(&marker.config));
        let explanation = explain(&marker.config, Compatibility::Documented, events);
        let explained = explanation.events.iter().filter(|event| event.outcome == Outcome::Applies);
        assert_eq!(explained.map(|event| event.index).collect::<Vec<_>>(), applied);
    }
}

//! Compares the compiled program and the explanation with the naive evaluation, for random markers
//! and sessions.

use proptest::prelude::*;
use turnmill_markers::explain::{Outcome, explain};
use turnmill_markers::{Compatibility, MarkerEvent, Node, Pattern, PatternId, Program, State};

use crate::naive::{event, node, results, value, without_negation};

fn patterns(nodes: &[Node], first: u8) -> Vec<Pattern<'_>> {
    (first..).zip(nodes).map(|(id, config)| Pattern { id: PatternId([id; 16]), config }).collect()
}

fn compile(nodes: &[Node]) -> Program {
    Program::compile(&patterns(nodes, 0), Compatibility::Documented)
}

fn run(program: &Program, state: &mut State, events: &[MarkerEvent<'_>]) -> Vec<Vec<usize>> {
    let mut found = Vec::new();
    for event in events {
        let mut hits = Vec::new();
        program.step(state, *event, |hit| hits.push(hit.pattern)).unwrap();
        assert!(hits.is_sorted());
        found.push(hits);
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn the_program_means_what_the_markers_mean(
        // Sometimes more patterns than one word holds.
        nodes in prop_oneof![9 => prop::collection::vec(node(), 1..8), 1 => prop::collection::vec(node(), 60..70)],
        events in prop::collection::vec(event(), 0..24),
    ) {
        let found = crate::results(&compile(&nodes), &events);
        for (node, found) in nodes.iter().zip(found) {
            prop_assert_eq!(found, results(node, &events), "{}", node);
        }
    }

    #[test]
    fn rasas_reading_of_negated_tags(nodes in prop::collection::vec(node(), 1..8), events in prop::collection::vec(event(), 0..24)) {
        let program = Program::compile(&patterns(&nodes, 0), Compatibility::Rasa36);
        for (node, found) in nodes.iter().zip(crate::results(&program, &events)) {
            prop_assert_eq!(found, results(&without_negation(node), &events), "{}", node);
        }
    }

    /// Sequences continue in the next session, as if the two sessions were one, unless other nodes
    /// have state.
    #[test]
    fn rasas_sequences_survive_sessions(
        names in prop::collection::vec("[abc]", 2..5),
        events in prop::collection::vec(event(), 0..24),
        cut in any::<prop::sample::Index>(),
    ) {
        let subs = names.iter().map(|name| Node::condition(turnmill_markers::Tag::Intent, name.as_str()).unwrap());
        let node = Node::operator(turnmill_markers::Tag::Seq, subs.collect()).unwrap();
        let program = Program::compile(&patterns(std::slice::from_ref(&node), 0), Compatibility::Rasa36);
        let (before, after) = events.split_at(cut.index(events.len() + 1));
        let mut state = program.start();
        let mut found = run(&program, &mut state, before);
        program.next_session(&mut state).unwrap();
        prop_assert_eq!(state.user_turns(), 0);
        found.extend(run(&program, &mut state, after));
        let expected: Vec<_> = results(&node, &events).into_iter().map(|(at, _)| at).collect();
        let found: Vec<_> = (0..).zip(found).filter(|(_, hits)| !hits.is_empty()).map(|(at, _)| at).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn documented_sessions_are_independent(
        nodes in prop::collection::vec(node(), 1..8),
        events in prop::collection::vec(event(), 0..24),
    ) {
        let program = compile(&nodes);
        let mut state = program.start();
        run(&program, &mut state, &events);
        program.next_session(&mut state).unwrap();
        prop_assert_eq!(state, program.start());
    }

    /// A state that is stored and loaded after each event does not change.
    #[test]
    fn states_can_be_stored(nodes in prop::collection::vec(node(), 1..8), events in prop::collection::vec(event(), 0..24)) {
        let program = compile(&nodes);
        let (mut kept, mut stored) = (program.start(), program.start());
        for event in events {
            let (mut hits, mut again) = (Vec::new(), Vec::new());
            program.step(&mut kept, event, |hit| hits.push(hit)).unwrap();
            program.step(&mut stored, event, |hit| again.push(hit)).unwrap();
            prop_assert_eq!(hits, again);
            stored = postcard::from_bytes(&postcard::to_allocvec(&stored).unwrap()).unwrap();
            stored = serde_json::from_str(&serde_json::to_string(&stored).unwrap()).unwrap();
            prop_assert_eq!(&kept, &stored);
        }
    }

    /// When markers change in a session, unchanged ones continue and new ones catch up. The result
    /// is as if the new set had been there from the start.
    #[test]
    fn markers_may_change_in_a_session(
        kept in prop::collection::vec(node(), 0..5),
        old in prop::collection::vec(node(), 0..5),
        new in prop::collection::vec(node(), 0..5),
        events in prop::collection::vec(event(), 0..24),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut before = patterns(&old, 100);
        before.extend(patterns(&kept, 0));
        let mut after = patterns(&kept, 0);
        after.extend(patterns(&new, 200));
        after.reverse();
        let before = Program::compile(&before, Compatibility::Documented);
        let after = Program::compile(&after, Compatibility::Documented);
        let (past, future) = events.split_at(cut.index(events.len() + 1));

        let mut state = before.start();
        run(&before, &mut state, past);
        let mut adopted = after.adopt(&before, &state).unwrap();
        prop_assert_eq!(adopted.missing.len(), new.len());
        let only = after.only(&adopted.missing);
        let mut caught_up = only.start();
        run(&only, &mut caught_up, past);
        after.absorb(&mut adopted.state, &only, &caught_up).unwrap();

        let mut whole = after.start();
        run(&after, &mut whole, past);
        prop_assert_eq!(&adopted.state, &whole);
        prop_assert_eq!(run(&after, &mut adopted.state, future), run(&after, &mut whole, future));
    }

    #[test]
    fn explanations_are_right(node in node(), events in prop::collection::vec(event(), 0..16)) {
        let explanation = explain(&node, Compatibility::Documented, events.iter().copied());
        prop_assert_eq!(explanation.events.len(), events.len());
        let applied: Vec<_> = explanation.events.iter().filter(|event| event.outcome == Outcome::Applies).collect();
        let found: Vec<_> = applied.iter().map(|event| (event.index, event.num_preceding_user_turns)).collect();
        prop_assert_eq!(found, results(&node, &events));
        for event in &explanation.events {
            same_values(&node, &event.node, &events, event.index);
        }
    }

    /// Any stored bytes as a state lead to an error or an evaluation, never to a panic.
    #[test]
    fn foreign_states_are_refused_or_borne(
        nodes in prop::collection::vec(node(), 1..8),
        words in prop::collection::vec(any::<u64>(), 0..6),
        keep in any::<bool>(),
        events in prop::collection::vec(event(), 1..8),
    ) {
        let program = compile(&nodes);
        let fingerprint = if keep { program.fingerprint() } else { 7 };
        let text = serde_json::json!({"program": fingerprint, "user_turns": 0, "words": words}).to_string();
        let mut state: State = serde_json::from_str(&text).unwrap();
        let fits = program.fits(&state);
        for event in events {
            prop_assert_eq!(program.step(&mut state, event, |_| ()).is_ok(), fits);
        }
    }
}

fn same_values(
    node: &Node,
    explained: &turnmill_markers::explain::NodeExplanation,
    events: &[MarkerEvent<'_>],
    at: usize,
) {
    assert_eq!(explained.tag, node.tag().as_str());
    assert_eq!(explained.value, value(node, events, at), "{node} at {at}");
    assert_eq!(explained.sub_markers.len(), node.sub_markers().len());
    for (sub, explained) in node.sub_markers().iter().zip(&explained.sub_markers) {
        same_values(sub, explained, events, at);
    }
}

#[test]
fn a_program_refuses_the_state_of_another() {
    let nodes = [crate::config("{intent: a}"), crate::config("{intent: b}")];
    let (one, two) = (compile(&nodes[..1]), compile(&nodes));
    let error = two.step(&mut one.start(), MarkerEvent::Other, |_| ()).unwrap_err();
    assert_eq!((error.expected, error.found), (two.fingerprint(), one.fingerprint()));
    assert!(two.adopt(&two, &one.start()).is_err());
    assert!(two.absorb(&mut two.start(), &two, &one.start()).is_err());
    assert!(two.next_session(&mut one.start()).is_err());
    // The same markers with other ids, or with another compatibility, are another program.
    let renamed = Program::compile(&patterns(&nodes, 5), Compatibility::Documented);
    assert_ne!(renamed.fingerprint(), two.fingerprint());
    let as_shipped = Program::compile(&patterns(&nodes, 0), Compatibility::Rasa36);
    assert_ne!(as_shipped.fingerprint(), two.fingerprint());
}

#[test]
fn states_are_small() {
    let yaml: String = (0..50)
        .map(|n| format!("m{n}: {{seq: [{{intent: a}}, {{and: [{{slot_was_set: s{n}}}, {{intent: b}}]}}, {{action: c}}]}}\n"))
        .collect();
    let program = crate::documented(&yaml);
    assert_eq!((program.len(), program.nodes()), (50, 300));
    // One bit for the slot, two for the sequence, and three for the sets.
    assert_eq!(program.start().size(), 32 + 6 * 8);
}

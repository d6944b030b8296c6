//! Every kind of error, its location, and its suggestion.

use std::time::{Duration, Instant};

use turnmill_markers::{Diagnostic, ErrorKind, MAX_DEPTH, MAX_FILE_BYTES, MarkerSet, SourceFile};

fn errors(files: &[(&str, &str)]) -> Vec<Diagnostic> {
    let files: Vec<_> = files.iter().map(|(name, text)| SourceFile::new(*name, text.as_bytes())).collect();
    MarkerSet::parse(&files).unwrap_err()
}

/// Returns kind, line and column of each error in one YAML file.
fn check(text: &str, expected: &[(ErrorKind, usize, usize)]) {
    let found: Vec<_> = errors(&[("m.yml", text)])
        .into_iter()
        .map(|error| {
            assert_eq!(error.file, "m.yml");
            (error.kind, error.location.line, error.location.column)
        })
        .collect();
    assert_eq!(found, expected, "{text}");
}

#[test]
fn each_kind_has_its_location() {
    use ErrorKind::*;
    check("", &[(FileNotAMapping, 1, 1)]);
    check("- a\n", &[(FileNotAMapping, 1, 1)]);
    check("\n  text\n", &[(FileNotAMapping, 2, 3)]);
    check("a: {intent: x}\na: {intent: y}\n", &[(DuplicateKeyInYaml, 2, 1)]);
    check("a:\n  intent: x\n  intent: y\n", &[(DuplicateKeyInYaml, 3, 3)]);
    check("seq:\n- intent: x\n", &[(MarkerNameIsATag, 1, 1)]);
    check("<any_marker>: {intent: x}\n", &[(ReservedMarkerName, 1, 1)]);
    check("a: text\n", &[(MarkerConfigNotAMapping, 1, 4)]);
    check("a:\nb: {intent: x}", &[(MarkerConfigNotAMapping, 1, 1)]);
    check("a: {}\n", &[(MarkerConfigNotAMapping, 1, 4)]);
    check("a: {description: d}\n", &[(MarkerConfigNotAMapping, 1, 4)]);
    check("a: {intent: x, action: y, description: d}\n", &[(MarkerConfigNotAMapping, 1, 4)]);
    check("a: {or: [x]}\n", &[(MarkerConfigNotAMapping, 1, 10)]);
    check("a:\n  slot_is_set: x\n", &[(UnknownTag, 2, 3)]);
    check("a: {Intent: x}\n", &[(UnknownTag, 1, 5)]);
    check("a: {<any_marker>: x}\n", &[(UnknownTag, 1, 5)]);
    check("a:\n  seq: x\n", &[(OperatorNeedsList, 2, 8)]);
    check("a:\n  seq: {intent: x}\n", &[(OperatorNeedsList, 2, 8)]);
    for value in ["1", "1.5", "true", "[x]", "{x: y}", "null", "~"] {
        let column = if matches!(value, "null" | "~") { 5 } else { 13 };
        check(&format!("a: {{intent: {value}}}\n"), &[(ConditionNeedsText, 1, column)]);
    }
    check("a: {not: [{intent: x}, {intent: y}]}\n", &[(WrongNumberOfSubMarkers, 1, 10)]);
    for tag in ["and", "at_least_one_not", "or", "not", "seq", "at_least_once", "never"] {
        check(&format!("a:\n  {tag}: []\n"), &[(WrongNumberOfSubMarkers, 2, tag.len() + 5)]);
    }
    check("a: {intent: x, description: 5}\n", &[(DescriptionNotText, 1, 29)]);
    check("a: {or: [{intent: x, description: [d]}]}\n", &[(DescriptionNotText, 1, 35)]);
}

#[test]
fn what_is_no_yaml() {
    use ErrorKind::InvalidYaml;
    check("a: {intent: x\nb: y\n", &[(InvalidYaml, 2, 2)]);
    check("a: *nothing\n", &[(InvalidYaml, 1, 4)]);
    check("a: &x {or: [*x]}\n", &[(InvalidYaml, 1, 13)]);
    check("a: {intent: x}\n---\nb: {intent: x}\n", &[(InvalidYaml, 2, 1)]);
    check("a: {intent: \"\\0\"}\n", &[(InvalidYaml, 1, 13)]);
    check("a: {intent: !own x}\n", &[(InvalidYaml, 1, 13)]);
    check("{a: b}: {intent: x}\n", &[(InvalidYaml, 1, 1)]);
    let file = SourceFile::new("m.yml", &b"a: {intent: x}\nb: \xff"[..]);
    let error = MarkerSet::parse(&[file]).unwrap_err().remove(0);
    assert_eq!((error.kind, error.location.line, error.location.column), (InvalidYaml, 2, 4));
}

#[test]
fn json_is_json() {
    let json = |text: &str| {
        let found = errors(&[("m.json", text)]);
        let Diagnostic { kind, location, .. } = found[0];
        (kind, location.line, location.column)
    };
    assert_eq!(json("{\"é\": {\"intnet\": \"x\"}}"), (ErrorKind::UnknownTag, 1, 8));
    assert_eq!(json("{\n \"a\":\n\t{\"intent\": 5}}"), (ErrorKind::ConditionNeedsText, 3, 13));
    assert_eq!(json("{\"a\": {\"intent\": \"x\"}, \"a\": {}}").0, ErrorKind::DuplicateKeyInYaml);
    for text in [
        "a: {intent: x}",
        "{'a': {'intent': 'x'}}",
        "{\"a\": 1,}",
        "{} {}",
        "{\"a\": \"\\ud83d\"}",
        "{\"a\": NaN}",
        "",
    ] {
        assert_eq!(json(text).0, ErrorKind::InvalidYaml, "{text}");
    }
    // YAML accepts most of it, too.
    let text = "{\n\t\"a\": {\"seq\": [{\"intent\": \"\\ud83d\\ude00\\/\"}]}\n}";
    let read = |name: &str| MarkerSet::parse(&[SourceFile::new(name, text.as_bytes())]).unwrap().0;
    assert_eq!(read("m.json").markers()[0].config.to_string(), "{\"seq\":[{\"intent\":\"😀/\"}]}");
    let error = json("{\"a\": {\"intent\": \"x\"}");
    assert_eq!(error, (ErrorKind::InvalidYaml, 1, 21));
}

#[test]
fn all_errors_are_reported_with_their_marker() {
    let found = errors(&[
        ("one.yml", "a: {intnet: x}\nb: {seq: [{intent: 1}, {nto: []}]}\nc: {intent: fine}\n"),
        ("two.yml", "c: {action: x}\nd: [\n"),
        ("three.yml", "c: {action: x}\n"),
    ]);
    let found: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "one.yml:1:5: `intnet` is no tag; did you mean `intent`? (unknown_tag)",
            "one.yml:2:20: `intent` needs a text, not a number; put it in quotes (condition_needs_text)",
            "one.yml:2:25: `nto` is no tag; did you mean `not`? (unknown_tag)",
            found[3].as_str(),
            "three.yml:1:1: the marker is also in one.yml:3:1 (marker_name_not_unique)",
        ]
    );
    assert!(found[3].starts_with("two.yml:") && found[3].ends_with("(invalid_yaml)"), "{}", found[3]);
    let named = errors(&[("m.yml", "b: {seq: [{intent: 1}]}")]);
    assert_eq!(named[0].name.as_deref(), Some("b"));
}

#[test]
fn misspelt_tags_are_understood() {
    for (written, meant) in [
        ("slot_is_set", Some("slot_was_set")),
        ("intent_detected", Some("intent")),
        ("action_executed", Some("action")),
        ("at_least_one", Some("or")),
        ("occur", Some("at_least_once")),
        ("slot_was_nto_set", Some("slot_was_not_set")),
        ("at-least-once", Some("at_least_once")),
        ("SEQ", Some("seq")),
        ("sequence", None),
        ("Never", Some("never")),
        ("descripton", Some("description")),
        ("xyz", None),
        (&"x".repeat(900), None),
    ] {
        let error = errors(&[("m.yml", &format!("a: {{{written}: x}}"))]).remove(0);
        assert_eq!((error.kind, error.suggestion), (ErrorKind::UnknownTag, meant), "{written}");
    }
}

#[test]
fn a_second_tag_is_a_warning() {
    let file = SourceFile::new("m.yml", &b"a: {intent: x, action: y}"[..]);
    let (set, warnings) = MarkerSet::parse(&[file]).unwrap();
    assert_eq!(set.markers()[0].config.to_string(), r#"{"intent":"x"}"#);
    let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["m.yml:1:16: `action` is ignored, since `intent` is the marker's tag"]);
}

/// Returns `levels` nested markers: `not`s around a condition.
fn nested(levels: usize) -> String {
    format!("a: {}{{intent: x}}{}", "{not: [".repeat(levels - 1), "]}".repeat(levels - 1))
}

#[test]
fn bombs_are_refused_at_once() {
    let started = Instant::now();
    let kind = |text: &str| errors(&[("m.yml", text)])[0].kind;
    assert!(MarkerSet::parse(&[SourceFile::new("m.yml", nested(MAX_DEPTH).as_bytes())]).is_ok());
    assert_eq!(kind(&nested(MAX_DEPTH + 1)), ErrorKind::TooDeep);
    assert_eq!(kind(&nested(20_000)), ErrorKind::TooDeep);
    assert_eq!(kind(&"[".repeat(MAX_FILE_BYTES)), ErrorKind::TooDeep);
    assert_eq!(kind(&format!("a:\n{}", "- ".repeat(MAX_FILE_BYTES / 2 - 8))), ErrorKind::TooDeep);
    assert_eq!(kind(&" ".repeat(MAX_FILE_BYTES + 1)), ErrorKind::TooLarge);
    assert_eq!(errors(&[("m.json", &"[".repeat(MAX_FILE_BYTES))])[0].kind, ErrorKind::InvalidYaml);
    let brackets = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(errors(&[("m.json", &brackets)])[0].kind, ErrorKind::TooDeep);
    // Each alias refers to two of the one before ("a billion laughs").
    let mut laughs = "a: &a0 {intent: ha}\n".to_owned();
    for level in 1..40 {
        let below = level - 1;
        laughs += &format!("m{level}: &a{level} {{or: [*a{below}, *a{below}, *a{below}, *a{below}]}}\n");
    }
    assert_eq!(kind(&laughs), ErrorKind::TooLarge);
    // A chain of aliases, one level at a time.
    let mut chain = "a: &a0 {intent: ha}\n".to_owned();
    for level in 1..300 {
        chain += &format!("m{level}: &a{level} {{not: [*a{}]}}\n", level - 1);
    }
    assert_eq!(kind(&chain), ErrorKind::TooDeep);
    assert_eq!(kind(&format!("a: {{or: [{}]}}", "{intent: x}, ".repeat(40_000))), ErrorKind::TooLarge);
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

#[test]
fn kinds_have_distinct_names() {
    let names: std::collections::BTreeSet<_> = ErrorKind::ALL.into_iter().map(ErrorKind::as_str).collect();
    assert_eq!(names.len(), ErrorKind::ALL.len());
    let error = errors(&[("m.yml", "a: {intnet: x}")]).remove(0);
    assert_eq!(
        serde_json::to_value(&error).unwrap(),
        serde_json::json!({"kind": "unknown_tag", "message": "`intnet` is no tag", "name": "a", "file": "m.yml",
            "line": 1, "column": 5, "suggestion": "intent"})
    );
}

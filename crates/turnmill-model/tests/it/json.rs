//! Tests the JSON reader with tables of cases.

use std::borrow::Cow;

use serde_json::{Value, json};
use turnmill_model::json::{Fault, Kind, Limits, Raw, Tree, canonical, to_value};

fn raw(text: &str) -> Raw<'_> {
    Raw::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn canonical_spellings() {
    for (written, spelled) in [
        (" null ", "null"),
        ("-Infinity", "null"),
        (
            "123456789012345678901234567890123456789012345678901234567890",
            "123456789012345678901234567890123456789012345678901234567890",
        ),
        ("1E+5", "1E+5"),
        (r#""\/\u0041\u007f""#, "\"/A\u{7f}\""),
        (r#""\u0008\u000C\u000a\u000d\u0009\u000b\u001F""#, r#""\b\f\n\r\t\u000b\u001f""#),
        (r#""\u0022\u005c""#, r#""\"\\""#),
        (r#""\ud83d\ude00\ude00""#, "\"😀\u{fffd}\""),
        (r#""a\u0000b""#, r#""ab""#),
        ("[ ]", "[]"),
        ("{\n}", "{}"),
        ("[1,[2 ,{}],\"x\"]", "[1, [2, {}], \"x\"]"),
        (r#"{"b":1,"a":{"c":NaN}}"#, r#"{"b": 1, "a": {"c": null}}"#),
        (r#"{"a":1,"b":2,"\u0061":3,"c":4,"b":[5,6]}"#, r#"{"a": 3, "b": [5, 6], "c": 4}"#),
        (r#"{"a":1,"a\u0000":2}"#, r#"{"a": 2}"#),
        (r#"{"\ud83d":1,"\ude00":2}"#, "{\"\u{fffd}\": 2}"),
        (r#"{"a":{"x":1,"x":2},"a":{"y":1,"y":3}}"#, r#"{"a": {"y": 3}}"#),
    ] {
        let once = canonical(raw(written));
        assert_eq!(once, spelled, "{written}");
        assert!(matches!(canonical(raw(&once)), Cow::Borrowed(again) if again == spelled), "{written}");
    }
}

#[test]
fn canonical_text_is_borrowed() {
    for text in ["null", "true", "-1.5e3", "\"größe\"", "[1, 2]", r#"{"a": "b\n"}"#, r#""a\"b""#] {
        assert!(matches!(canonical(raw(text)), Cow::Borrowed(_)), "{text}");
    }
}

#[test]
fn faults_say_where() {
    for (text, position, fault) in [
        ("", 0, Fault::ExpectedValue),
        ("  ", 2, Fault::ExpectedValue),
        ("[1,]", 3, Fault::ExpectedValue),
        ("[1 2]", 3, Fault::ExpectedComma),
        ("[1}", 2, Fault::ExpectedComma),
        ("{1}", 1, Fault::ExpectedKey),
        ("{\"a\":1,}", 7, Fault::ExpectedKey),
        ("{\"a\" 1}", 5, Fault::ExpectedColon),
        ("\"ab", 3, Fault::EndlessString),
        ("\"ab\\", 3, Fault::EndlessString),
        ("\"a\tb\"", 2, Fault::ControlCharacter),
        ("\"\\u12g4\"", 1, Fault::BadEscape),
        ("\"\\a\"", 1, Fault::BadEscape),
        ("-", 1, Fault::BadNumber),
        ("00", 2, Fault::BadNumber),
        ("1.e5", 2, Fault::BadNumber),
        ("1e", 2, Fault::BadNumber),
        ("1 x", 2, Fault::Trailing),
        ("-Inf", 0, Fault::ExpectedValue),
        ("nulll", 4, Fault::Trailing),
        ("\u{a0}1", 0, Fault::ExpectedValue),
    ] {
        let error = Raw::parse(text).unwrap_err();
        assert_eq!((error.position, error.fault), (position, fault), "{text}");
    }
    assert_eq!(Raw::parse("[1,]").unwrap_err().to_string(), "expected a value at byte 3");
}

#[test]
fn kinds_and_numbers() {
    for (text, kind, number) in [
        ("NaN", Kind::Number, None),
        ("Infinity", Kind::Number, None),
        ("-Infinity", Kind::Number, None),
        ("-0.0", Kind::Number, Some(-0.0)),
        ("1e999", Kind::Number, Some(f64::INFINITY)),
        ("0.1", Kind::Number, Some(0.1)),
        ("true", Kind::Boolean, None),
        ("\"5\"", Kind::Text, None),
        ("[5]", Kind::List, None),
        ("{}", Kind::Object, None),
        ("null", Kind::Null, None),
    ] {
        assert_eq!((raw(text).kind(), raw(text).as_number()), (kind, number), "{text}");
    }
}

#[test]
fn trees_are_walked() {
    let tree =
        Tree::parse(r#" {"a": [1, {"b": 2}, []], "c": {}, "a": [3, [4]]} "#, &Limits::default()).unwrap();
    let keys: Vec<_> = tree.root().entries().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["\"a\"", "\"c\"", "\"a\""]);
    let last: Vec<_> = tree.root().get("a").unwrap().items().map(|item| item.raw().as_str()).collect();
    assert_eq!(last, ["3", "[4]"]);
    assert!(tree.root().get("b").is_none());
    assert_eq!(tree.root().items().count(), 0);
    assert_eq!(tree.root().get("c").unwrap().entries().count(), 0);
}

#[test]
fn limits_hold() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(to_value(&deep(512), &Limits::STACK).is_some());
    assert_eq!(to_value(&deep(513), &Limits::STACK), None);
    assert_eq!(to_value(&deep(513), &Limits { max_depth: usize::MAX, max_values: usize::MAX }), None);
    assert_eq!(Raw::parse(&deep(100_000)).unwrap_err().fault, Fault::TooDeep);
    // The list itself is a value as well.
    let wide = |values: usize| format!("[{}1]", "1,".repeat(values - 2));
    assert!(to_value(&wide(100_000), &Limits::STACK).is_some());
    assert_eq!(to_value(&wide(100_001), &Limits::STACK), None);
}

#[test]
fn what_is_replaced_may_be_of_any_depth() {
    let deep = format!("{}1{}", r#"{"a": ["#.repeat(400), "]}".repeat(400));
    let fault = |text: &str| Tree::parse(text, &Limits::default()).map(|_| ()).map_err(|error| error.fault);
    assert_eq!(fault(&deep), Err(Fault::TooDeep));
    assert_eq!(fault(&format!(r#"{{"x": {deep}, "x": 1}}"#)), Ok(()));
    assert_eq!(fault(&format!(r#"{{"x": {deep}, "\u0078": 1}}"#)), Ok(()), "a key is what it stands for");
    assert_eq!(fault(&format!(r#"{{"x": 1, "x": {deep}}}"#)), Err(Fault::TooDeep));
    assert_eq!(fault(&format!(r#"{{"x": [{deep}], "y": 0, "x": [1]}}"#)), Ok(()), "with what holds it");
    assert_eq!(fault(&format!(r#"{{"x": {deep}, "y": {deep}, "x": 1}}"#)), Err(Fault::TooDeep));
    let text = format!(r#"{{"x": {deep}, "x": [2, [3]], "y": {{}}}}"#);
    assert_eq!(canonical(Raw::parse(&text).unwrap()), r#"{"x": [2, [3]], "y": {}}"#);
    // A text that is no JSON gives that fault first, wherever it is broken.
    for broken in [
        &deep[..deep.len() - 1],
        &format!("{deep} x"),
        &deep.replace('1', "01"),
        &deep.replace("]}]}", "]}}"),
    ] {
        assert!(!matches!(fault(broken), Ok(()) | Err(Fault::TooDeep)), "{broken}");
        let replaced = format!(r#"{{"x": {broken}, "x": 1}}"#);
        assert!(!matches!(fault(&replaced), Ok(()) | Err(Fault::TooDeep)), "{replaced}");
    }
}

#[test]
fn values_for_other_crates() {
    for (text, value) in [
        ("9223372036854775807", json!(i64::MAX)),
        ("18446744073709551615", json!(u64::MAX)),
        ("18446744073709551616", json!(18_446_744_073_709_551_616.0)),
        ("1.0", json!(1.0)),
        ("1e999", Value::Null),
        ("NaN", Value::Null),
        (r#"{"a": 1, "a\u0000": "\ud83d"}"#, json!({"a": "\u{fffd}"})),
        (
            r#"[{"op": "add", "path": "/0", "value": {"x": [true, null]}}]"#,
            json!([{"op": "add", "path": "/0", "value": {"x": [true, null]}}]),
        ),
    ] {
        assert_eq!(to_value(text, &Limits::STACK), Some(value), "{text}");
    }
    assert_eq!(to_value("[1", &Limits::STACK), None);
}

//! Laws of decoding and of the canonical spelling, for generated input.

use proptest::prelude::*;
use turnmill_model::json::{Limits, Raw, canonical, to_value};
use turnmill_model::{Record, Settings};

use crate::{corpus::bodies, decode, decode_as, forced_lenient, leak, refusal};

/// A JSON string literal: escapes of all kinds, lone surrogates and NUL among them.
fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[ -!#-\\[\\]-~]{0,6}",
        1 => "[à-öα-ω€😀\u{7f}]{1,3}",
        1 => prop::sample::select(vec!["\\\"", "\\\\", "\\/", "\\b", "\\f", "\\n", "\\r", "\\t"]).prop_map(str::to_owned),
        1 => any::<u16>().prop_map(|unit| format!("\\u{unit:04x}")),
        1 => any::<char>().prop_filter("unescaped", |it| *it >= ' ' && *it != '"' && *it != '\\').prop_map(String::from),
        1 => prop::sample::select(vec!["\\u0000", "\\ud83d", "\\ude00", "\\uD83D\\uDE00"]).prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][-+]?[0-9]{1,4})?",
        (1.6e9..1.8e9_f64).prop_map(|seconds| seconds.to_string()),
        (1_600_000_000..1_800_000_000_u32).prop_map(|seconds| seconds.to_string()),
    ]
}

/// A JSON value, its tokens apart by any white space; with Python's extra numbers if so wanted.
fn value(python: bool) -> impl Strategy<Value = String> {
    let words = if python {
        vec!["null", "true", "false", "NaN", "Infinity", "-Infinity"]
    } else {
        vec!["null", "true", "false"]
    };
    let leaf = prop_oneof![prop::sample::select(words).prop_map(str::to_owned), number(), string()];
    leaf.prop_recursive(5, 40, 6, |inner| {
        let key = prop_oneof![
            string(),
            prop::sample::select(vec!["\"a\"", "\"b\"", "\"\\u0061\""]).prop_map(str::to_owned)
        ];
        prop_oneof![
            prop::collection::vec((space(), inner.clone(), space()), 0..6).prop_map(|items| format!(
                "[{}]",
                joined(items.into_iter().map(|(a, item, b)| format!("{a}{item}{b}")))
            )),
            prop::collection::vec((space(), key, space(), inner, space()), 0..6).prop_map(|entries| {
                format!(
                    "{{{}}}",
                    joined(
                        entries.into_iter().map(|(a, key, b, value, c)| format!("{a}{key}{b}:{a}{value}{c}"))
                    )
                )
            }),
        ]
    })
}

fn space() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "", "", " ", "\n\t", "\r "])
}

fn joined(parts: impl Iterator<Item = impl Into<String>>) -> String {
    parts.map(Into::into).collect::<Vec<String>>().join(",")
}

/// An object of some of `keys` (separated by blanks), each with a likely value or, now and then, any; duplicates happen.
fn object(
    keys: &'static str,
    likely: impl Strategy<Value = String> + 'static,
    python: bool,
) -> BoxedStrategy<String> {
    let keys: Vec<_> = keys.split(' ').collect();
    let value = prop_oneof![6 => likely, 1 => value(python)];
    prop::collection::vec((prop::sample::select(keys), value), 0..8)
        .prop_map(|entries| {
            format!("{{{}}}", joined(entries.into_iter().map(|(key, value)| format!("\"{key}\": {value}"))))
        })
        .boxed()
}

/// A body whose parts are mostly of the right types; with Python's extra numbers if so wanted.
fn body(python: bool) -> impl Strategy<Value = String> {
    let word = |words: &'static str| {
        prop::sample::select(words.split(", ").collect::<Vec<_>>()).prop_map(|word| format!("\"{word}\""))
    };
    let scalar = prop_oneof![string(), number()].boxed();
    let metadata = object("model_id session_id utter_action template_name x", scalar.clone(), python);
    let intent = object("name confidence full_retrieval_intent_name id", scalar.clone(), python);
    let named =
        prop_oneof![word("start flow, set slot, clarify"), Just("[\"a\",\"b\"]".to_owned()), string()];
    let command = object("command flow name options", named, python);
    let commands =
        prop::collection::vec(command, 0..3).prop_map(|commands| format!("[{}]", commands.join(", ")));
    let parse_data = object("intent commands message_id x", prop_oneof![intent, commands, string()], python);
    let types =
        "user, bot, action, slot, stack, flow_started, session_started, session_ended, restart, other";
    let rest = object(
        "name text value data policy confidence update flow_id step_id input_channel message_id user_id \
         anonymized_at x sender_id event timestamp metadata parse_data",
        prop_oneof![3 => scalar, 1 => value(python), 1 => metadata.clone(), 1 => parse_data.clone()],
        python,
    );
    (word(types), string(), number(), metadata, parse_data, rest).prop_map(
        |(kind, sender, time, metadata, parse_data, rest)| {
            let rest = rest.strip_prefix('{').unwrap();
            let comma = if rest == "}" { "" } else { ", " };
            format!(
                "{{\"event\": {kind}, \"sender_id\": {sender}, \"timestamp\": {time}, \
                 \"metadata\": {metadata}, \"parse_data\": {parse_data}{comma}{rest}"
            )
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Bytes of any kind end in exactly one way.
    #[test]
    fn any_bytes_end_in_one_way(payload in prop::collection::vec(any::<u8>(), 0..300)) {
        bodies::rasa_decoder(&payload);
    }

    /// So do bodies with a few bytes changed.
    #[test]
    fn damaged_bodies_end_in_one_way(body in body(true), damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)) {
        let mut payload = body.into_bytes();
        for (at, byte) in damage {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        bodies::rasa_decoder(&payload);
    }

    /// The second pass reads what the first one reads.
    #[test]
    fn both_passes_agree(body in body(false)) {
        let outcome = decode(&body);
        prop_assert_eq!(&outcome, &decode(&forced_lenient(&body).unwrap()));
        prop_assert!(outcome.is_ok_and(|event| event.is_some()) || refusal(&body).as_str().starts_with("no_"), "{}", body);
    }

    /// Neither the order of keys nor what the envelope repeats shows in the event.
    #[test]
    fn the_sender_may_come_from_the_envelope(body in body(true)) {
        let Ok(Some(event)) = decode(&body) else { return Ok(()) };
        let bare = leak(&body.replace("\"sender_id\":", "\"somebody\":"));
        let sender = leak(event.sender_key.as_ref());
        let record = Record { payload: bare.as_bytes(), sender: Some(sender), ..Record::default() };
        prop_assert_eq!(decode_as(&Settings::default(), record).unwrap().unwrap(), event);
    }

    /// A canonical spelling is its own, and stands for the same value.
    #[test]
    fn canonical_is_idempotent_and_keeps_the_value(text in value(true)) {
        bodies::json_canonical(text.as_bytes());
        let raw = Raw::parse(&text).unwrap();
        let spelled = canonical(raw);
        prop_assert_eq!(canonical(Raw::parse(&spelled).unwrap()), spelled.clone());
        prop_assert_eq!(to_value(&spelled, &Limits::default()), to_value(&text, &Limits::default()));
    }

    /// Standard JSON is read as serde_json reads it.
    #[test]
    fn strict_values_agree_with_serde_json(text in value(false)) {
        if let Ok(expected) = serde_json::from_str::<serde_json::Value>(&text)
            && !text.contains("\\u0000") && !text.contains("-0")
        {
            prop_assert_eq!(to_value(&text, &Limits::default()), Some(expected));
        }
    }

    /// What serde_json accepts, the second pass accepts.
    #[test]
    fn the_second_pass_accepts_what_the_first_does(text in value(false), damage in prop::collection::vec((any::<prop::sample::Index>(), any::<char>()), 0..3)) {
        let mut characters: Vec<char> = text.chars().collect();
        for (at, character) in damage {
            let at = at.index(characters.len());
            characters[at] = character;
        }
        let text: String = characters.into_iter().collect();
        let accepted = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        prop_assert!(!accepted || Raw::parse(&text).is_ok(), "{:?}", text);
    }
}

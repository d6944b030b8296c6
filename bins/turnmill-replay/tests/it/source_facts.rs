//! Tests of facts that the events do not contain: assistant, time unit, anonymised copies.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::{capture, json, lines, replayed, turnmill, url, verified};

const EVENTS: &str = "inmemory/file-broker.jsonl.gz";

fn file(folder: &Path, name: &str, lines: &[String]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, lines.join("\n")).unwrap();
    path
}

#[test]
fn two_assistants_share_a_store_and_no_sender() {
    let folder = tempfile::tempdir().unwrap();
    let events = capture(EVENTS);
    let alone = folder.path().join("alone.sqlite");
    let one = replayed(&[&events], &alone, &[]);
    let of = |tables: &serde_json::Value, table: &str| tables["tables"][table].as_u64().unwrap();
    let both = |order: [&str; 2]| {
        let store = folder.path().join(format!("{}.sqlite", order.join("-")));
        for assistant in order {
            let said = replayed(&[&events], &store, &["--assistant", assistant, "--source", assistant]);
            assert_eq!((&said["events"], &said["duplicates"]), (&one["events"], &json!(0)));
        }
        let again = replayed(&[&events], &store, &["--assistant", order[0], "--source", "again", "--totals"]);
        assert_eq!((&again["events"], &again["duplicates"]), (&json!(0), &one["events"]));
        assert_eq!(of(&again, "rasa_sender"), 2 * of(&one, "rasa_sender"));
        assert_eq!(of(&again, "rasa_session"), 2 * of(&one, "rasa_session"));
        verified(&store)["digest"].clone()
    };
    assert_eq!(both(["bank", "shop"]), both(["shop", "bank"]));

    // A store without assistants gets one later, as if it had been there from the beginning.
    json(turnmill(&["rebuild", &url(&alone), "--assistant", "bank", "--json"]), 0);
    let named = folder.path().join("named.sqlite");
    replayed(&[&events], &named, &["--assistant", "bank"]);
    assert_eq!(verified(&alone)["digest"], verified(&named)["digest"]);
}

#[test]
fn the_assistant_of_the_metadata_is_taken_if_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let event = |assistant: &str, seconds: u32| {
        json!({"sender_id": "u", "event": "restart", "timestamp": seconds, "metadata": {"assistant_id": assistant}})
            .to_string()
    };
    let input = file(folder.path(), "events.jsonl", &[event("a", 1_700_000_000), event("b", 1_700_000_001)]);
    for (flags, senders) in [(&[][..], 1), (&["--assistant-from-metadata"][..], 2)] {
        let store = folder.path().join(format!("{senders}.sqlite"));
        assert_eq!(replayed(&[&input], &store, flags)["tables"]["rasa_sender"], senders);
    }
}

#[test]
fn a_unit_is_told_and_not_guessed() {
    let folder = tempfile::tempdir().unwrap();
    let events = |scale: f64| -> Vec<String> {
        let event = |n: u32| {
            let timestamp = (1_700_000_000.25 + f64::from(n)) * scale;
            json!({"sender_id": "u", "event": "bot", "text": format!("{n}"), "timestamp": timestamp})
                .to_string()
        };
        (0..5).map(event).collect()
    };
    let seconds = folder.path().join("s.sqlite");
    replayed(&[&file(folder.path(), "s.jsonl", &events(1.0))], &seconds, &[]);
    for (unit, scale) in [("ms", 1e3), ("us", 1e6)] {
        let input = file(folder.path(), &format!("{unit}.jsonl"), &events(scale));
        let guessed = folder.path().join(format!("{unit}-guessed.sqlite"));
        let said = replayed(&[&input], &guessed, &["--no-dead-letter-limits"]);
        assert_eq!(said["dead_letters_by_reason"], json!({"no_usable_timestamp": 5}));
        let told = folder.path().join(format!("{unit}.sqlite"));
        replayed(&[&input], &told, &["--time-unit", unit]);
        assert_eq!(verified(&told)["digest"], verified(&seconds)["digest"], "{unit}");
    }
}

#[test]
fn copies_of_an_anonymised_source_take_the_place_of_the_plain_ones() {
    let folder = tempfile::tempdir().unwrap();
    let plain = capture(EVENTS);
    let veiled: Vec<String> = lines(EVENTS)
        .iter()
        .map(|line| {
            let mut event: serde_json::Value = serde_json::from_str(line).unwrap();
            if event["text"].is_string() {
                event["text"] = json!("veiled");
            }
            event.to_string()
        })
        .collect();
    let veiled = file(folder.path(), "veiled.jsonl", &veiled);
    let (first, second) = (folder.path().join("first.sqlite"), folder.path().join("second.sqlite"));
    let events = replayed(&[&plain], &first, &[])["events"].clone();
    let said = replayed(&[&veiled], &first, &["--anonymised"]);
    assert_eq!((&said["events"], &said["anonymised"]), (&json!(0), &events));
    assert_eq!(replayed(&[&veiled], &second, &["--anonymised"])["events"], events);
    assert_eq!(replayed(&[&plain], &second, &[])["duplicates"], events);
    assert_eq!(verified(&first)["digest"], verified(&second)["digest"]);
    let store = rusqlite::Connection::open(&first).unwrap();
    let texts: Vec<String> = store
        .prepare("SELECT DISTINCT text FROM rasa_user_message WHERE text IS NOT NULL")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(texts, ["veiled"]);
}

//! Tests of the summary: the run's own work, and totals of the store only on request or when the
//! run filled it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{replay, replayed, run, url, verified};

/// Writes a file of `events` events of senders whose keys begin with `name`. Each sender has a
/// conversation of twenty events.
fn conversations(folder: &Path, name: &str, events: u32) -> PathBuf {
    let mut lines = String::new();
    for n in 0..events {
        let (sender, step) = (n / 20, n % 20);
        let time = 1_700_000_000.25 + f64::from(n);
        let event = match step {
            0 => json!({"event": "session_started"}),
            n if n % 3 == 0 => {
                json!({"event": "user", "text": "hi", "message_id": format!("{name}{sender}.{step}")})
            }
            n if n % 3 == 1 => json!({"event": "bot", "text": "hello"}),
            _ => json!({"event": "action", "name": "action_listen"}),
        };
        let mut whole = json!({"sender_id": format!("{name}{sender}"), "timestamp": time});
        whole.as_object_mut().unwrap().extend(event.as_object().unwrap().clone());
        writeln!(lines, "{whole}").unwrap();
    }
    let path = folder.join(format!("{name}.jsonl"));
    std::fs::write(&path, lines).unwrap();
    path
}

#[test]
fn a_run_tells_of_the_whole_store_if_it_filled_it_or_is_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.sqlite");
    let [first, second] = ["a", "b"].map(|name| conversations(folder.path(), name, 40));

    let said = replayed(&[&first], &store, &[]);
    assert_eq!(said["rows"]["rasa_sender"], json!({"inserted": 2, "updated": 0, "deleted": 0}));
    assert_eq!((&said["tables"]["rasa_event"], &said["metrics"]["number_of_users"]), (&json!(40), &json!(2)));

    let said = replayed(&[&second], &store, &[]);
    assert_eq!(said["rows"]["rasa_event"], json!({"inserted": 40, "updated": 0, "deleted": 0}));
    assert_eq!((&said["tables"], &said["metrics"]), (&Value::Null, &Value::Null));

    let said = replayed(&[&second], &store, &["--totals"]);
    assert_eq!((&said["records"], &said["rows"]), (&json!(0), &json!({})));
    assert_eq!(said["tables"]["rasa_event"], verified(&store)["tables"]["rasa_event"]["rows"]);
    assert_eq!((&said["tables"]["rasa_event"], &said["metrics"]["number_of_users"]), (&json!(80), &json!(4)));

    // A known sender continues, and a new one begins.
    let more = conversations(folder.path(), "c", 20);
    let late = json!({"sender_id": "a0", "event": "user", "text": "late", "message_id": "late", "timestamp": 1_700_000_010.5});
    let lines = std::fs::read_to_string(&more).unwrap() + &late.to_string();
    std::fs::write(&more, lines).unwrap();
    let url = url(&store);
    let text = run(replay(&[more.to_str().unwrap(), "--to", &url]), 0).stdout;
    let text = String::from_utf8(text).unwrap();
    let line = |name: &str| -> Vec<&str> {
        text.lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .find(|words| words.first() == Some(&name))
            .unwrap()
    };
    assert_eq!(line("rasa_event")[1], "21", "{text}");
    assert_ne!(line("rasa_turn")[2], "0", "the turn before the late message ends earlier: {text}");
    assert!(text.contains("Rows of this run") && !text.contains("Metrics"), "{text}");
    let text = run(replay(&[more.to_str().unwrap(), "--to", &url, "--totals"]), 0).stdout;
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("Rows in the store") && text.contains("number of users"), "{text}");
    let text = run(replay(&[more.to_str().unwrap(), "--to", &url]), 0).stdout;
    assert!(String::from_utf8(text).unwrap().contains("No rows changed"));
}

#[test]
fn dead_letters_of_a_run_are_told_apart_from_earlier_ones() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.sqlite");
    let file = |name: &str, broken: &str| {
        let path = conversations(folder.path(), name, 20);
        let lines = std::fs::read_to_string(&path).unwrap() + broken;
        std::fs::write(&path, lines).unwrap();
        path
    };
    let (first, second) =
        (file("a", "no JSON\nnor this\n"), file("b", r#"{"sender_id": "b0", "event": "bot"}"#));
    let said = replayed(&[&first], &store, &[]);
    assert_eq!(said["dead_letters_by_reason"], json!({"not_json": 2}));
    assert_eq!(said["dead_letters_before"], 0);
    let text = run(replay(&[second.to_str().unwrap(), "--to", &url(&store)]), 0).stdout;
    let text = String::from_utf8(text).unwrap();
    assert!(text.starts_with("1 record became a dead letter, in addition to 2 of earlier runs:\n"), "{text}");
    assert!(text.contains("no_usable_timestamp") && !text.contains("not_json"), "{text}");
    let said = replayed(&[&second], &store, &[]);
    assert_eq!((&said["dead_letters_by_reason"], &said["dead_letters_before"]), (&json!({}), &json!(3)));
}

/// Returns the bytes that a run of `arguments` read. A shell's counts include the commands that it
/// waited for.
fn bytes_read(arguments: &[&str]) -> u64 {
    let mut shell = Command::new("sh");
    shell.args(["-c", "\"$@\" > /dev/null && cat /proc/$$/io", "sh"]);
    shell.arg(replay(&[]).get_program()).args(arguments);
    let output = shell.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn what_a_small_run_reads_does_not_grow_with_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.sqlite");
    let url = url(&store);
    let mut small = [0, 0];
    for (number, events) in [5_000, 35_000].into_iter().enumerate() {
        let fill = conversations(folder.path(), &format!("fill{number}-"), events);
        replayed(&[&fill], &store, &[]);
        for (form, quiet) in ["--json", "--quiet"].into_iter().enumerate() {
            let input = conversations(folder.path(), &format!("more{number}{form}-"), 20);
            let read = bytes_read(&[input.to_str().unwrap(), "--to", &url, quiet]);
            if number == 0 {
                small[form] = read;
            } else {
                assert!(
                    read < 2 * small[form],
                    "{quiet}: {small:?} bytes, then {read} in a store of 8 times the size"
                );
            }
        }
    }
    let size = std::fs::metadata(&store).unwrap().len();
    let whole = conversations(folder.path(), "whole", 20);
    let read = bytes_read(&[whole.to_str().unwrap(), "--to", &url, "--json", "--totals"]);
    assert!(read * 3 > size, "the measure sees what a look at all rows reads: {read} of {size}");
}

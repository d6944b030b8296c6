//! Checks that end users' texts are escaped on a terminal.

use std::process::Command;

use serde_json::Value;

use crate::support::{json, replay, run, turnmill};

/// Colours, a window title, a separate line, C1 controls, marks of direction, and characters
/// without width.
const HOSTILE: &str = "\u{1b}[31mRED\u{1b}]0;pwned\u{7}\r\nERROR fake log line\u{9b}1m\u{202e}evil\u{2066}\u{200f}\u{200b}\u{2028}\u{7f}";

/// Fails if the command's output has a character that controls a terminal, or a line from the data.
fn is_clean(mut command: Command) {
    let output = command.output().unwrap();
    for (what, bytes) in [("output", output.stdout), ("errors", output.stderr)] {
        let text = String::from_utf8(bytes).unwrap();
        let obeyed = |c: char| {
            (c.is_control() && c != '\n')
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        };
        assert!(!text.contains(obeyed), "{command:?}, {what}: {text:?}");
        assert!(!text.lines().any(|line| line.starts_with("ERROR")), "{command:?}, {what}: {text}");
    }
}

#[test]
fn no_command_shows_what_a_terminal_obeys() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let event = |fields: Value| {
        let mut event = serde_json::json!({"sender_id": HOSTILE, "timestamp": 1700000000.5});
        event.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        event.to_string()
    };
    let intent =
        serde_json::json!({"intent": {"name": HOSTILE, "confidence": 1.0}, "entities": [], "text": HOSTILE});
    let lines = [
        event(
            serde_json::json!({"event": "action", "name": "action_session_start", "timestamp": 1700000000.0}),
        ),
        event(serde_json::json!({"event": "session_started", "timestamp": 1700000000.1})),
        event(
            serde_json::json!({"event": "user", "text": HOSTILE, "input_channel": HOSTILE, "parse_data": intent, "message_id": "m1"}),
        ),
        event(
            serde_json::json!({"event": "slot", "name": HOSTILE, "value": HOSTILE, "timestamp": 1700000001.5}),
        ),
        event(serde_json::json!({"event": "action", "name": HOSTILE, "timestamp": 1700000002.5})),
        format!(
            "{{\"sender_id\": \"u2\", \"event\": \"user\", \"timestamp\": 1e300, \"text\": {}}}",
            serde_json::json!(HOSTILE)
        ),
        "garbage \u{1b}[31m \u{202e}".to_owned(),
    ];
    let (input, store) = (path("in.jsonl"), format!("sqlite:{}", path("h.sqlite")));
    std::fs::write(&input, lines.join("\n")).unwrap();
    std::fs::write(
        path("m.yml"),
        serde_json::json!({HOSTILE: {"or": [{"intent": HOSTILE}, {"slot_was_set": HOSTILE}]}}).to_string(),
    )
    .unwrap();
    // The names of the file and of the source are data as well.
    let odd = path("a\u{1b}[31m\nERROR b.jsonl");
    std::fs::copy(&input, &odd).unwrap();

    is_clean(replay(&[&input, "--dry-run", "--format", "rasa"]));
    is_clean(replay(&[&input, "--to", &store, "--format", "rasa"]));
    is_clean(replay(&[&odd, "--to", &store, "--format", "rasa", "--source", HOSTILE]));
    is_clean(replay(&[&path("none\u{1b}[31m\nERROR x"), "--to", &store]));
    is_clean(replay(&[&input, "--to", HOSTILE]));
    is_clean(replay(&[&input, "--dry-run", "--format", HOSTILE]));
    is_clean(turnmill(&["verify", &store]));
    is_clean(turnmill(&["verify", HOSTILE]));
    is_clean(turnmill(&["positions", "list", &store]));
    is_clean(turnmill(&["positions", "set", &store, HOSTILE, HOSTILE, "1"]));
    is_clean(turnmill(&["dead-letters", "list", &store]));
    let letters = run(turnmill(&["dead-letters", "list", &store, "--json"]), 0).stdout;
    let letters: Vec<Value> =
        String::from_utf8(letters).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(letters.len() >= 2, "{letters:?}");
    for letter in &letters {
        is_clean(turnmill(&["dead-letters", "show", &store, &letter["id"].to_string()]));
    }
    is_clean(turnmill(&["dead-letters", "retry", &store]));
    let markers = path("m.yml");
    is_clean(turnmill(&["markers", "check", &markers]));
    is_clean(turnmill(&["markers", "upload", &markers, "--on", &store]));
    is_clean(turnmill(&["markers", "list", "--on", &store]));
    is_clean(turnmill(&["markers", "preview", &markers, "--on", &store]));
    is_clean(turnmill(&["markers", "backfill", HOSTILE, "--on", &store]));
    let preview = json(turnmill(&["markers", "preview", &markers, "--on", &store, "--json"]), 0);
    // JSON for programs has the texts unchanged.
    let marker = &preview["markers"][0];
    assert_eq!(
        (marker["name"].as_str(), marker["samples"][0]["sender_key"].as_str()),
        (Some(HOSTILE), Some(HOSTILE))
    );
    let session = marker["samples"][0]["session_id"].as_str().unwrap();
    is_clean(turnmill(&["markers", "explain", HOSTILE, "--session", session, "--on", &store]));
    is_clean(turnmill(&["markers", "explain", HOSTILE, "--session", HOSTILE, "--on", &store]));
    is_clean(turnmill(&["markers", "remove", HOSTILE, "--on", &store]));
}

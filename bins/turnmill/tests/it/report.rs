//! Tests of `turnmill report`.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use turnmill_embed::Loader;
use turnmill_embed::sqlite::SqliteStore;

use crate::support::{ran, turnmill};

/// Returns a folder with a store: three sessions of two senders on two channels, a day apart. The
/// second one is escalated.
fn store() -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rasa.sqlite");
    let mut events = Vec::new();
    for (number, (sender, channel, intent)) in
        [("u1", "rest", "greet"), ("u2", "=web", "talk_to_human"), ("u1", "rest", "bye, \"bye\"")]
            .into_iter()
            .enumerate()
    {
        let start = 1_700_000_000.0 + 86_400.0 * number as f64;
        let event = |seconds: f64, mut event: Value| {
            event["sender_id"] = sender.into();
            event["timestamp"] = (start + seconds).into();
            event.to_string()
        };
        events.push(event(0.0, json!({"event": "action", "name": "action_session_start"})));
        events.push(event(0.5, json!({"event": "session_started"})));
        events.push(event(
            1.0,
            json!({"event": "user", "text": "hi", "input_channel": channel,
                   "parse_data": {"intent": {"name": intent, "confidence": 0.9}}}),
        ));
        events.push(event(1.25, json!({"event": "bot", "text": "hello"})));
    }
    Loader::new(SqliteStore::file(&path)).load_records("test", events).unwrap();
    (folder, format!("sqlite:{}", path.display()))
}

fn output(arguments: &[&str]) -> String {
    String::from_utf8(ran(turnmill(arguments), 0).stdout).unwrap()
}

fn error(arguments: &[&str], code: i32) -> String {
    String::from_utf8(ran(turnmill(arguments), code).stderr).unwrap()
}

#[test]
fn json_has_the_numbers_the_series_and_the_sql() {
    let (_folder, store) = store();
    let report =
        ["report", &store, "R3", "r10", "R7", "--by", "day", "--tz", "Asia/Kathmandu", "--format", "json"];
    let text = output(&report);
    let answers: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<&Value> = answers.iter().map(|answer| &answer["id"]).collect();
    assert_eq!(ids, ["R3_sessions", "R10_escalation", "R7_response_time"]);
    assert!(answers.iter().all(|answer| answer["version"] == 1));
    assert_eq!(answers[0]["values"]["sessions"], json!({"value": 3}));
    assert_eq!(answers[0]["columns"], json!(["channel", "sessions", "share"]));
    assert_eq!(answers[0]["rows"][0], json!(["rest", 2, 66.66666666666667]));
    let days = &answers[0]["series"][0]["points"];
    let counts: Vec<&Value> = days.as_array().unwrap().iter().map(|day| &day["value"]).collect();
    assert_eq!(counts, [&json!(1), &json!(1), &json!(1)]);
    assert_eq!(days[0]["from"], "2023-11-14 18:15:00.000000", "midnight in Kathmandu");
    assert_eq!(
        answers[1]["values"]["escalation"],
        json!({"value": 33.333333333333336, "n": 1, "d": 3, "small": true})
    );
    assert_eq!(answers[2]["values"]["mean"], json!({"value": 0.25, "n": 3}));
    assert_eq!(answers[0]["filters"], json!({"from": null, "to": null, "tz": "Asia/Kathmandu", "by": "day"}));
    assert_eq!(answers[0]["as_of"], "2023-11-16 22:13:21.250000");
    let sql = answers[1]["sql"][0]["sql"].as_str().unwrap();
    assert!(sql.contains("?1") && !sql.contains("talk_to_human"), "{sql}");
    assert_eq!(answers[1]["sql"][0]["values"], json!(["talk_to_human"]));
}

#[test]
fn filters_ranges_and_comparisons_are_options() {
    let (_folder, store) = store();
    let sessions = |options: &[&str]| {
        let text = output(&[&["report", &store, "R3", "--format", "json"], options].concat());
        let answer: Value = serde_json::from_str(text.trim()).unwrap();
        answer["values"]["sessions"].clone()
    };
    assert_eq!(sessions(&["--channel", "rest"])["value"], 2);
    assert_eq!(sessions(&["--channel", "rest", "--channel", "=web"])["value"], 3);
    assert_eq!(sessions(&["--channel", ""])["value"], 0);
    assert_eq!(sessions(&["--intent", "talk_to_human"])["value"], 1);
    assert_eq!(sessions(&["--ending", "escalated"])["value"], 1);
    assert_eq!(sessions(&["--ending", "escalated", "--handover-intents", "greet"])["value"], 1);
    assert_eq!(sessions(&["--ending", "escalated", "--handover-intents", "help*"])["value"], 0);
    assert_eq!(sessions(&["--since", "2023-11-15", "--until", "2023-11-16"])["value"], 1);
    let compared = sessions(&["--last", "1d", "--compare", "prev"]);
    assert_eq!(compared, json!({"value": 1, "was": {"value": 1}, "change": 0.0}));
}

#[test]
fn other_forms_have_the_same_numbers() {
    let (_folder, store) = store();
    let csv = output(&["report", &store, "R3", "--by", "day", "--format", "csv"]);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines[0], "metric,name,group,from,to,value,n,d,was,change");
    assert_eq!(lines[1], "R3_sessions,sessions,,,,3,,,,");
    assert!(lines[2].starts_with("R3_sessions,sessions,,2023-11-14 00:00:00.000000,"), "{csv}");
    assert!(csv.contains(",\"'=web\","), "a channel that a spreadsheet would calculate: {csv}");
    let list = output(&["report", &store, "R6", "--list", "by_intent"]);
    assert!(list.contains("\"bye, \"\"bye\"\"\",1,"), "{list}");
    let markdown = output(&["report", &store, "R3", "--format", "markdown"]);
    assert!(markdown.contains("| sessions | 3 |") && markdown.contains("| rest | 2 |"), "{markdown}");
    let overview = output(&["report", &store]);
    assert!(overview.contains("Containment rate (R8_containment)"), "{overview}");
    assert!(overview.contains("containment          2 of 3"), "too few for a percentage: {overview}");
    // A pipe gets no bars.
    let piped = output(&["report", &store, "R3", "--by", "day"]);
    assert!(!piped.contains('█') && piped.contains("2023-11-15"), "{piped}");
}

#[test]
fn what_cannot_be_answered_is_said() {
    let (folder, store) = store();
    let unknown = error(&["report", &store, "R99"], 2);
    assert!(unknown.contains("`R99` is no metric") && unknown.contains("R8_containment"), "{unknown}");
    for (option, value, part) in [
        ("--tz", "Berlin", "no time zone"),
        ("--by", "fortnight", "no bucket"),
        ("--since", "yesterday", "no time"),
        ("--last", "28", "no length"),
        ("--ending", "happy", "no ending"),
        ("--compare", "decade", "no comparison"),
        ("--step", "greet", "no step"),
        ("--list", "none", "has no list"),
    ] {
        let message = error(&["report", &store, "R3", option, value], 2);
        assert!(message.contains(part), "{option} {value}: {message}");
    }
    let minutes = error(&["report", &store, "R3", "--by", "1min", "--since", "2001-01-01"], 1);
    assert!(minutes.contains("wider bucket"), "{minutes}");
    let missing = folder.path().join("none.sqlite");
    let missing = error(&["report", &format!("sqlite:{}", missing.display())], 1);
    assert!(missing.contains("does not exist"), "{missing}");
    assert!(!Path::new("none.sqlite").exists());
    // An empty store has counts of 0 and no shares.
    let empty = folder.path().join("empty.sqlite");
    Loader::new(SqliteStore::file(&empty)).load_records("test", [""; 0]).unwrap();
    let text =
        output(&["report", &format!("sqlite:{}", empty.display()), "R8", "--format", "json", "--by", "auto"]);
    let answer: Value = serde_json::from_str(text.trim()).unwrap();
    assert_eq!(answer["values"]["containment"], json!({"value": null, "n": 0, "d": 0, "small": true}));
}

#[test]
fn a_page_needs_nothing_and_shows_hostile_texts_as_texts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rasa.sqlite");
    let hostile = "<script>alert(1)</script> \" onmouseover='x' &amp; \u{202e}";
    let event = |seconds: f64, mut event: Value| {
        event["sender_id"] = "u1".into();
        event["timestamp"] = (1_700_000_000.0 + seconds).into();
        event.to_string()
    };
    let events = [
        event(0.0, json!({"event": "action", "name": "action_session_start"})),
        event(
            1.0,
            json!({"event": "user", "text": hostile, "input_channel": hostile,
                   "parse_data": {"intent": {"name": hostile, "confidence": 0.9}}}),
        ),
        event(1.25, json!({"event": "bot", "text": "hello", "metadata": {"utter_action": hostile}})),
    ];
    Loader::new(SqliteStore::file(&path)).load_records("test", events).unwrap();
    let store = format!("sqlite:{}", path.display());
    let page = output(&["report", &store, "--by", "day", "--compare", "prev", "--format", "html"]);
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"), "{page}");
    assert!(page.contains("Containment rate") && page.contains("<svg "), "{page}");
    assert!(page.contains(
        "&lt;script&gt;alert(1)&lt;/script&gt; &quot; onmouseover=&#39;x&#39; &amp;amp; \\u{202e}"
    ));
    // Nothing runs, and nothing is asked for elsewhere.
    for part in ["<script", "onmouseover='", "src=", "href=", "url(", "http:", "@import", "\u{202e}"] {
        assert!(!page.contains(part), "{part}: {page}");
    }
    assert!(page.contains("content=\"default-src 'none'; style-src 'unsafe-inline'\""), "{page}");
    // Each element that is opened is closed, in the reverse order.
    let mut open = Vec::new();
    for tag in page.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap();
        let name = tag.trim_start_matches('/').split_whitespace().next().unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "{open:?}");
        } else if !tag.starts_with('!') && !tag.ends_with('/') && name != "meta" {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
    let markdown = output(&["report", &store, "R4", "--format", "markdown"]);
    assert!(markdown.contains("&lt;script>") && !markdown.contains("<script"), "{markdown}");
}

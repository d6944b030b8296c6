//! Tests the rows of facts with values that were worked out by hand.

use turnmill_engine::{Engine, Replay, ReplayOutcome};
use turnmill_formats::rasa::RasaDecoder;
use turnmill_model::tables::{Row, SessionFactsRow, TurnFactsRow, Value};
use turnmill_model::{Changes, Decoder, Event, Record, Rows, Settings};

use crate::conversation::{apply, sender};

/// Returns the events of lines `OFFSET TYPE FIELDS`, of the sender `u1`. Times are in seconds.
pub(crate) fn events(script: &str) -> Vec<Event<'static>> {
    let decoder = RasaDecoder::new(&Settings::default());
    let mut events = Vec::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = line.splitn(3, ' ');
        let offset: f64 = words.next().unwrap().parse().unwrap();
        let (kind, fields) = (words.next().unwrap(), words.next().unwrap_or(r#""x": 0"#));
        let time = 1_700_000_000.0 + offset;
        let body = format!(r#"{{"sender_id": "u1", "event": "{kind}", "timestamp": {time}, {fields}}}"#);
        let body: &'static str = body.leak();
        decoder.decode(&Record { payload: body.as_bytes(), ..Record::default() }, &mut events).unwrap();
    }
    events
}

const START: &str = r#"
    0 action "name": "action_session_start", "metadata": {"model_id": "m1"}
    0.1 session_started
    0.2 action "name": "action_listen""#;

/// Prints columns of rows, a line each, in the order of `by`.
pub(crate) fn columns<R: Row>(rows: &Rows<R>, changes: &Changes, by: &str, names: &[&str]) -> Vec<String> {
    let column = |name: &str| R::TABLE.column(name).unwrap();
    let mut rows: Vec<&R> = rows.inserts.iter().collect();
    let time = |row: &&R| match row.value(column(by), &changes.texts) {
        Value::DateTime(time) => time.0,
        other => panic!("{other:?} is no time"),
    };
    rows.sort_by_key(time);
    let value = |row: &R, name: &str| match row.value(column(name), &changes.texts) {
        Value::Null => "-".to_owned(),
        Value::Text(text) => text.to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
        Value::DateTime(time) => (time.0 - 1_700_000_000_000_000).to_string(),
        Value::Id(id) => id.to_string(),
    };
    let line = |row: &&R| names.iter().map(|name| value(row, name)).collect::<Vec<_>>().join(" ");
    rows.iter().map(line).collect()
}

fn sessions(script: &str, names: &[&str]) -> Vec<String> {
    let events = events(script);
    let (changes, _) = apply(&mut sender(&events), &events);
    columns::<SessionFactsRow>(&changes.session_facts, &changes, "started_at", names)
}

fn turns(script: &str, names: &[&str]) -> Vec<String> {
    let events = events(script);
    let (changes, _) = apply(&mut sender(&events), &events);
    columns::<TurnFactsRow>(&changes.turn_facts, &changes, "asked_at", names)
}

#[test]
fn a_session_is_counted_and_named() {
    let script = format!(
        r#"{START}
        1 user "text": "hi", "input_channel": "rest", "parse_data": {{"intent": {{"name": "greet"}}}}
        1.5 bot "metadata": {{"utter_action": "utter_greet", "model_id": "m2"}}
        2 user "parse_data": {{"intent": {{"name": "greet"}}}}, "input_channel": "web"
        3 user "parse_data": {{"intent": {{"name": "bye"}}}}
        3.25 bot "metadata": {{"utter_action": "utter_ask_again"}}
        3.5 slot "name": "a", "value": 1, "metadata": {{"model_id": "m0"}}
        4 inactive
        10 action "name": "action_session_start"
        11 user "text": "x""#
    );
    let counts = ["user_messages", "bot_messages", "turns", "answered_turns", "first_intent", "last_intent"];
    assert_eq!(sessions(&script, &counts), ["3 2 3 2 greet bye", "1 0 1 0 - -"]);
    let names = ["started_at", "last_event_at", "channel", "model_id", "last_template", "intent_path"];
    assert_eq!(
        sessions(&script, &names),
        [r#"0 3500000 rest m1 utter_ask_again ["greet", "bye"]"#, "10000000 11000000 - - - []"]
    );
    let fixed = ["locale", "source_system", "is_test", "outcome", "ended_reason", "ended_by"];
    assert_eq!(sessions(&script, &fixed), ["- rasa false - - inactive", "- rasa false - - open"]);
}

#[test]
fn a_path_has_eight_intents_and_the_last_one_is_known_all_the_same() {
    let asked = |intent: char, at: usize| {
        format!("{at} user \"parse_data\": {{\"intent\": {{\"name\": \"{intent}\"}}}}\n")
    };
    let script = |intents: &str| -> String {
        intents.chars().enumerate().map(|(at, intent)| asked(intent, at + 1)).collect()
    };
    let names = ["first_intent", "last_intent", "intent_path"];
    let path = r#"["a", "b", "c", "d", "e", "f", "g", "h"]"#;
    for (intents, last) in [("aabcdefgh", 'h'), ("abcdefghi", 'i'), ("abcdefghih", 'h'), ("abcdefghiij", 'j')]
    {
        assert_eq!(sessions(&script(intents), &names), [format!("a {last} {path}")], "{intents}");
    }
    assert_eq!(sessions(&script("aba"), &names), [r#"a a ["a", "b", "a"]"#]);
}

#[test]
fn how_a_session_ended_follows_its_events() {
    let ended = |script: &str| sessions(script, &["ended_by", "is_handed_over", "handed_over_at"]);
    for (script, expected) in [
        ("1 user", "open false -"),
        ("1 user\n2 inactive", "inactive false -"),
        ("1 user\n2 inactive\n3 user", "open false -"),
        ("1 user\n2 restart", "restart false -"),
        ("1 user\n2 restart\n3 inactive", "restart false -"),
        ("1 user\n2 pause\n3 user\n4 pause", "handoff true 2000000"),
        ("1 user\n2 pause\n3 resume", "open true 2000000"),
        ("1 user\n2 pause\n3 restart\n4 resume", "restart true 2000000"),
        ("1 user\n2 session_ended", "explicit false -"),
    ] {
        assert_eq!(ended(script), [expected], "{script}");
    }
    let two = "1 user\n2 bot\n3 action \"name\": \"action_session_start\"\n4 user";
    assert_eq!(ended(two), ["next_session false -", "open false -"]);
}

#[test]
fn a_turn_knows_its_answer_and_its_form() {
    let script = r#"
        1 user "parse_data": {"intent": {"name": "order", "confidence": 0.5}}, "input_channel": "rest"
        1.5 action "name": "order_form"
        1.75 active_loop "name": "order_form"
        2 bot "metadata": {"utter_action": "utter_ask_size"}
        2.5 bot "metadata": {"utter_action": "utter_hint"}
        3 user
        3.1 action_execution_rejected "name": "action_unlikely_intent"
        3.2 action "name": "order_form"
        4 user
        4.1 action_execution_rejected "name": "order_form"
        4.2 action "name": "order_form"
        5 user
        5.1 action "name": "action_default_fallback"
        5.2 action "name": "order_form"
        5.5 bot
        6 active_loop "name": null
        6.1 flow_started "flow_id": "pay"
        6.2 flow_started "flow_id": "pattern_x"
        6.3 flow_started "flow_id": "ask"
        6.4 flow_interrupted "flow_id": "ask"
        7 user
        7.1 action "name": "pay"
        7.2 flow_resumed "flow_id": "pay"
        7.3 flow_started "flow_id": "pattern_cannot_handle"
        8 user
        8.1 flow_completed "flow_id": "pay"
        8.2 flow_cancelled "flow_id": "ask"
        9 user"#;
    assert_eq!(
        turns(
            script,
            &["response_us", "bot_messages", "first_template", "default_fallback", "form", "form_took"]
        ),
        [
            "1000000 2 utter_ask_size false - -",
            "- 0 - false order_form true",
            "- 0 - false order_form false",
            "500000 1 - true order_form -",
            "- 0 - true ask -",
            "- 0 - false pay -",
            "- 0 - false - -",
        ]
    );
    let of_message = ["asked_at", "intent", "confidence", "channel", "weight"];
    assert_eq!(turns(script, &of_message)[..2], ["1000000 order 0.5 rest 1", "3000000 - - - 1"]);
    assert_eq!(sessions(&format!("{script}\n9.1 form \"name\": \"f\""), &["open_loop"]), ["f"]);
    let reset =
        format!("{script}\n9.1 form \"name\": \"f\"\n9.2 flow_started \"flow_id\": \"g\"\n9.3 restart");
    assert_eq!(sessions(&reset, &["open_loop"]), ["-"]);
}

#[test]
fn a_later_batch_writes_a_row_again_and_only_if_it_changes() {
    let all = events(&format!("{START}\n1 user\n2 bot\n3 slot \"name\": \"a\", \"value\": 1\n4 bot"));
    let mut timeline = sender(&all);
    let (first, _) = apply(&mut timeline, &all[..5]);
    assert_eq!((first.session_facts.inserts.len(), first.turn_facts.inserts.len()), (1, 1));
    let (slot, _) = apply(&mut timeline, &all[5..6]);
    // The time of the last event has changed, and nothing of the turn.
    assert_eq!((slot.session_facts.updates.len(), slot.turn_facts.updates.len()), (1, 0));
    let (bot, _) = apply(&mut timeline, &all[6..]);
    assert_eq!((bot.session_facts.updates.len(), bot.turn_facts.updates.len()), (1, 1));
    assert_eq!(bot.turn_facts.updates[0].bot_messages, 2);
    assert_eq!(bot.session_facts.updates[0].bot_messages, 2);
    assert_eq!(bot.session_facts.updates[0].answered_turns, 1);
}

#[test]
fn a_late_answer_changes_the_rows_of_its_turn_and_session() {
    let mut all = events(&format!("{START}\n1 user\n2 bot\n3 user\n4 bot"));
    let late = events("1.5 bot \"metadata\": {\"utter_action\": \"utter_first\"}").remove(0);
    let mut timeline = sender(&all);
    let (_, _) = apply(&mut timeline, &all);
    let engine = Engine::new(&Settings::default());
    let mut replay = Replay::new(&engine, &timeline, None).unwrap();
    let after = all.split_off(4);
    all.iter().for_each(|event| replay.stored(event));
    replay.insert(&late);
    after.iter().for_each(|event| replay.stored(event));
    let mut changes = Changes::default();
    let ReplayOutcome::Done(_) = replay.finish(&mut changes) else { panic!("it starts at the first event") };
    let [session] = changes.session_facts.updates[..] else { panic!("{:?}", changes.session_facts) };
    assert_eq!((session.bot_messages, session.answered_turns), (3, 2));
    let [turn] = changes.turn_facts.updates[..] else { panic!("{:?}", changes.turn_facts) };
    assert_eq!((turn.response_us, turn.bot_messages), (Some(500_000), 2));
    assert_eq!(turn.first_template.map(|name| changes.texts.get(name)), Some("utter_first"));
}

#[test]
fn a_message_has_a_row_if_there_is_something_for_it() {
    let all = events(
        r#"1 user "parse_data": {"intent_ranking": [{"name": "a", "confidence": 1}], "entities": []}
        2 user "parse_data": {"intent_ranking": [], "entities": []}
        3 user "parse_data": {"entities": [{"value": 5, "entity": "n"}]}"#,
    );
    let (changes, _) = apply(&mut sender(&all), &all);
    let text = |text: Option<_>| text.map(|text| changes.texts.get(text));
    let rows: Vec<_> = changes.message_facts.inserts.iter().collect();
    assert_eq!(rows.iter().map(|row| row.event_id).collect::<Vec<_>>(), [all[0].id, all[2].id]);
    assert_eq!(text(rows[0].intent_ranking), Some(r#"[{"name": "a", "confidence": 1}]"#));
    assert_eq!((text(rows[0].entities), text(rows[1].intent_ranking)), (None, None));
    assert_eq!(text(rows[1].entities), Some(r#"[{"entity": "n", "value": 5}]"#));
}

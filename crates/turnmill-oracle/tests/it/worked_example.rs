//! The worked example of the session rules, row by row.

use turnmill_model::Settings;

use crate::script::{by, layout, of, record, value};
use turnmill_oracle::{Oracle, generate::OwnedRecord};

/// Number, event, name or text, session, turn.
const ROWS: &str = "\
78 slot session_started_metadata A -
79 action action_session_start A -
80 session_started - A -
82 action action_listen A -
83 user hi A 1
84 action utter_greet A 1
85 bot - A 1
87 action action_listen A 1
90 user my_mail_is A 2
91 slot email A 2
92 action action_listen A 2
140 slot session_started_metadata B -
141 action action_session_start B -
142 session_started - B -
143 slot session_started_metadata B -
144 slot email B -
145 action action_listen B -
146 user /restart B 1
147 action action_restart B 1
148 restart - B 1
149 action action_session_start C -
150 session_started - C -
151 action action_listen C -";

/// Returns the events up to number `last`. Event n is n hundredths of a second after 1700000000.
fn events(last: u32) -> Vec<OwnedRecord> {
    let mut records = Vec::new();
    for row in ROWS.lines() {
        let [number, event, name, ..] = *row.split(' ').collect::<Vec<_>>() else { panic!("{row}") };
        if number.parse::<u32>().unwrap() <= last {
            let key = if event == "user" { "text" } else { "name" };
            records.push(record(&format!(
                r#"{{"sender_id": "u1", "event": "{event}", "timestamp": 1700000000.{number:0>3}, "{key}": "{name}"}}"#
            )));
        }
    }
    records
}

/// Returns start and end of the rows of `table`, as numbers of the example.
fn ranges(oracle: &Oracle, table: &str) -> Vec<String> {
    let number = |value: &turnmill_oracle::OwnedValue| {
        let number: i64 = value.to_string().parse().unwrap();
        (number - 1_700_000_000_000_000) / 1000
    };
    by(&oracle.tables, table, "start_sequence_number")
        .into_iter()
        .map(|row| {
            let at = |column| number(value(table, row, column));
            format!("{}..{}", at("start_sequence_number"), at("end_sequence_number"))
        })
        .collect()
}

#[test]
fn whole() {
    let oracle = of(&events(1000));
    let expected: Vec<String> = ROWS.lines().map(|row| row.split(' ').skip(3).collect::<String>()).collect();
    assert_eq!(layout(&oracle.tables), expected.join(" "));
    assert_eq!(ranges(&oracle, "rasa_session"), ["78..92", "140..148", "149..151"]);
    assert_eq!(ranges(&oracle, "rasa_turn"), ["83..87", "90..92", "146..148"]);

    let sessions = by(&oracle.tables, "rasa_session", "start_sequence_number");
    let states = |session: usize| {
        let mut names: Vec<String> = oracle.tables["rasa_session_slot_state"]
            .iter()
            .filter(|row| row[2] == sessions[session][0])
            .map(|row| row[3].to_string())
            .collect();
        names.sort();
        names
    };
    assert_eq!(states(0), ["\"email\"", "\"session_started_metadata\""]);
    assert_eq!(states(1), states(0));
    assert!(states(2).is_empty());
    assert_eq!(value("rasa_session", sessions[1], "timestamp").to_string(), "2023-11-14 22:13:20.140000");
}

#[test]
fn up_to_the_metadata_slot_and_its_start() {
    let until = |last| {
        let oracle = of(&events(last));
        (ranges(&oracle, "rasa_session"), ranges(&oracle, "rasa_turn"))
    };
    let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(until(140), (owned(&["78..140"]), owned(&["83..87", "90..140"])));
    assert_eq!(until(141), (owned(&["78..92", "140..141"]), owned(&["83..87", "90..92"])));
}

#[test]
fn any_order_of_arrival() {
    let (records, settings) = (events(1000), Settings::default());
    let expected = crate::script::of_with(&settings, &records);
    for seed in 0..20 {
        let shuffled = turnmill_oracle::generate::shuffle_keeping(&records, seed);
        assert_eq!(turnmill_oracle::diff(&expected.tables, &of(&shuffled).tables), None);
    }
}

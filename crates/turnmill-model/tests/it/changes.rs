//! Tests that every table which events fill has typed rows.

use turnmill_model::tables::{DialogRunRow, PUBLIC, Value};
use turnmill_model::{Changes, Micros, SessionId};
use uuid::Uuid;

#[test]
fn changes_follow_the_order_of_the_public_tables() {
    let mut written = Vec::new();
    Changes::default().for_each_table(|table| written.push(table.table.name));
    // Patterns are uploaded. Spans and ratings have no source yet.
    let others = ["rasa_patterns", "ext_span", "ext_feedback"];
    let mut expected: Vec<_> =
        PUBLIC.iter().map(|table| table.name).filter(|name| !others.contains(name)).collect();
    expected.push("_turnmill_event_error");
    assert_eq!(written, expected);
}

#[test]
fn a_run_keeps_its_texts_in_other_changes() {
    let run = |out: &mut Changes, name: &str| {
        let row = DialogRunRow {
            id: Uuid::from_u128(1),
            session_id: SessionId(Uuid::from_u128(2)),
            instance_id: None,
            dialog_id: out.texts.add(name),
            kind: out.texts.add("lex_intent"),
            status: Some(out.texts.add("switched")),
            started_at: Micros(0),
            ended_at: Some(Micros(7)),
            steps: Some(3),
            turns: None,
            parent_id: Some(Uuid::from_u128(3)),
            entered_by: None,
            reason: None,
            weight: 1.0,
        };
        out.dialog_runs.inserts.push(row);
    };
    let (mut changes, mut more) = (Changes::default(), Changes::default());
    run(&mut changes, "book_flight");
    run(&mut more, "book_hotel");
    changes.append(more);
    let mut found = Vec::new();
    changes.for_each_table(|table| {
        if table.table.name == "ext_dialog_run" {
            let name = table.table.column("dialog_id").unwrap();
            let values = (0..table.inserts.len()).map(|row| match table.inserts.value(row, name) {
                Value::Text(text) => text.to_owned(),
                other => format!("{other:?}"),
            });
            found.extend(values);
        }
    });
    assert_eq!(found, ["book_flight", "book_hotel"]);
}

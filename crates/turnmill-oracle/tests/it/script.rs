//! Small conversations in words.

use turnmill_ingest::testkit::Memory;
use turnmill_model::{EventId, Record, Settings};
use turnmill_oracle::generate::OwnedRecord;
use turnmill_oracle::laws::{self, Plan, memory_tables};
use turnmill_oracle::{Oracle, OwnedValue, Tables};
use uuid::Uuid;

/// Time of the first event of a [`conversation`]. Each later event is one second after the one
/// before.
pub(crate) const START: f64 = 1_700_000_000.5;

/// Returns session id number `number`, as in metadata.
pub(crate) fn id(number: u128) -> Uuid {
    Uuid::from_u128(0xabcd_0000_0000_4000_8000_0000_0000_0000 + number)
}

/// Parses events in words, separated by blanks.
///
/// `ssm` is the metadata slot, `start` an action_session_start, `end` a session_ended. `started`,
/// `listen`, `act`, `user`, `bot` and `slot` are events too, as is any event type. `user#3` has
/// session id number 3. `slot:x` is the slot `x`, `act:x` the action `x`, and `stack:x` has the
/// update `x`.
pub(crate) fn conversation(words: &str) -> Vec<OwnedRecord> {
    conversation_of("u1", START, words)
}

/// Like [`conversation`], for another sender and at another time.
pub(crate) fn conversation_of(sender: &str, start: f64, words: &str) -> Vec<OwnedRecord> {
    let words = words.split_whitespace().enumerate();
    words.map(|(position, word)| event(sender, start + position as f64, word)).collect()
}

fn event(sender: &str, time: f64, word: &str) -> OwnedRecord {
    let (word, session) = match word.split_once('#') {
        Some((word, number)) => (word, Some(id(number.parse().unwrap()).to_string())),
        None => (word, None),
    };
    let (kind, name) = word.split_once(':').unwrap_or((word, "x"));
    let (event, name) = match kind {
        "ssm" => ("slot", "session_started_metadata"),
        "start" => ("action", "action_session_start"),
        "listen" => ("action", "action_listen"),
        "act" => ("action", name),
        "started" => ("session_started", name),
        "end" => ("session_ended", name),
        other => (other, name),
    };
    let metadata = session.map(|id| format!("{{\"session_id\": \"{id}\"}}")).unwrap_or("{}".to_owned());
    record(&format!(
        r#"{{"sender_id": "{sender}", "event": "{event}", "timestamp": {time:?}, "metadata": {metadata}, "name": {name:?}, "update": {name:?}, "text": "t"}}"#
    ))
}

pub(crate) fn record(payload: &str) -> OwnedRecord {
    OwnedRecord { payload: payload.as_bytes().to_vec(), ..OwnedRecord::default() }
}

pub(crate) fn of(records: &[OwnedRecord]) -> Oracle {
    of_with(&Settings::default(), records)
}

pub(crate) fn of_with(settings: &Settings, records: &[OwnedRecord]) -> Oracle {
    let borrowed: Vec<Record<'_>> = records.iter().map(OwnedRecord::as_record).collect();
    let oracle = turnmill_oracle::tables(settings, &borrowed);
    assert!(oracle.ledger.adds_up());
    oracle
}

/// Returns the tables of `conversations`, which arrive one after the other: the oracle's, and the
/// engine's through a store in memory. Each has a name for messages.
///
/// The engine gets the events in one batch, then one by one, then those of each conversation last
/// first. Then all but the first to arrive are late: `u1: start, hi` arrives as `hi | late: start`.
pub(crate) fn of_each(settings: &Settings, conversations: &[&[OwnedRecord]]) -> Vec<(&'static str, Tables)> {
    let in_order = conversations.concat();
    let reversed: Vec<OwnedRecord> =
        conversations.iter().flat_map(|conversation| conversation.iter().rev().cloned()).collect();
    let mut all = vec![("oracle", of_with(settings, &in_order).tables)];
    for (name, arrival, batch) in [
        ("engine, one batch", &in_order, in_order.len()),
        ("engine, one by one", &in_order, 1),
        ("engine, last first", &reversed, 1),
    ] {
        let plan =
            Plan { settings: settings.clone(), batches: vec![batch], checkpoint_every: 2, ..Plan::default() };
        let mut tables = Tables::new();
        let checked = laws::check(&mut Memory, &plan, &in_order, arrival, |store, _, _| {
            tables = memory_tables(store);
            Ok(())
        });
        assert_eq!(checked, Ok(()), "{name}");
        all.push((name, tables));
    }
    all
}

/// Returns the value in the column `column` of `row` of `table`.
pub(crate) fn value<'r>(table: &str, row: &'r [OwnedValue], column: &str) -> &'r OwnedValue {
    &row[turnmill_model::tables::public(table).unwrap().column(column).unwrap()]
}

/// Returns the rows of a table in order of one of its columns.
pub(crate) fn by<'t>(tables: &'t Tables, table: &str, column: &str) -> Vec<&'t Vec<OwnedValue>> {
    let mut rows: Vec<_> = tables[table].iter().collect();
    rows.sort_by_key(|row| value(table, row, column));
    rows
}

/// Returns the values of the wanted columns, row by row, in order of `column`.
pub(crate) fn shown(tables: &Tables, table: &str, column: &str, wanted: &[&str]) -> Vec<String> {
    let show = |row: &Vec<OwnedValue>| {
        wanted.iter().map(|column| value(table, row, column).to_string()).collect::<Vec<_>>().join(" ")
    };
    by(tables, table, column).into_iter().map(show).collect()
}

pub(crate) fn uuid(value: &OwnedValue) -> Uuid {
    match value {
        OwnedValue::Id(id) => *id,
        other => panic!("{other} is no id"),
    }
}

/// Returns for each event, in order, its session as a letter (by first appearance) and its turn as
/// a number in the session, or `-`.
pub(crate) fn layout(tables: &Tables) -> String {
    let mut sessions = Vec::new();
    let mut out = Vec::new();
    for row in by(tables, "rasa_event", "sequence_number") {
        let (session, number) =
            (value("rasa_event", row, "session_id"), value("rasa_event", row, "sequence_number"));
        if !sessions.contains(&session) {
            sessions.push(session);
        }
        let letter = sessions.iter().position(|other| *other == session).unwrap();
        let turns: Vec<_> = by(tables, "rasa_turn", "start_sequence_number")
            .into_iter()
            .filter(|turn| value("rasa_turn", turn, "session_id") == session)
            .collect();
        let turn = turns.iter().position(|turn| turn[3] <= *number && *number <= turn[4]);
        let turn = turn.map_or("-".to_owned(), |turn| (turn + 1).to_string());
        out.push(format!("{}{turn}", char::from(b'A' + letter as u8)));
    }
    out.join(" ")
}

/// Returns the ids of the sessions in order of their start.
pub(crate) fn session_ids(tables: &Tables) -> Vec<Uuid> {
    by(tables, "rasa_session", "start_sequence_number").into_iter().map(|row| uuid(&row[0])).collect()
}

/// Returns the ids of the events in order.
pub(crate) fn event_ids(tables: &Tables) -> Vec<EventId> {
    by(tables, "rasa_event", "sequence_number").into_iter().map(|row| EventId(uuid(&row[0]))).collect()
}

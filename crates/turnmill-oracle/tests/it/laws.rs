//! The laws, on generated conversations. The oracle must follow them too, or comparisons with it
//! prove nothing.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use turnmill_model::tables::{ColumnType, PUBLIC};
use turnmill_model::{Record, SessionIdMode, Settings};
use turnmill_oracle::generate::{Options, OwnedRecord, conversations, records, shuffle_keeping};
use turnmill_oracle::{Oracle, OwnedValue, Tables, diff, tables};

fn of(settings: &Settings, records: &[OwnedRecord]) -> Oracle {
    let borrowed: Vec<Record<'_>> = records.iter().map(OwnedRecord::as_record).collect();
    tables(settings, &borrowed)
}

fn settings() -> impl Strategy<Value = Settings> {
    let mode = prop_oneof![3 => Just(SessionIdMode::Uuid), 1 => Just(SessionIdMode::Any), 1 => Just(SessionIdMode::Off)];
    (mode, any::<bool>(), prop::bool::weighted(0.9)).prop_map(
        |(session_id, bare_slot_strings, stack_events)| Settings {
            session_id,
            bare_slot_strings,
            stack_events,
            ..Settings::default()
        },
    )
}

/// Values of a column of a table.
fn column<'t>(tables: &'t Tables, table: &str, column: &str) -> Vec<&'t OwnedValue> {
    let index = turnmill_model::tables::public(table).unwrap().column(column).unwrap();
    tables[table].iter().map(|row| &row[index]).collect()
}

/// Checks what must hold of the tables for any events.
fn check(oracle: &Oracle) {
    let tables = &oracle.tables;
    assert!(oracle.ledger.adds_up(), "{:?}", oracle.ledger);
    assert_eq!(tables["rasa_event"].len() as u64, oracle.ledger.events);
    for table in PUBLIC {
        let keys: BTreeSet<_> = tables[table.name].iter().map(|row| &row[0]).collect();
        assert_eq!(keys.len(), tables[table.name].len(), "{}: primary key", table.name);
        for row in &tables[table.name] {
            assert_eq!(row.len(), table.columns.len(), "{}", table.name);
            for (value, column) in row.iter().zip(table.columns) {
                let fits = match (value, column.ty) {
                    (OwnedValue::Null, _) => column.nullable,
                    (OwnedValue::Text(text), ColumnType::Varchar(width)) => {
                        text.chars().count() <= width && !text.contains('\0')
                    }
                    (OwnedValue::Float(float), ColumnType::Float) => float.is_finite(),
                    (OwnedValue::Id(_), ColumnType::Id)
                    | (OwnedValue::Integer(_), ColumnType::Integer)
                    | (OwnedValue::Boolean(_), ColumnType::Boolean)
                    | (OwnedValue::DateTime(_), ColumnType::DateTime) => true,
                    _ => false,
                };
                assert!(fits, "{}.{}: {value}", table.name, column.name);
            }
        }
        for (index, referring) in table.columns.iter().enumerate() {
            let Some(other) = referring.references else { continue };
            let keys: BTreeSet<_> = tables[other].iter().map(|row| &row[0]).collect();
            for row in &tables[table.name] {
                assert!(
                    row[index] == OwnedValue::Null || keys.contains(&row[index]),
                    "{}.{}",
                    table.name,
                    referring.name
                );
            }
        }
    }
    // Every session has events, and is as long as they are; every turn starts with a user message.
    let mut ranges: BTreeMap<&OwnedValue, (&OwnedValue, &OwnedValue)> = BTreeMap::new();
    let numbers = column(tables, "rasa_event", "sequence_number");
    for (session, number) in column(tables, "rasa_event", "session_id").into_iter().zip(numbers) {
        let range = ranges.entry(session).or_insert((number, number));
        *range = (number.min(range.0), number.max(range.1));
    }
    let sessions: BTreeMap<_, _> =
        tables["rasa_session"].iter().map(|row| (&row[0], (&row[3], &row[4]))).collect();
    assert_eq!(ranges, sessions);
    let starts: BTreeSet<_> = column(tables, "rasa_turn", "start_sequence_number").into_iter().collect();
    let messages: BTreeSet<_> = column(tables, "rasa_user_message", "sequence_number").into_iter().collect();
    assert_eq!(starts, messages);
    assert_eq!(tables["rasa_turn"].len(), tables["rasa_user_message"].len());
}

proptest! {
    #[test]
    fn tables_are_sound(settings in settings(), records in records(&Options::everything())) {
        check(&of(&settings, &records));
    }

    #[test]
    fn order_of_arrival_does_not_show(settings in settings(), records in records(&Options::default()), seed: u64) {
        let (a, b) = (of(&settings, &records), of(&settings, &shuffle_keeping(&records, seed)));
        prop_assert_eq!(diff(&a.tables, &b.tables), None);
        prop_assert_eq!(a.event_errors, b.event_errors);
        prop_assert_eq!(a.ledger.events, b.ledger.events);
        prop_assert_eq!(a.ledger.duplicates.total(), b.ledger.duplicates.total());
    }

    #[test]
    fn ties_and_differing_copies_keep_their_order(
        records in records(&Options { claimed_ids: false, ..Options::everything() }),
        seed: u64,
    ) {
        let settings = Settings::default();
        let (a, b) = (of(&settings, &records), of(&settings, &shuffle_keeping(&records, seed)));
        prop_assert_eq!(diff(&a.tables, &b.tables), None);
    }

    #[test]
    fn twice_is_once(records in records(&Options::everything()), seed: u64) {
        let settings = Settings::default();
        let once = of(&settings, &records);
        let mut twice = records.clone();
        twice.extend(shuffle_keeping(&records, seed));
        prop_assert_eq!(diff(&once.tables, &of(&settings, &twice).tables), None);
    }
}

#[test]
fn generated_conversations_contain_everything() {
    let options = Options { scripts: 400, steps: 60, senders: 12, ..Options::everything() };
    let records = conversations(&options, 3);
    let oracle = of(&Settings::default(), &records);
    check(&oracle);
    println!("{} records, {:?}", records.len(), oracle.ledger);
    for table in PUBLIC {
        println!("{} {}", table.name, oracle.tables[table.name].len());
        let is_empty = oracle.tables[table.name].is_empty();
        // No pattern was uploaded, and no source fills the other tables yet.
        let to_come = ["ext_span", "ext_feedback"];
        let left_empty = ["rasa_patterns", "rasa_markers"].contains(&table.name);
        assert_eq!(is_empty, left_empty || to_come.contains(&table.name), "{}", table.name);
    }
    assert!(oracle.event_errors.len() > 10);
    assert!(oracle.ledger.duplicates.anonymised > 10 && oracle.ledger.duplicates.reexported > 10);
    assert!(oracle.ledger.skipped > 3);
    assert_eq!(oracle.ledger.dead_letters.len(), 7, "{:?}", oracle.ledger.dead_letters);

    let types: BTreeSet<String> =
        column(&oracle.tables, "rasa_event", "event_type").iter().map(ToString::to_string).collect();
    assert!(types.len() > 45, "{types:?}");
    // Facts have every kind of value.
    let values = |table, name| -> BTreeSet<String> {
        column(&oracle.tables, table, name).iter().map(ToString::to_string).collect()
    };
    let quoted = |names: &[&str]| names.iter().map(|name| format!("{name:?}")).collect::<BTreeSet<_>>();
    let ended = ["explicit", "restart", "handoff", "inactive", "next_session", "open"];
    assert_eq!(values("ext_session", "ended_by"), quoted(&ended));
    assert_eq!(values("ext_turn", "form_took").len(), 3);
    assert_eq!(values("ext_turn", "default_fallback").len(), 2);
    let loops = ["parcel_form", "transfer_money", "add_contact"];
    assert!(values("ext_turn", "form").is_superset(&quoted(&loops)), "{:?}", values("ext_turn", "form"));
    assert!(values("ext_session", "open_loop").is_superset(&quoted(&loops)));
    assert!(values("ext_message", "entities").len() > 1);
    // Some sessions have the ids that events gave them, some of those are another sender's.
    let sessions = column(&oracle.tables, "rasa_session", "id");
    let given = sessions.iter().filter(|id| id.to_string().contains("-abcd-4000-8000-")).count();
    assert!(given > 20 && given < sessions.len());
    assert!(sessions.iter().any(|id| id.to_string().starts_with("ffffffff-abcd")));
    // Numbers are times, bumped where those tie.
    let bumped = oracle.tables["rasa_event"].iter().filter(|row| match (&row[3], &row[7]) {
        (OwnedValue::DateTime(time), OwnedValue::Integer(number)) => time.0 != *number,
        _ => false,
    });
    assert!(bumped.count() > 20);
}

#[test]
fn the_same_seed_gives_the_same() {
    let options = Options::everything();
    assert_eq!(conversations(&options, 11), conversations(&options, 11));
    assert_ne!(conversations(&options, 11), conversations(&options, 12));
    let records = conversations(&options, 11);
    assert_eq!(shuffle_keeping(&records, 5), shuffle_keeping(&records, 5));
    assert_ne!(shuffle_keeping(&records, 5), records);
}

#[test]
fn an_ordinary_assistant_repeats_nothing() {
    for seed in 0..20 {
        let records = conversations(&Options::ordinary(), seed);
        let ledger = of(&Settings::default(), &records).ledger;
        assert_eq!(ledger.events, records.len() as u64);
    }
}

#[test]
fn seventy_thousand_events_take_seconds() {
    let options = Options { scripts: 5_000, steps: 12, senders: 255, ..Options::default() };
    let records: Vec<_> = (0..).flat_map(|seed| conversations(&options, seed)).take(70_000).collect();
    let start = std::time::Instant::now();
    let oracle = of(&Settings::default(), &records);
    println!("{} events in {:?}", oracle.ledger.events, start.elapsed());
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

//! Tables in a real PostgreSQL server.

use std::time::Duration;

use ::postgres::{Client, NoTls};
use turnmill_source::{
    BatchLimits, FileOptions, FileSource, Opened, Position, Progress, RecordBatch, Source,
};
use turnmill_source_tracker::{PostgresTracker, PostgresTrackerError, Shape, TrackerOptions};
use turnmill_testbed::{or_skip, postgres};

use crate::{fixture, seen};

/// The tables as SQLAlchemy creates them for Rasa, except for the sender's length. The captures
/// come from SQLite and exceed it.
const STORE: &str = "CREATE TABLE events (id SERIAL NOT NULL PRIMARY KEY, sender_id TEXT NOT NULL,
    type_name VARCHAR(255) NOT NULL, timestamp DOUBLE PRECISION, intent_name VARCHAR(255), action_name VARCHAR(255), data TEXT)";
const BROKER: &str = "CREATE TABLE events (id SERIAL NOT NULL PRIMARY KEY, sender_id TEXT, data TEXT)";
const EVERYTHING: BatchLimits = BatchLimits { records: usize::MAX, bytes: usize::MAX };

/// Returns the records of a dump, except for senders that PostgreSQL cannot store.
fn dump(name: &str) -> RecordBatch {
    let (mut batch, mut kept) = (RecordBatch::new(), RecordBatch::new());
    let mut dump = FileSource::open(&fixture(name), FileOptions::default(), None).unwrap();
    assert_eq!(dump.next_batch(&EVERYTHING, &mut batch).unwrap(), Progress::End);
    kept.start(dump.partition(), None);
    let holdable = batch.iter().filter(|record| record.sender.is_none_or(|sender| !sender.contains('\0')));
    holdable.for_each(|record| kept.push_copy(0, &record));
    kept
}

/// Returns a database with the rows of a dump.
fn filled(name: &str, schema: &str) -> Option<(String, Client, RecordBatch)> {
    let url = postgres::database()?;
    let mut client = Client::connect(&url, NoTls).unwrap();
    client.batch_execute(schema).unwrap();
    let records = dump(name);
    let mut transaction = client.transaction().unwrap();
    let insert = if schema == STORE {
        "INSERT INTO events (sender_id, data, type_name, timestamp) VALUES ($1, $2, 'x', $3)"
    } else {
        "INSERT INTO events (sender_id, data) SELECT $1, $2 WHERE $3::float8 IS NULL"
    };
    let insert = transaction.prepare(insert).unwrap();
    for record in records.iter() {
        let data = std::str::from_utf8(record.payload).unwrap();
        transaction.execute(&insert, &[&record.sender, &data, &record.time]).unwrap();
    }
    transaction.commit().unwrap();
    Some((url, client, records))
}

fn open(url: &str, from: Option<&Position>) -> PostgresTracker {
    PostgresTracker::open(url, TrackerOptions::default(), from).unwrap()
}

fn insert(client: &mut impl ::postgres::GenericClient, sender: &str) {
    let data = r#"{"event": "restart"}"#;
    client.execute("INSERT INTO events (sender_id, data) VALUES ($1, $2)", &[&sender, &data]).unwrap();
}

#[test]
fn tables_give_what_their_dumps_give() {
    for (name, schema, shape) in [
        ("parcel/tracker-store.jsonl.gz", STORE, Shape::TrackerStore),
        ("hostile/tracker-store.jsonl.gz", STORE, Shape::TrackerStore),
        ("moodbot/sql-broker.jsonl.gz", BROKER, Shape::EventBroker),
    ] {
        let Some((url, mut client, expected)) = filled(name, schema) else { return };
        let mut source = open(&url, None);
        assert_eq!(source.shape(), shape);
        let mut batch = RecordBatch::new();
        assert_eq!(source.next_batch(&EVERYTHING, &mut batch).unwrap(), Progress::End);
        assert!(seen(&batch, false).eq(seen(&expected, false)), "{name}");
        assert_eq!(batch.to(), Some(&Position::at(expected.len() as u64)));
        assert_eq!((batch.from(), batch.opened()), (None, Some(Opened::Fresh)));
        let partition = &batch.partition().partition;
        assert!(
            partition.starts_with("postgresql://127.0.0.1:") && !partition.contains("secret"),
            "{partition}"
        );
        // No lock is held between two pages: another client can change the table.
        client.batch_execute("SET lock_timeout = '2s'; ALTER TABLE events ADD COLUMN more TEXT").unwrap();
    }
}

#[test]
fn every_batch_boundary_is_a_place_to_go_on() {
    let Some((url, _client, expected)) = filled("hostile/tracker-store.jsonl.gz", STORE) else { return };
    let whole: Vec<_> = seen(&expected, false).collect();
    for limits in
        [BatchLimits { records: 7, bytes: usize::MAX }, BatchLimits { records: usize::MAX, bytes: 30_000 }]
    {
        let (mut at, mut found, mut batch) = (None, Vec::new(), RecordBatch::new());
        loop {
            let mut source = open(&url, at.as_ref());
            let progress = source.next_batch(&limits, &mut batch).unwrap();
            assert_eq!(batch.from(), at.as_ref());
            found.extend(seen(&batch, false));
            at = batch.to().cloned();
            if progress == Progress::End {
                break;
            }
        }
        assert!(found == whole, "{limits:?}");
    }
}

#[test]
fn a_row_that_comes_into_sight_late_is_read() {
    let Some(url) = postgres::database() else { return };
    let (mut slow, mut quick) =
        (Client::connect(&url, NoTls).unwrap(), Client::connect(&url, NoTls).unwrap());
    quick.batch_execute(BROKER).unwrap();
    insert(&mut quick, "first");
    let mut under_way = slow.transaction().unwrap();
    insert(&mut under_way, "second, seen last");
    insert(&mut quick, "third");

    // A source that does not follow takes the visible rows, but resumes before the gap.
    let mut batch = RecordBatch::new();
    assert_eq!(open(&url, None).next_batch(&EVERYTHING, &mut batch).unwrap(), Progress::End);
    let senders = |batch: &RecordBatch| -> Vec<String> {
        batch.iter().filter_map(|record| record.sender.map(ToOwned::to_owned)).collect()
    };
    assert_eq!(senders(&batch), ["first", "third"]);
    assert_eq!(batch.to(), None);

    // A source that follows waits.
    let options = TrackerOptions { follow: true, ..TrackerOptions::default() };
    let mut follower = PostgresTracker::open(&url, options, None).unwrap();
    assert_eq!(follower.next_batch(&EVERYTHING, &mut batch).unwrap(), Progress::Idle);
    assert!(batch.is_empty());
    under_way.commit().unwrap();
    let mut found = Vec::new();
    while follower.next_batch(&EVERYTHING, &mut batch).unwrap() != Progress::Idle || !batch.is_empty() {
        found.extend(senders(&batch));
    }
    assert_eq!(found, ["first", "second, seen last", "third"]);
    insert(&mut quick, "fourth");
    while batch.is_empty() {
        follower.next_batch(&EVERYTHING, &mut batch).unwrap();
    }
    assert_eq!((senders(&batch), batch.to()), (vec!["fourth".to_owned()], Some(&Position::at(4))));

    // Short writes do not hold the position back, even if there is always one.
    let writer = std::thread::spawn({
        let url = url.clone();
        move || {
            let mut client = Client::connect(&url, NoTls).unwrap();
            for _ in 0..60 {
                let mut transaction = client.transaction().unwrap();
                insert(&mut transaction, "busy");
                std::thread::sleep(Duration::from_millis(15));
                transaction.commit().unwrap();
            }
        }
    });
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(open(&url, None).next_batch(&EVERYTHING, &mut batch).unwrap(), Progress::End);
    assert_eq!(batch.to().map(|position| position.offset), Some(batch.len() as u64));
    writer.join().unwrap();

    // Another table under the same name is read from its start.
    quick.batch_execute("TRUNCATE events RESTART IDENTITY").unwrap();
    insert(&mut quick, "new");
    let mut source = open(&url, Some(&Position::at(30)));
    assert_eq!(source.next_batch(&EVERYTHING, &mut batch).unwrap(), Progress::End);
    assert_eq!((senders(&batch), batch.opened()), (vec!["new".to_owned()], Some(Opened::Replaced)));
}

#[test]
fn what_is_missing_is_named() {
    let Some(url) = postgres::database() else { return };
    let failure = |url: &str| PostgresTracker::open(url, TrackerOptions::default(), None).unwrap_err();
    assert!(matches!(failure(&url), PostgresTrackerError::NoEventsTable { .. }));
    let mut client = Client::connect(&url, NoTls).unwrap();
    client.batch_execute("CREATE TABLE events (id INTEGER, sender_id TEXT)").unwrap();
    assert!(matches!(failure(&url), PostgresTrackerError::NoColumn { missing: "data", .. }));
    let refused = failure(&url.replace("turnmill-secret", "wrong"));
    let message = format!("{refused}: {}", std::error::Error::source(&refused).unwrap());
    assert!(message.contains("postgresql://127.0.0.1") && !message.contains("wrong"), "{message}");
    let error = failure(&format!("{url}?sslmode=require"));
    assert!(matches!(error, PostgresTrackerError::Database { .. }), "a server without TLS: {error}");
}

#[test]
fn it_may_be_opened_where_a_runtime_is_driven_and_writes_nothing() {
    let Some((url, mut client, expected)) = filled("hostile/tracker-store.jsonl.gz", STORE) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut source = runtime.block_on(async { open(&url, None) });
    let mut batch = RecordBatch::new();
    source.next_batch(&EVERYTHING, &mut batch).unwrap();
    assert_eq!(batch.len(), expected.len());
    let read_only = "SELECT bool_and(state = 'idle') FROM pg_stat_activity WHERE application_name = 'turnmill-replay' \
        AND datname = current_database()";
    assert!(client.query_one(read_only, &[]).unwrap().get::<_, bool>(0), "no transaction stays open");
}

#[test]
fn encrypted_connections_are_checked_as_asked_for() {
    let options = postgres::Options { access: postgres::Access::TlsOnly, ..postgres::Options::default() };
    let Some(server) = or_skip(postgres::Server::start(&options)) else { return };
    let database = server.url();
    let database = database.rsplit('/').next().unwrap();
    server.psql(database, BROKER);
    let tls = server.tls().unwrap();
    let open = |query: String| {
        let url = format!("{}?{query}", server.url());
        PostgresTracker::open(&url, TrackerOptions::default(), None)
    };
    open("sslmode=require".into()).unwrap();
    open(format!("sslmode=verify-full&sslrootcert={}", tls.ca.display())).unwrap();
    for refused in
        ["sslmode=disable".into(), format!("sslmode=verify-full&sslrootcert={}", tls.stranger_ca.display())]
    {
        let error = open(refused.clone()).unwrap_err();
        assert!(matches!(error, PostgresTrackerError::Database { .. }), "{refused}: {error}");
    }
}

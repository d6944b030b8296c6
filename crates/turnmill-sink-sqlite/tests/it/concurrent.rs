//! Several writers on one file.

use std::time::Duration;

use rusqlite::Connection;
use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::testkit::{Fixture as _, NoLetters, conversation};
use turnmill_ingest::{Accounting, Arrivals, Ingest, RowRules};
use turnmill_model::{PartitionId, Record, SenderId, Settings};
use turnmill_sink::{Advance, Batch, Claim, Class, Locked, SenderClaim, Store, TimelineWrite, Transaction};
use turnmill_sink_sqlite::SqliteStore;

use crate::support::Files;

fn claim(sender: SenderId, cached: Option<u64>) -> Claim {
    Claim { advances: Vec::new(), senders: vec![SenderClaim { sender, cached }] }
}

async fn put(store: &mut SqliteStore, sender: SenderId, version: u64, state: &[u8]) {
    let claim = claim(sender, None);
    let mut tx = store.begin(&claim).await.unwrap();
    let timelines = vec![TimelineWrite { sender, version, state: state.to_vec() }];
    tx.write(&Batch { timelines, ..Batch::default() }).await.unwrap();
    tx.commit().await.unwrap();
}

async fn state(store: &mut SqliteStore, sender: SenderId, cached: Option<u64>) -> Locked {
    let claim = claim(sender, cached);
    let mut tx = store.begin(&claim).await.unwrap();
    tx.timelines().await.unwrap().remove(0)
}

#[test]
fn memory_is_trusted_only_until_another_connection_writes() {
    pollster::block_on(async {
        let mut files = Files::new();
        let mut one = files.create();
        one.open(&Settings::default()).await.unwrap();
        let mut two = files.connect(&one);
        two.open(&Settings::default()).await.unwrap();
        let (a, b) = (SenderId::new(None, "a"), SenderId::new(None, "b"));
        assert_eq!(state(&mut one, a, None).await, Locked::Absent);
        put(&mut one, a, 1, b"one").await;
        assert_eq!(state(&mut one, a, Some(1)).await, Locked::Current);
        // No statement is needed.
        one.fail_after(Some(1));
        assert_eq!(state(&mut one, a, Some(1)).await, Locked::Current);
        one.fail_after(None);
        // A claim with an older version than our own commit is refused.
        put(&mut one, a, 2, b"two").await;
        assert_eq!(state(&mut one, a, Some(1)).await, Locked::Loaded { version: 2, state: b"two".into() });
        // Another connection writes, to another sender and to this one.
        put(&mut two, b, 1, b"else").await;
        assert_eq!(state(&mut one, a, Some(2)).await, Locked::Current);
        put(&mut two, a, 3, b"three").await;
        assert_eq!(state(&mut one, a, Some(2)).await, Locked::Loaded { version: 3, state: b"three".into() });
        assert_eq!(state(&mut one, b, Some(9)).await, Locked::Loaded { version: 1, state: b"else".into() });
    });
}

#[test]
fn what_was_rolled_back_is_not_remembered() {
    pollster::block_on(async {
        let mut store = SqliteStore::in_memory();
        store.open(&Settings::default()).await.unwrap();
        let sender = SenderId::new(None, "a");
        put(&mut store, sender, 1, b"one").await;
        {
            let claim = claim(sender, Some(1));
            let mut tx = store.begin(&claim).await.unwrap();
            let timelines = vec![TimelineWrite { sender, version: 2, state: b"two".into() }];
            tx.write(&Batch { timelines, ..Batch::default() }).await.unwrap();
        }
        assert_eq!(
            state(&mut store, sender, Some(2)).await,
            Locked::Loaded { version: 1, state: b"one".into() }
        );
        assert_eq!(state(&mut store, sender, Some(1)).await, Locked::Current);
    });
}

#[test]
fn a_second_writer_waits_and_then_may_try_again() {
    pollster::block_on(async {
        let mut files = Files::new();
        let mut one = files.create();
        one.open(&Settings::default()).await.unwrap();
        let mut two = files.connect(&one).busy_timeout(Duration::from_millis(20));
        two.open(&Settings::default()).await.unwrap();
        let claim = Claim::default();
        let held = one.begin(&claim).await.unwrap();
        let error = two.begin(&claim).await.map(drop).unwrap_err();
        assert!(matches!(error.class(), Class::Retryable { .. }), "{error}");
        drop(held);
        two.begin(&claim).await.map(drop).unwrap();
    });
}

#[test]
fn writers_that_open_a_new_file_together_agree_on_its_position() {
    let mut files = Files::new();
    let path = files.path();
    let key = PartitionId { source: "test".into(), partition: "0".into() };
    let opened: Vec<_> = std::thread::scope(|scope| {
        let writer = |_| {
            scope.spawn(|| {
                pollster::block_on(async {
                    let mut store = SqliteStore::file(&path);
                    store.open(&Settings::default()).await.unwrap();
                    let advance = Advance { key: key.clone(), from: None, to: "1".into() };
                    let claim = Claim { advances: vec![advance], senders: Vec::new() };
                    let tx = match store.begin(&claim).await {
                        Ok(tx) => tx,
                        Err(error) => return error.class() != Class::Fenced,
                    };
                    tx.commit().await.unwrap();
                    true
                })
            })
        };
        let writers: Vec<_> = (0..4).map(writer).collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    assert_eq!(
        opened.iter().filter(|moved| **moved).count(),
        1,
        "one moves the position, the others are fenced"
    );
}

#[test]
fn a_state_that_lacks_stored_rows_is_damage_at_the_first_attempt() {
    pollster::block_on(async {
        let mut files = Files::new();
        let rules = RowRules::new(&Settings::default(), RasaDecoder::new);
        let mut arrivals = Arrivals::default();
        let lines = conversation("u1", 2, 1_656_382_549.5);
        for line in &lines {
            arrivals.push(rules.decoders(), Record { payload: line.as_bytes(), ..Record::default() });
        }
        let mut store = files.create();
        let mut ingest = Ingest::new(&rules, 1 << 20);
        ingest.open(&mut store).await.unwrap();
        let accounting = Accounting::Source("test");
        ingest.ingest(&mut store, &arrivals, &[], &accounting, &NoLetters).await.unwrap();
        let other = Connection::open(store.path().unwrap()).unwrap();
        other.execute_batch("DELETE FROM _turnmill_timeline").unwrap();
        ingest.clear_cache();
        let error = ingest.ingest(&mut store, &arrivals, &[], &accounting, &NoLetters).await.unwrap_err();
        assert_eq!(error.class(), Class::Fatal, "{error}");
        assert!(error.to_string().contains("turnmill verify"), "{error}");
    });
}

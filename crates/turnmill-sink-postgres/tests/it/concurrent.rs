//! Several writers on one schema.

use std::time::Duration;

use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::testkit::{Delivery, Driver, Fixture as _, Memory, OwnedRecord, conversation};
use turnmill_ingest::{Accounting, Arrivals, Ingest, RowRules};
use turnmill_model::{PartitionId, SenderId, Settings};
use turnmill_sink::{
    Advance, Batch, Claim, Class, DeadLetter, Inspect, Locked, SenderClaim, Store, StoreError,
    StoredPosition, TimelineWrite, Transaction,
};
use turnmill_sink_postgres::PostgresStore;

use crate::support::{Schemas, block_on, open, opened, retryable};

fn claim(sender: SenderId, cached: Option<u64>) -> Claim {
    Claim { advances: Vec::new(), senders: vec![SenderClaim { sender, cached }] }
}

async fn put(store: &mut PostgresStore, sender: SenderId, version: u64, state: &[u8]) {
    let claim = claim(sender, None);
    let mut tx = store.begin(&claim).await.unwrap();
    let timelines = vec![TimelineWrite { sender, version, state: state.to_vec() }];
    tx.write(&Batch { timelines, ..Batch::default() }).await.unwrap();
    tx.commit().await.unwrap();
}

async fn state(store: &mut PostgresStore, sender: SenderId, cached: Option<u64>) -> Locked {
    let claim = claim(sender, cached);
    let mut tx = store.begin(&claim).await.unwrap();
    tx.timelines().await.unwrap().remove(0)
}

#[test]
fn a_state_is_loaded_only_if_it_is_not_the_one_in_memory() {
    let Some(mut schemas) = Schemas::new() else { return };
    block_on(async {
        let mut one = opened(&mut schemas).await;
        let mut two = schemas.connect(&one);
        open(&mut two).await.unwrap();
        let a = SenderId::new(None, "a");
        for cached in [None, Some(3)] {
            assert_eq!(state(&mut one, a, cached).await, Locked::Absent, "nothing was committed");
        }
        // A transaction that only locked a new sender leaves a row without a state.
        let locking = claim(a, None);
        one.begin(&locking).await.unwrap().commit().await.unwrap();
        assert_eq!(state(&mut two, a, None).await, Locked::Absent);
        put(&mut one, a, 1, b"one").await;
        assert_eq!(state(&mut one, a, Some(1)).await, Locked::Current);
        put(&mut two, a, 2, b"two").await;
        assert_eq!(state(&mut one, a, Some(1)).await, Locked::Loaded { version: 2, state: b"two".into() });
        assert_eq!(state(&mut one, a, None).await, Locked::Loaded { version: 2, state: b"two".into() });
    });
}

#[test]
fn whoever_waits_for_a_sender_sees_what_the_other_has_written() {
    let Some(mut schemas) = Schemas::new() else { return };
    block_on(async {
        let mut one = opened(&mut schemas).await;
        let mut two = schemas.connect(&one);
        open(&mut two).await.unwrap();
        let sender = SenderId::new(None, "a");
        for (version, cached) in [(1, None), (2, Some(1)), (3, None)] {
            let held = claim(sender, None);
            let mut tx = one.begin(&held).await.unwrap();
            let waiting = tokio::spawn(async move {
                let locked = state(&mut two, sender, cached).await;
                (two, locked)
            });
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert!(!waiting.is_finished(), "the lock is held");
            let timelines = vec![TimelineWrite { sender, version, state: vec![version as u8] }];
            tx.write(&Batch { timelines, ..Batch::default() }).await.unwrap();
            tx.commit().await.unwrap();
            let (store, locked) = waiting.await.unwrap();
            two = store;
            assert_eq!(locked, Locked::Loaded { version, state: vec![version as u8] });
        }
    });
}

#[test]
fn a_lock_that_is_held_too_long_may_be_tried_again() {
    let Some(mut schemas) = Schemas::new() else { return };
    block_on(async {
        let mut one = opened(&mut schemas).await;
        let short = one.settings().clone().with_lock_timeout(Duration::from_millis(50));
        let mut two = PostgresStore::new(short);
        open(&mut two).await.unwrap();
        let claim = claim(SenderId::new(None, "a"), None);
        let held = one.begin(&claim).await.unwrap();
        let message = retryable(two.begin(&claim).await.map(drop));
        assert!(message.contains("locking senders") || message.contains("new senders"), "{message}");
        drop(held);
        two.begin(&claim).await.map(drop).unwrap();
    });
}

#[test]
fn a_suspended_writer_loses_its_locks() {
    let Some(mut schemas) = Schemas::new() else { return };
    block_on(async {
        let mut two = opened(&mut schemas).await;
        let impatient = two.settings().clone().with_idle_timeout(Duration::from_millis(100));
        let mut zombie = PostgresStore::new(impatient);
        open(&mut zombie).await.unwrap();
        let sender = SenderId::new(None, "a");
        let both = claim(sender, None);
        let mut held = zombie.begin(&both).await.unwrap();
        put(&mut two, sender, 1, b"one").await;
        let timelines = vec![TimelineWrite { sender, version: 1, state: b"zombie".into() }];
        retryable(held.write(&Batch { timelines, ..Batch::default() }).await);
        drop(held);
        // It connects again by itself.
        assert_eq!(
            state(&mut zombie, sender, None).await,
            Locked::Loaded { version: 1, state: b"one".into() }
        );
    });
}

#[test]
fn of_writers_that_begin_together_one_moves_the_position() {
    let Some(mut schemas) = Schemas::new() else { return };
    block_on(async {
        let store = opened(&mut schemas).await;
        let key = PartitionId { source: "test".into(), partition: "0".into() };
        for (from, to) in [(None, "1"), (Some("1"), "2")] {
            let writers: Vec<_> = (0..4)
                .map(|_| {
                    let mut store = schemas.connect(&store);
                    let advance = Advance { key: key.clone(), from: from.map(Into::into), to: to.to_owned() };
                    let claim = Claim { advances: vec![advance], senders: Vec::new() };
                    tokio::spawn(async move {
                        open(&mut store).await.unwrap();
                        match store.begin(&claim).await {
                            Ok(tx) => {
                                tokio::time::sleep(Duration::from_millis(20)).await;
                                tx.commit().await.map(|()| true).unwrap()
                            }
                            Err(error) => {
                                assert_eq!(error.class(), Class::Fenced, "{error}");
                                false
                            }
                        }
                    })
                })
                .collect();
            let mut moved = 0;
            for writer in writers {
                moved += usize::from(writer.await.unwrap());
            }
            assert_eq!(moved, 1, "one moves the position to {to}, the others are fenced");
        }
        let mut looking = schemas.connect(&store);
        open(&mut looking).await.unwrap();
        assert_eq!(looking.positions().await.unwrap(), [StoredPosition { key, position: "2".into() }]);
    });
}

struct NoLetters;

impl turnmill_ingest::MakeDeadLetter for NoLetters {
    fn dead_letter(&self, _: usize, refused: &turnmill_model::Refused) -> DeadLetter {
        panic!("nothing is refused: {refused}")
    }
}

/// Feeds its share of the lines in small batches, as a worker of an unkeyed topic.
async fn work(mut store: PostgresStore, lines: Vec<String>, partition: usize) -> Result<u64, StoreError> {
    let settings = Settings::default();
    let rules = RowRules::new(&settings, RasaDecoder::new);
    let mut ingest = Ingest::new(&rules, 1 << 20);
    store.open(&settings).await?;
    let key = PartitionId { source: "test".into(), partition: partition.to_string() };
    let (mut position, mut tries) = (None, 0);
    for (number, part) in lines.chunks(9).enumerate() {
        let given: Vec<OwnedRecord> = part.iter().map(|line| OwnedRecord::body(line.as_bytes())).collect();
        let mut arrivals = Arrivals::default();
        given.iter().for_each(|given| arrivals.push(rules.decoders(), given.as_record()));
        let advance = Advance { key: key.clone(), from: position.clone(), to: number.to_string() };
        loop {
            let accounting = Accounting::Source("test");
            let result = ingest
                .ingest(&mut store, &arrivals, std::slice::from_ref(&advance), &accounting, &NoLetters)
                .await;
            match result {
                Ok(_) => break,
                Err(error) if matches!(error.class(), Class::Retryable { .. } | Class::Fenced) => tries += 1,
                Err(error) => return Err(error),
            }
            assert!(tries < 1000, "no end of trying");
        }
        position = Some(advance.to);
    }
    Ok(tries)
}

#[test]
fn writers_at_the_same_time_on_the_same_senders_give_the_same_rows() {
    let Some(mut schemas) = Schemas::new() else { return };
    let mut lines: Vec<String> = Vec::new();
    for number in 0..6 {
        let conversation =
            conversation(&format!("u{number}"), 8, 1_656_382_549.5 + f64::from(number) * 0.000_01);
        let user = format!(r#"{{"user_id": "person {}", "#, number % 2);
        lines.extend(conversation.into_iter().map(|line| line.replacen('{', &user, 1)));
    }
    block_on(async {
        let store = opened(&mut schemas).await;
        let workers: Vec<_> = (0..3)
            .map(|worker| {
                // Neighbours go to different workers, so each delivers events that are late for the
                // others.
                let share: Vec<String> = lines.iter().skip(worker).step_by(3).cloned().collect();
                let store = schemas.connect(&store);
                std::thread::spawn(move || block_on(work(store, share, worker)))
            })
            .collect();
        for worker in workers {
            worker.join().unwrap().unwrap();
        }
        let mut store = store;
        let rules = RowRules::new(&Settings::default(), RasaDecoder::new);
        let mut memory = Memory;
        let mut alone = Driver::new(&mut memory, &rules, 1, 1 << 20).await;
        let given: Vec<OwnedRecord> = lines.iter().map(|line| OwnedRecord::body(line.as_bytes())).collect();
        alone.deliver(&Delivery { records: given.iter().collect(), ..Delivery::default() }).await;
        assert_eq!(store.digests().await.unwrap(), alone.digests().await);
        let ledger = store.ledger().await.unwrap();
        assert!(ledger[0].counts.adds_up() && ledger[0].counts.events == lines.len() as i64, "{ledger:?}");
    });
}

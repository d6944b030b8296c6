//! Cases outside the conformance suite: rows that are not as the batch expects them.

use futures_util::FutureExt as _;
use turnmill_model::tables::SenderRow;
use turnmill_model::{Changes, End, Key, Micros, SenderId};
use turnmill_sink::{Batch, Claim, Class, Inspect, Store, StoreError, Transaction};
use turnmill_sink_postgres::PostgresStore;
use uuid::Uuid;

use crate::support::{Schemas, block_on, opened};

pub(crate) async fn write(store: &mut PostgresStore, batch: Batch) -> Result<(), StoreError> {
    let claim = Claim::default();
    let mut tx = store.begin(&claim).await?;
    tx.write(&batch).await?;
    tx.commit().await
}

/// `count` senders, whose ids begin with `first`.
pub(crate) fn senders(first: u128, count: u128, key: &str) -> Batch {
    let mut changes = Changes::default();
    for number in first..first + count {
        let sender_key =
            changes.texts.add(&if count == 1 { key.to_owned() } else { format!("{key} {number}") });
        changes.senders.inserts.push(SenderRow {
            id: SenderId(Uuid::from_u128(number)),
            sender_key,
            channel: None,
            first_seen: Micros(0),
            last_seen: Micros(-1),
            user_id: None,
            assistant: None,
        });
    }
    Batch { changes, ..Batch::default() }
}

#[test]
fn a_key_that_is_taken_is_a_lost_race() {
    let Some(mut schemas) = Schemas::new() else { return };
    block_on(async {
        let mut store = opened(&mut schemas).await;
        // Few rows are written in another way than many.
        for (first, count) in [(1, 1), (1000, 100)] {
            write(&mut store, senders(first, count, "a")).await.unwrap();
            let error = write(&mut store, senders(first, count, "b")).await.unwrap_err();
            assert_eq!(error.class(), Class::Fenced, "{error}");
            assert!(error.to_string().contains("rasa_sender"), "{error}");
            // The sender of another format may have the same key.
            let other = senders(first + count, 1, if count == 1 { "a" } else { "a 1000" });
            write(&mut store, other).await.unwrap();
        }
        assert_eq!(store.digests().await.unwrap().tables["rasa_sender"].rows, 103);
    });
}

#[test]
fn a_row_that_is_missing_is_damage() {
    let Some(mut schemas) = Schemas::new() else { return };
    block_on(async {
        let mut store = opened(&mut schemas).await;
        let mut update = senders(1, 1, "a").changes;
        update.senders.updates = std::mem::take(&mut update.senders.inserts);
        let mut end = Changes::default();
        end.sessions.ends.push(End { id: Uuid::from_u128(7), end_sequence_number: 1 });
        let mut delete = Changes::default();
        let path = delete.texts.add("a/b/c");
        delete.slot_states.deletes.push(Key::Path(path));
        for (changes, table) in
            [(update, "rasa_sender"), (end, "rasa_session"), (delete, "rasa_session_slot_state")]
        {
            let error = write(&mut store, Batch { changes, ..Batch::default() }).await.unwrap_err();
            assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
            assert!(error.to_string().contains(table), "{error}");
        }
    });
}

#[test]
fn a_failed_transaction_cannot_be_committed_and_the_next_one_works() {
    let Some(mut schemas) = Schemas::new() else { return };
    block_on(async {
        let mut store = opened(&mut schemas).await;
        write(&mut store, senders(1, 1, "a")).await.unwrap();
        let claim = Claim::default();
        let mut tx = store.begin(&claim).await.unwrap();
        tx.write(&senders(2, 1, "b")).await.unwrap();
        tx.write(&senders(3, 1, "a")).await.unwrap_err();
        tx.commit().await.unwrap_err();
        // A transaction that is dropped leaves nothing either.
        store.begin(&claim).await.unwrap().write(&senders(4, 1, "c")).await.unwrap();
        // Drops the future in the middle, at each of its first waits.
        for waits in 0..6 {
            let mut tx = store.begin(&claim).await.unwrap();
            let batch = senders(100, 500, "d");
            let mut future = Box::pin(tx.write(&batch));
            for _ in 0..waits {
                if future.as_mut().now_or_never().is_some() {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            drop(future);
        }
        assert_eq!(store.digests().await.unwrap().tables["rasa_sender"].rows, 1);
        write(&mut store, senders(2, 1, "b")).await.unwrap();
    });
}

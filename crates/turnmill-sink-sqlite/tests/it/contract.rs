//! Cases beyond the conformance suite: rows that contradict the batch.

use rusqlite::Connection;
use turnmill_ingest::testkit::Fixture as _;
use turnmill_model::tables::SenderRow;
use turnmill_model::{Changes, End, Key, Micros, SenderId, Settings};
use turnmill_sink::{Batch, Claim, Class, Inspect, Store, StoreError, Transaction};
use turnmill_sink_sqlite::SqliteStore;
use uuid::Uuid;

use crate::support::Files;

async fn open() -> SqliteStore {
    let mut store = SqliteStore::in_memory();
    store.open(&Settings::default()).await.unwrap();
    store
}

async fn write(store: &mut SqliteStore, batch: Batch) -> Result<(), StoreError> {
    let claim = Claim::default();
    let mut tx = store.begin(&claim).await?;
    tx.write(&batch).await?;
    tx.commit().await
}

fn sender(number: u128, key: &str) -> Changes {
    let mut changes = Changes::default();
    let sender_key = changes.texts.add(key);
    changes.senders.inserts.push(SenderRow {
        id: SenderId(Uuid::from_u128(number)),
        sender_key,
        channel: None,
        first_seen: Micros(0),
        last_seen: Micros(0),
        user_id: None,
        assistant: None,
    });
    changes
}

#[test]
fn a_key_that_is_taken_is_a_lost_race() {
    pollster::block_on(async {
        let mut store = open().await;
        write(&mut store, Batch { changes: sender(1, "a"), ..Batch::default() }).await.unwrap();
        let changes = sender(1, "b");
        let error = write(&mut store, Batch { changes, ..Batch::default() }).await.unwrap_err();
        assert_eq!(error.class(), Class::Fenced, "{error}");
        assert!(error.to_string().contains("rasa_sender"), "{error}");
        // The sender of another format may have the same key.
        write(&mut store, Batch { changes: sender(2, "a"), ..Batch::default() }).await.unwrap();
        assert_eq!(store.digests().await.unwrap().tables["rasa_sender"].rows, 2);
    });
}

#[test]
fn a_row_that_is_missing_is_damage() {
    pollster::block_on(async {
        let mut store = open().await;
        let mut update = sender(1, "a");
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
fn a_value_of_another_type_is_named() {
    pollster::block_on(async {
        let mut files = Files::new();
        let mut store = files.create();
        store.open(&Settings::default()).await.unwrap();
        write(&mut store, Batch { changes: sender(1, "a"), ..Batch::default() }).await.unwrap();
        let other = Connection::open(store.path().unwrap()).unwrap();
        for wrong in ["first_seen = 'yesterday'", "channel = x'00'", "channel = CAST(x'ff' AS TEXT)"] {
            other.execute_batch(&format!("UPDATE rasa_sender SET {wrong}")).unwrap();
            let error = store.digests().await.unwrap_err();
            assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
            let column = wrong.split(' ').next().unwrap();
            assert!(error.to_string().contains(&format!("rasa_sender.{column}")), "{error}");
            other.execute_batch("UPDATE rasa_sender SET first_seen = last_seen, channel = NULL").unwrap();
        }
        store.digests().await.unwrap();
    });
}

#[test]
fn a_store_in_memory_is_not_emptied_by_opening_it_again() {
    pollster::block_on(async {
        let mut store = open().await;
        write(&mut store, Batch { changes: sender(1, "a"), ..Batch::default() }).await.unwrap();
        assert_eq!(store.open(&Settings::default()).await.unwrap_err().class(), Class::Fatal);
        assert_eq!(store.digests().await.unwrap().tables["rasa_sender"].rows, 1);
    });
}

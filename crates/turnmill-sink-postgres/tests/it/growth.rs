//! Work that does not grow with the store: counted in rows that are touched, not in time.

use std::time::Duration;

use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::testkit::NoLetters;
use turnmill_ingest::{Accounting, Arrivals, Ingest, RowRules};
use turnmill_model::{Record, SenderId, Settings};
use turnmill_sink::Upkeep;
use turnmill_sink_postgres::{ForeignKeys, PostgresStore};

use crate::arrange::filled_from;
use crate::support::{Schemas, block_on, open};

/// Returns the number of rows of the store's tables that all connections have read so far, by any
/// plan. The server counts them with some delay.
async fn touched(schemas: &Schemas, schema: &str) -> u64 {
    let sql = format!(
        "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_all_tables WHERE schemaname = '{schema}'"
    );
    let mut before = None;
    loop {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let now: u64 = schemas.execute(schema, &sql)[0].parse().unwrap();
        if before == Some(now) {
            return now;
        }
        before = Some(now);
    }
}

/// Returns the rows that a late message and a rebuild of some senders touch, in a store of
/// `senders` senders.
async fn work(schemas: &mut Schemas, senders: u32) -> (u64, u64) {
    let settings = Settings::default();
    let rules = RowRules::new(&settings, RasaDecoder::new);
    // Without session starts: an earlier message gives each session another id.
    let store = filled_from(schemas, senders, 12, 4).await;
    let place = store.settings().clone();
    schemas.execute(place.schema(), "ANALYZE");
    drop(store);
    let mut ingest = Ingest::new(&rules, 0);
    let lines: Vec<String> = (0..4)
        .map(|n| {
            let event = r#""event": "user", "text": "earlier", "timestamp": 1656382549.25, "metadata": {}"#;
            format!(r#"{{"sender_id": "u{n}", {event}}}"#)
        })
        .collect();
    let mut arrivals = Arrivals::default();
    for line in &lines {
        arrivals.push(rules.decoders(), Record { payload: line.as_bytes(), ..Record::default() });
    }
    let start = touched(schemas, place.schema()).await;
    // A server process reports what it has read at its end, or after a while.
    let mut store = PostgresStore::new(place.clone());
    open(&mut store).await.unwrap();
    let report =
        ingest.ingest(&mut store, &arrivals, &[], &Accounting::Source("late"), &NoLetters).await.unwrap();
    assert_eq!(report.late, 4);
    drop(store);
    let late = touched(schemas, place.schema()).await;
    let mut store = PostgresStore::new(place.clone());
    store.begin_rebuild(&settings).await.unwrap();
    let some: Vec<SenderId> = store.senders(None, 4).await.unwrap();
    ingest.rebuild(&mut store, &some, None).await.unwrap();
    store.end_rebuild(&settings).await.unwrap();
    drop(store);
    (late - start, touched(schemas, place.schema()).await - late)
}

#[test]
fn late_events_and_a_rebuild_touch_what_their_senders_have_whatever_else_is_stored() {
    for foreign_keys in [ForeignKeys::Auto, ForeignKeys::Declared] {
        let Some(schemas) = Schemas::new() else { return };
        let mut schemas = schemas.with_foreign_keys(foreign_keys);
        block_on(async {
            let small = work(&mut schemas, 8).await;
            let large = work(&mut schemas, 64).await;
            assert!(small.0 > 300 && small.1 > 300, "{small:?}");
            assert!(large.0 * 2 < small.0 * 3, "late: {small:?} rows, then {large:?}");
            assert!(large.1 * 2 < small.1 * 3, "rebuilt: {small:?} rows, then {large:?}");
        });
    }
}

//! The same rows as a store in memory, whatever the deliveries.

use proptest::prelude::*;
use rusqlite::Connection;
use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::RowRules;
use turnmill_ingest::testkit::{Delivery, Driver, Fixture, Memory, OwnedRecord, conversation};
use turnmill_model::Settings;

use crate::support::{Files, one};

async fn digests<F: Fixture>(fixture: &mut F, deliveries: &[Delivery<'_>]) -> turnmill_sink::digest::Digests
where
    F::Store: std::fmt::Debug,
{
    let rules = RowRules::new(&Settings::default(), RasaDecoder::new).with_checkpoint_every(8);
    let mut driver = Driver::new(fixture, &rules, 2, 4096).await;
    for delivery in deliveries {
        driver.deliver(delivery).await;
    }
    driver.digests().await
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn digests_are_those_of_a_store_in_memory(
        order in Just((0..120_usize).collect::<Vec<_>>()).prop_shuffle(),
        sizes in prop::collection::vec((1..40_usize, 0..2_usize, prop::option::of(0..60_u64)), 1..12),
    ) {
        let mut given: Vec<OwnedRecord> = Vec::new();
        for (number, sender) in ["u1", "u2", "ä\"'; --"].into_iter().enumerate() {
            let start = 1_656_382_549.5 + number as f64 * 0.000_01;
            let lines = conversation(&sender.replace('"', "\\\""), 4, start);
            given.extend(lines.into_iter().map(|line| {
                let named = line.replacen('{', &format!(r#"{{"user_id": "person {}", "#, number / 2), 1);
                OwnedRecord::body(named.into_bytes())
            }));
        }
        given.push(OwnedRecord::body("not JSON"));
        given.push(OwnedRecord::body(" "));
        let mut rest = order.iter().map(|index| &given[index % given.len()]);
        let mut deliveries = Vec::new();
        for (size, writer, fail_after) in sizes {
            let records: Vec<&OwnedRecord> = rest.by_ref().take(size).collect();
            deliveries.push(Delivery { writer, records, fail_after });
        }
        deliveries.push(Delivery { writer: 0, records: rest.collect(), fail_after: None });
        pollster::block_on(async {
            let mut files = Files::new();
            let stored = digests(&mut files, &deliveries).await;
            assert_eq!(stored, digests(&mut Memory, &deliveries).await);
            let path = files.paths().next().unwrap();
            let file = Connection::open(path).unwrap();
            assert_eq!(one::<String>(&file, "PRAGMA integrity_check"), "ok");
            let broken = file.query_row("PRAGMA foreign_key_check", [], |row| row.get::<_, String>(0));
            assert!(matches!(broken, Err(rusqlite::Error::QueryReturnedNoRows)), "{broken:?}");
        });
    }
}

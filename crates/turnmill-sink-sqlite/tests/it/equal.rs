//! The same rows as a store in memory, whatever the deliveries.

use proptest::prelude::*;
use rusqlite::Connection;
use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::testkit::{Delivery, Driver, Fixture, Given, Memory, conversation};
use turnmill_ingest::{Accounting, Arrivals, Ingest, MakeDeadLetter, RowRules};
use turnmill_model::{AssistantNameBuf, PartitionId, Reason, Settings, SourceFactsBuf, TimeUnit};
use turnmill_sink::{DeadLetter, Inspect, Store};
use turnmill_sink_sqlite::SqliteStore;

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
        let mut given: Vec<Given> = Vec::new();
        for (number, sender) in ["u1", "u2", "ä\"'; --"].into_iter().enumerate() {
            let start = 1_656_382_549.5 + number as f64 * 0.000_01;
            let lines = conversation(&sender.replace('"', "\\\""), 4, start);
            given.extend(lines.into_iter().map(|line| {
                let named = line.replacen('{', &format!(r#"{{"user_id": "person {}", "#, number / 2), 1);
                Given::body(named.into_bytes())
            }));
        }
        given.push(Given::body("not JSON"));
        given.push(Given::body(" "));
        let mut rest = order.iter().map(|index| &given[index % given.len()]);
        let mut deliveries = Vec::new();
        for (size, writer, fail_after) in sizes {
            let records: Vec<&Given> = rest.by_ref().take(size).collect();
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

struct FullLetters;

fn letter() -> DeadLetter {
    DeadLetter {
        id: 0,
        key: PartitionId { source: "kafka ü".into(), partition: "rasa/0".into() },
        place: "offset 17".into(),
        reason: Reason::NotUtf8,
        detail: "byte 0 \u{0} and 'quotes'".into(),
        payload: vec![0, 255, 128],
        sender: Some("u1".into()),
        time: Some(1_656_382_549.326_936),
        environment: Some("dev".into()),
        row: Some(-7),
        facts: SourceFactsBuf {
            assistant: AssistantNameBuf::Given("bank".into()),
            time_unit: TimeUnit::Milliseconds,
            anonymised: true,
            decoder: Some("chat".into()),
        },
        record_key: Some(vec![9, 0]),
        headers: vec![("a".into(), Some(vec![0, 1])), ("a".into(), None), ("b".into(), Some(Vec::new()))],
    }
}

impl MakeDeadLetter for FullLetters {
    fn dead_letter(&self, _: usize, _: &turnmill_model::Refused) -> DeadLetter {
        letter()
    }
}

#[test]
fn dead_letters_come_back_whole_and_their_ids_are_not_used_again() {
    pollster::block_on(async {
        let mut store = SqliteStore::in_memory();
        let settings = Settings::default();
        store.open(&settings).await.unwrap();
        let rules = RowRules::new(&settings, RasaDecoder::new);
        let mut ingest = Ingest::new(&rules, 1000);
        let payloads = [b"\xff".as_slice(), b"\xfe"];
        let mut arrivals = Arrivals::default();
        for payload in payloads {
            arrivals.push(rules.decoders(), turnmill_model::Record { payload, ..Default::default() });
        }
        let count = Accounting::Source("kafka ü");
        ingest.ingest(&mut store, &arrivals, &[], &count, &FullLetters).await.unwrap();
        let letters = store.dead_letters(0, 10).await.unwrap();
        assert_eq!(letters, [DeadLetter { id: 1, ..letter() }, DeadLetter { id: 2, ..letter() }]);
        assert_eq!(store.dead_letters(1, 10).await.unwrap(), letters[1..]);
        assert_eq!(store.dead_letters(0, 1).await.unwrap(), letters[..1]);
        // Both are retried with a decoder that accepts them; then another one arrives.
        for id in [1, 2] {
            let good = conversation("u1", 1, 1_656_382_549.5);
            let given = Given::body(good[id - 1].as_bytes());
            let mut arrivals = Arrivals::default();
            arrivals.push(rules.decoders(), given.record());
            let retry = Accounting::Retry { source: "kafka ü", letter: id as u64 };
            ingest.ingest(&mut store, &arrivals, &[], &retry, &FullLetters).await.unwrap();
            // A second process that retries the same letters is fenced, and the ledger stays
            // correct.
            let error = ingest.ingest(&mut store, &arrivals, &[], &retry, &FullLetters).await.unwrap_err();
            assert_eq!(error.class(), turnmill_sink::Class::Fenced, "{error}");
        }
        assert!(store.dead_letters(0, 10).await.unwrap().is_empty());
        let ledger = store.ledger().await.unwrap();
        assert!(ledger[0].1.adds_up() && ledger[0].1.events == 2, "{ledger:?}");
        let mut arrivals = Arrivals::default();
        arrivals.push(rules.decoders(), turnmill_model::Record { payload: b"\xff", ..Default::default() });
        ingest.ingest(&mut store, &arrivals, &[], &count, &FullLetters).await.unwrap();
        assert_eq!(store.dead_letters(0, 10).await.unwrap()[0].id, 3);
    });
}

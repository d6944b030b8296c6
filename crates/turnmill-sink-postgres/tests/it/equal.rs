//! The store holds the same rows as a store in memory, whatever the deliveries.

use std::collections::BTreeSet;

use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::testkit::{Delivery, Driver, Fixture, Given, Memory, conversation};
use turnmill_ingest::{Accounting, Arrivals, Ingest, MakeDeadLetter, RowRules};
use turnmill_model::{AssistantNameBuf, PartitionId, Reason, Settings, SourceFactsBuf, TimeUnit};
use turnmill_sink::{DeadLetter, Inspect};

use crate::support::{Schemas, block_on, opened};

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

#[test]
fn digests_are_those_of_a_store_in_memory() {
    let Some(mut schemas) = Schemas::new() else { return };
    let mut given: Vec<Given> = Vec::new();
    // Enough senders that rows are copied, some of which share users.
    for number in 0..40 {
        let sender = format!("ä\"'; -- {number}");
        let lines =
            conversation(&sender.replace('"', "\\\""), 4, 1_656_382_549.5 + f64::from(number) * 0.000_01);
        given.extend(lines.into_iter().map(|line| {
            let named = line.replacen('{', &format!(r#"{{"user_id": "person {}", "#, number / 3), 1);
            Given::body(named.into_bytes())
        }));
    }
    given.push(Given::body("not JSON"));
    given.push(Given::body(" "));
    let (late, on_time): (Vec<_>, Vec<_>) = given.iter().enumerate().partition(|(index, _)| index % 7 == 0);
    let deliveries: Vec<Delivery<'_>> = on_time
        .chunks(500)
        .chain(late.chunks(50))
        .enumerate()
        .map(|(number, part)| Delivery {
            writer: number,
            records: part.iter().map(|(_, given)| *given).collect(),
            fail_after: (number % 3 == 0).then_some(number as u64 * 5),
        })
        .collect();
    block_on(async {
        let stored = digests(&mut schemas, &deliveries).await;
        assert_eq!(stored, digests(&mut Memory, &deliveries).await);
        assert!(stored.tables["rasa_event"].rows > 1000);
    });
}

struct FullLetters;

fn letter() -> DeadLetter {
    DeadLetter {
        id: 0,
        key: PartitionId { source: "kafka ü".into(), partition: "rasa/0".into() },
        place: "offset 17".into(),
        reason: Reason::NotUtf8,
        detail: "byte 0 \u{0}and 'quotes'".into(),
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
    let Some(mut schemas) = Schemas::new() else { return };
    block_on(async {
        let mut store = opened(&mut schemas).await;
        let settings = Settings::default();
        let rules = RowRules::new(&settings, RasaDecoder::new);
        let mut ingest = Ingest::new(&rules, 1000);
        let mut arrivals = Arrivals::default();
        for payload in [b"\xff".as_slice(), b"\xfe"] {
            arrivals.push(rules.decoders(), turnmill_model::Record { payload, ..Default::default() });
        }
        let count = Accounting::Source("kafka ü");
        ingest.ingest(&mut store, &arrivals, &[], &count, &FullLetters).await.unwrap();
        // A text of PostgreSQL cannot hold NUL.
        let stored = DeadLetter { detail: "byte 0 and 'quotes'".into(), ..letter() };
        let letters = store.dead_letters(0, 10).await.unwrap();
        assert_eq!(letters, [DeadLetter { id: 1, ..stored.clone() }, DeadLetter { id: 2, ..stored }]);
        assert_eq!(store.dead_letters(1, 10).await.unwrap(), letters[1..]);
        assert_eq!(store.dead_letters(0, 1).await.unwrap(), letters[..1]);
        // Both are retried as something that decodes; then another comes.
        for id in [1, 2] {
            let good = conversation("u1", 1, 1_656_382_549.5);
            let given = Given::body(good[id - 1].as_bytes());
            let mut arrivals = Arrivals::default();
            arrivals.push(rules.decoders(), given.record());
            let retry = Accounting::Retry { source: "kafka ü", letter: id as u64 };
            ingest.ingest(&mut store, &arrivals, &[], &retry, &FullLetters).await.unwrap();
            // A second process that retries the same letters gets an error, and the ledger stays
            // right.
            let error = ingest.ingest(&mut store, &arrivals, &[], &retry, &FullLetters).await.unwrap_err();
            assert_eq!(error.class(), turnmill_sink::Class::Fenced, "{error}");
        }
        assert!(store.dead_letters(0, 10).await.unwrap().is_empty());
        let ledger = store.ledger().await.unwrap();
        assert!(ledger[0].1.adds_up() && ledger[0].1.events == 2, "{ledger:?}");
        let mut arrivals = Arrivals::default();
        arrivals.push(rules.decoders(), turnmill_model::Record { payload: b"\xff", ..Default::default() });
        ingest.ingest(&mut store, &arrivals, &[], &count, &FullLetters).await.unwrap();
        let ids: BTreeSet<u64> =
            store.dead_letters(0, 10).await.unwrap().iter().map(|letter| letter.id).collect();
        assert!(ids.len() == 1 && !ids.contains(&1) && !ids.contains(&2), "{ids:?}");
    });
}

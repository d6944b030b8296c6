//! The store holds the same rows as a store in memory, whatever the deliveries.

use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::RowRules;
use turnmill_ingest::testkit::{Delivery, Driver, Fixture, Memory, OwnedRecord, conversation};
use turnmill_model::Settings;

use crate::support::{Schemas, block_on};

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
    let mut given: Vec<OwnedRecord> = Vec::new();
    // Enough senders that rows are copied, some of which share users.
    for number in 0..40 {
        let sender = format!("ä\"'; -- {number}");
        let lines =
            conversation(&sender.replace('"', "\\\""), 4, 1_656_382_549.5 + f64::from(number) * 0.000_01);
        given.extend(lines.into_iter().map(|line| {
            let named = line.replacen('{', &format!(r#"{{"user_id": "person {}", "#, number / 3), 1);
            OwnedRecord::body(named.into_bytes())
        }));
    }
    given.push(OwnedRecord::body("not JSON"));
    given.push(OwnedRecord::body(" "));
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

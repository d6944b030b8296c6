//! The laws of order, once, nothing lost and together, on generated conversations: whatever the order of arrival, the
//! batches, the writers and the failures, the tables are the oracle's.

use proptest::prelude::*;
use turnmill_model::rasa::RasaDecoder;
use turnmill_model::{SessionIdMode, Settings};
use turnmill_oracle::generate::{Options, OwnedRecord, conversations, records, shuffle_keeping};
use turnmill_sink::testkit::{Delivery, Driver, Given};

use crate::memory::{Memory, tables};

/// How the records are delivered.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) settings: Settings,
    /// Sizes of the batches, again and again.
    pub(crate) batches: Vec<usize>,
    pub(crate) writers: usize,
    pub(crate) checkpoint_every: u16,
    pub(crate) cache_bytes: usize,
    /// Fail each batch first after so many statements, again and again.
    pub(crate) failures: Vec<Option<u64>>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            batches: vec![7],
            writers: 1,
            checkpoint_every: 4,
            cache_bytes: 1 << 20,
            failures: vec![None],
        }
    }
}

/// Delivers `arrival` as planned and compares every row with what the oracle makes of `records`.
pub(crate) fn check(plan: &Plan, records: &[OwnedRecord], arrival: &[OwnedRecord]) -> Result<(), String> {
    let expected = turnmill_oracle::tables(
        &plan.settings,
        &records.iter().map(OwnedRecord::as_record).collect::<Vec<_>>(),
    );
    let given: Vec<Given> = arrival
        .iter()
        .map(|record| Given {
            payload: record.payload.clone(),
            sender: record.sender.clone(),
            time: record.time,
            environment: record.environment.clone(),
        })
        .collect();
    let decoder = RasaDecoder::new(&plan.settings);
    pollster::block_on(async {
        let mut fixture = Memory;
        let (every, cache) = (plan.checkpoint_every, plan.cache_bytes);
        let mut driver = Driver::new(&mut fixture, &plan.settings, &decoder, plan.writers, every, cache).await;
        let mut rest = &given[..];
        let mut counts = turnmill_sink::Counts::default();
        for (number, size) in plan.batches.iter().cycle().enumerate() {
            if rest.is_empty() {
                break;
            }
            let (batch, after) = rest.split_at((*size).clamp(1, rest.len()));
            rest = after;
            let fail_after = plan.failures[number % plan.failures.len()];
            let delivery = Delivery { writer: number, records: batch.iter().collect(), fail_after };
            counts += driver.deliver(&delivery).await.counts;
        }
        driver.digests().await;
        if let Some(diff) = turnmill_oracle::diff(&expected.tables, &tables(driver.store())) {
            return Err(diff);
        }
        let errors: Vec<_> = driver.store().event_errors().iter().map(ToString::to_string).collect();
        let expected_errors: Vec<_> = expected.event_errors.iter().map(ToString::to_string).collect();
        if errors != expected_errors {
            return Err(format!("event errors differ: {errors:?}, expected {expected_errors:?}"));
        }
        let ledger = &expected.ledger;
        let expected = (ledger.records, ledger.events, ledger.duplicates.total(), ledger.skipped);
        let found = (counts.records, counts.events, counts.duplicates, counts.skipped);
        let found = (found.0 as u64, found.1 as u64, found.2 as u64, found.3 as u64);
        if found == expected { Ok(()) } else { Err(format!("ledger {found:?}, expected {expected:?}")) }
    })
}

fn plan() -> impl Strategy<Value = Plan> {
    let settings = (0..3_usize, any::<bool>(), any::<bool>()).prop_map(|(mode, bare, stack)| Settings {
        session_id: [SessionIdMode::Uuid, SessionIdMode::Any, SessionIdMode::Off][mode],
        bare_slot_strings: bare,
        stack_events: stack || bare,
        ..Settings::default()
    });
    (
        settings,
        prop::collection::vec(1..30_usize, 1..6),
        1..3_usize,
        1..8_u16,
        prop_oneof![Just(0), Just(1 << 20)],
        prop::collection::vec(prop::option::of(0..60_u64), 1..5),
    )
        .prop_map(|(settings, batches, writers, checkpoint_every, cache_bytes, failures)| Plan {
            settings,
            batches,
            writers,
            checkpoint_every,
            cache_bytes,
            failures,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn tables_do_not_depend_on_how_records_arrive(
        records in records(&Options::default()),
        plan in plan(),
        seed: u64,
    ) {
        let arrival = shuffle_keeping(&records, seed);
        if let Err(diff) = check(&plan, &records, &arrival) {
            prop_assert!(false, "{diff}\narrival: {arrival:#?}");
        }
    }

    #[test]
    fn exceptions_to_the_law_of_order_keep_the_order_of_arrival(
        records in records(&Options::everything()),
        plan in plan(),
    ) {
        if let Err(diff) = check(&Plan { writers: 1, ..plan }, &records, &records) {
            prop_assert!(false, "{diff}\nrecords: {records:#?}");
        }
    }
}

#[test]
fn long_lives_are_the_same_in_any_order() {
    let options = Options { scripts: 6, senders: 1, steps: 60, ..Options::default() };
    for seed in 0..20 {
        let records = conversations(&options, seed);
        let arrival = shuffle_keeping(&records, seed);
        let plan = Plan { batches: vec![40, 3, 17], checkpoint_every: 8, ..Plan::default() };
        if let Err(diff) = check(&plan, &records, &arrival) {
            panic!("seed {seed}, {} records: {diff}", records.len());
        }
    }
}

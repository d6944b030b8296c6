//! The laws of order, once, nothing lost and together, on generated conversations.

use proptest::prelude::*;
use turnmill_oracle::generate::{Options, OwnedRecord, conversations, records, shuffle_keeping};
use turnmill_oracle::laws::{self, Plan, plans};

use crate::memory::{Memory, tables};

/// Delivers `arrival` as planned and compares every row with what the oracle makes of `records`.
pub(crate) fn check(plan: &Plan, records: &[OwnedRecord], arrival: &[OwnedRecord]) -> Result<(), String> {
    laws::check(&mut Memory, plan, records, arrival, |store, digests, expected| {
        if let Some(diff) = turnmill_oracle::diff(&expected.tables, &tables(store)) {
            return Err(diff);
        }
        laws::compare_digests(&digests, expected)?;
        let errors: Vec<_> = store.event_errors().iter().map(ToString::to_string).collect();
        let expected: Vec<_> = expected.event_errors.iter().map(ToString::to_string).collect();
        if errors == expected { Ok(()) } else { Err(format!("event errors {errors:?}, expected {expected:?}")) }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn tables_do_not_depend_on_how_records_arrive(
        records in records(&Options::default()),
        plan in plans(),
        seed: u64,
    ) {
        let arrival = shuffle_keeping(&records, seed);
        if let Err(diff) = check(&plan, &records, &arrival) {
            prop_assert!(false, "{diff}\narrival: {arrival:#?}");
        }
    }

    #[test]
    fn exceptions_to_the_law_of_order_keep_the_order_of_arrival(
        records in records(&Options { claimed_ids: false, ..Options::everything() }),
        plan in plans(),
    ) {
        if let Err(diff) = check(&Plan { writers: 1, ..plan }, &records, &records) {
            prop_assert!(false, "{diff}\nrecords: {records:#?}");
        }
    }
}

/// One sender, many seeds: `TURNMILL_TEST_SEEDS` sets how many, for a longer search.
fn sweep(options: &Options, plan: impl Fn(u64) -> Plan) {
    let seeds = std::env::var("TURNMILL_TEST_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(200);
    for seed in 0..seeds {
        let records = shuffle_keeping(&conversations(options, seed), seed);
        if let Err(diff) = check(&plan(seed), &records, &records) {
            panic!("seed {seed}, {} records: {diff}", records.len());
        }
    }
}

#[test]
fn sessions_kept_by_id_in_any_order() {
    let options = Options {
        senders: 1,
        scripts: 4,
        steps: 14,
        session_ids: 8,
        hostile: 0,
        no_events: 0,
        anonymised: false,
        copies: 0,
        ..Options::default()
    };
    sweep(&options, |seed| Plan {
        batches: vec![1 + (seed % 3) as usize],
        checkpoint_every: 1 + (seed % 4) as u16,
        ..Plan::default()
    });
}

#[test]
fn long_lives_in_any_order() {
    let options = Options { scripts: 6, senders: 1, steps: 60, ..Options::default() };
    sweep(&options, |seed| Plan {
        batches: vec![40, 3, 17],
        checkpoint_every: 2 + (seed % 9) as u16,
        cache_bytes: (seed % 2) as usize * 100_000,
        ..Plan::default()
    });
}

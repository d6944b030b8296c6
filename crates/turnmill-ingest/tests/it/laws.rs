//! The laws of order, once, nothing lost and together, on generated conversations.

use proptest::prelude::*;
use turnmill_ingest::testkit::Memory;
use turnmill_oracle::generate::{Options, OwnedRecord, conversations, records, shuffle_keeping};
use turnmill_oracle::laws::{self, Plan, plans};
use turnmill_oracle::uploads::{check_uploads, uploads};

use crate::memory::tables;

/// Delivers `arrival` as planned and compares every row with what the oracle makes of `records`.
pub(crate) fn check(plan: &Plan, records: &[OwnedRecord], arrival: &[OwnedRecord]) -> Result<(), String> {
    laws::check(&mut Memory, plan, records, arrival, |store, digests, expected| {
        if let Some(diff) = turnmill_oracle::diff(&expected.tables, &tables(store)) {
            return Err(diff);
        }
        laws::compare_digests(&digests, expected)?;
        let errors: Vec<_> = store.event_errors().iter().map(ToString::to_string).collect();
        let expected: Vec<_> = expected.event_errors.iter().map(ToString::to_string).collect();
        if errors == expected {
            Ok(())
        } else {
            Err(format!("event errors {errors:?}, expected {expected:?}"))
        }
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    /// Patterns come and go while records arrive, in any order.
    #[test]
    fn markers_do_not_depend_on_how_records_and_patterns_arrive(
        records in records(&Options::default()),
        plan in plans(),
        uploads in uploads(),
        seed: u64,
    ) {
        let arrival = shuffle_keeping(&records, seed);
        let checked = check_uploads(&mut Memory, &plan, &uploads, &records, &arrival, |store, digests, expected| {
            let (found, rows) = (tables(store), "rasa_markers");
            if found[rows] != expected.tables[rows] {
                let gone = expected.tables[rows].iter().filter(|row| !found[rows].contains(row)).count();
                let more = found[rows].iter().filter(|row| !expected.tables[rows].contains(row)).count();
                return Err(format!("{gone} marker rows missing, {more} too many, of {}", expected.tables[rows].len()));
            }
            laws::compare_digests(&digests, expected)
        });
        if let Err(diff) = checked {
            prop_assert!(false, "{diff}");
        }
    }
}

/// A session id that another sender owns cuts sessions all the same, but the first to arrive keeps the id.
#[test]
fn a_forged_session_id_stays_with_the_first_to_arrive() {
    let id = "0f0e0d0c-0b0a-4908-8706-050403020100";
    let record = |sender: &str, event: &str, second: u32, id: &str| {
        let metadata = format!(r#"{{"session_id": "{id}"}}"#);
        let body = format!(
            r#"{{"sender_id": "{sender}", "event": "{event}", "timestamp": 17000000{second}.5, "metadata": {metadata}}}"#
        );
        OwnedRecord { payload: body.into_bytes(), ..OwnedRecord::default() }
    };
    let records = [
        record("owner", "session_started", 20, id),
        record("forger", "session_started", 10, id),
        record("forger", "user", 11, "1f0e0d0c-0b0a-4908-8706-050403020100"),
        record("owner", "user", 21, id),
        record("forger", "user", 12, id),
        record("third", "session_started", 30, id),
    ];
    for size in 1..7 {
        let plan = Plan { batches: vec![size], ..Plan::default() };
        if let Err(diff) = check(&plan, &records, &records) {
            panic!("batches of {size}: {diff}");
        }
    }
}

/// A sender whose session takes a forged id and goes back, all of it late.
#[test]
fn a_session_that_takes_a_forged_id_comes_to_an_end() {
    let (own, forged) = ("aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002");
    let record = |sender: &str, second: u32, id: &str, rest: &str| {
        let body = format!(
            r#"{{"sender_id": "{sender}", "timestamp": 170000000{second}.5, "metadata": {{"session_id": "{id}"}}, {rest}}}"#
        );
        OwnedRecord { payload: body.into_bytes(), ..OwnedRecord::default() }
    };
    let records = [
        record("owner", 0, forged, r#""event": "slot", "name": "n", "value": 1"#),
        record("forger", 3, own, r#""event": "action", "name": "action_session_start""#),
        record("forger", 2, forged, r#""event": "slot", "name": "session_started_metadata", "value": {}"#),
        record("forger", 1, own, r#""event": "pause""#),
    ];
    for size in 1..5 {
        if let Err(diff) = check(&Plan { batches: vec![size], ..Plan::default() }, &records, &records) {
            panic!("batches of {size}: {diff}");
        }
    }
}

/// The rules of formats other than Rasa's, on events of Rasa: keys that come back after others, and gaps.
#[test]
fn sessions_by_key_and_by_gap_in_any_order() {
    use turnmill_model::{Event, SessionRule};
    let key = |event: &Event<'_>| {
        let kind = event.time.seconds() as u64 / 40 % 5;
        SessionRule::Key(uuid::Uuid::from_u64_pair(event.sender.0.as_u64_pair().0, kind))
    };
    let gap = |_: &Event<'_>| SessionRule::Gap { seconds: 2.5 };
    for seed in 0..150 {
        let options = Options { scripts: 4, senders: 2, steps: 20, ..Options::default() };
        let records = conversations(&options, seed);
        let arrival = shuffle_keeping(&records, seed);
        let plan = Plan {
            batches: vec![1 + (seed % 11) as usize],
            writers: 1 + (seed % 2) as usize,
            checkpoint_every: 1 + (seed % 5) as u16,
            ..Plan::default()
        };
        for rule in [key as fn(&Event<'_>) -> SessionRule, gap] {
            let result =
                laws::check_rule(&mut Memory, &plan, rule, &records, &arrival, |store, _, expected| {
                    turnmill_oracle::diff(&expected.tables, &tables(store)).map_or(Ok(()), Err)
                });
            if let Err(diff) = result {
                panic!("seed {seed}: {diff}");
            }
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

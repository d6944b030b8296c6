//! The laws as tests of a store: in any order of arrival, and with any batches, writers and
//! failures, the tables are the oracle's.
//!
//! Each function panics at the first case that breaks a law.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "used in tests only, where a broken law is a panic"
)]

use std::cell::RefCell;
use std::io::{BufRead, BufReader};
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};
use turnmill_ingest::testkit::Fixture;
use turnmill_sink::Upkeep;

use crate::generate::{Options, OwnedRecord, conversations, records, shuffle_keeping};
use crate::laws::{self, Plan, plans};
use crate::uploads::{check_uploads, uploads};

fn check<F: Fixture>(fixture: &mut F, plan: &Plan, records: &[OwnedRecord], seed: u64) -> Result<(), String>
where
    F::Store: std::fmt::Debug,
{
    let arrival = shuffle_keeping(records, seed);
    laws::check(fixture, plan, records, &arrival, |_, digests, expected| {
        laws::compare_digests(&digests, expected)
    })
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(ProptestConfig { cases, max_shrink_iters: 500, ..ProptestConfig::default() })
}

/// Checks generated conversations, plans and orders of arrival.
pub fn tables_do_not_depend_on_how_records_arrive<F: Fixture>(fixture: &mut F, cases: u32)
where
    F::Store: std::fmt::Debug,
{
    let fixture = RefCell::new(fixture);
    let strategy = (records(&Options::default()), plans(), any::<u64>());
    let result = runner(cases).run(&strategy, |(records, plan, seed)| {
        check(*fixture.borrow_mut(), &plan, &records, seed)
            .map_err(|diff| TestCaseError::fail(format!("{diff}\nrecords: {records:#?}")))
    });
    result.unwrap();
}

/// Checks generated logs of Amazon Lex in any order, each a few times.
pub fn lex_logs_in_any_order<F: Fixture>(fixture: &mut F, seeds: std::ops::Range<u64>, records: usize)
where
    F::Store: std::fmt::Debug,
{
    for seed in seeds {
        let records = crate::lex::generate::logs(seed, records);
        let batches = [vec![1], vec![7], vec![40, 3, 17]][seed as usize % 3].clone();
        let plan = Plan { batches, writers: 2, checkpoint_every: 4, ..Plan::default() };
        if let Err(diff) = laws::check_lex(fixture, &plan, &records, seed) {
            panic!("seed {seed}: {diff}");
        }
    }
}

/// Checks the same while patterns come and go.
pub fn markers_do_not_depend_on_how_records_and_patterns_arrive<F: Fixture>(fixture: &mut F, cases: u32)
where
    F::Store: std::fmt::Debug + Upkeep,
{
    let fixture = RefCell::new(fixture);
    let strategy = (records(&Options::default()), plans(), uploads(), any::<u64>());
    let result = runner(cases).run(&strategy, |(records, plan, uploads, seed)| {
        let arrival = shuffle_keeping(&records, seed);
        let compare = |_: &mut _, digests, expected: &_| laws::compare_digests(&digests, expected);
        check_uploads(*fixture.borrow_mut(), &plan, &uploads, &records, &arrival, compare)
            .map_err(TestCaseError::fail)
    });
    result.unwrap();
}

/// Checks long conversations of two senders, one for each of `seeds` seeds.
pub fn long_lives_in_any_order<F: Fixture>(fixture: &mut F, seeds: u64)
where
    F::Store: std::fmt::Debug,
{
    let options = Options { scripts: 8, senders: 2, steps: 40, ..Options::default() };
    for seed in 0..seeds {
        let records = conversations(&options, seed);
        let plan = Plan { batches: vec![40, 3, 17], writers: 2, checkpoint_every: 8, ..Plan::default() };
        if let Err(diff) = check(fixture, &plan, &records, seed) {
            panic!("seed {seed}: {diff}");
        }
    }
}

/// Checks captures of a real assistant, in batches of these sizes.
pub fn real_captures_in_any_order<F: Fixture>(fixture: &mut F, batches: &[usize])
where
    F::Store: std::fmt::Debug,
{
    for name in ["parcel/file-broker", "inmemory/file-broker", "hostile/file-broker"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/rasa-oss-3.6");
        let file = std::fs::File::open(folder.join(format!("{name}.jsonl.gz"))).unwrap();
        let lines = BufReader::new(flate2::read::GzDecoder::new(file)).split(b'\n');
        let records: Vec<OwnedRecord> = lines.map(|line| OwnedRecord::body(line.unwrap())).collect();
        let plan = Plan { batches: batches.to_vec(), writers: 2, checkpoint_every: 32, ..Plan::default() };
        if let Err(diff) = check(fixture, &plan, &records, 3) {
            panic!("{name}: {diff}");
        }
    }
}

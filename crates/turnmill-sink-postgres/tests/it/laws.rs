//! The laws, on a server: whatever the order of arrival, the batches, the writers and the failures,
//! the tables are the oracle's.

use std::io::{BufRead, BufReader};

use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};
use turnmill_oracle::generate::{Options, OwnedRecord, conversations, records, shuffle_keeping};
use turnmill_oracle::laws::{self, Plan, plans};
use turnmill_oracle::uploads::{check_uploads, uploads};

use crate::support::{Schemas, runtime};

fn check(
    schemas: &mut Schemas,
    plan: &Plan,
    records: &[OwnedRecord],
    arrival: &[OwnedRecord],
) -> Result<(), String> {
    laws::check(schemas, plan, records, arrival, |_, digests, expected| {
        laws::compare_digests(&digests, expected)
    })
}

#[test]
fn tables_do_not_depend_on_how_records_arrive() {
    let Some(schemas) = Schemas::new() else { return };
    let runtime = runtime();
    let _inside = runtime.enter();
    let schemas = std::cell::RefCell::new(schemas);
    let config = ProptestConfig { cases: 24, max_shrink_iters: 100, ..ProptestConfig::default() };
    let cases = (records(&Options::default()), plans(), any::<u64>());
    let result = TestRunner::new(config).run(&cases, |(records, plan, seed)| {
        check(&mut schemas.borrow_mut(), &plan, &records, &shuffle_keeping(&records, seed))
            .map_err(|diff| TestCaseError::fail(format!("{diff}\nrecords: {records:#?}")))
    });
    result.unwrap();
}

#[test]
fn markers_do_not_depend_on_how_records_and_patterns_arrive() {
    let Some(schemas) = Schemas::new() else { return };
    let runtime = runtime();
    let _inside = runtime.enter();
    let schemas = std::cell::RefCell::new(schemas);
    let config = ProptestConfig { cases: 16, max_shrink_iters: 100, ..ProptestConfig::default() };
    let cases = (records(&Options::default()), plans(), uploads(), any::<u64>());
    let result = TestRunner::new(config).run(&cases, |(records, plan, uploads, seed)| {
        let arrival = shuffle_keeping(&records, seed);
        let compare = |_: &mut _, digests, expected: &_| laws::compare_digests(&digests, expected);
        check_uploads(&mut *schemas.borrow_mut(), &plan, &uploads, &records, &arrival, compare)
            .map_err(TestCaseError::fail)
    });
    result.unwrap();
}

#[test]
fn long_lives_in_any_order() {
    let Some(mut schemas) = Schemas::new() else { return };
    let runtime = runtime();
    let _inside = runtime.enter();
    let options = Options { scripts: 8, senders: 2, steps: 40, ..Options::default() };
    for seed in 0..3 {
        let records = conversations(&options, seed);
        let plan = Plan { batches: vec![40, 3, 17], writers: 2, checkpoint_every: 8, ..Plan::default() };
        if let Err(diff) = check(&mut schemas, &plan, &records, &shuffle_keeping(&records, seed)) {
            panic!("seed {seed}: {diff}");
        }
    }
}

#[test]
fn real_captures_in_any_order() {
    let Some(mut schemas) = Schemas::new() else { return };
    let runtime = runtime();
    let _inside = runtime.enter();
    for name in ["parcel/file-broker", "inmemory/file-broker", "hostile/file-broker"] {
        let path = format!("{}/../../fixtures/rasa-oss-3.6/{name}.jsonl.gz", env!("CARGO_MANIFEST_DIR"));
        let file = flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap());
        let records: Vec<OwnedRecord> = BufReader::new(file)
            .split(b'\n')
            .map(|line| OwnedRecord { payload: line.unwrap(), ..OwnedRecord::default() })
            .collect();
        let plan = Plan { batches: vec![1500, 310], writers: 2, checkpoint_every: 32, ..Plan::default() };
        if let Err(diff) = check(&mut schemas, &plan, &records, &shuffle_keeping(&records, 3)) {
            panic!("{name}: {diff}");
        }
    }
}

//! The laws, on files: in any order of arrival and with any batches, writers and failures, the
//! tables are the oracle's.

use std::io::{BufRead, BufReader};

use proptest::prelude::*;
use turnmill_oracle::generate::{Options, OwnedRecord, conversations, records, shuffle_keeping};
use turnmill_oracle::laws::{self, Plan, plans};
use turnmill_oracle::uploads::{check_uploads, uploads};

use crate::support::Files;

fn check(plan: &Plan, records: &[OwnedRecord], arrival: &[OwnedRecord]) -> Result<(), String> {
    laws::check(&mut Files::new(), plan, records, arrival, |_, digests, expected| {
        laws::compare_digests(&digests, expected)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 500, ..ProptestConfig::default() })]

    #[test]
    fn tables_do_not_depend_on_how_records_arrive(
        records in records(&Options::default()),
        plan in plans(),
        seed: u64,
    ) {
        if let Err(diff) = check(&plan, &records, &shuffle_keeping(&records, seed)) {
            prop_assert!(false, "{diff}\nrecords: {records:#?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 500, ..ProptestConfig::default() })]

    #[test]
    fn markers_do_not_depend_on_how_records_and_patterns_arrive(
        records in records(&Options::default()),
        plan in plans(),
        uploads in uploads(),
        seed: u64,
    ) {
        let (fixture, arrival) = (&mut Files::new(), shuffle_keeping(&records, seed));
        let compare = |_: &mut _, digests, expected: &_| laws::compare_digests(&digests, expected);
        if let Err(diff) = check_uploads(fixture, &plan, &uploads, &records, &arrival, compare) {
            prop_assert!(false, "{diff}");
        }
    }
}

#[test]
fn long_lives_in_any_order() {
    let options = Options { scripts: 8, senders: 2, steps: 40, ..Options::default() };
    for seed in 0..10 {
        let records = conversations(&options, seed);
        let plan = Plan { batches: vec![40, 3, 17], writers: 2, checkpoint_every: 8, ..Plan::default() };
        if let Err(diff) = check(&plan, &records, &shuffle_keeping(&records, seed)) {
            panic!("seed {seed}: {diff}");
        }
    }
}

#[test]
fn real_captures_in_any_order() {
    for name in ["parcel/file-broker", "inmemory/file-broker", "hostile/file-broker"] {
        let path = format!("{}/../../fixtures/rasa-oss-3.6/{name}.jsonl.gz", env!("CARGO_MANIFEST_DIR"));
        let file = flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap());
        let records: Vec<OwnedRecord> = BufReader::new(file)
            .split(b'\n')
            .map(|line| OwnedRecord { payload: line.unwrap(), ..OwnedRecord::default() })
            .collect();
        let plan = Plan { batches: vec![400, 31], writers: 2, checkpoint_every: 32, ..Plan::default() };
        if let Err(diff) = check(&plan, &records, &shuffle_keeping(&records, 3)) {
            panic!("{name}: {diff}");
        }
    }
}

//! Checks that nothing is lost: a process killed at any moment changes nothing in the end.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use turnmill_oracle::generate::{OwnedRecord, shuffle_keeping};

use crate::support::{expected, lines, replay, run, url, verified};

/// Number of kills.
const KILLS: usize = 100;

#[test]
fn a_hundred_kills_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (input, store) = (folder.path().join("events.jsonl"), folder.path().join("rasa.sqlite"));
    let records: Vec<OwnedRecord> = lines("parcel/file-broker.jsonl.gz")
        .into_iter()
        .map(|line| OwnedRecord { payload: line.into_bytes(), ..OwnedRecord::default() })
        .collect();
    // Events out of order, so that replays for late events are interrupted as well.
    let bodies: Vec<String> = shuffle_keeping(&records, 7)
        .into_iter()
        .map(|record| String::from_utf8(record.payload).unwrap())
        .collect();
    std::fs::write(&input, bodies.join("\n")).unwrap();

    let url = url(&store);
    let arguments = [input.to_str().unwrap(), "--to", &url, "--batch", "40", "--quiet"];
    let mut killed = 0;
    while killed < KILLS {
        let mut child = replay(&arguments).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(RandomState::new().hash_one(killed) % 150_000));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert!(!status.success() || killed > 0, "the first run was killed before its end");
        if status.success() {
            // The run reached the end: start over, so that every kill interrupts something.
            for suffix in ["", "-wal", "-shm"] {
                let _ = std::fs::remove_file(format!("{}{suffix}", store.display()));
            }
            continue;
        }
        killed += 1;
    }
    run(replay(&arguments), 0);

    let verified = verified(&store);
    assert_eq!(
        verified["digest"],
        expected(bodies.iter().map(String::as_str)),
        "no kill shows in the tables"
    );
    assert_eq!(verified["ledger"][0]["records"], bodies.len(), "no record is lost or counted twice");
    assert_eq!(verified["ledger"][0]["events"], bodies.len());
}

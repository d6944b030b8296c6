//! Tests of `turnmill rebuild`: it gives the same rows, also if it is killed at any moment or
//! others write meanwhile.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use turnmill_testbed::postgres;

use crate::support::{capture, json, replay, run, turnmill, url};

const PARCEL: &str = "parcel/file-broker.jsonl.gz";
const HOSTILE: &str = "hostile/file-broker.jsonl.gz";

/// Loads a capture. Returns the store's digest.
fn load(store: &str, capture_of: &str, more: &[&str]) -> Value {
    let input = capture(capture_of);
    let arguments = [&[input.to_str().unwrap(), "--to", store, "--quiet"][..], more].concat();
    run(replay(&arguments), 0);
    digest(store)
}

fn digest(store: &str) -> Value {
    json(turnmill(&["verify", store, "--json"]), 0)["digest"].clone()
}

/// Kills rebuilds at random moments until one finishes. Returns the number of kills.
fn rebuild_with_kills(store: &str, flags: &[&str]) -> u32 {
    let arguments = [&["rebuild", store, "--batch", "5", "--quiet"][..], flags].concat();
    let mut killed = 0;
    for round in 0..12 {
        let mut child = turnmill(&arguments).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(RandomState::new().hash_one(round) % 400_000));
        child.kill().unwrap();
        killed += u32::from(!child.wait().unwrap().success());
    }
    run(turnmill(&arguments), 0);
    killed
}

fn every_law(store: &str, others: &Path) {
    let before = load(store, PARCEL, &[]);
    let said = json(turnmill(&["rebuild", store, "--json"]), 0);
    assert_eq!((&said["events"], &said["settings_changed"]), (&json!(15161), &json!(false)));
    assert_eq!(digest(store), before, "the same settings give the same rows");

    let assistant = ["--assistant", "parcel"];
    let settings = ["--bare-slot-strings", "--no-stack-events"];
    let flags = [assistant, settings].concat();
    let expected = load(&sqlite(others, "changed.sqlite"), PARCEL, &flags);
    assert_ne!(expected, before);
    assert!(rebuild_with_kills(store, &flags) > 0);
    assert_eq!(digest(store), expected, "no kill shows in the rows");

    // Rebuilds with the first settings again. The kill is between begin and end, so that other
    // writers are refused meanwhile.
    let back = ["--no-bare-slot-strings", "--stack-events"];
    let expected = load(&sqlite(others, "back.sqlite"), PARCEL, &assistant);
    let rebuild = [&["rebuild", store, "--batch", "1"][..], &back].concat();
    let mut child = turnmill(&rebuild).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success(), "{said}");
    assert!(said.contains("other programs cannot write until the rebuild has finished"), "{said}");
    let input = capture("moodbot/sql-broker.jsonl.gz");
    for flags in [&[][..], &settings[..]] {
        let refused = run(replay(&[&[input.to_str().unwrap(), "--to", store][..], flags].concat()), 1);
        let told = String::from_utf8(refused.stderr).unwrap();
        assert!(told.contains("rebuild"), "{told}");
    }
    run(turnmill(&[&["rebuild", store][..], &back].concat()), 0);
    assert_eq!(digest(store), expected);
}

/// Engine 1 gave the rows other ids, so only a rebuild of all rows fits this engine.
#[test]
fn a_store_of_the_first_engine_becomes_one_of_now() {
    let folder = tempfile::tempdir().unwrap();
    let (path, now) = (folder.path().join("old.sqlite"), sqlite(folder.path(), "now.sqlite"));
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/engine-1.sqlite.gz");
    let mut old = std::fs::File::create(&path).unwrap();
    std::io::copy(&mut GzDecoder::new(std::fs::File::open(packed).unwrap()), &mut old).unwrap();
    let old = url(&path);
    let input = capture(HOSTILE);
    for refused in [turnmill(&["verify", &old]), replay(&[input.to_str().unwrap(), "--to", &old])] {
        let told = String::from_utf8(run(refused, 1).stderr).unwrap();
        assert!(told.contains("`turnmill rebuild`"), "{told}");
    }
    run(turnmill(&["rebuild", &old, "--quiet"]), 0);
    assert_eq!(digest(&old), load(&now, HOSTILE, &[]));
    // Events that come again are known there.
    load(&old, "hostile/tracker-store.jsonl.gz", &[]);
    assert_eq!(digest(&old), load(&now, "hostile/tracker-store.jsonl.gz", &[]));
}

fn beside_writers(store: &str, other: &str) {
    load(store, "moodbot/sql-broker.jsonl.gz", &[]);
    let input = capture(PARCEL);
    let mut writing = replay(&[input.to_str().unwrap(), "--to", store, "--batch", "100", "--quiet"]);
    let mut writing = writing.stdin(Stdio::null()).spawn().unwrap();
    let mut rebuilds = 0;
    loop {
        run(turnmill(&["rebuild", store, "--batch", "7", "--quiet"]), 0);
        rebuilds += 1;
        if let Some(status) = writing.try_wait().unwrap() {
            assert!(status.success());
            break;
        }
    }
    assert!(rebuilds > 0);
    load(other, "moodbot/sql-broker.jsonl.gz", &[]);
    assert_eq!(digest(store), load(other, PARCEL, &[]), "{rebuilds} rebuilds beside a writer change nothing");
}

fn sqlite(folder: &Path, name: &str) -> String {
    url(&folder.join(name))
}

#[test]
fn a_rebuild_of_a_file_survives_kills() {
    let folder = tempfile::tempdir().unwrap();
    every_law(&sqlite(folder.path(), "store.sqlite"), folder.path());
}

#[test]
fn a_rebuild_of_a_file_goes_beside_writers() {
    let folder = tempfile::tempdir().unwrap();
    beside_writers(&sqlite(folder.path(), "store.sqlite"), &sqlite(folder.path(), "other.sqlite"));
}

#[test]
fn a_rebuild_in_postgres_survives_kills() {
    let folder = tempfile::tempdir().unwrap();
    let Some(database) = postgres::database() else { return };
    every_law(&database, folder.path());
}

#[test]
fn a_rebuild_in_postgres_goes_beside_writers() {
    let folder = tempfile::tempdir().unwrap();
    let Some(database) = postgres::database() else { return };
    beside_writers(&database, &sqlite(folder.path(), "other.sqlite"));
}

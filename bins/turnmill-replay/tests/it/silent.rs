//! Tests of a signal while a database keeps connections open and sends nothing.

use std::io::Write as _;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use turnmill_testbed::postgres;
use turnmill_testbed::proxy::Proxy;

use crate::support::{expected, json, lines, replay, run, turnmill};

/// Maximum time to wait for a load.
const PATIENCE: Duration = Duration::from_secs(120);

fn spawned(mut command: Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn signal(child: &Child) {
    let sent = Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Checks that `child` ends within `limit` as an interrupted process does, and returns its output.
#[track_caller]
fn interrupted(mut child: Child) -> String {
    let asked = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if asked.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("it does not end: {}", text(&child.wait_with_output().unwrap()));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().unwrap();
    let text = text(&output);
    assert_eq!(output.status.code(), Some(130), "{text}");
    assert!(!text.contains(postgres::PASSWORD), "{text}");
    text
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Waits until the store has this number of events.
#[track_caller]
fn wait_for(url: &str, events: u64) {
    let begun = Instant::now();
    loop {
        let output = turnmill(&["verify", url, "--json"]).output().unwrap();
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        if said["ledger"][0]["events"] == events {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{}", text(&output));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_signal_ends_a_load_into_a_silent_database_within_the_limit() {
    let Some(url) = postgres::database() else { return };
    let proxy = Proxy::before(&url);
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("events.jsonl");
    let all = lines("parcel/file-broker.jsonl.gz");
    let (first, rest) = all[..600].split_at(300);
    std::fs::write(&input, first.join("\n") + "\n").unwrap();
    let path = input.to_str().unwrap();
    let following = ["--to", proxy.url(), "--follow", "--quiet", "--shutdown-secs"];

    // The signal comes during a load.
    let load = spawned(replay(&[&[path][..], &following, &["1"]].concat()));
    wait_for(&url, 300);
    proxy.freeze(true);
    let mut file = std::fs::OpenOptions::new().append(true).open(&input).unwrap();
    writeln!(file, "{}", rest.join("\n")).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    signal(&load);
    let said = interrupted(load);
    assert!(said.contains("stopping took longer than 1.0 s (--shutdown-secs)"), "{said}");

    // The signal comes while it connects. A second signal ends it at once.
    let load = spawned(replay(&[&[path][..], &following, &["600"]].concat()));
    std::thread::sleep(Duration::from_secs(1));
    signal(&load);
    std::thread::sleep(Duration::from_millis(500));
    let asked = Instant::now();
    signal(&load);
    interrupted(load);
    assert!(asked.elapsed() < PATIENCE);

    // The committed rows stayed, and the rest is loaded once.
    proxy.freeze(false);
    run(replay(&[path, "--to", &url, "--quiet"]), 0);
    let verified = json(turnmill(&["verify", &url, "--json"]), 0);
    assert_eq!(verified["digest"], expected(all[..600].iter().map(String::as_str)));
    assert_eq!(verified["ledger"][0]["records"], 600);
}

#[test]
fn a_signal_ends_reading_a_silent_tracker_store_within_the_limit() {
    let Some(url) = postgres::database() else { return };
    let proxy = Proxy::before(&url);
    proxy.freeze(true);
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("rasa.sqlite").display());
    let load = spawned(replay(&[proxy.url(), "--to", &store, "--quiet", "--shutdown-secs", "1"]));
    std::thread::sleep(Duration::from_secs(1));
    signal(&load);
    interrupted(load);
}

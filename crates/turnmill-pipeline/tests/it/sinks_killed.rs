//! A runner that is killed again and again: every change arrives, in order, and what comes twice is
//! the same.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use turnmill_ingest::testkit::conversation;
use turnmill_model::Settings;
use turnmill_pipeline::{OutboxRunner, Stop};
use turnmill_sink::SinkError;
use turnmill_sink::outbox::{ChangeBatch, Outbox, SinkSpec, SinkStart};
use turnmill_sink_postgres::PostgresStore;
use turnmill_sink_sqlite::SqliteStore;

use crate::sinks::{START, write};

/// Names the store and the file of the process that is killed.
const STORE: &str = "TURNMILL_TEST_SINK_STORE";
const FILE: &str = "TURNMILL_TEST_SINK_FILE";

fn spec() -> SinkSpec {
    SinkSpec { start: SinkStart::Now, ..SinkSpec::new("file") }
}

/// Not a test by itself: what the killed process does.
#[test]
#[ignore = "run by the tests below, in a process of its own"]
fn child() {
    let (Ok(store), Ok(file)) = (std::env::var(STORE), std::env::var(FILE)) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        match store.strip_prefix("sqlite:") {
            Some(path) => feed(SqliteStore::file(path), &file).await,
            None => feed(PostgresStore::new(store.parse().unwrap()), &file).await,
        }
    });
}

/// Writes every batch as a line of JSON, slowly.
async fn feed<S: Outbox>(store: S, file: &str) {
    let mut file = std::fs::OpenOptions::new().append(true).open(file).unwrap();
    let sink = |batch: &ChangeBatch| {
        let json = serde_json::to_string(batch).map_err(|error| SinkError::fatal(error.to_string()))?;
        // A line that was cut by a kill ends before the next begins.
        writeln!(file, "\n{json}").map_err(|error| SinkError::retryable(error.to_string()))?;
        std::thread::sleep(Duration::from_millis(2));
        Ok(())
    };
    let mut runner = OutboxRunner::new(store, &Settings::default(), spec(), sink, Stop::default())
        .with_lease(Duration::from_millis(300))
        .with_poll(Duration::from_millis(5))
        .with_page(7, 50);
    runner.run(&mut |_| {}).await.unwrap();
}

fn start(store: &str, file: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sinks_killed::child", "--ignored"])
        .env(STORE, store)
        .env(FILE, file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

async fn survives<S: Outbox>(mut store: S, name: &str) {
    const TRANSACTIONS: usize = 120;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("changes.jsonl");
    std::fs::write(&file, "").unwrap();
    store.open(&Settings::default()).await.unwrap();
    store.put_sink(&spec()).await.unwrap();
    let mut child = start(name, &file);
    let mut kills = 0;
    for number in 0..TRANSACTIONS {
        write(&mut store, &conversation(&format!("u{}", number % 9), 1, START + number as f64)).await;
        if number % 20 == 19 {
            std::thread::sleep(Duration::from_millis(150));
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
            child = start(name, &file);
        }
    }
    let head = store.sinks().await.unwrap()[0].head;
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while store.sinks().await.unwrap()[0].lag() > 0 {
        assert!(std::time::Instant::now() < deadline, "{:?}", store.sinks().await.unwrap());
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();

    let text = std::fs::read_to_string(&file).unwrap();
    let mut first: BTreeMap<u64, &str> = BTreeMap::new();
    let (mut lines, mut last) = (0_u64, 0);
    for line in text.lines().filter(|line| !line.is_empty()) {
        // A line that was cut.
        let Ok(batch) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let number: u64 = batch["id"].as_str().unwrap().parse().unwrap();
        assert!(number <= last + 1, "{number} came before {}", last + 1);
        last = number;
        assert_eq!(*first.entry(number).or_insert(line), line, "batch {number} is repeated as it was");
        lines += 1;
    }
    assert_eq!(first.keys().copied().collect::<Vec<_>>(), (1..=head).collect::<Vec<_>>(), "all have arrived");
    let told = format!("{kills} kills, {lines} batches delivered of {head}");
    assert!(head >= TRANSACTIONS as u64 && kills > 4 && lines >= head, "{told}");
}

#[test]
fn a_killed_runner_loses_nothing_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    let name = format!("sqlite:{}", path.display());
    pollster::block_on(survives(SqliteStore::file(&path), &name));
}

#[test]
fn a_killed_runner_loses_nothing_of_postgresql() {
    let Some(url) = turnmill_testbed::postgres::database() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(survives(PostgresStore::new(url.parse().unwrap()), &url));
}

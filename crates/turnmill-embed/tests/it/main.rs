//! The facade: what it loads, and what a build without features leaves out.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure of a test is a panic")]

mod metrics;

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use turnmill_embed::pipeline::OutboxError;
use turnmill_embed::sink::SinkError;
use turnmill_embed::sink::outbox::{ChangeBatch, SinkSpec, SinkStart};
use turnmill_embed::sqlite::SqliteStore;
use turnmill_embed::{Inspect, LoadError, Loader, MemoryStore};

fn event(second: u32, event: &str) -> String {
    format!(r#"{{"sender_id": "u1", "event": "{event}", "timestamp": 17000000{second:02}.5, "text": "t"}}"#)
}

#[test]
fn files_and_iterators_give_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("rasa_event.log");
    let events = [event(3, "user"), event(4, "bot"), event(1, "session_started"), event(4, "bot")];
    std::fs::write(&log, events.join("\n")).unwrap();

    let mut of_file = Loader::new(SqliteStore::file(folder.path().join("rasa.sqlite")));
    let loaded = of_file.load_file(&log).unwrap();
    assert_eq!((loaded.report.counts.events, loaded.report.counts.duplicates), (3, 1));
    assert_eq!(of_file.load_file(&log).unwrap().report.counts.records, 0, "the position is kept");

    // In small batches, so that the session's start is late.
    let limits = turnmill_embed::BatchLimits { records: 1, ..Default::default() };
    let mut of_iterator =
        Loader::new(MemoryStore::default()).configure(|pipeline| pipeline.with_limits(limits));
    let loaded = of_iterator.load_records("test", events.clone()).unwrap();
    assert_eq!((loaded.report.counts.records, loaded.report.late), (4, 1));
    let again = of_iterator.load_records("test", events).unwrap();
    assert_eq!((again.report.counts.events, again.report.counts.duplicates), (0, 4));

    let rows = of_file.with_store(async |store| store.digests().await).unwrap().unwrap();
    assert_eq!(rows, of_iterator.with_store(async |store| store.digests().await).unwrap().unwrap());
    assert_eq!(rows.tables["rasa_turn"].rows, 1);
}

/// Opens a SQLite store twice: for the loader, and for its sink.
fn stores(folder: &tempfile::TempDir) -> [SqliteStore; 2] {
    [0; 2].map(|_| SqliteStore::file(folder.path().join("rasa.sqlite")))
}

#[test]
fn a_sink_has_everything_once_it_is_finished_and_continues_in_the_next_loader() {
    let folder = tempfile::tempdir().unwrap();
    let seen = Arc::new(Mutex::new((Vec::new(), 0)));
    for round in 0..2 {
        let kept = Arc::clone(&seen);
        let sink = move |batch: &ChangeBatch| {
            let mut kept = kept.lock().unwrap();
            kept.0.push(batch.origin.to_string());
            kept.1 += batch.rows().filter(|row| row.table == "rasa_event").count();
            Ok(())
        };
        let spec = SinkSpec { start: SinkStart::Now, ..SinkSpec::new("events") };
        let [store, of_sink] = stores(&folder);
        let mut loader = Loader::new(store).with_sink(of_sink, spec, sink).unwrap();
        for second in [1, 2] {
            let loaded = loader.load_records("test", [event(10 * round + second, "user")]).unwrap();
            assert_eq!(loaded.report.counts.events, 1);
        }
        assert!(loader.finish_sinks(Duration::from_secs(60)).unwrap());
        assert!(loader.finish_sinks(Duration::ZERO).unwrap(), "there are no others");
    }
    assert_eq!(*seen.lock().unwrap(), (["1", "2", "3", "4"].map(String::from).to_vec(), 4));
}

#[test]
fn an_error_of_a_sink_does_not_stop_loading() {
    let folder = tempfile::tempdir().unwrap();
    let [store, of_sink] = stores(&folder);
    let refuse = |_: &ChangeBatch| Err(SinkError::refused(0, "never"));
    let mut loader = Loader::new(store).with_sink(of_sink, SinkSpec::new("picky"), refuse).unwrap();
    for second in [1, 2] {
        let loaded = loader.load_records("test", [event(second, "user")]).unwrap();
        assert_eq!(loaded.report.counts.events, 1);
    }
    let error = loader.finish_sinks(Duration::from_secs(60)).unwrap_err();
    assert!(matches!(&error, LoadError::Sink(OutboxError::Refused { .. })), "{error:?}");

    let [store, of_sink] = stores(&folder);
    let away = |_: &ChangeBatch| Err(SinkError::retryable("away"));
    let mut loader = Loader::new(store).with_sink(of_sink, SinkSpec::new("picky"), away).unwrap();
    assert!(!loader.finish_sinks(Duration::from_millis(200)).unwrap(), "it does not have everything");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Loader::new(MemoryStore::default()).load_file("no/such.log").unwrap_err();
    assert_eq!(error.to_string(), "cannot open `no/such.log`");
}

#[cfg(feature = "postgres")]
mod postgres {
    use turnmill_embed::postgres::{PostgresSettings, PostgresStore};
    use turnmill_embed::sink::outbox::{ChangeBatch, SinkSpec};
    use turnmill_embed::{Inspect, LoadError, Loader, MemoryStore};

    #[test]
    fn a_sink_of_a_loader_has_a_runtime_too() {
        let Some(url) = turnmill_testbed::postgres::database() else { return };
        let settings: PostgresSettings = url.parse().unwrap();
        let [store, of_sink] = [0; 2].map(|_| PostgresStore::new(settings.clone()));
        let sink = |_: &ChangeBatch| Ok(());
        let mut loader = Loader::new(store).with_sink(of_sink, SinkSpec::new("none"), sink).unwrap();
        loader.load_records("test", [super::event(1, "user")]).unwrap();
        assert!(loader.finish_sinks(std::time::Duration::from_secs(60)).unwrap());
    }

    #[test]
    fn a_loader_brings_the_runtime() {
        let Some(url) = turnmill_testbed::postgres::database() else { return };
        let settings: PostgresSettings = url.parse().unwrap();
        let mut loader = Loader::new(PostgresStore::new(settings));
        assert_eq!(loader.load_records("test", [super::event(1, "user")]).unwrap().report.counts.events, 1);
        let rows = loader.with_store(async |store| store.digests().await).unwrap().unwrap();
        assert_eq!(rows.tables["rasa_event"].rows, 1);
    }

    #[test]
    fn inside_of_a_runtime_it_refuses() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let refused = Loader::new(MemoryStore::default()).load_records("test", ["{}"]);
            assert!(matches!(refused, Err(LoadError::InsideRuntime)));
        });
    }
}

/// The crates in a build of the facade with these features.
fn built(features: &[&str]) -> Vec<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args(["tree", "--offline", "--package", "turnmill-embed", "--edges", "normal,build"]);
    cargo.args(["--prefix", "none", "--format", "{p}", "--no-default-features"]).args(features);
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn the_engine_alone_builds_no_async_no_input_and_no_database() {
    let engine = built(&[]);
    assert!(engine.iter().any(|name| name == "turnmill-engine"));
    let pipeline = built(&["--features", "pipeline"]);
    assert!(pipeline.iter().any(|name| name == "turnmill-source"));
    for absent in ["tokio", "futures-util", "rusqlite", "rdkafka", "tokio-postgres", "cc", "openssl-sys"] {
        assert!(!engine.iter().any(|name| name == absent), "{absent} in the build of the engine");
        assert!(!pipeline.iter().any(|name| name == absent), "{absent} in the build of the pipeline");
    }
    for absent in ["turnmill-source", "turnmill-sink", "pollster", "async-channel"] {
        assert!(!engine.iter().any(|name| name == absent), "{absent} in the build of the engine");
    }
    assert!(built(&["--features", "sqlite"]).iter().any(|name| name == "rusqlite"));
}

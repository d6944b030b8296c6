//! A database that cancels statements because they take too long.

use std::io::Write as _;
use std::time::Duration;

use tokio::runtime::Runtime;
use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::RowRules;
use turnmill_ingest::testkit::conversation;
use turnmill_model::{PartitionId, Reason, Settings};
use turnmill_pipeline::{Backoff, Drained, Event, Pipeline, PipelineError, Stop};
use turnmill_sink::{Class, Inspect, Store, StoreError};
use turnmill_sink_postgres::{PostgresSettings, PostgresStore};
use turnmill_source::{FileOptions, FileSource, Source};
use turnmill_testbed::postgres;

/// The result of a file, the number of retries, and the rows of the store.
struct Outcome {
    drained: Result<Drained, PipelineError>,
    retries: u32,
    store: PostgresStore,
    records: usize,
}

/// Loads a file into a database that sleeps this long for each event, and cancels a statement after
/// a second.
fn load(seconds_an_event: f64) -> Option<(Outcome, Runtime)> {
    let url = postgres::database()?;
    let settings = Settings::default();
    let place: PostgresSettings = url.parse().unwrap();
    let place = place.with_statement_timeout(Duration::from_secs(1));
    let lines = conversation("u1", 35, 1_656_382_549.5);
    // Some are written over several lines.
    let mut lines: Vec<String> = lines.iter().map(|line| line.replace('\n', " ")).collect();
    lines.insert(100, "not JSON".into());
    let mut file = tempfile::Builder::new().suffix(".jsonl").tempfile().unwrap();
    file.write_all(lines.join("\n").as_bytes()).unwrap();
    let path = file.path().to_owned();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let outcome = runtime.block_on(async {
        let mut store = PostgresStore::new(place);
        store.open(&settings).await.unwrap();
        let trigger = format!(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             PERFORM pg_sleep({seconds_an_event}); RETURN new; END $$; \
             CREATE TRIGGER slow BEFORE INSERT ON rasa_event FOR EACH ROW EXECUTE PROCEDURE slow()"
        );
        postgres::shared().unwrap().execute(&url, &trigger);
        let rules = RowRules::new(&settings, RasaDecoder::new);
        let backoff = Backoff { first: Duration::from_millis(1), longest: Duration::from_millis(5) };
        let mut pipeline =
            Pipeline::new(store, &rules, Stop::default()).with_cache_bytes(1 << 20).with_backoff(backoff);
        let mut retries = 0;
        let mut observer = |event: &Event<'_>| retries += u32::from(matches!(event, Event::Retrying { .. }));
        let name = path.display().to_string();
        let key = PartitionId { source: "file".into(), partition: name };
        let drained = pipeline
            .drain(
                Some(&key),
                &mut |from| {
                    Ok(Box::new(FileSource::open(&path, FileOptions::default(), from)?) as Box<dyn Source>)
                },
                &mut observer,
            )
            .await;
        Outcome { drained, retries, store: pipeline.into_store(), records: lines.len() }
    });
    Some((outcome, runtime))
}

#[test]
fn a_batch_that_takes_too_long_is_written_in_parts() {
    let Some((mut outcome, runtime)) = load(0.01) else { return };
    let drained = outcome.drained.unwrap();
    assert_eq!(drained.report.counts.records as usize, outcome.records);
    assert_eq!(drained.report.counts.dead_letters, 1);
    assert!((1..6).contains(&outcome.retries), "{}", outcome.retries);
    runtime.block_on(async {
        outcome.store.open(&Settings::default()).await.unwrap();
        let counts = outcome.store.ledger().await.unwrap().remove(0).counts;
        assert_eq!(counts, drained.report.counts);
        assert_eq!(outcome.store.digests().await.unwrap().tables["rasa_event"].rows, counts.events as u64);
        let letters = outcome.store.dead_letters(0, 9).await.unwrap();
        assert_eq!((letters[0].payload.as_slice(), letters[0].reason), (&b"not JSON"[..], Reason::NotJson));
        assert_eq!(outcome.store.positions().await.unwrap().len(), 1);
    });
}

#[test]
fn a_record_that_takes_too_long_alone_ends_it_and_the_setting_is_named() {
    let Some((outcome, _runtime)) = load(2.0) else { return };
    let Err(PipelineError::Store(error)) = outcome.drained else { panic!("it has landed") };
    assert!(matches!(error, StoreError::TimeLimit { .. }), "{error}");
    assert!(error.to_string().contains("TURNMILL_DB_STATEMENT_TIMEOUT_SECS"), "{error}");
    assert!(matches!(error.class(), Class::Retryable { .. }));
    assert!(outcome.retries < 15, "{}", outcome.retries);
}

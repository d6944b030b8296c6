//! `--to STORE`: loads the inputs into a store.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use turnmill_formats::rasa::shift_timestamp;
use turnmill_formats::shipped;
use turnmill_ingest::RowRules;
use turnmill_pipeline::{Drained, Pipeline, PipelineError, Stop};
use turnmill_service::settings::DeadLetterSettings;
use turnmill_sink::{Class, Counts, Inspect, StoreError};
use turnmill_source::BatchLimits;
use turnmill_stores::AnyStore;

use crate::args::{Args, ForeignKeys};
use crate::inputs::{Input, Opened, group_limits};
use crate::progress::Display;
use crate::summary::Outcome;
use crate::totals::Totals;
use crate::{Failure, message};

/// Loads all inputs. Returns `None` if it was interrupted while waiting for the store.
pub(crate) async fn load(
    args: &Args,
    inputs: &[Input],
    to: &str,
    stop: &Stop,
) -> Result<Option<Outcome>, Failure> {
    #[cfg(not(feature = "files"))]
    if ["csv:", "jsonl:", "parquet:"].iter().any(|scheme| to.starts_with(scheme)) {
        return Err(Failure::MissingFeature { input: to.to_owned(), feature: "files" });
    }
    #[cfg(feature = "files")]
    let tables = crate::files::Tables::at(to)?;
    let given = to;
    #[cfg(feature = "files")]
    let beside = tables.as_ref().map(|tables| format!("sqlite:{}", tables.store().display()));
    #[cfg(feature = "files")]
    let to = beside.as_deref().unwrap_or(to);
    let store = store(args, to)?;
    let name = match &store {
        _ if given != to => given.to_owned(),
        AnyStore::Sqlite(_) if to.starts_with("sqlite:") => to.to_owned(),
        AnyStore::Sqlite(_) => format!("sqlite:{to}"),
        #[cfg(feature = "postgres")]
        AnyStore::Postgres(_) => store.to_string(),
    };
    // A file that this run creates is removed if no record was loaded into it.
    let file = match &store {
        AnyStore::Sqlite(store) => store.path().map(Path::to_path_buf),
        #[cfg(feature = "postgres")]
        AnyStore::Postgres(_) => None,
    };
    let made = file.filter(|path| !path.exists());
    let settings = args.settings();
    let rules = RowRules::new(&settings, shipped);
    let mut pipeline = Pipeline::new(store, &rules, stop.clone()).with_cache_bytes(args.cache << 20);
    pipeline = pipeline.with_limits(BatchLimits { records: args.batch.max(1), ..BatchLimits::default() });
    pipeline = pipeline.with_source_facts(args.facts.of_source());
    if !args.no_dead_letter_limits {
        pipeline = pipeline.with_dead_letter_limits(DeadLetterSettings::default_limits());
    }
    if let Some(seconds) = args.shift {
        let unit = args.facts.time_unit;
        pipeline = pipeline.with_rewrite(Arc::new(move |payload| shift_timestamp(payload, seconds, unit)));
    }
    if inputs.len() > 1 {
        pipeline = pipeline.leaving_idle_sources();
    }
    if !args.follow {
        pipeline = pipeline.with_patience(Duration::from_secs(args.wait));
    }
    let started = Instant::now();
    let mut without_events = 0;
    let result = drain(&mut pipeline, inputs, args, stop, &mut without_events).await;
    let elapsed = started.elapsed();
    let mut store = pipeline.into_store();
    let drained = match result {
        // Interrupted while waiting for the store.
        Err(_) if stop.is_set() => return Ok(None),
        Err(error) => {
            if let Some(path) = made {
                remove_if_empty(store, &path).await;
            }
            return Err(error.into());
        }
        Ok(drained) => drained,
    };
    #[cfg(feature = "files")]
    if let Some(tables) = &tables
        && !drained.stopped
        && (drained.report.counts.records > 0 || !tables.exist())
    {
        tables.write(&mut store).await?;
    }
    // Both queries take longer the larger the store is.
    let (mut before, mut whole) = (0, None);
    if args.json || !args.quiet {
        let ledger = ledger_sum(&mut store).await?;
        let run = drained.report.counts;
        before = u64::try_from(ledger.dead_letters - run.dead_letters).unwrap_or_default();
        // No other run has filled the store if its ledger counts only this one.
        if args.totals || ledger == run {
            whole = Some(Totals::of(&mut store).await?);
        }
    }
    let outcome = Outcome {
        inputs: inputs.len(),
        refused_files: Vec::new(),
        without_events,
        drained,
        elapsed,
        totals: whole,
        dead_letters_before: before,
        store: name,
    };
    match store.finish() {
        // Another process is reading the SQLite file, so its write-ahead log could not be merged
        // into it.
        Err(error) if matches!(error.class(), Class::Retryable { .. }) => message(&error.to_string()),
        result => result?,
    }
    Ok(Some(outcome))
}

/// Removes the file of a store without records, which this run created.
async fn remove_if_empty(mut store: AnyStore, path: &Path) {
    let untouched = store.ledger().await.is_ok_and(|ledger| ledger.is_empty());
    drop(store);
    if untouched {
        for end in ["", "-wal", "-shm"] {
            let mut file = path.as_os_str().to_owned();
            file.push(end);
            // A remaining file is harmless, and the original failure is the one to report.
            let _ = std::fs::remove_file(file);
        }
    }
}

/// Returns the store that `to` names.
fn store(args: &Args, to: &str) -> Result<AnyStore, Failure> {
    let variable = || std::env::var("TURNMILL_DB_SCHEMA").ok().filter(|schema| !schema.is_empty());
    let schema = args.schema.clone().or_else(variable);
    let store = AnyStore::from_url(to)?.with_schema(schema.as_deref()).with_password_of_process();
    let quiet = args.quiet;
    let store = store.with_notices(move |text| {
        if !quiet {
            message(text);
        }
    });
    let Some(keys) = args.foreign_keys else { return Ok(store) };
    Ok(match store {
        AnyStore::Sqlite(store) => store.foreign_keys(keys != ForeignKeys::None).into(),
        #[cfg(feature = "postgres")]
        AnyStore::Postgres(store) => {
            use turnmill_sink_postgres::ForeignKeys as Keys;
            let keys = match keys {
                ForeignKeys::Auto => Keys::Auto,
                ForeignKeys::Declared => Keys::Declared,
                ForeignKeys::None => Keys::None,
            };
            store.with_foreign_keys(keys).into()
        }
    })
}

/// Reads all inputs, one after the other; with `--follow` repeatedly.
async fn drain(
    pipeline: &mut Pipeline<AnyStore>,
    inputs: &[Input],
    args: &Args,
    stop: &Stop,
    without_events: &mut u64,
) -> Result<Drained, PipelineError> {
    let mut drained = Drained::default();
    loop {
        for input in inputs {
            let mut display = Display::new(input, args.quiet);
            let one = if input.is_kafka()
                && let Opened::Group(group) = input.open()?
            {
                pipeline.serve(group, group_limits(args.batch), &mut display).await?
            } else {
                let mut open = |position: Option<&_>| input.source(position);
                pipeline.drain(input.key.as_ref(), &mut open, &mut display).await?
            };
            drained.add(&one);
            *without_events += display.without_events;
            if stop.is_set() {
                drained.stopped = true;
                return Ok(drained);
            }
        }
        if !args.follow || inputs.len() == 1 {
            return Ok(drained);
        }
        stop.wait(Duration::from_millis(200));
    }
}

/// Returns the sum of the store's ledger, which has one row per source.
async fn ledger_sum(store: &mut AnyStore) -> Result<Counts, StoreError> {
    let mut sum = Counts::default();
    store.ledger().await?.into_iter().for_each(|entry| sum += entry.counts);
    Ok(sum)
}

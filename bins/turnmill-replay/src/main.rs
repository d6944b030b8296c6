//! `turnmill-replay`: files and tracker stores into an analytics store.
//!
//! What is absent here: any rule. Reading is in the source crates, everything that decides about rows in the engine, the loop in
//! the pipeline; this is a command line around them.

mod args;
mod dry_run;
mod inputs;
mod progress;
mod summary;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use turnmill_model::rasa::{RasaDecoder, shift_timestamp};
use turnmill_pipeline::{Drained, Pipeline, PipelineError, Stop, explain};
use turnmill_sink::ingest::Ingest;
use turnmill_sink::{Class, Inspect, StoreError};
use turnmill_sink_sqlite::SqliteStore;
use turnmill_source::{BatchLimits, SourceError};
use turnmill_sql::metrics;

use crate::args::Args;
use crate::dry_run::Found;
use crate::inputs::Input;
use crate::progress::Display;
use crate::summary::Outcome;

/// Exit code after an interrupt, as shells have it.
const INTERRUPTED: u8 = 130;

/// Why the command failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("unknown store `{0}`: --to takes sqlite:PATH")]
    UnknownStore(String),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    #[error("cannot listen for interrupts")]
    Signal(#[from] ctrlc::Error),
    #[error("cannot write the summary")]
    Output(#[from] std::io::Error),
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => ExitCode::from(INTERRUPTED),
        Err(failure) => {
            complain(&explain(&failure));
            ExitCode::FAILURE
        }
    }
}

/// One line on standard error.
fn complain(text: &str) {
    // With standard error gone there is nobody left to tell.
    let _ = writeln!(std::io::stderr(), "turnmill-replay: {text}");
}

/// Does what the command line says; true if it was interrupted.
fn run(args: &Args) -> Result<bool, Failure> {
    let stop = Stop::default();
    let handler = stop.clone();
    ctrlc::set_handler(move || handler.set())?;

    let open = |path| Input::new(path, &args.source, args.format, args.follow);
    let inputs: Vec<Input> = args.inputs.iter().map(|path| open(path)).collect::<Result<_, _>>()?;
    let settings = args.settings();
    let decoder = RasaDecoder::new(&settings);
    let mut out = std::io::stdout().lock();
    let Some(to) = args.to.as_ref().filter(|_| !args.dry_run) else {
        let mut found = Found::default();
        inputs.iter().try_for_each(|input| found.read(input, &decoder))?;
        if args.json {
            writeln!(out, "{}", found.json())?;
        } else if !args.quiet {
            out.write_all(found.text().as_bytes())?;
        }
        return Ok(false);
    };

    let store = SqliteStore::from_url(to).ok_or_else(|| Failure::UnknownStore(to.clone()))?;
    let ingest = Ingest::new(&settings, &decoder, args.cache << 20);
    let mut pipeline = Pipeline::new(store, &settings, Arc::new(decoder.clone()), ingest, stop.clone());
    pipeline = pipeline.with_limits(BatchLimits { records: args.batch.max(1), ..BatchLimits::default() });
    if let Some(seconds) = args.shift {
        pipeline = pipeline.with_rewrite(Arc::new(move |payload| shift_timestamp(payload, seconds)));
    }
    if inputs.len() > 1 {
        pipeline = pipeline.leaving_idle_sources();
    }
    let started = Instant::now();
    let result = pollster::block_on(drain(&mut pipeline, &inputs, args, &stop));
    let elapsed = started.elapsed();
    let mut store = pipeline.into_store();
    let drained = match result {
        // Interrupted while waiting for the store.
        Err(_) if stop.is_set() => return Ok(true),
        result => result?,
    };

    if args.json || !args.quiet {
        let tables = store.row_counts()?;
        let metrics = store.summary(&metrics::Options::default())?;
        let dead_letters = dead_letters(&mut store)?;
        let outcome = Outcome {
            store: to.clone(),
            inputs: inputs.len(),
            drained,
            elapsed,
            tables,
            metrics,
            dead_letters,
        };
        if args.json {
            writeln!(out, "{}", outcome.json())?;
        } else {
            out.write_all(outcome.text().as_bytes())?;
        }
    }
    match store.finish() {
        // Somebody is looking at the store just now; the log beside the file is a part of it until they are done.
        Err(error) if matches!(error.class(), Class::Retryable { .. }) => complain(&error.to_string()),
        result => result?,
    }
    if drained.stopped && !args.quiet {
        complain("interrupted; what was committed stays, and the same command goes on from there");
    }
    Ok(drained.stopped)
}

/// Reads all inputs, one after the other; while following, again and again.
async fn drain(
    pipeline: &mut Pipeline<'_, SqliteStore>,
    inputs: &[Input],
    args: &Args,
    stop: &Stop,
) -> Result<Drained, PipelineError> {
    let mut drained = Drained::default();
    loop {
        for input in inputs {
            let mut display = Display::new(input, args.quiet);
            let mut open = |position: Option<&_>| input.open(position);
            let one = pipeline.drain(input.key.as_ref(), &mut open, &mut display).await?;
            drained.add(&one);
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

/// The store's dead letters by reason.
fn dead_letters(store: &mut SqliteStore) -> Result<Vec<(turnmill_model::Reason, u64)>, StoreError> {
    let mut reasons = BTreeMap::new();
    let mut after = 0;
    loop {
        let page = pollster::block_on(store.dead_letters(after, 1000))?;
        let Some(last) = page.last() else { return Ok(reasons.into_iter().collect()) };
        after = last.id;
        for letter in &page {
            *reasons.entry(letter.reason).or_default() += 1;
        }
    }
}

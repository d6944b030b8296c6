//! Measures turnmill. `benches/run.sh` and `benches/README.md` describe the measurements.
#![allow(clippy::print_stdout, reason = "measurements are for the console")]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod body;
mod builds;
mod compare;
mod engine;
mod late;
mod marked;
mod markers;
mod measure;
mod memory;
mod questions;
mod service;
mod sinks;
mod sqlite;
mod stream;

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use turnmill_engine::Engine;
use turnmill_model::Settings;

use crate::body::Mix;
use crate::engine::Rule;
use crate::measure::{Failure, seconds};
use crate::service::Service;
use crate::stream::Shape;

/// Measures turnmill.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    what: BenchCommand,
}

/// Measurements of markers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum OfMarkers {
    /// Evaluation of markers.
    Evaluation,
    /// The pipeline with and without markers.
    Pipeline,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// Writes a stream of events as JSON lines.
    Generate {
        /// Output file.
        file: PathBuf,
        /// Size class of the events.
        #[arg(long, default_value = "capture")]
        mix: Mix,
        /// Number of events.
        #[arg(long, default_value_t = 1_000_000)]
        events: u64,
        /// Number of senders [default: one per 45 events].
        #[arg(long)]
        senders: Option<u32>,
        /// Days over which the first messages of the senders are spread.
        #[arg(long, default_value_t = 30.0)]
        days: f64,
        /// Maximum number of sessions per sender.
        #[arg(long)]
        sessions: Option<u32>,
        /// Seed; the same seed gives the same stream.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Share of events that are duplicated.
        #[arg(long, default_value_t = 0.0)]
        duplicates: f64,
        /// Starts each sender with an event dated a year ahead.
        #[arg(long)]
        ahead: bool,
        /// Writes all events for one sender.
        #[arg(long)]
        life: bool,
    },
    /// Decodes a file and applies its events, without a store.
    Engine {
        /// JSON lines.
        file: PathBuf,
        /// Session rule.
        #[arg(long, default_value = "rasa")]
        rule: Rule,
        /// Number of threads.
        #[arg(long, default_value_t = 2)]
        threads: usize,
        /// Number of runs.
        #[arg(long, default_value_t = 1)]
        runs: usize,
    },
    /// Compares decoder and engine with other programs that only divide events into sessions.
    Peers {
        /// JSON lines.
        file: PathBuf,
        /// Python interpreter with the other programs.
        #[arg(long)]
        python: PathBuf,
        /// Script that runs the other programs.
        #[arg(long)]
        script: PathBuf,
        /// Number of runs of each program.
        #[arg(long, default_value_t = 5)]
        runs: usize,
    },
    /// Compares `turnmill-replay` into SQLite with plain inserts, and with a second load of the
    /// same events.
    Sqlite {
        /// Path of the command.
        #[arg(long)]
        replay: PathBuf,
        /// Size class of the events.
        #[arg(long, default_value = "capture")]
        mix: Mix,
        /// Number of events.
        #[arg(long, default_value_t = 300_000)]
        events: u64,
        /// Number of runs.
        #[arg(long, default_value_t = 5)]
        runs: usize,
    },
    /// Measures a load of PostgreSQL with a sink, against the same without.
    Sinks {
        /// Events.
        #[arg(long, default_value_t = 300_000)]
        events: u64,
        /// Runs.
        #[arg(long, default_value_t = 5)]
        runs: usize,
    },
    /// Compares two builds of `turnmill-replay` with each other: a file to PostgreSQL.
    Builds {
        /// Path of the command before a change.
        before: PathBuf,
        /// Path of the command after it.
        after: PathBuf,
        /// Number of events.
        #[arg(long, default_value_t = 200_000)]
        events: u64,
        /// Number of runs.
        #[arg(long, default_value_t = 9)]
        runs: usize,
    },
    /// Measures senders whose first event is dated ahead, so that all others are late.
    Ahead {
        /// Number of runs.
        #[arg(long, default_value_t = 5)]
        runs: usize,
    },
    /// Measures one late event in an old session of a long history.
    Late {
        /// Number of events in the history.
        #[arg(long, default_value_t = 100_000)]
        events: usize,
        /// Number of late events.
        #[arg(long, default_value_t = 9)]
        runs: usize,
    },
    /// Compares markers over the events of a capture with Rasa's evaluator, and the pipeline with
    /// and without.
    Markers {
        /// File of Rasa's file event broker, gzip.
        #[arg(default_value = "fixtures/rasa-oss-3.6/parcel/file-broker.jsonl.gz")]
        file: PathBuf,
        /// Number of generated events for the pipeline.
        #[arg(long, default_value_t = 200_000)]
        events: u64,
        /// Runs only one of the two measurements.
        #[arg(long)]
        only: Option<OfMarkers>,
        /// Number of runs.
        #[arg(long, default_value_t = 5)]
        runs: usize,
    },
    /// Measures the size of an open session, and the peak memory of `turnmill-replay` with many
    /// senders.
    Memory {
        /// Path of the command.
        #[arg(long)]
        replay: PathBuf,
        /// Number of senders in millions; may be given several times.
        #[arg(long, default_values_t = [1])]
        millions: Vec<u64>,
    },
    /// Asks the metrics of the dashboard's overview, and transcripts, of a large store.
    Questions(questions::Args),
    #[command(flatten)]
    Service(Service),
}

fn main() -> Result<(), Failure> {
    match Args::parse().what {
        BenchCommand::Generate {
            file,
            mix,
            events,
            senders,
            days,
            sessions,
            seed,
            duplicates,
            ahead,
            life,
        } => {
            let mut out = BufWriter::with_capacity(1 << 20, File::create(file)?);
            let mut shape = Shape { duplicates, ahead, days, ..Shape::new(mix, events, seed) };
            shape.senders = senders.unwrap_or(shape.senders);
            shape.sessions = sessions.unwrap_or(shape.sessions);
            if life {
                for line in stream::life(mix, usize::try_from(events)?, seed) {
                    writeln!(out, "{line}")?;
                }
            } else {
                let written = shape.write(&mut out)?;
                println!("{} lines, {} bytes a line", written.lines, written.bytes / written.lines.max(1));
            }
            out.flush()?;
        }
        BenchCommand::Engine { file, rule, threads, runs } => {
            let engine = Engine::new(&Settings::default());
            for _ in 0..runs {
                let (found, took) = seconds(|| engine::sessions(&file, &engine, rule, threads))?;
                println!("{found:?} {took:?}");
            }
        }
        BenchCommand::Sqlite { replay, mix, events, runs } => {
            sqlite::measure(&replay, &Shape::new(mix, events, 1), runs)?;
        }
        BenchCommand::Sinks { events, runs } => {
            for mix in [Mix::Lean, Mix::Capture] {
                sinks::measure(&Shape::new(mix, events, 1), runs)?;
            }
        }
        BenchCommand::Builds { before, after, events, runs } => {
            for mix in [Mix::Lean, Mix::Capture] {
                builds::measure(&before, &after, &Shape::new(mix, events, 1), runs)?;
            }
        }
        BenchCommand::Ahead { runs } => late::ahead(runs)?,
        BenchCommand::Late { events, runs } => late::old_session(events, runs)?,
        BenchCommand::Markers { file, events, only, runs } => {
            if only != Some(OfMarkers::Pipeline) {
                markers::measure(&file, runs)?;
            }
            if only != Some(OfMarkers::Evaluation) {
                for mix in [Mix::Lean, Mix::Capture] {
                    marked::measure(&Shape::new(mix, events, 1), runs)?;
                }
            }
        }
        BenchCommand::Memory { replay, millions } => {
            memory::timelines(200_000)?;
            millions.iter().try_for_each(|millions| memory::replay(&replay, millions * 1_000_000))?;
        }
        BenchCommand::Questions(args) => questions::measure(&args)?,
        BenchCommand::Service(what) => service::measure(what)?,
        BenchCommand::Peers { file, python, script, runs } => {
            compare::compare(&file, &python, &script, runs)?;
        }
    }
    Ok(())
}

//! Measures turnmill: `benches/run.sh` and `benches/README.md` say what and how.
#![allow(clippy::print_stdout, reason = "measurements are for the console")]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod body;
mod compare;
mod engine;
mod late;
mod marked;
mod markers;
mod measure;
mod memory;
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
    what: What,
}

/// What to measure of markers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum OfMarkers {
    /// Their evaluation.
    Evaluation,
    /// The pipeline with them and without.
    Pipeline,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Writes a stream of events as JSON lines.
    Generate {
        /// Where to.
        file: PathBuf,
        /// Sizes of the events.
        #[arg(long, default_value = "capture")]
        mix: Mix,
        /// Events.
        #[arg(long, default_value_t = 1_000_000)]
        events: u64,
        /// Senders among whom the traffic begins; about one for each 45 events unless given.
        #[arg(long)]
        senders: Option<u32>,
        /// Sessions of a sender at most.
        #[arg(long)]
        sessions: Option<u32>,
        /// The same seed gives the same stream.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Share of the events that come twice.
        #[arg(long, default_value_t = 0.0)]
        duplicates: f64,
        /// Each sender begins with an event dated a year ahead.
        #[arg(long)]
        ahead: bool,
        /// One sender whose life all events are.
        #[arg(long)]
        life: bool,
    },
    /// Decodes a file and applies it, without a store.
    Engine {
        /// JSON lines.
        file: PathBuf,
        /// How sessions are cut.
        #[arg(long, default_value = "rasa")]
        rule: Rule,
        /// Threads.
        #[arg(long, default_value_t = 2)]
        threads: usize,
        /// Runs.
        #[arg(long, default_value_t = 1)]
        runs: usize,
    },
    /// The same against other programs that only cut sessions.
    Peers {
        /// JSON lines.
        file: PathBuf,
        /// A Python that has them.
        #[arg(long)]
        python: PathBuf,
        /// The script that runs them.
        #[arg(long)]
        script: PathBuf,
        /// Runs of each.
        #[arg(long, default_value_t = 5)]
        runs: usize,
    },
    /// `turnmill-replay` into SQLite, against plain inserts and its own second time.
    Sqlite {
        /// The command.
        #[arg(long)]
        replay: PathBuf,
        /// Sizes of the events.
        #[arg(long, default_value = "capture")]
        mix: Mix,
        /// Events.
        #[arg(long, default_value_t = 300_000)]
        events: u64,
        /// Runs.
        #[arg(long, default_value_t = 5)]
        runs: usize,
    },
    /// PostgreSQL with a sink, against the same without.
    Sinks {
        /// Events.
        #[arg(long, default_value_t = 300_000)]
        events: u64,
        /// Runs.
        #[arg(long, default_value_t = 5)]
        runs: usize,
    },
    /// Senders whose first event is dated ahead, so that all others are late.
    Ahead {
        /// Runs.
        #[arg(long, default_value_t = 5)]
        runs: usize,
    },
    /// One late event into an old session of a long life.
    Late {
        /// Events of the life.
        #[arg(long, default_value_t = 100_000)]
        events: usize,
        /// Late events.
        #[arg(long, default_value_t = 9)]
        runs: usize,
    },
    /// Markers over the events of a capture, against what Rasa's evaluator took; the pipeline with markers, against the same
    /// without.
    Markers {
        /// A file of Rasa's file event broker, gzip.
        #[arg(default_value = "fixtures/rasa-oss-3.6/parcel/file-broker.jsonl.gz")]
        file: PathBuf,
        /// Generated events for the pipeline.
        #[arg(long, default_value_t = 200_000)]
        events: u64,
        /// One of the two only.
        #[arg(long)]
        only: Option<OfMarkers>,
        /// Runs.
        #[arg(long, default_value_t = 5)]
        runs: usize,
    },
    /// Bytes of an open session, and the greatest memory of `turnmill-replay` with many senders.
    Memory {
        /// The command.
        #[arg(long)]
        replay: PathBuf,
        /// Millions of senders; several may be given.
        #[arg(long, default_values_t = [1])]
        millions: Vec<u64>,
    },
    #[command(flatten)]
    Service(Service),
}

fn main() -> Result<(), Failure> {
    match Args::parse().what {
        What::Generate { file, mix, events, senders, sessions, seed, duplicates, ahead, life } => {
            let mut out = BufWriter::with_capacity(1 << 20, File::create(file)?);
            let mut shape = Shape { duplicates, ahead, ..Shape::new(mix, events, seed) };
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
        What::Engine { file, rule, threads, runs } => {
            let engine = Engine::new(&Settings::default());
            for _ in 0..runs {
                let (found, took) = seconds(|| engine::sessions(&file, &engine, rule, threads))?;
                println!("{found:?} {took:?}");
            }
        }
        What::Sqlite { replay, mix, events, runs } => {
            sqlite::measure(&replay, &Shape::new(mix, events, 1), runs)?;
        }
        What::Sinks { events, runs } => {
            for mix in [Mix::Lean, Mix::Capture] {
                sinks::measure(&Shape::new(mix, events, 1), runs)?;
            }
        }
        What::Ahead { runs } => late::ahead(runs)?,
        What::Late { events, runs } => late::old_session(events, runs)?,
        What::Markers { file, events, only, runs } => {
            if only != Some(OfMarkers::Pipeline) {
                markers::measure(&file, runs)?;
            }
            if only != Some(OfMarkers::Evaluation) {
                for mix in [Mix::Lean, Mix::Capture] {
                    marked::measure(&Shape::new(mix, events, 1), runs)?;
                }
            }
        }
        What::Memory { replay, millions } => {
            memory::timelines(200_000)?;
            millions.iter().try_for_each(|millions| memory::replay(&replay, millions * 1_000_000))?;
        }
        What::Service(what) => service::measure(what)?,
        What::Peers { file, python, script, runs } => compare::compare(&file, &python, &script, runs)?,
    }
    Ok(())
}

//! `turnmill markers evaluate`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use turnmill_markers::evaluate::{
    EXTRACTION_HEADER, Evaluator, SessionResults, Statistics, write_extraction,
};
use turnmill_markers::{Compatibility, ForeignState, OwnedMarkerEvent, Program};
use turnmill_pipeline::counted;
use turnmill_source::Container;

use super::Failure;
use super::inputs::Conversations;
use super::tools::read_markers;
use crate::console;

/// Arguments of `turnmill markers evaluate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Inputs: SQLite tracker stores and event brokers, files (plain, gzip or Zstandard JSON
    /// lines), tracker dumps, `-` for standard input, or `postgresql://USER@HOST/DATABASE` for a
    /// tracker store in PostgreSQL.
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// Marker files, or directories of marker files; may be given several times.
    #[arg(long, required = true, value_name = "FILE")]
    markers: Vec<PathBuf>,
    /// File for the results.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Also write statistics to `PREFIX-overall.csv` and `PREFIX-per-session.csv`.
    #[arg(long, value_name = "PREFIX", alias = "stats-file-prefix")]
    stats_prefix: Option<OsString>,
    /// Behave like Rasa Open Source 3.6 where it differs from its documentation: negated tags lose
    /// their negation, and a `seq` continues in the next session and conversation.
    #[arg(long = "rasa-3.6-compatible")]
    compatible: bool,
    /// Format of file inputs: rasa, kafka, kcat, tracker-store, sql-broker or tracker [default:
    /// detected from the content].
    #[arg(long, value_name = "FORMAT")]
    format: Option<Container>,
    /// Print only errors.
    #[arg(long, short)]
    quiet: bool,
}

/// Why the evaluation ended early.
enum EvaluationError {
    Write(std::io::Error),
    State(ForeignState),
}

impl From<ForeignState> for EvaluationError {
    fn from(error: ForeignState) -> Self {
        Self::State(error)
    }
}

/// Evaluates the markers, and writes the files.
pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    evaluate(args).map(|()| ExitCode::SUCCESS)
}

fn evaluate(args: &Args) -> Result<(), Failure> {
    let markers = read_markers(&args.markers)?;
    let conversations = Conversations::read(&args.inputs, args.format)?;
    let names: Vec<&str> = markers.markers().iter().map(|marker| marker.name.as_str()).collect();
    let compatibility = if args.compatible { Compatibility::Rasa36 } else { Compatibility::Documented };
    let program = Program::of_set(&markers, compatibility);
    let mut evaluator = Evaluator::new(&program);
    let mut statistics = Statistics::new(&names);
    let mut results = 0;

    let failed = |source| Failure::Write { path: args.out.clone(), source };
    let mut out = BufWriter::new(File::create(&args.out).map_err(failed)?);
    out.write_all(EXTRACTION_HEADER.as_bytes()).map_err(failed)?;
    let mut rows = String::new();
    for (sender_id, events) in &conversations.by_sender {
        let events: Vec<_> = events.iter().map(OwnedMarkerEvent::as_event).collect();
        let each = |session: &SessionResults| {
            rows.clear();
            write_extraction(&mut rows, sender_id, &names, session);
            statistics.add(sender_id, session);
            results += session.results.len();
            out.write_all(rows.as_bytes()).map_err(EvaluationError::Write)
        };
        evaluator.conversation(&events, each).map_err(|error| match error {
            EvaluationError::Write(source) => failed(source),
            EvaluationError::State(error) => failed(std::io::Error::other(error)),
        })?;
    }
    out.flush().map_err(failed)?;
    if let Some(prefix) = &args.stats_prefix {
        let path = |end: &str| {
            let mut path = prefix.clone();
            path.push(end);
            PathBuf::from(path)
        };
        write(&path("-overall.csv"), &statistics.overall_csv())?;
        write(&path("-per-session.csv"), &statistics.per_session_csv())?;
    }
    if conversations.unreadable > 0 {
        console::message(&format!(
            "{} skipped, because they are not events",
            counted(conversations.unreadable, "record")
        ));
    }
    if !args.quiet {
        console::message(&format!(
            "{} of {} in {} of {}",
            counted(results as u64, "result"),
            counted(names.len() as u64, "marker"),
            counted(statistics.sessions() as u64, "session"),
            counted(conversations.by_sender.len() as u64, "conversation")
        ));
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|source| Failure::Write { path: path.into(), source })
}

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
use turnmill_source::Format;

use super::inputs::Conversations;
use super::{Definitions, Failure, tools};

/// Arguments of `turnmill markers evaluate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// SQLite tracker stores and event brokers, files (plain, gzip or Zstandard JSON lines), tracker dumps, `-` for standard
    /// input, `postgresql://USER@HOST/DATABASE` for a tracker store in PostgreSQL.
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// Marker files, or folders with such; may be given several times.
    #[arg(long, required = true, value_name = "FILE")]
    markers: Vec<PathBuf>,
    /// Where the results go.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Write statistics, too: `PREFIX-overall.csv` and `PREFIX-per-session.csv`.
    #[arg(long, value_name = "PREFIX", alias = "stats-file-prefix")]
    stats_prefix: Option<OsString>,
    /// Do as Rasa Open Source 3.6 does, not as its documentation says: negated tags lose their negation, and a `seq` goes on
    /// in the next session and conversation.
    #[arg(long = "rasa-3.6-compatible")]
    compatible: bool,
    /// Format of file inputs: rasa, kafka, kcat, tracker-store, sql-broker or tracker. Told from the content unless given.
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Print nothing but errors.
    #[arg(long, short)]
    quiet: bool,
}

/// Why a run over the conversations ended.
enum Interrupted {
    Write(std::io::Error),
    State(ForeignState),
}

impl From<ForeignState> for Interrupted {
    fn from(error: ForeignState) -> Self {
        Self::State(error)
    }
}

/// Evaluates, and writes the files.
pub(super) fn run(args: &Args) -> Result<ExitCode, crate::Failure> {
    Ok(evaluate(args).map(|()| ExitCode::SUCCESS)?)
}

fn evaluate(args: &Args) -> Result<(), Failure> {
    let markers = Definitions::needed(&args.markers)?;
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
            out.write_all(rows.as_bytes()).map_err(Interrupted::Write)
        };
        evaluator.conversation(&events, each).map_err(|interrupted| match interrupted {
            Interrupted::Write(source) => failed(source),
            Interrupted::State(error) => failed(std::io::Error::other(error)),
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
        tools::say(&format!("{} records are no events and were left out", conversations.unreadable));
    }
    if !args.quiet {
        tools::say(&format!(
            "{results} results of {} markers in {} sessions of {} conversations",
            names.len(),
            statistics.sessions(),
            conversations.by_sender.len()
        ));
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|source| Failure::Write { path: path.into(), source })
}

//! `turnmill-replay`: loads files, tracker stores and topics into an analytics store, or publishes
//! them to a topic.
//!
//! What is absent: rules about rows. Reading is in the source crates, rows are computed by the
//! engine, and the loop is in the pipeline. This program is a command line for them.
//!
//! # Features
//!
//! `kafka` (topics; builds librdkafka from C) and `postgres` are enabled by default. Without both,
//! the program builds quickly, and loads files and SQLite databases into SQLite.

mod args;
#[cfg(feature = "kafka")]
mod body;
mod dry_run;
mod dump;
#[cfg(feature = "files")]
mod files;
mod inputs;
mod interrupt;
#[cfg(feature = "kafka")]
mod kafka;
mod load;
mod probe;
mod progress;
#[cfg(feature = "kafka")]
mod publish;
mod stores;
mod summary;
#[cfg(feature = "kafka")]
mod time;
mod totals;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use turnmill_formats::shipped;
use turnmill_pipeline::{PipelineError, Stop, TooManyDeadLetters, explain};
use turnmill_sink::StoreError;
#[cfg(feature = "postgres")]
use turnmill_sink_postgres::Passwords;
use turnmill_source::SourceError;
use turnmill_stores::UnknownStore;
use turnmill_text::{Arguments, escaped_lines, escaped_message};

use crate::args::Args;
use crate::dry_run::Found;
#[cfg(feature = "kafka")]
use crate::inputs::Input;
use crate::inputs::Inputs;

/// Exit code after an interrupt, as in shells.
const INTERRUPTED: u8 = 130;
/// Exit code of invalid usage, such as an unknown flag.
const USAGE: u8 = 2;

/// Why the command failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Usage(String),
    #[cfg(not(all(feature = "files", feature = "kafka", feature = "postgres")))]
    #[error("`{input}` needs the feature `{feature}`, which this build lacks")]
    MissingFeature { input: String, feature: &'static str },
    #[error("{0}")]
    Refused(String),
    #[error("cannot read `{path}`")]
    Endpoints { path: String, source: std::io::Error },
    #[error(
        "stopped, because the limits on dead letters were exceeded; committed batches stay. To load these \
         records as dead letters, \
         run the same command with `--no-dead-letter-limits`"
    )]
    DeadLetters(#[source] TooManyDeadLetters),
    #[error(transparent)]
    UnknownStore(#[from] UnknownStore),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[cfg(feature = "postgres")]
    #[error(transparent)]
    Tracker(#[from] turnmill_source_tracker::PostgresTrackerError),
    #[cfg(feature = "kafka")]
    #[error(transparent)]
    Kafka(#[from] turnmill_source_kafka::KafkaError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[cfg(feature = "files")]
    #[error(transparent)]
    Files(#[from] turnmill_sink_file::FileError),
    #[error(transparent)]
    Pipeline(PipelineError),
    #[error("cannot write the dump `{path}`")]
    Dump { path: String, source: std::io::Error },
    #[error(
        "record {offset} of `{input}` does not come from Kafka, so it cannot be dumped as a record of a topic"
    )]
    NotFromKafka { input: String, offset: u64 },
    #[error("{count} records left out of the dump, because they are not UTF-8; the first is {first}")]
    Binary { count: u64, first: String },
    #[error("cannot listen for interrupts")]
    Signal(#[from] ctrlc::Error),
    #[error("cannot start the async runtime")]
    Runtime(#[source] std::io::Error),
    #[error("cannot write the summary")]
    Output(#[from] std::io::Error),
}

impl From<PipelineError> for Failure {
    fn from(error: PipelineError) -> Self {
        match error {
            PipelineError::DeadLetters(error) => Self::DeadLetters(error),
            error => Self::Pipeline(error),
        }
    }
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return refuse(&error),
    };
    match run(&args) {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => ExitCode::from(INTERRUPTED),
        Err(failure) => {
            let text = explain(&failure);
            message(&text);
            #[cfg(feature = "postgres")]
            if let Some(warning) = Passwords::of_process().warning().filter(|_| text.contains("password")) {
                message(&warning);
            }
            if matches!(failure, Failure::Usage(_)) { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
        }
    }
}

/// Returns the arguments of the command line, for hiding the secrets among them in messages.
fn arguments() -> Arguments {
    Arguments::new(std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()))
}

/// Prints what is wrong with the command line, or the help that was requested.
fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // A closed standard output is no reason to fail.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let message = arguments().hide_in_coloured(&error.render().ansi().to_string());
    let _ = write!(std::io::stderr(), "{message}");
    ExitCode::from(USAGE)
}

/// Prints a message to standard error, without secrets and control characters.
fn message(text: &str) {
    let text = arguments().hide_in(text);
    // A closed standard error is no reason to fail.
    let _ = writeln!(std::io::stderr(), "turnmill-replay: {}", escaped_message(&text));
}

/// Runs the command line. Returns `true` if it was interrupted.
fn run(args: &Args) -> Result<bool, Failure> {
    let stop = Stop::default();
    interrupt::listen(&stop, Duration::from_secs(args.shutdown_secs))?;

    let Inputs { open: inputs, refused } = Inputs::new(args)?;
    #[cfg(feature = "kafka")]
    if args.kafka.has_range() && !inputs.iter().any(Input::is_kafka) {
        let why =
            "--since, --until, --from-offset and --to-offset apply to topics only, but no input is a topic";
        return Err(Failure::Usage(why.into()));
    }
    let print = |json: serde_json::Value, text: String| -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        if args.json {
            writeln!(out, "{json}")?;
        } else if !args.quiet {
            write!(out, "{}", escaped_lines(&text))?;
        }
        Ok(())
    };
    if let Some(path) = &args.dump {
        let dumped = dump::dump(args, &inputs, path, &stop)?;
        if path.as_os_str() != "-" {
            print(dumped.json(), dumped.text())?;
        }
        return dumped.left_out().map_or(Ok(dumped.stopped), Err);
    }
    let Some(to) = args.to.as_ref().filter(|_| !args.dry_run) else {
        let decoders = shipped(&args.settings());
        let mut found = Found::new(refused);
        for input in &inputs {
            input.each_batch(args.batch, false, &stop, &mut |batch| {
                found.add(batch, &decoders);
                Ok(())
            })?;
        }
        print(found.json(), found.text())?;
        return Ok(stop.is_set());
    };
    if let Some(topic) = to.strip_prefix("kafka:") {
        #[cfg(not(feature = "kafka"))]
        return Err(Failure::MissingFeature { input: format!("kafka:{topic}"), feature: "kafka" });
        #[cfg(feature = "kafka")]
        {
            let published = publish::publish(args, &inputs, topic, &stop)?;
            print(published.json(), published.text())?;
            return Ok(published.stopped);
        }
    }

    // A PostgreSQL connection is a task of the runtime.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Runtime)?;
    let Some(mut outcome) = runtime.block_on(load::load(args, &inputs, to, &stop))? else { return Ok(true) };
    outcome.refused_files = refused;
    print(outcome.json(), outcome.text())?;
    if outcome.drained.stopped && !args.quiet {
        message("interrupted; committed batches stay, and the same command resumes from there");
    }
    Ok(outcome.drained.stopped)
}

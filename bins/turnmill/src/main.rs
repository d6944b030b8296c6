//! `turnmill`: the service, and the tools of its stores.
//!
//! What is absent here: any rule, and any way to write rows but through the pipeline.

mod check;
mod connect;
mod dead_letters;
mod foreign_keys;
mod markers;
mod positions;
mod rebuild;
mod run;
mod store_args;
mod verify;

use std::future::Future;
use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use turnmill_model::PartitionId;
use turnmill_pipeline::explain;
use turnmill_sink::StoreError;
use turnmill_sink_postgres::Passwords;
use turnmill_stores::{AnyStore, UnknownStore};
use turnmill_text::{Arguments, escaped, escaped_message};

/// Exit code of a wrong command line.
const USAGE: u8 = 2;

use self::store_args::StoreArgs;

/// Conversation analytics that are always right.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service: read a Kafka topic, and keep the tables.
    ///
    /// Settings come from turnmill.toml, the environment (the variables of Rasa Pro Services among them) and these flags, each
    /// winning over those before it. Exit code 0 if it was stopped by SIGTERM or SIGINT, 1 if it could not go on or stopping
    /// took longer than TURNMILL_SHUTDOWN_SECS, 130 after a second signal.
    Run(Box<run::Args>),
    /// Print the effective configuration, check the markers, and with --connect try brokers and database.
    ///
    /// Exit code 1 if there is a problem. Nothing is written.
    Check(Box<check::Args>),
    /// Count the rows of each table, digest them, and look for damage.
    ///
    /// Equal digests mean equal tables, whatever the store and the order in which records arrived. Exit code 1 if the ledger does
    /// not add up, or something is damaged: pages and indexes, references, rows that are not as many as ledger and history say,
    /// states that cannot be read.
    Verify(verify::Args),
    /// Look at the records that could not become rows, and try them again.
    #[command(subcommand)]
    DeadLetters(dead_letters::Command),
    /// Make all rows again from the kept history: after an update of turnmill that asks for it, or with other settings.
    ///
    /// Can be killed at any moment; the same command goes on where it was. With unchanged settings and turnmill others may write
    /// meanwhile, else they have to wait until it has finished.
    Rebuild(rebuild::Args),
    /// Declare PostgreSQL's foreign keys, have them checked, or drop them, with the indexes that checking needs.
    ///
    /// The rows are the same either way. Works beside the service; each table is locked for a moment. TURNMILL_DB_FOREIGN_KEYS
    /// says what new stores have.
    ForeignKeys(foreign_keys::Args),
    /// Check, try, upload, backfill and explain markers.
    #[command(subcommand)]
    Markers(markers::Command),
    /// See where sources are read from, or set it.
    #[command(subcommand)]
    Positions(positions::Command),
}

/// The store at `url`, not opened yet, in `schema` or in that of the environment.
fn store_at(url: &str, schema: Option<&str>) -> Result<AnyStore, UnknownStore> {
    let variable = || std::env::var("TURNMILL_DB_SCHEMA").ok().filter(|schema| !schema.is_empty());
    let schema = schema.map(str::to_owned).or_else(variable);
    let store = AnyStore::from_url(url)?.with_schema(schema.as_deref());
    Ok(store.with_password_of_process())
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    UnknownStore(#[from] UnknownStore),
    #[error("no store is named, and the configured one cannot be used: {0}")]
    Configured(turnmill_service::settings::SettingsError),
    #[error("gave up after {wait} (--wait)")]
    GaveUp { wait: String, source: StoreError },
    #[error("`{0}` is no number of a dead letter; a store stands before all numbers")]
    NoNumber(String),
    #[error("there is no dead letter {0}")]
    NoSuchLetter(u64),
    #[error(
        "there is no position of {}; there are those of: {}. Use --new to set it all the same",
        escaped(&key.to_string()),
        escaped(known)
    )]
    NoSuchPosition { key: PartitionId, known: String },
    #[error("expected an offset or `earliest` at the end of [STORE] SOURCE PARTITION POSITION, found `{0}`")]
    NoPosition(String),
    #[error("the position is moving: stop the service, or try again")]
    Moving(#[source] StoreError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Service(#[from] run::Failure),
    #[error(transparent)]
    Markers(#[from] markers::Failure),
    #[error("cannot start the runtime")]
    Runtime(#[source] std::io::Error),
    #[error("cannot write the output")]
    Output(#[from] std::io::Error),
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return refuse(&error),
    };
    let result = match args.command {
        Command::Run(args) => run::run(&args).map_err(Failure::from),
        Command::Check(args) => wait(check::run(&args)),
        Command::Verify(args) => wait(verify::run(&args)),
        Command::DeadLetters(command) => wait(dead_letters::run(&command)),
        Command::Rebuild(args) => wait(rebuild::run(&args)),
        Command::ForeignKeys(args) => wait(foreign_keys::run(&args)),
        Command::Markers(command) => markers::run(&command),
        Command::Positions(command) => wait(positions::run(&command)),
    };
    match result {
        Ok(code) => code,
        // The reader of the output has seen enough.
        Err(Failure::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            let text = explain(&failure);
            say(&text);
            if let Some(warning) = Passwords::of_process().warning().filter(|_| text.contains("password")) {
                say(&warning);
            }
            match failure {
                // What the command line's own reader would have refused, if the store were not optional.
                Failure::NoNumber(_) | Failure::NoPosition(_) => ExitCode::from(USAGE),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// The arguments of the command line, to be kept out of messages as far as they hold secrets.
fn arguments() -> Arguments {
    Arguments::new(std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()))
}

/// Says what is wrong with the command line, or shows the help that was asked for.
fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // With standard output gone there is nobody left to help.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let message = arguments().hide_in_coloured(&error.render().ansi().to_string());
    let _ = write!(std::io::stderr(), "{message}");
    ExitCode::from(USAGE)
}

/// A message on standard error.
fn say(text: &str) {
    let text = arguments().hide_in(text);
    // With standard error gone there is nobody left to tell.
    let _ = writeln!(std::io::stderr(), "turnmill: {}", escaped_message(&text));
}

/// Runs a tool; false stands for exit code 1.
fn wait(tool: impl Future<Output = Result<bool, Failure>>) -> Result<ExitCode, Failure> {
    // PostgreSQL's connection is a task of it.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Runtime)?;
    let sound = runtime.block_on(tool)?;
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

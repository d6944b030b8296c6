//! `turnmill`: the service, and tools for its stores.
//!
//! What is absent: rules about rows, and any way to write rows that bypasses the pipeline.

#[cfg(feature = "kafka")]
mod check;
mod connect;
mod console;
mod conversations;
mod dashboard;
mod dead_letters;
mod definitions;
mod export;
mod failure;
#[cfg(feature = "postgres")]
mod foreign_keys;
mod markers;
mod output;
mod pattern_list;
mod positions;
mod question;
mod rebuild;
mod report;
#[cfg(feature = "kafka")]
mod run;
mod runtime;
mod show;
mod sinks;
#[cfg(feature = "files")]
mod snapshot;
mod sql;
mod store_args;
mod verify;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use turnmill_pipeline::explain;
use turnmill_service::end_at_once;
#[cfg(feature = "postgres")]
use turnmill_sink_postgres::Passwords;

use self::failure::Failure;
use self::runtime::block_on;

/// Exit code of an invalid command line.
const USAGE: u8 = 2;

/// Turns a Rasa event stream into Rasa's documented analytics tables and keeps them correct.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service: read a Kafka topic and write the tables.
    ///
    /// Settings come from turnmill.toml, the environment (including the variables of Rasa Pro
    /// Services) and flags. Flags take precedence over the environment, and the environment over
    /// the file. The exit code is 0 after SIGTERM or SIGINT, 1 after an error or if the shutdown
    /// took longer than TURNMILL_SHUTDOWN_SECS, and 130 after a second signal.
    #[cfg(feature = "kafka")]
    Run(Box<run::Args>),
    /// Left out of this build, which lacks Kafka.
    #[cfg(not(feature = "kafka"))]
    Run(LeftOut),
    /// Print the effective configuration and check it; with --connect also check brokers and
    /// database.
    ///
    /// The exit code is 1 if there is a problem. Nothing is written.
    #[cfg(feature = "kafka")]
    Check(Box<check::Args>),
    /// Left out of this build, which lacks Kafka.
    #[cfg(not(feature = "kafka"))]
    Check(LeftOut),
    /// Print row counts, digests and the ledger of a store, and check it for damage.
    ///
    /// Equal digests mean equal tables, in any store and for any order of the records. The exit
    /// code is 1 if the ledger does not add up or the store is damaged: pages and indexes,
    /// references between rows, row counts that differ from ledger and history, unreadable sender
    /// states.
    Verify(verify::Args),
    /// Answer questions about conversations: how many, which intents, how fast, how they ended.
    ///
    /// Names metrics by their id, or by its part before the underscore: `R8`. Without a name, those
    /// of the overview. docs/metrics.md defines each metric and the filters. The store is only
    /// read, and the database itself refuses anything else.
    Report(Box<report::Args>),
    /// List conversations: those that match filters, with their length, channel and ending.
    ///
    /// The filters are those of `report`, so the number of conversations is that of the metric R3
    /// with the same filters. The store is only read.
    Conversations(Box<conversations::Args>),
    /// Show a conversation: its turns with texts, intents, slots, actions, markers and response
    /// times.
    ///
    /// Also says why each session began and ended, by the rules with which the sessions were made.
    /// The key of a sender shows its newest sessions, oldest first. The store is only read.
    Show(show::Args),
    /// Write a table or view as CSV or JSON lines to standard output.
    ///
    /// Rows are ordered by their ids, so stores with the same rows give the same output. Memory
    /// does not limit its size. The store is only read.
    Export(export::Args),
    /// Print the SQL of a metric with its values, or run one statement that only reads.
    ///
    /// The database refuses a statement that writes, ends it at the time limit, and returns a
    /// limited number of rows.
    ///
    ///   turnmill sql sqlite:rasa.sqlite R8 --last 28d
    ///
    ///   turnmill sql sqlite:rasa.sqlite 'SELECT ending, count(*) FROM turnmill_session GROUP BY 1'
    Sql(Box<sql::Args>),
    /// Show a store in a browser: numbers, charts and conversations.
    ///
    /// Prints the address of the pages, which only this machine can open. The store is only read,
    /// also while the service writes to it. Ends with Ctrl-C.
    Dashboard(dashboard::Args),
    /// List, show and retry dead letters: records that could not become rows.
    #[command(subcommand)]
    DeadLetters(dead_letters::Command),
    /// Rebuild all rows from the stored history, after an update of turnmill that requires it or
    /// with other settings.
    ///
    /// A rebuild can be interrupted at any moment; the same command resumes it. Other programs can
    /// write meanwhile if neither turnmill nor the settings changed. Otherwise they have to wait
    /// until the rebuild has finished.
    Rebuild(rebuild::Args),
    /// Declare, enforce or drop foreign keys in PostgreSQL, with the indexes that enforcing needs.
    ///
    /// The rows do not change. The service can keep running; each table is locked for a moment. For
    /// new stores, set TURNMILL_DB_FOREIGN_KEYS instead.
    #[cfg(feature = "postgres")]
    ForeignKeys(foreign_keys::Args),
    /// Left out of this build, which lacks PostgreSQL.
    #[cfg(not(feature = "postgres"))]
    ForeignKeys(LeftOut),
    /// Check, preview, upload, backfill and explain markers.
    #[command(subcommand)]
    Markers(markers::Command),
    /// List or set the positions from which sources are read.
    #[command(subcommand)]
    Positions(positions::Command),
    /// Write the rows of every table to files: Parquet, CSV or JSON lines.
    ///
    /// `turnmill.json` in the folder names the files that belong together. A later run replaces
    /// them; until it has finished, the earlier ones stay. The store is only read.
    #[cfg(feature = "files")]
    Snapshot(snapshot::Args),
    /// List the sinks of a store, remove one, or let one start again.
    #[command(subcommand)]
    Sinks(sinks::Command),
}

/// Arguments of a command that this build lacks.
#[cfg(not(feature = "kafka"))]
#[derive(Debug, clap::Args)]
struct LeftOut {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CommandFailure {
    #[error(transparent)]
    Tool(#[from] Failure),
    #[cfg(feature = "kafka")]
    #[error(transparent)]
    Service(#[from] run::Failure),
    #[error(transparent)]
    Markers(#[from] markers::Failure),
}

impl CommandFailure {
    /// Returns the failure that all tools have in common, if it is one.
    fn as_tool(&self) -> Option<&Failure> {
        match self {
            Self::Tool(failure) | Self::Markers(markers::Failure::Tool(failure)) => Some(failure),
            Self::Markers(_) => None,
            #[cfg(feature = "kafka")]
            Self::Service(_) => None,
        }
    }
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return refuse(&error),
    };
    // The service has its own way to stop.
    if !matches!(args.command, Command::Run(_)) && std::process::id() == 1 {
        // The kernel gives the first process of a container no default action for signals. Without
        // a handler `docker stop` would wait, and then kill it. If the handler cannot be installed,
        // that is what happens.
        let _ = ctrlc::set_handler(|| end_at_once());
    }
    match run_command(args.command) {
        Ok(code) => code,
        Err(failure) => report(&failure),
    }
}

fn run_command(command: Command) -> Result<ExitCode, CommandFailure> {
    Ok(match command {
        #[cfg(feature = "kafka")]
        Command::Run(args) => run::run(&args)?,
        #[cfg(feature = "kafka")]
        Command::Check(args) => block_on(check::run(&args))?,
        #[cfg(not(feature = "kafka"))]
        Command::Run(_) | Command::Check(_) => return Err(Failure::LeftOut { feature: "kafka" }.into()),
        Command::Verify(args) => block_on(verify::run(&args))?,
        Command::Report(args) => block_on(report::run(&args))?,
        Command::Conversations(args) => block_on(conversations::run(&args))?,
        Command::Show(args) => block_on(show::run(&args))?,
        Command::Export(args) => block_on(export::run(&args))?,
        Command::Sql(args) => block_on(sql::run(&args))?,
        Command::Dashboard(args) => dashboard::run(&args)?,
        Command::DeadLetters(command) => block_on(dead_letters::run(&command))?,
        Command::Rebuild(args) => block_on(rebuild::run(&args))?,
        #[cfg(not(feature = "postgres"))]
        Command::ForeignKeys(_) => return Err(Failure::LeftOut { feature: "postgres" }.into()),
        #[cfg(feature = "postgres")]
        Command::ForeignKeys(args) => block_on(foreign_keys::run(&args))?,
        Command::Markers(command) => markers::run(&command)?,
        Command::Positions(command) => block_on(positions::run(&command))?,
        #[cfg(feature = "files")]
        Command::Snapshot(args) => block_on(snapshot::run(&args))?,
        Command::Sinks(command) => block_on(sinks::run(&command))?,
    })
}

/// Prints why a command failed, and returns its exit code.
fn report(failure: &CommandFailure) -> ExitCode {
    match failure.as_tool() {
        // The reader of the output closed the pipe, as `head` does.
        Some(Failure::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let text = explain(failure);
    console::message(&text);
    #[cfg(feature = "postgres")]
    if let Some(warning) = Passwords::of_process().warning().filter(|_| text.contains("password")) {
        console::message(&warning);
    }
    match failure.as_tool() {
        // clap would refuse these arguments if the store before them were not optional.
        Some(Failure::NoNumber(_) | Failure::NoPosition(_) | Failure::Question(_)) => ExitCode::from(USAGE),
        _ => ExitCode::FAILURE,
    }
}

/// Prints what is wrong with the command line, or the help that was requested.
fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // A closed standard output is no reason to fail.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let message = console::arguments().hide_in_coloured(&error.render().ansi().to_string());
    let _ = write!(std::io::stderr(), "{message}");
    ExitCode::from(USAGE)
}

//! `turnmill`: the tools of a store.
//!
//! What is absent here: any rule, and any way to write rows but through the pipeline.

mod dead_letters;
mod verify;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use turnmill_pipeline::explain;
use turnmill_sink::StoreError;
use turnmill_sink_sqlite::SqliteStore;

/// Conversation analytics that are always right.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Count the rows of each table, digest them, and check that every record is accounted for.
    ///
    /// Equal digests mean equal tables, whatever the store and the order in which records arrived. Exit code 1 if the ledger does
    /// not add up.
    Verify(verify::Args),
    /// Look at the records that could not become rows, and try them again.
    #[command(subcommand)]
    DeadLetters(dead_letters::Command),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("unknown store `{0}`: expected sqlite:PATH")]
    UnknownStore(String),
    #[error("there is no dead letter {0}")]
    NoSuchLetter(u64),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot write the output")]
    Output(#[from] std::io::Error),
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Verify(args) => verify::run(&args),
        Command::DeadLetters(command) => dead_letters::run(&command),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // The reader of the output has seen enough.
        Err(Failure::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            // With standard error gone there is nobody left to tell.
            let _ = writeln!(std::io::stderr(), "turnmill: {}", explain(&failure));
            ExitCode::FAILURE
        }
    }
}

/// The store called `url`, not opened yet.
fn store(url: &str) -> Result<SqliteStore, Failure> {
    SqliteStore::from_url(url).ok_or_else(|| Failure::UnknownStore(url.to_owned()))
}

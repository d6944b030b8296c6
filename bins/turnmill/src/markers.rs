//! `turnmill markers`.

mod check;
mod evaluate;
mod explain;
mod failure;
mod inputs;
mod patterns;
mod preview;
mod remote;
mod store_options;
mod tools;

use std::process::ExitCode;

pub(crate) use self::failure::Failure;
pub(crate) use self::preview::as_json as preview_json;
use crate::runtime::block_on;

/// Subcommands of `turnmill markers`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Check marker files. The exit code is 1 if there are errors.
    Check(check::Args),
    /// Evaluate markers over conversations, as `rasa evaluate markers` does, and write its CSV
    /// files.
    ///
    /// Conversations are evaluated in the order of their ids, and their events in the order of the
    /// input. Each `action_session_start` starts a new session. No store is used.
    Evaluate(evaluate::Args),
    /// Replace the active markers by those of these files.
    ///
    /// New and changed markers apply to new events only; in a store without events, to all.
    Upload(patterns::Upload),
    /// List the patterns of a store.
    List(patterns::List),
    /// End a pattern, so that it does not apply to new events.
    Remove(patterns::Remove),
    /// Show what markers would find in the stored history. Nothing is written.
    Preview(preview::Args),
    /// Apply active patterns to the stored history, as if they had existed from the start.
    ///
    /// A backfill can be interrupted at any moment; the same command resumes it. Other programs can
    /// write meanwhile.
    Backfill(patterns::Backfill),
    /// Explain event by event why a marker applied in a session, or did not.
    Explain(explain::Args),
}

/// Runs a subcommand.
pub(crate) fn run(command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Check(args) => check::run(args),
        // Reading a tracker store blocks, so it must not run inside of a runtime.
        Command::Evaluate(args) => evaluate::run(args),
        Command::Upload(args) => block_on(patterns::upload(args)),
        Command::List(args) => block_on(patterns::list(args)),
        Command::Remove(args) => block_on(patterns::remove(args)),
        Command::Preview(args) => block_on(preview::run(args)),
        Command::Backfill(args) => block_on(patterns::backfill(args)),
        Command::Explain(args) => block_on(explain::run(args)),
    }
}

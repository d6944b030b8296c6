//! `turnmill markers`.

mod check;
mod definitions;
mod evaluate;
mod explain;
mod inputs;
mod patterns;
mod preview;
mod remote;
mod show;
mod tools;

use std::path::PathBuf;
use std::process::ExitCode;

use turnmill_markers::Diagnostic;
use turnmill_source::SourceError;
use turnmill_text::escaped;

use crate::store_args::{StoreChoice, StoreOptions};

pub(crate) use self::definitions::{Definitions, now};
pub(crate) use self::show::as_json;

/// Subcommands of `turnmill markers`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Say what is wrong with marker files. Exit code 1 if anything is.
    Check(check::Args),
    /// Evaluate markers over conversations, as `rasa evaluate markers` does, and write its CSV files.
    ///
    /// Conversations are taken in the order of their ids, their events in the order of the input, and cut into sessions at
    /// each `action_session_start`. No store is touched.
    Evaluate(evaluate::Args),
    /// Make the markers of these files all that is active.
    ///
    /// New and changed ones hold for events from now on; in a store without events, for all.
    Upload(patterns::Upload),
    /// List the patterns of a store.
    List(patterns::List),
    /// End a pattern: it does not hold for events from now on.
    Remove(patterns::Remove),
    /// Show what markers would find in the stored history. Nothing is written.
    Preview(preview::Args),
    /// Apply active patterns to all stored history, as if they had been there from the start.
    ///
    /// Can be killed at any moment; the same command goes on. Others may write meanwhile.
    Backfill(patterns::Backfill),
    /// Explain event by event why a marker applied in a session, or did not.
    Explain(explain::Args),
}

/// Which store.
#[derive(Debug, clap::Args)]
pub(crate) struct OnStore {
    /// The store: `sqlite:PATH` or `postgresql://USER@HOST:PORT/DATABASE`. Without it the configured one.
    #[arg(long, value_name = "STORE")]
    on: Option<String>,
    #[command(flatten)]
    options: StoreOptions,
}

/// Which store, or which service.
#[derive(Debug, clap::Args)]
pub(crate) struct OnStoreOrService {
    /// The store: `sqlite:PATH` or `postgresql://USER@HOST:PORT/DATABASE`. Or a running service: `http://HOST:PORT`,
    /// with its token in `TURNMILL_API_TOKEN`. Without it the configured store.
    #[arg(long, value_name = "STORE|URL")]
    on: Option<String>,
    #[command(flatten)]
    options: StoreOptions,
}

impl OnStore {
    fn choice(&self) -> StoreChoice<'_> {
        self.options.choice(self.on.as_deref())
    }
}

impl OnStoreOrService {
    fn choice(&self) -> StoreChoice<'_> {
        self.options.choice(self.on.as_deref())
    }

    /// The service, if it is one.
    fn service(&self) -> Result<Option<remote::Service>, Failure> {
        let Some(on) = &self.on else { return Ok(None) };
        let is =
            |scheme: &str| on.get(..scheme.len()).is_some_and(|front| front.eq_ignore_ascii_case(scheme));
        if is("https://") {
            return Err(Failure::Https);
        }
        Ok(is("http://").then(|| remote::Service::new(on)))
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{}", list(.0))]
    Definitions(Vec<Diagnostic>),
    #[error("there is no active pattern `{}`; there are: {}", escaped(name), or_none(known))]
    NoSuchPattern { name: String, known: String },
    #[error("there is no marker `{0}` in these files")]
    NoSuchMarker(String),
    #[error("`{0}` is no session id: expected a UUID, as in rasa_session.id")]
    NoSessionId(String),
    #[error("there is no session {0}")]
    NoSuchSession(uuid::Uuid),
    #[error(
        "this build speaks to a service by http:// only: run the command beside it, through a tunnel, or on its store"
    )]
    Https,
    #[error("cannot reach the service at {url}")]
    Unreachable { url: String, source: Box<ureq::Error> },
    #[error("the service at {url} answered {status}: {answer}")]
    Answer { url: String, status: u16, answer: String },
    #[error("the service refuses the markers:\n{0}")]
    Refused(String),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("cannot read `{name}`")]
    Input { name: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("cannot write `{}`", path.display())]
    Write { path: PathBuf, source: std::io::Error },
}

/// A list of names for a terminal.
pub(crate) fn or_none(names: &str) -> String {
    if names.is_empty() { "none".to_owned() } else { escaped(names).to_string() }
}

/// All that is wrong, a line each.
fn list(diagnostics: &[Diagnostic]) -> String {
    let lines: Vec<String> = diagnostics.iter().map(|one| escaped(&one.to_string()).to_string()).collect();
    format!("the markers cannot be used:\n{}", lines.join("\n"))
}

/// Does what the command line says.
pub(crate) fn run(command: &Command) -> Result<ExitCode, crate::Failure> {
    match command {
        Command::Check(args) => check::run(args),
        // Reading tracker stores blocks, so no runtime may be around it.
        Command::Evaluate(args) => evaluate::run(args),
        Command::Upload(args) => crate::wait(patterns::upload(args)),
        Command::List(args) => crate::wait(patterns::list(args)),
        Command::Remove(args) => crate::wait(patterns::remove(args)),
        Command::Preview(args) => crate::wait(preview::run(args)),
        Command::Backfill(args) => crate::wait(patterns::backfill(args)),
        Command::Explain(args) => crate::wait(explain::run(args)),
    }
}

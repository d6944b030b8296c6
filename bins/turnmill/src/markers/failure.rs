//! Errors of `turnmill markers`.

use std::path::PathBuf;

use turnmill_markers::Diagnostic;
use turnmill_sink::StoreError;
use turnmill_source::SourceError;
use turnmill_text::escaped;

use crate::failure::{self, or_none};

/// Why a subcommand of `turnmill markers` failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Tool(#[from] failure::Failure),
    #[error("{}", list(.0))]
    Definitions(Vec<Diagnostic>),
    #[error("no active pattern is named `{}`; active patterns: {}", escaped(name), or_none(known))]
    NoSuchPattern { name: String, known: String },
    #[error("these files contain no marker `{0}`")]
    NoSuchMarker(String),
    #[error("`{0}` is not a session id; expected a UUID, as in rasa_session.id")]
    NoSessionId(String),
    #[error("session {0} does not exist")]
    NoSuchSession(uuid::Uuid),
    #[error(
        "https:// is not supported; run this command beside the service with http://, through a tunnel, or on its store"
    )]
    Https,
    #[error("cannot reach the service at {url}")]
    Unreachable { url: String, source: Box<ureq::Error> },
    #[error("the service at {url} responded with {status}: {detail}")]
    Response { url: String, status: u16, detail: String },
    #[error("the service refused the markers:\n{0}")]
    Refused(String),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("cannot read `{name}`")]
    Input { name: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("cannot write `{}`", path.display())]
    Write { path: PathBuf, source: std::io::Error },
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Tool(error.into())
    }
}

impl From<std::io::Error> for Failure {
    /// Converts an error of writing the output.
    fn from(error: std::io::Error) -> Self {
        Self::Tool(error.into())
    }
}

/// Lists all errors, one per line.
fn list(diagnostics: &[Diagnostic]) -> String {
    let lines: Vec<String> = diagnostics.iter().map(|one| escaped(&one.to_string()).to_string()).collect();
    format!("the marker definitions have errors:\n{}", lines.join("\n"))
}

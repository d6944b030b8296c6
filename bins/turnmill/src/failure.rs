//! Errors of the tools.

use turnmill_model::PartitionId;
use turnmill_service::settings::SettingsError;
use turnmill_sink::StoreError;
use turnmill_stores::UnknownStore;
use turnmill_text::escaped;

/// Why a tool failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    UnknownStore(#[from] UnknownStore),
    #[error("no store given, and the configured one cannot be used: {0}")]
    Configured(SettingsError),
    #[error(transparent)]
    Settings(SettingsError),
    #[error("RASA_ANALYTICS_DB_URL: {0}")]
    Database(UnknownStore),
    #[cfg(not(feature = "kafka"))]
    #[error("this command needs the feature `{feature}`, which this build lacks")]
    LeftOut { feature: &'static str },
    #[error("database unavailable for {wait} (--wait), giving up")]
    GaveUp { wait: String, source: StoreError },
    #[error("`{0}` is not the number of a dead letter; give the store first, then the numbers")]
    NoNumber(String),
    #[error("dead letter {0} does not exist")]
    NoSuchDeadLetter(u64),
    #[error(
        "the store has no position of {}; it has {}. Use --new to add one",
        escaped(&key.to_string()),
        or_none(known)
    )]
    NoSuchPosition { key: PartitionId, known: String },
    #[error(
        "expected [STORE] SOURCE PARTITION POSITION, with an offset or `earliest` as POSITION, found `{0}`"
    )]
    NoPosition(String),
    #[error("the store has no sink `{}`; it has {known}", escaped(name))]
    NoSuchSink { name: String, known: String },
    #[error("the position changed meanwhile; stop the service, or try again")]
    PositionChanged(#[source] StoreError),
    #[error("{0}")]
    Question(String),
    #[error("{0}")]
    Metrics(String),
    #[error("the store has no {what} `{}`{hint}", escaped(name))]
    NoSuchThing { what: &'static str, name: String, hint: String },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[cfg(feature = "files")]
    #[error(transparent)]
    Files(#[from] turnmill_sink_file::FileError),
    #[error(
        "{0} is not an address of this machine alone; set TURNMILL_API_TOKEN, or use 127.0.0.1 or [::1] (--listen)"
    )]
    NotLoopback(std::net::SocketAddr),
    #[error("TURNMILL_API_TOKEN is too short: use at least {0} characters")]
    ShortToken(usize),
    #[error("cannot make the store of the demo: {0}")]
    Demo(String),
    #[error("--listen")]
    Listen(#[from] turnmill_service::http::ServerError),
    #[error("cannot start the async runtime")]
    Runtime(#[source] std::io::Error),
    #[error("cannot write the output")]
    Output(#[from] std::io::Error),
}

/// Returns a list of names as a terminal shows it.
pub(crate) fn or_none(names: &str) -> String {
    if names.is_empty() { "none".to_owned() } else { escaped(names).to_string() }
}

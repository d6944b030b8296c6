//! Errors of store URLs.

/// Why a text is not the URL of a store. No message contains a password, or a part of a URL that
/// may be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnknownStore {
    /// There is no such kind of store.
    #[error("unknown store `{scheme}`: expected sqlite:PATH or postgresql://USER@HOST:PORT/DATABASE")]
    Scheme {
        /// The text without secrets.
        scheme: String,
    },
    /// `sqlite:` without a path.
    #[error("`sqlite:` names no file: expected sqlite:PATH")]
    NoPath,
    /// A database in memory, which no other command could read.
    #[error("`:memory:` is gone when the command ends: name a file, as in sqlite:rasa.sqlite")]
    Memory,
    /// A SQLite URL whose slashes make the file a host.
    #[error("a SQLite store is spelled sqlite:PATH, without `//`: here {right}")]
    Spelling {
        /// The right spelling.
        right: String,
    },
    /// A kind of store that is planned.
    #[error(
        "stores of the kind `{scheme}` are not supported yet: expected sqlite:PATH or \
         postgresql://USER@HOST:PORT/DATABASE"
    )]
    NotYet {
        /// The scheme.
        scheme: String,
    },
    /// A kind of store that this build does not include.
    #[error("`{scheme}` needs the feature `{feature}`, which this build lacks")]
    LeftOut {
        /// The scheme.
        scheme: String,
        /// The missing feature.
        feature: &'static str,
    },
    /// An invalid PostgreSQL URL.
    #[cfg(feature = "postgres")]
    #[error(transparent)]
    Postgres(#[from] turnmill_sink_postgres::SettingsError),
}

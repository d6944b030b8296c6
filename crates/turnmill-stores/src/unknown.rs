//! Texts that name no store.

/// Why a text names no store. No message holds a password, or a part of a URL that may be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnknownStore {
    /// Nothing that there is, or ever will be.
    #[error("unknown store `{scheme}`: expected sqlite:PATH or postgresql://USER@HOST:PORT/DATABASE")]
    Scheme {
        /// The text as it may be shown.
        scheme: String,
    },
    /// `sqlite:` without a path.
    #[error("`sqlite:` names no file: expected sqlite:PATH")]
    NoPath,
    /// A database in memory, which nothing could read afterwards.
    #[error("`:memory:` is gone when the command ends: name a file, as in sqlite:rasa.sqlite")]
    Memory,
    /// A SQLite file with slashes that make it a host.
    #[error("a SQLite store is spelled sqlite:PATH, without `//`: here {right}")]
    Spelling {
        /// How it is spelled here.
        right: String,
    },
    /// A kind of store that is planned.
    #[error(
        "stores of the kind `{scheme}` are not supported yet: expected sqlite:PATH or \
         postgresql://USER@HOST:PORT/DATABASE"
    )]
    NotYet {
        /// What it begins with.
        scheme: String,
    },
    /// A kind of store that this build lacks.
    #[error("`{scheme}` needs the feature `{feature}`, which this build lacks")]
    LeftOut {
        /// What it begins with.
        scheme: String,
        /// The feature.
        feature: &'static str,
    },
    /// A PostgreSQL URL that cannot be read.
    #[cfg(feature = "postgres")]
    #[error(transparent)]
    Postgres(#[from] turnmill_sink_postgres::SettingsError),
}

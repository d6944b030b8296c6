//! Converts the service's settings into a store.

#[cfg(feature = "kafka")]
mod kafka;

#[cfg(feature = "postgres")]
use std::time::Duration;

use turnmill_service::settings::{DatabaseSettings, DatabaseTarget};
use turnmill_sink::StoreError;
#[cfg(feature = "postgres")]
use turnmill_sink_postgres::{Passwords, PostgresAddress, PostgresSettings, PostgresStore};
use turnmill_sink_sqlite::SqliteStore;
use turnmill_stores::{AnyStore, UnknownStore};

#[cfg(feature = "kafka")]
pub(crate) use self::kafka::{consumers, kafka, producer, setting_of};

/// Returns the settings of the PostgreSQL store.
#[cfg(feature = "postgres")]
fn postgres(address: &PostgresAddress, database: &DatabaseSettings) -> PostgresSettings {
    PostgresSettings::from(address.clone())
        .or_password_from(&Passwords::of_process())
        .with_schema(&database.schema)
        .with_migrations(database.migrate)
        .with_statement_timeout(database.statement_timeout.unwrap_or(Duration::ZERO))
        .with_lock_timeout(database.lock_timeout.unwrap_or(Duration::ZERO))
        // The settings accept valid names only.
        .with_foreign_keys(database.foreign_keys.parse().unwrap_or_default())
}

/// The database of the service, not opened yet.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    #[cfg(feature = "postgres")]
    Postgres(Box<PostgresSettings>),
    Sqlite {
        url: String,
        #[cfg(feature = "kafka")]
        migrate: bool,
        foreign_keys: bool,
    },
}

impl Target {
    pub(crate) fn new(database: &DatabaseSettings) -> Result<Self, UnknownStore> {
        Ok(match &database.target {
            DatabaseTarget::Sqlite { url, .. } => Self::Sqlite {
                url: url.clone(),
                #[cfg(feature = "kafka")]
                migrate: database.migrate,
                foreign_keys: database.foreign_keys != "none",
            },
            #[cfg(feature = "postgres")]
            DatabaseTarget::Postgres(address) => Self::Postgres(Box::new(postgres(address, database))),
            // `DatabaseTarget` is non-exhaustive, and this build may lack PostgreSQL.
            _ => return Err(UnknownStore::LeftOut { scheme: "postgresql".into(), feature: "postgres" }),
        })
    }

    /// Returns a new store. Each store opens its own connection.
    pub(crate) fn store(&self) -> Result<AnyStore, StoreError> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(settings) => {
                let store = PostgresStore::new((**settings).clone());
                Ok(store.with_notices(|text| tracing::info!("{text}")).into())
            }
            Self::Sqlite { url, foreign_keys, .. } => {
                let store = SqliteStore::from_url(url).map(|store| store.foreign_keys(*foreign_keys));
                let no_path =
                    || StoreError::Unusable { detail: "the URL names no file".into(), source: None };
                store.map(AnyStore::Sqlite).ok_or_else(no_path)
            }
        }
    }

    /// Returns whether the store must exist already, because migrations are disabled. The
    /// PostgreSQL store checks this itself.
    #[cfg(feature = "kafka")]
    pub(crate) fn must_exist(&self) -> bool {
        matches!(self, Self::Sqlite { migrate: false, .. })
    }
}

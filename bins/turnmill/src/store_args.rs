//! Arguments that name a store, and how tools open it.

use std::path::PathBuf;
use std::time::Duration;

use turnmill_analytics::AskError;
use turnmill_model::Settings;
use turnmill_pipeline::{Attempts, explain, rounded};
use turnmill_service::settings::{AnalyticsSettings, Flags, Loaded, RequiredSettings, SettingId};
use turnmill_sink::{Class, Store, StoreError};
use turnmill_stores::{AnyReader, AnyStore, UnknownStore};

use crate::connect::Target;
use crate::console;
use crate::failure::Failure;

/// The store as the first argument.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct StoreArgs {
    /// Store: `sqlite:PATH` or `postgresql://USER@HOST:PORT/DATABASE` [default: the
    /// configured store]
    store: Option<String>,
    #[command(flatten)]
    options: StoreOptions,
}

/// Options of every command that takes a store.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct StoreOptions {
    /// PostgreSQL schema [default: `TURNMILL_DB_SCHEMA`, or `public`]
    #[arg(long, value_name = "NAME")]
    schema: Option<String>,
    /// Settings file that names the store, if the command line does not [default: `turnmill.toml`]
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Seconds to retry while the database is unavailable.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    wait: u64,
}

/// A store from the command line or the configuration, not opened yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoreChoice<'a> {
    url: Option<&'a str>,
    options: &'a StoreOptions,
}

impl StoreArgs {
    pub(crate) fn choice(&self) -> StoreChoice<'_> {
        self.options.choice(self.store.as_deref())
    }

    pub(crate) fn options(&self) -> &StoreOptions {
        &self.options
    }
}

impl StoreOptions {
    /// Returns the store at `url`, or the configured store if it is `None`.
    pub(crate) fn choice<'a>(&'a self, url: Option<&'a str>) -> StoreChoice<'a> {
        StoreChoice { url, options: self }
    }

    /// Returns what the configuration says about metrics.
    pub(crate) fn analytics(&self) -> Result<AnalyticsSettings, Failure> {
        AnalyticsSettings::of_process(&self.flags()).map_err(Failure::Settings)
    }

    fn flags(&self) -> Flags {
        match &self.config {
            Some(path) => Flags::default().with(SettingId::Config, path.to_string_lossy()),
            None => Flags::default(),
        }
    }
}

impl StoreChoice<'_> {
    /// Returns the store, not opened yet.
    pub(crate) fn store(self) -> Result<AnyStore, Failure> {
        let schema = self.options.schema.as_deref();
        if let Some(url) = self.url {
            return Ok(store_at(url, schema)?);
        }
        let mut flags = self.options.flags();
        if let Some(schema) = schema {
            flags = flags.with(SettingId::Schema, schema);
        }
        let loaded = Loaded::of_process(&flags, RequiredSettings::Database).map_err(Failure::Configured)?;
        Ok(Target::new(&loaded.settings.database).map_err(Failure::Database)?.store()?)
    }

    /// Returns how long to retry while the database is unavailable.
    pub(crate) fn wait(self) -> Duration {
        Duration::from_secs(self.options.wait)
    }

    /// Opens the store for reading. Returns it with the settings it was filled with.
    pub(crate) async fn for_reading(self) -> Result<(AnyStore, Settings), Failure> {
        self.with_retries(async || {
            let mut store = self.store()?.read_only();
            let settings = store.open_as_it_is().await?;
            Ok((store, settings))
        })
        .await
    }

    /// Returns a reader of the store, which ends a question after `limit`. A role that reads the
    /// public tables alone is enough.
    pub(crate) async fn reader(self, limit: Duration) -> Result<AnyReader, Failure> {
        self.with_retries(async || {
            let mut reader = self.store()?.reader(limit)?;
            reader.connect().await?;
            Ok(reader)
        })
        .await
    }

    /// Returns the failure for a question without an answer.
    pub(crate) fn not_answered(self, error: AskError<StoreError>) -> Failure {
        match error {
            AskError::Store(error) => self.gave_up(error),
            error => Failure::Metrics(error.to_string()),
        }
    }

    /// Returns the settings that the store was filled with, even if its schema has to be migrated
    /// first.
    pub(crate) async fn stored_settings(self) -> Result<Settings, Failure> {
        self.with_retries(async || Ok(self.store()?.read_only().stored_settings().await?)).await
    }

    /// Opens the store for writing. Returns it with the settings it was filled with.
    ///
    /// With settings in `missing`, a store that does not exist is created with them. Otherwise it
    /// is an error.
    pub(crate) async fn for_writing(
        self,
        missing: Option<Settings>,
    ) -> Result<(AnyStore, Settings), Failure> {
        self.with_retries(async || {
            let settings = match self.store()?.read_only().open_as_it_is().await {
                Ok(settings) => settings,
                Err(error @ StoreError::Unusable { .. }) => missing.clone().ok_or(error)?,
                Err(error) => return Err(error.into()),
            };
            let mut store = self.store()?;
            store.open(&settings).await?;
            Ok((store, settings))
        })
        .await
    }

    /// Retries `attempt` while the database is unavailable, up to the time limit. Prints the first
    /// error only.
    async fn with_retries<T>(
        self,
        mut attempt: impl AsyncFnMut() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut attempts = Attempts::giving_up_after(self.wait());
        let mut was_reported = false;
        loop {
            let error = match attempt().await {
                Err(Failure::Store(error)) if matches!(error.class(), Class::Retryable { .. }) => error,
                result => return result,
            };
            let Some(pause) = attempts.failed(&error) else { return Err(self.gave_up(error)) };
            if !was_reported {
                console::message(&format!(
                    "database unavailable, retrying for {}: {}",
                    rounded(self.wait()),
                    explain(&error)
                ));
                was_reported = true;
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Returns the failure for an error that is no longer retried.
    pub(crate) fn gave_up(self, error: StoreError) -> Failure {
        match error.class() {
            Class::Retryable { .. } => Failure::GaveUp { wait: rounded(self.wait()), source: error },
            Class::Fenced | Class::Poison | Class::Fatal => Failure::Store(error),
        }
    }
}

/// Returns the store at `url`, not opened yet, in `schema` or in that of the environment.
fn store_at(url: &str, schema: Option<&str>) -> Result<AnyStore, UnknownStore> {
    let variable = || std::env::var("TURNMILL_DB_SCHEMA").ok().filter(|schema| !schema.is_empty());
    let schema = schema.map(str::to_owned).or_else(variable);
    let store = AnyStore::from_url(url)?.with_schema(schema.as_deref());
    Ok(store.with_password_of_process())
}

/// Splits arguments into an optional store and numbers. The first argument is the store unless it
/// is a number.
pub(crate) fn split_numbers(arguments: &[String]) -> Result<(Option<&str>, Vec<u64>), Failure> {
    let store = arguments.first().filter(|first| first.parse::<u64>().is_err());
    let numbers = arguments.iter().skip(usize::from(store.is_some()));
    let number = |text: &String| text.parse().map_err(|_| Failure::NoNumber(text.clone()));
    Ok((store.map(String::as_str), numbers.map(number).collect::<Result<_, _>>()?))
}

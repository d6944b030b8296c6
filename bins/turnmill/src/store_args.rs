//! Which store a tool is about, and how long it waits for it.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use turnmill_model::Settings;
use turnmill_pipeline::{Attempts, explain, rounded};
use turnmill_service::settings::{Flags, Id, Loaded, Needs};
use turnmill_sink::{Class, Store, StoreError};
use turnmill_stores::AnyStore;

use crate::connect::Target;
use crate::{Failure, store_at};

/// The store as the first argument.
#[derive(Debug, clap::Args)]
pub(crate) struct StoreArgs {
    /// The store: `sqlite:PATH` or `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`. Without it the configured one.
    store: Option<String>,
    #[command(flatten)]
    options: StoreOptions,
}

/// What goes with a store wherever it is named.
#[derive(Debug, clap::Args)]
pub(crate) struct StoreOptions {
    /// Schema of PostgreSQL; `TURNMILL_DB_SCHEMA`, or else `public`, unless given.
    #[arg(long, value_name = "NAME")]
    schema: Option<String>,
    /// The settings file that names the store if the command line does not; `turnmill.toml` unless given.
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Seconds to wait for a database that is away.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    wait: u64,
}

/// A store that is named or configured, not opened yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoreChoice<'a> {
    url: Option<&'a str>,
    options: &'a StoreOptions,
}

impl StoreArgs {
    pub(crate) fn choice(&self) -> StoreChoice<'_> {
        self.options.choice(self.store.as_deref())
    }
}

impl StoreOptions {
    /// The store at `url`, or without one the configured store.
    pub(crate) fn choice<'a>(&'a self, url: Option<&'a str>) -> StoreChoice<'a> {
        StoreChoice { url, options: self }
    }
}

impl StoreChoice<'_> {
    /// The store, not opened yet.
    pub(crate) fn store(self) -> Result<AnyStore, Failure> {
        let schema = self.options.schema.as_deref();
        if let Some(url) = self.url {
            return Ok(store_at(url, schema)?);
        }
        let mut flags = Flags::default();
        if let Some(path) = &self.options.config {
            flags = flags.with(Id::Config, path.to_string_lossy());
        }
        if let Some(schema) = schema {
            flags = flags.with(Id::Schema, schema);
        }
        let loaded = Loaded::of_process(&flags, Needs::Database).map_err(Failure::Configured)?;
        let target = Target::new(&loaded.settings.database).map_err(crate::run::Failure::from)?;
        Ok(target.store()?)
    }

    /// How long to wait for a database that is away.
    pub(crate) fn wait(self) -> Duration {
        Duration::from_secs(self.options.wait)
    }

    /// The store for reading only, and the settings that it was filled with.
    pub(crate) async fn for_reading(self) -> Result<(AnyStore, Settings), Failure> {
        self.patiently(async || {
            let mut store = self.store()?.read_only();
            let settings = store.open_as_it_is().await?;
            Ok((store, settings))
        })
        .await
    }

    /// The settings that the store was filled with, also if its schema is older than this turnmill's.
    pub(crate) async fn stored_settings(self) -> Result<Settings, Failure> {
        self.patiently(async || Ok(self.store()?.read_only().stored_settings().await?)).await
    }

    /// The store for writing, with the settings that it was filled with. `missing` are those of a store that is to be made
    /// if it is not there yet.
    pub(crate) async fn for_writing(
        self,
        missing: Option<Settings>,
    ) -> Result<(AnyStore, Settings), Failure> {
        self.patiently(async || {
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

    /// Tries again what failed because the database is away, for as long as it is waited for.
    async fn patiently<T>(self, mut attempt: impl AsyncFnMut() -> Result<T, Failure>) -> Result<T, Failure> {
        let mut attempts = Attempts::giving_up_after(self.wait());
        let mut told = false;
        loop {
            let error = match attempt().await {
                Err(Failure::Store(error)) if matches!(error.class(), Class::Retryable { .. }) => error,
                result => return result,
            };
            let Some(pause) = attempts.failed(&error) else { return Err(self.gave_up(error)) };
            if !told {
                say(&format!(
                    "database unavailable, retrying for {}: {}",
                    rounded(self.wait()),
                    explain(&error)
                ));
                told = true;
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// The error of work that was tried for as long as it may be.
    pub(crate) fn gave_up(self, error: StoreError) -> Failure {
        match error.class() {
            Class::Retryable { .. } => Failure::GaveUp { wait: rounded(self.wait()), source: error },
            Class::Fenced | Class::Poison | Class::Fatal => Failure::Store(error),
        }
    }
}

/// Tells people something beside the output.
pub(crate) fn say(text: &str) {
    // With standard error gone there is nobody left to tell.
    let _ = writeln!(std::io::stderr(), "turnmill: {text}");
}

/// Splits a list of arguments of which the first may be a store: it is one unless it is a number.
pub(crate) fn split_numbers(arguments: &[String]) -> Result<(Option<&str>, Vec<u64>), Failure> {
    let store = arguments.first().filter(|first| first.parse::<u64>().is_err());
    let numbers = arguments.iter().skip(usize::from(store.is_some()));
    let number = |text: &String| text.parse().map_err(|_| Failure::NoNumber(text.clone()));
    Ok((store.map(String::as_str), numbers.map(number).collect::<Result<_, _>>()?))
}

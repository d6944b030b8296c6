//! The option `--on`: a store, or a running service.

use super::Failure;
use super::remote::RemoteService;
use crate::store_args::{StoreChoice, StoreOptions};

/// Names a store.
#[derive(Debug, clap::Args)]
pub(super) struct OnStore {
    /// Store: `sqlite:PATH` or `postgresql://USER@HOST:PORT/DATABASE` [default: the configured
    /// store]
    #[arg(long, value_name = "STORE")]
    on: Option<String>,
    #[command(flatten)]
    options: StoreOptions,
}

/// Names a store or a running service.
#[derive(Debug, clap::Args)]
pub(super) struct OnStoreOrService {
    /// Store: `sqlite:PATH` or `postgresql://USER@HOST:PORT/DATABASE`; or a running service:
    /// `http://HOST:PORT`, with its token in `TURNMILL_API_TOKEN` [default: the configured store]
    #[arg(long, value_name = "STORE|URL")]
    on: Option<String>,
    #[command(flatten)]
    options: StoreOptions,
}

impl OnStore {
    pub(super) fn choice(&self) -> StoreChoice<'_> {
        self.options.choice(self.on.as_deref())
    }
}

impl OnStoreOrService {
    pub(super) fn choice(&self) -> StoreChoice<'_> {
        self.options.choice(self.on.as_deref())
    }

    /// Returns the service, or `None` if the option names a store.
    pub(super) fn service(&self) -> Result<Option<RemoteService>, Failure> {
        let Some(on) = &self.on else { return Ok(None) };
        let has_scheme =
            |scheme: &str| on.get(..scheme.len()).is_some_and(|front| front.eq_ignore_ascii_case(scheme));
        if has_scheme("https://") {
            return Err(Failure::Https);
        }
        Ok(has_scheme("http://").then(|| RemoteService::new(on)))
    }
}

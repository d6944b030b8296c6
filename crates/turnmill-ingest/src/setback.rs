//! Reasons why an attempt at a transaction ended without a commit.

use turnmill_engine::Engine;
use turnmill_model::Settings;
use turnmill_sink::{StoreError, Transaction, check_settings};

/// Tells why an attempt ended without a commit.
#[derive(Debug)]
pub(crate) enum Setback {
    Store(StoreError),
    /// The store has other patterns than the engine.
    OtherPatterns,
}

impl From<StoreError> for Setback {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Compares the settings of the rows with those that the store was opened with.
///
/// # Errors
///
/// Fatal if they differ. Rows made with both would not fit each other.
pub(crate) fn check_opened<T: Transaction>(rows: &Settings, tx: &T) -> Result<(), StoreError> {
    check_settings(tx.settings(), rows).map_err(|error| match error {
        StoreError::Settings { setting, stored, configured } => StoreError::Unusable {
            detail: format!(
                "the store was opened with {setting} = {stored}, and rows are made with {configured}: open it with \
                 `Ingest::open`"
            ),
            source: None,
        },
        error => error,
    })
}

/// Compares the patterns of the engine with those of the store, which cannot change until the
/// transaction ends.
///
/// # Errors
///
/// [`Setback::OtherPatterns`] if the engine has to learn the store's patterns first.
pub(crate) fn check_patterns<T: Transaction>(engine: &Engine, tx: &T) -> Result<(), Setback> {
    let known = tx.patterns_revision() == engine.patterns().revision();
    if known { Ok(()) } else { Err(Setback::OtherPatterns) }
}

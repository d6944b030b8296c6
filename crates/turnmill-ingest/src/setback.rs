//! Why an attempt at a transaction came to nothing.

use turnmill_engine::Engine;
use turnmill_sink::{StoreError, Transaction};

/// Why an attempt came to nothing.
#[derive(Debug)]
pub(crate) enum Setback {
    Store(StoreError),
    /// The store's patterns are not those of the engine.
    OtherPatterns,
}

impl From<StoreError> for Setback {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Compares the patterns of the engine with those of the store, which stay as they are until the transaction ends.
///
/// # Errors
///
/// [`Setback::OtherPatterns`] if the engine has to learn the store's patterns first.
pub(crate) fn check_patterns<T: Transaction>(engine: &Engine, tx: &T) -> Result<(), Setback> {
    let known = tx.patterns_revision() == engine.patterns().revision();
    if known { Ok(()) } else { Err(Setback::OtherPatterns) }
}

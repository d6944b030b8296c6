//! Reasons why an attempt at a transaction ended without a commit.

use turnmill_engine::Engine;
use turnmill_sink::{StoreError, Transaction};

/// Tells why an attempt ended without a commit.
#[derive(Debug)]
pub(crate) enum Setback {
    Store(StoreError),
    /// The store has other patterns than the engine.
    OtherPatterns,
    /// Rows were written in pieces that have to be taken back. The next attempt writes none.
    PiecesVoid,
}

impl From<StoreError> for Setback {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
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

//! Selects how a batch is counted.

/// Selects how a batch is counted in the ledger.
#[derive(Clone, Debug)]
pub enum Accounting<'s> {
    /// Records that a source delivered. They are counted under its name.
    Source(&'s str),
    /// One dead letter, which is retried. It moves to events or duplicates, or stays where it is.
    Retry {
        /// The source it was counted under.
        source: &'s str,
        /// Its id.
        letter: u64,
    },
}

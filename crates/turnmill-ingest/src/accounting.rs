//! How a batch is counted.

/// How a batch is counted.
#[derive(Clone, Debug)]
pub enum Accounting<'s> {
    /// Records that a source delivered, counted under its name.
    Source(&'s str),
    /// One dead letter, tried again: it moves to events or duplicates, or stays where it is.
    Retry {
        /// The source it was counted under.
        source: &'s str,
        /// Its id.
        letter: u64,
    },
}

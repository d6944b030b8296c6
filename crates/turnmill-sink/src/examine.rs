//! What a store tells when it is examined for damage.

use std::fmt;
use std::future::Future;

use turnmill_model::SenderId;

use crate::{Inspect, StoreError};

/// What was looked at, and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examination {
    /// What was looked at, each in a few words.
    pub looked_at: Vec<String>,
    /// What was not, and how it can be.
    pub left_out: Vec<String>,
    /// What is wrong; empty if the store is sound as far as was looked.
    pub findings: Vec<String>,
}

impl Examination {
    /// Adds what was found elsewhere.
    pub fn add(&mut self, other: Self) {
        self.looked_at.extend(other.looked_at);
        self.left_out.extend(other.left_out);
        self.findings.extend(other.findings);
    }
}

/// Numbers that have to be equal, of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountCheck {
    /// The one, in words.
    pub expected: String,
    /// How many.
    pub expected_count: i64,
    /// The other, in words.
    pub found: String,
    /// How many.
    pub found_count: i64,
    /// Whether the other may be less.
    pub may_be_less: bool,
}

impl CountCheck {
    /// Whether the numbers are as they have to be.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.found_count == self.expected_count || self.may_be_less && self.found_count < self.expected_count
    }
}

/// What a store keeps of a sender beside its rows, and how many rows it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredSender {
    /// The serialised timeline.
    pub state: Vec<u8>,
    /// The chunks of the history.
    pub chunks: Vec<Vec<u8>>,
    /// Rows of `rasa_event`.
    pub events: u64,
    /// Whether `rasa_sender` has the sender.
    pub has_row: bool,
}

/// What `turnmill_ingest::examine` asks of a store.
pub trait Examine: Inspect {
    /// Looks at the pages and indexes of the database, as far as the database can do that by itself. Unless it is to be
    /// `thorough`, what takes long for a large store is left out.
    fn integrity(&mut self, thorough: bool) -> impl Future<Output = Result<Examination, StoreError>> + Send;

    /// Looks for rows that refer to rows that are not there.
    fn references(&mut self) -> impl Future<Output = Result<Examination, StoreError>> + Send;

    /// Numbers of rows that have to be equal.
    fn equal_numbers(&mut self) -> impl Future<Output = Result<Vec<CountCheck>, StoreError>> + Send;

    /// What is kept of the senders with an id above `after`, in ascending order, at most `limit`.
    fn kept(
        &mut self,
        after: Option<SenderId>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(SenderId, StoredSender)>, StoreError>> + Send;
}

impl fmt::Display for CountCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { expected, expected_count, found, found_count, may_be_less: _ } = self;
        write!(f, "{expected} {expected_count}, but {found} {found_count}")
    }
}

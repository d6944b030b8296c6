//! What an examination of a store for damage returns.

use std::fmt;
use std::future::Future;

use turnmill_model::SenderId;

use crate::{Inspect, StoreError};

/// The result of an examination: what was checked, and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examination {
    /// What was checked, each in a few words.
    pub looked_at: Vec<String>,
    /// What was not checked, and how it can be.
    pub left_out: Vec<String>,
    /// What is wrong; empty if no check found damage.
    pub findings: Vec<String>,
}

impl Examination {
    /// Adds the result of another examination.
    pub fn add(&mut self, other: Self) {
        self.looked_at.extend(other.looked_at);
        self.left_out.extend(other.left_out);
        self.findings.extend(other.findings);
    }
}

/// Two counts that have to be equal, taken at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountCheck {
    /// The expected count, in words.
    pub expected: String,
    /// How many.
    pub expected_count: i64,
    /// The count that was found, in words.
    pub found: String,
    /// How many.
    pub found_count: i64,
    /// Whether the count that was found may be less.
    pub may_be_less: bool,
}

impl CountCheck {
    /// Returns whether the counts agree as they have to.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.found_count == self.expected_count || self.may_be_less && self.found_count < self.expected_count
    }
}

/// The state and history of a sender, with facts about its rows to compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredSender {
    /// The serialised timeline.
    pub state: Vec<u8>,
    /// The chunks of the history.
    pub chunks: Vec<Vec<u8>>,
    /// Rows of `rasa_event`.
    pub events: u64,
    /// Whether `rasa_sender` has a row of the sender.
    pub has_row: bool,
}

/// What `turnmill_ingest::examine` needs of a store.
///
/// # Protocol
///
/// [`integrity`](Self::integrity), [`references`](Self::references) and
/// [`equal_numbers`](Self::equal_numbers) are called once each, in this order. Then
/// [`kept`](Self::kept) is called page by page until a page is empty; `after` is the last sender of
/// the page before.
///
/// Nothing is written. A call may block for as long as the check takes. [`StoreError::Damaged`]
/// becomes a finding, and the other checks are made all the same. Any other error makes the
/// examination fail; it may be repeated.
///
/// ```
/// use turnmill_sink::{Examine, StoreError};
///
/// /// Counts the senders of a store, page by page.
/// async fn count<S: Examine>(store: &mut S) -> Result<usize, StoreError> {
///     let (mut after, mut count) = (None, 0);
///     loop {
///         let page = store.kept(after, 100).await?;
///         let Some((last, _)) = page.last() else { return Ok(count) };
///         after = Some(*last);
///         count += page.len();
///     }
/// }
/// ```
pub trait Examine: Inspect {
    /// Checks the pages and indexes of the database, as far as the database can do that itself.
    /// Unless `thorough`, it leaves out what takes long in a large store.
    fn integrity(&mut self, thorough: bool) -> impl Future<Output = Result<Examination, StoreError>> + Send;

    /// Finds rows that refer to rows that do not exist.
    fn references(&mut self) -> impl Future<Output = Result<Examination, StoreError>> + Send;

    /// Returns pairs of counts that have to be equal.
    fn equal_numbers(&mut self) -> impl Future<Output = Result<Vec<CountCheck>, StoreError>> + Send;

    /// Returns what is kept of the senders with an id above `after`, in ascending order, at most
    /// `limit`.
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

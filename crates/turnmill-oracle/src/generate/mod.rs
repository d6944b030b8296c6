//! Generated conversations, as a real assistant writes them and as it should not. For the tests of
//! laws.
//!
//! [`conversations`] makes records from a seed; [`records`] does the same as a strategy of
//! proptest. Both use [`Script`]s, lists of small [`Step`]s, which [`render`] turns into records.
//! [`shuffle_keeping`] changes the order of arrival within the limits of the law of order.
//!
//! Three options allow exceptions to that law. Without them, generated records avoid the
//! exceptions.
//!
//! ```
//! use turnmill_model::Settings;
//! use turnmill_oracle::{diff, generate, tables};
//!
//! let records = generate::conversations(&generate::Options::default(), 7);
//! let shuffled = generate::shuffle_keeping(&records, 1);
//! let of = |records: &[generate::OwnedRecord]| {
//!     let borrowed: Vec<_> = records.iter().map(|record| record.as_record()).collect();
//!     tables(&Settings::default(), &borrowed)
//! };
//! assert_eq!(diff(&of(&records).tables, &of(&shuffled).tables), None);
//! ```

mod calm;
mod conversation;
mod hostile;
pub(crate) mod random;
mod script;
mod shuffle;
mod steps;

use proptest::prelude::*;

pub use script::{Kind, Script, Step, scripts};
pub(crate) use shuffle::shuffle;
pub use shuffle::shuffle_keeping;
pub use steps::render;
pub use turnmill_ingest::testkit::OwnedRecord;

/// What is generated, and how much. Weights are relative to 12 for an ordinary message; 0 omits a
/// kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Maximum number of scripts.
    pub scripts: usize,
    /// Maximum number of senders, up to 255.
    pub senders: usize,
    /// Maximum number of steps of a script. A step is one to a dozen records.
    pub steps: usize,
    /// Weight of events of CALM assistants.
    pub calm: u32,
    /// Weight of steps with `metadata.session_id`.
    pub session_ids: u32,
    /// Weight of wrong types, odd and long texts, unknown types, unusable timestamps.
    pub hostile: u32,
    /// Weight of backdated events and whole seconds.
    pub late: u32,
    /// Weight of further copies of events.
    pub copies: u32,
    /// Weight of records that are dead letters or skipped.
    pub no_events: u32,
    /// Whether there are anonymised copies.
    pub anonymised: bool,
    /// An exception to the law of order: whether events of one sender may have equal timestamps,
    /// also because of a coarse clock. Some records then have row ids, which order them.
    pub ties: bool,
    /// An exception to the law of order: whether plain copies of an event may differ in their
    /// environment, or in the record's time where that decides about the order.
    pub differing_copies: bool,
    /// An exception to the law of order: whether senders may use session ids of each other.
    /// [`shuffle_keeping`] does not avoid it.
    pub claimed_ids: bool,
}

impl Default for Options {
    /// Everything except for the exceptions to the law of order.
    fn default() -> Self {
        Self {
            scripts: 5,
            senders: 4,
            steps: 16,
            calm: 2,
            session_ids: 1,
            hostile: 1,
            late: 1,
            copies: 2,
            no_events: 1,
            anonymised: true,
            ties: false,
            differing_copies: false,
            claimed_ids: false,
        }
    }
}

impl Options {
    /// Only what an assistant of Rasa Open Source writes by itself, each event once and in order.
    #[must_use]
    pub fn ordinary() -> Self {
        Self {
            calm: 0,
            session_ids: 0,
            hostile: 0,
            late: 0,
            copies: 0,
            no_events: 0,
            anonymised: false,
            ..Self::default()
        }
    }

    /// Everything, including the exceptions to the law of order.
    #[must_use]
    pub fn everything() -> Self {
        Self { ties: true, differing_copies: true, claimed_ids: true, ..Self::default() }
    }
}

/// Generates records in the order of arrival, the same for the same seed.
#[must_use]
pub fn conversations(options: &Options, seed: u64) -> Vec<OwnedRecord> {
    render(options, &script::seeded(options, seed))
}

/// Generates records in the order of arrival, as a strategy of proptest.
pub fn records(options: &Options) -> impl Strategy<Value = Vec<OwnedRecord>> + use<> {
    let options = options.clone();
    scripts(&options).prop_map(move |scripts| render(&options, &scripts))
}

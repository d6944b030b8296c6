//! From decoded records to a committed transaction.
//!
//! What is absent here: this crate never opens a connection or a file, and knows no async runtime,
//! no database and no format of events. (The `testkit` writes conversations as Rasa does.) Its
//! futures run on any executor. It uses a clock only to measure how long a commit takes, and no row
//! depends on that.
//!
//! [`Ingest`] takes batches of decoded records through transactions of any
//! [`Store`](turnmill_sink::Store). The files of this crate follow the way of one batch:
//!
//! 1. [`Arrivals`] decodes records. A record that cannot be decoded is refused at once.
//! 2. `batch_task` holds the batch, and selects the records that one attempt is about.
//! 3. `attempt` runs one transaction: it locks the senders and positions, loads the senders'
//!    states, applies the events, writes and commits.
//! 4. `groups` sorts the batch's events by sender and asks the store which of them it knows.
//!    `copies` has the rule: a second copy of an event is a duplicate, and an anonymised copy
//!    takes the place of a plain one.
//! 5. Events newer than their sender's newest event extend its timeline. No history is read for
//!    them.
//! 6. A late event is older than its sender's newest event. `late` replays the stretch of history
//!    that it touches, and writes the difference. The stretch begins at the last checkpoint before
//!    the event, and ends at the first one at which nothing differs any more. `reader` reads that
//!    history. `replaced` does the same for anonymised copies of stored events.
//! 7. A record of which the store refuses a row becomes a dead letter, and the others land.
//!
//! ```text
//! stored:  u1: start, hi, listen | bye        (| is a checkpoint)
//! batch:   u1: slot (between hi and listen), u1: bye (again), u2: hello, a line that is no JSON
//!
//! u1: slot     late: the history from `start` to the checkpoint is replayed with it
//! u1: bye      duplicate: counted, changes nothing
//! u2: hello    new sender: applied directly
//! no JSON      dead letter
//! ```
//!
//! All of it commits with the source's position, or nothing does.
//!
//! Other callers: [`Ingest::rebuild`] and [`Ingest::catch_up`] make stored rows again from the
//! history, [`Ingest::remake_rows`] shows what the history gives without writing.
//! [`examine`](examine()) looks for damage in a store, and `testkit` (a feature) is the suite that
//! every store passes.

mod accounting;
mod ahead;
mod arrivals;
mod attempt;
mod batch_task;
mod cache;
mod copies;
mod examine;
mod groups;
mod history;
mod ingest;
mod late;
mod look;
mod pack;
mod pieces;
mod reader;
mod replaced;
mod report;
mod rules;
mod setback;
mod upkeep;
mod whole_history;

#[cfg(feature = "testkit")]
pub mod testkit;

pub use accounting::Accounting;
pub use arrivals::{Arrivals, MakeDeadLetter, RefusedRecord};
pub use cache::CacheUsage;
pub use examine::examine;
pub use ingest::Ingest;
pub use look::RemadeSender;
pub use report::{Report, RowCounts};
pub use rules::RowRules;
pub use upkeep::Rebuilt;

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

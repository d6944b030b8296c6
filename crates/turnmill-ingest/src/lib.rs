//! From decoded records to a committed transaction.
//!
//! What is absent here: this crate never opens a connection or a file, knows no async runtime, no database and no format
//! of events (the `testkit` writes conversations as Rasa does); its futures run on any executor. Of clocks it only measures
//! how long a commit takes, and no row depends on it.
//!
//! [`Ingest`] does what the laws ask for, on any [`Store`](turnmill_sink::Store): known events are duplicates and change
//! nothing; events that are newer than their sender's newest are applied directly; late ones, and anonymised copies of stored
//! ones, by replaying the stretch of history that they touch; records that can never be written become dead letters while
//! their neighbours land; and all of it commits with the source's position, or not at all.
//!
//! [`examine`] looks for damage in a store, and `testkit` (a feature) is the suite that every store passes.

mod accounting;
mod ahead;
mod arrivals;
mod attempt;
mod batch_task;
mod cache;
mod copies;
mod examine;
mod groups;
mod ingest;
mod late;
mod look;
mod pack;
mod reader;
mod replaced;
mod report;
mod rules;
mod setback;
mod upkeep;
mod whole_history;

pub mod history;
#[cfg(feature = "testkit")]
pub mod testkit;

pub use accounting::Accounting;
pub use arrivals::{Arrivals, MakeDeadLetter};
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

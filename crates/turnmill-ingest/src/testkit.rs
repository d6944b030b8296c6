//! The conformance suite that every [`Store`] has to pass.
//!
//! Implement [`Fixture`] for the store and call [`suite`] in a test:
//!
//! ```
//! use turnmill_ingest::testkit::{suite, Fixture};
//! use turnmill_sink::MemoryStore;
//!
//! struct Memory;
//!
//! impl Fixture for Memory {
//!     type Store = MemoryStore;
//!     fn create(&mut self) -> MemoryStore {
//!         MemoryStore::default()
//!     }
//!     fn connect(&mut self, store: &MemoryStore) -> MemoryStore {
//!         store.clone()
//!     }
//!     fn fail_after(&mut self, store: &mut MemoryStore, statements: Option<u64>) {
//!         store.fail_after(statements);
//!     }
//!     fn refuse_text(&mut self, store: &mut MemoryStore, text: Option<&str>) {
//!         store.refuse_text(text);
//!     }
//! }
//!
//! # pollster::block_on(async {
//! suite(&mut Memory).await;
//! # });
//! ```
//!
//! The functions panic with a message that names the property that the store lacks.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed check of a test suite is a panic")]

mod cases;
mod drive;
mod formats;
mod history;
mod memory;
mod outbox;
mod pieces;
mod record;
mod replica;
mod shapes;
mod tiny;
mod upkeep;

use std::fmt::Write as _;

pub use self::drive::{Delivery, Driver, NoLetters};
pub use self::memory::Memory;
pub use self::record::OwnedRecord;
pub use self::replica::Replica;
pub use self::shapes::{SHAPES, Shape};
pub use self::tiny::{Annex, Tiny};
use turnmill_sink::outbox::Outbox;
use turnmill_sink::{Chunk, Inspect, Store, StoreError, Upkeep};

use crate::history::{Entries, unpack};

/// Gives the suite stores to test.
///
/// # Protocol
///
/// 1. Each check calls [`create`](Self::create) at least once. Checks run one after the other.
/// 2. Some checks call [`connect`](Self::connect), to write as a second process would.
/// 3. [`fail_after`](Self::fail_after) and [`refuse_text`](Self::refuse_text) break a store for the
///    transactions that follow, until they are called with `None`.
///
/// The suite opens each store itself. A fixture may block and may panic if it cannot make a store.
///
/// ```
/// use turnmill_ingest::testkit::{Fixture, Memory};
/// use turnmill_model::Settings;
/// use turnmill_sink::{Inspect, Store, StoreError};
///
/// # pollster::block_on(async {
/// let mut fixture = Memory;
/// let mut store = fixture.create();
/// let mut second = fixture.connect(&store);
/// store.open(&Settings::default()).await?;
/// second.open(&Settings::default()).await?;
/// assert_eq!(store.digests().await?, second.digests().await?);
/// # Ok::<(), StoreError>(())
/// # }).unwrap();
/// ```
pub trait Fixture {
    /// The store under test.
    type Store: Store + Inspect;

    /// Creates a new, empty store, which is not opened.
    fn create(&mut self) -> Self::Store;

    /// Returns another connection to the same store, as another process would have. It is not
    /// opened.
    fn connect(&mut self, store: &Self::Store) -> Self::Store;

    /// Makes `store` fail with a retryable error after this many statements of a transaction. The
    /// last statement before the commit counts. `None` ends that.
    fn fail_after(&mut self, store: &mut Self::Store, statements: Option<u64>);

    /// Makes `store` refuse rows of `rasa_user_message` with this `text`. `None` ends that.
    fn refuse_text(&mut self, store: &mut Self::Store, text: Option<&str>);
}

/// Runs all checks.
///
/// # Panics
///
/// If the store does not hold one of the properties.
pub async fn suite<F: Fixture>(fixture: &mut F) {
    Box::pin(cases::resumes_where_it_stopped(fixture)).await;
    Box::pin(cases::redelivery_changes_nothing(fixture)).await;
    Box::pin(cases::a_stale_position_is_fenced(fixture)).await;
    Box::pin(cases::two_writers_on_one_sender_agree(fixture)).await;
    Box::pin(cases::a_refused_row_spares_its_neighbours(fixture)).await;
    Box::pin(cases::late_events_fall_into_place(fixture)).await;
    Box::pin(cases::an_anonymised_copy_replaces_the_plain_one(fixture)).await;
    Box::pin(cases::copies_of_one_clock_tick_are_told_apart(fixture)).await;
    Box::pin(cases::a_failure_between_any_two_statements_leaves_nothing(fixture)).await;
    Box::pin(cases::other_settings_are_refused(fixture)).await;
    Box::pin(cases::rows_of_other_settings_are_refused(fixture)).await;
    Box::pin(cases::dead_letters_can_be_retried(fixture)).await;
    Box::pin(cases::dead_letters_come_back_whole_and_their_ids_are_not_used_again(fixture)).await;
    Box::pin(history::history_comes_in_pages_by_exact_time(fixture)).await;
    Box::pin(formats::senders_of_two_formats_share_a_store(fixture)).await;
    Box::pin(formats::each_format_keeps_its_own_of_plain_copies(fixture)).await;
    Box::pin(formats::a_sender_may_have_events_of_two_decoders(fixture)).await;
    Box::pin(formats::a_dead_letter_is_retried_by_its_decoder(fixture)).await;
    Box::pin(pieces::a_renamed_session_is_written_in_pieces(fixture)).await;
    Box::pin(pieces::pieces_are_taken_back_if_a_batch_is_applied_again(fixture)).await;
    Box::pin(pieces::a_session_with_an_id_of_its_own_is_written_in_pieces(fixture)).await;
}

/// Runs all checks of [`Upkeep`].
///
/// # Panics
///
/// If the store does not hold one of the properties.
pub async fn upkeep_suite<F: Fixture>(fixture: &mut F)
where
    F::Store: Upkeep,
{
    Box::pin(upkeep::senders_are_listed_in_order(fixture)).await;
    Box::pin(upkeep::senders_are_found_by_when_they_were_seen(fixture)).await;
    Box::pin(upkeep::a_rebuild_with_the_same_settings_changes_nothing(fixture)).await;
    Box::pin(upkeep::a_rebuild_with_other_settings_gives_the_rows_of_a_store_filled_with_them(fixture)).await;
    Box::pin(upkeep::a_rebuild_gives_senders_their_assistant(fixture)).await;
    Box::pin(formats::a_rebuild_reads_each_sender_with_its_decoder(fixture)).await;
    Box::pin(formats::markers_are_made_of_every_format(fixture)).await;
}

/// Runs all checks of [`Outbox`].
///
/// # Panics
///
/// If the store does not hold one of the properties.
pub async fn outbox_suite<F: Fixture>(fixture: &mut F)
where
    F::Store: Outbox + Upkeep,
{
    outbox::what_is_no_entry_is_refused();
    Box::pin(outbox::without_sinks_nothing_is_kept(fixture)).await;
    Box::pin(outbox::a_sink_ends_with_the_stores_rows(fixture)).await;
    Box::pin(outbox::a_failure_leaves_no_entry(fixture)).await;
    Box::pin(outbox::a_sink_added_later_starts_from_a_snapshot(fixture)).await;
    Box::pin(outbox::entries_are_kept_until_every_sink_has_them(fixture)).await;
    Box::pin(outbox::a_sink_beyond_its_bound_begins_again(fixture)).await;
    Box::pin(outbox::one_process_feeds_a_sink(fixture)).await;
    Box::pin(outbox::a_sink_of_dead_letters_costs_no_rows(fixture)).await;
    Box::pin(pieces::a_sink_gets_pieces_in_order(fixture)).await;
}

/// Returns the records of the events of a chunk of history, one for each event.
///
/// # Errors
///
/// [`StoreError::Damaged`] if the bytes are no chunk.
pub fn stored_payloads(chunk: &Chunk) -> Result<Vec<Vec<u8>>, StoreError> {
    let unpacked = unpack(&chunk.bytes)?;
    let entries = Entries::read(&unpacked)?;
    Ok(entries.0.iter().map(|entry| entry.payload.to_vec()).collect())
}

/// Returns a conversation of `turns` turns with `sender` as Rasa writes it: lines of JSON. It has
/// every event type that gives rows of its own.
#[must_use]
pub fn conversation(sender: &str, turns: usize, start: f64) -> Vec<String> {
    let mut time = start;
    let mut lines = Vec::new();
    let mut say = |event: &str, rest: &str| {
        time += 0.137_000_1;
        let mut line = format!(
            r#"{{"sender_id": "{sender}", "event": "{event}", "timestamp": {time}, "metadata": {{"model_id": "m1"}}"#
        );
        let _ = write!(line, "{rest}}}");
        lines.push(line);
    };
    say("slot", r#", "name": "session_started_metadata", "value": {"utm": null}"#);
    say("action", r#", "name": "action_session_start", "policy": null, "confidence": 1.0"#);
    say("session_started", "");
    say("action", r#", "name": "action_listen", "policy": null, "confidence": null"#);
    for turn in 0..turns {
        say(
            "user",
            &format!(
                r#", "text": "message {turn}", "input_channel": "rest", "message_id": "{sender}-{turn}",
                "parse_data": {{"intent": {{"name": "inform", "confidence": 0.5}},
                "commands": [{{"command": "start flow", "flow": "transfer"}}]}}"#
            ),
        );
        say("slot", &format!(r#", "name": "amount", "value": {turn}"#));
        say(
            "stack",
            &format!(
                r#", "update": "[{{\"op\": \"add\", \"path\": \"/{turn}\", \"value\": {{\"flow_id\": \"f{turn}\", \"step_id\": \"s\"}}}}]""#
            ),
        );
        say("flow_started", r#", "flow_id": "transfer""#);
        say("action", r#", "name": "utter_ok", "policy": "RulePolicy", "confidence": 1.0"#);
        say("bot", r#", "text": "ok", "data": {}"#);
        say("action", r#", "name": "action_listen", "policy": "RulePolicy", "confidence": 1.0"#);
    }
    lines
}

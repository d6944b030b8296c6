//! From a message of the client library to a record.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use rdkafka::message::{BorrowedMessage, Headers, Message};
use smallvec::SmallVec;
use turnmill_source::NewRecord;

use super::unsigned;
use crate::context::lock;
use crate::group::Shared;

/// A header as a record has it.
type Header<'a> = (&'a str, Option<&'a [u8]>);

/// Takes a message into the buffers.
pub(super) fn take(
    shared: &Shared,
    lanes: &HashMap<String, HashMap<i32, usize>>,
    message: &BorrowedMessage<'_>,
) {
    let lane = lanes.get(message.topic()).and_then(|numbers| numbers.get(&message.partition()));
    let Some(lane) = lane else { return };
    let mut headers: SmallVec<[Header<'_>; 4]> = SmallVec::new();
    if let Some(all) = message.headers() {
        for index in 0..all.count() {
            // The client panics over a name that is not UTF-8; such a header is of no use to us.
            if let Ok(Some(header)) = catch_unwind(AssertUnwindSafe(|| all.try_get(index))) {
                headers.push((header.key, header.value));
            }
        }
    }
    #[allow(clippy::cast_precision_loss, reason = "milliseconds of this era are exact")]
    let time = message.timestamp().to_millis().map(|millis| millis as f64 / 1000.0);
    let record = NewRecord {
        payload: message.payload(),
        time,
        key: message.key(),
        headers: &headers,
        offset: unsigned(message.offset()),
        ..NewRecord::default()
    };
    let mut state = lock(&shared.state);
    let before = state.merge.held().0;
    if let Some(passed) = state.merge.push(*lane, &record, Instant::now()) {
        state.stats.passed += passed;
    }
    let (records, bytes) = state.merge.held();
    // A reader that waits has a deadline of its own from the first record on.
    let wake =
        state.wanted.is_some_and(|(most, most_bytes)| before == 0 || records >= most || bytes >= most_bytes);
    if wake {
        state.wanted = None;
        drop(state);
        shared.ready.notify_all();
    }
}

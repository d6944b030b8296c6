//! Conversion of the client library's messages to records.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use rdkafka::message::{BorrowedMessage, Headers, Message};
use smallvec::SmallVec;
use turnmill_source::NewRecord;

use super::unsigned;
use crate::context::lock;
use crate::group::Shared;

/// Name and value of a header.
type Header<'a> = (&'a str, Option<&'a [u8]>);

/// Copies a message to the buffer of its lane.
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
            // rdkafka panics on a name that is not UTF-8. Such a header is of no use here.
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
    let before = state.merge.buffered().records;
    if let Some(passed) = state.merge.push(*lane, &record, Instant::now()) {
        state.stats.passed += passed;
    }
    let buffered = state.merge.buffered();
    // From the first record on, a waiting reader has a deadline of its own.
    let wake = state.wanted.is_some_and(|wanted| {
        before == 0 || buffered.records >= wanted.records || buffered.bytes >= wanted.bytes
    });
    if wake {
        state.wanted = None;
        drop(state);
        shared.ready.notify_all();
    }
}

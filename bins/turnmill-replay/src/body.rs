//! Bodies as Rasa's own producer would send them: whole without what stood around them.

use std::borrow::Cow;

use turnmill_formats::rasa::{RasaDecoder, shift_timestamp};
use turnmill_model::{Decoder, Reason, Record, Settings, TimeUnit};
use turnmill_source::{RecordOutcome, SourceRecord};

/// A record that is to stand on its own.
pub(crate) struct Outgoing<'a> {
    /// The body, with its sender.
    pub(crate) body: Cow<'a, [u8]>,
    /// The sender's id, if it was asked for and there is one.
    pub(crate) sender: Option<String>,
    /// The record's time, where the event cannot do without it or it came from Kafka.
    pub(crate) time: Option<f64>,
}

/// Makes records stand on their own.
pub(crate) struct Bodies {
    decoder: RasaDecoder,
    shift: Option<i64>,
    with_sender: bool,
}

impl Bodies {
    /// `shift` adds seconds to timestamps; `with_sender` asks for the senders' ids.
    pub(crate) fn new(shift: Option<i64>, with_sender: bool) -> Self {
        Self { decoder: RasaDecoder::new(&Settings::default()), shift, with_sender }
    }

    pub(crate) fn outgoing<'a>(&self, record: &SourceRecord<'a>) -> Outgoing<'a> {
        let from_kafka = record.origin.is_some();
        let mut out = Outgoing {
            body: Cow::Borrowed(record.payload),
            sender: None,
            time: record.time.filter(|_| from_kafka),
        };
        if matches!(record.outcome, RecordOutcome::Refused(_)) {
            return out;
        }
        if let Some(shifted) =
            self.shift.and_then(|seconds| shift_timestamp(&out.body, seconds, TimeUnit::Seconds))
        {
            out.body = Cow::Owned(shifted);
        }
        // What stood beside the body is looked at only where there is something.
        if let Some(sender) = record.sender
            && self.refused(&out.body, None) == Some(Reason::NoSenderId)
            && let Some(whole) = with_sender(&out.body, sender)
        {
            out.body = Cow::Owned(whole);
        }
        // A time that is of no use to the event either may be one that brokers refuse.
        if !from_kafka
            && record.time.is_some()
            && self.refused(&out.body, None) == Some(Reason::NoUsableTimestamp)
            && self.refused(&out.body, record.time).is_none()
        {
            out.time = record.time;
        }
        if self.with_sender {
            let record = Record { payload: &out.body, time: Some(0.0), ..Record::default() };
            let mut events = Vec::new();
            let _ = self.decoder.decode(&record, &mut events);
            let sender = events.first().map(|event| event.sender_key.clone().into_owned());
            out.sender = sender.or_else(|| record.sender.map(ToOwned::to_owned));
        }
        out
    }

    fn refused(&self, payload: &[u8], time: Option<f64>) -> Option<Reason> {
        let record = Record { payload, time, ..Record::default() };
        self.decoder.decode(&record, &mut Vec::new()).err().map(|refused| refused.reason)
    }
}

/// The body of a JSON object with `sender_id` as its last key, which wins over an earlier one.
fn with_sender(body: &[u8], sender: &str) -> Option<Vec<u8>> {
    let front = body.trim_ascii_end().strip_suffix(b"}")?.trim_ascii_end();
    let separator: &[u8] = if front.ends_with(b"{") { b"" } else { b", " };
    let sender = serde_json::to_string(sender).ok()?;
    Some([front, separator, b"\"sender_id\": ", sender.as_bytes(), b"}"].concat())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use turnmill_model::PartitionId;
    use turnmill_source::{NewRecord, RecordBatch};

    use super::*;

    #[test]
    fn the_sender_of_the_envelope_joins_a_body_without_one() {
        let bodies = Bodies::new(None, true);
        for (body, expected) in [
            (
                r#"{"event": "restart", "timestamp": 1e9}"#,
                r#"{"event": "restart", "timestamp": 1e9, "sender_id": "ü\"1"}"#,
            ),
            (
                r#"{"event": "restart", "sender_id": null }"#,
                r#"{"event": "restart", "sender_id": null, "sender_id": "ü\"1"}"#,
            ),
            (r#"{"event": "restart", "sender_id": "u2"}"#, r#"{"event": "restart", "sender_id": "u2"}"#),
            ("{}", "{}"),
            ("garbage", "garbage"),
        ] {
            let mut batch = RecordBatch::new();
            batch.start(&PartitionId::new("file", "x"), None);
            let record = NewRecord {
                payload: Some(body.as_bytes()),
                sender: Some("ü\"1"),
                time: Some(1e9),
                ..NewRecord::default()
            };
            batch.push(&record);
            let out = bodies.outgoing(&batch.get(0).unwrap());
            assert_eq!(String::from_utf8_lossy(&out.body), expected);
            // Its own time goes with an event that has none.
            assert_eq!(out.time.is_some(), body.contains("restart") && !body.contains("timestamp"), "{body}");
        }
    }
}

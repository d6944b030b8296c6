//! What the `source_*` targets check. `turnmill-source` includes this file in its tests.

use std::io::Cursor;

use serde_json::Value;
use turnmill_source::{
    BatchLimits, FileOptions, FileSource, Format, Partition, Progress, RecordBatch, RecordOutcome, Source,
};

type Seen = (Vec<u8>, Option<String>, u64, String);

/// Any bytes, read in any format: every line, and every element of a tracker dump, is exactly one record, whatever the
/// batches are, and a refused one has its original bytes.
pub(crate) fn source(format: Format, bytes: &[u8]) {
    // Compressed input may be broken, and databases are refused.
    let Some(seen) = read(format, bytes, &BatchLimits::default()) else { return };
    for limits in [BatchLimits { records: 1, bytes: 1 }, BatchLimits { records: 3, bytes: 100 }] {
        assert_eq!(read(format, bytes, &limits).as_ref(), Some(&seen), "batches do not show");
    }
    if format == Format::Tracker {
        if let Some(count) = elements(bytes) {
            assert_eq!(seen.len(), count);
        }
        return;
    }
    let lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(seen.len(), lines.len());
    let mut offset = 0;
    for (line, (payload, _, at, outcome)) in lines.iter().zip(&seen) {
        assert_eq!(*at, offset);
        offset += line.len() as u64;
        if format == Format::Rasa || outcome.starts_with("refused") {
            let mark = if *at == 0 && line.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let line = &line[mark..];
            assert_eq!(line.strip_suffix(b"\r").unwrap_or(line), payload);
        }
    }
}

fn read(format: Format, bytes: &[u8], limits: &BatchLimits) -> Option<Vec<Seen>> {
    let options = FileOptions { format: Some(format), ..FileOptions::default() };
    let stream = Box::new(Cursor::new(bytes.to_vec()));
    let mut source = FileSource::stream(Partition::new("fuzz", "-"), stream, options).ok()?;
    if source.compression() != turnmill_source::Compression::None {
        return None;
    }
    let (mut seen, mut batch) = (Vec::new(), RecordBatch::new());
    loop {
        let progress = source.next_batch(limits, &mut batch).unwrap();
        for record in batch.iter() {
            let outcome = match record.outcome {
                RecordOutcome::Body => "body".into(),
                RecordOutcome::Skipped => "skipped".into(),
                RecordOutcome::Refused(refused) => format!("refused {refused}"),
            };
            assert!(record.headers.count() < 1 << 20);
            seen.push((record.payload.to_vec(), record.sender.map(String::from), record.offset, outcome));
        }
        if progress == Progress::End {
            return Some(seen);
        }
    }
}

/// How many records a dump has, if it is standard JSON.
fn elements(bytes: &[u8]) -> Option<usize> {
    let values = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    values.map(|value| value.map(|value| count(&value))).sum::<Result<_, _>>().ok()
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(values) => values.iter().map(count).sum(),
        Value::Object(members) => {
            members.get("events").and_then(Value::as_array).map_or(1, |events| events.len().max(1))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}

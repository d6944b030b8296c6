//! What the `source_*` targets check. `turnmill-source` includes this file in its tests.

use std::io::Cursor;

use serde_json::Value;
use turnmill_source::{
    BatchLimits, Container, FileOptions, FileSource, Layout, PartitionId, Progress, RecordBatch,
    RecordOutcome, Source, SourceError,
};

type Seen = (Vec<u8>, Option<String>, u64, String);

/// Checks any bytes in any format: every line, and every element of a tracker dump, is exactly one
/// record for any batch size, and a refused record has its original bytes.
pub(crate) fn source(container: Container, bytes: &[u8]) {
    // Compressed input may be invalid, and databases are refused.
    let Some((seen, layout)) = read(container, bytes, &BatchLimits::default()) else { return };
    for limits in [BatchLimits { records: 1, bytes: 1 }, BatchLimits { records: 3, bytes: 100 }] {
        let again = read(container, bytes, &limits).map(|(seen, _)| seen);
        assert_eq!(again.as_ref(), Some(&seen), "batches do not show");
    }
    if layout != Layout::Lines {
        // Objects around trackers, and rows of tables, are counted differently.
        if container == Container::Tracker
            && let Some(count) = elements(bytes)
        {
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
        // Doubled backslashes are unescaped.
        let spelled_otherwise = line.windows(2).any(|pair| pair == b"\\\\");
        if !spelled_otherwise && (container == Container::Rasa || outcome.starts_with("refused")) {
            let mark = if *at == 0 && line.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let line = &line[mark..];
            assert_eq!(line.strip_suffix(b"\r").unwrap_or(line), payload);
        }
    }
}

fn read(container: Container, bytes: &[u8], limits: &BatchLimits) -> Option<(Vec<Seen>, Layout)> {
    let options = FileOptions { container: Some(container), ..FileOptions::default() };
    let stream = Box::new(Cursor::new(bytes.to_vec()));
    let mut source = FileSource::stream(PartitionId::new("fuzz", "-"), stream, options).ok()?;
    if source.compression() != turnmill_source::Compression::None {
        return None;
    }
    let (mut seen, mut batch) = (Vec::new(), RecordBatch::new());
    loop {
        let progress = match source.next_batch(limits, &mut batch) {
            Ok(progress) => progress,
            Err(SourceError::Foreign { .. }) => return None,
            Err(error) => panic!("{error}"),
        };
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
            return Some((seen, source.layout()?));
        }
    }
}

/// Returns the number of records in a dump, if it is standard JSON with trackers and events only.
fn elements(bytes: &[u8]) -> Option<usize> {
    let values = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    values.map(|value| count(&value.ok()?)).sum()
}

fn count(value: &Value) -> Option<usize> {
    let holds_more = |value: &Value| value.is_object() || value.is_array();
    match value {
        Value::Array(values) => values.iter().map(count).sum(),
        Value::Object(members) => match members.get("events") {
            // Rows of a table, or typed values.
            Some(Value::Array(events)) if events.first().is_some_and(Value::is_object) => None,
            Some(Value::Object(_)) => None,
            Some(events) => Some(events.as_array().map_or(1, |events| events.len().max(1))),
            // Records inside of other objects.
            None if members.values().any(holds_more) => None,
            None => Some(1),
        },
        // May contain an object.
        Value::String(_) => None,
        Value::Null | Value::Bool(_) | Value::Number(_) => Some(1),
    }
}

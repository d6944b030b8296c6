//! Integration tests: real captures in every format, resuming, following, arbitrary bytes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

mod captures;
mod compression;
mod corpus;
mod envelopes;
mod follow;
mod resume;
mod shapes;

use std::io::{Cursor, Read};
use std::path::PathBuf;

use turnmill_source::{
    BatchLimits, Container, FileOptions, FileSource, PartitionId, Position, Progress, RecordBatch,
    RecordOutcome, Source, SourceError, SourceRecord,
};

/// A record with owned contents.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Owned {
    pub(crate) payload: Vec<u8>,
    pub(crate) sender: Option<String>,
    pub(crate) time: Option<f64>,
    pub(crate) environment: Option<String>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
    pub(crate) origin: Option<(String, i32, i64)>,
    pub(crate) offset: u64,
    pub(crate) row: Option<u64>,
    /// `"body"`, `"skipped"`, or the reason of the refusal.
    pub(crate) outcome: &'static str,
}

impl Owned {
    pub(crate) fn of(record: &SourceRecord<'_>) -> Self {
        Self {
            payload: record.payload.to_vec(),
            sender: record.sender.map(String::from),
            time: record.time,
            environment: record.environment.map(String::from),
            key: record.key.map(<[u8]>::to_vec),
            headers: record
                .headers
                .map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec)))
                .collect(),
            origin: record.origin.map(|origin| (origin.topic.to_owned(), origin.partition, origin.offset)),
            offset: record.offset,
            row: record.row,
            outcome: match record.outcome {
                RecordOutcome::Body => "body",
                RecordOutcome::Skipped => "skipped",
                RecordOutcome::Refused(refused) => refused.reason.as_str(),
            },
        }
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).unwrap()
    }
}

pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/rasa-oss-3.6").join(name)
}

/// Returns the uncompressed text of a capture.
pub(crate) fn capture(name: &str) -> String {
    let mut text = String::new();
    let file = std::fs::File::open(fixture(name)).unwrap();
    flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
    text
}

pub(crate) fn with_container(container: Container) -> FileOptions {
    FileOptions { container: Some(container), ..FileOptions::default() }
}

pub(crate) fn limits(records: usize) -> BatchLimits {
    BatchLimits { records, ..BatchLimits::default() }
}

/// Reads to the end, in order.
pub(crate) fn read_all(source: &mut FileSource, limits: &BatchLimits) -> Result<Vec<Owned>, SourceError> {
    let (mut batch, mut records) = (RecordBatch::new(), Vec::new());
    loop {
        let progress = source.next_batch(limits, &mut batch)?;
        records.extend(batch.iter().map(|record| Owned::of(&record)));
        if progress == Progress::End {
            return Ok(records);
        }
    }
}

pub(crate) fn stream(bytes: impl Into<Vec<u8>>, options: FileOptions) -> Result<FileSource, SourceError> {
    FileSource::stream(PartitionId::new("test", "-"), Box::new(Cursor::new(bytes.into())), options)
}

/// Returns all records of a content that is read as a stream.
pub(crate) fn records(bytes: impl Into<Vec<u8>>, options: FileOptions) -> Vec<Owned> {
    read_all(&mut stream(bytes, options).unwrap(), &BatchLimits::default()).unwrap()
}

pub(crate) fn position(offset: u64) -> Position {
    Position::at(offset)
}

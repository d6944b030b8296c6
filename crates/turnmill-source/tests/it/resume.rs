//! Positions: resuming anywhere, fingerprints, memory.

use std::io::Write;
use std::path::Path;

use proptest::prelude::*;
use turnmill_source::{
    BatchLimits, Container, FileOptions, FileSource, Layout, Opened, Position, Progress, RecordBatch, Source,
};

use crate::{Owned, capture, limits, position, read_all, with_container};

/// Reads a file, opening it again for every batch at the position where the one before ended.
fn read_with_restarts(path: &Path, options: &FileOptions, all: &[BatchLimits]) -> Vec<Owned> {
    let (mut at, mut found, mut batch): (Option<Position>, _, _) = (None, Vec::new(), RecordBatch::new());
    for limits in all.iter().cycle() {
        // Convert to the text form and back, as a store does.
        let stored: Option<Position> = at.as_ref().map(|at| at.to_string().parse().unwrap());
        let mut source = FileSource::open(path, options.clone(), stored.as_ref()).unwrap();
        assert_ne!(source.opened(), Opened::Replaced);
        let progress = source.next_batch(limits, &mut batch).unwrap();
        assert_eq!(batch.from(), at.as_ref());
        found.extend(batch.iter().map(|record| Owned::of(&record)));
        if progress == Progress::End {
            break;
        }
        assert!(!batch.is_empty());
        at = batch.to().cloned();
    }
    found
}

/// Returns a few kilobytes of each format.
fn sample(container: Container) -> String {
    let lines =
        |name: &str| capture(name).lines().take(40).map(|line| format!("{line}\n")).collect::<String>();
    match container {
        Container::Rasa => format!("\u{feff}\n{}", lines("hostile/file-broker.jsonl.gz")),
        Container::Kafka => lines("kafka/partition-by-sender-false.jsonl.gz"),
        Container::Kcat => {
            lines("kafka/partition-by-sender-false.jsonl.gz").replace("\"value\"", "\"payload\"")
        }
        Container::TrackerStore => lines("parcel/tracker-store.jsonl.gz"),
        Container::SqlBroker => lines("moodbot/sql-broker.jsonl.gz"),
        Container::Tracker => {
            let lines = lines("hostile/file-broker.jsonl.gz");
            let events: Vec<_> = lines.lines().collect();
            let dump = |(number, events): (usize, &[&str])| {
                format!("{{\"events\": [{}],\n\"sender_id\": \"u{number}\"}}", events.join(",\n"))
            };
            let dumps: Vec<_> = events.chunks(3).enumerate().map(dump).collect();
            format!("[{}\n]\n", dumps.join("\n,\n"))
        }
        Container::Rabbitmq => {
            let lines = lines("hostile/file-broker.jsonl.gz");
            let message = |body: &str| serde_json::json!({"exchange": "rasa-exchange", "properties": {"app_id": "test"}, "payload": body});
            let messages: Vec<_> = lines.lines().map(message).collect();
            serde_json::to_string_pretty(&messages).unwrap()
        }
        Container::Console => {
            let lines = lines("hostile/file-broker.jsonl.gz");
            lines
                .lines()
                .map(|line| format!("CreateTime:1600000000000\tPartition:1\tkey\t{line}\n"))
                .collect()
        }
        Container::Csv => {
            format!("sender_id,data\r\n{}", rows(|body| format!("u,\"{}\"\r\n", body.replace('"', "\"\""))))
        }
        Container::PgDump => {
            let copied = rows(|body| format!("u\t{}\n", body.replace('\\', "\\\\")));
            format!(
                "--\n-- PostgreSQL database dump\n--\n\nCOPY public.other (id, data) FROM stdin;\n1\t{{}}\n\\.\n\n\
                 COPY public.events (sender_id, data) FROM stdin;\n{copied}\\.\n\nSELECT 1;\n"
            )
        }
    }
}

/// Returns forty bodies, each in a row.
fn rows(row: impl Fn(&str) -> String) -> String {
    capture("hostile/file-broker.jsonl.gz").lines().take(40).map(row).collect()
}

#[test]
fn every_batch_boundary_is_a_place_to_go_on() {
    for container in Container::ALL {
        let text = sample(container);
        let packed = {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap()
        };
        for content in [text.as_bytes(), &packed] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(content).unwrap();
            let options = FileOptions::default();
            let whole =
                read_all(&mut FileSource::open(file.path(), options.clone(), None).unwrap(), &limits(10_000))
                    .unwrap();
            assert!(whole.len() >= 40, "{container}");
            assert!(read_with_restarts(file.path(), &options, &[limits(1)]) == whole, "{container}");
        }
    }
}

/// Generates bytes that resemble records.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => Just(b"\n".to_vec()),
        4 => Just(b"{\"sender_id\": \"u\\u00e9\", \"data\": \"{\\\"a\\\": \\\"\\\\ud83d\\\"}\"}".to_vec()),
        4 => Just(b"{\"topic\": \"t\", \"value\": \"x\\n\", \"payload\": null, \"headers\": [\"a\", \"b\"]}".to_vec()),
        4 => Just(b"{\"events\": [{\"n\": 1}, null,\n{\"n\": NaN}], \"sender_id\": \"u\"}".to_vec()),
        2 => Just(b"\xef\xbb\xbf".to_vec()),
        2 => Just(b"\r\n \n".to_vec()),
        6 => prop::sample::select(b"{}[],:\"\\u0n \xff".to_vec()).prop_map(|byte| vec![byte]),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn restarts_never_show(bytes in nearly(), container in prop::sample::select(Container::ALL.to_vec()), steps in prop::collection::vec((1..6_usize, 1..200_usize), 1..5)) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&bytes).unwrap();
        let options = with_container(container);
        let steps: Vec<_> = steps.into_iter().map(|(records, bytes)| BatchLimits { records, bytes }).collect();
        let whole = FileSource::open(file.path(), options.clone(), None).map(|mut source| read_all(&mut source, &limits(10_000)).unwrap());
        let Ok(whole) = whole else { return Ok(()) };
        prop_assert_eq!(read_with_positions(file.path(), &options, &steps), whole.clone());
        if source_layout(file.path(), &options) == Layout::Lines {
            let lines = bytes.split(|byte| *byte == b'\n').count() - usize::from(bytes.is_empty() || bytes.ends_with(b"\n"));
            prop_assert_eq!(whole.len(), lines);
        }
    }
}

fn source_layout(path: &Path, options: &FileOptions) -> Layout {
    let mut source = FileSource::open(path, options.clone(), None).unwrap();
    source.next_batch(&limits(1), &mut RecordBatch::new()).unwrap();
    source.layout().unwrap()
}

/// Like `read_with_restarts`, for contents whose batches may be empty (separators between
/// trackers).
fn read_with_positions(path: &Path, options: &FileOptions, steps: &[BatchLimits]) -> Vec<Owned> {
    let (mut at, mut found, mut batch): (Option<Position>, _, _) = (None, Vec::new(), RecordBatch::new());
    for limits in steps.iter().cycle() {
        let mut source = FileSource::open(path, options.clone(), at.as_ref()).unwrap();
        let progress = loop {
            let progress = source.next_batch(limits, &mut batch).unwrap();
            if progress == Progress::End || !batch.is_empty() {
                break progress;
            }
        };
        found.extend(batch.iter().map(|record| Owned::of(&record)));
        at = batch.to().cloned();
        if progress == Progress::End {
            break;
        }
    }
    found
}

#[test]
fn growth_is_the_same_file_and_other_content_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let open = |at: &Position| FileSource::open(&path, FileOptions::default(), Some(at)).unwrap();
    std::fs::write(&path, "{\"n\": 1}\n").unwrap();
    let mut batch = RecordBatch::new();
    let mut source = FileSource::open(&path, FileOptions::default(), None).unwrap();
    source.next_batch(&limits(10), &mut batch).unwrap();
    assert_eq!((batch.opened(), batch.from()), (Some(Opened::Fresh), None));
    let stored = batch.to().cloned().unwrap();
    assert_eq!((stored.offset, stored.fingerprint.map(|print| print.covered())), (9, Some(9)));

    std::fs::write(&path, "{\"n\": 1}\n{\"n\": 2}\n").unwrap();
    let mut grown = open(&stored);
    grown.next_batch(&limits(10), &mut batch).unwrap();
    assert_eq!((grown.opened(), batch.opened()), (Opened::Resumed, Some(Opened::Resumed)));
    assert_eq!(batch.get(0).map(|record| (record.payload, record.offset)), Some((&b"{\"n\": 2}"[..], 9)));

    for other in ["{\"n\": 3}\n{\"n\": 4}\n", "{\"n\""] {
        std::fs::write(&path, other).unwrap();
        open(&stored).next_batch(&limits(10), &mut batch).unwrap();
        assert_eq!(batch.opened(), Some(Opened::Replaced), "{other}");
        assert_eq!(batch.from(), Some(&stored), "the store still holds the old position");
        assert_eq!(batch.get(0).map(|record| record.offset), Some(0));
    }
    // Past the end, with nothing to compare.
    assert_eq!(open(&position(1000)).opened(), Opened::Replaced);
    assert_eq!(open(&position(0)).opened(), Opened::Resumed);
}

#[test]
fn a_large_file_is_read_in_little_memory() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let line = capture("parcel/file-broker.jsonl.gz").lines().next().unwrap().to_owned() + "\n";
    let block = line.repeat((1 << 20) / line.len());
    let mut written = 0;
    while written < 100 << 20 {
        file.write_all(block.as_bytes()).unwrap();
        written += block.len();
    }
    let limits = BatchLimits { records: usize::MAX, bytes: 1 << 20 };
    let mut source = FileSource::open(file.path(), FileOptions::default(), None).unwrap();
    let (mut batch, mut count, mut bytes) = (RecordBatch::new(), 0, 0);
    loop {
        let progress = source.next_batch(&limits, &mut batch).unwrap();
        count += batch.len();
        bytes += batch.bytes();
        assert!(batch.capacity() <= 3 << 20, "{}", batch.capacity());
        if progress == Progress::End {
            break;
        }
    }
    assert_eq!((count, bytes), (written / line.len(), written));
    // One long line is read, and its memory is given back.
    let mut long = tempfile::NamedTempFile::new().unwrap();
    writeln!(long, "{{\"text\": \"{}\"}}\n{line}", "x".repeat(20 << 20)).unwrap();
    let mut source = FileSource::open(long.path(), FileOptions::default(), None).unwrap();
    source.next_batch(&limits, &mut batch).unwrap();
    assert_eq!(batch.len(), 1);
    source.next_batch(&limits, &mut batch).unwrap();
    assert!(batch.capacity() <= 3 << 20 && batch.len() == 2);
}

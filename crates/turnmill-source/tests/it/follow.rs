//! Following a file that is being written, truncated and replaced.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use turnmill_source::{
    Container, FileOptions, FileSource, Opened, PartitionId, Progress, RecordBatch, Source,
};

use crate::limits;

fn follow() -> FileOptions {
    FileOptions { follow: true, ..FileOptions::default() }
}

fn append(path: &Path, text: &str) {
    OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// Reads until idle. Returns the payloads, and how a file was opened if one was begun.
fn poll(source: &mut FileSource) -> (Vec<String>, Vec<Opened>) {
    let (mut found, mut opened, mut batch) = (Vec::new(), Vec::new(), RecordBatch::new());
    loop {
        let progress = source.next_batch(&limits(2), &mut batch).unwrap();
        found.extend(batch.iter().map(|record| String::from_utf8_lossy(record.payload).into_owned()));
        opened.extend(batch.opened());
        match progress {
            Progress::More => {}
            Progress::Idle => return (found, opened),
            Progress::End => panic!("a followed file has no end"),
        }
    }
}

#[test]
fn only_complete_lines_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    append(&path, "");
    let mut source = FileSource::open(&path, follow(), None).unwrap();
    assert_eq!(poll(&mut source), (vec![], vec![]));
    assert_eq!(source.container(), None, "nothing to tell it from yet");
    append(&path, "{\"n\"");
    assert_eq!(poll(&mut source).0, [""; 0]);
    append(&path, ": 1}\n{\"n\": 2}\n{\"n\": 3}\n{\"n\": ");
    assert_eq!(
        poll(&mut source),
        (vec!["{\"n\": 1}".into(), "{\"n\": 2}".into(), "{\"n\": 3}".into()], vec![Opened::Fresh])
    );
    assert_eq!(poll(&mut source).0, [""; 0]);
    append(&path, "4}");
    assert_eq!(poll(&mut source).0, [""; 0]);
    append(&path, "\n");
    assert_eq!(poll(&mut source).0, ["{\"n\": 4}"]);
}

#[test]
fn incomplete_trackers_are_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dumps");
    append(&path, "{\"events\": [{\"n\": 1},\n");
    let mut source = FileSource::open(&path, follow(), None).unwrap();
    assert_eq!(poll(&mut source).0, [""; 0]);
    append(&path, "{\"n\": 2}], \"sender_id\": \"u\"");
    assert_eq!(poll(&mut source).0, [""; 0]);
    append(&path, "}");
    assert_eq!(poll(&mut source).0, ["{\"n\": 1}", "{\"n\": 2}"]);
    assert_eq!(source.container(), Some(Container::Tracker));
}

#[test]
fn truncation_starts_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    append(&path, "{\"n\": 1}\n{\"n\": 2}\nhalf");
    let mut source = FileSource::open(&path, follow(), None).unwrap();
    assert_eq!(poll(&mut source).0.len(), 2);
    std::fs::write(&path, "{\"m\": 1}\n").unwrap();
    // The half line was written, so it becomes a record.
    assert_eq!(poll(&mut source), (vec!["half".into(), "{\"m\": 1}".into()], vec![Opened::Replaced]));
    // Overwritten and longer than before: the first bytes differ.
    std::fs::write(&path, "{\"k\": 1}\n{\"k\": 2}\n{\"k\": 3}\n").unwrap();
    let (found, opened) = poll(&mut source);
    assert_eq!((found.len(), opened), (3, vec![Opened::Replaced]));
    append(&path, "{\"k\": 4}\n");
    assert_eq!(poll(&mut source), (vec!["{\"k\": 4}".into()], vec![]));
}

#[test]
fn a_renamed_file_is_read_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let (path, old) = (folder.path().join("log"), folder.path().join("log.1"));
    append(&path, "{\"n\": 1}\n");
    let mut source = FileSource::open(&path, follow(), None).unwrap();
    assert_eq!(poll(&mut source).0.len(), 1);
    std::fs::rename(&path, &old).unwrap();
    assert_eq!(poll(&mut source).0, [""; 0], "there is no new file yet");
    append(&old, "{\"n\": 2}\n{\"n\": 3}");
    append(&path, "{\"n\": 4}\n");
    let (found, opened) = poll(&mut source);
    assert_eq!(found, ["{\"n\": 2}", "{\"n\": 3}", "{\"n\": 4}"]);
    assert_eq!(opened, [Opened::Replaced]);
}

#[test]
fn positions_chain_over_a_replacement() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    append(&path, "{\"n\": 1}\n{\"n\": 2}\n");
    let mut source = FileSource::open(&path, follow(), None).unwrap();
    let (mut batch, mut last) = (RecordBatch::new(), None);
    for round in 0..40 {
        source.next_batch(&limits(1), &mut batch).unwrap();
        assert_eq!(batch.from(), last.as_ref(), "round {round}");
        last = batch.to().cloned();
        match round {
            5 => append(&path, "{\"n\": 3}\n{\"n\""),
            10 => drop(File::create(&path).unwrap()),
            15 => append(&path, "{\"m\": 1}\n"),
            _ => {}
        }
    }
    assert_eq!(last.map(|last| last.offset), Some(9));
}

/// A stream of pieces, which panics when a reader would have to wait forever.
struct Pieces(Vec<&'static str>);

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        assert!(!self.0.is_empty(), "would block");
        let piece = self.0.remove(0);
        buffer[..piece.len()].copy_from_slice(piece.as_bytes());
        Ok(piece.len())
    }
}

#[test]
fn a_followed_stream_hands_over_what_is_at_hand() {
    // The first bytes are read alone to detect the compression.
    let pieces = Pieces(vec!["{\"number\": 10001", "}\n{\"n\"", ": 2}\n{\"n\": 3}\n{", "\"n\": 4}\n"]);
    let mut source = FileSource::stream(PartitionId::new("test", "-"), Box::new(pieces), follow()).unwrap();
    let mut batch = RecordBatch::new();
    for expected in [&["{\"number\": 10001}"][..], &["{\"n\": 2}", "{\"n\": 3}"], &["{\"n\": 4}"]] {
        assert_eq!(source.next_batch(&limits(100), &mut batch).unwrap(), Progress::More);
        let found: Vec<_> =
            batch.iter().map(|record| String::from_utf8_lossy(record.payload).into_owned()).collect();
        assert_eq!(found, expected);
        assert_eq!((batch.from(), batch.to()), (None, None));
    }
}

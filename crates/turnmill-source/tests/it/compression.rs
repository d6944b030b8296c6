//! gzip and Zstandard, detected from the content.

use std::io::Write;

use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use turnmill_source::{Compression, FileOptions, FileSource, Progress, RecordBatch, Source, SourceError};

use crate::{capture, limits, read_all, records, stream};

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &str) -> Vec<u8> {
    compress_to_vec(text.as_bytes(), CompressionLevel::Fastest)
}

#[test]
fn members_and_frames_are_read_one_after_the_other() {
    let text = capture("moodbot/sql-broker.jsonl.gz");
    let plain = records(text.as_str(), FileOptions::default());
    assert_eq!(plain.len(), 2900);
    // Cut inside a line, so that no new member can start.
    let (first, second) = text.split_at(text.len() / 2 + 7);
    for pack in [gzip, zstd] {
        let several = [pack(first), pack(""), pack(second)].concat();
        assert!(records(several, FileOptions::default()) == plain);
    }
    // A skippable frame between two others.
    let skippable = [&zstd(first)[..], b"\x53\x2a\x4d\x18\x05\0\0\0extra", &zstd(second)].concat();
    assert!(records(skippable, FileOptions::default()) == plain);
}

#[test]
fn a_file_of_the_zstd_tool_is_read() {
    // `head -n 200 | zstd -19` of the capture.
    let packed = include_bytes!("../data/sql-broker-200.jsonl.zst");
    let mut source = stream(packed.as_slice(), FileOptions::default()).unwrap();
    assert_eq!(source.compression(), Compression::Zstd);
    let found = read_all(&mut source, &limits(33)).unwrap();
    let plain = records(capture("moodbot/sql-broker.jsonl.gz"), FileOptions::default());
    assert_eq!(found, plain[..200]);
}

#[test]
fn what_comes_before_a_fault_is_delivered() {
    let text = capture("moodbot/sql-broker.jsonl.gz");
    for mut packed in [gzip(&text), zstd(&text)] {
        packed.truncate(packed.len() * 3 / 4);
        let mut source = stream(packed, FileOptions::default()).unwrap();
        let (mut batch, mut count) = (RecordBatch::new(), 0);
        let error = loop {
            match source.next_batch(&limits(1000), &mut batch) {
                Ok(progress) => assert_ne!(progress, Progress::End),
                Err(error) => break error,
            }
            count += batch.len();
        };
        assert!(matches!(error, SourceError::Read { offset: 1_000_000.., .. }), "{error:?}");
        assert!((1500..2900).contains(&count), "{count}");
    }
}

#[test]
fn lines_read_together_with_a_fault_are_not_lost() {
    let text = "{\"n\": 1}\n".repeat(10);
    let mut packed = gzip(&text);
    // Only the checksum is missing, so one read finds all lines and the fault.
    packed.truncate(packed.len() - 8);
    let mut source = stream(packed, FileOptions::default()).unwrap();
    let mut batch = RecordBatch::new();
    assert_eq!(source.next_batch(&limits(100), &mut batch).unwrap(), Progress::More);
    assert_eq!(batch.len(), 10);
    let error = source.next_batch(&limits(100), &mut batch).unwrap_err();
    assert!(matches!(error, SourceError::Read { offset: 90, .. }), "{error:?}");
}

#[test]
fn databases_directories_and_missing_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rasa.db");
    std::fs::write(&path, b"SQLite format 3\0 and so on").unwrap();
    let error = FileSource::open(&path, FileOptions::default(), None).unwrap_err();
    assert!(matches!(&error, SourceError::Database { .. }) && error.to_string().contains("rasa.db"));
    for path in [folder.path(), &folder.path().join("missing")] {
        let error = FileSource::open(path, FileOptions::default(), None).unwrap_err();
        assert!(matches!(error, SourceError::Open { .. }));
    }
    let packed = folder.path().join("x.gz");
    std::fs::write(&packed, gzip("{}\n")).unwrap();
    let follow = FileOptions { follow: true, ..FileOptions::default() };
    assert!(matches!(FileSource::open(&packed, follow, None), Err(SourceError::FollowCompressed { .. })));
}

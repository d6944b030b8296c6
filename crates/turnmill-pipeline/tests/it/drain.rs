//! Reading a source to its end.

use std::time::Duration;

use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::RowRules;
use turnmill_ingest::testkit::conversation;
use turnmill_model::{PartitionId, SessionIdMode, Settings};
use turnmill_pipeline::{Backoff, Event, Pipeline, PipelineError, Stop};
use turnmill_sink::{Class, MemoryStore, Store};
use turnmill_source::{BatchLimits, NewRecord, Position, Progress, RecordBatch, Source, SourceError};

/// Lines with positions.
struct Lines {
    partition: PartitionId,
    lines: Vec<String>,
    next: usize,
}

impl Source for Lines {
    fn partition(&self) -> &PartitionId {
        &self.partition
    }

    fn next_batch(&mut self, limits: &BatchLimits, out: &mut RecordBatch) -> Result<Progress, SourceError> {
        out.begin(0);
        let from = (self.next > 0).then(|| Position::at(self.next as u64));
        let part = out.begin_part(&self.partition, from.as_ref());
        for line in self.lines.iter().skip(self.next).take(limits.records) {
            let offset = self.next as u64;
            out.push_to(part, &NewRecord { payload: Some(line.as_bytes()), offset, ..NewRecord::default() });
            self.next += 1;
        }
        out.end_part(part, Some(Position::at(self.next as u64)));
        Ok(if self.next < self.lines.len() { Progress::More } else { Progress::End })
    }
}

/// Drains `lines` of `partition` into `store`, taking `key` for its position.
fn drain(
    store: &MemoryStore,
    partition: &str,
    key: Option<&str>,
    lines: &[String],
) -> Result<i64, PipelineError> {
    let settings = Settings::default();
    let rules = RowRules::new(&settings, RasaDecoder::new);
    let mut pipeline = Pipeline::new(store.clone(), &rules, Stop::default())
        .with_cache_bytes(1 << 20)
        .with_limits(BatchLimits { records: 5, ..BatchLimits::default() })
        .with_backoff(Backoff { first: Duration::from_micros(10), longest: Duration::from_millis(1) });
    let key = key.map(|partition| PartitionId { source: "lines".into(), partition: partition.into() });
    let mut open = |position: Option<&Position>| {
        let next = position.map_or(0, |position| usize::try_from(position.offset).unwrap());
        let partition = PartitionId::new("lines", partition);
        Ok(Box::new(Lines { partition, lines: lines.to_vec(), next }) as Box<dyn Source>)
    };
    let mut observer = |_: &Event<'_>| {};
    let drained = pipeline.drain(key.as_ref(), &mut open, &mut observer);
    pollster::block_on(drained).map(|drained| drained.counts.records)
}

#[test]
fn a_wrong_partition_is_an_error_and_not_an_endless_loop() {
    let store = MemoryStore::default();
    let lines = conversation("sender", 5, 1_656_382_549.0);
    let all = i64::try_from(lines.len()).unwrap();
    assert_eq!(drain(&store, "a", Some("a"), &lines).unwrap(), all);
    assert_eq!(drain(&store, "a", Some("a"), &lines).unwrap(), 0, "it goes on where it was");
    let error = drain(&store, "a", Some("b"), &lines).unwrap_err().to_string();
    assert_eq!(error, "the source reads lines a, and the position it was opened at is of lines b");
    let error = drain(&store, "a", None, &lines).unwrap_err().to_string();
    assert_eq!(error, "the source reads lines a, and the position it was opened at is of no partition");
    // Nothing of it was committed, and another partition is not kept from its own.
    assert_eq!(drain(&store, "b", Some("b"), &lines).unwrap(), all);
}

/// The session ids that the metadata name, in the rows that a pipeline with `settings` makes of them.
fn named_sessions(settings: &Settings) -> (MemoryStore, usize) {
    let id = "4f1c1a9e-5a0c-4f0e-9d7e-3a1b2c3d4e5f";
    let line = format!(
        r#"{{"sender_id": "u", "event": "user", "timestamp": 1656382549.5, "text": "hi", "metadata": {{"session_id": "{id}"}}}}"#
    );
    let store = MemoryStore::default();
    let rules = RowRules::new(settings, RasaDecoder::new);
    let mut pipeline = Pipeline::new(store.clone(), &rules, Stop::default());
    let key = PartitionId::new("lines", "a");
    let mut open = |_: Option<&Position>| {
        Ok(Box::new(Lines { partition: key.clone(), lines: vec![line.clone()], next: 0 }) as Box<dyn Source>)
    };
    pollster::block_on(pipeline.drain(Some(&key), &mut open, &mut |_: &Event<'_>| {})).unwrap();
    let named = store.rows("rasa_session").keys().filter(|key| ***key == *id).count();
    (store, named)
}

#[test]
fn a_store_remembers_the_settings_under_which_its_rows_were_made() {
    let uuid = Settings::default();
    let off = Settings { session_id: SessionIdMode::Off, ..Settings::default() };
    for (settings, other, expected) in [(&uuid, &off, 1), (&off, &uuid, 0)] {
        let (mut store, named) = named_sessions(settings);
        assert_eq!(named, expected, "the decoder has the settings of the rules");
        pollster::block_on(store.open(settings)).unwrap();
        let error = pollster::block_on(store.open(other)).unwrap_err();
        assert_eq!(error.class(), Class::Fatal, "and so has the store: {error}");
    }
}

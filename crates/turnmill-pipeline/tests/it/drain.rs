//! Reading a source to its end.

use std::sync::Arc;
use std::time::Duration;

use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::Ingest;
use turnmill_ingest::testkit::conversation;
use turnmill_model::{PartitionId, Settings};
use turnmill_pipeline::{Backoff, Event, Pipeline, PipelineError, Stop};
use turnmill_sink::MemoryStore;
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
    let decoder = RasaDecoder::new(&settings);
    let ingest = Ingest::new(&settings, &decoder, 1 << 20);
    let mut pipeline =
        Pipeline::new(store.clone(), &settings, Arc::new(decoder.clone()), ingest, Stop::default())
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

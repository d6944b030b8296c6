//! Reads conversations as `rasa evaluate markers` does: events in the order of the input.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use turnmill_engine::marker_event;
use turnmill_formats::shipped;
use turnmill_markers::OwnedMarkerEvent;
use turnmill_model::{Decoders, Record, Settings};
use turnmill_source::{
    BatchLimits, Container, FileOptions, FileSource, Progress, RecordBatch, RecordOutcome, Source,
    SourceRecord,
};
#[cfg(feature = "postgres")]
use turnmill_source_tracker::PostgresTracker;
use turnmill_source_tracker::{TrackerOptions, TrackerSource, is_sqlite};

use super::Failure;

/// Time of events that have none. The time has no effect here, so such an event must not be
/// refused.
const DEFAULT_TIME: f64 = 1e9;

/// Conversations by sender id, and the number of records that are not events.
#[derive(Debug, Default)]
pub(super) struct Conversations {
    pub(super) by_sender: BTreeMap<String, Vec<OwnedMarkerEvent>>,
    pub(super) unreadable: u64,
}

impl Conversations {
    /// Reads all inputs to their ends.
    pub(super) fn read(inputs: &[PathBuf], format: Option<Container>) -> Result<Self, Failure> {
        let decoders = shipped(&Settings::default());
        let mut conversations = Self::default();
        let mut batch = RecordBatch::new();
        for input in inputs {
            let mut source = open(input, format)?;
            loop {
                let progress = source.next_batch(&BatchLimits::default(), &mut batch)?;
                batch.iter().for_each(|record| conversations.add(&decoders, &record));
                if progress != Progress::More {
                    break;
                }
            }
        }
        Ok(conversations)
    }

    fn add(&mut self, decoders: &Decoders, record: &SourceRecord<'_>) {
        let body = match record.outcome {
            RecordOutcome::Body => record.record(),
            RecordOutcome::Skipped => return,
            RecordOutcome::Refused(_) => {
                self.unreadable += 1;
                return;
            }
        };
        let mut events = Vec::new();
        let record = Record { time: body.time.or(Some(DEFAULT_TIME)), ..body };
        if decoders.decode(&record, &mut events).is_err() {
            self.unreadable += 1;
        }
        for event in &events {
            // The id as written, not shortened to the width of a column.
            let sender = body.sender.unwrap_or(&event.sender_key);
            let event = OwnedMarkerEvent::from(marker_event(event));
            match self.by_sender.get_mut(sender) {
                Some(conversation) => conversation.push(event),
                None => _ = self.by_sender.insert(sender.to_owned(), vec![event]),
            }
        }
    }
}

fn open(input: &Path, format: Option<Container>) -> Result<Box<dyn Source>, Failure> {
    let options = || FileOptions { container: format, ..FileOptions::default() };
    let failed = |name: String, source| Failure::Input { name, source };
    #[cfg(feature = "postgres")]
    let text = input.to_str().unwrap_or_default();
    if input == Path::new("-") {
        return Ok(Box::new(FileSource::stdin(options())?));
    }
    #[cfg(feature = "postgres")]
    if PostgresTracker::is_url(text) {
        let opened = PostgresTracker::open(text, TrackerOptions::default(), None);
        let name = || PostgresTracker::name(text).unwrap_or_else(|_| "postgresql://…".into());
        return Ok(Box::new(opened.map_err(|error| failed(name(), error.into()))?));
    }
    if std::fs::metadata(input).is_ok_and(|metadata| metadata.is_file()) && is_sqlite(input).unwrap_or(false)
    {
        let opened = TrackerSource::open(input, TrackerOptions::default(), None);
        return Ok(Box::new(opened.map_err(|error| failed(input.display().to_string(), error.into()))?));
    }
    Ok(Box::new(FileSource::open(input, options(), None)?))
}

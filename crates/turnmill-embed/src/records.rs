//! A source of records from an iterator.

use turnmill_model::PartitionId;
use turnmill_source::{BatchLimits, NewRecord, Progress, RecordBatch, Source, SourceError};

/// An iterator of bodies as a source without positions.
#[derive(Debug)]
pub(crate) struct Records<I> {
    partition: PartitionId,
    decoder: Option<String>,
    bodies: I,
    /// Number of the next record.
    next: u64,
}

impl<I> Records<I> {
    pub(crate) fn new(partition: PartitionId, decoder: Option<String>, bodies: I) -> Self {
        Self { partition, decoder, bodies, next: 0 }
    }
}

impl<I> Source for Records<I>
where
    I: Iterator<Item: AsRef<[u8]>> + Send,
{
    fn partition(&self) -> &PartitionId {
        &self.partition
    }

    fn decoder(&self) -> Option<&str> {
        self.decoder.as_deref()
    }

    fn next_batch(&mut self, limits: &BatchLimits, out: &mut RecordBatch) -> Result<Progress, SourceError> {
        out.start(&self.partition, None);
        while out.len() < limits.records.max(1) && (out.is_empty() || out.bytes() < limits.bytes) {
            let Some(body) = self.bodies.next() else { return Ok(Progress::End) };
            let payload = Some(body.as_ref());
            out.push(&NewRecord { payload, offset: self.next, ..NewRecord::default() });
            self.next += 1;
        }
        Ok(Progress::More)
    }
}

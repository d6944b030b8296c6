//! Reads the partitions of a consumer group until it is stopped.

use turnmill_model::PartitionId;
use turnmill_sink::Store;
use turnmill_source::{
    Assignment, GroupControl, GroupLimits, GroupSource, PartitionPosition, PartitionStart, Position,
};

use crate::event::{Drained, Event, Observer, PipelineError};
use crate::pipeline::{Outcome, Pipeline, parse_position};
use crate::prepare::{ReadAhead, ReaderMessage};

impl<S: Store> Pipeline<S> {
    /// Reads the partitions that the group assigns, from the stored positions on, until it is
    /// stopped or a bounded source ends.
    ///
    /// ```text
    /// assigned 0, 1     open the store, start at its positions: 0 at 120, 1 at the earliest record
    /// batch of 0        committed, the stored position of 0 is 180
    /// revoked           batches that were read ahead are dropped, the next member reads them again
    /// ```
    ///
    /// - Only the stored position decides where a partition begins. A rebalance drops what was read
    ///   ahead.
    /// - A batch of an earlier assignment is not committed. If another member has committed first
    ///   all the same, the store fences this one, and it starts again at the stored positions.
    /// - While the store is unavailable the source is not read, but it stays a member of its group.
    ///
    /// # Errors
    ///
    /// Returns fatal errors of the store and of the source, and too many dead letters. Everything
    /// committed before stays.
    pub async fn serve(
        &mut self,
        source: Box<dyn GroupSource>,
        limits: GroupLimits,
        observer: &mut dyn Observer,
    ) -> Result<Drained, PipelineError> {
        let control = source.control();
        let mut drained = Drained::default();
        let result = self.follow(source, limits, &*control, &mut drained, observer).await;
        control.close();
        match result {
            // The failure would have been retried, had the pipeline not been stopped.
            Err(PipelineError::Store(_)) if self.stop.is_set() => drained.stopped = true,
            result => {
                result?;
                drained.stopped |= self.stop.is_set();
            }
        }
        Ok(drained)
    }

    async fn follow(
        &mut self,
        source: Box<dyn GroupSource>,
        limits: GroupLimits,
        control: &dyn GroupControl,
        drained: &mut Drained,
        observer: &mut dyn Observer,
    ) -> Result<(), PipelineError> {
        // Open before the group assigns anything, so that an unusable store is reported at once.
        self.open(observer).await?;
        let (rules, preparation) = (self.ingest.rules().clone(), self.reading.preparation.clone());
        let preparation =
            preparation.for_source(source.decoder(), rules.decoders()).map_err(PipelineError::Decoder)?;
        let reading = ReadAhead::of_group(source, rules, limits, preparation, self.stop.clone())
            .map_err(PipelineError::Thread)?;
        let stop = self.stop.clone();
        // A batch was fenced, and its partitions have not been assigned again yet. A bounded source
        // must not end before that: its records would be lost to this run.
        let mut must_reread = false;
        while let Ok(read) = reading.incoming.recv().await {
            match read {
                ReaderMessage::Assigned(assignment) => {
                    must_reread = false;
                    self.begin(&assignment, control, observer).await?;
                }
                ReaderMessage::Revoked { generation, lost } => {
                    observer.observe(&Event::Revoked { lost });
                    control.released(generation);
                }
                ReaderMessage::Batch(prepared) => {
                    let batch = prepared.batch();
                    let wanted = || !stop.is_set() && control.generation() == batch.generation();
                    match self.commit(&prepared, &wanted, drained, observer).await? {
                        Outcome::Committed => {
                            let stored = |part: &turnmill_source::Part| {
                                let position = part.to.clone()?;
                                Some(PartitionPosition { partition: part.partition.clone(), position })
                            };
                            let positions: Vec<_> = batch.parts().iter().filter_map(stored).collect();
                            control.committed(&positions);
                        }
                        // The source then reports the assignment again.
                        Outcome::Fenced => {
                            must_reread = true;
                            control.restart();
                        }
                        Outcome::Dropped => observer.observe(&Event::Dropped { records: batch.len() }),
                    }
                    reading.recycle(*prepared);
                }
                ReaderMessage::Idle => {}
                ReaderMessage::End if must_reread && !self.stop.is_set() => {}
                ReaderMessage::End => break,
                ReaderMessage::Failed(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Starts reading an assignment at the stored positions.
    async fn begin(
        &mut self,
        assignment: &Assignment,
        control: &dyn GroupControl,
        observer: &mut dyn Observer,
    ) -> Result<(), PipelineError> {
        let opened = self.open(observer).await?;
        let stored = |partition: &PartitionId| opened.position(partition).map(parse_position).transpose();
        let positions: Vec<Option<Position>> = assignment
            .partitions
            .iter()
            .map(|assigned| stored(&assigned.partition))
            .collect::<Result<_, _>>()?;
        observer.observe(&Event::Assigned { assignment, positions: &positions });
        let starts = assignment
            .partitions
            .iter()
            .zip(positions)
            .map(|(assigned, position)| PartitionStart { partition: assigned.partition.clone(), position });
        control.start(assignment.generation, starts.collect());
        Ok(())
    }
}

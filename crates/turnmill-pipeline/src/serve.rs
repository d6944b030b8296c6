//! Reading a group's partitions for as long as the service runs.

use turnmill_model::PartitionId;
use turnmill_sink::Store;
use turnmill_source::{Assignment, GroupControl, GroupLimits, GroupSource, Position};

use crate::event::{Drained, Event, Observer, PipelineError};
use crate::pipeline::{Outcome, Pipeline, parse_position};
use crate::prepare::{ReadAhead, ReaderMessage};

impl<S: Store> Pipeline<S> {
    /// Reads what the group hands out, from the store's positions on, until stopping is asked for or a bounded source ends.
    ///
    /// - Where a partition begins, only the store says; a rebalance drops what was read ahead.
    /// - A batch of an assignment that has passed is not committed. If another member was quicker all the same, the store
    ///   fences this one, and it starts again at the stored positions.
    /// - While the store is away the source is not read, but stays a member of its group.
    ///
    /// # Errors
    ///
    /// Fatal errors of the store and of the source, and too many dead letters; everything committed before stays.
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
            // A failure that would have been tried again.
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
        // Before the group hands anything out, so that a store that cannot be used says so at once.
        self.open(observer).await?;
        let (rules, preparation) = (self.ingest.rules().clone(), self.reading.preparation.clone());
        let reading = ReadAhead::of_group(source, rules, limits, preparation, self.stop.clone())
            .map_err(PipelineError::Thread)?;
        let stop = self.stop.clone();
        // Batches were not committed, and nothing has been read again yet.
        let mut owes = false;
        while let Ok(read) = reading.incoming.recv().await {
            match read {
                ReaderMessage::Assigned(assignment) => {
                    owes = false;
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
                                Some((part.partition.clone(), part.to.clone()?))
                            };
                            let positions: Vec<_> = batch.parts().iter().filter_map(stored).collect();
                            control.committed(&positions);
                        }
                        // The source reports the assignment again.
                        Outcome::Fenced => {
                            owes = true;
                            control.restart();
                        }
                        Outcome::Dropped => observer.observe(&Event::Dropped { records: batch.len() }),
                    }
                    reading.recycle(*prepared);
                }
                ReaderMessage::Idle => {}
                ReaderMessage::End if owes && !self.stop.is_set() => {}
                ReaderMessage::End => break,
                ReaderMessage::Failed(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Begins to read an assignment at the stored positions.
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
        let partitions = assignment.partitions.iter().map(|assigned| assigned.partition.clone());
        control.start(assignment.generation, partitions.zip(positions).collect());
        Ok(())
    }
}

//! Reading a source to its end, whatever happens on the way.

use turnmill_model::PartitionId;
use turnmill_sink::Store;
use turnmill_source::{Position, Source, SourceError};

use crate::event::{Drained, Observer, PipelineError};
use crate::pipeline::{Outcome, Pipeline, parse_position};
use crate::prepare::{ReadAhead, ReaderMessage};

/// Opens a source behind a position.
pub type OpenSource<'o> = dyn FnMut(Option<&Position>) -> Result<Box<dyn Source>, SourceError> + 'o;

impl<S: Store> Pipeline<S> {
    /// Reads the source called `key` from its stored position to its end, or until stopping is asked for. `key` is none for a
    /// source without positions. `open` is called again when another writer has moved on.
    ///
    /// # Errors
    ///
    /// Fatal errors of the store and any of the source, and [`PipelineError::Position`] if `key` is not what the source
    /// reads; everything committed before stays.
    pub async fn drain(
        &mut self,
        key: Option<&PartitionId>,
        open: &mut OpenSource<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Drained, PipelineError> {
        let mut drained = Drained::default();
        loop {
            let opened = self.open(observer).await?;
            let stored = key.and_then(|key| opened.position(key));
            let position = stored.map(parse_position).transpose()?;
            let source = open(position.as_ref())?;
            if self.read(key, source, &mut drained, observer).await? {
                drained.stopped |= self.stop.is_set();
                return Ok(drained);
            }
            self.ingest.clear_cache();
        }
    }

    /// Reads `source` until it ends (true) or another writer turns out to have moved on (false).
    async fn read(
        &mut self,
        key: Option<&PartitionId>,
        source: Box<dyn Source>,
        drained: &mut Drained,
        observer: &mut dyn Observer,
    ) -> Result<bool, PipelineError> {
        let rules = self.ingest.rules().clone();
        let reading = ReadAhead::of_source(source, rules, self.reading.clone(), self.stop.clone())
            .map_err(PipelineError::Thread)?;
        let stop = self.stop.clone();
        let wanted = || !stop.is_set();
        while let Ok(read) = reading.incoming.recv().await {
            match read {
                ReaderMessage::Batch(prepared) => {
                    // Opened at the position of something else, the source would be fenced by its own, and be opened there
                    // again without end.
                    let mut positioned = prepared.batch().parts().iter().filter(|part| part.to.is_some());
                    let found = positioned.next().map(|part| part.partition.clone());
                    let wrong = |found: &PartitionId| PipelineError::Position {
                        expected: key.cloned(),
                        found: found.clone(),
                    };
                    if let (Some(found), Some(key)) = (&found, key)
                        && found != key
                    {
                        return Err(wrong(found));
                    }
                    match self.commit(&prepared, &wanted, drained, observer).await? {
                        Outcome::Committed => reading.recycle(*prepared),
                        Outcome::Fenced => match (found, key) {
                            (Some(found), None) => return Err(wrong(&found)),
                            _ => return Ok(false),
                        },
                        Outcome::Dropped => return Ok(true),
                    }
                }
                ReaderMessage::Idle | ReaderMessage::Assigned(_) | ReaderMessage::Revoked { .. } => {}
                ReaderMessage::End => return Ok(true),
                ReaderMessage::Failed(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }
}

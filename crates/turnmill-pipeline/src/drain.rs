//! Reads one source to its end, through retries and fences.

use turnmill_model::PartitionId;
use turnmill_sink::Store;
use turnmill_source::{Position, Source, SourceError};

use crate::event::{Drained, Observer, PipelineError};
use crate::pipeline::{Outcome, Pipeline, parse_position};
use crate::prepare::{ReadAhead, ReaderMessage};

/// Opens a source at a stored position; `None`: at its start.
pub type OpenSource<'o> = dyn FnMut(Option<&Position>) -> Result<Box<dyn Source>, SourceError> + 'o;

impl<S: Store> Pipeline<S> {
    /// Reads the source called `key` from its stored position to its end, or until it is stopped.
    /// `key` is `None` for a source without positions. After a fence `open` is called again, with
    /// the position that is stored then.
    ///
    /// # Errors
    ///
    /// Returns fatal errors of the store, any error of the source, and [`PipelineError::Position`]
    /// if the source reads another partition than `key`. Everything committed before stays.
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

    /// Reads `source` until it ends (returns true) or another writer fences this one (returns
    /// false).
    async fn read(
        &mut self,
        key: Option<&PartitionId>,
        source: Box<dyn Source>,
        drained: &mut Drained,
        observer: &mut dyn Observer,
    ) -> Result<bool, PipelineError> {
        let rules = self.ingest.rules().clone();
        let mut options = self.reading.clone();
        options.preparation.is_unwrapped = source.is_unwrapped();
        options.preparation = options
            .preparation
            .for_source(source.decoder(), rules.decoders())
            .map_err(PipelineError::Decoder)?;
        let reading =
            ReadAhead::of_source(source, rules, options, self.stop.clone()).map_err(PipelineError::Thread)?;
        let stop = self.stop.clone();
        let wanted = || !stop.is_set();
        while let Ok(read) = reading.incoming.recv().await {
            match read {
                ReaderMessage::Batch(prepared) => {
                    // A source that was opened at the position of another partition would be
                    // fenced, opened there again, and so on without end.
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

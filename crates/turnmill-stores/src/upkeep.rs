//! Requests of tools that process all senders.

use turnmill_model::{Micros, SenderId, Settings};
use turnmill_sink::{PatternSet, RebuildState, StoreError, Upkeep};

use crate::AnyStore;
use crate::any::each;

impl Upkeep for AnyStore {
    async fn senders(&mut self, after: Option<SenderId>, limit: usize) -> Result<Vec<SenderId>, StoreError> {
        each!(self, store => store.senders(after, limit).await)
    }

    async fn senders_seen(
        &mut self,
        since: Micros,
        after: Option<SenderId>,
        limit: usize,
    ) -> Result<Vec<SenderId>, StoreError> {
        each!(self, store => store.senders_seen(since, after, limit).await)
    }

    async fn swept_patterns(&mut self) -> Result<u64, StoreError> {
        each!(self, store => store.swept_patterns().await)
    }

    async fn note_swept_patterns(&mut self, revision: u64) -> Result<(), StoreError> {
        each!(self, store => store.note_swept_patterns(revision).await)
    }

    async fn write_patterns(&mut self, from: u64, set: &PatternSet) -> Result<(), StoreError> {
        each!(self, store => store.write_patterns(from, set).await)
    }

    async fn begin_rebuild(&mut self, settings: &Settings) -> Result<RebuildState, StoreError> {
        each!(self, store => store.begin_rebuild(settings).await)
    }

    async fn end_rebuild(&mut self, settings: &Settings) -> Result<(), StoreError> {
        each!(self, store => store.end_rebuild(settings).await)
    }
}

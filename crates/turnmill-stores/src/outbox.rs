//! Sinks and their outbox, for any store.

use std::time::Duration;

use turnmill_model::tables::Table;
use turnmill_sink::StoreError;
use turnmill_sink::outbox::{ChangeValue, Outbox, OutboxEntry, SinkSpec, SinkState, SinkStep};

use crate::AnyStore;
use crate::any::each;

impl Outbox for AnyStore {
    async fn put_sink(&mut self, spec: &SinkSpec) -> Result<SinkState, StoreError> {
        each!(self, store => store.put_sink(spec).await)
    }

    async fn remove_sink(&mut self, name: &str) -> Result<bool, StoreError> {
        each!(self, store => store.remove_sink(name).await)
    }

    async fn reset_sink(&mut self, name: &str) -> Result<bool, StoreError> {
        each!(self, store => store.reset_sink(name).await)
    }

    async fn sinks(&mut self) -> Result<Vec<SinkState>, StoreError> {
        each!(self, store => store.sinks().await)
    }

    async fn lease_sink(
        &mut self,
        name: &str,
        owner: &str,
        lease: Duration,
    ) -> Result<Option<SinkState>, StoreError> {
        each!(self, store => store.lease_sink(name, owner, lease).await)
    }

    async fn advance_sink(&mut self, step: &SinkStep<'_>) -> Result<(), StoreError> {
        each!(self, store => store.advance_sink(step).await)
    }

    async fn release_sink(&mut self, name: &str, owner: &str) -> Result<(), StoreError> {
        each!(self, store => store.release_sink(name, owner).await)
    }

    async fn outbox(
        &mut self,
        after: u64,
        limit: usize,
        bytes: usize,
    ) -> Result<Vec<OutboxEntry>, StoreError> {
        each!(self, store => store.outbox(after, limit, bytes).await)
    }

    async fn rows_after(
        &mut self,
        table: &'static Table,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Vec<ChangeValue<'static>>>, StoreError> {
        each!(self, store => store.rows_after(table, after, limit).await)
    }
}

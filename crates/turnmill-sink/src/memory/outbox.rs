//! The outbox.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use turnmill_model::tables::Table;

use super::{MemoryStore, OwnedValue};
use crate::StoreError;
use crate::outbox::{
    ChangeValue, Outbox, OutboxEntry, Scope, SinkPosition, SinkSpec, SinkState, SinkStep, SnapshotCursor,
    Wanted, columns,
};

/// What a store keeps for its sinks.
#[derive(Debug, Default)]
pub(super) struct Kept {
    head: u64,
    /// Bytes of all entries that there have been.
    total: u64,
    /// Entries with the bytes of all that came before, their own included.
    entries: BTreeMap<u64, (u64, Vec<u8>)>,
    sinks: BTreeMap<String, KeptSink>,
}

#[derive(Debug)]
struct KeptSink {
    scope: Scope,
    position: SinkPosition,
    /// Bytes of all entries up to its position.
    total: u64,
    max_bytes: Option<u64>,
    lease: Option<(String, Instant)>,
    skipped: u64,
    error: Option<String>,
}

impl Kept {
    pub(super) fn wanted(&self) -> Wanted {
        Wanted::by(self.sinks.values().map(|sink| sink.scope))
    }

    pub(super) fn push(&mut self, entry: Vec<u8>) {
        self.head += 1;
        self.total += entry.len() as u64;
        self.entries.insert(self.head, (self.total, entry));
    }

    pub(super) fn take_back(&mut self) {
        if let Some((_, entry)) = self.entries.remove(&self.head) {
            self.head -= 1;
            self.total -= entry.len() as u64;
        }
    }

    /// Sets sinks whose lag exceeds their bound back to a snapshot.
    pub(super) fn drop_what_is_beyond_bounds(&mut self) {
        let mut dropped = false;
        for sink in self.sinks.values_mut() {
            if sink.max_bytes.is_some_and(|bound| self.total - sink.total > bound) {
                sink.restart(self.head, self.total);
                sink.error = Some(SinkState::BEYOND_BOUND.into());
                dropped = true;
            }
        }
        if dropped {
            self.prune();
        }
    }

    fn prune(&mut self) {
        let needed = self.sinks.values().map(|sink| sink.position.number).min();
        self.entries.retain(|number, _| needed.is_some_and(|needed| *number > needed));
    }

    fn state(&self, name: &str) -> Option<SinkState> {
        let sink = self.sinks.get(name)?;
        Some(SinkState {
            name: name.to_owned(),
            scope: sink.scope,
            position: sink.position.clone(),
            max_bytes: sink.max_bytes,
            head: self.head,
            lag_bytes: self.total - sink.total,
            skipped: sink.skipped,
            error: sink.error.clone(),
            owner: sink
                .lease
                .as_ref()
                .filter(|(_, until)| *until > Instant::now())
                .map(|(owner, _)| owner.clone()),
        })
    }
}

impl KeptSink {
    /// Sets the sink back to a snapshot after entry `head`.
    fn restart(&mut self, head: u64, total: u64) {
        self.position = SinkPosition { number: head, snapshot: Some(SnapshotCursor::default()) };
        self.total = total;
        self.error = None;
    }

    /// Whether `owner` may feed it.
    fn is_free_for(&self, owner: &str) -> bool {
        self.lease.as_ref().is_none_or(|(holder, until)| holder == owner || *until <= Instant::now())
    }

    fn is_held_by(&self, owner: &str) -> bool {
        self.lease.as_ref().is_some_and(|(holder, _)| holder == owner)
    }
}

impl Outbox for MemoryStore {
    async fn put_sink(&mut self, spec: &SinkSpec) -> Result<SinkState, StoreError> {
        self.with(|state| {
            if state.busy {
                return Err(StoreError::Unavailable {
                    detail: "another transaction is open".into(),
                    source: None,
                });
            }
            let kept = &mut state.outbox;
            let (head, total) = (kept.head, kept.total);
            let new = || KeptSink {
                scope: spec.scope,
                position: spec.begin(head),
                total,
                max_bytes: spec.max_bytes,
                lease: None,
                skipped: 0,
                error: None,
            };
            let sink = kept.sinks.entry(spec.name.clone()).or_insert_with(new);
            if sink.scope != spec.scope {
                *sink = new();
            }
            sink.max_bytes = spec.max_bytes;
            kept.prune();
            kept.state(&spec.name).ok_or_else(|| StoreError::sink_moved(&spec.name))
        })
    }

    async fn remove_sink(&mut self, name: &str) -> Result<bool, StoreError> {
        Ok(self.with(|state| {
            let there = state.outbox.sinks.remove(name).is_some();
            state.outbox.prune();
            there
        }))
    }

    async fn reset_sink(&mut self, name: &str) -> Result<bool, StoreError> {
        Ok(self.with(|state| {
            let kept = &mut state.outbox;
            let (head, total) = (kept.head, kept.total);
            let Some(sink) = kept.sinks.get_mut(name) else { return false };
            sink.restart(head, total);
            kept.prune();
            true
        }))
    }

    async fn sinks(&mut self) -> Result<Vec<SinkState>, StoreError> {
        Ok(self.with(|state| {
            let kept = &state.outbox;
            kept.sinks.keys().filter_map(|name| kept.state(name)).collect()
        }))
    }

    async fn lease_sink(
        &mut self,
        name: &str,
        owner: &str,
        lease: Duration,
    ) -> Result<Option<SinkState>, StoreError> {
        Ok(self.with(|state| {
            let sink = state.outbox.sinks.get_mut(name).filter(|sink| sink.is_free_for(owner))?;
            sink.lease = Some((owner.to_owned(), Instant::now() + lease));
            state.outbox.state(name)
        }))
    }

    async fn advance_sink(&mut self, step: &SinkStep<'_>) -> Result<(), StoreError> {
        self.with(|state| {
            let kept = &mut state.outbox;
            let total = kept.entries.get(&step.to.number).map(|(total, _)| *total);
            let sink = kept.sinks.get_mut(step.name);
            let sink = sink.filter(|sink| sink.position == *step.from && sink.is_held_by(step.owner));
            let sink = sink.ok_or_else(|| StoreError::sink_moved(step.name))?;
            sink.position = step.to.clone();
            sink.total = total.unwrap_or(sink.total);
            sink.skipped += step.skipped;
            sink.error = step.error.map(Into::into);
            kept.prune();
            Ok(())
        })
    }

    async fn release_sink(&mut self, name: &str, owner: &str) -> Result<(), StoreError> {
        self.with(|state| {
            if let Some(sink) = state.outbox.sinks.get_mut(name).filter(|sink| sink.is_held_by(owner)) {
                sink.lease = None;
            }
        });
        Ok(())
    }

    async fn outbox(
        &mut self,
        after: u64,
        limit: usize,
        bytes: usize,
    ) -> Result<Vec<OutboxEntry>, StoreError> {
        Ok(self.with(|state| {
            let mut taken = 0;
            let entries = state.outbox.entries.range(after + 1..).take(limit);
            let fits = |(_, (_, entry)): &(&u64, &(u64, Vec<u8>))| {
                let fits = taken < bytes;
                taken += entry.len();
                fits
            };
            let entries = entries.take_while(fits);
            entries
                .map(|(number, (_, bytes))| OutboxEntry { number: *number, bytes: bytes.clone() })
                .collect()
        }))
    }

    async fn rows_after(
        &mut self,
        table: &'static Table,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Vec<ChangeValue<'static>>>, StoreError> {
        let row = |row: &Vec<OwnedValue>| {
            let value = |index: usize| {
                row.get(index)
                    .map_or(ChangeValue::Null, |value| ChangeValue::from(value.as_value()).into_owned())
            };
            columns(table).map(|(index, _)| value(index)).collect()
        };
        Ok(self.with(|state| {
            let rows = state.tables.get(table.name).into_iter().flatten();
            rows.filter(|(key, _)| ***key > *after).take(limit).map(|(_, values)| row(values)).collect()
        }))
    }
}

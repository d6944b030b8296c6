//! One transaction: locking what is claimed, reading, writing, committing.

use std::collections::{BTreeSet, HashMap};

use futures_util::future::{OptionFuture, join, join3};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use turnmill_model::{Changes, EventId, SenderId, SessionId, Settings};
use turnmill_sink::outbox::{encode, encode_rows};
use turnmill_sink::{
    Advance, Batch, Claim, EventLookup, HistoryPage, HistoryRequest, Locked, SenderClaim, StoreError,
    StoredCopies, Transaction,
};
use turnmill_sql::SqlType;
use uuid::Uuid;

use crate::PostgresStore;
use crate::connect::{Connection, Rivals};
use crate::failure::Failure;
use crate::history;
use crate::outbox::{self, SinkFacts};
use crate::patterns::{self, REVISION, SHARE_PATTERNS};
use crate::sql::{
    KNOWN, LETTER_NUMBERS, LOCK_POSITIONS, LOCK_TIMELINES, NEW_TIMELINES, READ_TIMELINES, SESSION_OWNERS,
};
use crate::steps::Step;
use crate::store::Gate;
use crate::value::{Array, integer};
use crate::write;

/// Returns the statements that begin a transaction and keep the patterns unchanged until its end.
fn begin() -> String {
    format!("BEGIN ISOLATION LEVEL READ COMMITTED; {SHARE_PATTERNS}")
}

/// A transaction of a [`PostgresStore`]. Rolls back if it is dropped before
/// [`commit`](Transaction::commit).
#[derive(Debug)]
pub struct PostgresTransaction<'s> {
    store: &'s mut PostgresStore,
    claim: &'s Claim,
    locked: Vec<Locked>,
    patterns: u64,
    sinks: SinkFacts,
    /// Entries of the outbox for rows that were written before the batch.
    entries: Vec<Vec<u8>>,
    /// Set if a statement has failed: the transaction can only be rolled back.
    failed: bool,
    ended: bool,
}

impl Drop for PostgresTransaction<'_> {
    fn drop(&mut self) {
        if let (false, Ok(connection)) = (self.ended, self.store.connection()) {
            connection.roll_back();
        }
    }
}

impl<'s> PostgresTransaction<'s> {
    /// Begins, and locks what is claimed: positions first, then senders, both in order.
    pub(crate) async fn begin(store: &'s mut PostgresStore, claim: &'s Claim) -> Result<Self, StoreError> {
        let new_positions = store.sql.new_positions.clone();
        let revision = store.sql.revision_and_sinks.clone();
        let connection = store.connected().await?;
        let statements = [&new_positions, &revision, LOCK_POSITIONS, NEW_TIMELINES, LOCK_TIMELINES];
        connection.prepare(&statements).await?;
        let mut tx = Self {
            store,
            claim,
            locked: Vec::new(),
            patterns: 0,
            sinks: SinkFacts::default(),
            entries: Vec::new(),
            failed: false,
            ended: false,
        };
        tx.lock(&new_positions).await?;
        Ok(tx)
    }

    /// Begins to read the claimed senders as they are now. Locks and writes nothing, so a standby
    /// or a user with read privileges is enough.
    pub(crate) async fn begin_to_read(
        store: &'s mut PostgresStore,
        claim: &'s Claim,
    ) -> Result<Self, StoreError> {
        let connection = store.connected().await?;
        connection.prepare(&[REVISION, READ_TIMELINES]).await?;
        let mut tx = Self {
            store,
            claim,
            locked: Vec::new(),
            patterns: 0,
            sinks: SinkFacts::default(),
            entries: Vec::new(),
            failed: false,
            ended: false,
        };
        let connection = tx.store.connection()?;
        let begin = connection.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await;
        begin.map_err(|error| connection.fail(error, "beginning to read"))?;
        let patterns = query(connection, REVISION, &[]).await?;
        let patterns = patterns.map_err(|error| connection.fail(error, "reading the patterns' revision"))?;
        tx.patterns = patterns::revision(connection, &patterns)?;
        let rows = query(connection, READ_TIMELINES, &sender_columns(claim)).await?;
        let rows = rows.map_err(|error| connection.fail(error, "reading senders"))?;
        let mut states = states(connection, &rows)?;
        let state = |claim: &SenderClaim| states.remove(&claim.sender.0).unwrap_or(Locked::Absent);
        tx.locked = claim.senders.iter().map(state).collect();
        Ok(tx)
    }

    /// Sends `BEGIN` and all locking statements in one round trip.
    ///
    /// Invariant: every writer locks in the same order, positions by key and then senders by id, so
    /// two writers can wait for each other but never in a circle. Example: one batch has events of
    /// the senders `u1` and `u2`, the batch of another process has `u2` and `u1`. Both lock `u1`
    /// first. The second writer waits there, and reads both states after the first has committed.
    ///
    /// Statements are sent without waiting for answers. If one fails, the server ignores those sent
    /// after it, and the roll-back releases the locks taken before it.
    async fn lock(&mut self, new_positions: &str) -> Result<(), StoreError> {
        let (connection, gate, claim) = (self.store.connection()?, &self.store.gate, self.claim);
        gate.begin();
        gate.pass()?;
        let mut advances: Vec<&Advance> = claim.advances.iter().collect();
        advances.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        let (stand, new): (Vec<&Advance>, Vec<&Advance>) =
            advances.into_iter().partition(|advance| advance.from.is_some());
        let new_senders: Vec<Uuid> =
            claim.senders.iter().filter(|claim| claim.cached.is_none()).map(|claim| claim.sender.0).collect();
        // Statements without rows are left out. Answers are checked in the order in which the
        // statements were sent, so that the error reported is the first one and not its
        // consequence.
        let insert_positions = Step::arrays("new positions", new_positions, keys(&new, true))
            .must_win(new.len(), format!("a position that was absent is stored now: {}", places(&new)));
        let select = [keys(&stand, false), sender_columns(claim)];
        let positions = query(connection, LOCK_POSITIONS, &select[0]);
        let insert_senders = Step::arrays(
            "new senders",
            NEW_TIMELINES,
            vec![Array::of(SqlType::Uuid, new_senders.iter().copied())],
        );
        let senders = query(connection, LOCK_TIMELINES, &select[1]);

        for present in
            [!new.is_empty(), !stand.is_empty(), !new_senders.is_empty(), !claim.senders.is_empty()]
        {
            if present && gate.pass().is_err() {
                // Begins all the same, so that there is a transaction to roll back.
                let begun = connection.batch_execute(&begin()).await;
                begun.map_err(|error| connection.fail(error, "beginning a transaction"))?;
                return Err(Gate::failure());
            }
        }
        let begin = begin();
        let (begun, patterns, (inserted, stored, (known, locked))) = {
            let begin = connection.batch_execute(&begin);
            let patterns = query(connection, &self.store.sql.revision_and_sinks, &[]);
            let insert_positions =
                OptionFuture::from((!new.is_empty()).then(|| connection.run_one(&insert_positions)));
            let positions = OptionFuture::from((!stand.is_empty()).then_some(positions));
            let insert_senders =
                OptionFuture::from((!new_senders.is_empty()).then(|| connection.run_one(&insert_senders)));
            let senders = OptionFuture::from((!claim.senders.is_empty()).then_some(senders));
            let senders = join(insert_senders, senders);
            join3(begin, patterns, join3(insert_positions, positions, senders)).await
        };
        begun.map_err(|error| connection.fail(error, "beginning a transaction"))?;
        let patterns = patterns?.map_err(|error| connection.fail(error, "reading the patterns' revision"))?;
        self.patterns = patterns::revision(connection, &patterns)?;
        self.sinks = SinkFacts::read(connection, &patterns)?;
        if let Some(inserted) = inserted {
            let rows = inserted?.map_err(|error| connection.fail(error, "locking new positions"))?;
            insert_positions.check(rows)?;
        }
        if let Some(stored) = stored {
            let rows = stored?.map_err(|error| connection.fail(error, "locking positions"))?;
            compare(connection, &stand, rows)?;
        }
        if let Some(known) = known {
            known?.map_err(|error| connection.fail(error, "adding new senders"))?;
        }
        if let Some(locked) = locked {
            let mut rows = locked?.map_err(|error| connection.fail(error, "locking senders"))?;
            if rows.len() < claim.senders.len() {
                // A sender that the caller has cached was deleted meanwhile, by an erasure for
                // example. It is new again: make a row to lock for each that lacks one, then lock
                // again. `NEW_TIMELINES` skips the rows that exist and are locked already.
                let all = claim.senders.iter().map(|claim| claim.sender.0);
                let insert = Step::arrays("new senders", NEW_TIMELINES, vec![Array::of(SqlType::Uuid, all)]);
                connection.run(std::slice::from_ref(&insert), Rivals::Possible).await?;
                let again = query(connection, LOCK_TIMELINES, &select[1]).await?;
                rows = again.map_err(|error| connection.fail(error, "locking senders"))?;
            }
            self.locked = locked_states(connection, claim, &rows)?;
        }
        Ok(())
    }

    /// Executes steps in order, without waiting for each answer.
    async fn run(&mut self, steps: Vec<Step>) -> Result<(), StoreError> {
        let store = &mut *self.store;
        let statements: Vec<&str> = steps.iter().filter_map(Step::to_prepare).collect();
        self.failed = true;
        let connection = store.connection.as_mut().ok_or_else(Gate::failure)?;
        connection.prepare(&statements).await?;
        let allowed = store.gate.allow(steps.len());
        // A state that the caller has cached may be older than the store, after a restored backup.
        // Without a sender nothing is locked.
        let senders = &self.claim.senders;
        let fresh = !senders.is_empty() && senders.iter().all(|claim| claim.cached.is_none());
        let rivals = if fresh { Rivals::Excluded } else { Rivals::Possible };
        connection.run(steps.get(..allowed).unwrap_or(&steps), rivals).await?;
        if allowed < steps.len() {
            return Err(Gate::failure());
        }
        self.failed = false;
        Ok(())
    }

    /// Takes numbers for dead letters.
    async fn letter_numbers(&mut self, count: usize) -> Result<Vec<u64>, StoreError> {
        let doing = "reserving numbers for dead letters";
        let rows = self.select(LETTER_NUMBERS, &[&integer(count as u64)], doing).await?;
        let connection = self.store.connection()?;
        let number = |row: &Row| row.try_get(0).map(|number: i64| u64::try_from(number).unwrap_or_default());
        rows.iter().map(number).collect::<Result<_, _>>().map_err(|error| connection.fail(error, doing))
    }

    async fn select(
        &mut self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
        doing: &str,
    ) -> Result<Vec<Row>, StoreError> {
        let connection = self.store.connection.as_mut().ok_or_else(Gate::failure)?;
        connection.prepare(&[sql]).await?;
        self.store.gate.pass()?;
        let rows = connection.query(connection.statement(sql)?, parameters).await;
        rows.map_err(|error| connection.fail(error, doing))
    }
}

/// Sends a prepared query. The outer error is that the statement was not prepared, the inner one
/// the server's.
pub(crate) async fn query(
    connection: &Connection,
    sql: &str,
    columns: &[Array],
) -> Result<Result<Vec<Row>, Failure>, StoreError> {
    let parameters: Vec<&(dyn ToSql + Sync)> =
        columns.iter().map(|column| column as &(dyn ToSql + Sync)).collect();
    Ok(connection.query(connection.statement(sql)?, &parameters).await)
}

/// Returns columns of sources and partitions, and with `with_to` of the new positions.
fn keys(advances: &[&Advance], with_to: bool) -> Vec<Array> {
    let column =
        |value: fn(&Advance) -> &str| Array::of(SqlType::Text, advances.iter().map(|advance| value(advance)));
    let mut columns = vec![column(|advance| &advance.key.source), column(|advance| &advance.key.partition)];
    if with_to {
        columns.push(column(|advance| &advance.to));
    }
    columns
}

fn places(advances: &[&Advance]) -> String {
    advances.iter().map(|advance| advance.key.to_string()).collect::<Vec<_>>().join(", ")
}

fn sender_columns(claim: &Claim) -> Vec<Array> {
    let cached = claim.senders.iter().map(|claim| claim.cached);
    vec![
        Array::of(SqlType::Uuid, claim.senders.iter().map(|claim| claim.sender.0)),
        Array::of(SqlType::Integer, cached),
    ]
}

/// Checks that the stored positions are those that the claim advances from. Fails as fenced if
/// another consumer has moved one.
fn compare(connection: &Connection, claimed: &[&Advance], rows: Vec<Row>) -> Result<(), StoreError> {
    let mut stored: HashMap<(String, String), String> = HashMap::new();
    for row in rows {
        let values = row.try_get(0).and_then(|source| Ok((source, row.try_get(1)?, row.try_get(2)?)));
        let (source, partition, position) =
            values.map_err(|error| connection.fail(error, "reading positions"))?;
        stored.insert((source, partition), position);
    }
    for advance in claimed {
        let key = (advance.key.source.clone(), advance.key.partition.clone());
        advance.check(stored.get(&key).map(String::as_str))?;
    }
    Ok(())
}

/// Returns the states in the claim's order.
fn locked_states(connection: &Connection, claim: &Claim, rows: &[Row]) -> Result<Vec<Locked>, StoreError> {
    let states = states(connection, rows)?;
    let state = |claim: &SenderClaim| {
        let missing = || StoreError::Fenced { detail: format!("sender {} was deleted", claim.sender) };
        states.get(&claim.sender.0).cloned().ok_or_else(missing)
    };
    claim.senders.iter().map(state).collect()
}

/// Returns states by sender. Version 0 is a row made only to be locked. A missing state means that
/// the cached version is still current.
fn states(connection: &Connection, rows: &[Row]) -> Result<HashMap<Uuid, Locked>, StoreError> {
    let mut states: HashMap<Uuid, Locked> = HashMap::with_capacity(rows.len());
    for row in rows {
        let values = row.try_get(0).and_then(|id: Uuid| Ok((id, row.try_get(1)?, row.try_get(2)?)));
        let (sender, version, state): (Uuid, i64, Option<Vec<u8>>) =
            values.map_err(|error| connection.fail(error, "reading timelines"))?;
        let locked = match (u64::try_from(version).unwrap_or_default(), state) {
            (0, _) => Locked::Absent,
            (_, None) => Locked::Current,
            (version, Some(state)) => Locked::Loaded { version, state },
        };
        states.insert(sender, locked);
    }
    Ok(states)
}

fn texts(ids: impl IntoIterator<Item = Uuid>) -> Array {
    // Each id once and in order, so that neighbours in the index are looked up together.
    let ids: BTreeSet<Uuid> = ids.into_iter().collect();
    Array::of(SqlType::IdText, ids)
}

impl Transaction for PostgresTransaction<'_> {
    fn settings(&self) -> &Settings {
        &self.store.row_settings
    }

    fn patterns_revision(&self) -> u64 {
        self.patterns
    }

    async fn timelines(&mut self) -> Result<Vec<Locked>, StoreError> {
        Ok(std::mem::take(&mut self.locked))
    }

    async fn known(&mut self, events: &[EventLookup]) -> Result<Vec<StoredCopies>, StoreError> {
        // Keys in order, so that neighbours in the index are looked up together. `number` leads
        // from a row found to the caller's place in `events`.
        let mut order: Vec<usize> = (0..events.len()).collect();
        order.sort_unstable_by_key(|number| events[*number].key);
        let ids =
            |id: &dyn Fn(usize) -> Uuid| Array::of(SqlType::IdText, order.iter().map(|number| id(*number)));
        let numbers = Array::of(SqlType::Integer, order.iter().map(|number| *number as u64));
        let least = ids(&|number| events[number].key.first().0);
        let greatest = ids(&|number| events[number].key.last().0);
        let senders = ids(&|number| events[number].sender.0);
        let doing = "looking for known events";
        let rows = self.select(KNOWN, &[&numbers, &least, &greatest, &senders], doing).await?;
        let connection = self.store.connection()?;
        let mut found = vec![StoredCopies::default(); events.len()];
        for row in rows {
            let pair = row.try_get(0).and_then(|number: i64| Ok((number, row.try_get::<_, &str>(1)?)));
            let (number, id) = pair.map_err(|error| connection.fail(error, doing))?;
            let known = usize::try_from(number).ok().and_then(|number| found.get_mut(number));
            if let (Some(known), Ok(id)) = (known, Uuid::parse_str(id)) {
                known.ids.push(EventId(id));
            }
        }
        Ok(found)
    }

    async fn session_owners(&mut self, ids: &[SessionId]) -> Result<Vec<Option<SenderId>>, StoreError> {
        let wanted = texts(ids.iter().map(|id| id.0));
        let doing = "looking for sessions";
        let rows = self.select(SESSION_OWNERS, &[&wanted], doing).await?;
        let connection = self.store.connection()?;
        let mut owners = HashMap::new();
        for row in rows {
            let pair = row.try_get(0).and_then(|id: &str| Ok((id, row.try_get::<_, &str>(1)?)));
            let (id, owner) = pair.map_err(|error| connection.fail(error, doing))?;
            let (Ok(session), Ok(sender)) = (Uuid::parse_str(id), Uuid::parse_str(owner)) else {
                return Err(StoreError::Damaged { detail: format!("session {id} has the sender `{owner}`") });
            };
            owners.insert(session, SenderId(sender));
        }
        Ok(ids.iter().map(|id| owners.get(&id.0).copied()).collect())
    }

    async fn histories(&mut self, requests: &[HistoryRequest]) -> Result<Vec<HistoryPage>, StoreError> {
        let connection = self.store.connection.as_mut().ok_or_else(Gate::failure)?;
        connection.prepare(&history::STATEMENTS).await?;
        for _ in history::STATEMENTS {
            self.store.gate.pass()?;
        }
        history::pages(self.store.connection()?, requests).await
    }

    async fn write_rows(&mut self, changes: &Changes) -> Result<(), StoreError> {
        if self.store.settings.read_only {
            return Err(self.store.reading_only());
        }
        let mut steps = Vec::new();
        write::changes(&self.store.sql, changes, &write::begun(changes), &mut steps)?;
        // The entry is written with those of the batch: its number is the last lock.
        self.entries.extend(encode_rows(changes, self.sinks.wanted));
        self.run(steps).await
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        if self.store.settings.read_only {
            return Err(self.store.reading_only());
        }
        let numbers = if self.sinks.wanted.dead_letters && !batch.dead_letters.is_empty() {
            self.letter_numbers(batch.dead_letters.len()).await?
        } else {
            Vec::new()
        };
        let mut steps = write::steps(&self.store.sql, batch, &numbers)?;
        let mut entries = std::mem::take(&mut self.entries);
        entries.extend(encode(batch, self.sinks.wanted, &numbers));
        for entry in entries {
            // The last lock, so that numbers have the order of commits.
            steps.extend(outbox::steps(&self.store.sql.outbox, &entry, self.sinks));
        }
        self.run(steps).await
    }

    async fn commit(mut self) -> Result<(), StoreError> {
        if self.failed {
            let detail = "a transaction in which a statement has failed cannot be committed".into();
            return Err(StoreError::Unavailable { detail, source: None });
        }
        let moved: Vec<&Advance> =
            self.claim.advances.iter().filter(|advance| advance.from.is_some()).collect();
        let mut steps = Vec::new();
        if !moved.is_empty() {
            let update =
                Step::arrays("moving positions", &self.store.sql.position.update, keys(&moved, true));
            // The rows are locked, so they exist.
            steps.push(update.must_find(moved.len(), "_turnmill_position lacks a position"));
        }
        steps.push(Step::plain("committing", "COMMIT"));
        self.run(steps).await?;
        self.ended = true;
        Ok(())
    }
}

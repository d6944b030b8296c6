//! Writes a batch: each table's changes become one or a few statements.
//!
//! The order of the statements is fixed. First go removals of whole senders, then the changes of
//! rows, then the internal tables (timelines, history, checkpoints, dead letters), last the ledger.
//! All of it is one transaction, so readers see a batch completely or not at all.
//!
//! A late event shows why a batch also updates and deletes:
//!
//! ```text
//! stored:  u1: hi(10:00), bye(10:02)
//! batch:   u1: hello(09:59)   late: it comes before the event that began the session
//! ```
//!
//! The engine has replayed `u1` and hands over only the difference. The rows of `hello` are
//! inserts. Without an id from Rasa, a session's id comes from the event that began it. So the old
//! row of `rasa_session` is a delete, the new one an insert, and the rows of `hi` and `bye` are
//! updates that name the new session. The timeline's new state, the chunk of history that now holds
//! `hello`, and the checkpoints after it go into the same transaction.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use turnmill_model::tables::Value;
use turnmill_model::{Changes, EventTime, Key, RowView, SenderId, SessionId, TableChanges};
use turnmill_sink::{Batch, CheckpointWrite, DeadLetter, HistoryStretch, HistoryWrite, StoreError};
use turnmill_sql::upkeep::Removal;
use turnmill_sql::{SqlType, facts, headers};
use uuid::Uuid;

use crate::sql::{CHECK_NOW, DELETE_CHECKPOINTS, DELETE_DEAD_LETTERS, Sql, TableSql};
use crate::steps::Step;
use crate::upkeep::NOTE_PROGRESS;
use crate::value::{Array, CopyRows, Datum};

/// Number of rows from which on they are copied. Fewer go as arrays: a COPY waits for the server
/// before it sends rows, and arrays do not.
const COPY_FROM: usize = 64;

/// Returns the statements of a batch, in order. `numbers` are those of its dead letters, if they
/// were taken before.
pub(crate) fn steps(sql: &Sql, batch: &Batch, numbers: &[u64]) -> Result<Vec<Step>, StoreError> {
    let mut steps = Vec::with_capacity(40);
    remove(&sql.clear, batch.cleared.iter().chain(&batch.forgotten), &mut steps);
    remove(&sql.forget, batch.forgotten.iter(), &mut steps);
    // A rebuild may find damage, such as slot states whose session is gone. It replaces them.
    let fresh = if batch.cleared.is_empty() { begun(&batch.changes) } else { HashSet::new() };
    changes(sql, &batch.changes, &fresh, &mut steps)?;
    timelines(sql, batch, &mut steps);
    history(sql, &batch.history, &mut steps);
    checkpoints(sql, &batch.checkpoints, &mut steps);
    dead_letters(sql, batch, numbers, &mut steps);
    steps.push(Step::plain("checking deferred constraints", CHECK_NOW));
    if let Some(sender) = batch.rebuilt {
        let columns = vec![Array::of(SqlType::IdText, [sender.0])];
        steps.push(
            Step::arrays("progress of the rebuild", NOTE_PROGRESS, columns)
                .must_win(1, "another process has ended the rebuild"),
        );
    }
    // The ledger comes last, because all writers of a source wait for the lock on its row.
    ledger(sql, batch, &mut steps);
    Ok(steps)
}

fn remove<'s>(removals: &[Removal], senders: impl Iterator<Item = &'s SenderId>, steps: &mut Vec<Step>) {
    let senders: Vec<Uuid> = senders.map(|sender| sender.0).collect();
    if senders.is_empty() {
        return;
    }
    steps.extend(removals.iter().map(|Removal { sql, ty }| {
        Step::arrays("deleting rows of senders", sql, vec![Array::of(*ty, senders.iter().copied())])
    }));
}

/// Writes rows: inserts, updates and ends table by table, then deletes in the opposite order.
///
/// Tables come parents first. So a row is inserted after the row that it refers to and deleted
/// before it, which is what checked foreign keys demand: `rasa_session` before `rasa_event` on the
/// way in, `rasa_event` before `rasa_session` on the way out.
///
/// The rows of sessions `fresh`, which the changes begin, are in no table yet.
pub(crate) fn changes(
    sql: &Sql,
    changes: &Changes,
    fresh: &HashSet<SessionId>,
    steps: &mut Vec<Step>,
) -> Result<(), StoreError> {
    let mut deletes = Vec::new();
    let mut result = Ok(());
    changes.for_each_table(|changes| match sql.tables.get(changes.table.name) {
        Some(table) => {
            write_table(table, &changes, fresh, steps);
            deletes.extend(delete(table, &changes));
        }
        None => {
            let detail = format!("bug in turnmill: rows of an unknown table {}", changes.table.name);
            result = Err(StoreError::Unusable { detail, source: None });
        }
    });
    steps.extend(deletes.into_iter().rev());
    result
}

/// Returns the sessions that the changes begin. None of their rows is stored, because rows refer to
/// a stored session.
pub(crate) fn begun(changes: &Changes) -> HashSet<SessionId> {
    changes.sessions.inserts.iter().map(|session| session.id).collect()
}

fn write_table(
    table: &TableSql,
    changes: &TableChanges<'_>,
    fresh: &HashSet<SessionId>,
    steps: &mut Vec<Step>,
) {
    let rows = changes.inserts;
    let session = changes.table.column("session_id");
    // A slot state replaces the stored one, but most are the first of their session. Looking for a
    // stored one costs about as much as inserting.
    let is_new = |row: &usize| match session.map(|column| rows.value(*row, column)) {
        _ if !table.by_key => true,
        Some(Value::Id(session)) => fresh.contains(&SessionId(session)),
        _ => false,
    };
    let (mut new, mut others): (Vec<usize>, Vec<usize>) = by_id(rows).into_iter().partition(is_new);
    if new.len() < COPY_FROM {
        others.append(&mut new);
    } else {
        let mut copy = CopyRows::new();
        for row in new {
            copy.begin_row(table.types.len());
            for (column, ty) in table.types.iter().enumerate() {
                copy.put(rows.value(row, column).into(), *ty);
            }
        }
        steps.push(Step::copy(table.name, &table.copy_in, copy.finish()));
    }
    if !others.is_empty() {
        steps.push(Step::arrays(table.name, &table.insert, columns(table, rows, &others)));
    }
    if !changes.updates.is_empty() {
        let (count, name) = (changes.updates.len(), table.name);
        let order = by_id(changes.updates);
        steps.push(
            Step::arrays(name, &table.update, columns(table, changes.updates, &order))
                .must_find(count, format!("{name} lacks a row to update")),
        );
    }
    if !changes.ends.is_empty() {
        let name = table.name;
        let id = table.types.first().copied().unwrap_or(SqlType::IdText);
        let ids = Array::of(id, changes.ends.iter().map(|end| end.id));
        let ends = Array::of(SqlType::Integer, changes.ends.iter().map(|end| end.end_sequence_number));
        steps.push(
            Step::arrays(name, &table.update_end, vec![ids, ends])
                .must_find(changes.ends.len(), format!("{name} lacks a row to update")),
        );
    }
}

/// Returns the numbers of rows in the order of their ids.
///
/// The engine hands rows over sender by sender. Ids of events begin with their time, so sorted by
/// id a batch goes to the end of the primary key. Unsorted, it would touch pages all over its last
/// minutes. Sorted, neighbours share a page, pages fill up before they split, and the write-ahead
/// log holds fewer of them. Block ranges of times become narrower as well.
fn by_id(rows: RowView<'_>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_cached_key(|row| match rows.value(*row, 0) {
        Value::Id(id) => (Some(id), ""),
        Value::Text(text) => (None, text),
        _ => (None, ""),
    });
    order
}

/// Returns whole columns, with the rows in this order.
fn columns(table: &TableSql, rows: RowView<'_>, order: &[usize]) -> Vec<Array> {
    let column = |(column, ty): (usize, &SqlType)| {
        Array::of(*ty, order.iter().map(|row| Datum::from(rows.value(*row, column))))
    };
    table.types.iter().enumerate().map(column).collect()
}

fn delete(table: &TableSql, changes: &TableChanges<'_>) -> Option<Step> {
    let id = table.types.first().copied()?;
    let keys = changes.deletes.iter().map(|key| match key {
        Key::Id(id) => Datum::from(*id),
        Key::Path(path) => Datum::from(changes.texts.get(*path)),
    });
    let (count, name) = (changes.deletes.len(), table.name);
    (count > 0).then(|| {
        Step::arrays(name, &table.delete, vec![Array::of(id, keys)])
            .must_find(count, format!("{name} lacks a row to delete"))
    })
}

/// Updates the state of each sender. The rows exist: locking made those of new senders, without a
/// state.
fn timelines(sql: &Sql, batch: &Batch, steps: &mut Vec<Step>) {
    let timelines = &batch.timelines;
    if timelines.is_empty() {
        return;
    }
    let columns = vec![
        Array::of(SqlType::Uuid, timelines.iter().map(|timeline| timeline.sender.0)),
        Array::of(SqlType::Integer, timelines.iter().map(|timeline| timeline.version)),
        Array::of(SqlType::Bytes, timelines.iter().map(|timeline| timeline.state.as_slice())),
    ];
    steps.push(
        Step::arrays("timelines of senders", &sql.timeline.update, columns)
            .must_find(timelines.len(), "_turnmill_timeline lacks the row of a sender"),
    );
}

fn history(sql: &Sql, writes: &[HistoryWrite], steps: &mut Vec<Step>) {
    let table = &sql.history;
    let (replaced, new): (Vec<_>, Vec<_>) = writes.iter().partition(|write| write.replaces);
    let row = |write: &HistoryWrite| -> [Datum<'static>; 4] {
        [
            write.sender.0.into(),
            write.chunk.number.into(),
            write.chunk.least.seconds().into(),
            write.chunk.greatest.seconds().into(),
        ]
    };
    if new.len() >= COPY_FROM {
        let mut copy = CopyRows::new();
        for write in &new {
            copy.begin_row(table.types.len());
            let values = row(write).into_iter().chain([write.chunk.bytes.as_slice().into()]);
            values.zip(&table.types).for_each(|(value, ty)| copy.put(value, *ty));
        }
        steps.push(Step::copy(table.name, &table.copy_in, copy.finish()));
    }
    let arrays = |writes: &[&HistoryWrite]| {
        let mut columns: Vec<Array> = table.types.iter().map(|ty| Array::new(*ty)).collect();
        for write in writes {
            let values = row(write).into_iter().chain([write.chunk.bytes.as_slice().into()]);
            columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
        }
        columns
    };
    if !new.is_empty() && new.len() < COPY_FROM {
        steps.push(Step::arrays(table.name, &table.insert, arrays(&new)));
    }
    if !replaced.is_empty() {
        let chunks: Vec<String> = replaced
            .iter()
            .map(|write| format!("chunk {} of sender {}", write.chunk.number, write.sender))
            .collect();
        steps.push(
            Step::arrays(table.name, &table.update, arrays(&replaced))
                .must_find(replaced.len(), format!("the store lacks one of {}", chunks.join(", "))),
        );
    }
}

/// Replaces checkpoints: empties the stretches of time that the batch has replayed, then inserts.
///
/// One statement empties all stretches and one inserts all checkpoints. A batch may hold several
/// writes of one sender, and a later one may empty what an earlier one inserted. So the loop
/// applies the writes in memory in their order, and only what is left is inserted.
///
/// ```text
/// first write:   stretch after 10:00, new checkpoints at 10:05 and 10:10
/// second write:  stretch after 10:07 (a late event at 10:08), new checkpoint at 10:12
/// inserted:      10:05 and 10:12; the state at 10:10 lacked the late event
/// ```
///
/// Invariant: after each turn of the loop `kept` holds the checkpoints that executing the writes so
/// far, one by one, would have left.
fn checkpoints(sql: &Sql, writes: &[CheckpointWrite], steps: &mut Vec<Step>) {
    if writes.is_empty() {
        return;
    }
    let bounds = |write: &CheckpointWrite| {
        let HistoryStretch { after, before } = write.stretch;
        (
            after.map_or(f64::NEG_INFINITY, EventTime::seconds),
            before.map_or(f64::INFINITY, EventTime::seconds),
        )
    };
    let columns = vec![
        Array::of(SqlType::Uuid, writes.iter().map(|write| write.sender.0)),
        Array::of(SqlType::Float, writes.iter().map(|write| bounds(write).0)),
        Array::of(SqlType::Float, writes.iter().map(|write| bounds(write).1)),
    ];
    steps.push(Step::arrays("checkpoints of senders", DELETE_CHECKPOINTS, columns));
    let mut kept: BTreeMap<(Uuid, EventTime), &[u8]> = BTreeMap::new();
    for write in writes {
        let (after, before) = bounds(write);
        let sender = write.sender.0;
        kept.retain(|(owner, time), _| {
            *owner != sender || time.seconds() <= after || time.seconds() >= before
        });
        let new = write.checkpoints.iter().map(|new| ((sender, new.time), new.state.as_slice()));
        kept.extend(new);
    }
    if kept.is_empty() {
        return;
    }
    let columns = vec![
        Array::of(SqlType::Uuid, kept.keys().map(|(sender, _)| *sender)),
        Array::of(SqlType::Float, kept.keys().map(|(_, time)| time.seconds())),
        Array::of(SqlType::Bytes, kept.values().copied()),
    ];
    steps.push(Step::arrays("checkpoints of senders", &sql.checkpoint.insert, columns));
}

fn dead_letters(sql: &Sql, batch: &Batch, numbers: &[u64], steps: &mut Vec<Step>) {
    if !batch.retried.is_empty() {
        let ids = Array::of(SqlType::Integer, batch.retried.iter().copied());
        steps.push(Step::arrays("removing dead letters", DELETE_DEAD_LETTERS, vec![ids]).must_win(
            batch.retried.len(),
            format!("one of the dead letters {} was retried by another process", listed(&batch.retried)),
        ));
    }
    if batch.dead_letters.is_empty() {
        return;
    }
    let table = &sql.dead_letter;
    let mut columns: Vec<Array> = table.types.iter().map(|ty| Array::new(*ty)).collect();
    for letter in &batch.dead_letters {
        push_letter(&mut columns, letter);
    }
    if numbers.is_empty() {
        steps.push(Step::arrays(table.name, &table.insert, columns));
    } else {
        columns.insert(0, Array::of(SqlType::Integer, numbers.iter().copied()));
        steps.push(Step::arrays(table.name, &sql.numbered_dead_letter, columns));
    }
}

fn push_letter(columns: &mut [Array], letter: &DeadLetter) {
    let headers = headers::write(&letter.headers);
    let (place, detail) = (storable(&letter.place), storable(&letter.detail));
    let (sender, environment) =
        (letter.sender.as_deref().map(storable), letter.environment.as_deref().map(storable));
    let facts = facts::write(&letter.facts);
    let values: [Datum<'_>; 13] = [
        letter.key.source.as_str().into(),
        letter.key.partition.as_str().into(),
        place.as_ref().into(),
        letter.reason.as_str().into(),
        detail.as_ref().into(),
        letter.payload.as_slice().into(),
        sender.as_deref().into(),
        letter.time.into(),
        environment.as_deref().into(),
        letter.record_key.as_deref().into(),
        headers.as_str().into(),
        letter.row.into(),
        facts.as_deref().into(),
    ];
    columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
}

/// Removes NUL, which PostgreSQL's texts cannot hold. Values of rows never have it.
fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "").into() } else { text.into() }
}

fn ledger(sql: &Sql, batch: &Batch, steps: &mut Vec<Step>) {
    if batch.ledger.is_empty() {
        return;
    }
    let table = &sql.ledger;
    let mut columns: Vec<Array> = table.types.iter().map(|ty| Array::new(*ty)).collect();
    for (source, counts) in &batch.ledger {
        let values: [Datum<'_>; 9] = [
            source.as_str().into(),
            counts.records.into(),
            counts.events.into(),
            counts.duplicates.into(),
            counts.anonymised.into(),
            counts.dead_letters.into(),
            counts.skipped.into(),
            counts.changed.into(),
            counts.parts.into(),
        ];
        columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
    }
    steps.push(Step::arrays(table.name, &table.insert, columns));
}

/// Formats numbers for a message.
fn listed(numbers: &[u64]) -> String {
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

//! A snapshot: the stored rows, in pages.

use turnmill_model::tables::PUBLIC;

use super::change::{DEAD_LETTER_COLUMNS, DEAD_LETTERS, public};
use super::encoding::{dead_letter_values, encode_page};
use super::{
    ChangeBatch, ChangeValue, Operation, Origin, Outbox, Scope, SinkPosition, SnapshotCursor, columns,
};
use crate::StoreError;

/// Returns the page of a snapshot at `cursor`, and the position of the sink after that page. The
/// page has at most `limit` rows and may be empty. The entries after `number` follow the snapshot.
///
/// Pages are read at different times. If a row changes meanwhile, its change follows in the outbox,
/// after the snapshot. Operations are idempotent, so the sink ends with the rows of the store.
///
/// # Errors
///
/// Returns the error of the store.
pub async fn snapshot_page<S: Outbox>(
    store: &mut S,
    scope: Scope,
    number: u64,
    cursor: &SnapshotCursor,
    limit: usize,
) -> Result<(ChangeBatch, SinkPosition), StoreError> {
    let at = |snapshot| SinkPosition { number, snapshot };
    let origin = Origin::Snapshot { after: number, page: cursor.to_string().replace(' ', "-").into() };
    let tables: Vec<&str> = match scope {
        Scope::All => PUBLIC.iter().map(|table| table.name).chain([DEAD_LETTERS]).collect(),
        Scope::DeadLetters => vec![DEAD_LETTERS],
    };
    let Some((table, after)) = &cursor.after else {
        let first = tables.first().map(|table| SnapshotCursor::after(table, ""));
        return Ok((page(origin, Operation::Reset, "", &[], &[Vec::new()])?, at(first)));
    };
    let names: Vec<&str>;
    let rows: Vec<Vec<ChangeValue<'_>>>;
    let letters;
    if **table == *DEAD_LETTERS {
        letters = store.dead_letters(after.parse().unwrap_or(0), limit).await?;
        names = DEAD_LETTER_COLUMNS.into();
        rows = letters.iter().map(|letter| dead_letter_values(letter.id, letter)).collect();
    } else {
        let unknown = || StoreError::Damaged {
            detail: format!("a snapshot is at the table `{table}`, which does not exist"),
        };
        let described = public(table).ok_or_else(unknown)?;
        rows = store.rows_after(described, after, limit).await?;
        names = columns(described).map(|(_, column)| column.name).collect();
    }
    let last = rows.last().filter(|_| rows.len() >= limit).and_then(|row| match row.first() {
        Some(ChangeValue::Text(key)) => Some(key.to_string()),
        Some(ChangeValue::Integer(key)) => Some(key.to_string()),
        _ => None,
    });
    let next = match last {
        Some(key) => Some(SnapshotCursor::after(table, &key)),
        None => {
            let following = tables.iter().skip_while(|name| **name != &**table).nth(1);
            following.map(|table| SnapshotCursor::after(table, ""))
        }
    };
    Ok((page(origin, Operation::Put, table, &names, &rows)?, at(next)))
}

fn page(
    origin: Origin,
    operation: Operation,
    table: &str,
    columns: &[&str],
    rows: &[Vec<ChangeValue<'_>>],
) -> Result<ChangeBatch, StoreError> {
    let damaged =
        || StoreError::Damaged { detail: format!("rows of `{table}` do not have the columns of the table") };
    ChangeBatch::new(origin, encode_page(operation, table, columns, rows)).ok_or_else(damaged)
}

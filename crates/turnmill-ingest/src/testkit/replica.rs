//! A sink that keeps all rows in memory: what any sink that follows the rules ends with.

use std::collections::{BTreeMap, BTreeSet};

use turnmill_model::tables::{Owner, PUBLIC, Value};
use turnmill_sink::digest::Digests;
use turnmill_sink::outbox::{ChangeBatch, ChangeValue, DEAD_LETTERS, Operation, RowChange};
use turnmill_sink::{Sink, SinkError};

/// A row: values by column.
type Row = BTreeMap<String, ChangeValue<'static>>;

/// The rows of all tables, made of changes alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replica {
    tables: BTreeMap<String, BTreeMap<String, Row>>,
}

impl Replica {
    /// Does what a batch says.
    pub fn apply(&mut self, batch: &ChangeBatch) {
        batch.rows().for_each(|row| self.change(row));
    }

    fn change(&mut self, change: RowChange<'_>) {
        let key = change.key();
        let row = || -> Row {
            change.fields().map(|(name, value)| (name.to_owned(), value.into_owned())).collect()
        };
        let table = match change.operation {
            Operation::Reset => return self.tables.clear(),
            Operation::Clear => return self.clear(&key),
            _ => self.tables.entry(change.table.to_owned()).or_default(),
        };
        match change.operation {
            Operation::Put => {
                table.insert(key, row());
            }
            Operation::Merge => match table.get_mut(&key) {
                None => {
                    table.insert(key, row());
                }
                Some(stored) => widen(stored, &row()),
            },
            Operation::Set => {
                if let Some(stored) = table.get_mut(&key) {
                    stored.extend(row());
                }
            }
            Operation::Delete => {
                table.remove(&key);
            }
            Operation::Reset | Operation::Clear => {}
        }
    }

    /// All rows of a sender go.
    fn clear(&mut self, sender: &str) {
        let text =
            |row: &Row, column: &str| row.get(column).and_then(ChangeValue::as_text).map(str::to_owned);
        // Keys of the sender's rows in a table that other rows refer to.
        let keys_in = |table: &str| -> BTreeSet<String> {
            let rows = self.tables.get(table).into_iter().flatten();
            let mine = rows.filter(|(_, row)| text(row, "sender_id").as_deref() == Some(sender));
            mine.map(|(key, _)| key.clone()).collect()
        };
        let (sessions, events) = (keys_in("rasa_session"), keys_in("rasa_event"));
        for table in PUBLIC {
            let (Some(owner), Some(rows)) = (table.owner(), self.tables.get_mut(table.name)) else {
                continue;
            };
            let of = |row: &Row, column: usize| text(row, table.columns[column].name).unwrap_or_default();
            rows.retain(|_, row| match owner {
                Owner::Sender(column) => of(row, column) != sender,
                Owner::Session(column) => !sessions.contains(&of(row, column)),
                Owner::Event(column) => !events.contains(&of(row, column)),
            });
        }
    }

    /// The digests of the public tables, to compare with a store's.
    #[must_use]
    pub fn digests(&self) -> Digests {
        let mut digests = Digests::default();
        for table in PUBLIC {
            for row in self.tables.get(table.name).into_iter().flat_map(BTreeMap::values) {
                let value = |name| row.get(name).and_then(ChangeValue::as_value).unwrap_or(Value::Null);
                digests.add(table, table.columns.iter().map(|column| value(column.name)));
            }
        }
        digests
    }

    /// Numbers of the dead letters, ascending.
    #[must_use]
    pub fn dead_letters(&self) -> Vec<u64> {
        let rows = self.tables.get(DEAD_LETTERS).into_iter().flat_map(BTreeMap::values);
        let id = |row: &Row| row.get("id").and_then(ChangeValue::as_integer);
        let mut ids: Vec<u64> = rows.filter_map(id).filter_map(|id| u64::try_from(id).ok()).collect();
        ids.sort_unstable();
        ids
    }
}

/// Least `first_seen`, greatest `last_seen`.
fn widen(stored: &mut Row, row: &Row) {
    let time = |row: &Row, name: &str| match row.get(name) {
        Some(ChangeValue::DateTime(time)) => Some(*time),
        _ => None,
    };
    if let (Some(one), Some(other)) = (time(stored, "first_seen"), time(row, "first_seen")) {
        stored.insert("first_seen".into(), ChangeValue::DateTime(one.min(other)));
    }
    if let (Some(one), Some(other)) = (time(stored, "last_seen"), time(row, "last_seen")) {
        stored.insert("last_seen".into(), ChangeValue::DateTime(one.max(other)));
    }
}

impl Sink for Replica {
    async fn write(&mut self, batch: &ChangeBatch) -> Result<(), SinkError> {
        self.apply(batch);
        Ok(())
    }
}

//! Digests of tables. Equal digests mean equal rows, whatever the store and the order of writing.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest, Sha256};
use turnmill_model::tables::{PUBLIC, Table, Value};

/// Row count and digest of one table: the sum, modulo 2^256, of the SHA-256 of each row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableDigest {
    /// Number of rows.
    pub rows: u64,
    /// Little-endian 64-bit limbs of the sum.
    sum: [u64; 4],
}

impl TableDigest {
    /// Adds a row of `table`, whose values are given in column order. Columns of wall-clock time
    /// are skipped.
    pub fn add<'v>(&mut self, table: &Table, values: impl IntoIterator<Item = Value<'v>>) {
        let mut hash = Sha256::new();
        for (column, value) in table.columns.iter().zip(values) {
            if !column.wall_clock {
                add_value(&mut hash, value);
            }
        }
        self.rows += 1;
        let hash = hash.finalize();
        let mut carry = false;
        for (limb, bytes) in self.sum.iter_mut().zip(hash.chunks_exact(8)) {
            let mut word = [0; 8];
            word.copy_from_slice(bytes);
            let (sum, first) = limb.overflowing_add(u64::from_le_bytes(word));
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            *limb = sum;
            carry = first || second;
        }
    }
}

fn add_value(hash: &mut Sha256, value: Value<'_>) {
    match value {
        Value::Null => hash.update([0]),
        Value::Id(id) => {
            // An id has the digest of its text, because some stores have text columns for ids.
            let mut buffer = uuid::Uuid::encode_buffer();
            add_value(hash, Value::Text(id.as_hyphenated().encode_lower(&mut buffer)));
        }
        Value::Text(text) => {
            hash.update([1]);
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        Value::Integer(number) => {
            hash.update([2]);
            hash.update(number.to_le_bytes());
        }
        Value::Float(number) => {
            hash.update([3]);
            hash.update(number.to_bits().to_le_bytes());
        }
        Value::DateTime(time) => {
            hash.update([4]);
            hash.update(time.0.to_le_bytes());
        }
        Value::Boolean(truth) => hash.update([5, u8::from(truth)]),
    }
}

impl fmt::Display for TableDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sum.iter().rev().try_for_each(|limb| write!(f, "{limb:016x}"))
    }
}

/// Digests of all public tables.
///
/// ```
/// use turnmill_model::tables::{Value, RASA_USER};
/// use turnmill_sink::digest::Digests;
/// let row = |key| [Value::Text("id"), Value::Text(key), Value::Null, Value::Null];
/// let (mut one, mut other) = (Digests::default(), Digests::default());
/// one.add(&RASA_USER, row("a"));
/// one.add(&RASA_USER, row("b"));
/// other.add(&RASA_USER, row("b"));
/// other.add(&RASA_USER, row("a"));
/// assert_eq!(one.to_string(), other.to_string(), "order does not show");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    /// By table name. Every public table has an entry.
    pub tables: BTreeMap<&'static str, TableDigest>,
}

impl Default for Digests {
    fn default() -> Self {
        Self { tables: PUBLIC.iter().map(|table| (table.name, TableDigest::default())).collect() }
    }
}

impl Digests {
    /// Adds a row, see [`TableDigest::add`].
    pub fn add<'v>(&mut self, table: &'static Table, values: impl IntoIterator<Item = Value<'v>>) {
        self.tables.entry(table.name).or_default().add(table, values);
    }
}

impl fmt::Display for Digests {
    /// Writes one digest of all tables, 64 hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hash = Sha256::new();
        for (name, table) in &self.tables {
            hash.update(format!("{name} {} {table}\n", table.rows));
        }
        hash.finalize().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

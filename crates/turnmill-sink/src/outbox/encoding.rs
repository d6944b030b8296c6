//! The encoding of an entry of the outbox, as the module above describes it.

use turnmill_model::Key;
use turnmill_model::tables::{RASA_PATTERNS, RASA_USER, Value};
use uuid::Uuid;

use super::Wanted;
use super::batch::ChangeBatch;
use super::change::{ChangeValue, DEAD_LETTER_COLUMNS, DEAD_LETTERS, Operation, Origin, columns};
use crate::{Batch, DeadLetter, PatternSet, StoreError};

/// Version of the encoding, the first byte of an entry and `version` in JSON.
pub const VERSION: u8 = 1;

const PLAIN: u8 = 0;
const LZ4: u8 = 1;

pub(super) const KINDS: [Operation; 6] =
    [Operation::Reset, Operation::Clear, Operation::Put, Operation::Merge, Operation::Set, Operation::Delete];

/// Encodes the changes of a transaction that sinks need. `letters` are the numbers of its dead
/// letters. Returns `None` if there are no such changes.
#[must_use]
pub fn encode(batch: &Batch, wanted: Wanted, letters: &[u64]) -> Option<Vec<u8>> {
    let mut out = Encoder::default();
    if wanted.rows {
        out.rows(batch);
    }
    if wanted.dead_letters {
        out.dead_letters(&batch.dead_letters, letters, &batch.retried);
    }
    out.finish()
}

/// Encodes a change of the patterns.
#[must_use]
pub fn encode_patterns(set: &PatternSet, wanted: Wanted) -> Option<Vec<u8>> {
    let mut out = Encoder::default();
    if wanted.rows && !set.patterns.is_empty() {
        let names: Vec<&str> = columns(&RASA_PATTERNS).map(|(_, column)| column.name).collect();
        out.begin(Operation::Put, RASA_PATTERNS.name, &names, set.patterns.len());
        for pattern in &set.patterns {
            out.value(Value::Id(pattern.id));
            out.value(Value::Text(&pattern.name));
            out.value(pattern.description.as_deref().map_or(Value::Null, Value::Text));
            out.value(Value::Text(&pattern.config));
            out.value(Value::Boolean(pattern.is_active));
            out.value(Value::DateTime(pattern.created_at));
            out.value(Value::DateTime(pattern.updated_at));
        }
    }
    out.finish()
}

/// The values of a dead letter, in the order of [`DEAD_LETTER_COLUMNS`].
#[must_use]
pub(super) fn dead_letter_values(id: u64, letter: &DeadLetter) -> Vec<ChangeValue<'_>> {
    fn text(text: &str) -> ChangeValue<'_> {
        ChangeValue::Text(text.into())
    }
    fn optional(value: Option<ChangeValue<'_>>) -> ChangeValue<'_> {
        value.unwrap_or(ChangeValue::Null)
    }
    vec![
        ChangeValue::Integer(i64::try_from(id).unwrap_or(i64::MAX)),
        text(&letter.key.source),
        text(&letter.key.partition),
        text(&letter.place),
        text(letter.reason.as_str()),
        text(&letter.detail),
        ChangeValue::Bytes(letter.payload.as_slice().into()),
        optional(letter.sender.as_deref().map(text)),
        optional(letter.time.map(ChangeValue::Float)),
        optional(letter.environment.as_deref().map(text)),
        optional(letter.row.map(ChangeValue::Integer)),
        optional(letter.record_key.as_deref().map(|key| ChangeValue::Bytes(key.into()))),
        ChangeValue::Text(headers_text(&letter.headers).into()),
    ]
}

/// Headers as a JSON list of pairs; values in hexadecimal, because they are bytes.
fn headers_text(headers: &[(String, Option<Vec<u8>>)]) -> String {
    let hex = |bytes: &Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let pairs: Vec<(&str, Option<String>)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_ref().map(hex))).collect();
    // Texts cannot fail to serialise.
    serde_json::to_string(&pairs).unwrap_or_default()
}

/// Parses the column `headers` of a dead letter. Returns `None` if the text is not a list of
/// headers.
#[must_use]
pub fn read_headers(text: &str) -> Option<Vec<(String, Option<Vec<u8>>)>> {
    let pairs: Vec<(String, Option<String>)> = serde_json::from_str(text).ok()?;
    let byte = |hex: &[u8]| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok();
    let bytes = |hex: String| hex.as_bytes().chunks(2).map(byte).collect::<Option<Vec<u8>>>();
    let header = |(name, value): (String, Option<String>)| match value {
        None => Some((name, None)),
        Some(hex) => Some((name, Some(bytes(hex)?))),
    };
    pairs.into_iter().map(header).collect()
}

/// Key of a row to delete.
enum ChangeKey {
    Id(Uuid),
    Text(String),
}

/// Encodes rows that were read from a store as one operation.
pub(super) fn encode_page(
    operation: Operation,
    table: &str,
    columns: &[&str],
    rows: &[Vec<ChangeValue<'_>>],
) -> Vec<u8> {
    let mut out = Encoder::default();
    out.begin(operation, table, columns, rows.len());
    rows.iter().flatten().for_each(|value| out.change_value(value));
    out.body
}

#[derive(Debug, Default)]
struct Encoder {
    body: Vec<u8>,
}

impl Encoder {
    fn rows(&mut self, batch: &Batch) {
        let cleared: Vec<Uuid> =
            batch.cleared.iter().chain(&batch.forgotten).map(|sender| sender.0).collect();
        if !cleared.is_empty() {
            self.begin(Operation::Clear, "", &["sender_id"], cleared.len());
            cleared.iter().for_each(|sender| self.value(Value::Id(*sender)));
        }
        let mut deletes = Vec::new();
        batch.changes.for_each_table(|changes| {
            let table = changes.table;
            if table.name.starts_with('_') {
                return;
            }
            let operation = if *table == RASA_USER { Operation::Merge } else { Operation::Put };
            for (operation, rows) in [(operation, changes.inserts), (Operation::Put, changes.updates)] {
                if rows.is_empty() {
                    continue;
                }
                let (kept, names): (Vec<usize>, Vec<&str>) =
                    columns(table).map(|(index, column)| (index, column.name)).unzip();
                self.begin(operation, table.name, &names, rows.len());
                for row in 0..rows.len() {
                    kept.iter().for_each(|column| self.value(rows.value(row, *column)));
                }
            }
            if !changes.ends.is_empty() {
                self.begin(Operation::Set, table.name, &["id", "end_sequence_number"], changes.ends.len());
                for end in changes.ends {
                    self.value(Value::Id(end.id));
                    self.value(Value::Integer(end.end_sequence_number));
                }
            }
            if !changes.deletes.is_empty() {
                let key = |key: &Key| match key {
                    Key::Id(id) => ChangeKey::Id(*id),
                    Key::Path(path) => ChangeKey::Text(changes.texts.get(*path).to_owned()),
                };
                deletes.push((table, changes.deletes.iter().map(key).collect::<Vec<_>>()));
            }
        });
        for (table, keys) in deletes.into_iter().rev() {
            let key = table.columns.first().map_or("id", |column| column.name);
            self.begin(Operation::Delete, table.name, &[key], keys.len());
            keys.iter().rev().for_each(|key| match key {
                ChangeKey::Id(id) => self.value(Value::Id(*id)),
                ChangeKey::Text(text) => self.value(Value::Text(text)),
            });
        }
    }

    fn dead_letters(&mut self, letters: &[DeadLetter], ids: &[u64], retried: &[u64]) {
        if !letters.is_empty() {
            self.begin(Operation::Put, DEAD_LETTERS, &DEAD_LETTER_COLUMNS, letters.len());
            for (id, letter) in ids.iter().zip(letters) {
                dead_letter_values(*id, letter).iter().for_each(|value| self.change_value(value));
            }
        }
        if !retried.is_empty() {
            self.begin(Operation::Delete, DEAD_LETTERS, &["id"], retried.len());
            for id in retried {
                self.value(Value::Integer(i64::try_from(*id).unwrap_or(i64::MAX)));
            }
        }
    }

    fn begin(&mut self, operation: Operation, table: &str, columns: &[&str], rows: usize) {
        let kind = KINDS.iter().position(|kind| *kind == operation).unwrap_or_default();
        self.body.push(kind as u8);
        self.text(table);
        self.varint(columns.len() as u64);
        columns.iter().for_each(|name| self.text(name));
        self.varint(rows as u64);
    }

    fn change_value(&mut self, value: &ChangeValue<'_>) {
        match value {
            ChangeValue::Bytes(bytes) => self.bytes(bytes),
            other => self.value(other.as_value().unwrap_or(Value::Null)),
        }
    }

    fn value(&mut self, value: Value<'_>) {
        match value {
            Value::Null => self.body.push(0),
            Value::Text(text) => {
                self.body.push(1);
                self.text(text);
            }
            Value::Id(id) => {
                self.body.push(2);
                self.body.extend_from_slice(id.as_bytes());
            }
            Value::Integer(number) => {
                self.body.push(3);
                self.zigzag(number);
            }
            Value::Float(number) => {
                self.body.push(4);
                self.body.extend_from_slice(&number.to_le_bytes());
            }
            Value::DateTime(time) => {
                self.body.push(5);
                self.zigzag(time.0);
            }
            Value::Boolean(truth) => self.body.push(if truth { 7 } else { 6 }),
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.body.push(8);
        self.varint(bytes.len() as u64);
        self.body.extend_from_slice(bytes);
    }

    fn text(&mut self, text: &str) {
        self.varint(text.len() as u64);
        self.body.extend_from_slice(text.as_bytes());
    }

    fn zigzag(&mut self, number: i64) {
        self.varint(((number << 1) ^ (number >> 63)) as u64);
    }

    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.body.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.body.push(number as u8);
    }

    fn finish(self) -> Option<Vec<u8>> {
        if self.body.is_empty() {
            return None;
        }
        let packed = lz4_flex::block::compress_prepend_size(&self.body);
        let (codec, body) = if packed.len() < self.body.len() { (LZ4, packed) } else { (PLAIN, self.body) };
        let mut entry = Vec::with_capacity(body.len() + 2);
        entry.extend_from_slice(&[VERSION, codec]);
        entry.extend_from_slice(&body);
        Some(entry)
    }
}

impl ChangeBatch {
    /// Reads entry `number` of the outbox.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::Newer`] if a newer version wrote the entry, and
    /// [`StoreError::Damaged`] if it cannot be read.
    pub fn from_bytes(number: u64, entry: &[u8]) -> Result<Self, StoreError> {
        let damaged =
            || StoreError::Damaged { detail: format!("entry {number} of the outbox cannot be read") };
        let (version, rest) = entry.split_first().ok_or_else(damaged)?;
        if *version != VERSION {
            return Err(StoreError::Newer { found: (*version).into(), known: VERSION.into() });
        }
        let (codec, body) = rest.split_first().ok_or_else(damaged)?;
        let body = match *codec {
            PLAIN => body.to_vec(),
            LZ4 => lz4_flex::block::decompress_size_prepended(body).map_err(|_| damaged())?,
            _ => return Err(damaged()),
        };
        Self::new(Origin::Commit { number }, body).ok_or_else(damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::super::reader::Reader;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(number: i64) {
            let mut out = Encoder::default();
            out.zigzag(number);
            prop_assert_eq!(Reader::new(&out.body).zigzag(), Some(number));
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = ChangeBatch::from_bytes(1, &bytes);
            let plain = [&[VERSION, PLAIN], bytes.as_slice()].concat();
            let _ = ChangeBatch::from_bytes(1, &plain);
        }
    }

    /// These bytes have to be read for ever.
    #[test]
    fn version_1_stays_as_it_is() {
        let sender = Uuid::from_bytes([7; 16]);
        let batch =
            Batch { cleared: vec![turnmill_model::SenderId(sender)], retried: vec![5], ..Batch::default() };
        let wanted = Wanted { rows: true, dead_letters: true };
        let mut expected = vec![1, 0];
        expected.extend_from_slice(b"\x01\x00\x01\x09sender_id\x01\x02");
        expected.extend_from_slice(&[7; 16]);
        expected.extend_from_slice(b"\x05\x14turnmill_dead_letter\x01\x02id\x01\x03\x0a");
        let plain = ChangeBatch::from_bytes(9, &expected).unwrap();
        let entry = encode(&batch, wanted, &[]).unwrap();
        assert_eq!(ChangeBatch::from_bytes(9, &entry).unwrap(), plain, "packed or not");
        assert_eq!(
            serde_json::to_string(&plain).unwrap(),
            r#"{"version":1,"id":"9","snapshot":false,"changes":[{"op":"clear","table":"","rows":[{"sender_id":"07070707-0707-0707-0707-070707070707"}]},{"op":"delete","table":"turnmill_dead_letter","rows":[{"id":5}]}]}"#
        );
    }

    #[test]
    fn headers_come_back() {
        let headers = vec![("a\"\\\u{1}".to_owned(), Some(vec![0xff, 0])), ("b".to_owned(), None)];
        assert_eq!(headers_text(&headers), "[[\"a\\\"\\\\\\u0001\",\"ff00\"],[\"b\",null]]");
        assert_eq!(read_headers(&headers_text(&headers)), Some(headers));
        assert_eq!(read_headers("[[\"a\",\"zz\"]]"), None);
    }
}

//! The encoding of an entry of the outbox, as the module above describes it.

use turnmill_model::Key;
use turnmill_model::tables::{RASA_PATTERNS, RASA_USER, Value};
use uuid::Uuid;

use super::Wanted;
use super::change::{
    ChangeBatch, ChangeValue, DEAD_LETTER_COLUMNS, DEAD_LETTERS, Operation, Origin, TableOperation, columns,
};
use crate::{Batch, DeadLetter, PatternSet, StoreError};

/// Version of the encoding, the first byte of an entry and `version` in JSON.
pub const VERSION: u8 = 1;

const PLAIN: u8 = 0;
const LZ4: u8 = 1;

const KINDS: [Operation; 6] =
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
pub(super) fn dead_letter_values(id: u64, letter: &DeadLetter) -> Vec<ChangeValue> {
    let text = |text: &str| ChangeValue::Text(text.into());
    let optional = |value: Option<ChangeValue>| value.unwrap_or(ChangeValue::Null);
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
        text(&headers_text(&letter.headers)),
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
                    Key::Id(id) => id.to_string(),
                    Key::Path(path) => changes.texts.get(*path).to_owned(),
                };
                deletes.push((table, changes.deletes.iter().map(key).collect::<Vec<_>>()));
            }
        });
        for (table, keys) in deletes.into_iter().rev() {
            let key = table.columns.first().map_or("id", |column| column.name);
            self.begin(Operation::Delete, table.name, &[key], keys.len());
            keys.iter().rev().for_each(|key| match Uuid::parse_str(key) {
                Ok(id) if key.len() == 36 => self.value(Value::Id(id)),
                _ => self.value(Value::Text(key)),
            });
        }
    }

    fn dead_letters(&mut self, letters: &[DeadLetter], ids: &[u64], retried: &[u64]) {
        if !letters.is_empty() {
            self.begin(Operation::Put, DEAD_LETTERS, &DEAD_LETTER_COLUMNS, letters.len());
            for (id, letter) in ids.iter().zip(letters) {
                for value in dead_letter_values(*id, letter) {
                    match &value {
                        ChangeValue::Bytes(bytes) => self.bytes(bytes),
                        other => self.value(other.as_value().unwrap_or(Value::Null)),
                    }
                }
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
        let unpacked;
        let body = match *codec {
            PLAIN => body,
            LZ4 => {
                unpacked = lz4_flex::block::decompress_size_prepended(body).map_err(|_| damaged())?;
                &unpacked
            }
            _ => return Err(damaged()),
        };
        let mut reader = Reader { rest: body };
        let mut operations = Vec::new();
        while !reader.rest.is_empty() {
            operations.push(reader.operation().ok_or_else(damaged)?);
        }
        Ok(Self { origin: Origin::Commit { number }, operations })
    }
}

struct Reader<'b> {
    rest: &'b [u8],
}

impl Reader<'_> {
    fn operation(&mut self) -> Option<TableOperation> {
        let operation = *KINDS.get(usize::from(self.byte()?))?;
        let table = self.text()?;
        let width = self.length()?;
        let columns: Vec<Box<str>> = (0..width).map(|_| self.text()).collect::<Option<_>>()?;
        let count = self.varint()?;
        let mut rows = Vec::new();
        for _ in 0..count {
            // A row without columns takes no bytes, so the size of the entry would not bound their
            // number.
            if width == 0 && count > 1 {
                return None;
            }
            rows.push((0..width).map(|_| self.value()).collect::<Option<_>>()?);
        }
        Some(TableOperation { operation, table, columns, rows })
    }

    fn value(&mut self) -> Option<ChangeValue> {
        Some(match self.byte()? {
            0 => ChangeValue::Null,
            1 => ChangeValue::Text(self.text()?),
            2 => {
                let id = Uuid::from_slice(self.take(16)?).ok()?;
                ChangeValue::Text(id.to_string().into())
            }
            3 => ChangeValue::Integer(self.zigzag()?),
            4 => ChangeValue::Float(f64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            5 => ChangeValue::DateTime(turnmill_model::Micros(self.zigzag()?)),
            6 => ChangeValue::Boolean(false),
            7 => ChangeValue::Boolean(true),
            8 => {
                let length = self.length()?;
                ChangeValue::Bytes(self.take(length)?.into())
            }
            _ => return None,
        })
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    fn take(&mut self, length: usize) -> Option<&[u8]> {
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<Box<str>> {
        let length = self.length()?;
        Some(std::str::from_utf8(self.take(length)?).ok()?.into())
    }

    /// A length or count of what follows, which takes at least a byte each.
    fn length(&mut self) -> Option<usize> {
        let length = usize::try_from(self.varint()?).ok()?;
        (length <= self.rest.len()).then_some(length)
    }

    fn zigzag(&mut self) -> Option<i64> {
        let number = self.varint()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if shift == 63 && bits > 1 {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(number: i64) {
            let mut out = Encoder::default();
            out.zigzag(number);
            prop_assert_eq!(Reader { rest: &out.body }.zigzag(), Some(number));
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

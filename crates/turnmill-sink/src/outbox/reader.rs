//! Reads encoded operations.

use turnmill_model::Micros;
use turnmill_model::tables::Value;
use uuid::Uuid;

use super::batch::Group;
use super::change::Stored;
use super::encoding::KINDS;

/// Reads encoded operations. Every method returns `None` if the bytes are not what it expects.
pub(super) struct Reader<'b> {
    rest: &'b [u8],
    /// Number of bytes that were read.
    at: usize,
}

impl<'b> Reader<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes, at: 0 }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Reads an operation with all its values, so that they can be read again without an error.
    pub(super) fn group(&mut self) -> Option<Group> {
        let operation = *KINDS.get(usize::from(self.byte()?))?;
        let table = self.text()?.into();
        let width = self.length()?;
        let columns: Vec<Box<str>> =
            (0..width).map(|_| self.text().map(Into::into)).collect::<Option<_>>()?;
        let count = self.varint()?;
        let mut rows = Vec::new();
        for _ in 0..count {
            // A row without columns takes no bytes, so the size of the entry would not bound their
            // number.
            if width == 0 && count > 1 {
                return None;
            }
            rows.push(self.at);
            for _ in 0..width {
                self.value()?;
            }
        }
        Some(Group { operation, table, columns, rows })
    }

    pub(super) fn value(&mut self) -> Option<Stored<'b>> {
        Some(Stored::Value(match self.byte()? {
            0 => Value::Null,
            1 => Value::Text(self.text()?),
            2 => Value::Id(Uuid::from_slice(self.take(16)?).ok()?),
            3 => Value::Integer(self.zigzag()?),
            4 => Value::Float(f64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            5 => Value::DateTime(Micros(self.zigzag()?)),
            6 => Value::Boolean(false),
            7 => Value::Boolean(true),
            8 => {
                let length = self.length()?;
                return Some(Stored::Bytes(self.take(length)?));
            }
            _ => return None,
        }))
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        self.at += 1;
        Some(*byte)
    }

    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        self.at += length;
        Some(bytes)
    }

    fn text(&mut self) -> Option<&'b str> {
        let length = self.length()?;
        std::str::from_utf8(self.take(length)?).ok()
    }

    /// A length or count of what follows, which takes at least a byte each.
    fn length(&mut self) -> Option<usize> {
        let length = usize::try_from(self.varint()?).ok()?;
        (length <= self.rest.len()).then_some(length)
    }

    pub(super) fn zigzag(&mut self) -> Option<i64> {
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

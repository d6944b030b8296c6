//! Conversion of values between rows and SQLite.

use rusqlite::Statement;
use rusqlite::types::{Null, ValueRef};
use turnmill_model::Micros;
use turnmill_model::tables::Value;
use turnmill_sql::SqlType;
use uuid::Uuid;

const DAY: i64 = 86_400_000_000;
const BLANK: [u8; 26] = *b"0000-00-00 00:00:00.000000";

/// Formats times. Most rows of a batch are of the same day, so the date is formatted once.
#[derive(Debug)]
pub(crate) struct TimeText {
    day: Option<i64>,
    text: [u8; 26],
}

impl Default for TimeText {
    fn default() -> Self {
        Self { day: None, text: BLANK }
    }
}

impl TimeText {
    /// Formats a time like its `Display`.
    pub(crate) fn render(&mut self, time: Micros) -> &str {
        let day = time.0.div_euclid(DAY);
        if self.day != Some(day) {
            let text = Micros(day * DAY).to_string();
            match <[u8; 26]>::try_from(text.as_bytes()) {
                Ok(text) => self.text = text,
                // The year has more than four digits, which no event has.
                Err(_) => return "",
            }
            self.day = Some(day);
        }
        let mut rest = time.0.rem_euclid(DAY);
        for column in (20..26).rev() {
            self.digit(column, rest % 10);
            rest /= 10;
        }
        for (column, base) in [(18, 10), (17, 6), (15, 10), (14, 6), (12, 10), (11, 10)] {
            self.digit(column, rest % base);
            rest /= base;
        }
        std::str::from_utf8(&self.text).unwrap_or_default()
    }

    fn digit(&mut self, column: usize, digit: i64) {
        if let Some(byte) = self.text.get_mut(column) {
            *byte = b'0' + digit as u8;
        }
    }
}

/// Binds parameter number `index`, counted from 1.
pub(crate) fn bind(
    statement: &mut Statement<'_>,
    index: usize,
    value: Value<'_>,
    ty: SqlType,
    times: &mut TimeText,
) -> rusqlite::Result<()> {
    match value {
        Value::Null => statement.raw_bind_parameter(index, Null),
        Value::Id(id) if ty == SqlType::Uuid => statement.raw_bind_parameter(index, id.as_bytes().as_slice()),
        Value::Id(id) => {
            statement.raw_bind_parameter(index, &*id.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()))
        }
        Value::Text(text) => statement.raw_bind_parameter(index, text),
        Value::Integer(number) => statement.raw_bind_parameter(index, number),
        Value::Float(number) => statement.raw_bind_parameter(index, number),
        Value::DateTime(time) => statement.raw_bind_parameter(index, times.render(time)),
        Value::Boolean(truth) => statement.raw_bind_parameter(index, truth),
    }
}

/// Reads a value of a column of type `ty`. Returns `None` if it has another type.
pub(crate) fn read(value: ValueRef<'_>, ty: SqlType) -> Option<Value<'_>> {
    match (ty, value) {
        (_, ValueRef::Null) => Some(Value::Null),
        (SqlType::IdText | SqlType::Varchar(_) | SqlType::Text, ValueRef::Text(text)) => {
            std::str::from_utf8(text).ok().map(Value::Text)
        }
        (SqlType::Uuid, ValueRef::Blob(bytes)) => Uuid::from_slice(bytes).ok().map(Value::Id),
        (SqlType::Integer | SqlType::Serial, ValueRef::Integer(number)) => Some(Value::Integer(number)),
        (SqlType::Float, ValueRef::Real(number)) => Some(Value::Float(number)),
        (SqlType::DateTime, ValueRef::Text(text)) => {
            std::str::from_utf8(text).ok().and_then(Micros::parse).map(Value::DateTime)
        }
        (SqlType::Boolean, ValueRef::Integer(number @ (0 | 1))) => Some(Value::Boolean(number == 1)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn times_are_rendered_as_they_display(times in prop::collection::vec(-1_000_000_000_000_i64..5_000_000_000_000_000, 1..20)) {
            let mut text = TimeText::default();
            for time in times {
                prop_assert_eq!(text.render(Micros(time)), Micros(time).to_string());
            }
        }
    }
}

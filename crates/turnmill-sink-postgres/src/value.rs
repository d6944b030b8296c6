//! Encodes values in PostgreSQL's binary form: rows of a COPY, and whole columns as array
//! parameters.

use std::error::Error;

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio_postgres::types::{FromSql, IsNull, Kind, ToSql, Type, to_sql_checked};
use turnmill_model::Micros;
use turnmill_model::tables::Value;
use turnmill_sql::SqlType;
use uuid::Uuid;

/// Microseconds from 1970-01-01 to 2000-01-01, from which PostgreSQL counts.
pub(crate) const EPOCH: i64 = 946_684_800_000_000;

/// A value of a public or an internal table.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Datum<'v> {
    /// A value of a row.
    Row(Value<'v>),
    /// Bytes, which only internal tables have.
    Bytes(&'v [u8]),
}

impl<'v> From<Value<'v>> for Datum<'v> {
    fn from(value: Value<'v>) -> Self {
        Self::Row(value)
    }
}

impl<'v> From<&'v str> for Datum<'v> {
    fn from(text: &'v str) -> Self {
        Self::Row(Value::Text(text))
    }
}

impl<'v> From<&'v [u8]> for Datum<'v> {
    fn from(bytes: &'v [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<i64> for Datum<'_> {
    fn from(number: i64) -> Self {
        Self::Row(Value::Integer(number))
    }
}

impl From<u64> for Datum<'_> {
    fn from(number: u64) -> Self {
        Self::Row(Value::Integer(integer(number)))
    }
}

impl From<f64> for Datum<'_> {
    fn from(number: f64) -> Self {
        Self::Row(Value::Float(number))
    }
}

impl From<Uuid> for Datum<'_> {
    fn from(id: Uuid) -> Self {
        Self::Row(Value::Id(id))
    }
}

impl<'v, T: Into<Datum<'v>>> From<Option<T>> for Datum<'v> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Row(Value::Null), Into::into)
    }
}

/// Converts a version or an id. They count from 1 by ones, so none reaches the limit.
pub(crate) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Converts a time of PostgreSQL, in microseconds since 2000, to one since 1970.
pub(crate) fn micros(since_2000: i64) -> Micros {
    Micros(since_2000.saturating_add(EPOCH))
}

/// A time as PostgreSQL sends it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WireTime(pub(crate) Micros);

impl<'a> FromSql<'a> for WireTime {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(micros(i64::from_be_bytes(raw.try_into()?))))
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::TIMESTAMP | Type::TIMESTAMPTZ)
    }
}

/// Writes a value after its length.
fn put(out: &mut BytesMut, datum: Datum<'_>, ty: SqlType) {
    let value = match datum {
        Datum::Bytes(bytes) => return put_bytes(out, bytes),
        Datum::Row(value) => value,
    };
    match value {
        Value::Null => out.put_i32(-1),
        Value::Id(id) if ty == SqlType::Uuid => put_bytes(out, id.as_bytes()),
        Value::Id(id) => {
            put_bytes(out, id.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
        }
        Value::Text(text) => put_bytes(out, text.as_bytes()),
        Value::Integer(number) => {
            out.put_i32(8);
            out.put_i64(number);
        }
        Value::Float(number) => {
            out.put_i32(8);
            out.put_f64(number);
        }
        Value::DateTime(time) => {
            out.put_i32(8);
            out.put_i64(time.0.saturating_sub(EPOCH));
        }
        Value::Boolean(truth) => {
            out.put_i32(1);
            out.put_u8(u8::from(truth));
        }
    }
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    // A value of more than 2 GiB cannot be sent; the server refuses the length written here.
    out.put_i32(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
    out.put_slice(bytes);
}

/// Rows for a binary COPY.
#[derive(Debug)]
pub(crate) struct CopyRows {
    out: BytesMut,
}

impl CopyRows {
    pub(crate) fn new() -> Self {
        let mut out = BytesMut::with_capacity(4096);
        out.put_slice(b"PGCOPY\n\xff\r\n\0");
        out.put_i32(0);
        out.put_i32(0);
        Self { out }
    }

    pub(crate) fn begin_row(&mut self, columns: usize) {
        self.out.put_i16(i16::try_from(columns).unwrap_or(i16::MAX));
    }

    pub(crate) fn put(&mut self, datum: Datum<'_>, ty: SqlType) {
        put(&mut self.out, datum, ty);
    }

    pub(crate) fn finish(mut self) -> Bytes {
        self.out.put_i16(-1);
        self.out.freeze()
    }
}

/// One column of many rows, as an array parameter.
#[derive(Debug)]
pub(crate) struct Array {
    ty: SqlType,
    count: i32,
    nulls: bool,
    elements: BytesMut,
}

impl Array {
    pub(crate) fn new(ty: SqlType) -> Self {
        Self { ty, count: 0, nulls: false, elements: BytesMut::new() }
    }

    /// Returns a whole column.
    pub(crate) fn of<'v, D: Into<Datum<'v>>>(ty: SqlType, values: impl IntoIterator<Item = D>) -> Self {
        let mut array = Self::new(ty);
        values.into_iter().for_each(|value| array.push(value.into()));
        array
    }

    pub(crate) fn push(&mut self, datum: Datum<'_>) {
        self.count += 1;
        self.nulls |= matches!(datum, Datum::Row(Value::Null));
        put(&mut self.elements, datum, self.ty);
    }
}

impl ToSql for Array {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let Kind::Array(element) = ty.kind() else { return Err("a parameter that is no array".into()) };
        out.reserve(20 + self.elements.len());
        out.put_i32(i32::from(self.count > 0));
        out.put_i32(i32::from(self.nulls));
        out.put_u32(element.oid());
        if self.count > 0 {
            out.put_i32(self.count);
            out.put_i32(1);
            out.put_slice(&self.elements);
        }
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        matches!(ty.kind(), Kind::Array(_))
    }

    to_sql_checked!();
}

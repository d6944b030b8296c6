//! JSON lines.

use std::io::{Result, Write};

use serde::Serializer as _;
use serde::ser::SerializeMap as _;
use turnmill_sink::outbox::ChangeValue;

use crate::columns::FileColumn;

/// Writes an object with all columns, in their order.
pub(super) fn row(out: &mut impl Write, columns: &[FileColumn], row: &[ChangeValue<'_>]) -> Result<()> {
    let mut json = serde_json::Serializer::new(&mut *out);
    let mut object = json.serialize_map(Some(columns.len()))?;
    for (index, column) in columns.iter().enumerate() {
        object.serialize_entry(column.name, row.get(index).unwrap_or(&ChangeValue::Null))?;
    }
    object.end()?;
    out.write_all(b"\n")
}

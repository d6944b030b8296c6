//! Columns of files: those of the public tables, of dead letters, and of a change.

use turnmill_model::tables::{ColumnType, PUBLIC, Table};
use turnmill_sink::outbox::{DEAD_LETTER_COLUMNS, DEAD_LETTERS, columns};

/// What a column of a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Integer,
    Float,
    DateTime,
    Boolean,
    Bytes,
}

/// A column of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileColumn {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
}

impl FileColumn {
    pub(crate) const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind }
    }
}

/// Returns the names of all tables that files can have.
pub(crate) fn table_names() -> impl Iterator<Item = &'static str> {
    PUBLIC.iter().map(|table| table.name).chain([DEAD_LETTERS])
}

/// Returns the columns of the table `name`, or `None` if there is no such table.
pub(crate) fn columns_of(name: &str) -> Option<Vec<FileColumn>> {
    if name == DEAD_LETTERS {
        return Some(DEAD_LETTER_COLUMNS.iter().map(|name| dead_letter_column(name)).collect());
    }
    let table: &'static Table = PUBLIC.iter().copied().find(|table| table.name == name)?;
    Some(columns(table).map(|(_, column)| FileColumn::new(column.name, kind_of(column.ty))).collect())
}

fn dead_letter_column(name: &'static str) -> FileColumn {
    let kind = match name {
        "id" | "record_row" => Kind::Integer,
        "time" => Kind::Float,
        "payload" | "record_key" => Kind::Bytes,
        _ => Kind::Text,
    };
    FileColumn::new(name, kind)
}

fn kind_of(ty: ColumnType) -> Kind {
    match ty {
        ColumnType::Id | ColumnType::Varchar(_) | ColumnType::Text => Kind::Text,
        ColumnType::Integer => Kind::Integer,
        ColumnType::Float => Kind::Float,
        ColumnType::DateTime => Kind::DateTime,
        ColumnType::Boolean => Kind::Boolean,
    }
}

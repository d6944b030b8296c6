//! Parquet, by columns.
//!
//! Ids and texts are UTF-8, integers of 64 bits, times microseconds **without zone** (they are in
//! UTC), as the columns of PostgreSQL are: a query for these columns means the same here. A time
//! with zone would be shown and truncated in the zone of the reader.

use std::fs::File;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};
use turnmill_sink::outbox::ChangeValue;

use crate::columns::{FileColumn, Kind};

/// Most rows of a row group.
const GROUP_ROWS: usize = 100_000;
/// Bytes of texts after which a row group is written, so that memory is bounded.
const GROUP_BYTES: usize = 32 << 20;

/// A Parquet file that is being written. It holds the rows of one row group.
pub(super) struct ParquetFile {
    file: SerializedFileWriter<File>,
    columns: Vec<Buffer>,
    rows: usize,
    bytes: usize,
}

/// Values of one column in the current row group.
struct Buffer {
    /// 1 for a value, 0 for NULL.
    levels: Vec<i16>,
    cells: Cells,
}

enum Cells {
    Bytes(Vec<ByteArray>),
    Integers(Vec<i64>),
    Floats(Vec<f64>),
    Booleans(Vec<bool>),
}

impl ParquetFile {
    pub(super) fn new(file: File, columns: &[FileColumn]) -> Result<Self> {
        let fields = columns.iter().map(field).collect::<Result<Vec<TypePtr>>>()?;
        let schema = Type::group_type_builder("row").with_fields(fields).build()?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
            .set_created_by(concat!("turnmill ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let file = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties))?;
        let columns = columns.iter().map(|column| Buffer::new(column.kind)).collect();
        Ok(Self { file, columns, rows: 0, bytes: 0 })
    }

    pub(super) fn row(&mut self, row: &[ChangeValue<'_>]) -> Result<()> {
        for (index, column) in self.columns.iter_mut().enumerate() {
            self.bytes += column.push(row.get(index).unwrap_or(&ChangeValue::Null));
        }
        self.rows += 1;
        if self.rows >= GROUP_ROWS || self.bytes >= GROUP_BYTES {
            self.write_group()?;
        }
        Ok(())
    }

    /// Writes the last row group and the footer. Returns the file, which is not synced yet.
    pub(super) fn finish(mut self) -> Result<File> {
        if self.rows > 0 {
            self.write_group()?;
        }
        self.file.into_inner()
    }

    fn write_group(&mut self) -> Result<()> {
        let mut group = self.file.next_row_group()?;
        for column in &mut self.columns {
            column.write(&mut group)?;
        }
        group.close()?;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }
}

fn field(column: &FileColumn) -> Result<TypePtr> {
    let (physical, logical) = match column.kind {
        Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Kind::Bytes => (Physical::BYTE_ARRAY, None),
        Kind::Integer => (Physical::INT64, None),
        Kind::DateTime => (Physical::INT64, Some(LogicalType::timestamp(false, TimeUnit::MICROS))),
        Kind::Float => (Physical::DOUBLE, None),
        Kind::Boolean => (Physical::BOOLEAN, None),
    };
    let field = Type::primitive_type_builder(column.name, physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(logical);
    field.build().map(Arc::new)
}

impl Buffer {
    fn new(kind: Kind) -> Self {
        let cells = match kind {
            Kind::Text | Kind::Bytes => Cells::Bytes(Vec::new()),
            Kind::Integer | Kind::DateTime => Cells::Integers(Vec::new()),
            Kind::Float => Cells::Floats(Vec::new()),
            Kind::Boolean => Cells::Booleans(Vec::new()),
        };
        Self { levels: Vec::new(), cells }
    }

    /// Adds a value and returns its size in bytes. A value of another type than the column's is
    /// NULL; there is none in rows of a store.
    fn push(&mut self, value: &ChangeValue<'_>) -> usize {
        let (defined, bytes) = match (&mut self.cells, value) {
            (Cells::Bytes(cells), ChangeValue::Text(text)) => {
                cells.push(ByteArray::from(text.as_bytes().to_vec()));
                (1, text.len())
            }
            (Cells::Bytes(cells), ChangeValue::Bytes(bytes)) => {
                cells.push(ByteArray::from(bytes.to_vec()));
                (1, bytes.len())
            }
            (Cells::Integers(cells), ChangeValue::Integer(number)) => {
                cells.push(*number);
                (1, 8)
            }
            (Cells::Integers(cells), ChangeValue::DateTime(time)) => {
                cells.push(time.0);
                (1, 8)
            }
            (Cells::Floats(cells), ChangeValue::Float(number)) => {
                cells.push(*number);
                (1, 8)
            }
            (Cells::Booleans(cells), ChangeValue::Boolean(truth)) => {
                cells.push(*truth);
                (1, 1)
            }
            _ => (0, 0),
        };
        self.levels.push(defined);
        bytes
    }

    /// Writes the column to the row group, and empties it.
    fn write(&mut self, group: &mut SerializedRowGroupWriter<'_, File>) -> Result<()> {
        let Some(mut column) = group.next_column()? else {
            return Err(ParquetError::General("the file has fewer columns than the table".into()));
        };
        let levels = Some(self.levels.as_slice());
        match (&mut self.cells, column.untyped()) {
            (Cells::Bytes(cells), ColumnWriter::ByteArrayColumnWriter(_)) => {
                column.typed::<ByteArrayType>().write_batch(cells, levels, None)?;
                cells.clear();
            }
            (Cells::Integers(cells), ColumnWriter::Int64ColumnWriter(_)) => {
                column.typed::<Int64Type>().write_batch(cells, levels, None)?;
                cells.clear();
            }
            (Cells::Floats(cells), ColumnWriter::DoubleColumnWriter(_)) => {
                column.typed::<DoubleType>().write_batch(cells, levels, None)?;
                cells.clear();
            }
            (Cells::Booleans(cells), ColumnWriter::BoolColumnWriter(_)) => {
                column.typed::<BoolType>().write_batch(cells, levels, None)?;
                cells.clear();
            }
            _ => return Err(ParquetError::General("a column of the file has another type".into())),
        }
        self.levels.clear();
        column.close()
    }
}

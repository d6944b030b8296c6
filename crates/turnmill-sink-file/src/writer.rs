//! Writes the rows of one table to one file.

mod csv;
mod jsonl;
mod parquet;

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use turnmill_sink::outbox::ChangeValue;

use self::parquet::ParquetFile;
use crate::columns::FileColumn;
use crate::{FileError, Format};

/// A file that is being written.
///
/// [`finish`](Self::finish) makes it durable. A file that was not finished is incomplete; nothing
/// names it.
pub(crate) struct TableFile {
    path: PathBuf,
    columns: Vec<FileColumn>,
    rows: u64,
    file: Inner,
}

enum Inner {
    Jsonl(BufWriter<File>),
    Csv(BufWriter<File>),
    Parquet(Box<ParquetFile>),
}

impl TableFile {
    /// Creates the file, or empties an incomplete one.
    pub(crate) fn create(path: &Path, format: Format, columns: Vec<FileColumn>) -> Result<Self, FileError> {
        let file = File::create(path).map_err(FileError::io("creating", path))?;
        let file = match format {
            Format::Jsonl => Inner::Jsonl(BufWriter::new(file)),
            Format::Csv => {
                let mut file = BufWriter::new(file);
                csv::header(&mut file, &columns).map_err(FileError::io("writing", path))?;
                Inner::Csv(file)
            }
            Format::Parquet => {
                Inner::Parquet(Box::new(ParquetFile::new(file, &columns).map_err(failed(path))?))
            }
        };
        Ok(Self { path: path.to_owned(), columns, rows: 0, file })
    }

    /// Writes a row with a value for each column. A missing value is NULL.
    pub(crate) fn write(&mut self, row: &[ChangeValue<'_>]) -> Result<(), FileError> {
        match &mut self.file {
            Inner::Jsonl(file) => {
                jsonl::row(file, &self.columns, row).map_err(FileError::io("writing", &self.path))?;
            }
            Inner::Csv(file) => {
                csv::row(file, self.columns.len(), row).map_err(FileError::io("writing", &self.path))?;
            }
            Inner::Parquet(file) => file.row(row).map_err(failed(&self.path))?,
        }
        self.rows += 1;
        Ok(())
    }

    /// Writes what is buffered, and waits until it is durable. Returns the number of rows and of
    /// bytes.
    pub(crate) fn finish(self) -> Result<(u64, u64), FileError> {
        let Self { path, rows, file, .. } = self;
        let file = match file {
            Inner::Jsonl(mut file) | Inner::Csv(mut file) => {
                file.flush().map_err(FileError::io("writing", &path))?;
                file.into_inner().map_err(|error| FileError::io("writing", &path)(error.into_error()))?
            }
            Inner::Parquet(file) => file.finish().map_err(failed(&path))?,
        };
        file.sync_all().map_err(FileError::io("syncing", &path))?;
        let bytes = file.metadata().map_err(FileError::io("reading", &path))?.len();
        Ok((rows, bytes))
    }
}

fn failed(path: &Path) -> impl FnOnce(::parquet::errors::ParquetError) -> FileError {
    move |source| FileError::Parquet { path: path.to_owned(), source }
}

//! Opening inputs, whatever they are.

use std::path::{Path, PathBuf};

use turnmill_sink::PositionKey;
use turnmill_source::{FileOptions, FileSource, Format, Partition, Position, Source, SourceError};
use turnmill_source_tracker::{TrackerOptions, TrackerSource, is_sqlite};

/// One input of the command line.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) path: PathBuf,
    source: String,
    format: Option<Format>,
    follow: bool,
    /// Its position's key; standard input and pipes have none.
    pub(crate) key: Option<PositionKey>,
    /// Size in bytes, as stored.
    pub(crate) size: Option<u64>,
}

impl Input {
    /// The input at `path`; opens it once, so that a mistyped name is noticed before anything is written.
    pub(crate) fn new(
        path: &Path,
        source: &str,
        format: Option<Format>,
        follow: bool,
    ) -> Result<Self, SourceError> {
        let mut input = Self {
            path: path.to_path_buf(),
            source: source.to_owned(),
            format,
            follow,
            key: None,
            size: None,
        };
        if !input.is_stream() {
            let opened = input.open(None)?;
            let partition = opened.partition().clone();
            input.key = Some(PositionKey { source: partition.source, partition: partition.partition });
            input.size = std::fs::metadata(path).ok().map(|metadata| metadata.len());
        }
        Ok(input)
    }

    fn is_stream(&self) -> bool {
        self.path == Path::new("-") || std::fs::metadata(&self.path).is_ok_and(|metadata| !metadata.is_file())
    }

    /// Opens the input behind `position`.
    pub(crate) fn open(&self, position: Option<&Position>) -> Result<Box<dyn Source>, SourceError> {
        let options = FileOptions {
            source: self.source.clone(),
            format: self.format,
            follow: self.follow,
            ..FileOptions::default()
        };
        if self.path == Path::new("-") {
            return Ok(Box::new(FileSource::stdin(options)?));
        }
        if !self.is_stream() && is_sqlite(&self.path).unwrap_or(false) {
            let options = TrackerOptions { source: self.source.clone(), follow: self.follow };
            let partition = Partition::new(self.source.clone(), self.path.to_string_lossy());
            let failed = |error| SourceError::Other { partition, source: Box::new(error) };
            return Ok(Box::new(TrackerSource::open(&self.path, options, position).map_err(failed)?));
        }
        Ok(Box::new(FileSource::open(&self.path, options, position)?))
    }
}

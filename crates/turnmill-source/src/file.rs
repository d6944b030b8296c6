//! Files, pipes and standard input.

mod change;
mod fill;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use memchr::memchr;

use self::change::FileChange;
use self::fill::FillCursor;
use crate::container::{Container, Layout};
use crate::detect::{Shape, detect};
use crate::envelope::Scratch;
use crate::input::{Compression, Input, InputError};
use crate::source::{BatchLimits, Opened, Progress, Source, SourceError};
use crate::table::Dump;
use crate::{Fingerprint, Foreign, PartitionId, Position, RecordBatch};

/// Bytes read at once.
const CHUNK: usize = 256 << 10;

/// How to read a file.
///
/// ```
/// use turnmill_source::{FileOptions, Container};
/// let options = FileOptions { container: Some(Container::Kcat), ..FileOptions::default() };
/// assert_eq!(options.source, "file");
/// assert_eq!(options.max_record_bytes, 256 * 1024 * 1024);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOptions {
    /// Name of the source in positions, `"file"` by default.
    pub source: String,
    /// The container; detected from the content if `None`.
    pub container: Option<Container>,
    /// Name of the decoder that the records need, see [`Source::decoder`].
    pub decoder: Option<String>,
    /// Whether to wait for more at the end of the file, and to take complete lines only.
    pub follow: bool,
    /// Maximum size of a line or tracker dump in bytes, 256 MiB by default. A larger one is an
    /// error, because it cannot become a record and no input is dropped silently.
    pub max_record_bytes: usize,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self {
            source: "file".into(),
            container: None,
            decoder: None,
            follow: false,
            max_record_bytes: 256 << 20,
        }
    }
}

/// A file as a [`Source`]: plain, gzip or Zstandard, UTF-8 or UTF-16, in any [`Container`].
///
/// Each line is a record. In other [layouts](Layout) each value or row is one, and in tracker dumps
/// each event. A last line without a line break counts too, unless the file is followed. So follow
/// a file that is still being written. Otherwise a half-written line becomes one record, and its
/// other half another one.
///
/// Memory: the batch's limits, the largest record, and 256 KiB.
///
/// While following, growth, truncation and replacement are noticed by the call after
/// [`Progress::Idle`]. A file that was renamed is read to its end before the new file at its path
/// is begun. The first batch of the new file has [`Opened::Replaced`].
///
/// ```
/// use std::io::Write;
/// use turnmill_source::{BatchLimits, FileOptions, FileSource, Progress, RecordBatch, Source};
///
/// let mut file = tempfile::NamedTempFile::new()?;
/// writeln!(file, r#"{{"sender_id": "u1", "event": "restart", "timestamp": 1656382549.326936}}"#)?;
///
/// let mut source = FileSource::open(file.path(), FileOptions::default(), None)?;
/// let mut batch = RecordBatch::new();
/// assert_eq!(source.next_batch(&BatchLimits::default(), &mut batch)?, Progress::End);
/// assert_eq!(batch.len(), 1);
///
/// let mut again = FileSource::open(file.path(), FileOptions::default(), batch.to())?;
/// let progress = again.next_batch(&BatchLimits::default(), &mut batch)?;
/// assert_eq!((progress, batch.len()), (Progress::End, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FileSource {
    partition: PartitionId,
    options: FileOptions,
    /// `None` for streams, which have no positions.
    path: Option<PathBuf>,
    input: Input,
    /// The file's shape, once it is detected.
    shape: Option<Shape>,
    /// State of reading a dump.
    dump: Dump,
    /// Bytes that were read; those from `head` on are not consumed yet.
    carry: Vec<u8>,
    head: usize,
    /// Offset after the last consumed byte.
    consumed: u64,
    /// The position after everything that was delivered.
    last: Option<Position>,
    opened: Opened,
    /// No batch has reported `opened` yet.
    opened_pending: bool,
    /// The last call returned `Idle`.
    idle: bool,
    /// The followed file was replaced, so it has no more than what was read.
    replaced: bool,
    state: State,
    scratch: Scratch,
}

#[derive(Debug)]
enum State {
    Reading,
    /// The file was replaced: the next call begins the new one.
    Restart,
    Failed(SourceError),
    Ended,
}

impl FileSource {
    /// Opens the file `path`, after the position `resume_from` if that is of this file.
    ///
    /// The partition is the canonical path. A path that is not a regular file, such as a pipe, is a
    /// stream without positions.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if the file cannot be opened or read, is an SQLite database, or is
    /// compressed and followed.
    pub fn open(
        path: &Path,
        options: FileOptions,
        resume_from: Option<&Position>,
    ) -> Result<Self, SourceError> {
        let failed = |source| SourceError::Open { path: path.to_path_buf(), source };
        let canonical = path.canonicalize().map_err(failed)?;
        let file = File::open(&canonical).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let name = canonical.to_string_lossy().into_owned();
        let partition = PartitionId::new(options.source.clone(), name);
        if !metadata.is_file() {
            return Self::stream(partition, Box::new(file), options);
        }
        let input = Input::file(file).map_err(|error| input_error(&partition, error))?;
        let mut source = Self::new(partition, input, options, Some(canonical))?;
        if let Some(position) = resume_from {
            source.last = Some(position.clone());
            source.opened = Opened::Resumed;
            if !source.resume(position)? {
                source.reopen()?;
            }
        }
        Ok(source)
    }

    /// Opens standard input. It has no positions: repeated events are recognised by their identity.
    /// With `follow` a batch ends as soon as no more input is available.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if standard input cannot be read.
    pub fn stdin(options: FileOptions) -> Result<Self, SourceError> {
        let partition = PartitionId::new(options.source.clone(), "-");
        Self::stream(partition, Box::new(io::stdin()), options)
    }

    /// Opens any other stream, like [`Self::stdin`], as the given partition.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if the stream cannot be read.
    pub fn stream(
        partition: PartitionId,
        stream: Box<dyn Read + Send>,
        options: FileOptions,
    ) -> Result<Self, SourceError> {
        let input = Input::stream(stream).map_err(|error| input_error(&partition, error))?;
        Self::new(partition, input, options, None)
    }

    /// Returns the container, once it is known. The first [`next_batch`](Source::next_batch)
    /// detects it.
    #[must_use]
    pub fn container(&self) -> Option<Container> {
        self.shape.as_ref().map(|shape| shape.container)
    }

    /// Returns the layout, once the container is known.
    #[must_use]
    pub fn layout(&self) -> Option<Layout> {
        self.shape.as_ref().map(|shape| shape.layout)
    }

    /// Returns at most `most` first bytes, decompressed and in UTF-8, before anything was consumed.
    /// The first batch covers them too.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if they cannot be read.
    pub fn first_bytes(&mut self, most: usize) -> Result<&[u8], SourceError> {
        while self.carry.len() < most && self.read_ahead()? {}
        Ok(&self.carry[..self.carry.len().min(most)])
    }

    /// Returns how the file is compressed.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.input.compression
    }

    /// Returns how the file was opened, or opened again while following.
    #[must_use]
    pub fn opened(&self) -> Opened {
        self.opened
    }

    fn new(
        partition: PartitionId,
        input: Input,
        options: FileOptions,
        path: Option<PathBuf>,
    ) -> Result<Self, SourceError> {
        let source = Self {
            partition,
            shape: None,
            dump: Dump::default(),
            options,
            path,
            input,
            carry: Vec::new(),
            head: 0,
            consumed: 0,
            last: None,
            opened: Opened::Fresh,
            opened_pending: true,
            idle: false,
            replaced: false,
            state: State::Reading,
            scratch: Scratch::default(),
        };
        source.refuse_unreadable()?;
        Ok(source)
    }

    /// Refuses a file that cannot be read as records.
    fn refuse_unreadable(&self) -> Result<(), SourceError> {
        let path = || self.partition.partition.clone();
        if self.input.magic.starts_with(b"SQLite format 3\0") {
            return Err(SourceError::Database { path: path() });
        }
        if self.options.follow && self.path.is_some() && self.input.utf16 {
            return Err(SourceError::FollowUtf16 { path: path() });
        }
        let compression = self.input.compression;
        if self.options.follow && self.path.is_some() && compression != Compression::None {
            return Err(SourceError::FollowCompressed { path: path(), compression });
        }
        Ok(())
    }

    /// Skips to `position`. Returns false if it is of another file.
    fn resume(&mut self, position: &Position) -> Result<bool, SourceError> {
        if position.offset == 0 {
            return Ok(true);
        }
        let mut more = self.read_ahead()?;
        while !self.detect(!more)? {
            more = self.read_ahead()?;
        }
        if !position.fingerprint.is_none_or(|fingerprint| fingerprint.matches(&self.input.prefix)) {
            return Ok(false);
        }
        if self.container() == Some(Container::PgDump) {
            return self.skip_dump(position.offset);
        }
        match usize::try_from(position.offset) {
            Ok(offset) if offset <= self.carry.len() => self.head = offset,
            _ => {
                self.carry.clear();
                if !self.input.skip_to(position.offset).map_err(|error| self.read_error(error))? {
                    return Ok(false);
                }
            }
        }
        self.consumed = position.offset;
        Ok(true)
    }

    /// Detects the file's shape. Returns false if more bytes are needed; never if these are `all`.
    fn detect(&mut self, all: bool) -> Result<bool, SourceError> {
        let first = &self.carry[self.head..];
        if let Some(foreign) = Foreign::binary(first) {
            return Err(SourceError::Foreign { path: self.partition.partition.clone(), foreign });
        }
        self.shape = detect(first, all).map(|shape| match self.options.container {
            Some(container) => shape.with_container(container),
            None => shape,
        });
        Ok(self.shape.is_some())
    }

    /// Skips a dump from its start to `offset`, because earlier lines decide what a line means.
    /// Returns false if no line ends there.
    fn skip_dump(&mut self, offset: u64) -> Result<bool, SourceError> {
        loop {
            while self.consumed < offset
                && let Some(length) = memchr(b'\n', &self.carry[self.head..])
            {
                self.dump.pass(&self.carry[self.head..self.head + length]);
                self.head += length + 1;
                self.consumed += length as u64 + 1;
            }
            if self.consumed >= offset {
                return Ok(self.consumed == offset);
            }
            self.carry.drain(..self.head);
            self.head = 0;
            if !self.read_ahead()? {
                // The last line has no line break.
                let rest = self.carry.len();
                self.dump.pass(&self.carry);
                self.head = rest;
                self.consumed += rest as u64;
                return Ok(self.consumed == offset);
            }
        }
    }

    /// Begins the file at the path from its start, because it is not the file that was read.
    fn reopen(&mut self) -> Result<(), SourceError> {
        let Some(path) = &self.path else { return Ok(()) };
        let file = File::open(path).map_err(|source| SourceError::Open { path: path.clone(), source })?;
        self.input = Input::file(file).map_err(|error| input_error(&self.partition, error))?;
        self.refuse_unreadable()?;
        self.shape = None;
        self.dump = Dump::default();
        self.carry.clear();
        self.head = 0;
        self.consumed = 0;
        self.idle = false;
        self.replaced = false;
        self.opened = if self.last.is_some() { Opened::Replaced } else { Opened::Fresh };
        self.opened_pending = true;
        Ok(())
    }

    /// Reads a chunk into the carry. Returns false at the end.
    fn read_ahead(&mut self) -> Result<bool, SourceError> {
        let eager = self.eager();
        let read = self.input.read(&mut self.carry, CHUNK, eager);
        read.map(|read| read > 0).map_err(|error| self.read_error(error))
    }

    /// Returns whether to deliver available records instead of filling batches.
    fn eager(&self) -> bool {
        self.options.follow && self.path.is_none()
    }

    /// Returns the shape, detecting it if necessary. `None` if a followed file has too few bytes
    /// yet.
    fn detected_shape(&mut self) -> Result<Option<Shape>, SourceError> {
        let mut more = true;
        while self.shape.is_none() {
            if !self.detect(!more)? {
                more = self.read_ahead()?;
                if !more && self.follows() {
                    match self.file_change() {
                        FileChange::Same => return Ok(None),
                        FileChange::Moved => {}
                        FileChange::Overwritten => self.replaced = true,
                    }
                }
            }
        }
        Ok(self.shape.clone())
    }

    fn follows(&self) -> bool {
        self.options.follow && self.path.is_some()
    }

    fn read_error(&self, source: io::Error) -> SourceError {
        SourceError::Read { path: self.partition.partition.clone(), offset: self.input.offset, source }
    }

    fn position(&self) -> Option<Position> {
        self.path.as_ref()?;
        let prefix = &self.input.prefix;
        let covered =
            usize::try_from(self.consumed).map_or(prefix.len(), |consumed| consumed.min(prefix.len()));
        let fingerprint = (covered > 0).then(|| Fingerprint::of(&prefix[..covered]));
        Some(Position { fingerprint, ..Position::at(self.consumed) })
    }
}

impl Source for FileSource {
    fn partition(&self) -> &PartitionId {
        &self.partition
    }

    fn decoder(&self) -> Option<&str> {
        self.options.decoder.as_deref()
    }

    fn next_batch(&mut self, limits: &BatchLimits, out: &mut RecordBatch) -> Result<Progress, SourceError> {
        out.start(&self.partition, self.last.as_ref());
        match std::mem::replace(&mut self.state, State::Reading) {
            State::Reading => {}
            State::Restart => {
                if let Err(error) = self.reopen() {
                    // A rotation renames the file before it creates the next one.
                    let gone = matches!(&error, SourceError::Open { source, .. } if source.kind() == io::ErrorKind::NotFound);
                    self.state = if gone { State::Restart } else { State::Ended };
                    return if gone { Ok(Progress::Idle) } else { Err(error) };
                }
            }
            State::Failed(error) => {
                self.state = State::Ended;
                return Err(error);
            }
            State::Ended => {
                self.state = State::Ended;
                return Ok(Progress::End);
            }
        }
        let shape = match self.detected_shape() {
            Ok(Some(shape)) => shape,
            Ok(None) => {
                self.idle = true;
                return Ok(Progress::Idle);
            }
            Err(error) => {
                self.state = State::Ended;
                return Err(error);
            }
        };
        // Give memory back after one huge line.
        out.bytes.shrink_to(limits.bytes.saturating_mul(2).max(4 * CHUNK));
        let mut cursor = FillCursor::default();
        let outcome = self.fill(&shape, limits, out, &mut cursor);
        if cursor.read {
            self.carry.extend_from_slice(&out.bytes[cursor.parsed..]);
        } else {
            self.head += cursor.parsed;
        }
        out.bytes.truncate(cursor.parsed);
        self.consumed += cursor.parsed as u64;
        if !out.is_empty() {
            self.last = self.position();
            if std::mem::take(&mut self.opened_pending) {
                out.set_opened(self.opened);
            }
        }
        out.finish(self.last.clone());
        let progress = match outcome {
            Err(error) if out.is_empty() => {
                self.state = State::Ended;
                return Err(error);
            }
            // Deliver the records before the fault first; the next call reports it.
            Err(error) => {
                self.state = State::Failed(error);
                Progress::More
            }
            Ok(progress) => progress,
        };
        self.idle = progress == Progress::Idle;
        Ok(progress)
    }
}

pub(crate) fn input_error(partition: &PartitionId, error: InputError) -> SourceError {
    let path = partition.partition.clone();
    match error {
        InputError::Io(source) => SourceError::Read { path, offset: 0, source },
        InputError::Unsupported(compression) => SourceError::Unsupported { path, compression },
    }
}

//! Files, pipes and standard input.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use memchr::memchr;

use crate::detect::{Shape, any_columns, detect};
use crate::envelope::{Scratch, read_line};
use crate::format::{Format, Layout, byte_order_mark};
use crate::input::{Compression, Input, InputError};
use crate::respell::{all_doubled, copy_text, has_extended_numbers, plain_numbers};
use crate::scan::Span;
use crate::source::{BatchLimits, Opened, Progress, Source, SourceError};
use crate::table::{Dump, read_copied, read_row};
use crate::values::read_value;
use crate::{Fingerprint, Foreign, PartitionId, Position, RecordBatch};

/// Bytes read at once.
const CHUNK: usize = 256 << 10;

/// How to read a file.
///
/// ```
/// use turnmill_source::{FileOptions, Format};
/// let options = FileOptions { format: Some(Format::Kcat), ..FileOptions::default() };
/// assert_eq!(options.source, "file");
/// assert_eq!(options.max_record_bytes, 256 * 1024 * 1024);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOptions {
    /// Name of the source in positions, `"file"` by default.
    pub source: String,
    /// The format; detected from the content if `None`.
    pub format: Option<Format>,
    /// Wait for more at the end of the file, and take complete lines only.
    pub follow: bool,
    /// Largest line or tracker dump in bytes, 256 MiB by default. A larger one is an error: it cannot become a record
    /// with its bytes kept, and nothing is left out silently.
    pub max_record_bytes: usize,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self { source: "file".into(), format: None, follow: false, max_record_bytes: 256 << 20 }
    }
}

/// A file as a [`Source`]: plain, gzip or Zstandard, UTF-8 or UTF-16, in any [`Format`].
///
/// Each line is a record (in other [layouts](Layout) each value or row, and in tracker dumps each event), also the last one
/// without a line break, unless the file is followed. So a file that is still being written is better followed: of a line that was taken when half of it was
/// there, the other half will be another record. Memory: the batch's limits, the largest record, and 256 KiB.
///
/// While following, growth, truncation and replacement are noticed when [`Progress::Idle`] is waited out. A file that
/// was renamed is read to its end before the new one at its path is begun. The first batch of the new one says
/// [`Opened::Replaced`].
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
/// let again = FileSource::open(file.path(), FileOptions::default(), batch.to())?.next_batch(&BatchLimits::default(), &mut batch)?;
/// assert_eq!((again, batch.len()), (Progress::End, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FileSource {
    partition: PartitionId,
    options: FileOptions,
    /// `None` for streams, which have no positions.
    path: Option<PathBuf>,
    input: Input,
    /// What the file holds, once it is known.
    shape: Option<Shape>,
    /// Where reading is in a dump.
    dump: Dump,
    /// Bytes that were read and not consumed: those from `head` on.
    carry: Vec<u8>,
    head: usize,
    /// Offset behind the last consumed byte.
    consumed: u64,
    /// What a store holds once everything delivered is committed.
    last: Option<Position>,
    opened: Opened,
    /// `opened` has not been told with a batch yet.
    untold: bool,
    /// The last answer was `Idle`.
    idle: bool,
    /// The followed file was replaced: what was read of it is all there will be.
    closing: bool,
    state: State,
    scratch: Scratch,
}

#[derive(Debug)]
enum State {
    Reading,
    /// The file was replaced; begin the new one next time.
    Restart,
    Failed(SourceError),
    Ended,
}

/// What became of the followed file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Same,
    /// Another file stands at the path, the old one can be read on.
    Moved,
    /// The file has other content or is shorter than what was read.
    Overwritten,
}

impl FileSource {
    /// Opens the file `path`, behind the position `resume_from` if that is of this file.
    ///
    /// The partition is the canonical path. A path that is no regular file (a pipe) is a stream without positions.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if the file cannot be opened or read, is an SQLite database, or is compressed and followed.
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

    /// Standard input: no positions, redelivery is left to the events' identity. With `follow` a batch ends as soon
    /// as no more input is at hand.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if standard input cannot be read.
    pub fn stdin(options: FileOptions) -> Result<Self, SourceError> {
        let partition = PartitionId::new(options.source.clone(), "-");
        Self::stream(partition, Box::new(io::stdin()), options)
    }

    /// Any other stream, treated as [`Self::stdin`] is, under the given partition.
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

    /// The format, as soon as it is known: it is detected when the first batch is asked for.
    #[must_use]
    pub fn format(&self) -> Option<Format> {
        self.shape.as_ref().map(|shape| shape.format)
    }

    /// The layout, as soon as it is known, which is when the format is.
    #[must_use]
    pub fn layout(&self) -> Option<Layout> {
        self.shape.as_ref().map(|shape| shape.layout)
    }

    /// The first bytes of a source that nothing was read of yet, decompressed, in UTF-8, and at most `most`. They are
    /// read again with the first batch.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if they cannot be read.
    pub fn first_bytes(&mut self, most: usize) -> Result<&[u8], SourceError> {
        while self.carry.len() < most && self.read_ahead()? {}
        Ok(&self.carry[..self.carry.len().min(most)])
    }

    /// How the file is compressed.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.input.compression
    }

    /// How the file was opened, or opened again while following.
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
            untold: true,
            idle: false,
            closing: false,
            state: State::Reading,
            scratch: Scratch::default(),
        };
        source.admit()?;
        Ok(source)
    }

    /// Refuses what cannot be read as records.
    fn admit(&self) -> Result<(), SourceError> {
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

    /// Goes to `position`; false if it is of another file.
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
        if self.format() == Some(Format::PgDump) {
            return self.pass_dump(position.offset);
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

    /// Tells what the file holds from its first bytes, if they suffice; they do if these are `all`.
    fn detect(&mut self, all: bool) -> Result<bool, SourceError> {
        let first = &self.carry[self.head..];
        if let Some(foreign) = Foreign::binary(first) {
            return Err(SourceError::Foreign { path: self.partition.partition.clone(), foreign });
        }
        self.shape = detect(first, all).map(|shape| match self.options.format {
            Some(format) => shape.told(format),
            None => shape,
        });
        Ok(self.shape.is_some())
    }

    /// Goes through a dump from its start to `offset`, because what a line means is said by those before it; false if no
    /// line ends there.
    fn pass_dump(&mut self, offset: u64) -> Result<bool, SourceError> {
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
                // A last line without a line break.
                let rest = self.carry.len();
                self.dump.pass(&self.carry);
                self.head = rest;
                self.consumed += rest as u64;
                return Ok(self.consumed == offset);
            }
        }
    }

    /// Begins the file at the path from its start, because it is not the one that was read.
    fn reopen(&mut self) -> Result<(), SourceError> {
        let Some(path) = &self.path else { return Ok(()) };
        let file = File::open(path).map_err(|source| SourceError::Open { path: path.clone(), source })?;
        self.input = Input::file(file).map_err(|error| input_error(&self.partition, error))?;
        self.admit()?;
        self.shape = None;
        self.dump = Dump::default();
        self.carry.clear();
        self.head = 0;
        self.consumed = 0;
        self.idle = false;
        self.closing = false;
        self.opened = if self.last.is_some() { Opened::Replaced } else { Opened::Fresh };
        self.untold = true;
        Ok(())
    }

    /// Reads a chunk into the carry; false at the end.
    fn read_ahead(&mut self) -> Result<bool, SourceError> {
        let eager = self.eager();
        let read = self.input.read(&mut self.carry, CHUNK, eager);
        read.map(|read| read > 0).map_err(|error| self.read_error(error))
    }

    /// Whether to hand over what is at hand instead of filling batches.
    fn eager(&self) -> bool {
        self.options.follow && self.path.is_none()
    }

    /// Detects what the file holds if need be; `None` if there is nothing yet to tell it from.
    fn known_shape(&mut self) -> Result<Option<Shape>, SourceError> {
        let mut more = true;
        while self.shape.is_none() {
            if !self.detect(!more)? {
                more = self.read_ahead()?;
                if !more && self.follows() {
                    match self.change() {
                        Change::Same => return Ok(None),
                        Change::Moved => {}
                        Change::Overwritten => self.closing = true,
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

    /// Whether the file at the path is still the one that is read.
    fn change(&self) -> Change {
        let (Some(path), Some(file)) = (&self.path, self.input.plain_file()) else { return Change::Same };
        // While a file is being replaced there may be none for a moment.
        let (Ok(there), Ok(here)) = (path.metadata(), file.metadata()) else { return Change::Same };
        if !same_file(&there, &here) {
            return Change::Moved;
        }
        if there.len() < self.input.offset {
            return Change::Overwritten;
        }
        let mut prefix = Vec::with_capacity(self.input.prefix.len());
        let wanted = self.input.prefix.len() as u64;
        match File::open(path).and_then(|file| file.take(wanted).read_to_end(&mut prefix)) {
            Ok(_) if prefix != self.input.prefix => Change::Overwritten,
            _ => Change::Same,
        }
    }

    /// Fills the batch; what is left over stays behind `parsed`.
    fn fill(
        &mut self,
        shape: &Shape,
        limits: &BatchLimits,
        out: &mut RecordBatch,
        work: &mut Work,
    ) -> Result<Progress, SourceError> {
        let (base, records, bytes) = (self.consumed, limits.records.max(1), limits.bytes.max(1));
        self.closing |= self.follows() && self.idle && self.change() == Change::Overwritten;
        let (mut end, mut moved_seen, mut partial) = (self.closing, false, self.eager());
        loop {
            self.take_carry(bytes, out, work);
            while out.len() < records && work.parsed < bytes {
                let all = end && work.carried + self.head >= self.carry.len();
                let (at, format) = (work.parsed, shape.format);
                let next = match (shape.layout, format) {
                    (Layout::Values, _) => read_value(format, at, base, all, &mut self.scratch, out),
                    (Layout::Rows, Format::PgDump) => next_copied(base, all, &mut self.dump, out, work),
                    (Layout::Rows, _) => {
                        let columns = shape.columns.unwrap_or_else(any_columns);
                        read_row(&columns, at, base, all, out)
                    }
                    (Layout::Lines, _) => next_line(shape, base, all, &mut self.scratch, out, work),
                };
                match next {
                    Some(next) => work.parsed = next,
                    None => break,
                }
            }
            let carry_left = work.carried + self.head < self.carry.len();
            let drained = !carry_left && work.parsed == out.bytes.len();
            if !(end && drained)
                && (out.len() >= records || work.parsed >= bytes || partial && !out.is_empty())
            {
                return Ok(Progress::More);
            }
            if carry_left {
                continue;
            }
            if end {
                let restart = self.follows();
                self.state = if restart { State::Restart } else { State::Ended };
                return Ok(if restart { Progress::More } else { Progress::End });
            }
            let open = out.bytes.len() - work.parsed;
            if !out.is_empty() && out.bytes.len() >= bytes {
                return Ok(Progress::More);
            }
            if open > self.options.max_record_bytes {
                let path = self.partition.partition.clone();
                let limit = self.options.max_record_bytes;
                let offset = base + work.parsed as u64;
                return Err(SourceError::RecordTooLarge { path, offset, limit });
            }
            // A value is scanned anew when more of it is there, so its bytes have to come in growing steps.
            let want = if shape.layout == Layout::Lines { CHUNK } else { CHUNK.max(open) };
            if !work.read {
                work.read = true;
                self.carry.clear();
                self.head = 0;
                work.carried = 0;
            }
            let read = self.input.read(&mut out.bytes, want, self.eager());
            let read = read.map_err(|error| self.read_error(error))?;
            partial = self.eager() && read < want;
            if read > 0 {
                continue;
            }
            if !self.follows() {
                end = true;
                continue;
            }
            match self.change() {
                Change::Same => return Ok(Progress::Idle),
                // Something may have been written between reading and looking.
                Change::Moved if !moved_seen => moved_seen = true,
                Change::Moved | Change::Overwritten => end = true,
            }
            self.closing = end;
        }
    }

    /// Copies carried bytes into the batch, if all of those it has are used up and it wants more.
    fn take_carry(&self, bytes: usize, out: &mut RecordBatch, work: &mut Work) {
        let rest = &self.carry[(self.head + work.carried).min(self.carry.len())..];
        if work.read || rest.is_empty() {
            return;
        }
        // Grows with what is there, for the same reason as reading does.
        let step = bytes.max(CHUNK).max(out.bytes.len() - work.parsed).min(rest.len());
        out.bytes.extend_from_slice(&rest[..step]);
        work.carried += step;
    }
}

/// How far the filling of a batch came.
#[derive(Debug, Default)]
struct Work {
    /// Consumed bytes of the batch's buffer.
    parsed: usize,
    /// Up to here there is no line break behind `parsed`.
    searched: usize,
    /// Bytes of the carry that were copied.
    carried: usize,
    /// The carry was used up, and something was read behind it.
    read: bool,
}

impl Source for FileSource {
    fn partition(&self) -> &PartitionId {
        &self.partition
    }

    fn next_batch(&mut self, limits: &BatchLimits, out: &mut RecordBatch) -> Result<Progress, SourceError> {
        out.start(&self.partition, self.last.as_ref());
        match std::mem::replace(&mut self.state, State::Reading) {
            State::Reading => {}
            State::Restart => {
                if let Err(error) = self.reopen() {
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
        let shape = match self.known_shape() {
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
        // One huge line must not hold its memory for ever.
        out.bytes.shrink_to(limits.bytes.saturating_mul(2).max(4 * CHUNK));
        let mut work = Work::default();
        let outcome = self.fill(&shape, limits, out, &mut work);
        if work.read {
            self.carry.extend_from_slice(&out.bytes[work.parsed..]);
        } else {
            self.head += work.parsed;
        }
        out.bytes.truncate(work.parsed);
        self.consumed += work.parsed as u64;
        if !out.is_empty() {
            self.last = self.position();
            if std::mem::take(&mut self.untold) {
                out.set_opened(self.opened);
            }
        }
        out.finish(self.last.clone());
        let progress = match outcome {
            Err(error) if out.is_empty() => {
                self.state = State::Ended;
                return Err(error);
            }
            // What came before the fault is handed over first.
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

/// Reads the next line; returns where to go on, or `None` if there is no complete one.
fn next_line(
    shape: &Shape,
    base: u64,
    end: bool,
    scratch: &mut Scratch,
    out: &mut RecordBatch,
    work: &mut Work,
) -> Option<usize> {
    let (mut line, next) = find_line(base, end, &out.bytes, work)?;
    let offset = base + work.parsed as u64;
    if shape.doubled && all_doubled(line.of(&out.bytes)) {
        line = copy_text(&mut out.bytes, line);
    }
    if shape.extended && has_extended_numbers(line.of(&out.bytes)) {
        plain_numbers(&mut out.bytes, line);
        line.end = line.start + line.of(&out.bytes).trim_ascii_end().len();
    }
    read_line(shape.format, line, offset, scratch, out);
    Some(next)
}

/// Goes past the next line of a dump, which is a record if it is a row of the table.
fn next_copied(
    base: u64,
    end: bool,
    dump: &mut Dump,
    out: &mut RecordBatch,
    work: &mut Work,
) -> Option<usize> {
    let (line, next) = find_line(base, end, &out.bytes, work)?;
    if let Some(columns) = dump.pass(line.of(&out.bytes)) {
        read_copied(&columns, line, base + work.parsed as u64, out);
    }
    Some(next)
}

/// The next line, without its line break, and where the one after it begins.
fn find_line(base: u64, end: bool, bytes: &[u8], work: &mut Work) -> Option<(Span, usize)> {
    let start = work.parsed;
    let from = start.max(work.searched);
    let (stop, next) = match memchr(b'\n', &bytes[from..]) {
        Some(found) => (from + found, from + found + 1),
        None if end && start < bytes.len() => (bytes.len(), bytes.len()),
        None => {
            work.searched = bytes.len();
            return None;
        }
    };
    let mut line = Span::new(start, stop);
    if base == 0 && start == 0 {
        line.start += byte_order_mark(line.of(bytes));
    }
    if line.of(bytes).last() == Some(&b'\r') {
        line.end -= 1;
    }
    Some((line, next))
}

fn input_error(partition: &PartitionId, error: InputError) -> SourceError {
    let path = partition.partition.clone();
    match error {
        InputError::Io(source) => SourceError::Read { path, offset: 0, source },
        InputError::Unsupported(compression) => SourceError::Unsupported { path, compression },
    }
}

#[cfg(unix)]
fn same_file(a: &Metadata, b: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(not(unix))]
fn same_file(_: &Metadata, _: &Metadata) -> bool {
    // Only shorter or other content shows a replacement here.
    true
}

//! Opens inputs of all kinds.

use std::fmt;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use turnmill_formats::shipped;
use turnmill_model::{Decoder, Decoders, PartitionId};
use turnmill_pipeline::{Stop, explain};
use turnmill_source::{
    BatchLimits, Container, FileOptions, FileSource, GroupLimits, GroupProgress, GroupSource, PartitionStart,
    Position, Progress, RecordBatch, Source, SourceError, UnwrappedFile,
};
#[cfg(feature = "postgres")]
use turnmill_source_tracker::PostgresTracker;
use turnmill_source_tracker::{TrackerOptions, TrackerSource, is_sqlite};

use crate::args::Args;
use crate::{Failure, probe, stores};

/// Bytes of a stream to check before anything is written.
const STREAM_HEAD: u64 = 1 << 20;
/// Bytes of a file to examine for an error message.
const CONTENT: usize = 64 << 10;

/// All inputs of the command line.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    pub(crate) open: Vec<Input>,
    /// Error messages of files in directories that were skipped.
    pub(crate) refused: Vec<String>,
}

impl Inputs {
    /// Opens and checks each input before anything is written.
    pub(crate) fn new(args: &Args) -> Result<Self, Failure> {
        let mut inputs = Self::default();
        let endpoints = args.endpoints.as_deref().map(stores::of_endpoints).transpose()?;
        for path in args.inputs().chain(&endpoints) {
            if path.is_dir() {
                inputs.add_folder(path, args)?;
            } else {
                inputs.open.push(Input::new(path, args)?);
            }
        }
        Ok(inputs)
    }

    /// Adds the files of a directory and its subdirectories. Skips files that are not inputs,
    /// unless all are.
    fn add_folder(&mut self, folder: &Path, args: &Args) -> Result<(), Failure> {
        let mut files = Vec::new();
        list(folder, &mut files).map_err(|source| SourceError::Open { path: folder.to_owned(), source })?;
        files.sort();
        if files.is_empty() {
            return Err(Failure::Refused(format!("directory `{}` contains no files", folder.display())));
        }
        let (before, mut refused) = (self.open.len(), Vec::new());
        for file in &files {
            match Input::new(file, args) {
                Ok(input) => self.open.push(input),
                Err(failure) => refused.push(explain(&failure)),
            }
        }
        if self.open.len() == before {
            let first = refused.into_iter().next().unwrap_or_default();
            let name = folder.display();
            return Err(Failure::Refused(if files.len() == 1 {
                format!("cannot read the only file in directory `{name}`: {first}")
            } else {
                format!(
                    "cannot read any of the {} files in directory `{name}`; the first one: {first}",
                    files.len()
                )
            }));
        }
        self.refused.extend(refused);
        Ok(())
    }
}

/// Lists the files below `folder`, except hidden ones and the companion files of SQLite databases.
fn list(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let companion = ["-wal", "-shm", "-journal"].iter().any(|end| name.ends_with(end));
        if name.starts_with('.') || companion {
            continue;
        }
        // Does not follow links to directories, which may form a cycle.
        if entry.file_type()?.is_dir() {
            list(&entry.path(), files)?;
        } else if entry.path().is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// One input of the command line.
#[derive(Debug)]
pub(crate) struct Input {
    /// Name for messages, without password.
    pub(crate) name: String,
    kind: Kind,
    source: String,
    format: Option<Container>,
    /// The decoder that takes the records of a file out of their envelopes.
    unwraps: Option<Unwraps>,
    follow: bool,
    /// Key of its position. Standard input and pipes have none; those of a topic are known once it
    /// is read.
    pub(crate) key: Option<PartitionId>,
    /// Size of a file of lines, in bytes as stored.
    pub(crate) size: Option<u64>,
}

/// A decoder with an unwrapper, by its name.
#[derive(Clone)]
struct Unwraps {
    decoders: Decoders,
    name: String,
}

impl Unwraps {
    fn new(decoders: &Decoders, name: &str) -> Option<Self> {
        decoders.named(name)?.unwrapper()?;
        Some(Self { decoders: decoders.clone(), name: name.to_owned() })
    }

    /// Returns the decoder.
    fn decoder(&self) -> Option<&dyn Decoder> {
        self.decoders.named(&self.name)
    }
}

impl fmt::Debug for Unwraps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Unwraps").field(&self.name).finish()
    }
}

#[derive(Debug)]
enum Kind {
    Stream(Stream),
    File(PathBuf),
    Sqlite(PathBuf),
    #[cfg(feature = "postgres")]
    Postgres(String),
    #[cfg(feature = "kafka")]
    Kafka(Box<turnmill_source_kafka::KafkaSettings>),
}

/// Standard input or a pipe, which can be read once.
struct Stream {
    /// Path of the pipe, or `None` for standard input.
    path: Option<PathBuf>,
    /// After the check: the bytes already read, followed by the rest.
    begun: Mutex<Option<Box<dyn Read + Send>>>,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Stream {
    fn new(path: Option<&Path>) -> Self {
        Self { path: path.map(Path::to_path_buf), begun: Mutex::new(None) }
    }

    /// Returns a reader of the whole stream.
    fn reader(&self) -> Result<Box<dyn Read + Send>, SourceError> {
        let begun = self.begun.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        match (begun, &self.path) {
            (Some(begun), _) => Ok(begun),
            (None, None) => Ok(Box::new(std::io::stdin())),
            (None, Some(path)) => {
                let file = File::open(path);
                Ok(Box::new(file.map_err(|source| SourceError::Open { path: path.clone(), source })?))
            }
        }
    }

    /// Returns the first bytes. [`reader`](Self::reader) returns them again.
    fn head(&self) -> Result<Vec<u8>, SourceError> {
        let mut reader = self.reader()?;
        let mut head = Vec::new();
        let name = self.path.clone().unwrap_or_else(|| "-".into());
        let failed = |source| SourceError::Open { path: name, source };
        (&mut reader).take(STREAM_HEAD).read_to_end(&mut head).map_err(failed)?;
        let whole = Box::new(Cursor::new(head.clone()).chain(reader));
        *self.begun.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(whole);
        Ok(head)
    }
}

/// An open input.
pub(crate) enum Opened {
    /// An input with one position.
    Source(Box<dyn Source>),
    /// A topic, with one position per partition.
    #[cfg_attr(not(feature = "kafka"), expect(dead_code, reason = "only topics have partitions"))]
    Group(Box<dyn GroupSource>),
}

impl Input {
    /// Opens and checks the input `path`.
    pub(crate) fn new(path: &Path, args: &Args) -> Result<Self, Failure> {
        let mut input = Self {
            name: turnmill_text::escaped(&turnmill_text::redact(&path.to_string_lossy())).to_string(),
            kind: Kind::File(path.to_path_buf()),
            source: args.source.clone(),
            format: args.format,
            unwraps: None,
            follow: args.follow,
            key: None,
            size: None,
        };
        let text = path.to_str().unwrap_or_default();
        if path == Path::new("-") {
            input.kind = Kind::Stream(Stream::new(None));
            input.detect_format(args)?;
            input.check(args)?;
            return Ok(input);
        }
        if let Some(refusal) = stores::refused_url(text) {
            return Err(Failure::Refused(refusal));
        }
        if let Some(topic) = text.strip_prefix("kafka:") {
            #[cfg(not(feature = "kafka"))]
            return Err(Failure::MissingFeature { input: format!("kafka:{topic}"), feature: "kafka" });
            #[cfg(feature = "kafka")]
            {
                if args.follow {
                    let why = "--follow does not support topics; use `turnmill run` instead";
                    return Err(Failure::Usage(why.into()));
                }
                input.kind = Kind::Kafka(Box::new(args.kafka.input(topic)?));
                return Ok(input);
            }
        }
        if text.starts_with("postgres") && text.contains("://") {
            #[cfg(not(feature = "postgres"))]
            return Err(Failure::MissingFeature { input: "postgresql://".into(), feature: "postgres" });
            #[cfg(feature = "postgres")]
            {
                input.name = PostgresTracker::name(text)?;
                input.kind = Kind::Postgres(text.to_owned());
            }
        } else if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            input.kind = Kind::Stream(Stream::new(Some(path)));
            input.detect_format(args)?;
            input.check(args)?;
            return Ok(input);
        } else if is_sqlite(path).unwrap_or(false) {
            input.kind = Kind::Sqlite(path.to_path_buf());
        } else {
            input.size = std::fs::metadata(path).ok().map(|metadata| metadata.len());
            input.detect_format(args)?;
        }
        input.key = Some(input.source(None)?.partition().clone());
        input.check(args)?;
        Ok(input)
    }

    /// Finds out whether a decoder takes the records of the file or stream out of envelopes: the
    /// named one, else one that certainly knows the first bytes.
    fn detect_format(&mut self, args: &Args) -> Result<(), Failure> {
        let decoders = shipped(&args.settings());
        if let Some(name) = &args.facts.decoder {
            if decoders.named(name).is_none() {
                let known: Vec<&str> = decoders.names().collect();
                let why = format!("there is no decoder `{name}`; expected {}", known.join(" or "));
                return Err(Failure::Usage(why));
            }
            self.unwraps = Unwraps::new(&decoders, name);
            return Ok(());
        }
        if self.format.is_some() {
            return Ok(());
        }
        let mut file = match &self.kind {
            // A followed stream may have no content yet.
            Kind::Stream(_) if self.follow => return Ok(()),
            Kind::Stream(stream) => self.stream(Box::new(Cursor::new(stream.head()?)))?,
            Kind::File(path) => FileSource::open(path, self.options(), None)?,
            _ => return Ok(()),
        };
        // Damage further on is reported when the file is read.
        let head = file.first_bytes(CONTENT).unwrap_or_default();
        self.unwraps = decoders.claiming(head).and_then(|decoder| Unwraps::new(&decoders, decoder.name()));
        Ok(())
    }

    /// Refuses an input without records or events.
    fn check(&self, args: &Args) -> Result<(), Failure> {
        let refused = |why: String| Err(Failure::Refused(format!("`{}`: {why}", self.name)));
        let decoders = shipped(&args.settings());
        let facts = args.facts.of_source();
        let options = probe::ProbeOptions { shift: args.shift, facts: facts.borrow() };
        let (found, most, content) = match &self.kind {
            // A followed stream may have no content yet.
            Kind::Stream(_) if args.follow => return Ok(()),
            Kind::Stream(stream) => {
                let head = stream.head()?;
                // The last record may be incomplete.
                let most = usize::from(head.len() as u64 == STREAM_HEAD);
                let open = || self.stream(Box::new(Cursor::new(head.clone())));
                let mut source = self.source_of_stream(Box::new(Cursor::new(head.clone())))?;
                let found = probe::probe(&mut *source, &decoders, &options)?;
                let content = open()?.first_bytes(CONTENT)?.to_vec();
                (found, most, content)
            }
            Kind::File(path) => {
                let found = probe::probe(&mut *self.source(None)?, &decoders, &options)?;
                let mut file = FileSource::open(path, self.options(), None)?;
                let content = file.first_bytes(CONTENT).map(<[u8]>::to_vec);
                (found, 0, if self.unwraps.is_some() { content.unwrap_or_default() } else { content? })
            }
            Kind::Sqlite(_) => {
                let found = probe::probe(&mut *self.source(None)?, &decoders, &options)?;
                // A table without rows is not an error.
                (found, 0, Vec::new())
            }
            #[cfg(feature = "postgres")]
            Kind::Postgres(_) => {
                (probe::probe(&mut *self.source(None)?, &decoders, &options)?, 0, Vec::new())
            }
            #[cfg(feature = "kafka")]
            Kind::Kafka(_) => return Ok(()),
        };
        let is_table = !matches!(self.kind, Kind::Stream(_) | Kind::File(_));
        if found.is_empty() && !is_table && !args.follow {
            return refused(if content.trim_ascii().is_empty() {
                "the input is empty".into()
            } else {
                probe::no_records(&content)
            });
        }
        if args.no_dead_letter_limits {
            return Ok(());
        }
        found.refusal(most, &content).map_or(Ok(()), refused)
    }

    fn options(&self) -> FileOptions {
        FileOptions {
            source: self.source.clone(),
            container: self.format,
            follow: self.follow,
            ..FileOptions::default()
        }
    }

    /// Returns a source that reads `reader` under the name of this input.
    fn stream(&self, reader: Box<dyn Read + Send>) -> Result<FileSource, SourceError> {
        let path = match &self.kind {
            Kind::Stream(Stream { path: Some(path), .. }) => {
                path.canonicalize().unwrap_or_else(|_| path.clone()).to_string_lossy().into_owned()
            }
            _ => "-".to_owned(),
        };
        FileSource::stream(PartitionId::new(self.source.clone(), path), reader, self.options())
    }

    /// Returns the source of a stream, with its records out of their envelopes.
    fn source_of_stream(&self, reader: Box<dyn Read + Send>) -> Result<Box<dyn Source>, SourceError> {
        let Some(decoder) = self.unwraps.as_ref().and_then(Unwraps::decoder) else {
            return Ok(Box::new(self.stream(reader)?));
        };
        let partition = self.stream(Box::new(std::io::empty()))?.partition().clone();
        let source = UnwrappedFile::stream(partition, reader, self.options(), decoder)?;
        source.map(|source| Box::new(source) as Box<dyn Source>).ok_or_else(|| self.no_unwrapper())
    }

    /// Returns the source of the file `path`, with its records out of their envelopes.
    fn source_of_file(
        &self,
        path: &Path,
        position: Option<&Position>,
    ) -> Result<Box<dyn Source>, SourceError> {
        let Some(decoder) = self.unwraps.as_ref().and_then(Unwraps::decoder) else {
            return Ok(Box::new(FileSource::open(path, self.options(), position)?));
        };
        let source = UnwrappedFile::open(path, self.options(), decoder, position)?;
        source.map(|source| Box::new(source) as Box<dyn Source>).ok_or_else(|| self.no_unwrapper())
    }

    /// Returns the error of a decoder that takes nothing out of envelopes, though it was chosen.
    fn no_unwrapper(&self) -> SourceError {
        self.failed(std::io::Error::other("the decoder reads no files"))
    }

    /// Returns whether the input is a topic.
    pub(crate) fn is_kafka(&self) -> bool {
        #[cfg(feature = "kafka")]
        return matches!(self.kind, Kind::Kafka(_));
        #[cfg(not(feature = "kafka"))]
        false
    }

    /// Opens the input at its start, or a topic at the start of its range.
    pub(crate) fn open(&self) -> Result<Opened, SourceError> {
        #[cfg(feature = "kafka")]
        if let Kind::Kafka(settings) = &self.kind {
            let group = turnmill_source_kafka::KafkaGroup::start(settings);
            return Ok(Opened::Group(Box::new(group.map_err(|error| self.failed(error))?)));
        }
        self.source(None).map(Opened::Source)
    }

    /// Opens the input after `position`. Fails for a topic, which has a position per partition.
    pub(crate) fn source(&self, position: Option<&Position>) -> Result<Box<dyn Source>, SourceError> {
        let of_tracker = || TrackerOptions { source: self.source.clone(), follow: self.follow };
        Ok(match &self.kind {
            Kind::Stream(stream) => self.source_of_stream(stream.reader()?)?,
            Kind::File(path) => self.source_of_file(path, position)?,
            Kind::Sqlite(path) => {
                let opened = TrackerSource::open(path, of_tracker(), position);
                Box::new(opened.map_err(|error| self.failed(error))?)
            }
            #[cfg(feature = "postgres")]
            Kind::Postgres(url) => {
                let opened = PostgresTracker::open(url, of_tracker(), position);
                Box::new(opened.map_err(|error| self.failed(error))?)
            }
            #[cfg(feature = "kafka")]
            Kind::Kafka(_) => {
                let several = "a topic has a position per partition";
                return Err(self.failed(std::io::Error::other(several)));
            }
        })
    }

    fn failed(&self, error: impl std::error::Error + Send + Sync + 'static) -> SourceError {
        let partition = PartitionId::new(self.source.clone(), self.name.clone());
        SourceError::Other { partition, source: Box::new(error) }
    }

    /// Reads the whole input from its start, without a store, and calls `visit` with every batch.
    /// With `follow` (and `--follow`), waits for more data until `stop`.
    pub(crate) fn each_batch(
        &self,
        records: usize,
        follow: bool,
        stop: &Stop,
        visit: &mut dyn FnMut(&RecordBatch) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut batch = RecordBatch::new();
        match self.open()? {
            Opened::Source(mut source) => {
                let limits = BatchLimits { records, ..BatchLimits::default() };
                while !stop.is_set() {
                    let progress = source.next_batch(&limits, &mut batch)?;
                    visit(&batch)?;
                    match progress {
                        Progress::More => {}
                        Progress::Idle if follow => stop.wait(Duration::from_millis(200)),
                        Progress::Idle | Progress::End => return Ok(()),
                    }
                }
            }
            Opened::Group(mut group) => {
                let control = group.control();
                let limits = group_limits(records);
                while !stop.is_set() {
                    match group.next(&limits, &mut batch)? {
                        GroupProgress::Batch => visit(&batch)?,
                        GroupProgress::Assigned(assignment) => {
                            let all = assignment.partitions.into_iter().map(|assigned| assigned.partition);
                            control.start(assignment.generation, all.map(PartitionStart::earliest).collect());
                        }
                        GroupProgress::Revoked { generation, .. } => control.released(generation),
                        GroupProgress::Idle => {}
                        GroupProgress::End => return Ok(()),
                    }
                }
            }
        }
        Ok(())
    }
}

/// Returns the limits of a topic's batches.
pub(crate) fn group_limits(records: usize) -> GroupLimits {
    GroupLimits { records: records.max(1), ..GroupLimits::default() }
}

//! Opening inputs, whatever they are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use turnmill_pipeline::Stop;
use turnmill_sink::PositionKey;
use turnmill_source::{
    BatchLimits, FileOptions, FileSource, Format, GroupLimits, GroupProgress, GroupSource, Partition,
    Position, Progress, RecordBatch, Source, SourceError,
};
#[cfg(feature = "postgres")]
use turnmill_source_tracker::PostgresTracker;
use turnmill_source_tracker::{TrackerOptions, TrackerSource, is_sqlite};

use crate::Failure;
use crate::args::Args;

/// One input of the command line.
#[derive(Debug)]
pub(crate) struct Input {
    /// What it is called in messages; without a password.
    pub(crate) name: String,
    kind: Kind,
    source: String,
    format: Option<Format>,
    follow: bool,
    /// Its position's key; standard input and pipes have none, and those of a topic are told when it is read.
    pub(crate) key: Option<PositionKey>,
    /// Size in bytes, as stored, of a file of lines.
    pub(crate) size: Option<u64>,
}

#[derive(Debug)]
enum Kind {
    Stdin,
    File(PathBuf),
    Sqlite(PathBuf),
    #[cfg(feature = "postgres")]
    Postgres(String),
    #[cfg(feature = "kafka")]
    Kafka(Box<turnmill_source_kafka::KafkaSettings>),
}

/// An input that is open.
pub(crate) enum Opened {
    /// With one position.
    Source(Box<dyn Source>),
    /// With several partitions.
    #[cfg_attr(not(feature = "kafka"), expect(dead_code, reason = "only topics have them"))]
    Group(Box<dyn GroupSource>),
}

impl Input {
    /// The input called `name`; opens it once, so that a mistake is noticed before anything is written.
    pub(crate) fn new(path: &Path, args: &Args) -> Result<Self, Failure> {
        let mut input = Self {
            name: turnmill_text::escaped(&turnmill_text::redact(&path.to_string_lossy())).to_string(),
            kind: Kind::File(path.to_path_buf()),
            source: args.source.clone(),
            format: args.format,
            follow: args.follow,
            key: None,
            size: None,
        };
        let text = path.to_str().unwrap_or_default();
        if path == Path::new("-") {
            input.kind = Kind::Stdin;
            return Ok(input);
        }
        if let Some(topic) = text.strip_prefix("kafka:") {
            #[cfg(not(feature = "kafka"))]
            return Err(Failure::LeftOut { what: format!("kafka:{topic}"), feature: "kafka" });
            #[cfg(feature = "kafka")]
            {
                if args.follow {
                    let why = "--follow does not go with a topic: that is what `turnmill run` is for";
                    return Err(Failure::Usage(why.into()));
                }
                input.kind = Kind::Kafka(Box::new(args.kafka.input(topic)?));
                return Ok(input);
            }
        }
        if text.starts_with("postgres") && text.contains("://") {
            #[cfg(not(feature = "postgres"))]
            return Err(Failure::LeftOut { what: "postgresql://".into(), feature: "postgres" });
            #[cfg(feature = "postgres")]
            {
                input.name = PostgresTracker::name(text)?;
                input.kind = Kind::Postgres(text.to_owned());
            }
        } else if input.is_stream() {
            return Ok(input);
        } else if is_sqlite(path).unwrap_or(false) {
            input.kind = Kind::Sqlite(path.to_path_buf());
        } else {
            input.size = std::fs::metadata(path).ok().map(|metadata| metadata.len());
        }
        let partition = input.source(None)?.partition().clone();
        input.key = Some(PositionKey { source: partition.source, partition: partition.partition });
        Ok(input)
    }

    /// Whether it is a topic.
    pub(crate) fn is_kafka(&self) -> bool {
        #[cfg(feature = "kafka")]
        return matches!(self.kind, Kind::Kafka(_));
        #[cfg(not(feature = "kafka"))]
        false
    }

    fn is_stream(&self) -> bool {
        let Kind::File(path) = &self.kind else { return matches!(self.kind, Kind::Stdin) };
        std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file())
    }

    /// Opens the input from its start; a topic where its range begins.
    pub(crate) fn open(&self) -> Result<Opened, SourceError> {
        #[cfg(feature = "kafka")]
        if let Kind::Kafka(settings) = &self.kind {
            let group = turnmill_source_kafka::KafkaGroup::start(settings);
            return Ok(Opened::Group(Box::new(group.map_err(|error| self.failed(error))?)));
        }
        self.source(None).map(Opened::Source)
    }

    /// Opens the input behind `position`. A topic has no such thing.
    pub(crate) fn source(&self, position: Option<&Position>) -> Result<Box<dyn Source>, SourceError> {
        let options = FileOptions {
            source: self.source.clone(),
            format: self.format,
            follow: self.follow,
            ..FileOptions::default()
        };
        let of_tracker = || TrackerOptions { source: self.source.clone(), follow: self.follow };
        Ok(match &self.kind {
            Kind::Stdin => Box::new(FileSource::stdin(options)?),
            Kind::File(path) => Box::new(FileSource::open(path, options, position)?),
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
                let several = "a topic is read by its partitions' positions";
                return Err(self.failed(std::io::Error::other(several)));
            }
        })
    }

    fn failed(&self, error: impl std::error::Error + Send + Sync + 'static) -> SourceError {
        let partition = Partition::new(self.source.clone(), self.name.clone());
        SourceError::Other { partition, source: Box::new(error) }
    }

    /// Reads the whole input without a store, from its start, and hands every batch to `visit`; follows it, if that was asked
    /// for and `follow` agrees, until `stop`.
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
                            let all =
                                assignment.partitions.into_iter().map(|assigned| (assigned.partition, None));
                            control.start(assignment.generation, all.collect());
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

/// Limits of a topic's batches.
pub(crate) fn group_limits(records: usize) -> GroupLimits {
    GroupLimits { records: records.max(1), ..GroupLimits::default() }
}

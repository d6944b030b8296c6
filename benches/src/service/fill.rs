//! Runs the pipeline as the service does, from a topic into a store.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::RowRules;
use turnmill_model::Settings;
use turnmill_pipeline::{Event, Observer, Pipeline, Stop};
use turnmill_sink::Store;
use turnmill_sink_postgres::{ForeignKeys, PostgresSettings, PostgresStore};
use turnmill_source::GroupLimits;
use turnmill_source_kafka::{KafkaGroup, KafkaSettings};

use super::servers::{Servers, Topic};
use crate::measure::Failure;

/// Default number of events per batch, which is the service's.
pub(crate) const BATCH: usize = 10_000;

/// Options for reading a topic.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) topic: Topic,
    pub(crate) group: String,
    pub(crate) linger: Duration,
    /// Maximum number of events per batch.
    pub(crate) batch: usize,
    /// Whether to stop at the end of the partitions.
    pub(crate) until_end: bool,
    pub(crate) stop: Stop,
    /// Number of events that all consumers have committed. They stop when it reaches that of the
    /// topic.
    pub(crate) together: Option<Arc<AtomicI64>>,
}

/// Statistics of one consumer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filled {
    /// Time of its first assignment.
    pub(crate) begun: Option<Instant>,
    /// Time of its last commit.
    pub(crate) done: Option<Instant>,
    pub(crate) events: i64,
    pub(crate) late: u64,
    pub(crate) replays: u64,
    pub(crate) batches: u64,
    /// Number of fenced batches.
    pub(crate) fences: u64,
    /// Maximum number of consecutive fenced batches.
    pub(crate) longest: u64,
    /// Time within transactions, including engine and encoding.
    pub(crate) busy: Duration,
    /// Part of that time spent in commits.
    pub(crate) commits: Duration,
    streak: u64,
    reading: Option<Reading>,
}

impl Reading {
    pub(crate) fn new(topic: &Topic, group: impl Into<String>) -> Self {
        let linger = Duration::from_millis(500);
        Self {
            topic: topic.clone(),
            group: group.into(),
            linger,
            batch: BATCH,
            until_end: true,
            stop: Stop::default(),
            together: None,
        }
    }

    /// Reads into `store` on this thread; connections are tasks of the runtime.
    pub(crate) fn fill<S: Store>(&self, store: S, runtime: &Handle) -> Result<Filled, Failure> {
        let settings = Settings::default();
        let rules = RowRules::new(&settings, RasaDecoder::new);
        let mut pipeline = Pipeline::new(store, &rules, self.stop.clone()).with_cache_bytes(256 << 20);
        let mut kafka = KafkaSettings::new(&self.topic.bootstrap);
        kafka.topics = vec![self.topic.name.clone()];
        kafka.group_id.clone_from(&self.group);
        kafka.until_end = self.until_end;
        let source = KafkaGroup::start(&kafka)?;
        let limits = GroupLimits { records: self.batch, linger: self.linger, ..GroupLimits::default() };
        let mut filled = Filled { reading: Some(self.clone()), ..Filled::default() };
        let drained = runtime.block_on(pipeline.serve(Box::new(source), limits, &mut filled))?;
        let counts = drained.report.counts;
        if counts.dead_letters > 0 {
            return Err(format!("dead letters: {counts:?}").into());
        }
        (filled.events, filled.late, filled.replays) =
            (counts.events, drained.report.late, drained.report.replays);
        Ok(filled)
    }
}

impl Filled {
    /// Returns the time from the first assignment of any consumer to the last commit.
    pub(crate) fn seconds(all: &[Self]) -> f64 {
        let begun = all.iter().filter_map(|filled| filled.begun).min();
        let done = all.iter().filter_map(|filled| filled.done).max();
        begun.zip(done).map_or(f64::NAN, |(begun, done)| (done - begun).as_secs_f64())
    }
}

impl Observer for Filled {
    fn observe(&mut self, event: &Event<'_>) {
        match event {
            Event::Assigned { assignment, .. } if !assignment.partitions.is_empty() => {
                self.begun.get_or_insert_with(Instant::now);
            }
            Event::Committed { took, report, .. } => {
                self.done = Some(Instant::now());
                self.batches += 1;
                self.busy += *took;
                self.commits += report.commit;
                self.streak = 0;
                if let Some(Reading { together: Some(together), stop, topic, .. }) = &self.reading {
                    let before = together.fetch_add(report.counts.events, Ordering::Relaxed);
                    if u64::try_from(before + report.counts.events) == Ok(topic.records) {
                        stop.set();
                    }
                }
            }
            Event::Fenced { .. } => {
                self.fences += 1;
                self.streak += 1;
                self.longest = self.longest.max(self.streak);
            }
            Event::Retrying { error, pause } => println!("  trying again after {pause:?}: {error}"),
            _ => {}
        }
    }
}

/// Creates the tables of a schema and fills it from a whole topic, with several consumers of one
/// group. Returns the statistics of each.
pub(crate) fn into_schema(
    servers: &Servers,
    topic: &Topic,
    schema: &str,
    keys: ForeignKeys,
    consumers: usize,
    batch: usize,
) -> Result<Vec<Filled>, Failure> {
    let place = make_schema(servers, schema, keys)?;
    servers.settle();
    into_tables(servers, topic, &place, consumers, batch)
}

/// Makes the tables of a schema, unless they are there.
pub(crate) fn make_schema(
    servers: &Servers,
    schema: &str,
    keys: ForeignKeys,
) -> Result<PostgresSettings, Failure> {
    let place = servers.store(schema, keys)?;
    servers.runtime.block_on(PostgresStore::new(place.clone()).open(&Settings::default()))?;
    Ok(place)
}

/// Fills tables that are there, see [`into_schema`].
pub(crate) fn into_tables(
    servers: &Servers,
    topic: &Topic,
    place: &PostgresSettings,
    consumers: usize,
    batch: usize,
) -> Result<Vec<Filled>, Failure> {
    let schema = place.schema();
    let mut reading = Reading::new(topic, format!("group-{schema}"));
    // The end of a partition does not stop its consumer, which may be assigned another one.
    (reading.until_end, reading.together) = (false, Some(Arc::default()));
    reading.batch = batch;
    let filled: Vec<Filled> = std::thread::scope(|scope| {
        let consume = || reading.fill(PostgresStore::new(place.clone()), servers.runtime.handle());
        let threads: Vec<_> = (0..consumers).map(|_| scope.spawn(consume)).collect();
        let done = threads.into_iter().map(|thread| thread.join().map_err(|_| "a consumer failed")?);
        done.collect::<Result<_, Failure>>()
    })?;
    let events: i64 = filled.iter().map(|filled| filled.events).sum();
    if events != i64::try_from(topic.records)? {
        return Err(format!("{events} of {} events arrived in {schema}", topic.records).into());
    }
    Ok(filled)
}

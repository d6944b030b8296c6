//! The pipeline as the service runs it, from a topic into a store.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::RowRules;
use turnmill_model::Settings;
use turnmill_pipeline::{Event, Observer, Pipeline, Stop};
use turnmill_sink::Store;
use turnmill_sink_postgres::{ForeignKeys, PostgresStore};
use turnmill_source::GroupLimits;
use turnmill_source_kafka::{KafkaGroup, KafkaSettings};

use super::servers::{Servers, Topic};
use crate::measure::Failure;

/// Events of a batch, unless a measurement says otherwise.
pub(crate) const BATCH: usize = 5_000;

/// How to read a topic.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) topic: Topic,
    pub(crate) group: String,
    pub(crate) linger: Duration,
    /// Events of a batch.
    pub(crate) batch: usize,
    /// Whether to end where the partitions end.
    pub(crate) until_end: bool,
    pub(crate) stop: Stop,
    /// Events that all who share this have committed; when they have all of the topic, they stop.
    pub(crate) together: Option<Arc<AtomicI64>>,
}

/// What one consumer did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filled {
    /// When it first had partitions to read.
    pub(crate) begun: Option<Instant>,
    /// When it last committed.
    pub(crate) done: Option<Instant>,
    pub(crate) events: i64,
    pub(crate) late: u64,
    pub(crate) replays: u64,
    pub(crate) batches: u64,
    /// Batches that another writer was faster with.
    pub(crate) fences: u64,
    /// The same in a row, at most.
    pub(crate) longest: u64,
    /// Time in which the store was at work, from the begin of a transaction to its end, engine and encoding included.
    pub(crate) busy: Duration,
    /// Of it, the commits alone.
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
        let counts = drained.counts;
        if counts.dead_letters > 0 {
            return Err(format!("dead letters: {counts:?}").into());
        }
        (filled.events, filled.late, filled.replays) = (counts.events, drained.late, drained.replays);
        Ok(filled)
    }
}

impl Filled {
    /// From the first partitions of any of several consumers to their last commit.
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

/// Fills a schema from the whole of a topic with so many consumers of one group, in batches of so many events; what each
/// did.
pub(crate) fn into_schema(
    servers: &Servers,
    topic: &Topic,
    schema: &str,
    keys: ForeignKeys,
    consumers: usize,
    batch: usize,
) -> Result<Vec<Filled>, Failure> {
    let place = servers.store(schema, keys)?;
    servers.runtime.block_on(PostgresStore::new(place.clone()).open(&Settings::default()))?;
    let mut reading = Reading::new(topic, format!("group-{schema}"));
    // A partition that ends does not end its consumer, who may get another one.
    (reading.until_end, reading.together) = (false, Some(Arc::default()));
    reading.batch = batch;
    servers.settle();
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

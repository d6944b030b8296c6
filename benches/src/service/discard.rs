//! Compares Kafka to the engine, without a store, with librdkafka's own consumer.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use turnmill_model::{SenderId, SessionId, Settings};
use turnmill_sink::{
    Batch, Claim, EventLookup, HistoryPage, HistoryRequest, Locked, Opened, PatternSet, Store, StoreError,
    StoredCopies, Transaction,
};

use super::fill::{Filled, Reading};
use super::servers::{Keys, Servers, Topic};
use crate::body::Mix;
use crate::measure::{Failure, Figures, seconds};
use crate::stream::Shape;

/// A store that discards everything: timelines are those in the pipeline's cache, and writes are
/// dropped.
#[derive(Debug, Default)]
struct Discard(Settings);

struct DiscardTransaction<'s>(&'s Settings, &'s Claim);

impl Store for Discard {
    type Tx<'s> = DiscardTransaction<'s>;

    async fn open(&mut self, settings: &Settings) -> Result<Opened, StoreError> {
        self.0 = settings.clone();
        Ok(Opened::default())
    }

    async fn patterns(&mut self) -> Result<PatternSet, StoreError> {
        Ok(PatternSet::default())
    }

    async fn begin<'s>(&'s mut self, claim: &'s Claim) -> Result<DiscardTransaction<'s>, StoreError> {
        Ok(DiscardTransaction(&self.0, claim))
    }
}

impl Transaction for DiscardTransaction<'_> {
    fn settings(&self) -> &Settings {
        self.0
    }

    fn patterns_revision(&self) -> u64 {
        0
    }

    async fn timelines(&mut self) -> Result<Vec<Locked>, StoreError> {
        let state = |cached: Option<u64>| cached.map_or(Locked::Absent, |_| Locked::Current);
        Ok(self.1.senders.iter().map(|claim| state(claim.cached)).collect())
    }

    async fn known(&mut self, events: &[EventLookup]) -> Result<Vec<StoredCopies>, StoreError> {
        Ok(vec![StoredCopies::default(); events.len()])
    }

    async fn session_owners(&mut self, ids: &[SessionId]) -> Result<Vec<Option<SenderId>>, StoreError> {
        Ok(vec![None; ids.len()])
    }

    async fn histories(&mut self, requests: &[HistoryRequest]) -> Result<Vec<HistoryPage>, StoreError> {
        Ok(vec![HistoryPage::default(); requests.len()])
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        std::hint::black_box(batch);
        Ok(())
    }

    async fn commit(self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Returns the seconds librdkafka needs to deliver all records of a topic, from the first one on,
/// with its defaults.
fn drain(topic: &Topic) -> Result<f64, Failure> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &topic.bootstrap)
        .set("group.id", "drain")
        .set("enable.auto.commit", "false")
        .create()?;
    let mut partitions = TopicPartitionList::new();
    for partition in 0..topic.partitions {
        partitions.add_partition_offset(&topic.name, i32::try_from(partition)?, Offset::Beginning)?;
    }
    let mut start = Instant::now();
    consumer.assign(&partitions)?;
    let (mut records, mut bytes) = (0, 0);
    while records < topic.records {
        if let Some(message) = consumer.poll(Duration::from_secs(10)) {
            bytes += message?.payload_len();
            if records == 0 {
                start = Instant::now();
            }
            records += 1;
        } else if start.elapsed() > Duration::from_secs(600) {
            return Err("the topic cannot be drained".into());
        }
    }
    std::hint::black_box(bytes);
    Ok(start.elapsed().as_secs_f64())
}

/// Prints the ratio for each mix.
pub(crate) fn measure(events: u64, runs: usize) -> Result<(), Failure> {
    let servers = Servers::start()?;
    for mix in [Mix::Lean, Mix::Capture] {
        let topic = servers.produce(&Shape::new(mix, events, 1), 1, Keys::Sender)?;
        let [mut wall, mut cpu, mut rate, mut drained] = std::array::from_fn(|_| Figures::default());
        for run in 0..=runs {
            let (filled, ours) = seconds(|| {
                let reading = Reading::new(&topic, format!("discard-{mix:?}-{run}"));
                reading.fill(Discard::default(), servers.runtime.handle())
            })?;
            let took = Filled::seconds(std::slice::from_ref(&filled));
            let (plain, theirs) = seconds(|| drain(&topic))?;
            // The first run is a warm-up.
            if run > 0 {
                wall.push(plain / took);
                cpu.push(theirs.cpu / ours.cpu);
                rate.push(events as f64 / took / 1000.0);
                drained.push(events as f64 / plain / 1000.0);
            }
        }
        println!("{mix:?}, {events} events, one partition, batches of {}", super::fill::BATCH);
        println!("  rate of Kafka to engine / rate of librdkafka's consumer: {wall} wall, {cpu} processors");
        println!("  {rate} and {drained} thousand events a second");
    }
    Ok(())
}

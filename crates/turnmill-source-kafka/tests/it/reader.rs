//! A reader that keeps positions like a store, and a writer.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use turnmill_source::{
    Assignment, GroupControl, GroupLimits, GroupProgress, GroupSource, Opened, PartitionId,
    PartitionPosition, PartitionStart, Position, RecordBatch,
};
use turnmill_source_kafka::{KafkaGroup, KafkaProducer, KafkaSettings, OutgoingRecord, ProducerSettings};

pub(crate) const LIMITS: GroupLimits = GroupLimits {
    records: 500,
    bytes: 1 << 20,
    linger: Duration::from_millis(100),
    wait: Duration::from_millis(100),
};

pub(crate) fn settings(bootstrap: &str, topic: &str) -> KafkaSettings {
    let mut settings = KafkaSettings::new(bootstrap);
    settings.topics = vec![topic.to_owned()];
    settings.group_id = format!("group-of-{topic}");
    settings
}

/// Stored positions. Several readers may share them.
pub(crate) type Stored = HashMap<PartitionId, Position>;

pub(crate) struct Reader {
    pub(crate) group: KafkaGroup,
    pub(crate) control: Arc<dyn GroupControl>,
    pub(crate) stored: Stored,
    /// Values by partition number.
    pub(crate) seen: BTreeMap<i32, Vec<String>>,
    /// All values in the order of arrival.
    pub(crate) order: Vec<String>,
    pub(crate) opened: Vec<Opened>,
    pub(crate) assigned: Option<Assignment>,
    pub(crate) batches: usize,
}

impl Reader {
    pub(crate) fn new(settings: &KafkaSettings, stored: Stored) -> Self {
        let group = KafkaGroup::start(settings).unwrap();
        let control = group.control();
        let (seen, order, opened) = Default::default();
        Self { group, control, stored, seen, order, opened, assigned: None, batches: 0 }
    }

    /// Handles one result of the source like a pipeline.
    pub(crate) fn step(&mut self, limits: &GroupLimits) -> GroupProgress {
        let mut batch = RecordBatch::new();
        let progress = self.group.next(limits, &mut batch).unwrap();
        match &progress {
            GroupProgress::Assigned(assignment) => {
                let start = |partition: &PartitionId| PartitionStart {
                    partition: partition.clone(),
                    position: self.stored.get(partition).cloned(),
                };
                let starts = assignment.partitions.iter().map(|assigned| start(&assigned.partition));
                self.control.start(assignment.generation, starts.collect());
                self.assigned = Some(assignment.clone());
            }
            GroupProgress::Batch if batch.generation() == self.control.generation() => {
                self.batches += 1;
                for part in batch.parts() {
                    self.opened.extend(part.opened);
                    if let Some(to) = &part.to {
                        assert_eq!(
                            self.stored.get(&part.partition),
                            part.from.as_ref(),
                            "{}",
                            part.partition
                        );
                        self.stored.insert(part.partition.clone(), to.clone());
                        let (partition, position) = (part.partition.clone(), to.clone());
                        self.control.committed(&[PartitionPosition { partition, position }]);
                    }
                }
                for record in batch.iter() {
                    let value = String::from_utf8_lossy(record.payload).into_owned();
                    self.seen.entry(record.origin.unwrap().partition).or_default().push(value.clone());
                    self.order.push(value);
                }
            }
            GroupProgress::Revoked { generation, .. } => {
                self.assigned = None;
                self.control.released(*generation);
            }
            GroupProgress::Batch | GroupProgress::Idle | GroupProgress::End => {}
        }
        progress
    }

    pub(crate) fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(120);
        while !done(self) {
            let progress = self.step(&LIMITS);
            assert_ne!(progress, GroupProgress::End, "{what}");
            assert!(Instant::now() < end, "{what}: {:?} {:?}", self.control.stats(), self.control.lag());
        }
    }

    /// Waits without requesting batches.
    pub(crate) fn wait(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(120);
        while !done(self) {
            assert!(Instant::now() < end, "{what}: {:?} {:?}", self.control.stats(), self.control.lag());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn until_count(&mut self, count: usize) {
        self.until(&format!("{count} records"), |reader| reader.order.len() >= count);
        assert_eq!(self.order.len(), count);
    }

    pub(crate) fn read_to_end(&mut self) {
        let end = Instant::now() + Duration::from_secs(120);
        while self.step(&LIMITS) != GroupProgress::End {
            assert!(Instant::now() < end, "{:?} {:?}", self.control.stats(), self.control.lag());
        }
    }

    /// Returns the partition `name` and the position after `offset` records.
    pub(crate) fn at(&self, partition: &str, offset: u64) -> Stored {
        let source = self.stored.keys().next().unwrap().source.clone();
        HashMap::from([(PartitionId::new(source, partition), Position::at(offset))])
    }
}

pub(crate) fn names(prefix: &str, range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("{prefix}{number}")).collect()
}

pub(crate) fn producer(settings: &KafkaSettings) -> KafkaProducer {
    KafkaProducer::new(settings, &ProducerSettings::default()).unwrap()
}

/// Writes values without keys, or with one key for all, and waits for their delivery.
pub(crate) fn write(settings: &KafkaSettings, key: Option<&str>, values: &[String]) {
    let mut producer = producer(settings);
    for value in values {
        let record = OutgoingRecord {
            key: key.map(str::as_bytes),
            payload: Some(value.as_bytes()),
            ..Default::default()
        };
        producer.send(&settings.topics[0], &record).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
}

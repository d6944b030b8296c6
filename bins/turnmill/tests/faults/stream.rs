//! Produces what Rasa would produce, during the faults.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use turnmill_source::{GroupLimits, GroupProgress, GroupSource, PartitionStart, RecordBatch, RecordOutcome};
use turnmill_source_kafka::{KafkaGroup, KafkaRange, KafkaSettings};

use crate::support::{Record, Topic, capture};

/// Number of records produced together, before the producer waits.
const TOGETHER: usize = 20;
/// One record of this number is produced again later, as after an export.
const REPEATED: usize = 30;

/// Returns all captures, with conversations interleaved as they happened.
fn captures() -> &'static [Record] {
    static ALL: OnceLock<Vec<Record>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut all = capture("partition-by-sender-false.jsonl.gz");
        all.extend(capture("partition-by-sender-true.jsonl.gz"));
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../fixtures/rasa-oss-3.6/parcel/file-broker.jsonl.gz");
        for line in BufReader::new(flate2::read::GzDecoder::new(File::open(path).unwrap())).lines() {
            let value = line.unwrap();
            let event: Value = serde_json::from_str(&value).unwrap();
            #[allow(clippy::cast_possible_truncation, reason = "milliseconds of these years")]
            let millis = (event["timestamp"].as_f64().unwrap() * 1000.0) as i64;
            let headers = vec![("RASA_ENVIRONMENT".into(), Some("production".into()))];
            all.push(Record { key: None, value, headers, millis });
        }
        all
    })
}

/// An endless stream of events: the captures again and again, each time with other senders.
pub(crate) struct Events {
    keyed: bool,
    next: usize,
    recent: Vec<Record>,
    random: fastrand::Rng,
}

impl Events {
    pub(crate) fn new(keyed: bool, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        Self { keyed, next: random.usize(..captures().len()), recent: Vec::new(), random }
    }

    fn one(&mut self) -> Record {
        if !self.recent.is_empty() && self.random.usize(..REPEATED) == 0 {
            return self.recent[self.random.usize(..self.recent.len())].clone();
        }
        let all = captures();
        let (round, number) = (self.next / all.len(), self.next % all.len());
        self.next += 1;
        let mut record = all[number].clone();
        let event: Value = serde_json::from_str(&record.value).unwrap();
        let renamed = format!("{round} {}", event["sender_id"].as_str().unwrap());
        // Replaces text, so that no other byte changes.
        let begin = "\"sender_id\": \"";
        assert!(record.value.contains(begin), "{}", record.value);
        record.value = record.value.replacen(begin, &format!("{begin}{round} "), 1);
        record.key = self.keyed.then_some(renamed);
        if self.recent.len() < 500 {
            self.recent.push(record.clone());
        } else {
            let place = self.random.usize(..self.recent.len());
            self.recent[place] = record.clone();
        }
        record
    }

    pub(crate) fn take(&mut self, count: usize) -> Vec<Record> {
        (0..count).map(|_| self.one()).collect()
    }
}

/// A producer that continues until it is stopped, whatever happens to the broker.
pub(crate) struct Stream {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<(Topic, Events)>>,
}

impl Stream {
    pub(crate) fn start(mut topic: Topic, mut events: Events, per_second: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let pause = Duration::from_secs(1) * u32::try_from(TOGETHER).unwrap() / per_second;
        let thread = std::thread::spawn(move || {
            let mut due = Instant::now();
            while !stopped.load(Ordering::Relaxed) {
                topic.produce(&events.take(TOGETHER));
                // After an outage the backlog is not produced all at once.
                due = (due + pause).max(Instant::now());
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            (topic, events)
        });
        Self { stop, thread: Some(thread) }
    }

    /// Returns the topic, when all records are delivered.
    pub(crate) fn end(mut self) -> (Topic, Events) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // The next test must not get its records either.
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Returns a topic with a producer that spreads records without keys over all partitions, as Rasa's
/// does over longer times.
pub(crate) fn topic(brokers: &str, name: &str) -> Topic {
    let mut settings = KafkaSettings::new(brokers);
    settings.extra = BTreeMap::from([("sticky.partitioning.linger.ms".into(), "0".into())]);
    Topic::with(&settings, name)
}

/// Reads the whole topic and writes it as JSON lines of the `kafka` format. Returns the records by
/// partition and offset. The value of a tombstone is empty.
pub(crate) fn dump(brokers: &str, topic: &str, path: &Path) -> BTreeMap<(i32, i64), Record> {
    let mut settings = KafkaSettings::new(brokers);
    settings.topics = vec![topic.into()];
    settings.range = Some(KafkaRange::default());
    let mut group = KafkaGroup::start(&settings).unwrap();
    let (control, mut batch) = (group.control(), RecordBatch::new());
    let (mut log, mut lines) = (BTreeMap::new(), BTreeMap::new());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    loop {
        match group.next(&GroupLimits::default(), &mut batch).unwrap() {
            GroupProgress::Assigned(assignment) => {
                let partitions = assignment.partitions.into_iter().map(|assigned| assigned.partition);
                control.start(assignment.generation, partitions.map(PartitionStart::earliest).collect());
            }
            GroupProgress::Batch => {
                for record in batch.iter() {
                    let name = &batch.parts()[record.part].partition.partition;
                    let partition: i32 = name.rsplit_once('/').unwrap().1.parse().unwrap();
                    let offset = i64::try_from(record.offset).unwrap();
                    let headers: Vec<_> =
                        record.headers.map(|(name, value)| (name.to_owned(), value.map(text))).collect();
                    #[allow(clippy::cast_possible_truncation, reason = "milliseconds of these years")]
                    let millis = (record.time.unwrap() * 1000.0).round() as i64;
                    let value = (record.outcome != RecordOutcome::Skipped).then(|| text(record.payload));
                    let key = record.key.map(text);
                    let line = json!({
                        "topic": topic, "partition": partition, "offset": offset, "ts_type": 1,
                        "ts_ms": millis, "key": key, "headers": headers, "value": value,
                    });
                    let found = Record { key, value: value.unwrap_or_default(), headers, millis };
                    assert_eq!(log.insert((partition, offset), found), None, "read twice");
                    lines.insert((partition, offset), line.to_string());
                }
            }
            GroupProgress::End => break,
            _ => {}
        }
    }
    let mut file = File::create(path).unwrap();
    for line in lines.values() {
        writeln!(file, "{line}").unwrap();
    }
    log
}

/// Checks that the log has each produced record at its offset, and otherwise only repetitions of
/// them. A producer whose broker was killed before it acknowledged a record may send it twice. It
/// may then learn that the broker has the record, but not the offset, which is -1.
#[track_caller]
pub(crate) fn assert_complete(log: &BTreeMap<(i32, i64), Record>, topic: &Topic) {
    let mut others = log.clone();
    let (known, unknown): (Vec<_>, Vec<_>) = topic.produced.iter().partition(|(_, offset, _)| *offset >= 0);
    for (partition, offset, record) in known {
        let found = others.remove(&(*partition, *offset));
        assert_eq!(found.as_ref(), Some(record), "{}/{partition}@{offset}", topic.name);
    }
    for (partition, _, record) in unknown {
        let mut same = others.iter().filter(|(at, found)| at.0 == *partition && *found == record);
        let at = same.next().map(|(at, _)| *at);
        assert!(
            at.and_then(|at| others.remove(&at)).is_some(),
            "{}/{partition} lacks {record:?}",
            topic.name
        );
    }
    let repeated = |record: &Record| topic.produced.iter().any(|(_, _, produced)| produced == record);
    others.iter().for_each(|(at, record)| assert!(repeated(record), "{at:?} was not produced: {record:?}"));
    if !others.is_empty() {
        eprintln!("{}: the producer repeated {} records", topic.name, others.len());
    }
}

//! One exercise: produce, break something, and compare.

use std::time::Duration;

use serde_json::Value;
use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::RowRules;
use turnmill_model::Settings;
use turnmill_pipeline::{Event, Pipeline, Stop};
use turnmill_sink_sqlite::SqliteStore;
use turnmill_source::{Container, FileOptions, FileSource, Position, Source};

use crate::bed::Turn;
use crate::crew::{Crew, Deployment, Seen};
use crate::stream::{Events, Stream, assert_complete, dump, topic};
use crate::support::{Topic, ledger, verify};

/// Records per second that a drill produces.
const RATE: u32 = 400;

/// Source of all random choices.
pub(crate) fn seed() -> u64 {
    let seed = std::env::var("TURNMILL_FAULT_SEED").ok().filter(|seed| !seed.is_empty());
    let seed =
        seed.map_or_else(|| fastrand::u64(..), |seed| seed.parse().expect("TURNMILL_FAULT_SEED is a number"));
    eprintln!("TURNMILL_FAULT_SEED={seed}");
    seed
}

/// A topic with its producer, and the processes that read it.
pub(crate) struct Drill<'b> {
    pub(crate) turn: &'b Turn,
    pub(crate) name: String,
    pub(crate) crew: Crew,
    pub(crate) random: fastrand::Rng,
    topic: Option<Topic>,
    events: Option<Events>,
    stream: Option<Stream>,
}

impl<'b> Drill<'b> {
    /// Creates a topic and a database. `set_up` may change the crew before it starts.
    pub(crate) fn new(
        turn: &'b Turn,
        name: &str,
        deployment: Deployment,
        set_up: impl FnOnce(Crew) -> Crew,
    ) -> Self {
        let seed = seed();
        let (name, store) = turn.fresh(&format!("{name}-{deployment:?}").to_lowercase());
        let topic = topic(&turn.bed.broker.bootstrap(), &name);
        let mut crew = set_up(Crew::new(&topic, &store, deployment));
        crew.start();
        Self {
            turn,
            name,
            crew,
            random: fastrand::Rng::with_seed(seed),
            topic: Some(topic),
            events: Some(Events::new(deployment.keyed(), seed)),
            stream: None,
        }
    }

    /// Starts the producer, and waits for the first commits.
    #[track_caller]
    pub(crate) fn produce(&mut self) {
        self.stream = Some(Stream::start(self.topic.take().unwrap(), self.events.take().unwrap(), RATE));
        self.crew.wait("records come through", |crew| crew.committed() > 100);
    }

    /// Lets all processes work for a random time.
    pub(crate) fn work(&mut self, milliseconds: std::ops::Range<u64>) {
        std::thread::sleep(Duration::from_millis(self.random.u64(milliseconds)));
    }

    /// Executes one statement in the drill's database.
    #[track_caller]
    pub(crate) fn psql(&self, statements: &str) -> String {
        self.turn.bed.postgres.psql(&self.name, statements)
    }

    /// Stops producing, waits until everything is read, and compares with an undisturbed replay.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Seen {
        if let Some(stream) = self.stream.take() {
            let (topic, events) = stream.end();
            (self.topic, self.events) = (Some(topic), Some(events));
        }
        let topic = self.topic.take().unwrap();
        self.crew.wait_until_read(&topic);
        let seen = self.crew.stop();
        let records = equals_a_replay(&topic, &self.crew.store);
        eprintln!("{}: {records} records, {seen:?}", self.name);
        seen
    }
}

/// Compares the store with a dump of the topic loaded into SQLite. Returns the number of records.
#[track_caller]
pub(crate) fn equals_a_replay(topic: &Topic, store: &str) -> i64 {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("topic.jsonl");
    let log = dump(&topic.brokers, &topic.name, &file);
    assert_complete(&log, topic);
    let replayed = replay(&file, &folder.path().join("replayed.sqlite"));
    let (expected, found) = (verify(&replayed), verify(store));
    for (table, expected) in expected["tables"].as_object().unwrap() {
        assert_eq!(&found["tables"][table], expected, "{table}, {}, {store}", topic.name);
    }
    assert_eq!(found["tables"], expected["tables"]);
    for column in ["records", "events", "duplicates", "dead_letters", "skipped"] {
        assert_eq!(ledger(store, column), ledger(&replayed, column), "{column}: {found}");
    }
    let records = ledger(store, "records");
    assert_eq!(records, i64::try_from(log.len()).unwrap());
    records
}

/// Loads a dump into a new SQLite file without interruption, as `turnmill-replay` does.
fn replay(dump: &std::path::Path, file: &std::path::Path) -> String {
    let settings = Settings::default();
    let rules = RowRules::new(&settings, RasaDecoder::new);
    let store = SqliteStore::file(file);
    let mut pipeline = Pipeline::new(store, &rules, Stop::default()).with_cache_bytes(64 << 20);
    let mut open = |position: Option<&Position>| {
        let options = FileOptions { container: Some(Container::Kafka), ..FileOptions::default() };
        FileSource::open(dump, options, position).map(|source| Box::new(source) as Box<dyn Source>)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let drained = runtime.block_on(pipeline.drain(None, &mut open, &mut |_: &Event<'_>| {})).unwrap();
    assert!(drained.report.counts.adds_up());
    pipeline.into_store().finish().unwrap();
    format!("sqlite:{}", file.display())
}

/// Formats the tables' digests for a message.
pub(crate) fn tables(store: &str) -> Value {
    verify(store)["tables"].clone()
}

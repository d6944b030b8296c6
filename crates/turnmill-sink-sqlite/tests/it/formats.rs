//! A store of the last version before there were several decoders.

use std::fs;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use rusqlite::Connection;
use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::testkit::{OwnedRecord, Tiny};
use turnmill_ingest::{Accounting, Arrivals, Ingest, MakeDeadLetter, Report, RowRules, examine};
use turnmill_model::{
    AssistantNameBuf, PartitionId, Reason, Record, Refused, Settings, SourceFactsBuf, TimeUnit,
};
use turnmill_sink::{DeadLetter, Inspect, Store, Upkeep};
use turnmill_sink_sqlite::SqliteStore;

use crate::support::{Files, one};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/before-decoders").join(name)
}

fn given(name: &str, facts: &SourceFactsBuf) -> Vec<OwnedRecord> {
    let text = fs::read_to_string(data(name)).unwrap();
    text.lines().map(|line| OwnedRecord { facts: facts.clone(), ..OwnedRecord::body(line) }).collect()
}

fn of_bank() -> SourceFactsBuf {
    SourceFactsBuf {
        assistant: AssistantNameBuf::Given("bank".into()),
        time_unit: TimeUnit::Milliseconds,
        ..SourceFactsBuf::default()
    }
}

/// Late events of two stored senders, and senders of another format with the same names.
fn more() -> Vec<OwnedRecord> {
    let tiny = SourceFactsBuf { decoder: Some("tiny".into()), ..SourceFactsBuf::default() };
    let late = |time: f64, facts: SourceFactsBuf| {
        let line = format!(
            r#"{{"sender_id": "u1", "event": "slot", "timestamp": {time}, "name": "late", "value": 1}}"#
        );
        OwnedRecord { facts, ..OwnedRecord::body(line) }
    };
    let mut more = vec![late(1_656_382_550.4, SourceFactsBuf::default()), late(1_656_382_559.0e3, of_bank())];
    for (sender, number) in [("u1", 1), ("u2", 2), ("u1", 3)] {
        let line = format!("165638255{number}.25|{sender}|s|{number}|greet: hello|hi");
        more.push(OwnedRecord { facts: tiny.clone(), ..OwnedRecord::body(line) });
    }
    more
}

struct LettersOf<'g>(&'g [OwnedRecord]);

impl MakeDeadLetter for LettersOf<'_> {
    fn dead_letter(&self, record: usize, refused: &Refused) -> DeadLetter {
        let OwnedRecord { payload, facts, .. } = self.0[record].clone();
        DeadLetter {
            id: 0,
            key: PartitionId::new("file", "test"),
            place: record.to_string(),
            reason: refused.reason,
            detail: refused.detail.clone(),
            payload,
            sender: None,
            time: None,
            environment: None,
            row: None,
            facts,
            record_key: None,
            headers: Vec::new(),
        }
    }
}

struct Bench {
    store: SqliteStore,
    ingest: Ingest,
}

impl Bench {
    fn new(path: &Path) -> Self {
        let mut bench = Self::unopened(path);
        pollster::block_on(bench.store.open(&Settings::default())).unwrap();
        bench
    }

    /// Rebuilds a store of an older engine, which only then can be opened.
    fn rebuilt(path: &Path) -> Self {
        let mut bench = Self::unopened(path);
        let refused = pollster::block_on(bench.store.open(&Settings::default())).map(drop).unwrap_err();
        assert!(refused.to_string().contains("turnmill rebuild"), "{refused}");
        bench.rebuild();
        drop(bench);
        Self::new(path)
    }

    fn unopened(path: &Path) -> Self {
        let rules = RowRules::new(&Settings::default(), RasaDecoder::new).with_decoder(Tiny::new);
        Self { store: SqliteStore::file(path), ingest: Ingest::new(&rules, 1 << 20) }
    }

    fn write(&mut self, given: &[OwnedRecord]) -> Report {
        let mut arrivals = Arrivals::default();
        given.iter().for_each(|given| arrivals.push(self.ingest.decoders(), given.as_record()));
        let (source, letters) = (Accounting::Source("file"), LettersOf(given));
        let written = self.ingest.ingest(&mut self.store, &arrivals, &[], &source, &letters);
        pollster::block_on(written).unwrap()
    }

    /// Retries the letter of a message without a timestamp.
    fn retry(&mut self) {
        let letters = pollster::block_on(self.store.dead_letters(0, 10)).unwrap();
        let letter = letters.iter().find(|letter| letter.reason == Reason::NoUsableTimestamp).unwrap();
        assert_eq!(letter.facts, of_bank());
        let mut arrivals = Arrivals::default();
        let record = Record { time: Some(1_656_382_560.0), ..letter.record() };
        arrivals.push(self.ingest.decoders(), record);
        let retry = Accounting::Retry { source: "file", letter: letter.id };
        let letters = LettersOf(&[]);
        let written = self.ingest.ingest(&mut self.store, &arrivals, &[], &retry, &letters);
        assert_eq!(pollster::block_on(written).unwrap().counts.events, 1);
    }

    fn rebuild(&mut self) {
        let settings = Settings::default();
        pollster::block_on(async {
            self.store.begin_rebuild(&settings).await.unwrap();
            let senders = self.store.senders(None, 100).await.unwrap();
            self.ingest.rebuild(&mut self.store, &senders, None).await.unwrap();
            self.store.end_rebuild(&settings).await.unwrap();
        });
    }

    fn digests(&mut self) -> turnmill_sink::digest::Digests {
        let examined = pollster::block_on(examine(&mut self.store, true)).unwrap();
        assert_eq!(examined.findings, Vec::<String>::new());
        pollster::block_on(self.store.digests()).unwrap()
    }
}

#[test]
fn it_goes_on_with_senders_of_several_formats() {
    let mut files = Files::new();
    let (old, fresh) = (files.path(), files.path());
    let packed = fs::File::open(data("store.sqlite.gz")).unwrap();
    std::io::copy(&mut GzDecoder::new(packed), &mut fs::File::create(&old).unwrap()).unwrap();
    let (mut old, mut fresh) = (Bench::rebuilt(&old), Bench::new(&fresh));
    fresh.write(&given("plain.jsonl", &SourceFactsBuf::default()));
    fresh.write(&given("bank.jsonl", &of_bank()));
    assert_eq!(old.digests(), fresh.digests(), "what it had, it has");

    for bench in [&mut old, &mut fresh] {
        bench.write(&more());
        bench.retry();
    }
    let expected = fresh.digests();
    assert_eq!(expected.tables["rasa_sender"].rows, 5);
    assert_eq!(old.digests(), expected, "late events replay the old history");
    let ledger = pollster::block_on(old.store.ledger()).unwrap();
    assert_eq!(ledger, pollster::block_on(fresh.store.ledger()).unwrap());
    assert_eq!(ledger[0].counts.parts, 3, "a line of the other format counts once");

    old.rebuild();
    assert_eq!(old.digests(), expected);
    let known = given("plain.jsonl", &SourceFactsBuf::default());
    assert_eq!(old.write(&known).counts.events, 0, "what was known is known");
    // Each sender has one decoder, so the history is encoded as it was.
    let file = Connection::open(old.store.path().unwrap()).unwrap();
    let versions = "SELECT group_concat(DISTINCT hex(substr(bytes, 1, 1))) FROM _turnmill_history";
    assert_eq!(one::<String>(&file, versions), "02");
}

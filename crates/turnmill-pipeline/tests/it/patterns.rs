//! Backfill against patterns that were there from the start; preview and explain against the rows.

use std::collections::BTreeSet;

use proptest::prelude::*;
use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::testkit::NoLetters;
use turnmill_ingest::{Accounting, Arrivals, Ingest, RowRules};
use turnmill_markers::MarkerSet;
use turnmill_markers::explain::Outcome;
use turnmill_model::{Micros, SessionId, Settings};
use turnmill_oracle::generate::{Options, OwnedRecord, records, shuffle_keeping};
use turnmill_oracle::uploads::{configs, markers};
use turnmill_pipeline::{PatternEvent, PatternTools, Stop};
use turnmill_sink::{Inspect, MemoryStore, OwnedValue, Store, StoreError};

struct Bench {
    store: MemoryStore,
    ingest: Ingest,
}

impl Bench {
    fn new() -> Self {
        let mut store = MemoryStore::default();
        let ingest = Ingest::new(&RowRules::new(&Settings::default(), RasaDecoder::new), 1 << 20);
        pollster::block_on(ingest.open(&mut store)).unwrap();
        Self { store, ingest }
    }

    fn feed(&mut self, records: &[OwnedRecord]) {
        for batch in records.chunks(7) {
            let mut arrivals = Arrivals::default();
            batch.iter().for_each(|record| arrivals.push(self.ingest.decoders(), record.as_record()));
            let ingested =
                self.ingest.ingest(&mut self.store, &arrivals, &[], &Accounting::Source("test"), &NoLetters);
            pollster::block_on(ingested).unwrap();
        }
    }

    /// Uploads at this time.
    fn upload(&mut self, markers: &MarkerSet, at: i64) {
        let mut tell = |_: PatternEvent<'_>| {};
        let mut tools = PatternTools::new(&mut self.store, Stop::default(), &mut tell);
        pollster::block_on(tools.upload(markers, Micros(at))).unwrap();
    }

    /// Backfills all, one sender at a time. Stops at the failure of a transaction, or after this
    /// many steps.
    fn backfill(&mut self, fail_after: Option<u64>, steps: u64) -> Result<bool, StoreError> {
        let stop = Stop::default();
        let (heard, mut left) = (stop.clone(), steps);
        let mut tell = |_: PatternEvent<'_>| {
            left = left.saturating_sub(1);
            if fail_after.is_some() || left == 0 {
                heard.set();
            }
        };
        let ids: Vec<_> = {
            let set = pollster::block_on(self.store.patterns()).unwrap();
            set.active().map(|pattern| pattern.id).collect()
        };
        self.store.fail_after(fail_after);
        let mut ingest = Ingest::new(self.ingest.rules(), 0);
        let mut tools = PatternTools::new(&mut self.store, stop, &mut tell).with_step(1);
        let done = pollster::block_on(async {
            tools.backfill(&ids).await?;
            tools.sweep(&mut ingest).await
        });
        self.store.fail_after(None);
        done.map(|swept| swept.complete)
    }
}

fn text(value: &OwnedValue) -> String {
    match value {
        OwnedValue::Text(text) => text.to_string(),
        OwnedValue::Integer(number) => number.to_string(),
        _ => String::new(),
    }
}

fn set(configs: &[String]) -> MarkerSet {
    let named: Vec<_> =
        configs.iter().enumerate().map(|(n, config)| (format!("m{n}"), config.clone())).collect();
    markers(&named)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    /// The backfill is killed at random. Records arrive in between, late ones too.
    #[test]
    fn a_backfill_gives_the_rows_of_patterns_that_were_always_there(
        records in records(&Options::default()),
        configs in prop::collection::vec(configs(), 1..4),
        seed: u64,
        at in 0_i64..4_000_000_000,
        kills in prop::collection::vec((prop::option::of(0..30_u64), 1..4_u64), 0..4),
    ) {
        let markers = set(&configs);
        let mut always = Bench::new();
        always.upload(&markers, 0);
        always.feed(&records);

        let arrival = shuffle_keeping(&records, seed);
        let mut later = Bench::new();
        let part = arrival.len().div_ceil(kills.len() + 2).max(1);
        let mut parts = arrival.chunks(part);
        parts.next().into_iter().for_each(|part| later.feed(part));
        later.upload(&markers, at * 1_000_000);
        for (fail_after, steps) in &kills {
            // It may have ended or not.
            let _ = later.backfill(*fail_after, *steps);
            parts.next().into_iter().for_each(|part| later.feed(part));
        }
        parts.for_each(|part| later.feed(part));
        prop_assert!(later.backfill(None, u64::MAX).unwrap());
        let digests = |bench: &mut Bench| pollster::block_on(bench.store.digests()).unwrap();
        prop_assert_eq!(digests(&mut later), digests(&mut always));
        // Nothing is left to do, and finding that out changes nothing.
        prop_assert!(later.backfill(Some(0), u64::MAX).unwrap());
    }

    #[test]
    fn preview_and_explain_agree_with_the_rows(
        records in records(&Options::default()),
        configs in prop::collection::vec(configs(), 1..3),
    ) {
        let markers = set(&configs);
        let mut bench = Bench::new();
        bench.upload(&markers, 0);
        bench.feed(&records);
        let before = pollster::block_on(bench.store.digests()).unwrap();
        let rows: Vec<Vec<String>> = bench
            .store
            .rows("rasa_markers")
            .into_values()
            .map(|row| row.iter().map(text).collect())
            .collect();
        let patterns = pollster::block_on(bench.store.patterns()).unwrap();

        let mut tell = |_: PatternEvent<'_>| {};
        let ingest = Ingest::new(bench.ingest.rules(), 0);
        let mut tools = PatternTools::new(&mut bench.store, Stop::default(), &mut tell);
        let preview = pollster::block_on(tools.preview(&ingest, &markers, 2)).unwrap();
        for marker in &preview.markers {
            let id = patterns.called(&marker.name).unwrap().id.to_string();
            let own: Vec<_> = rows.iter().filter(|row| row[1] == id).collect();
            let distinct = |column: usize| own.iter().map(|row| &row[column]).collect::<BTreeSet<_>>().len() as u64;
            prop_assert_eq!((marker.results, marker.senders, marker.sessions), (own.len() as u64, distinct(2), distinct(3)));
            prop_assert_eq!(marker.samples.len() as u64, marker.sessions.min(2));
        }
        let sessions: BTreeSet<&String> = rows.iter().map(|row| &row[3]).collect();
        for session in sessions {
            let id = SessionId(session.parse().unwrap());
            for marker in markers.markers() {
                let pattern = patterns.called(&marker.name).unwrap().id.to_string();
                let explained = pollster::block_on(tools.explain(&ingest, id, &marker.config)).unwrap().unwrap();
                let mut found: Vec<(String, String)> = explained
                    .events
                    .iter()
                    .zip(&explained.explanation.events)
                    .filter(|(_, explanation)| explanation.outcome == Outcome::Applies)
                    .map(|(event, at)| (event.id.to_string(), at.num_preceding_user_turns.to_string()))
                    .collect();
                found.sort();
                let own = rows.iter().filter(|row| row[1] == pattern && row[3] == *session);
                let mut expected: Vec<_> = own.map(|row| (row[4].clone(), row[5].clone())).collect();
                expected.sort();
                prop_assert_eq!(found, expected);
            }
        }
        let nobodys = SessionId(uuid::Uuid::from_u128(1));
        prop_assert!(pollster::block_on(tools.explain(&ingest, nobodys, &markers.markers()[0].config)).unwrap().is_none());
        prop_assert_eq!(pollster::block_on(bench.store.digests()).unwrap(), before, "nothing was written");
    }
}

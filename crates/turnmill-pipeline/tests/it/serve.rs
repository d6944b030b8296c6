//! The partitions of a group become rows once, whatever happens to its members.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::RowRules;
use turnmill_ingest::testkit::conversation;
use turnmill_model::{Record, Settings};
use turnmill_oracle::laws::compare_digests;
use turnmill_pipeline::{
    Backoff, DeadLetterLimits, Event, Pipeline, PipelineError, Share, Stop, TooManyDeadLetters,
};
use turnmill_sink::{Counts, Inspect, MemoryStore};
use turnmill_source::{GroupLimits, GroupSource};

use crate::log::{Happening, Log, Member};

const PARTITIONS: usize = 3;

/// Returns conversations whose events are spread over the partitions.
fn log() -> Log {
    let mut partitions = vec![Vec::new(); PARTITIONS];
    let lines: Vec<String> = (0..4)
        .flat_map(|sender| conversation(&format!("sender {sender}"), 5, 1_656_382_549.0 + f64::from(sender)))
        .collect();
    for (number, line) in lines.into_iter().enumerate() {
        partitions[number * 7 % PARTITIONS].push(line.into_bytes());
    }
    Arc::new(partitions)
}

/// Runs one member.
fn serve(
    store: MemoryStore,
    member: Member,
    stop: &Stop,
    limits: DeadLetterLimits,
    on_event: &mut dyn FnMut(&Event<'_>),
) -> Result<Counts, PipelineError> {
    serve_by(9, store, member, stop, limits, on_event)
}

/// Does the same in batches of this many records.
fn serve_by(
    records: usize,
    store: MemoryStore,
    member: Member,
    stop: &Stop,
    limits: DeadLetterLimits,
    on_event: &mut dyn FnMut(&Event<'_>),
) -> Result<Counts, PipelineError> {
    let settings = Settings::default();
    let rules = RowRules::new(&settings, RasaDecoder::new);
    let backoff = Backoff { first: Duration::from_micros(100), longest: Duration::from_millis(1) };
    let mut pipeline = Pipeline::new(store, &rules, stop.clone())
        .with_cache_bytes(1 << 20)
        .with_backoff(backoff)
        .with_dead_letter_limits(limits);
    let group_limits = GroupLimits { records, ..GroupLimits::default() };
    let mut observer = |event: &Event<'_>| on_event(event);
    let served = pollster::block_on(pipeline.serve(Box::new(member), group_limits, &mut observer))?;
    Ok(served.report.counts)
}

fn count(records: &AtomicU64, event: &Event<'_>) {
    if let Event::Committed { batch, .. } = event {
        records.fetch_add(batch.len() as u64, Ordering::Relaxed);
    }
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let masks = 0_u8..1 << PARTITIONS;
    let one = (masks, any::<bool>())
        .prop_map(|(mask, lost)| if lost { Happening::Lose(mask) } else { Happening::Assign(mask) });
    prop::collection::vec(one, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Members get the same partitions, lose them, and get them again. The store fences a member
    /// with an old position.
    #[test]
    fn every_record_counts_once(first in happenings(), second in happenings()) {
        let (log, store, stop) = (log(), MemoryStore::default(), Stop::default());
        let all: u64 = log.iter().map(|records| records.len() as u64).sum();
        // At last one member has everything, however that came about.
        let first = [first, vec![Happening::Assign(0b111)]].concat();
        let records = AtomicU64::new(0);
        let (one, two) = std::thread::scope(|scope| {
            let start = |happenings: Vec<Happening>| {
                let member = Member::new(Arc::clone(&log), happenings);
                let (store, stop, records) = (store.clone(), stop.clone(), &records);
                let limits = DeadLetterLimits::default();
                scope.spawn(move || serve(store, member, &stop, limits, &mut |event| count(records, event)))
            };
            let (one, two) = (start(first), start(second));
            let begun = Instant::now();
            while records.load(Ordering::Relaxed) < all && begun.elapsed() < Duration::from_secs(20) {
                std::thread::sleep(Duration::from_millis(1));
            }
            stop.set();
            (one.join().unwrap(), two.join().unwrap())
        });
        let mut counts = one.unwrap();
        counts += two.unwrap();
        prop_assert_eq!(counts.records, all as i64);
        prop_assert_eq!(counts.events, all as i64);

        let payloads: Vec<&[u8]> = log.iter().flatten().map(Vec::as_slice).collect();
        let given: Vec<Record<'_>> =
            payloads.iter().map(|payload| Record { payload, ..Record::default() }).collect();
        let oracle = turnmill_oracle::tables(&Settings::default(), &given);
        let mut store = store;
        let digests = pollster::block_on(store.digests()).unwrap();
        prop_assert_eq!(compare_digests(&digests, &oracle), Ok(()));
    }
}

/// Counts, and holds a member at its first assignment until another one has come as far. Both know
/// the positions before one of them moves them.
fn met(records: &AtomicU64, both: &Barrier) -> impl FnMut(&Event<'_>) {
    let mut assigned = false;
    move |event| {
        count(records, event);
        if matches!(event, Event::Assigned { .. }) && !std::mem::replace(&mut assigned, true) {
            both.wait();
        }
    }
}

/// Two members both have all partitions assigned. One commits; the other is fenced and goes on from
/// there.
#[test]
fn a_member_that_was_overtaken_starts_again_at_the_stored_position() {
    let (log, store, stop) = (log(), MemoryStore::default(), Stop::default());
    let all: u64 = log.iter().map(|records| records.len() as u64).sum();
    let (records, both) = (AtomicU64::new(0), Barrier::new(2));
    let restarts = std::thread::scope(|scope| {
        let mut controls = Vec::new();
        for _ in 0..2 {
            let member = Member::new(Arc::clone(&log), vec![Happening::Assign(0b111)]);
            controls.push(member.control());
            let (store, stop, records, both) = (store.clone(), stop.clone(), &records, &both);
            let mut on_event = met(records, both);
            scope.spawn(move || serve(store, member, &stop, DeadLetterLimits::default(), &mut on_event));
        }
        let begun = Instant::now();
        while records.load(Ordering::Relaxed) < all && begun.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(1));
        }
        stop.set();
        controls.iter().map(|control| Member::restarts(&**control)).sum::<u64>()
    });
    assert_eq!(records.load(Ordering::Relaxed), all);
    assert!(restarts > 0, "one member must have been fenced");
}

/// The same with a log that ends. A member that is fenced with the last batch reads it again, and
/// then ends.
#[test]
fn a_member_that_was_overtaken_at_the_end_of_a_bounded_log_goes_on() {
    let (log, store, stop) = (log(), MemoryStore::default(), Stop::default());
    let all: u64 = log.iter().map(|records| records.len() as u64).sum();
    let (records, both) = (AtomicU64::new(0), Barrier::new(2));
    let restarts: u64 = std::thread::scope(|scope| {
        let members = [0, 1].map(|_| {
            let member = Member::new(Arc::clone(&log), vec![Happening::Assign(0b111)]).until_end();
            let control = member.control();
            let (store, stop, records, both) = (store.clone(), stop.clone(), &records, &both);
            let mut on_event = met(records, both);
            let limits = DeadLetterLimits::default();
            (control, scope.spawn(move || serve_by(10_000, store, member, &stop, limits, &mut on_event)))
        });
        members
            .into_iter()
            .map(|(control, member)| {
                member.join().unwrap().unwrap();
                Member::restarts(&*control)
            })
            .sum()
    });
    assert_eq!((records.load(Ordering::Relaxed), restarts), (all, 1));
}

#[test]
fn a_topic_is_not_drained_into_the_dead_letters() {
    let good = conversation("u1", 2, 1_656_382_549.0);
    let mut records: Vec<Vec<u8>> = good.iter().map(|line| line.clone().into_bytes()).collect();
    let before = records.len();
    records.extend((0..100).map(|number| format!("<event number=\"{number}\"/>").into_bytes()));
    let log: Log = Arc::new(vec![records]);
    let limits = [
        DeadLetterLimits { run: Some(20), share: None },
        DeadLetterLimits { run: None, share: Some(Share { most: 0.5, of: 20 }) },
    ];
    for limits in limits {
        let mut store = MemoryStore::default();
        let member = Member::new(Arc::clone(&log), vec![Happening::Assign(1)]);
        let result = serve(store.clone(), member, &Stop::default(), limits, &mut |_| {});
        let by_run = limits.run.is_some();
        match result {
            Err(PipelineError::DeadLetters(TooManyDeadLetters::Run { most: 20, .. })) => assert!(by_run),
            Err(PipelineError::DeadLetters(TooManyDeadLetters::Share { .. })) => assert!(!by_run),
            other => panic!("{other:?}"),
        }
        let ledger = pollster::block_on(store.ledger()).unwrap();
        let counts = ledger[0].counts;
        assert_eq!(counts.events, before as i64, "what was good has landed");
        assert!(counts.dead_letters > 0 && counts.dead_letters < 60, "{counts:?}");
    }
}

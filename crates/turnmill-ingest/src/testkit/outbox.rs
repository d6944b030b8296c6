//! The checks of the outbox.

use std::time::Duration;

use turnmill_formats::rasa::RasaDecoder;
use turnmill_markers::{MarkerSet, SourceFile};
use turnmill_model::{Micros, Settings};
use turnmill_sink::outbox::{
    ChangeBatch, Outbox, OutboxEntry, Scope, SinkPosition, SinkSpec, SinkStart, SinkStep, snapshot_page,
};
use turnmill_sink::{Class, Inspect, Store, StoreError, Upkeep};

use super::cases::{Bench, START};
use super::drive::PlainLetters;
use super::{Fixture, OwnedRecord, Replica, conversation};
use crate::{Accounting, Arrivals, Ingest, RowRules};

const OWNER: &str = "suite";
const LEASE: Duration = Duration::from_secs(60);
const ALL: usize = usize::MAX >> 1;

fn spec(name: &str, start: SinkStart) -> SinkSpec {
    SinkSpec { start, ..SinkSpec::new(name) }
}

async fn entries<S: Outbox>(store: &mut S, after: u64) -> Vec<OutboxEntry> {
    store.outbox(after, ALL, ALL).await.unwrap()
}

/// Applies the next page of a snapshot, or all waiting entries, to `replica`. Returns whether there
/// were any.
async fn step<S: Outbox>(store: &mut S, name: &str, replica: &mut Replica, rows: usize) -> bool {
    let state = store.lease_sink(name, OWNER, LEASE).await.unwrap().unwrap();
    let from = state.position;
    let to = match &from.snapshot {
        Some(cursor) => {
            let (page, to) = snapshot_page(store, state.scope, from.number, cursor, rows).await.unwrap();
            replica.apply(&page);
            to
        }
        None => {
            let entries = entries(store, from.number).await;
            let Some(last) = entries.last() else { return false };
            for (entry, expected) in entries.iter().zip(from.number + 1..) {
                assert_eq!(entry.number, expected, "numbers have no gaps");
                replica.apply(&ChangeBatch::from_bytes(entry.number, &entry.bytes).unwrap());
            }
            SinkPosition { number: last.number, snapshot: None }
        }
    };
    let step = SinkStep { name, owner: OWNER, from: &from, to: &to, skipped: 0, error: None };
    store.advance_sink(&step).await.unwrap();
    true
}

/// Gives `replica` everything.
async fn follow<S: Outbox>(store: &mut S, name: &str, replica: &mut Replica) {
    while step(store, name, replica, 50).await {}
}

async fn assert_equal<S: Outbox>(store: &mut S, replica: &Replica, when: &str) {
    let digests = store.digests().await.unwrap();
    assert_eq!(replica.digests().tables, digests.tables, "{when}: the sink has the store's rows");
    let letters: Vec<u64> =
        store.dead_letters(0, ALL).await.unwrap().iter().map(|letter| letter.id).collect();
    assert_eq!(replica.dead_letters(), letters, "{when}: the sink has the store's dead letters");
}

/// Returns mixed conversations, some with a user: batches of new events, late events and invalid
/// bytes.
fn batches() -> Vec<Vec<String>> {
    let mut senders: Vec<Vec<String>> =
        (0..4_u8).map(|n| conversation(&format!("u{n}"), 3, START + f64::from(n) * 7.0)).collect();
    for line in &mut senders[3] {
        *line = line.replacen("\"metadata\": {", "\"metadata\": {\"user_id\": \"one\", ", 1);
    }
    let longest = senders.iter().map(Vec::len).max().unwrap_or(0);
    let mut lines: Vec<String> = (0..longest)
        .rev()
        .flat_map(|index| senders.iter().filter_map(move |lines| lines.get(index)).cloned())
        .collect();
    lines.insert(20, "not JSON".into());
    lines.push("nor this".into());
    lines.chunks(9).map(<[String]>::to_vec).collect()
}

pub(super) async fn without_sinks_nothing_is_kept<F: Fixture>(fixture: &mut F)
where
    F::Store: Outbox,
{
    let mut bench = Bench::new(fixture.create()).await;
    bench.write(&conversation("u1", 2, START), "1").await.unwrap();
    assert_eq!(bench.store.sinks().await.unwrap(), []);
    assert_eq!(entries(&mut bench.store, 0).await, []);
    let absent = bench.store.lease_sink("absent", OWNER, LEASE).await.unwrap();
    assert_eq!(absent, None, "there is no sink of that name");
    assert!(!bench.store.remove_sink("absent").await.unwrap());
    assert!(!bench.store.reset_sink("absent").await.unwrap());
}

pub(super) async fn a_sink_ends_with_the_stores_rows<F: Fixture>(fixture: &mut F)
where
    F::Store: Outbox + Upkeep,
{
    let settings = Settings::default();
    let mut bench = Bench::new(fixture.create()).await;
    bench.store.put_sink(&spec("replica", SinkStart::Now)).await.unwrap();
    let mut replica = Replica::default();
    for (number, lines) in batches().iter().enumerate() {
        if number > 1 {
            fixture.refuse_text(&mut bench.store, Some("message 1"));
        }
        bench.write(lines, &number.to_string()).await.unwrap();
        fixture.refuse_text(&mut bench.store, None);
        if number % 3 == 0 {
            follow(&mut bench.store, "replica", &mut replica).await;
            assert_equal(&mut bench.store, &replica, &format!("after batch {number}")).await;
        }
    }
    let before = bench.store.sinks().await.unwrap()[0].head;
    let again = batches();
    bench.write(&again[1][..2], "again").await.unwrap();
    follow(&mut bench.store, "replica", &mut replica).await;
    assert_equal(&mut bench.store, &replica, "after duplicates").await;
    assert!(bench.store.sinks().await.unwrap()[0].head <= before + 1);

    let letters = bench.store.dead_letters(0, 10).await.unwrap();
    assert!(letters.len() > 1, "there is something to retry: {letters:?}");
    for letter in &letters {
        let mut arrivals = Arrivals::default();
        let given = OwnedRecord::body(letter.payload.clone());
        arrivals.push(bench.ingest.decoders(), given.as_record());
        if arrivals.refused().is_empty() {
            let accounting = Accounting::Retry { source: &letter.key.source, letter: letter.id };
            let plain = PlainLetters { arrivals: &arrivals, key: &letter.key };
            bench.ingest.ingest(&mut bench.store, &arrivals, &[], &accounting, &plain).await.unwrap();
        }
    }
    follow(&mut bench.store, "replica", &mut replica).await;
    assert_equal(&mut bench.store, &replica, "after a retry").await;
    assert!(replica.dead_letters().len() < letters.len(), "one has landed");

    upload(&mut bench.store).await;
    let senders = bench.store.senders(None, 100).await.unwrap();
    assert!(bench.ingest.catch_up(&mut bench.store, &senders).await.unwrap() > 0, "markers were made up for");
    follow(&mut bench.store, "replica", &mut replica).await;
    assert_equal(&mut bench.store, &replica, "after a change of the patterns").await;

    rebuild(&mut bench.store, &Settings { bare_slot_strings: true, ..settings }).await;
    follow(&mut bench.store, "replica", &mut replica).await;
    assert_equal(&mut bench.store, &replica, "after a rebuild").await;
    assert_eq!(entries(&mut bench.store, 0).await, [], "what every sink has goes");
}

async fn upload<S: Upkeep>(store: &mut S) {
    let file = SourceFile::new("markers.yml", &b"informed: {intent: inform}"[..]);
    let (markers, _) = MarkerSet::parse(&[file]).unwrap();
    let present = store.patterns().await.unwrap();
    let next = present.upload(&markers, Micros(0), false).unwrap();
    store.write_patterns(present.revision, &next).await.unwrap();
}

async fn rebuild<S: Upkeep>(store: &mut S, settings: &Settings) {
    let mut ingest = Ingest::new(&RowRules::new(settings, RasaDecoder::new), 1 << 20);
    let mut after = store.begin_rebuild(settings).await.unwrap().after;
    loop {
        let senders = store.senders(after, 2).await.unwrap();
        let Some(last) = senders.last() else { break };
        after = Some(*last);
        ingest.rebuild(store, &senders, None).await.unwrap();
    }
    store.end_rebuild(settings).await.unwrap();
}

pub(super) async fn a_failure_leaves_no_entry<F: Fixture>(fixture: &mut F)
where
    F::Store: Outbox,
{
    let mut bench = Bench::new(fixture.create()).await;
    bench.store.put_sink(&spec("replica", SinkStart::Now)).await.unwrap();
    let mut lines = conversation("u1", 1, START);
    lines.push("not JSON".into());
    for statements in 0.. {
        fixture.fail_after(&mut bench.store, Some(statements));
        let result = bench.write(&lines, "1").await;
        fixture.fail_after(&mut bench.store, None);
        let kept = entries(&mut bench.store, 0).await;
        if result.is_ok() {
            assert_eq!(kept.iter().map(|entry| entry.number).collect::<Vec<_>>(), [1]);
            break;
        }
        assert_eq!(kept, [], "a failure after {statements} statements leaves no entry");
    }
    let mut replica = Replica::default();
    follow(&mut bench.store, "replica", &mut replica).await;
    assert_equal(&mut bench.store, &replica, "after failures").await;
}

pub(super) async fn a_sink_added_later_starts_from_a_snapshot<F: Fixture>(fixture: &mut F)
where
    F::Store: Outbox + Upkeep,
{
    let settings = Settings::default();
    let mut bench = Bench::new(fixture.create()).await;
    let batches = batches();
    let (before, rest) = batches.split_at(batches.len() / 2);
    for (number, lines) in before.iter().enumerate() {
        bench.write(lines, &format!("a{number}")).await.unwrap();
    }
    upload(&mut bench.store).await;
    bench.store.put_sink(&SinkSpec::new("replica")).await.unwrap();
    // Something of an earlier life, which the snapshot removes.
    let mut replica = Replica::default();
    let old = Bench::new(fixture.create()).await;
    follow_old(old, &mut replica).await;

    // Between any two pages something is written.
    let mut pages = 0;
    let mut more = rest.iter().enumerate();
    loop {
        let state = bench.store.lease_sink("replica", OWNER, LEASE).await.unwrap().unwrap();
        if state.position.snapshot.is_none() {
            break;
        }
        assert!(step(&mut bench.store, "replica", &mut replica, 5).await);
        pages += 1;
        if pages % 2 == 0
            && let Some((number, lines)) = more.next()
        {
            bench.write(lines, &format!("b{number}")).await.unwrap();
        }
        if pages == 12 {
            rebuild(&mut bench.store, &settings).await;
            bench.ingest.clear_cache();
        }
    }
    assert!(pages > 20, "the snapshot has pages: {pages}");
    follow(&mut bench.store, "replica", &mut replica).await;
    for (number, lines) in more {
        bench.write(lines, &format!("c{number}")).await.unwrap();
    }
    follow(&mut bench.store, "replica", &mut replica).await;
    assert_equal(&mut bench.store, &replica, "after a snapshot").await;
}

async fn follow_old<S: Outbox>(mut bench: Bench<S>, replica: &mut Replica) {
    bench.store.put_sink(&spec("replica", SinkStart::Now)).await.unwrap();
    bench.write(&conversation("gone", 2, START), "1").await.unwrap();
    follow(&mut bench.store, "replica", replica).await;
    assert!(*replica != Replica::default());
}

pub(super) async fn entries_are_kept_until_every_sink_has_them<F: Fixture>(fixture: &mut F)
where
    F::Store: Outbox,
{
    let mut bench = Bench::new(fixture.create()).await;
    for name in ["fast", "slow"] {
        bench.store.put_sink(&spec(name, SinkStart::Now)).await.unwrap();
    }
    for number in 1..=3 {
        bench.write(&conversation(&format!("u{number}"), 1, START), &number.to_string()).await.unwrap();
    }
    let store = &mut bench.store;
    let all = entries(store, 0).await;
    assert_eq!(all.iter().map(|entry| entry.number).collect::<Vec<_>>(), [1, 2, 3]);
    let mut second = fixture.connect(store);
    second.open(&Settings::default()).await.unwrap();
    assert_eq!(entries(&mut second, 0).await, all, "repeated with the same bytes");
    assert_eq!(store.outbox(1, 1, ALL).await.unwrap(), all[1..2]);
    assert_eq!(store.outbox(0, ALL, all[0].bytes.len() + 1).await.unwrap(), all[..2], "limited by bytes");
    assert_eq!(store.outbox(0, ALL, 1).await.unwrap(), all[..1], "at least one");

    follow(store, "fast", &mut Replica::default()).await;
    assert_eq!(entries(store, 0).await, all, "kept for the other");
    let states = store.sinks().await.unwrap();
    assert_eq!(
        states.iter().map(|state| (state.name.as_str(), state.lag())).collect::<Vec<_>>(),
        [("fast", 0), ("slow", 3)]
    );
    assert_eq!(states[0].lag_bytes, 0);
    assert_eq!(states[1].lag_bytes, all.iter().map(|entry| entry.bytes.len() as u64).sum::<u64>());

    // A stale step moves nothing.
    let stands = store.lease_sink("slow", OWNER, LEASE).await.unwrap().unwrap().position;
    let to = SinkPosition { number: 1, snapshot: None };
    let mut step =
        SinkStep { name: "slow", owner: OWNER, from: &stands, to: &to, skipped: 2, error: Some("odd") };
    store.advance_sink(&step).await.unwrap();
    assert_eq!(entries(store, 0).await, all[1..]);
    let error = store.advance_sink(&step).await.unwrap_err();
    assert_eq!(error.class(), Class::Fenced, "{error}");
    let state = &store.sinks().await.unwrap()[1];
    assert_eq!((state.lag(), state.skipped, state.error.as_deref()), (2, 2, Some("odd")));
    assert_eq!(state.owner.as_deref(), Some(OWNER));
    step = SinkStep { owner: "another", from: &to, ..step };
    assert_eq!(store.advance_sink(&step).await.unwrap_err().class(), Class::Fenced, "it has no lease");

    assert!(store.reset_sink("slow").await.unwrap());
    assert_eq!(entries(store, 0).await, [], "a sink that starts again needs no entry");
    let state = store.sinks().await.unwrap().remove(1);
    assert_eq!((state.lag(), state.lag_bytes, state.error), (0, 0, None));
    step = SinkStep { owner: OWNER, from: &to, ..step };
    assert_eq!(store.advance_sink(&step).await.unwrap_err().class(), Class::Fenced, "it has moved");
    let mut replica = Replica::default();
    follow(store, "slow", &mut replica).await;
    assert_equal(store, &replica, "after a reset").await;

    assert!(store.remove_sink("slow").await.unwrap());
    assert_eq!(entries(store, 0).await, [], "a sink that is gone keeps nothing");
    bench.write(&conversation("u4", 1, START), "4").await.unwrap();
    assert_eq!(
        entries(&mut bench.store, 0).await.first().map(|entry| entry.number),
        Some(4),
        "numbers go on"
    );
    assert!(bench.store.remove_sink("fast").await.unwrap());
    bench.write(&conversation("u5", 1, START), "5").await.unwrap();
    assert_eq!(entries(&mut bench.store, 0).await, []);
}

pub(super) async fn a_sink_beyond_its_bound_begins_again<F: Fixture>(fixture: &mut F)
where
    F::Store: Outbox,
{
    let mut bench = Bench::new(fixture.create()).await;
    let bounded = SinkSpec { max_bytes: Some(2000), ..spec("bounded", SinkStart::Now) };
    bench.store.put_sink(&bounded).await.unwrap();
    for number in 1..=12 {
        bench.write(&conversation(&format!("u{number}"), 2, START), &number.to_string()).await.unwrap();
        let kept: usize = entries(&mut bench.store, 0).await.iter().map(|entry| entry.bytes.len()).sum();
        assert!(kept < 20_000, "the outbox is bounded, it has {kept} bytes");
    }
    let state = bench.store.sinks().await.unwrap().remove(0);
    assert!(state.position.snapshot.is_some(), "{state:?}");
    assert!(state.error.is_some_and(|error| error.contains("bound")));
    let mut replica = Replica::default();
    follow(&mut bench.store, "bounded", &mut replica).await;
    assert_equal(&mut bench.store, &replica, "after losing its place").await;
}

pub(super) async fn one_process_feeds_a_sink<F: Fixture>(fixture: &mut F)
where
    F::Store: Outbox,
{
    let mut store = fixture.create();
    store.open(&Settings::default()).await.unwrap();
    store.put_sink(&SinkSpec::new("one")).await.unwrap();
    let mut second = fixture.connect(&store);
    second.open(&Settings::default()).await.unwrap();
    let (long, short) = (Duration::from_secs(60), Duration::from_millis(300));
    assert!(store.lease_sink("one", "a", long).await.unwrap().is_some());
    assert_eq!(second.lease_sink("one", "b", long).await.unwrap(), None, "the other has it");
    assert!(store.lease_sink("one", "a", long).await.unwrap().is_some(), "it may be made longer");
    store.release_sink("one", "b").await.unwrap();
    assert_eq!(second.lease_sink("one", "b", long).await.unwrap(), None, "only its owner ends it");
    store.release_sink("one", "a").await.unwrap();
    assert!(second.lease_sink("one", "b", short).await.unwrap().is_some(), "it has ended");
    std::thread::sleep(short + short);
    assert!(store.lease_sink("one", "a", short).await.unwrap().is_some(), "it was not made longer");
}

pub(super) async fn a_sink_of_dead_letters_costs_no_rows<F: Fixture>(fixture: &mut F)
where
    F::Store: Outbox,
{
    let mut bench = Bench::new(fixture.create()).await;
    bench.write(&["one".into(), "two".into()], "1").await.unwrap();
    let letters = SinkSpec {
        scope: Scope::DeadLetters,
        start: SinkStart::DeadLettersAfter(1),
        max_bytes: None,
        ..SinkSpec::new("letters")
    };
    bench.store.put_sink(&letters).await.unwrap();
    bench.write(&conversation("u1", 1, START), "2").await.unwrap();
    assert_eq!(entries(&mut bench.store, 0).await, [], "rows are not wanted");
    bench.write(&["three".into()], "3").await.unwrap();
    assert_eq!(entries(&mut bench.store, 0).await.len(), 1);
    let mut replica = Replica::default();
    follow(&mut bench.store, "letters", &mut replica).await;
    assert_eq!(replica.dead_letters(), [2, 3]);

    // With another scope it starts from the beginning.
    let position = bench.store.put_sink(&letters).await.unwrap().position;
    assert_eq!(position, SinkPosition { number: 1, snapshot: None });
    let state = bench.store.put_sink(&SinkSpec::new("letters")).await.unwrap();
    assert!(state.position.snapshot.is_some());
    let mut replica = Replica::default();
    follow(&mut bench.store, "letters", &mut replica).await;
    assert_equal(&mut bench.store, &replica, "with another scope").await;
}

/// The error of reading what is no entry.
pub(super) fn what_is_no_entry_is_refused() {
    assert!(matches!(ChangeBatch::from_bytes(1, &[]), Err(StoreError::Damaged { .. })));
    assert!(matches!(ChangeBatch::from_bytes(1, &[9, 0]), Err(StoreError::Newer { found: 9, .. })));
}

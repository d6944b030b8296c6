//! The checks of what is needed by the tools that go through all senders.

use turnmill_formats::rasa::RasaDecoder;
use turnmill_model::{AssistantNameBuf, Micros, SenderId, SessionIdMode, Settings, SourceFactsBuf};

use super::cases::{Bench, START, expected_of, expected_with};
use super::{Fixture, OwnedRecord, conversation};
use crate::{Ingest, RowRules};
use turnmill_sink::{Class, Inspect, Store, Upkeep};

/// Returns the events of several senders, out of order.
fn lines() -> Vec<String> {
    let senders: Vec<Vec<String>> =
        (0..5_u8).map(|n| conversation(&format!("u{n}"), 3, START + f64::from(n) * 7.0)).collect();
    let longest = senders.iter().map(Vec::len).max().unwrap_or(0);
    let rounds =
        (0..longest).rev().flat_map(|index| senders.iter().filter_map(move |lines| lines.get(index)));
    rounds.cloned().collect()
}

async fn filled<S: Store + Inspect>(store: S) -> Bench<S> {
    let mut bench = Bench::new(store).await;
    for (number, lines) in lines().chunks(9).enumerate() {
        bench.write(lines, &number.to_string()).await.unwrap();
    }
    bench
}

/// Rebuilds `step` senders at a time, at most `most` times. Returns whether that was all.
async fn rebuild<S: Upkeep>(store: &mut S, settings: &Settings, step: usize, most: usize) -> bool {
    rebuild_as(store, settings, None, step, most).await
}

/// Does the same, with an assistant for senders without one.
async fn rebuild_as<S: Upkeep>(
    store: &mut S,
    settings: &Settings,
    assistant: Option<&str>,
    step: usize,
    most: usize,
) -> bool {
    let mut ingest = Ingest::new(&RowRules::new(settings, RasaDecoder::new), 1 << 20);
    let mut after = store.begin_rebuild(settings).await.unwrap().after;
    for _ in 0..most {
        let senders = store.senders(after, step).await.unwrap();
        let Some(last) = senders.last() else {
            store.end_rebuild(settings).await.unwrap();
            return true;
        };
        after = Some(*last);
        ingest.rebuild(store, &senders, assistant).await.unwrap();
    }
    false
}

pub(super) async fn senders_are_listed_in_order<F: Fixture>(fixture: &mut F)
where
    F::Store: Upkeep,
{
    let mut bench = filled(fixture.create()).await;
    let mut all: Vec<SenderId> = (0..5).map(|n| SenderId::new(None, &format!("u{n}"))).collect();
    all.sort_unstable();
    assert_eq!(bench.store.senders(None, 100).await.unwrap(), all);
    assert_eq!(bench.store.senders(Some(all[1]), 2).await.unwrap(), all[2..4]);
    assert_eq!(bench.store.senders(Some(all[4]), 2).await.unwrap(), []);
}

pub(super) async fn senders_are_found_by_when_they_were_seen<F: Fixture>(fixture: &mut F)
where
    F::Store: Upkeep,
{
    let mut bench = filled(fixture.create()).await;
    let store = &mut bench.store;
    let all = store.senders(None, 100).await.unwrap();
    let last = SenderId::new(None, "u4");
    // The last conversation alone goes on after this time.
    let since = Micros(((START + 27.0) * 1e6) as i64);
    let found = store.senders_seen(since, None, 100).await.unwrap();
    assert!(found.contains(&last) && found.iter().all(|sender| all.contains(sender)), "{found:?}");
    assert_eq!(store.senders_seen(Micros(0), Some(all[1]), 2).await.unwrap(), all[2..4]);
    assert_eq!(store.swept_patterns().await.unwrap(), 0);
    store.note_swept_patterns(3).await.unwrap();
    store.note_swept_patterns(4).await.unwrap();
    let mut second = fixture.connect(store);
    second.open(&Settings::default()).await.unwrap();
    assert!([0, 4].contains(&second.swept_patterns().await.unwrap()), "noted, or not at all");
}

pub(super) async fn a_rebuild_with_the_same_settings_changes_nothing<F: Fixture>(fixture: &mut F)
where
    F::Store: Upkeep,
{
    let mut bench = filled(fixture.create()).await;
    let before = bench.digests().await;
    assert!(rebuild(&mut bench.store, &Settings::default(), 2, 100).await);
    assert_eq!(bench.digests().await, before);
    // The senders' states are right, too: what comes next finds its place.
    bench.ingest.clear_cache();
    let mut more = conversation("u3", 2, START + 4000.0);
    more.extend(conversation("u1", 1, START - 4000.0));
    bench.write(&more, "more").await.unwrap();
    let all = [lines(), more].concat();
    assert_eq!(bench.digests().await, expected_with(fixture, &all, &Settings::default()).await);
}

pub(super) async fn a_rebuild_with_other_settings_gives_the_rows_of_a_store_filled_with_them<F: Fixture>(
    fixture: &mut F,
) where
    F::Store: Upkeep,
{
    let others = [
        Settings { bare_slot_strings: true, stack_events: false, ..Settings::default() },
        Settings { session_id: SessionIdMode::Off, ..Settings::default() },
    ];
    for settings in others {
        let mut bench = filled(fixture.create()).await;
        // The rebuild is killed twice.
        assert!(!rebuild(&mut bench.store, &settings, 1, 2).await);
        let mut second = fixture.connect(&bench.store);
        for refused in [&Settings::default(), &settings] {
            let error = second.open(refused).await.unwrap_err();
            assert_eq!(error.class(), Class::Fatal, "no writer is let in between: {error}");
            assert!(error.to_string().contains("turnmill rebuild"), "{error}");
        }
        let mut second = fixture.connect(&bench.store);
        assert!(!rebuild(&mut second, &settings, 2, 1).await);
        assert!(rebuild(&mut second, &settings, 2, 100).await);
        second.open(&settings).await.unwrap();
        let digests = second.digests().await.unwrap();
        assert_eq!(digests, expected_with(fixture, &lines(), &settings).await);
        let error = fixture.connect(&second).open(&Settings::default()).await.unwrap_err();
        assert_eq!(error.class(), Class::Fatal, "the settings are those of the rebuild now");
    }
}

pub(super) async fn a_rebuild_gives_senders_their_assistant<F: Fixture>(fixture: &mut F)
where
    F::Store: Upkeep,
{
    let settings = Settings::default();
    let mut bench = filled(fixture.create()).await;
    assert!(!rebuild_as(&mut bench.store, &settings, Some("bank"), 2, 1).await, "it is killed on the way");
    assert!(rebuild_as(&mut bench.store, &settings, Some("bank"), 2, 100).await);
    let facts =
        SourceFactsBuf { assistant: AssistantNameBuf::Given("bank".into()), ..SourceFactsBuf::default() };
    let given: Vec<OwnedRecord> = lines()
        .into_iter()
        .map(|line| OwnedRecord { facts: facts.clone(), ..OwnedRecord::body(line.as_bytes()) })
        .collect();
    assert_eq!(bench.digests().await, expected_of(fixture, &given, &settings).await);
}

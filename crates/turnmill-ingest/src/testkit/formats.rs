//! The checks of a store that holds senders of several formats.

use std::sync::Arc;

use turnmill_formats::rasa::RasaDecoder;
use turnmill_markers::{MarkerSet, SourceFile};
use turnmill_model::{
    AssistantNameBuf, Micros, Reason, Record, SenderId, SessionId, Settings, SourceFactsBuf,
};

use super::cases::{Bench, START};
use super::drive::PlainLetters;
use super::{Annex, Fixture, OwnedRecord, Tiny, conversation};
use crate::{Accounting, Arrivals, Ingest, RowRules};
use turnmill_sink::digest::Digests;
use turnmill_sink::{Class, Counts, Inspect, Store, StoreError, Upkeep};

fn rules() -> RowRules {
    RowRules::new(&Settings::default(), RasaDecoder::new)
        .with_decoder(Tiny::new)
        .with_decoder(Annex::new)
        .with_checkpoint_every(4)
}

fn facts(decoder: &str) -> SourceFactsBuf {
    SourceFactsBuf { decoder: Some(decoder.into()), ..SourceFactsBuf::default() }
}

fn tiny(line: impl Into<String>) -> OwnedRecord {
    OwnedRecord { facts: facts("tiny"), ..OwnedRecord::body(line.into().into_bytes()) }
}

/// Returns lines of two senders, each with sessions by key and by silence. The senders' names are
/// also those of Rasa's senders.
fn tiny_lines() -> Vec<OwnedRecord> {
    let mut given = vec![tiny("ping")];
    for (sender, start) in [("u1", START), ("u2", START + 0.01)] {
        for number in 0..24_u32 {
            // Two messages of one time, which their numbers order.
            let time = start + f64::from(number / 2) * 7.5;
            let session = ["s1", "s2", "s1"][number as usize / 8];
            given.push(tiny(format!("{time}|{sender}|{session}|{number}|greet: hello {number}|hi {number}")));
        }
        for (number, after) in [(100, 2000.0), (101, 2060.0), (102, 2121.0)] {
            let time = start + after;
            given.push(tiny(format!("{time}|{sender}||{number}|inform: silence {number}|")));
        }
    }
    given
}

/// Returns records of both formats, out of order.
fn both() -> Vec<OwnedRecord> {
    let rasa = ["u1", "u2"].into_iter().flat_map(|sender| conversation(sender, 4, START));
    let mut given: Vec<OwnedRecord> = rasa.map(OwnedRecord::body).chain(tiny_lines()).collect();
    // 7 and the number of records have no common factor, so each record comes once.
    given.push(tiny("no fields"));
    let count = given.len();
    let step = if count.is_multiple_of(7) { 11 } else { 7 };
    given = (0..count).map(|index| given[index * step % count].clone()).collect();
    given
}

async fn filled<S: Store + Inspect>(store: S, given: &[OwnedRecord], batch: usize) -> Bench<S> {
    let mut bench = Bench::with_rules(store, &rules()).await;
    for (number, given) in given.chunks(batch).enumerate() {
        bench.write_given(given, &number.to_string()).await.unwrap();
    }
    bench
}

/// Returns the digests of the records in one batch of a store of the same kind.
async fn expected<F: Fixture>(fixture: &mut F, given: &[OwnedRecord]) -> Digests {
    filled(fixture.create(), given, usize::MAX).await.digests().await
}

async fn ledger<S: Store + Inspect>(bench: &mut Bench<S>) -> Counts {
    let mut sum = Counts::default();
    bench.store.ledger().await.unwrap().into_iter().for_each(|entry| sum += entry.counts);
    sum
}

fn rows(digests: &Digests, table: &str) -> u64 {
    digests.tables.get(table).map_or(0, |digest| digest.rows)
}

pub(super) async fn senders_of_two_formats_share_a_store<F: Fixture>(fixture: &mut F) {
    let alone = expected(fixture, &tiny_lines()).await;
    assert_eq!(rows(&alone, "rasa_sender"), 2);
    // By key s1 and s2, to which the third part returns; by silence two.
    assert_eq!(rows(&alone, "rasa_session"), 2 * 4);
    assert_eq!(rows(&alone, "rasa_user_message"), 2 * 27);
    assert_eq!(rows(&alone, "rasa_bot_message"), 2 * 24);

    let given = both();
    let whole = expected(fixture, &given).await;
    assert_eq!(rows(&whole, "rasa_sender"), 4, "equal names of two formats are two senders");
    let mut bench = filled(fixture.create(), &given, 5).await;
    assert_eq!(bench.digests().await, whole, "the order of arrival does not show");
    let counts = ledger(&mut bench).await;
    assert_eq!(counts.records, given.len() as i64, "a line counts once, whatever it gives");
    assert_eq!((counts.skipped, counts.dead_letters, counts.duplicates), (1, 1, 0));
    assert_eq!(counts.parts, 2 * 24, "the replies are no units");
    assert_eq!((counts.events + counts.parts) as u64, rows(&whole, "rasa_event"));

    let report = bench.write_given(&given, "again").await.unwrap();
    assert_eq!(report.counts.duplicates, given.len() as i64 - 2, "all are known");
    assert_eq!((report.counts.events, report.counts.parts), (0, 0));
    assert_eq!(bench.digests().await, whole);
}

pub(super) async fn each_format_keeps_its_own_of_plain_copies<F: Fixture>(fixture: &mut F) {
    let plain = both();
    let hidden = |given: &OwnedRecord, message: &str| {
        let line = String::from_utf8(given.payload.clone()).unwrap();
        let mut fields: Vec<String> = line.split('|').map(str::to_owned).collect();
        fields[4] = message.to_owned();
        tiny(format!("{}|2024", fields.join("|")))
    };
    let of_tiny = |given: &&OwnedRecord| {
        given.facts.decoder.is_some() && String::from_utf8_lossy(&given.payload).matches('|').count() == 5
    };
    let copies: Vec<OwnedRecord> =
        plain.iter().filter(of_tiny).map(|given| hidden(given, "[hidden]")).collect();
    // What is expected: copies that have the intent themselves.
    let full = |given: &OwnedRecord| {
        let line = String::from_utf8_lossy(&given.payload);
        let intent = if line.contains("greet") { "greet" } else { "inform" };
        if of_tiny(&given) { hidden(given, &format!("{intent}: [hidden]")) } else { given.clone() }
    };
    let expected = expected(fixture, &plain.iter().map(full).collect::<Vec<_>>()).await;
    for batch in [3, 1000] {
        let orders = [[&plain[..], &copies[..]].concat(), [&copies[..], &plain[..]].concat()];
        for (number, given) in orders.iter().enumerate() {
            let mut bench = filled(fixture.create(), given, batch).await;
            assert_eq!(bench.digests().await, expected, "order {number}, batches of {batch}");
            let counts = ledger(&mut bench).await;
            assert_eq!(counts.records, given.len() as i64);
            assert_eq!(counts.duplicates, copies.len() as i64);
        }
    }
}

pub(super) async fn a_sender_may_have_events_of_two_decoders<F: Fixture>(fixture: &mut F) {
    let lines = conversation("u1", 20, START);
    let plain: Vec<OwnedRecord> = lines.iter().map(|line| OwnedRecord::body(line.as_bytes())).collect();
    let mixed: Vec<OwnedRecord> = (0..)
        .zip(&plain)
        .map(|(number, given)| {
            let decoder = if number % 3 == 0 { facts("annex") } else { SourceFactsBuf::default() };
            OwnedRecord { facts: decoder, ..given.clone() }
        })
        .collect();
    let whole = expected(fixture, &plain).await;
    for batch in [1, 7, usize::MAX] {
        // Every fifth event is late, and replays a history of both.
        let (late, on_time): (Vec<_>, Vec<_>) = (0..mixed.len()).partition(|index| index % 5 == 0);
        let order = on_time.into_iter().chain(late).map(|index| mixed[index].clone());
        let order: Vec<OwnedRecord> = order.collect();
        let mut bench = filled(fixture.create(), &order, batch).await;
        assert_eq!(bench.digests().await, whole, "batches of {batch}");
    }
}

pub(super) async fn a_dead_letter_is_retried_by_its_decoder<F: Fixture>(fixture: &mut F) {
    let timeless = tiny("never|u1|s1|7|greet: hello|hi");
    let unknown = OwnedRecord { facts: facts("nothing"), ..OwnedRecord::body("{}") };
    let mut bench = filled(fixture.create(), &[timeless.clone(), unknown, OwnedRecord::body("{}")], 10).await;
    let letters = bench.store.dead_letters(0, 10).await.unwrap();
    let reasons: Vec<Reason> = letters.iter().map(|letter| letter.reason).collect();
    assert_eq!(reasons, [Reason::NoUsableTimestamp, Reason::UnknownDecoder, Reason::NoEventType]);
    assert!(letters[1].detail.contains("`nothing`") && letters[1].detail.contains("tiny"), "{letters:?}");
    for letter in &letters {
        let mut arrivals = Arrivals::default();
        let record = Record { time: Some(START), ..letter.record() };
        arrivals.push(bench.ingest.decoders(), record);
        if arrivals.refused().is_empty() {
            let accounting = Accounting::Retry { source: &letter.key.source, letter: letter.id };
            let plain = PlainLetters { arrivals: &arrivals, key: &letter.key };
            bench.ingest.ingest(&mut bench.store, &arrivals, &[], &accounting, &plain).await.unwrap();
        }
    }
    assert_eq!(bench.store.dead_letters(0, 10).await.unwrap().len(), 2);
    let landed = OwnedRecord { time: Some(START), ..timeless };
    assert_eq!(bench.digests().await, expected(fixture, &[landed]).await);
    let counts = ledger(&mut bench).await;
    assert_eq!((counts.records, counts.events, counts.dead_letters, counts.parts), (3, 1, 2, 1));
}

async fn rebuild<S: Upkeep>(
    store: &mut S,
    rules: &RowRules,
    assistant: Option<&str>,
) -> Result<(), StoreError> {
    let mut ingest = Ingest::new(rules, 1 << 20);
    let mut after = store.begin_rebuild(rules.settings()).await?.after;
    loop {
        let senders = store.senders(after, 1).await?;
        let Some(last) = senders.last() else { return store.end_rebuild(rules.settings()).await };
        after = Some(*last);
        ingest.rebuild(store, &senders, assistant).await?;
    }
}

pub(super) async fn a_rebuild_reads_each_sender_with_its_decoder<F: Fixture>(fixture: &mut F)
where
    F::Store: Upkeep,
{
    let given = both();
    let mut bench = filled(fixture.create(), &given, 5).await;
    let whole = bench.digests().await;
    rebuild(&mut bench.store, &rules(), None).await.unwrap();
    assert_eq!(bench.digests().await, whole, "the same rows");

    // A program that lacks a decoder changes nothing and says which.
    let rasa_only = RowRules::new(&Settings::default(), RasaDecoder::new);
    let error = rebuild(&mut bench.store, &rasa_only, None).await.unwrap_err();
    assert_eq!(error.class(), Class::Fatal, "{error}");
    assert!(error.to_string().contains("`tiny`"), "it names the decoder: {error}");
    assert_eq!(bench.digests().await, whole);

    rebuild(&mut bench.store, &rules(), Some("bank")).await.unwrap();
    let named = |given: &OwnedRecord| {
        let assistant = AssistantNameBuf::Given("bank".into());
        OwnedRecord { facts: SourceFactsBuf { assistant, ..given.facts.clone() }, ..given.clone() }
    };
    let given: Vec<OwnedRecord> = given.iter().map(named).collect();
    assert_eq!(bench.digests().await, expected(fixture, &given).await, "senders get their assistant");
    bench.ingest.clear_cache();
    let report = bench.write_given(&given, "again").await.unwrap();
    assert_eq!((report.counts.events, report.counts.parts), (0, 0), "all are known");
}

pub(super) async fn markers_are_made_of_every_format<F: Fixture>(fixture: &mut F)
where
    F::Store: Upkeep,
{
    let file = SourceFile::new("markers.yml", &b"greeted: {intent: greet}"[..]);
    let (markers, _) = MarkerSet::parse(&[file]).unwrap();
    let given = both();
    let mut before = Bench::with_rules(fixture.create(), &rules()).await;
    let set = before.store.patterns().await.unwrap().upload(&markers, Micros(0), false).unwrap();
    before.store.write_patterns(0, &set).await.unwrap();
    before.write_given(&given, "all").await.unwrap();
    let greeted = rows(&before.digests().await, "rasa_markers");
    assert_eq!(greeted, 2 * 24, "a row for each greeting");

    let mut after = filled(fixture.create(), &given, 5).await;
    after.store.write_patterns(0, &set).await.unwrap();
    let senders = after.store.senders(None, 100).await.unwrap();
    // The preview and the explanation of markers read the history like this.
    let (mut events, mut found) = (0, 0);
    let patterns = Arc::new(set.compile().unwrap());
    let mut show = |remade: crate::RemadeSender<'_>| {
        events += remade.events;
        found += remade.rows.markers.inserts.len() as u64;
    };
    after.ingest.remake_rows(&mut after.store, &senders, patterns, &mut show).await.unwrap();
    assert_eq!((events, found), (rows(&after.digests().await, "rasa_event"), greeted));
    let session = SessionId::from_text("tiny u2 s2");
    let owner = after.ingest.session_owner(&mut after.store, session).await.unwrap();
    assert_eq!(owner, Some(SenderId::of_format("tiny", None, "u2")));
    let mut shown = 0;
    let mut count = |_: &turnmill_model::Event<'_>, bytes: &[u8]| {
        assert!(!bytes.is_empty());
        shown += 1;
        std::ops::ControlFlow::Continue(())
    };
    after.ingest.show_events(&mut after.store, owner.unwrap(), &mut count).await.unwrap();
    assert_eq!(shown, 24 * 2 + 3);

    assert_eq!(after.ingest.catch_up(&mut after.store, &senders).await.unwrap(), 4, "all had rows missing");
    assert_eq!(after.digests().await, before.digests().await);
}

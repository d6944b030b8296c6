//! The checks of the suite, one property each.

use turnmill_formats::rasa::RasaDecoder;
use turnmill_model::{
    AssistantNameBuf, PartitionId, Reason, Record, Refused, SessionIdMode, Settings, SourceFactsBuf, TimeUnit,
};

use super::drive::PlainLetters;
use super::{Fixture, OwnedRecord, conversation};
use crate::{Accounting, Arrivals, Ingest, MakeDeadLetter, Report, RowRules};
use turnmill_sink::digest::Digests;
use turnmill_sink::{Advance, Class, DeadLetter, Inspect, Store, StoreError, StoredPosition};

pub(super) const START: f64 = 1_656_382_549.5;

/// A store with one writer, and what is needed to write to it.
pub(super) struct Bench<S> {
    pub(super) store: S,
    pub(super) ingest: Ingest,
    key: PartitionId,
    position: Option<String>,
}

impl<S: Store + Inspect> Bench<S> {
    pub(super) async fn new(store: S) -> Self {
        Self::with_settings(store, &Settings::default()).await
    }

    async fn with_settings(store: S, settings: &Settings) -> Self {
        Self::with_rules(store, &RowRules::new(settings, RasaDecoder::new)).await
    }

    pub(super) async fn with_rules(mut store: S, rules: &RowRules) -> Self {
        let key = PartitionId { source: "suite".into(), partition: "0".into() };
        let ingest = Ingest::new(rules, 1 << 20);
        let opened = ingest.open(&mut store).await.unwrap();
        let position = opened.position(&key).map(Into::into);
        Self { store, ingest, key, position }
    }

    pub(super) async fn write(&mut self, lines: &[String], to: &str) -> Result<Report, StoreError> {
        let given: Vec<OwnedRecord> = lines.iter().map(|line| OwnedRecord::body(line.as_bytes())).collect();
        self.write_given(&given, to).await
    }

    pub(super) async fn write_given(
        &mut self,
        given: &[OwnedRecord],
        to: &str,
    ) -> Result<Report, StoreError> {
        let mut arrivals = Arrivals::default();
        given.iter().for_each(|given| arrivals.push(self.ingest.decoders(), given.as_record()));
        let advance = Advance { key: self.key.clone(), from: self.position.clone(), to: to.into() };
        let letters = PlainLetters { arrivals: &arrivals, key: &self.key };
        let accounting = Accounting::Source("suite");
        let report =
            self.ingest.ingest(&mut self.store, &arrivals, &[advance], &accounting, &letters).await?;
        self.position = Some(to.into());
        Ok(report)
    }

    pub(super) async fn digests(&mut self) -> Digests {
        for entry in self.store.ledger().await.unwrap() {
            assert!(entry.counts.adds_up(), "the ledger does not add up: {entry:?}");
        }
        self.store.digests().await.unwrap()
    }
}

/// Returns the digests that the lines give in one batch of a store of the same kind.
async fn expected<F: Fixture>(fixture: &mut F, lines: &[String]) -> Digests {
    expected_with(fixture, lines, &Settings::default()).await
}

/// Returns the same with other settings.
pub(super) async fn expected_with<F: Fixture>(
    fixture: &mut F,
    lines: &[String],
    settings: &Settings,
) -> Digests {
    let given: Vec<OwnedRecord> = lines.iter().map(|line| OwnedRecord::body(line.as_bytes())).collect();
    expected_of(fixture, &given, settings).await
}

/// Returns the digests that the records give in one batch of a store of the same kind.
pub(super) async fn expected_of<F: Fixture>(
    fixture: &mut F,
    given: &[OwnedRecord],
    settings: &Settings,
) -> Digests {
    let mut bench = Bench::with_settings(fixture.create(), settings).await;
    bench.write_given(given, "all").await.unwrap();
    bench.digests().await
}

pub(super) async fn resumes_where_it_stopped<F: Fixture>(fixture: &mut F) {
    let lines = conversation("u1", 3, START);
    let mut first = Bench::new(fixture.create()).await;
    first.write(&lines[..6], "6").await.unwrap();
    let again = fixture.connect(&first.store);
    let mut second = Bench::new(again).await;
    assert_eq!(second.position.as_deref(), Some("6"), "the position is stored with the rows");
    second.write(&lines[6..], "end").await.unwrap();
    assert_eq!(second.digests().await, expected(fixture, &lines).await, "a restart does not show");
    let stored = StoredPosition { key: second.key.clone(), position: "end".into() };
    assert_eq!(second.store.positions().await.unwrap(), [stored]);
}

pub(super) async fn redelivery_changes_nothing<F: Fixture>(fixture: &mut F) {
    let lines = conversation("u1", 3, START);
    let mut bench = Bench::new(fixture.create()).await;
    bench.write(&lines, "1").await.unwrap();
    let before = bench.digests().await;
    let report = bench.write(&lines, "2").await.unwrap();
    assert_eq!(report.counts.duplicates, lines.len() as i64, "all are known");
    assert_eq!((report.counts.events, report.rows.as_slice()), (0, &[][..]), "nothing changes");
    assert_eq!(bench.digests().await, before);
}

pub(super) async fn a_stale_position_is_fenced<F: Fixture>(fixture: &mut F) {
    let lines = conversation("u1", 2, START);
    let mut first = Bench::new(fixture.create()).await;
    let again = fixture.connect(&first.store);
    let mut zombie = Bench::new(again).await;
    first.write(&lines[..5], "5").await.unwrap();
    let before = first.digests().await;
    let error = zombie.write(&lines[5..], "all").await.unwrap_err();
    assert_eq!(error.class(), Class::Fenced, "a writer with another position is fenced: {error}");
    assert_eq!(first.digests().await, before, "a fenced batch leaves nothing");
}

pub(super) async fn two_writers_on_one_sender_agree<F: Fixture>(fixture: &mut F) {
    let lines = conversation("u1", 6, START);
    let mut one = Bench::new(fixture.create()).await;
    let again = fixture.connect(&one.store);
    let mut two = Bench::new(again).await;
    two.key.partition = "1".into();
    for (index, pair) in lines.chunks(4).enumerate() {
        let (front, back) = pair.split_at(pair.len() / 2);
        // The second writer's events are older than those that the first has just written. They are
        // late, and the second writer's cache is out of date.
        one.write(back, &format!("{index}")).await.unwrap();
        two.write(front, &format!("{index}")).await.unwrap();
    }
    assert_eq!(one.digests().await, expected(fixture, &lines).await, "the number of writers does not show");
}

pub(super) async fn a_refused_row_spares_its_neighbours<F: Fixture>(fixture: &mut F) {
    let lines = conversation("u1", 4, START);
    let mut bench = Bench::new(fixture.create()).await;
    fixture.refuse_text(&mut bench.store, Some("message 2"));
    let report = bench.write(&lines, "1").await.unwrap();
    assert_eq!(report.counts.dead_letters, 1, "only the record at fault is set aside");
    assert_eq!(report.counts.events, lines.len() as i64 - 1, "its neighbours land");
    let letters = bench.store.dead_letters(0, 10).await.unwrap();
    let poison = lines.iter().find(|line| line.contains("message 2")).unwrap();
    assert_eq!(letters[0].payload, poison.as_bytes(), "the original bytes are kept");
    assert_eq!(letters[0].reason, Reason::RefusedByStore);
    let rest: Vec<String> = lines.iter().filter(|line| *line != poison).cloned().collect();
    assert_eq!(bench.digests().await, expected(fixture, &rest).await);
}

pub(super) async fn late_events_fall_into_place<F: Fixture>(fixture: &mut F) {
    let mut lines = conversation("u1", 20, START);
    lines.extend(conversation("u1", 20, START + 5000.0));
    let whole = expected(fixture, &lines).await;
    for step in [3, 7, 11] {
        let mut bench = Bench::new(fixture.create()).await;
        let (late, on_time): (Vec<_>, Vec<_>) = (0..lines.len()).partition(|index| index % step == 0);
        let pick = |indices: &[usize]| indices.iter().map(|index| lines[*index].clone()).collect::<Vec<_>>();
        bench.write(&pick(&on_time), "1").await.unwrap();
        for (index, line) in pick(&late).into_iter().rev().enumerate() {
            bench.write(&[line], &format!("late {index}")).await.unwrap();
        }
        assert_eq!(bench.digests().await, whole, "the order of arrival does not show (step {step})");
    }
}

pub(super) async fn an_anonymised_copy_replaces_the_plain_one<F: Fixture>(fixture: &mut F) {
    let lines = conversation("u1", 5, START);
    let anonymised: Vec<String> = lines
        .iter()
        .map(|line| {
            line.replace("message ", "[hidden] ").replacen(
                '{',
                r#"{"anonymized_at": "2022-06-28T03:00:00", "#,
                1,
            )
        })
        .collect();
    let hidden = expected(fixture, &anonymised).await;
    let mut bench = Bench::new(fixture.create()).await;
    bench.write(&lines, "1").await.unwrap();
    assert_ne!(bench.digests().await, hidden);
    let mixed: Vec<String> = lines.iter().chain(&anonymised).cloned().collect();
    let report = bench.write(&mixed, "2").await.unwrap();
    assert_eq!(report.counts.duplicates, mixed.len() as i64);
    assert_eq!(
        report.counts.anonymised,
        lines.len() as i64,
        "a plain copy takes no place that could be taken again"
    );
    assert_eq!(bench.digests().await, hidden, "rows are those of the anonymised copies");
    bench.write(&lines, "3").await.unwrap();
    assert_eq!(bench.digests().await, hidden, "a plain copy never comes back");
    // The history has no plain text either: a late event replays it.
    let late = conversation("u1", 1, START - 500.0);
    bench.write(&late, "4").await.unwrap();
    let both: Vec<String> = late.into_iter().chain(anonymised).collect();
    assert_eq!(bench.digests().await, expected(fixture, &both).await);
}

pub(super) async fn copies_of_one_clock_tick_are_told_apart<F: Fixture>(fixture: &mut F) {
    // All events of one action have one timestamp. Another sender has events at the same time.
    let said = |sender: &str, text: &str, more: &str| {
        format!(
            r#"{{"sender_id": "{sender}", "event": "bot", "timestamp": {START}, "text": "{text}"{more}}}"#
        )
    };
    let user = |text: &str, more: &str| {
        format!(
            r#"{{"sender_id": "u1", "event": "user", "timestamp": {START}, "text": "{text}", "message_id": "m"{more}}}"#
        )
    };
    let plain = [
        said("u1", "one", ""),
        said("u1", "two", ""),
        said("u1", "three", ""),
        said("u2", "one", ""),
        user(
            "I am Ann",
            r#", "user_id": "7", "parse_data": {"intent": {"name": "greet", "confidence": 0.5}}"#,
        ),
    ];
    let mut bench = Bench::new(fixture.create()).await;
    for (number, line) in plain.iter().enumerate() {
        let report = bench.write(std::slice::from_ref(line), &format!("plain {number}")).await.unwrap();
        assert_eq!(report.counts.events, 1, "{line}");
    }
    let together = bench.digests().await;
    assert_eq!(together, expected(fixture, &plain).await, "batches do not show");
    let report = bench.write(&plain, "again").await.unwrap();
    assert_eq!((report.counts.events, report.counts.duplicates), (0, 5), "each is known");
    let report = bench.write(&[user("I am Bob", "")], "changed").await.unwrap();
    assert_eq!((report.counts.duplicates, report.counts.changed), (1, 1), "its id tells the message");
    assert_eq!(bench.digests().await, together, "and the first copy stays");

    let mark = r#", "anonymized_at": 1717589977.9"#;
    let copies = [
        said("u1", "[hidden]", mark),
        user("I am [NAME]", &format!(r#"{mark}, "parse_data": {{"text": ""}}"#)),
    ];
    let report = bench.write(&copies[..1], "bot").await.unwrap();
    assert_eq!(report.counts.anonymised, 1);
    assert_eq!(
        (report.counts.events, report.counts.duplicates),
        (-2, 3),
        "it stands for three events of one sender, and for none of the other"
    );
    bench.write(&copies[1..], "user").await.unwrap();
    let full = user(
        "I am [NAME]",
        &format!(
            r#"{mark}, "user_id": "7", "parse_data": {{"intent": {{"name": "greet", "confidence": 0.5}}}}"#
        ),
    );
    let hidden = expected(fixture, &[copies[0].clone(), plain[3].clone(), full]).await;
    assert_eq!(bench.digests().await, hidden, "what is no personal data is kept");
    bench.write(&plain, "plain once more").await.unwrap();
    assert_eq!(bench.digests().await, hidden);
    // In the other order, the facts of the plain copies come later.
    let mut other = Bench::new(fixture.create()).await;
    other.write(&copies, "copies").await.unwrap();
    assert_ne!(other.digests().await, hidden);
    other.write(&plain, "plain").await.unwrap();
    assert_eq!(other.digests().await, hidden);
    other.ingest.clear_cache();
    other.write(&copies, "copies again").await.unwrap();
    assert_eq!(other.digests().await, hidden);
}

pub(super) async fn a_failure_between_any_two_statements_leaves_nothing<F: Fixture>(fixture: &mut F) {
    let lines = conversation("u1", 3, START);
    let mut bench = Bench::new(fixture.create()).await;
    // Every third event first, so that the failing batch holds late events, too.
    let (first, rest): (Vec<_>, Vec<_>) = (0..lines.len()).partition(|index| index % 3 == 0);
    let pick = |indices: &[usize]| indices.iter().map(|index| lines[*index].clone()).collect::<Vec<_>>();
    bench.write(&pick(&first), "1").await.unwrap();
    let before = bench.digests().await;
    let mut statements = 0;
    loop {
        fixture.fail_after(&mut bench.store, Some(statements));
        let result = bench.write(&pick(&rest), "2").await;
        fixture.fail_after(&mut bench.store, None);
        match result {
            Ok(_) => break,
            Err(error) => {
                assert!(matches!(error.class(), Class::Retryable { .. }), "{error}");
                assert_eq!(
                    bench.digests().await,
                    before,
                    "a failure after {statements} statements leaves nothing"
                );
            }
        }
        statements += 1;
        assert!(statements < 100_000, "the store never stops failing");
    }
    assert!(statements > 3, "the fail points were reached");
    assert_eq!(bench.digests().await, expected(fixture, &lines).await);
}

pub(super) async fn other_settings_are_refused<F: Fixture>(fixture: &mut F) {
    let mut store = fixture.create();
    store.open(&Settings::default()).await.unwrap();
    let mut again = fixture.connect(&store);
    let other = Settings { session_id: SessionIdMode::Off, ..Settings::default() };
    let error = again.open(&other).await.unwrap_err();
    assert_eq!(error.class(), Class::Fatal);
    assert!(error.to_string().contains("session_id"), "the error names the setting: {error}");
}

pub(super) async fn rows_of_other_settings_are_refused<F: Fixture>(fixture: &mut F) {
    let lines = conversation("u1", 2, START);
    let other = Settings { session_id: SessionIdMode::Off, ..Settings::default() };
    let mut bench = Bench::with_settings(fixture.create(), &other).await;
    // The same store, with rules of other settings than it was opened with.
    bench.ingest = Ingest::new(&RowRules::new(&Settings::default(), RasaDecoder::new), 1 << 20);
    let before = bench.digests().await;
    let error = bench.write(&lines, "1").await.unwrap_err();
    assert_eq!(error.class(), Class::Fatal);
    assert!(error.to_string().contains("session_id"), "the error names the setting: {error}");
    assert_eq!((bench.digests().await, bench.store.ledger().await.unwrap()), (before, Vec::new()));
    // With rules of the settings that it was opened with, the same batch is taken in.
    bench.ingest = Ingest::new(&RowRules::new(&other, RasaDecoder::new), 1 << 20);
    bench.write(&lines, "1").await.unwrap();
    assert_eq!(bench.digests().await, expected_with(fixture, &lines, &other).await);
}

pub(super) async fn dead_letters_can_be_retried<F: Fixture>(fixture: &mut F) {
    let lines = conversation("u1", 2, START);
    let mut driver_lines = lines.clone();
    driver_lines.insert(3, "not JSON".into());
    let mut bench = Bench::new(fixture.create()).await;
    fixture.refuse_text(&mut bench.store, Some("message 0"));
    bench.write(&driver_lines, "1").await.unwrap();
    fixture.refuse_text(&mut bench.store, None);
    let letters = bench.store.dead_letters(0, 10).await.unwrap();
    assert_eq!(letters.len(), 2);
    for letter in &letters {
        let mut arrivals = Arrivals::default();
        let given = OwnedRecord::body(letter.payload.clone());
        arrivals.push(bench.ingest.decoders(), given.as_record());
        let accounting = Accounting::Retry { source: &letter.key.source, letter: letter.id };
        let plain = PlainLetters { arrivals: &arrivals, key: &letter.key };
        bench.ingest.ingest(&mut bench.store, &arrivals, &[], &accounting, &plain).await.unwrap();
    }
    let left = bench.store.dead_letters(0, 10).await.unwrap();
    assert_eq!(
        left.iter().map(|letter| letter.reason).collect::<Vec<_>>(),
        [Reason::NotJson],
        "the other landed"
    );
    assert_eq!(bench.digests().await, expected(fixture, &lines).await);
}

/// A dead letter that uses every column.
fn full_letter() -> DeadLetter {
    DeadLetter {
        id: 0,
        key: PartitionId { source: "kafka ü".into(), partition: "rasa/0".into() },
        place: "offset 17".into(),
        reason: Reason::NotUtf8,
        detail: "byte 0 \u{0}and 'quotes'".into(),
        payload: vec![0, 255, 128],
        sender: Some("u1".into()),
        time: Some(1_656_382_549.326_936),
        environment: Some("dev".into()),
        row: Some(-7),
        facts: SourceFactsBuf {
            assistant: AssistantNameBuf::Given("bank".into()),
            time_unit: TimeUnit::Milliseconds,
            anonymised: true,
            decoder: Some("chat".into()),
        },
        record_key: Some(vec![9, 0]),
        headers: vec![("a".into(), Some(vec![0, 1])), ("a".into(), None), ("b".into(), Some(Vec::new()))],
    }
}

struct FullLetters;

impl MakeDeadLetter for FullLetters {
    fn dead_letter(&self, _: usize, _: &Refused) -> DeadLetter {
        full_letter()
    }
}

pub(super) async fn dead_letters_come_back_whole_and_their_ids_are_not_used_again<F: Fixture>(
    fixture: &mut F,
) {
    let mut bench = Bench::new(fixture.create()).await;
    let (store, ingest) = (&mut bench.store, &mut bench.ingest);
    let broken = |ingest: &Ingest, payloads: &[&'static [u8]]| {
        let mut arrivals = Arrivals::default();
        for payload in payloads {
            arrivals.push(ingest.decoders(), Record { payload, ..Record::default() });
        }
        arrivals
    };
    let count = Accounting::Source("kafka ü");
    let arrivals = broken(ingest, &[b"\xff", b"\xfe"]);
    ingest.ingest(store, &arrivals, &[], &count, &FullLetters).await.unwrap();
    let letters = store.dead_letters(0, 10).await.unwrap();
    let ids: Vec<u64> = letters.iter().map(|letter| letter.id).collect();
    assert!(ids.len() == 2 && ids[0] < ids[1], "ids ascend: {ids:?}");
    for letter in &letters {
        // A database may be unable to keep NUL in a text.
        let detail = full_letter().detail.replace('\0', "");
        assert_eq!(letter.detail.replace('\0', ""), detail);
        assert_eq!(*letter, DeadLetter { id: letter.id, detail: letter.detail.clone(), ..full_letter() });
    }
    assert_eq!(store.dead_letters(ids[0], 10).await.unwrap(), letters[1..]);
    assert_eq!(store.dead_letters(0, 1).await.unwrap(), letters[..1]);
    // Both are retried as something that decodes; then another one arrives.
    let good = conversation("u1", 1, START);
    for (letter, line) in ids.iter().zip(&good) {
        let given = OwnedRecord::body(line.as_bytes());
        let mut arrivals = Arrivals::default();
        arrivals.push(ingest.decoders(), given.as_record());
        let retry = Accounting::Retry { source: "kafka ü", letter: *letter };
        ingest.ingest(store, &arrivals, &[], &retry, &FullLetters).await.unwrap();
        // A second process that retries the same letter is fenced, and the ledger stays correct.
        let error = ingest.ingest(store, &arrivals, &[], &retry, &FullLetters).await.unwrap_err();
        assert_eq!(error.class(), Class::Fenced, "{error}");
    }
    assert!(store.dead_letters(0, 10).await.unwrap().is_empty());
    let ledger = store.ledger().await.unwrap();
    assert!(ledger[0].counts.adds_up() && ledger[0].counts.events == 2, "{ledger:?}");
    let arrivals = broken(ingest, &[b"\xff"]);
    ingest.ingest(store, &arrivals, &[], &count, &FullLetters).await.unwrap();
    let left = store.dead_letters(0, 10).await.unwrap();
    assert!(left.len() == 1 && !ids.contains(&left[0].id), "an id is not used again: {left:?}");
}

//! Sources whose records need another decoder than the default one.

use std::io::Cursor;

use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::testkit::{Tiny, conversation, stored_payloads};
use turnmill_ingest::{Ingest, RowRules};
use turnmill_markers::{MarkerSet, SourceFile};
use turnmill_model::{Micros, PartitionId, Reason, SessionId, Settings, SourceFactsBuf};
use turnmill_pipeline::{
    Drained, Event, PatternEvent, PatternTools, Pipeline, PipelineError, Retried, Stop, retry_dead_letter,
};
use turnmill_sink::{Claim, HistoryRequest, Inspect, MemoryStore, Store, Transaction, Upkeep};
use turnmill_source::{FileOptions, FileSource, Position, Source};

const START: f64 = 1_656_382_549.5;

fn rules() -> RowRules {
    RowRules::new(&Settings::default(), RasaDecoder::new)
}

/// Drains `lines` of a source that names `decoder`, or none.
fn drain(
    pipeline: &mut Pipeline<MemoryStore>,
    decoder: Option<&str>,
    lines: &str,
) -> Result<Drained, PipelineError> {
    let mut open = |_: Option<&Position>| {
        let options = FileOptions { decoder: decoder.map(Into::into), ..FileOptions::default() };
        let stream = Box::new(Cursor::new(lines.as_bytes().to_vec()));
        Ok(Box::new(FileSource::stream(PartitionId::new("test", "-"), stream, options)?) as Box<dyn Source>)
    };
    pollster::block_on(pipeline.drain(None, &mut open, &mut |_: &Event<'_>| {}))
}

fn tiny_lines() -> String {
    let line = |number: u32| {
        let time = START + f64::from(number) * 3.0;
        format!("{time}|u1|s|{number}|greet: hello|hi\n")
    };
    (0..9).map(line).collect::<String>() + "ping\nnever|u1|s|9|greet: hello|hi\n"
}

#[test]
fn the_source_names_the_decoder_of_its_records() {
    let store = MemoryStore::default();
    let mut pipeline = Pipeline::new(store.clone(), &rules(), Stop::default()).with_decoder(Tiny::new);
    let tiny = drain(&mut pipeline, Some("tiny"), &tiny_lines()).unwrap().report.counts;
    assert_eq!((tiny.records, tiny.events, tiny.parts, tiny.skipped, tiny.dead_letters), (11, 9, 9, 1, 1));
    let rasa = conversation("u1", 2, START);
    let rasa_counts = drain(&mut pipeline, None, &rasa.join("\n")).unwrap().report.counts;
    assert_eq!(rasa_counts.events, rasa.len() as i64);
    assert_eq!(store.rows("rasa_sender").len(), 2);

    // Facts about all sources of a pipeline do the same. The source's own word comes first.
    let facts = SourceFactsBuf { decoder: Some("tiny".into()), ..SourceFactsBuf::default() };
    let mut pipeline = pipeline.with_source_facts(facts);
    assert_eq!(drain(&mut pipeline, None, &tiny_lines()).unwrap().report.counts.duplicates, 9);
    let again = drain(&mut pipeline, Some("rasa"), &rasa.join("\n")).unwrap().report.counts;
    assert_eq!(again.duplicates, rasa.len() as i64);
}

#[test]
fn secrets_reach_neither_history_nor_dead_letters() {
    let mut store = MemoryStore::default();
    let mut pipeline = Pipeline::new(store.clone(), &rules(), Stop::default()).with_decoder(Tiny::new);
    let lines = format!("{START}|u1|s|1|greet: hello|token=eyJ.a.b\nno fields token=eyJ.c.d\n");
    drain(&mut pipeline, Some("tiny"), &lines).unwrap();
    let letters = pollster::block_on(store.dead_letters(0, 10)).unwrap();
    assert_eq!(letters[0].payload, b"no fields token=[secret]");
    let senders = pollster::block_on(store.senders(None, 10)).unwrap();
    let chunks = pollster::block_on(async {
        let claim = Claim::of_senders(&senders);
        let mut tx = store.begin(&claim).await.unwrap();
        let request = HistoryRequest { sender: senders[0], since: None, skip: 0, limit: 10 };
        tx.history(&request).await.unwrap().chunks
    });
    let payloads = stored_payloads(&chunks[0]).unwrap();
    assert_eq!((senders.len(), payloads.len()), (1, 2));
    for payload in payloads {
        assert!(payload.ends_with(b"|token=[secret]"), "{payload:?}");
    }
    // The same lines with other tokens are the same messages.
    let again = drain(&mut pipeline, Some("tiny"), &lines.replace("eyJ", "eyK")).unwrap();
    assert_eq!(again.report.counts.duplicates, 1);
}

#[test]
fn an_unknown_decoder_stops_before_anything_is_read() {
    let store = MemoryStore::default();
    let mut pipeline = Pipeline::new(store.clone(), &rules(), Stop::default());
    let error = drain(&mut pipeline, Some("tiny"), &tiny_lines()).unwrap_err();
    assert!(matches!(error, PipelineError::Decoder(_)), "{error:?}");
    let expected = "cannot read the source: no decoder is named `tiny`; this program has: rasa";
    assert_eq!(error.to_string(), expected);
    let mut store = store;
    assert_eq!(pollster::block_on(store.ledger()).unwrap(), []);
}

#[test]
fn a_dead_letter_keeps_its_decoder() {
    let mut store = MemoryStore::default();
    let mut pipeline = Pipeline::new(store.clone(), &rules(), Stop::default()).with_decoder(Tiny::new);
    drain(&mut pipeline, Some("tiny"), &tiny_lines()).unwrap();
    let letters = pollster::block_on(store.dead_letters(0, 10)).unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].facts.decoder.as_deref(), Some("tiny"));
    // A program without the decoder refuses it for that reason, and nothing changes.
    let mut without = Ingest::new(&rules(), 1 << 20);
    let mut retry = |ingest: &mut Ingest| {
        pollster::block_on(retry_dead_letter(&mut store, ingest, &letters[0], Some(START))).unwrap()
    };
    let Retried::Refused(refused) = retry(&mut without) else { panic!("it has no such decoder") };
    assert_eq!(refused.reason, Reason::UnknownDecoder);
    let mut ingest = Ingest::new(&rules().with_decoder(Tiny::new), 1 << 20);
    assert_eq!(retry(&mut ingest), Retried::Landed);
    assert_eq!(store.rows("rasa_user_message").len(), 10);
}

#[test]
fn markers_are_swept_previewed_and_explained_over_both() {
    let mut store = MemoryStore::default();
    let mut pipeline = Pipeline::new(store.clone(), &rules(), Stop::default()).with_decoder(Tiny::new);
    drain(&mut pipeline, Some("tiny"), &tiny_lines()).unwrap();
    drain(&mut pipeline, None, &conversation("u1", 2, START).join("\n")).unwrap();
    let file = SourceFile::new("markers.yml", &b"greeted: {intent: greet}\ninformed: {intent: inform}"[..]);
    let (markers, _) = MarkerSet::parse(&[file]).unwrap();
    pollster::block_on(store.open(&Settings::default())).unwrap();
    let mut ingest = Ingest::new(&rules().with_decoder(Tiny::new), 1 << 20);
    let mut tell = |_: PatternEvent<'_>| {};
    let mut tools = PatternTools::new(&mut store, Stop::default(), &mut tell);
    let preview = pollster::block_on(tools.preview(&ingest, &markers, 1)).unwrap();
    let found: Vec<u64> = preview.markers.iter().map(|marker| marker.results).collect();
    assert_eq!((preview.senders, found), (2, vec![9, 2]));
    let session = SessionId::from_text("tiny u1 s");
    let greeted = markers.markers().iter().find(|marker| marker.name == "greeted").unwrap();
    let explained = pollster::block_on(tools.explain(&ingest, session, &greeted.config)).unwrap().unwrap();
    assert_eq!((explained.sender_key.as_str(), explained.events.len()), ("u1", 18));

    pollster::block_on(tools.upload(&markers, Micros(0))).unwrap();
    let ids: Vec<_> = pollster::block_on(tools.list()).unwrap().active().map(|pattern| pattern.id).collect();
    pollster::block_on(tools.backfill(&ids)).unwrap();
    let swept = pollster::block_on(tools.sweep(&mut ingest)).unwrap();
    assert_eq!((swept.senders, swept.caught_up, swept.complete), (2, 2, true));
    assert_eq!(store.rows("rasa_markers").len(), 11);
}

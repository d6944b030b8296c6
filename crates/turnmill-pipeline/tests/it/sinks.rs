//! Feeding sinks: order, repetition, refusals, several processes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::testkit::{OwnedRecord, Replica, conversation};
use turnmill_ingest::{Accounting, Arrivals, Ingest, MakeDeadLetter, RowRules};
use turnmill_model::{PartitionId, Record, Refused, Settings};
use turnmill_pipeline::{OnRefusal, OutboxError, OutboxRunner, SinkEvent, Stop};
use turnmill_sink::outbox::{ChangeBatch, Operation, Origin, Outbox, SinkSpec, SinkStart};
use turnmill_sink::{Class, DeadLetter, Inspect, MemoryStore, Sink, SinkError, Store};
use turnmill_sink_postgres::{PostgresSettings, PostgresStore};

pub(crate) const START: f64 = 1_656_382_549.5;

/// Dead letters without an envelope.
struct Letter;

impl MakeDeadLetter for Letter {
    fn dead_letter(&self, record: usize, refused: &Refused) -> DeadLetter {
        let record_as_it_was = Record { payload: b"as it was", ..Record::default() };
        let headers = vec![("a".into(), Some(vec![0xff]))];
        let key = PartitionId::new("test", "test");
        DeadLetter { headers, ..DeadLetter::new(&key, &record.to_string(), &record_as_it_was, refused) }
    }
}

/// Ingests lines in one transaction.
pub(crate) async fn write<S: Store>(store: &mut S, lines: &[String]) {
    let mut ingest = Ingest::new(&RowRules::new(&Settings::default(), RasaDecoder::new), 1 << 20);
    let given: Vec<_> = lines.iter().map(|line| OwnedRecord::body(line.as_bytes())).collect();
    let mut arrivals = Arrivals::default();
    given.iter().for_each(|given| arrivals.push(ingest.decoders(), given.as_record()));
    let accounting = Accounting::Source("test");
    loop {
        match ingest.ingest(store, &arrivals, &[], &accounting, &Letter).await {
            Ok(_) => return,
            Err(error) if matches!(error.class(), Class::Retryable { .. } | Class::Fenced) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

async fn opened() -> MemoryStore {
    let mut store = MemoryStore::default();
    store.open(&Settings::default()).await.unwrap();
    store
}

fn runner<K: Sink>(store: &MemoryStore, spec: SinkSpec, sink: K) -> OutboxRunner<MemoryStore, K> {
    OutboxRunner::new(store.clone(), &Settings::default(), spec, sink, Stop::default()).with_page(3, 10)
}

#[test]
fn a_sink_gets_a_snapshot_and_then_every_commit_in_order() {
    pollster::block_on(async {
        let mut store = opened().await;
        write(&mut store, &conversation("early", 2, START)).await;
        let seen = Arc::new(Mutex::new((Vec::new(), Replica::default())));
        let kept = Arc::clone(&seen);
        let sink = move |batch: &ChangeBatch| {
            let mut seen = kept.lock().unwrap();
            seen.0.push(batch.origin.clone());
            seen.1.apply(batch);
            Ok(())
        };
        let mut runner = runner(&store, SinkSpec::new("replica"), sink);
        let mut progress = 0;
        runner
            .drain(&mut |event| progress += usize::from(matches!(event, SinkEvent::Progress { .. })))
            .await
            .unwrap();
        assert!(progress > 0);
        assert!(matches!(&seen.lock().unwrap().0[0], Origin::Snapshot { after: 0, .. }));
        for number in 0..8 {
            write(&mut store, &conversation(&format!("u{number}"), 1, START)).await;
        }
        write(&mut store, &["no event".into()]).await;
        seen.lock().unwrap().0.clear();
        runner.drain(&mut |_| {}).await.unwrap();
        let seen = seen.lock().unwrap().clone();
        let expected: Vec<Origin> = (1..=9).map(|number| Origin::Commit { number }).collect();
        assert_eq!(seen.0, expected);
        assert_eq!(seen.1.digests().tables, store.digests().await.unwrap().tables);
        assert_eq!(seen.1.dead_letters(), [1]);
        assert_eq!(store.outbox(0, 10, 1 << 20).await.unwrap(), []);
    });
}

#[test]
fn a_failure_that_may_pass_brings_the_same_batch_again() {
    pollster::block_on(async {
        let mut store = opened().await;
        let spec = SinkSpec { start: SinkStart::Now, ..SinkSpec::new("sink") };
        store.put_sink(&spec).await.unwrap();
        for number in 0..3 {
            write(&mut store, &conversation(&format!("u{number}"), 1, START)).await;
        }
        let mut seen: Vec<ChangeBatch> = Vec::new();
        let sink = |batch: &ChangeBatch| {
            seen.push(batch.clone());
            if seen.len() % 2 == 1 { Err(SinkError::retryable("away")) } else { Ok(()) }
        };
        let mut told = 0;
        let mut observe =
            |event: &SinkEvent<'_>| told += usize::from(matches!(event, SinkEvent::Retrying { .. }));
        runner(&store, spec, sink).drain(&mut observe).await.unwrap();
        assert_eq!((seen.len(), told), (6, 3));
        for pair in seen.chunks(2) {
            assert_eq!(pair[0], pair[1]);
            assert_eq!(serde_json::to_string(&pair[0]).unwrap(), serde_json::to_string(&pair[1]).unwrap());
        }
    });
}

/// Refuses the user message of one sender, and remembers the others' keys.
#[derive(Default)]
struct Picky {
    messages: Vec<String>,
}

impl Sink for Picky {
    async fn write(&mut self, batch: &ChangeBatch) -> Result<(), SinkError> {
        let messages = || batch.rows().enumerate().filter(|(_, row)| row.table == "rasa_user_message");
        let refused = messages()
            .find(|(_, row)| row.get("text").is_some_and(|text| text.as_text() == Some("message 1")));
        if let Some((index, _)) = refused {
            return Err(SinkError::refused(index, "I do not like it"));
        }
        self.messages.extend(messages().map(|(_, row)| row.key()));
        Ok(())
    }
}

#[test]
fn a_refused_change_stops_the_sink_or_is_skipped_and_named() {
    pollster::block_on(async {
        let mut store = opened().await;
        let spec = SinkSpec { start: SinkStart::Now, ..SinkSpec::new("picky") };
        store.put_sink(&spec).await.unwrap();
        write(&mut store, &conversation("u1", 3, START)).await;
        write(&mut store, &conversation("u2", 1, START)).await;

        let error = runner(&store, spec.clone(), Picky::default()).drain(&mut |_| {}).await.unwrap_err();
        let OutboxError::Refused { batch, change: Some(change), .. } = &error else { panic!("{error}") };
        assert_eq!(batch, "1");
        assert!(change.starts_with("put rasa_user_message "), "{change}");
        let text = error.to_string();
        assert!(
            text.contains("`picky`") && text.contains(change.as_str()) && text.contains("do not like"),
            "{text}"
        );
        let state = store.sinks().await.unwrap().remove(0);
        assert_eq!((state.lag(), state.error.as_deref()), (2, Some(text.as_str())), "visible in the store");

        let mut skipping = runner(&store, spec, Picky::default()).with_refusals(OnRefusal::Skip);
        let mut named = Vec::new();
        let mut observe = |event: &SinkEvent<'_>| {
            if let SinkEvent::Skipped { refused } = event {
                named.push(refused.to_string());
            }
        };
        skipping.drain(&mut observe).await.unwrap();
        assert_eq!(named, [text]);
        assert_eq!(skipping.sink().messages.len(), 3, "all but the refused one");
        let state = store.sinks().await.unwrap().remove(0);
        assert_eq!((state.lag(), state.skipped, state.error), (0, 1, None));
    });
}

#[test]
fn a_fatal_error_ends_the_runner_and_a_removed_sink_as_well() {
    pollster::block_on(async {
        let mut store = opened().await;
        let spec = SinkSpec { start: SinkStart::Now, ..SinkSpec::new("sink") };
        store.put_sink(&spec).await.unwrap();
        write(&mut store, &conversation("u1", 1, START)).await;
        let fatal = |_: &ChangeBatch| Err(SinkError::fatal("TOKEN is wrong"));
        let error = runner(&store, spec.clone(), fatal).drain(&mut |_| {}).await.unwrap_err();
        assert!(matches!(error, OutboxError::Sink { .. }), "{error}");
        assert!(error.to_string().contains("TOKEN is wrong"), "{error}");

        let stop = Stop::default();
        let mut removing = store.clone();
        let remove = move |_: &ChangeBatch| {
            pollster::block_on(removing.remove_sink("sink")).unwrap();
            Ok(())
        };
        let mut runner = OutboxRunner::new(store.clone(), &Settings::default(), spec, remove, stop);
        let error = runner.run(&mut |_| {}).await.unwrap_err();
        assert!(matches!(error, OutboxError::Removed { .. }), "{error}");
        assert_eq!(store.outbox(0, 10, 1 << 20).await.unwrap(), []);
    });
}

#[test]
fn a_sink_that_falls_too_far_behind_while_it_writes_begins_again() {
    pollster::block_on(async {
        let mut store = opened().await;
        let spec = SinkSpec { start: SinkStart::Now, max_bytes: Some(3000), ..SinkSpec::new("slow") };
        store.put_sink(&spec).await.unwrap();
        write(&mut store, &conversation("u0", 1, START)).await;
        let (mut writer, mut replica, mut resets) = (store.clone(), Replica::default(), 0);
        let mut written = 0;
        let sink = |batch: &ChangeBatch| {
            resets += batch.rows().filter(|row| row.operation == Operation::Reset).count();
            replica.apply(batch);
            if written == 0 {
                for number in 1..9 {
                    pollster::block_on(write(&mut writer, &conversation(&format!("u{number}"), 1, START)));
                }
            }
            written += 1;
            Ok(())
        };
        runner(&store, spec, sink).drain(&mut |_| {}).await.unwrap();
        assert_eq!(resets, 1);
        assert_eq!(replica.digests().tables, store.digests().await.unwrap().tables);
    });
}

/// Several writers on the same senders, and a sink that follows meanwhile: numbers without gaps,
/// and at the end the same rows.
#[test]
fn concurrent_writers_of_one_sender_reach_a_sink_in_the_order_of_their_commits() {
    let Some(url) = turnmill_testbed::postgres::database() else { return };
    let settings: PostgresSettings = url.parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let connect = || PostgresStore::new(settings.clone());
        let mut store = connect();
        store.open(&Settings::default()).await.unwrap();
        let spec = SinkSpec { start: SinkStart::Now, ..SinkSpec::new("replica") };
        store.put_sink(&spec).await.unwrap();
        let lines: Vec<Vec<String>> =
            (0..4).map(|sender| conversation(&format!("u{sender}"), 12, START + f64::from(sender))).collect();
        let longest = lines[0].len();
        let mixed: Vec<String> = (0..longest)
            .flat_map(|index| lines.iter().filter_map(move |lines| lines.get(index)).cloned())
            .collect();

        let stop = Stop::default();
        let (sink_stop, sink_store) = (stop.clone(), connect());
        let following = tokio::task::spawn_blocking(move || {
            let (mut replica, mut numbers) = (Replica::default(), Vec::new());
            let sink = |batch: &ChangeBatch| {
                replica.apply(batch);
                numbers.push(batch.origin.to_string());
                Ok(())
            };
            let mut runner = OutboxRunner::new(sink_store, &Settings::default(), spec, sink, sink_stop)
                .with_page(2, 10)
                .with_poll(Duration::from_millis(5));
            let handle = tokio::runtime::Handle::current();
            handle.block_on(runner.run(&mut |_| {})).unwrap();
            drop(runner);
            (replica, numbers)
        });
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let mut store = connect();
                // Every writer has every fourth line, so all touch all senders, and what they bring
                // is late most of the time.
                let mine: Vec<String> = mixed.iter().skip(writer).step_by(4).cloned().collect();
                tokio::task::spawn_blocking(move || {
                    tokio::runtime::Handle::current().block_on(async {
                        store.open(&Settings::default()).await.unwrap();
                        for batch in mine.chunks(5) {
                            write(&mut store, batch).await;
                        }
                    });
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        let head = store.sinks().await.unwrap()[0].head;
        assert!(head > 30, "there were many transactions: {head}");
        while store.sinks().await.unwrap()[0].lag() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stop.set();
        let (replica, numbers) = following.await.unwrap();
        assert_eq!(numbers, (1..=head).map(|number| number.to_string()).collect::<Vec<_>>());
        assert_eq!(replica.digests().tables, store.digests().await.unwrap().tables);
    });
}

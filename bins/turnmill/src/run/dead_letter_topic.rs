//! Sends dead letters to the dead-letter topic, which is a sink of the store with its own thread.

use std::sync::Arc;
use std::time::Duration;

use turnmill_model::PartitionId;
use turnmill_pipeline::{OnRefusal, OutboxError, OutboxRunner, SinkEvent, explain};
use turnmill_service::Component;
use turnmill_sink::outbox::{Operation, Outbox as _, Scope, SinkSpec, SinkStart};
use turnmill_sink::{Inspect, SinkError, Store, StoreError, StoredPosition};
use turnmill_source_kafka::DeadLetterTopic;
use turnmill_stores::AnyStore;

use super::retry::retried;
use super::service::{Service, error_with_setting, process_name};
use crate::connect;

/// Prefix of the sink's name; the topic follows. In schema version 3 this is the source of the
/// position, and the topic is its partition.
const NAME: &str = "dead-letter-topic";
/// Interval between counts of the dead letters.
const COUNT_INTERVAL: Duration = Duration::from_secs(2);

pub(super) fn name(topic: &str) -> String {
    format!("{NAME}:{topic}")
}

/// Sends dead letters until a stop is requested.
pub(super) fn run(service: &Arc<Service>, component: Component) {
    let Some(topic) = service.settings.dead_letters.topic.clone() else { return component.finish() };
    match service.runtime.block_on(feed(service, &topic)) {
        Ok(()) => component.finish(),
        Err(reason) => component.fail(reason),
    }
}

async fn feed(service: &Service, topic: &str) -> Result<(), String> {
    let settings = &service.settings;
    let topic_sink = DeadLetterTopic::new(&connect::kafka(settings, 0), &connect::producer(settings), topic);
    let mut sink = topic_sink.map_err(|error| explain(&error))?;
    // The consumers log that the database is unavailable.
    let quietly = |_: &StoreError, _| {};
    let begun = retried(&service.stop, quietly, async || {
        let mut store = service.target.store()?;
        store.open(&settings.rows).await?;
        let start = SinkStart::DeadLettersAfter(last_sent_before(&mut store, topic).await?);
        let spec = SinkSpec { name: name(topic), scope: Scope::DeadLetters, start, max_bytes: None };
        // Stored dead letters come from the table, later ones from the outbox.
        store.put_sink(&spec).await?;
        Ok((store, spec))
    });
    let Some((store, spec)) = begun.await.map_err(|error| error_with_setting(&error))? else { return Ok(()) };
    let mut last_error = String::new();
    match sink.find() {
        Ok(()) => tracing::info!(topic, "sending dead letters to the topic"),
        Err(error) => warn(topic, &error, &mut last_error),
    }
    let store_of_sink = service.target.store().map_err(|error| error_with_setting(&error))?;
    let mut runner = OutboxRunner::new(store_of_sink, &settings.rows, spec, sink, service.stop.clone())
        .with_owner(&process_name())
        .with_refusals(OnRefusal::Skip);
    let mut observe = |event: &SinkEvent<'_>| report(service, topic, event, &mut last_error);
    // Counting never ends. The runner ends when a stop is requested, and releases its lease.
    let fed = tokio::select! {
        fed = runner.run(&mut observe) => fed,
        () = count(service, store) => Ok(()),
    };
    match fed {
        Ok(()) => Ok(()),
        Err(OutboxError::Store(error)) => Err(error_with_setting(&error)),
        Err(error @ OutboxError::Removed { .. }) => {
            // Another process has another topic in its settings, or none.
            tracing::warn!(topic, "no longer sending dead letters to the topic: {}", explain(&error));
            Ok(())
        }
        Err(error) => Err(explain(&error)),
    }
}

/// Returns the number of the last dead letter that was sent with schema version 3, or 0 if there is
/// none.
async fn last_sent_before(store: &mut AnyStore, topic: &str) -> Result<u64, StoreError> {
    let key = PartitionId::new(NAME, topic);
    let positions = store.positions().await?;
    let Some(position) = StoredPosition::find(&positions, &key) else { return Ok(0) };
    let damaged = |_| StoreError::Damaged {
        detail: format!("the position of {key} is `{position}`, expected a number"),
    };
    position.parse().map_err(damaged)
}

/// Updates the metrics and writes the log.
fn report(service: &Service, topic: &str, event: &SinkEvent<'_>, last_error: &mut String) {
    let sink = name(topic);
    match event {
        SinkEvent::Delivered { batch, .. } => {
            // A retried dead letter is a deletion, which is not sent.
            let letters = batch.rows().filter(|row| row.operation == Operation::Put).count();
            service.metrics.mirrored(letters as u64, 0);
            service.metrics.sink_delivered(&sink, batch.len() as u64);
            last_error.clear();
        }
        SinkEvent::Progress { state } => {
            service.metrics.set_sink(&sink, state.position.number, state.lag(), state.lag_bytes);
        }
        SinkEvent::Skipped { refused } => {
            service.metrics.mirrored(0, 1);
            service.metrics.sink_failed(&sink, "refused");
            tracing::error!(
                topic,
                "dead letter too large for the topic, kept in the table only: {}",
                explain(*refused)
            );
        }
        SinkEvent::Retrying { error, .. } => {
            service.metrics.sink_failed(&sink, "retryable");
            warn(topic, error, last_error);
        }
        SinkEvent::Standby => tracing::debug!(topic, "another process sends the dead letters"),
        _ => {}
    }
}

/// Logs a transient error once for each reason, because the topic may be missing for days.
fn warn(topic: &str, error: &SinkError, last_error: &mut String) {
    if *last_error != error.detail {
        last_error.clone_from(&error.detail);
        tracing::warn!(topic, "RASA_ANALYTICS_DLQ: dead letters not sent, retrying: {}", error.detail);
    }
}

/// Counts the dead letters in the store, without end.
async fn count(service: &Service, mut store: AnyStore) {
    loop {
        // The consumers log that the database is unavailable.
        if let Ok(ledger) = store.ledger().await {
            let waiting = ledger.iter().map(|entry| entry.counts.dead_letters).sum::<i64>();
            service.metrics.set_dead_letters_waiting(u64::try_from(waiting).unwrap_or_default());
        }
        tokio::time::sleep(COUNT_INTERVAL).await;
    }
}

//! Sends changed rows to the row topic, which is a sink of the store with its own thread.

use std::sync::Arc;

use turnmill_pipeline::{OnRefusal, OutboxError, OutboxRunner, SinkEvent, explain, rounded};
use turnmill_service::Component;
use turnmill_sink::outbox::SinkSpec;
use turnmill_source_kafka::RowTopic;

use super::service::{Service, error_with_setting, process_name};
use crate::connect;

/// Prefix of the sink's name; the topic follows.
const NAME: &str = "row-topic";

pub(super) fn name(topic: &str) -> String {
    format!("{NAME}:{topic}")
}

/// Sends rows until a stop is requested, or until the topic refuses a row. Then reading continues:
/// the tables do not depend on the topic.
pub(super) fn run(service: &Arc<Service>, component: Component) {
    let Some(topic) = service.settings.row_topic.topic.clone() else { return component.finish() };
    match feed(service, &topic) {
        Ok(()) => component.finish(),
        Err(reason) => component.fail(reason),
    }
}

fn feed(service: &Service, topic: &str) -> Result<(), String> {
    let settings = &service.settings;
    let sink = RowTopic::new(&connect::kafka(settings, 0), &connect::producer(settings), topic);
    let sink = sink.map_err(|error| explain(&error))?;
    let spec = SinkSpec { max_bytes: Some(settings.row_topic.max_bytes), ..SinkSpec::new(name(topic)) };
    let store = service.target.store().map_err(|error| error_with_setting(&error))?;
    let on_refusal = if settings.row_topic.skip_refused { OnRefusal::Skip } else { OnRefusal::Stop };
    let mut runner = OutboxRunner::new(store, &settings.rows, spec, sink, service.stop.clone())
        .with_owner(&process_name())
        .with_refusals(on_refusal);
    tracing::info!(topic, "sending rows to the topic");
    let mut last_error = String::new();
    let mut observe = |event: &SinkEvent<'_>| report(service, topic, event, &mut last_error);
    match service.runtime.block_on(runner.run(&mut observe)) {
        Ok(()) => Ok(()),
        Err(OutboxError::Store(error)) => Err(error_with_setting(&error)),
        Err(error) => {
            if let OutboxError::Refused { .. } = &error {
                service.metrics.sink_failed(&name(topic), "refused");
            }
            tracing::error!(
                topic,
                "TURNMILL_ROW_TOPIC: no more rows are sent until the service is started again: {}",
                explain(&error)
            );
            Ok(())
        }
    }
}

/// Updates the metrics and writes the log.
fn report(service: &Service, topic: &str, event: &SinkEvent<'_>, last_error: &mut String) {
    let sink = name(topic);
    match event {
        SinkEvent::Delivered { batch, .. } => {
            service.metrics.sink_delivered(&sink, batch.len() as u64);
            last_error.clear();
        }
        SinkEvent::Progress { state } => {
            service.metrics.set_sink(&sink, state.position.number, state.lag(), state.lag_bytes);
        }
        SinkEvent::Skipped { refused } => {
            service.metrics.sink_failed(&sink, "refused");
            tracing::error!(topic, "TURNMILL_ROW_TOPIC: row left out: {}", explain(*refused));
        }
        SinkEvent::Retrying { error, pause, .. } => {
            service.metrics.sink_failed(&sink, "retryable");
            // Once for each reason, because the topic may be missing for days.
            if *last_error != error.detail {
                last_error.clone_from(&error.detail);
                tracing::warn!(
                    topic,
                    "TURNMILL_ROW_TOPIC: rows not sent, retrying in {}: {}",
                    rounded(*pause),
                    error.detail
                );
            }
        }
        SinkEvent::Standby => tracing::debug!(topic, "another process sends the rows"),
        // The consumers log that the database is unavailable.
        _ => {}
    }
}

//! One consumer: a thread with its own database connection, group member and cache.

use std::sync::Arc;

use turnmill_formats::shipped;
use turnmill_ingest::RowRules;
use turnmill_pipeline::{Drained, Pipeline, PipelineError, explain};
use turnmill_service::Component;
use turnmill_service::settings::ServiceSettings;
use turnmill_source::{GroupLimits, GroupSource as _};
use turnmill_source_kafka::KafkaGroup;

use super::observer::ServiceObserver;
use super::service::{Service, error_with_setting};
use crate::connect;

/// Reads until a stop is requested.
pub(super) fn run(service: &Arc<Service>, index: usize, component: Component) {
    let alive = service.health.consumer();
    let result = consume(service, index);
    drop(alive);
    match result {
        Ok(drained) => {
            let counts = &drained.report.counts;
            tracing::info!(
                consumer = index,
                records = counts.records,
                events = counts.events,
                "consumer stopped"
            );
            component.finish();
        }
        Err(reason) => component.fail(reason),
    }
}

fn consume(service: &Arc<Service>, index: usize) -> Result<Drained, String> {
    let settings = &service.settings;
    let rules = RowRules::new(&settings.rows, shipped);
    let store = service.target.store().map_err(|error| error_with_setting(&error))?;
    let mut pipeline = Pipeline::new(store, &rules, service.stop.clone())
        .with_cache_bytes(settings.work.cache_bytes / connect::consumers(settings))
        .with_backoff(super::retry::BACKOFF)
        .with_dead_letter_limits(settings.dead_letters.limits())
        .with_source_facts(settings.source.clone());
    let source = KafkaGroup::start(&connect::kafka(settings, index)).map_err(|error| explain(&error))?;
    service.state.add_control(source.control());
    let mut observer = ServiceObserver::new(Arc::clone(service), index);
    let serve = pipeline.serve(Box::new(source), group_limits(settings), &mut observer);
    let drained = service.runtime.block_on(serve).map_err(|error| match &error {
        PipelineError::Store(error) => error_with_setting(error),
        PipelineError::DeadLetters(_) => {
            format!("{} (TURNMILL_DEAD_LETTER_MAX_RUN, TURNMILL_DEAD_LETTER_MAX_SHARE)", explain(&error))
        }
        _ => explain(&error),
    })?;
    if let Err(error) = pipeline.into_store().finish() {
        // Another process is reading the SQLite file, so its write-ahead log could not be merged
        // into it.
        tracing::info!("{}", explain(&error));
    }
    Ok(drained)
}

fn group_limits(settings: &ServiceSettings) -> GroupLimits {
    GroupLimits {
        records: settings.work.batch_records,
        bytes: settings.work.batch_bytes,
        linger: settings.work.flush_interval,
        ..GroupLimits::default()
    }
}

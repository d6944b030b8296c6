//! One consumer: a thread with a connection, a member of the group, and a cache of its own.

use std::sync::Arc;

use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::RowRules;
use turnmill_pipeline::{Drained, Pipeline, PipelineError, explain};
use turnmill_service::Component;
use turnmill_service::settings::ServiceSettings;
use turnmill_source::{GroupLimits, GroupSource as _};
use turnmill_source_kafka::KafkaGroup;

use super::observer::Watch;
use super::{Service, complaint};
use crate::connect;

/// Reads until stopped.
pub(super) fn run(service: &Arc<Service>, index: usize, component: Component) {
    let alive = service.health.consumer();
    let result = consume(service, index);
    drop(alive);
    match result {
        Ok(drained) => {
            let counts = &drained.counts;
            tracing::info!(
                consumer = index,
                records = counts.records,
                events = counts.events,
                "stopped reading"
            );
            component.finish();
        }
        Err(reason) => component.fail(reason),
    }
}

fn consume(service: &Arc<Service>, index: usize) -> Result<Drained, String> {
    let settings = &service.settings;
    let rules = RowRules::new(&settings.rows, RasaDecoder::new);
    let store = service.target.store().map_err(|error| complaint(&error))?;
    let mut pipeline = Pipeline::new(store, &rules, service.stop.clone())
        .with_cache_bytes(settings.work.cache_bytes / connect::consumers(settings))
        .with_backoff(super::patience::BACKOFF)
        .with_dead_letter_limits(settings.dead_letters.limits())
        .with_source_facts(settings.source.clone());
    let source = KafkaGroup::start(&connect::kafka(settings, index)).map_err(|error| explain(&error))?;
    service.shared.add_control(source.control());
    let mut watch = Watch::new(Arc::clone(service), index);
    let serve = pipeline.serve(Box::new(source), group_limits(settings), &mut watch);
    let drained = service.runtime.block_on(serve).map_err(|error| match &error {
        PipelineError::Store(error) => complaint(error),
        PipelineError::DeadLetters(_) => {
            format!("{} (TURNMILL_DEAD_LETTER_MAX_RUN, TURNMILL_DEAD_LETTER_MAX_SHARE)", explain(&error))
        }
        _ => explain(&error),
    })?;
    if let Err(error) = pipeline.into_store().finish() {
        // Somebody is looking at the file just now; the log beside it is a part of it until they are done.
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

//! `turnmill run`: the service.
//!
//! HTTP answers before anything else is there. One thread opens the store (which may have to be migrated, or waited for) and
//! then starts the consumers, each a thread with a connection, a consumer and a cache of its own. What PostgreSQL's connections
//! do between two statements is done by the runtime's threads.

mod dead_letter_topic;
mod lag;
mod observer;
mod patience;
mod patterns;
mod shared;
mod worker;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::runtime::Handle;
use turnmill_markers::MarkerSet;
use turnmill_pipeline::{Stop, counted, explain, rounded};
use turnmill_service::http::{self, Door, Server, ServerError};
use turnmill_service::logging::{self, LoggingError};
use turnmill_service::metrics::ServiceMetrics;
use turnmill_service::settings::{Flags, Loaded, Needs, ServiceSettings, SettingsError};
use turnmill_service::{Component, Health, Lifecycle, Phase, Shutdown};
use turnmill_sink::{Store, StoreError};

use self::patience::retried;
use self::patterns::Patterns;
use self::shared::Shared;
use crate::connect::{self, Target};
use crate::markers::Definitions;

/// Arguments of `turnmill run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    settings: Flags,
}

/// Why the service could not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Logging(#[from] LoggingError),
    #[error("RASA_ANALYTICS_DB_URL: {0}")]
    Database(#[from] turnmill_sink_postgres::SettingsError),
    #[error(transparent)]
    Kafka(#[from] turnmill_source_kafka::KafkaError),
    #[error(transparent)]
    Http(#[from] ServerError),
    #[error("cannot start a thread")]
    Thread(#[from] std::io::Error),
}

/// Everything that is there once and that the parts of the service need.
pub(crate) struct Service {
    pub(crate) settings: ServiceSettings,
    pub(crate) target: Target,
    pub(crate) metrics: ServiceMetrics,
    pub(crate) health: Health,
    pub(crate) shared: Shared,
    pub(crate) stop: Stop,
    patterns: Patterns,
    /// Those to upload before anything is read.
    markers: Option<MarkerSet>,
    pub(crate) runtime: Handle,
}

/// Runs until stopped.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let loaded = Loaded::of_process(&args.settings, Needs::Service)?;
    logging::init(&loaded.settings.log)?;
    logging::announce(&loaded);
    let settings = loaded.settings;
    // What only the clients know to be wrong is wrong from the start.
    let target = Target::new(&settings.database)?;
    connect::kafka(&settings, 0).validate()?;
    connect::producer(&settings).validate()?;
    let Ok(markers) = markers(settings.markers.as_deref()) else { return Ok(ExitCode::FAILURE) };
    if settings.kafka.consumers > connect::consumers(&settings) {
        tracing::warn!(
            setting = "RASA_ANALYTICS_CONSUMER_COUNT",
            "a SQLite file has one writer at a time, so there is one consumer"
        );
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ended = runtime.block_on(serve(settings, target, markers));
    // What is still busy ends with the process.
    runtime.shutdown_background();
    ended
}

/// The markers of a file or folder. What is wrong with them is logged.
fn markers(path: Option<&Path>) -> Result<Option<MarkerSet>, ()> {
    let Some(path) = path else { return Ok(None) };
    let definitions = Definitions::read(&[path]).map_err(|errors| {
        let lines: String = errors.iter().map(|error| format!("\n  {error}")).collect();
        let count = counted(errors.len() as u64, "error");
        tracing::error!(setting = "TURNMILL_MARKERS", "the markers cannot be used, {count}:{lines}");
    })?;
    definitions.warnings.iter().for_each(|warning| tracing::warn!(setting = "TURNMILL_MARKERS", "{warning}"));
    Ok(Some(definitions.markers))
}

async fn serve(
    settings: ServiceSettings,
    target: Target,
    markers: Option<MarkerSet>,
) -> Result<ExitCode, Failure> {
    let health = Health::new(settings.http.stall_timeout);
    let metrics = ServiceMetrics::new(health.clone());
    let lifecycle = Lifecycle::new(settings.shutdown_timeout);

    let server = Server::bind(settings.http.address).await?;
    tracing::info!(address = %server.address(), "serving HTTP");
    let stop = lifecycle.shutdown().stop().clone();
    let patterns = Patterns::new(target.clone(), settings.rows.clone(), stop.clone(), Handle::current());
    let door = Door::new(settings.http.api_token.as_ref()).trusting_loopback(settings.http.trust_loopback);
    let site = http::router(metrics.clone(), door, patterns.router());
    let web = lifecycle.background("http");
    tokio::spawn(async move {
        // It answers until the process ends.
        server.run(site, Shutdown::default()).await;
        drop(web);
    });

    let service = Arc::new(Service {
        shared: Shared::new(health.clone(), connect::consumers(&settings)),
        stop,
        patterns,
        markers,
        runtime: Handle::current(),
        settings,
        target,
        metrics,
        health: health.clone(),
    });
    tokio::spawn(lag::watch(Arc::clone(&service)));
    let consumers = (0..connect::consumers(&service.settings))
        .map(|index| lifecycle.component(format!("consumer {index}")))
        .collect();
    let dead_letters =
        service.settings.dead_letters.topic.as_ref().map(|_| lifecycle.component("dead letters"));
    let opener = lifecycle.component("store");
    spawn("store", move || start(&service, opener, consumers, dead_letters))?;
    Ok(lifecycle.run(&health).await.exit_code())
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new().name(format!("turnmill-{name}")).spawn(work).map(drop)
}

/// Opens the store once, so that whatever is wrong with it is found out before the group is joined; then starts the rest.
fn start(
    service: &Arc<Service>,
    opener: Component,
    consumers: Vec<Component>,
    dead_letters: Option<Component>,
) {
    service.health.enter(Phase::Migrating);
    match service.runtime.block_on(open(service)) {
        Ok(true) => {}
        Ok(false) => return opener.finish(),
        Err(error) => return opener.fail(complaint(&error)),
    }
    tracing::info!("the store is open and up to date");
    if let Err(error) = service.runtime.block_on(service.patterns.start(service.markers.as_ref())) {
        return opener.fail(complaint(&error));
    }
    for (index, component) in consumers.into_iter().enumerate() {
        let service = Arc::clone(service);
        let worker = move || worker::run(&service, index, component);
        if let Err(error) = spawn(&format!("{index}"), worker) {
            return opener.fail(format!("cannot start a thread: {error}"));
        }
    }
    if let Some(component) = dead_letters {
        let service = Arc::clone(service);
        if let Err(error) = spawn("dead-letters", move || dead_letter_topic::run(&service, component)) {
            return opener.fail(format!("cannot start a thread: {error}"));
        }
    }
    service.health.enter(Phase::Running);
    opener.finish();
}

/// Opens the store, however long that takes; false if stopping was asked for.
async fn open(service: &Service) -> Result<bool, StoreError> {
    let retrying = |error: &StoreError, pause| {
        tracing::warn!("database unavailable, retrying in {}: {}", rounded(pause), explain(error));
        service.metrics.retrying("unavailable");
        service.shared.waiting.begin("database");
    };
    let opened = retried(&service.stop, retrying, async || {
        let mut store = service.target.store()?;
        if service.target.needs_a_look() {
            store.open_as_it_is().await?;
        }
        store.open(&service.settings.rows).await?;
        dead_letter_topic::remove_others(service, &mut store).await
    });
    let opened = opened.await?.is_some();
    if opened {
        service.shared.waiting.end("database");
    }
    Ok(opened)
}

/// What a person has to hear about an error of the store: what happened, and which setting it is about.
fn complaint(error: &StoreError) -> String {
    let text = explain(error);
    match connect::setting_of(error) {
        Some(setting) if !text.contains("TURNMILL_") && !text.contains("RASA_") && !text.contains("_DB_") => {
            format!("{text} ({setting})")
        }
        _ => text,
    }
}

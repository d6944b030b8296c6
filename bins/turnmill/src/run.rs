//! `turnmill run`: the service.
//!
//! The HTTP server starts first. Then one thread opens the store, which may take long: the database
//! may be unavailable, or the schema may have to be migrated. That thread starts the consumers.
//! Each consumer is a thread with its own database connection, Kafka consumer and cache. The async
//! runtime has two more threads for the PostgreSQL connections.

mod dead_letter_topic;
mod lag;
mod observer;
mod patterns;
mod retry;
mod row_topic;
mod service;
mod state;
mod worker;

use std::num::NonZero;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::runtime::Handle;
use turnmill_markers::MarkerSet;
use turnmill_pipeline::{counted, explain, rounded};
use turnmill_service::http::{self, HttpAccess, Server, ServerError};
use turnmill_service::logging::{self, LoggingError};
use turnmill_service::metrics::ServiceMetrics;
use turnmill_service::settings::{Flags, Loaded, RequiredSettings, ServiceSettings, SettingsError};
use turnmill_service::{Component, Health, Lifecycle, Phase, Shutdown};
use turnmill_sink::outbox::Outbox as _;
use turnmill_sink::{Store, StoreError};
use turnmill_stores::{AnyStore, UnknownStore};

use self::patterns::PatternsApi;
use self::retry::retried;
use self::service::{Service, error_with_setting};
use self::state::SharedState;
use crate::connect::{self, Target};
use crate::dashboard::{LiveFacts, StoreAnswers};
use crate::definitions::Definitions;

/// Time limit of a question of the dashboard. It is less than that of the HTTP server.
const QUESTION_LIMIT: Duration = Duration::from_secs(10);

/// Arguments of `turnmill run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    settings: Flags,
}

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Logging(#[from] LoggingError),
    #[error("RASA_ANALYTICS_DB_URL: {0}")]
    Database(#[from] UnknownStore),
    #[error(transparent)]
    Kafka(#[from] turnmill_source_kafka::KafkaError),
    #[error("TURNMILL_HTTP_ADDRESS")]
    Http(#[from] ServerError),
    #[error("cannot start a thread")]
    Thread(#[from] std::io::Error),
}

/// Runs the service until it is stopped.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let loaded = Loaded::of_process(&args.settings, RequiredSettings::Service)?;
    logging::init(&loaded.settings.log)?;
    logging::announce(&loaded);
    let settings = loaded.settings;
    // Checks that only the clients can make. They belong before the start as well.
    let target = Target::new(&settings.database)?;
    connect::kafka(&settings, 0).validate()?;
    connect::producer(&settings).validate()?;
    let Ok(markers) = markers(settings.markers.as_deref()) else { return Ok(ExitCode::FAILURE) };
    if settings.kafka.consumers > connect::consumers(&settings) {
        tracing::warn!(
            "RASA_ANALYTICS_CONSUMER_COUNT: ignored, because SQLite allows one writer at a time; starting one consumer"
        );
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ended = runtime.block_on(serve(settings, target, markers));
    // Threads that are still busy end with the process.
    runtime.shutdown_background();
    ended
}

/// Reads the markers of a file or directory. Logs their errors and warnings.
fn markers(path: Option<&Path>) -> Result<Option<MarkerSet>, ()> {
    let Some(path) = path else { return Ok(None) };
    let definitions = Definitions::read(&[path]).map_err(|errors| {
        let lines: String = errors.iter().map(|error| format!("\n  {error}")).collect();
        let count = counted(errors.len() as u64, "error");
        tracing::error!("TURNMILL_MARKERS: marker definitions have {count}:{lines}");
    })?;
    definitions.warnings.iter().for_each(|warning| tracing::warn!("TURNMILL_MARKERS: {warning}"));
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
    let patterns = PatternsApi::new(target.clone(), settings.rows.clone(), stop.clone(), Handle::current());
    let access =
        HttpAccess::new(settings.http.api_token.as_ref()).trusting_loopback(settings.http.trust_loopback);
    let pages = pages(&target, &health, &metrics);
    let site = http::router(metrics.clone(), access, patterns.router().merge(pages));
    let web = lifecycle.background("http");
    tokio::spawn(async move {
        // The server has its own shutdown, so that it responds until the process exits.
        server.run(site, Shutdown::default()).await;
        drop(web);
    });

    let service = Arc::new(Service {
        state: SharedState::new(health.clone(), connect::consumers(&settings)),
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
    let settings = &service.settings;
    let topics = Topics {
        dead_letters: settings.dead_letters.topic.as_ref().map(|_| lifecycle.component("dead letters")),
        rows: settings.row_topic.topic.as_ref().map(|_| lifecycle.component("rows")),
    };
    let opener = lifecycle.component("store");
    spawn("store", move || start(&service, opener, consumers, topics))?;
    Ok(lifecycle.run(&health).await.exit_code())
}

/// Returns the dashboard of the service's store.
fn pages(target: &Target, health: &Health, metrics: &ServiceMetrics) -> Router {
    let (store, health, metrics) = (target.clone(), health.clone(), metrics.clone());
    let live = move || LiveFacts {
        is_open: health.report().phase == Phase::Running,
        lag: metrics.partitions().iter().filter_map(|partition| partition.lag_seconds).reduce(f64::max),
    };
    let name = target.store().map_or_else(|_| "the configured store".to_owned(), |store| store.to_string());
    let make = move || Ok(store.store()?.read_only());
    let answers = StoreAnswers::new(make, name, QUESTION_LIMIT).of_service(live);
    // Half of the processors stay free for the consumers, whatever is asked.
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    turnmill_dashboard::router(Arc::new(answers), (cores / 2).clamp(1, turnmill_dashboard::QUESTIONS))
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new().name(format!("turnmill-{name}")).spawn(work).map(drop)
}

/// The topics that are sent to, if they are configured.
struct Topics {
    dead_letters: Option<Component>,
    rows: Option<Component>,
}

/// Sends to a topic until a stop is requested.
type RunTopic = fn(&Arc<Service>, Component);

/// Opens the store, then starts the consumers and the sending to topics.
///
/// Problems with the store are thus found before any consumer joins the group.
fn start(service: &Arc<Service>, opener: Component, consumers: Vec<Component>, topics: Topics) {
    service.health.enter(Phase::Migrating);
    match service.runtime.block_on(open(service)) {
        Ok(true) => {}
        Ok(false) => return opener.finish(),
        Err(error) => return opener.fail(error_with_setting(&error)),
    }
    tracing::info!("store opened, schema up to date");
    if let Err(error) = service.runtime.block_on(service.patterns.start(service.markers.as_ref())) {
        return opener.fail(error_with_setting(&error));
    }
    for (index, component) in consumers.into_iter().enumerate() {
        let service = Arc::clone(service);
        let worker = move || worker::run(&service, index, component);
        if let Err(error) = spawn(&format!("{index}"), worker) {
            return opener.fail(format!("cannot start a thread: {error}"));
        }
    }
    let sending = |name: &str, component: Option<Component>, run: RunTopic| {
        let service = Arc::clone(service);
        component.map_or(Ok(()), |component| spawn(name, move || run(&service, component)))
    };
    let dead_letters = sending("dead-letters", topics.dead_letters, dead_letter_topic::run);
    if let Err(error) = dead_letters.and_then(|()| sending("rows", topics.rows, row_topic::run)) {
        return opener.fail(format!("cannot start a thread: {error}"));
    }
    service.health.enter(Phase::Running);
    opener.finish();
}

/// Opens the store, retrying without limit. Returns `false` if a stop was requested.
async fn open(service: &Service) -> Result<bool, StoreError> {
    let retrying = |error: &StoreError, pause| {
        tracing::warn!("database unavailable, retrying in {}: {}", rounded(pause), explain(error));
        service.metrics.retrying("unavailable");
        service.state.outages.begin("database");
    };
    let opened = retried(&service.stop, retrying, async || {
        let mut store = service.target.store()?;
        if service.target.must_exist() {
            store.open_as_it_is().await?;
        }
        store.open(&service.settings.rows).await?;
        remove_other_topics(service, &mut store).await
    });
    let opened = opened.await?.is_some();
    if opened {
        service.state.outages.end("database");
    }
    Ok(opened)
}

/// Removes the sinks of topics that are no longer configured, so that the outbox keeps nothing for
/// them.
async fn remove_other_topics(service: &Service, store: &mut AnyStore) -> Result<(), StoreError> {
    let settings = &service.settings;
    let (dead_letters, rows) = (settings.dead_letters.topic.as_deref(), settings.row_topic.topic.as_deref());
    for sink in store.sinks().await? {
        let is_left = |name: fn(&str) -> String, configured: Option<&str>| {
            sink.name.starts_with(&name("")) && configured.map(name).as_ref() != Some(&sink.name)
        };
        if is_left(dead_letter_topic::name, dead_letters) || is_left(row_topic::name, rows) {
            store.remove_sink(&sink.name).await?;
            tracing::info!(sink = sink.name, "sink removed, because its topic is no longer configured");
        }
    }
    Ok(())
}

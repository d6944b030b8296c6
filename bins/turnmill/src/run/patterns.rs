//! Marker patterns of the service: upload from a file at start, and the HTTP API.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use turnmill_formats::shipped;
use turnmill_ingest::{Ingest, RowRules};
use turnmill_markers::{Diagnostic, FileFormat, MarkerSet, SourceFile};
use turnmill_model::Settings;
use turnmill_pipeline::{PatternChange, PatternEvent, PatternTools, Stop, counted, explain, rounded};
use turnmill_sink::{PatternSet, Store, StoreError};
use turnmill_stores::AnyStore;
use uuid::Uuid;

use super::retry::retried;
use crate::connect::Target;
use crate::definitions::now;
use crate::pattern_list::as_json;

/// Time limit of a request. It is less than that of the HTTP server, so that the response contains
/// the error.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// The patterns of the service's store. Each operation opens its own connection.
#[derive(Clone)]
pub(super) struct PatternsApi(Arc<PatternsContext>);

struct PatternsContext {
    target: Target,
    rows: Settings,
    stop: Stop,
    runtime: Handle,
    /// Whether the service has opened the store, so that its schema is up to date.
    is_open: AtomicBool,
    /// Held during a sweep, so that one runs at a time.
    sweeping: Mutex<()>,
}

/// Why a request failed.
enum RequestError {
    /// The service has not opened the store yet.
    NotOpen,
    Store(StoreError),
    Stopping,
}

impl From<StoreError> for RequestError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl IntoResponse for RequestError {
    fn into_response(self) -> Response {
        let (code, text) = match self {
            Self::NotOpen => {
                (StatusCode::SERVICE_UNAVAILABLE, "the store is not open yet; try again later\n".into())
            }
            Self::Store(error) => {
                let text = explain(&error);
                tracing::warn!("request for patterns failed: {text}");
                (StatusCode::SERVICE_UNAVAILABLE, format!("{text}\n"))
            }
            Self::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "the service is stopping\n".into()),
        };
        (code, text).into_response()
    }
}

impl PatternsApi {
    pub(super) fn new(target: Target, rows: Settings, stop: Stop, runtime: Handle) -> Self {
        let (is_open, sweeping) = (AtomicBool::new(false), Mutex::new(()));
        Self(Arc::new(PatternsContext { target, rows, stop, runtime, is_open, sweeping }))
    }

    /// Returns the routes `PUT` and `GET /api/v1/patterns`, `DELETE /api/v1/patterns/{id}`.
    pub(super) fn router(&self) -> Router {
        Router::new()
            .route("/api/v1/patterns", get(list).put(upload))
            .route("/api/v1/patterns/{id}", delete(remove))
            .with_state(self.clone())
    }

    /// Uploads `markers`, if any, and writes marker rows that are due. The service calls it once,
    /// after it opened the store.
    pub(super) async fn start(&self, markers: Option<&MarkerSet>) -> Result<(), StoreError> {
        if let Some(markers) = markers {
            let Some(mut store) = opened(&self.0).await? else { return Ok(()) };
            let changed = tools(&mut store, &self.0.stop, &mut log_retry).upload(markers, now()).await?;
            close(store);
            tracing::info!(
                active = changed.set.active().count(),
                changed = changed.changed,
                "markers uploaded"
            );
            log_new_events_only(&changed.set);
        }
        self.0.is_open.store(true, Ordering::Release);
        self.sweep();
        Ok(())
    }

    /// Starts a thread that writes the marker rows of events in the scope of new patterns.
    fn sweep(&self) {
        let patterns = self.clone();
        let work = move || {
            let context = &patterns.0;
            let _guard = context.sweeping.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = context.runtime.block_on(sweep(context)) {
                // The next start continues it, and so does the next event of each sender.
                tracing::error!(
                    "marker rows not complete, continuing at the next start: {}",
                    explain(&error)
                );
            }
        };
        if let Err(error) = std::thread::Builder::new().name("turnmill-markers".into()).spawn(work) {
            tracing::error!("cannot start a thread: {error}");
        }
    }

    /// Runs `work` with an open store on a thread that may block.
    async fn with_store<T, F>(
        &self,
        work: impl FnOnce(AnyStore, Stop) -> F + Send + 'static,
    ) -> Result<T, RequestError>
    where
        T: Send + 'static,
        F: Future<Output = Result<(AnyStore, T), StoreError>>,
    {
        if !self.0.is_open.load(Ordering::Acquire) {
            return Err(RequestError::NotOpen);
        }
        let context = Arc::clone(&self.0);
        let blocking = move || {
            context.runtime.block_on(async {
                // Stops retries after the time limit: the client does not wait longer.
                let stop = Stop::default();
                let stop_at_timeout = stop.clone();
                let timer = tokio::spawn(async move {
                    tokio::time::sleep(REQUEST_TIMEOUT).await;
                    stop_at_timeout.set();
                });
                let mut store = context.target.store()?;
                store.open(&context.rows).await?;
                let done = work(store, stop).await;
                timer.abort();
                let (store, value) = done?;
                close(store);
                Ok::<T, StoreError>(value)
            })
        };
        Ok(tokio::task::spawn_blocking(blocking).await.map_err(|_| RequestError::Stopping)??)
    }
}

fn tools<'t>(
    store: &'t mut AnyStore,
    stop: &Stop,
    observer: &'t mut (dyn FnMut(PatternEvent<'_>) + Send),
) -> PatternTools<'t, AnyStore> {
    PatternTools::new(store, stop.clone(), observer)
}

#[allow(clippy::needless_pass_by_value, reason = "the signature that PatternTools requires")]
fn log_retry(event: PatternEvent<'_>) {
    if let PatternEvent::Retrying { error, pause } = event {
        tracing::warn!("access to patterns failed, retrying in {}: {}", rounded(pause), explain(error));
    }
}

fn close(store: AnyStore) {
    if let Err(error) = store.finish() {
        // The consumers use the store as well.
        tracing::debug!("{}", explain(&error));
    }
}

/// Opens the store, retrying without limit. Returns `None` if a stop was requested.
async fn opened(context: &PatternsContext) -> Result<Option<AnyStore>, StoreError> {
    let retrying = |error: &StoreError, pause| log_retry(PatternEvent::Retrying { error, pause });
    let open = retried(&context.stop, retrying, async || {
        let mut store = context.target.store()?;
        store.open(&context.rows).await?;
        Ok(store)
    });
    open.await
}

async fn sweep(context: &PatternsContext) -> Result<(), StoreError> {
    let Some(mut store) = opened(context).await? else { return Ok(()) };
    let rules = RowRules::new(&context.rows, shipped);
    let mut ingest = Ingest::new(&rules, 0);
    let swept = tools(&mut store, &context.stop, &mut log_retry).sweep(&mut ingest).await?;
    close(store);
    if swept.senders > 0 {
        let (senders, complete) = (swept.caught_up, swept.complete);
        tracing::info!(senders, complete, "marker rows backfilled");
    }
    Ok(())
}

async fn list(State(patterns): State<PatternsApi>, RawQuery(query): RawQuery) -> Response {
    let active = query.is_some_and(|query| query.split('&').any(|pair| pair == "active=true"));
    let all = patterns.with_store(|mut store, _| async move {
        let set = store.patterns().await?;
        Ok((store, set))
    });
    match all.await {
        Ok(set) => json_response(&as_json(&set, active)),
        Err(error) => error.into_response(),
    }
}

async fn upload(State(patterns): State<PatternsApi>, headers: HeaderMap, body: Bytes) -> Response {
    let kind =
        headers.get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or_default().to_ascii_lowercase());
    let format = match kind.as_deref() {
        Some(kind) if kind.contains("yaml") => FileFormat::Yaml,
        Some(kind) if !kind.contains("json") => {
            let text = "expected the content type application/json or application/yaml\n";
            return (StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response();
        }
        _ => FileFormat::Json,
    };
    let source = SourceFile { name: "body".into(), bytes: body.as_ref().into(), format };
    let markers = match MarkerSet::parse(&[source]) {
        Ok((markers, _)) => markers,
        Err(errors) => {
            let errors = Value::Array(errors.iter().map(diagnostic_json).collect());
            return (StatusCode::UNPROCESSABLE_ENTITY, json_response(&errors)).into_response();
        }
    };
    let change = patterns.with_store(move |mut store, stop| async move {
        let change = tools(&mut store, &stop, &mut log_retry).upload(&markers, now()).await?;
        Ok((store, change))
    });
    match change.await {
        Ok(change) => patterns.changed(&change),
        Err(error) => error.into_response(),
    }
}

async fn remove(State(patterns): State<PatternsApi>, Path(id): Path<String>) -> Response {
    let Ok(id) = id.parse::<Uuid>() else { return StatusCode::NOT_FOUND.into_response() };
    let change = patterns.with_store(move |mut store, stop| async move {
        let change = tools(&mut store, &stop, &mut log_retry).remove(id, now()).await?;
        Ok((store, change))
    });
    match change.await {
        Ok(change) if known(&change.set, id) => patterns.changed(&change),
        Ok(_) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => error.into_response(),
    }
}

fn known(set: &PatternSet, id: Uuid) -> bool {
    set.patterns.iter().any(|pattern| pattern.id == id)
}

impl PatternsApi {
    fn changed(&self, change: &PatternChange) -> Response {
        if change.changed {
            tracing::info!(active = change.set.active().count(), "markers changed");
            log_new_events_only(&change.set);
            self.sweep();
        }
        json_response(&as_json(&change.set, false))
    }
}

/// Logs how many markers apply to new events only, and how to apply them to history.
fn log_new_events_only(set: &PatternSet) {
    let count = set.active().filter(|pattern| pattern.effective_from().is_some()).count();
    if count > 0 {
        let (markers, apply) =
            (counted(count as u64, "marker"), if count == 1 { "applies" } else { "apply" });
        tracing::info!(
            "{markers} {apply} to new events only; `turnmill markers backfill` adds the stored history"
        );
    }
}

fn json_response(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

fn diagnostic_json(error: &Diagnostic) -> Value {
    let hint = error.suggestion.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
    json!({
        "name": error.name,
        "kind": error.kind,
        "message": format!("{}{hint}", error.message),
        "line": error.location.line,
        "column": error.location.column,
    })
}

//! The patterns of markers: from a file at the start, and by HTTP.

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
use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::{Ingest, RowRules};
use turnmill_markers::{Diagnostic, FileFormat, MarkerSet, SourceFile};
use turnmill_model::Settings;
use turnmill_pipeline::{PatternChange, PatternEvent, PatternTools, Stop, counted, explain, rounded};
use turnmill_sink::{PatternSet, Store, StoreError};
use turnmill_stores::AnyStore;
use uuid::Uuid;

use super::patience::retried;
use crate::connect::Target;
use crate::markers::{as_json, now};

/// A request has so long to be done. The server gives up some time later.
const PATIENCE: Duration = Duration::from_secs(20);

/// The patterns of the service's store. Each use has a connection of its own.
#[derive(Clone)]
pub(super) struct Patterns(Arc<Shared>);

struct Shared {
    target: Target,
    rows: Settings,
    stop: Stop,
    runtime: Handle,
    /// Whether the store was opened, and so may be by others.
    open: AtomicBool,
    /// Making up for rows is one thing at a time.
    sweeping: Mutex<()>,
}

/// The answer to a request that cannot be done.
enum Refusal {
    /// The store is not open yet.
    NotYet,
    Store(StoreError),
    Lost,
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (code, text) = match self {
            Self::NotYet => (StatusCode::SERVICE_UNAVAILABLE, "the store is not open yet\n".into()),
            Self::Store(error) => {
                let text = explain(&error);
                tracing::warn!("patterns: {text}");
                (StatusCode::SERVICE_UNAVAILABLE, format!("{text}\n"))
            }
            Self::Lost => (StatusCode::SERVICE_UNAVAILABLE, "the service is stopping\n".into()),
        };
        (code, text).into_response()
    }
}

impl Patterns {
    pub(super) fn new(target: Target, rows: Settings, stop: Stop, runtime: Handle) -> Self {
        let (open, sweeping) = (AtomicBool::new(false), Mutex::new(()));
        Self(Arc::new(Shared { target, rows, stop, runtime, open, sweeping }))
    }

    /// `PUT` and `GET /api/v1/patterns`, `DELETE /api/v1/patterns/{id}`.
    pub(super) fn router(&self) -> Router {
        Router::new()
            .route("/api/v1/patterns", get(list).put(upload))
            .route("/api/v1/patterns/{id}", delete(remove))
            .with_state(self.clone())
    }

    /// The store is open: uploads `markers`, if there are any, and makes up for rows that are due.
    pub(super) async fn start(&self, markers: Option<&MarkerSet>) -> Result<(), StoreError> {
        if let Some(markers) = markers {
            let Some(mut store) = opened(&self.0).await? else { return Ok(()) };
            let changed = tools(&mut store, &self.0.stop, &mut tell).upload(markers, now()).await?;
            close(store);
            tracing::info!(
                active = changed.set.active().count(),
                changed = changed.changed,
                "markers are uploaded"
            );
            tell_of_history(&changed.set);
        }
        self.0.open.store(true, Ordering::Release);
        self.sweep();
        Ok(())
    }

    /// Makes up for rows on a thread of its own.
    fn sweep(&self) {
        let patterns = self.clone();
        let work = move || {
            let shared = &patterns.0;
            let _alone = shared.sweeping.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = shared.runtime.block_on(sweep(shared)) {
                // Whoever starts next goes on with it, and each sender's next event does it, too.
                tracing::error!("cannot make up for the rows of markers: {}", explain(&error));
            }
        };
        if let Err(error) = std::thread::Builder::new().name("turnmill-markers".into()).spawn(work) {
            tracing::error!("cannot start a thread: {error}");
        }
    }

    /// Does something with an open store, where it may block.
    async fn with_store<T, F>(
        &self,
        work: impl FnOnce(AnyStore, Stop) -> F + Send + 'static,
    ) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: Future<Output = Result<(AnyStore, T), StoreError>>,
    {
        if !self.0.open.load(Ordering::Acquire) {
            return Err(Refusal::NotYet);
        }
        let shared = Arc::clone(&self.0);
        let blocking = move || {
            shared.runtime.block_on(async {
                // Nobody waits longer for an answer.
                let stop = Stop::default();
                let late = stop.clone();
                let timer = tokio::spawn(async move {
                    tokio::time::sleep(PATIENCE).await;
                    late.set();
                });
                let mut store = shared.target.store()?;
                store.open(&shared.rows).await?;
                let done = work(store, stop).await;
                timer.abort();
                let (store, value) = done?;
                close(store);
                Ok::<T, StoreError>(value)
            })
        };
        Ok(tokio::task::spawn_blocking(blocking).await.map_err(|_| Refusal::Lost)??)
    }
}

fn tools<'t>(
    store: &'t mut AnyStore,
    stop: &Stop,
    tell: &'t mut (dyn FnMut(PatternEvent<'_>) + Send),
) -> PatternTools<'t, AnyStore> {
    PatternTools::new(store, stop.clone(), tell)
}

#[allow(clippy::needless_pass_by_value, reason = "what PatternTools calls takes it so")]
fn tell(event: PatternEvent<'_>) {
    if let PatternEvent::Retrying { error, pause } = event {
        tracing::warn!("patterns: retrying in {}: {}", rounded(pause), explain(error));
    }
}

fn close(store: AnyStore) {
    if let Err(error) = store.finish() {
        // The consumers use it as well.
        tracing::debug!("{}", explain(&error));
    }
}

/// The store, open, however long that takes; none if stopping was asked for.
async fn opened(shared: &Shared) -> Result<Option<AnyStore>, StoreError> {
    let retrying = |error: &StoreError, pause| tell(PatternEvent::Retrying { error, pause });
    let open = retried(&shared.stop, retrying, async || {
        let mut store = shared.target.store()?;
        store.open(&shared.rows).await?;
        Ok(store)
    });
    open.await
}

async fn sweep(shared: &Shared) -> Result<(), StoreError> {
    let Some(mut store) = opened(shared).await? else { return Ok(()) };
    let rules = RowRules::new(&shared.rows, RasaDecoder::new);
    let mut ingest = Ingest::new(&rules, 0);
    let swept = tools(&mut store, &shared.stop, &mut tell).sweep(&mut ingest).await?;
    close(store);
    if swept.senders > 0 {
        let (senders, complete) = (swept.caught_up, swept.complete);
        tracing::info!(senders, complete, "made up for the rows of markers");
    }
    Ok(())
}

async fn list(State(patterns): State<Patterns>, RawQuery(query): RawQuery) -> Response {
    let active = query.is_some_and(|query| query.split('&').any(|pair| pair == "active=true"));
    let all = patterns.with_store(|mut store, _| async move {
        let set = store.patterns().await?;
        Ok((store, set))
    });
    match all.await {
        Ok(set) => answer(&as_json(&set, active)),
        Err(refusal) => refusal.into_response(),
    }
}

async fn upload(State(patterns): State<Patterns>, headers: HeaderMap, body: Bytes) -> Response {
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
            let errors = Value::Array(errors.iter().map(refused).collect());
            return (StatusCode::UNPROCESSABLE_ENTITY, answer(&errors)).into_response();
        }
    };
    let change = patterns.with_store(move |mut store, stop| async move {
        let change = tools(&mut store, &stop, &mut tell).upload(&markers, now()).await?;
        Ok((store, change))
    });
    match change.await {
        Ok(change) => patterns.changed(&change),
        Err(refusal) => refusal.into_response(),
    }
}

async fn remove(State(patterns): State<Patterns>, Path(id): Path<String>) -> Response {
    let Ok(id) = id.parse::<Uuid>() else { return StatusCode::NOT_FOUND.into_response() };
    let change = patterns.with_store(move |mut store, stop| async move {
        let change = tools(&mut store, &stop, &mut tell).remove(id, now()).await?;
        Ok((store, change))
    });
    match change.await {
        Ok(change) if known(&change.set, id) => patterns.changed(&change),
        Ok(_) => StatusCode::NOT_FOUND.into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

fn known(set: &PatternSet, id: Uuid) -> bool {
    set.patterns.iter().any(|pattern| pattern.id == id)
}

impl Patterns {
    fn changed(&self, change: &PatternChange) -> Response {
        if change.changed {
            tracing::info!(active = change.set.active().count(), "the markers were changed");
            tell_of_history(&change.set);
            self.sweep();
        }
        answer(&as_json(&change.set, false))
    }
}

/// Says what it takes to find markers in events that were there before them.
fn tell_of_history(set: &PatternSet) {
    let later = set.active().filter(|pattern| pattern.effective_from().is_some()).count();
    if later > 0 {
        let (markers, hold) = (counted(later as u64, "marker"), if later == 1 { "holds" } else { "hold" });
        tracing::info!(
            "{markers} {hold} for new events only; `turnmill markers backfill` applies active markers to history"
        );
    }
}

fn answer(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

fn refused(error: &Diagnostic) -> Value {
    let hint = error.suggestion.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
    json!({
        "name": error.name,
        "kind": error.kind,
        "message": format!("{}{hint}", error.message),
        "line": error.place.line,
        "column": error.place.column,
    })
}

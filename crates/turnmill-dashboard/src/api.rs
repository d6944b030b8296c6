//! The JSON API, `/api/v1`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, RawQuery, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use turnmill_analytics::{Figure, METRICS, Metric, VERSION};

use crate::parameters;
use crate::question::{Answers, Refusal, Subject};

/// Time that a question waits for others. It is less than the time limit of the HTTP server.
const MAX_WAIT: Duration = Duration::from_secs(15);
/// Maximum size of marker definitions in bytes.
const MAX_MARKERS: usize = 64 << 10;

#[derive(Clone)]
struct Api {
    answers: Arc<dyn Answers>,
    slots: Arc<Semaphore>,
}

pub(crate) fn router(answers: Arc<dyn Answers>, questions: usize) -> Router {
    Router::new()
        .route("/api/v1/store", get(store))
        .route("/api/v1/metrics", get(metrics))
        .route("/api/v1/metrics/{id}", get(metric))
        .route("/api/v1/values/{filter}", get(values))
        .route("/api/v1/conversations", get(conversations))
        .route("/api/v1/conversations/{session}", get(conversation))
        .route("/api/v1/conversations/{session}/events", get(events))
        .route("/api/v1/markers/preview", post(preview).layer(DefaultBodyLimit::max(MAX_MARKERS)))
        .layer(axum::middleware::from_fn(refuse_other_sites))
        .with_state(Api { answers, slots: Arc::new(Semaphore::new(questions.max(1))) })
}

/// Refuses requests that pages of other sites make.
///
/// They could not read the response, but they could keep the store busy. Browsers state the site of
/// the page in `Sec-Fetch-Site`; other clients do not send it.
async fn refuse_other_sites(headers: HeaderMap, request: Request, next: Next) -> Response {
    match headers.get("sec-fetch-site").map(axum::http::HeaderValue::as_bytes) {
        None | Some(b"same-origin" | b"none") => next.run(request).await,
        Some(_) => {
            (StatusCode::FORBIDDEN, "requests from pages of other sites are refused\n").into_response()
        }
    }
}

async fn store(State(api): State<Api>) -> Response {
    api.respond(Ok(Subject::Store)).await
}

/// Describes every metric. This needs no store.
async fn metrics() -> Response {
    let described: Vec<Value> = METRICS.iter().map(|metric| description(metric)).collect();
    body(StatusCode::OK, json!({ "version": VERSION, "metrics": described }).to_string())
}

async fn metric(State(api): State<Api>, Path(id): Path<String>, RawQuery(query): RawQuery) -> Response {
    let subject = split(query.as_deref()).and_then(|parameters| {
        let metric = METRICS.iter().copied().find(|metric| metric.id == id);
        let metric = metric.ok_or_else(|| Refusal::NotFound { name: format!("metric {id}") })?;
        Ok(Subject::Metric { metric, question: Box::new(parameters::question(&parameters)?) })
    });
    api.respond(subject).await
}

async fn values(State(api): State<Api>, Path(name): Path<String>) -> Response {
    let filter = parameters::filter(&name);
    let subject = filter.ok_or_else(|| Refusal::NotFound { name: format!("filter {name}") });
    api.respond(subject.map(|filter| Subject::Values { filter })).await
}

async fn conversations(State(api): State<Api>, RawQuery(query): RawQuery) -> Response {
    let subject = split(query.as_deref()).and_then(|parameters| {
        let (question, filters, page) = parameters::list(&parameters)?;
        Ok(Subject::Conversations { question: Box::new(question), filters: Box::new(filters), page })
    });
    api.respond(subject).await
}

async fn conversation(State(api): State<Api>, Path(session): Path<String>) -> Response {
    api.respond(Ok(Subject::Conversation { session })).await
}

async fn events(State(api): State<Api>, Path(session): Path<String>) -> Response {
    api.respond(Ok(Subject::Events { session })).await
}

/// Takes definitions as YAML. Its content type makes browsers ask before a page of another site
/// sends it.
async fn preview(State(api): State<Api>, headers: HeaderMap, markers: String) -> Response {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if kind.is_none_or(|kind| !kind.to_ascii_lowercase().contains("yaml")) {
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, "expected the content type application/yaml\n")
            .into_response();
    }
    api.respond(Ok(Subject::Preview { markers })).await
}

fn split(query: Option<&str>) -> Result<Vec<(String, String)>, Refusal> {
    parameters::split(query.unwrap_or_default())
}

fn description(metric: &Metric) -> Value {
    let figure = |figure: &Figure| {
        json!({
            "name": figure.name,
            "unit": figure.unit.name(),
            "numerator": figure.numerator,
            "denominator": figure.denominator,
        })
    };
    json!({
        "id": metric.id,
        "title": metric.title,
        "definition": metric.definition,
        "unit": metric.unit.name(),
        "charts": metric.charts.iter().map(|chart| chart.name()).collect::<Vec<_>>(),
        "counted": metric.counted.name(),
        "sources": metric.sources.iter().map(|source| source.name()).collect::<Vec<_>>(),
        "figures": metric.figures.iter().map(figure).collect::<Vec<_>>(),
    })
}

impl Api {
    async fn respond(&self, subject: Result<Subject, Refusal>) -> Response {
        let answer = match subject {
            Ok(subject) => self.answer(subject).await,
            Err(refusal) => Err(refusal),
        };
        match answer {
            Ok(answer) => body(StatusCode::OK, answer),
            Err(refusal) => {
                let (code, kind) = status(&refusal);
                body(code, json!({ "error": described(&refusal, kind) }).to_string())
            }
        }
    }

    async fn answer(&self, subject: Subject) -> Result<String, Refusal> {
        // A closed semaphore cannot happen: nothing closes it.
        let Ok(Ok(_slot)) = timeout(MAX_WAIT, self.slots.acquire()).await else {
            return Err(Refusal::Busy);
        };
        self.answers.answer(subject).await
    }
}

fn body(code: StatusCode, json: String) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (code, headers, json).into_response()
}

/// Returns the status code of a refusal, and its name in the body.
fn status(refusal: &Refusal) -> (StatusCode, &'static str) {
    match refusal {
        Refusal::NotFound { .. } => (StatusCode::NOT_FOUND, "not_found"),
        Refusal::Invalid { .. } => (StatusCode::BAD_REQUEST, "invalid"),
        Refusal::TimedOut { .. } => (StatusCode::GATEWAY_TIMEOUT, "timed_out"),
        Refusal::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        Refusal::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        // Nothing failed: that is what there is to say about this store. Browsers would report
        // another status in their console.
        Refusal::NotSetUp { .. } => (StatusCode::OK, "not_set_up"),
        Refusal::NotGiven { .. } => (StatusCode::OK, "not_given"),
    }
}

fn described(refusal: &Refusal, kind: &str) -> Value {
    let mut error = json!({ "kind": kind, "message": refusal.to_string() });
    match refusal {
        Refusal::Invalid { parameter, .. } => error["parameter"] = json!(parameter),
        Refusal::NotSetUp { command: Some(command), .. } => error["command"] = json!(command),
        _ => {}
    }
    error
}

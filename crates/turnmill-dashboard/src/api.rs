//! The JSON API, `/api/v1`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::question::{Answers, Question, Refusal, Subject};

/// Number of questions answered at a time.
const CONCURRENT: usize = 4;
/// Time that a question waits for others. It is less than the time limit of the HTTP server.
const MAX_WAIT: Duration = Duration::from_secs(15);
/// Maximum length of a query string in bytes, and number of its parameters.
const MAX_QUERY: usize = 8 << 10;
const MAX_PARAMETERS: usize = 200;

#[derive(Clone)]
struct Api {
    answers: Arc<dyn Answers>,
    slots: Arc<Semaphore>,
}

pub(crate) fn router(answers: Arc<dyn Answers>) -> Router {
    Router::new()
        .route("/api/v1/store", get(store))
        .route("/api/v1/metrics", get(metrics))
        .route("/api/v1/metrics/{id}", get(metric))
        .route("/api/v1/values/{filter}", get(values))
        .route("/api/v1/conversations", get(conversations))
        .route("/api/v1/conversations/{session}", get(conversation))
        .layer(axum::middleware::from_fn(refuse_other_sites))
        .with_state(Api { answers, slots: Arc::new(Semaphore::new(CONCURRENT)) })
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

async fn store(State(api): State<Api>, RawQuery(query): RawQuery) -> Response {
    api.respond(Subject::Store, query).await
}

async fn metrics(State(api): State<Api>, RawQuery(query): RawQuery) -> Response {
    api.respond(Subject::Metrics, query).await
}

async fn metric(State(api): State<Api>, Path(id): Path<String>, RawQuery(query): RawQuery) -> Response {
    api.respond(Subject::Metric(id), query).await
}

async fn values(State(api): State<Api>, Path(filter): Path<String>, RawQuery(query): RawQuery) -> Response {
    api.respond(Subject::Values(filter), query).await
}

async fn conversations(State(api): State<Api>, RawQuery(query): RawQuery) -> Response {
    api.respond(Subject::Conversations, query).await
}

async fn conversation(
    State(api): State<Api>,
    Path(session): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    api.respond(Subject::Conversation(session), query).await
}

impl Api {
    async fn respond(&self, subject: Subject, query: Option<String>) -> Response {
        match self.answer(subject, query.as_deref().unwrap_or_default()).await {
            Ok(answer) => body(StatusCode::OK, &answer),
            Err(refusal) => {
                let (code, kind) = status(&refusal);
                body(code, &json!({ "error": described(&refusal, kind) }))
            }
        }
    }

    async fn answer(&self, subject: Subject, query: &str) -> Result<Value, Refusal> {
        let parameters = parameters(query)?;
        // A closed semaphore cannot happen: nothing closes it.
        let Ok(Ok(_slot)) = timeout(MAX_WAIT, self.slots.acquire()).await else {
            return Err(Refusal::Busy);
        };
        self.answers.answer(Question { subject, parameters }).await
    }
}

fn body(code: StatusCode, value: &Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (code, headers, value.to_string()).into_response()
}

/// Returns the status code of a refusal, and its name in the body.
fn status(refusal: &Refusal) -> (StatusCode, &'static str) {
    match refusal {
        Refusal::NotFound { .. } => (StatusCode::NOT_FOUND, "not_found"),
        Refusal::Invalid { .. } => (StatusCode::BAD_REQUEST, "invalid"),
        Refusal::TimedOut { .. } => (StatusCode::GATEWAY_TIMEOUT, "timed_out"),
        Refusal::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        Refusal::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        // Nothing failed: that is what there is to say about this store. Browsers would report another
        // status in their console.
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

/// Splits a query string as browsers write it.
fn parameters(query: &str) -> Result<Vec<(String, String)>, Refusal> {
    let invalid = |message: &str| Refusal::Invalid { parameter: "query".into(), message: message.into() };
    if query.len() > MAX_QUERY {
        return Err(invalid("too long"));
    }
    let pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
    if pairs.len() > MAX_PARAMETERS {
        return Err(invalid("too many parameters"));
    }
    let decoded = |text: &str| {
        let text = text.replace('+', " ");
        percent_decode_str(&text).decode_utf8().map(Into::into).map_err(|_| invalid("not in UTF-8"))
    };
    pairs
        .into_iter()
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(name)?, decoded(value)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_as_browsers_write_them() {
        let parsed = parameters("a=1&a=%C3%9C+x&b&&c=d=e%26").unwrap();
        let expected = [("a", "1"), ("a", "Ü x"), ("b", ""), ("c", "d=e&")];
        assert_eq!(parsed, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        for wrong in ["a=%FF", &"a&".repeat(MAX_PARAMETERS + 1), &"a".repeat(MAX_QUERY + 1)] {
            assert!(matches!(parameters(wrong), Err(Refusal::Invalid { .. })), "{wrong:.20}");
        }
    }
}

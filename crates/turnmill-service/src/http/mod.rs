//! HTTP: `/`, `/healthcheck` and `/metrics` for everybody; all else with the token, and for this machine if none is set.
//!
//! [`router`] takes further pages; whatever they are, they are behind the same door. [`Server`] is a small HTTP/1.1 server with
//! limits on everything that a caller could stretch.

mod door;
mod host;
mod index;
mod places;
mod server;
mod stall;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::Semaphore;

pub use self::door::{Door, Peer};
pub use self::server::{Server, ServerError};
use crate::metrics::ServiceMetrics;

/// Texts of metrics made at once.
const SCRAPES: usize = 1;

/// What pages for everybody need.
#[derive(Clone)]
struct Open {
    metrics: ServiceMetrics,
    scrapes: Arc<Semaphore>,
}

/// Bytes of a request's body at most.
pub const MAX_BODY: usize = 1 << 20;

/// The whole site: `/`, `/healthcheck`, `/metrics`, `/api/v1/status`, and `pages`, which bring their full paths along.
///
/// ```
/// use axum::{Router, routing::get};
/// use turnmill_service::Health;
/// use turnmill_service::http::Door;
/// use turnmill_service::metrics::ServiceMetrics;
/// let metrics = ServiceMetrics::new(Health::default());
/// let patterns = Router::new().route("/api/v1/patterns", get(|| async { "[]" }));
/// let site = turnmill_service::http::router(metrics, Door::new(None), patterns);
/// ```
pub fn router(metrics: ServiceMetrics, door: Door, pages: Router) -> Router {
    let door = Arc::new(door);
    let guarded = Router::new()
        .route("/api/v1/status", get(status))
        .with_state(metrics.clone())
        .merge(pages)
        // Unknown paths are behind the door too, so that nobody learns from outside what is there.
        .fallback(|| async { StatusCode::NOT_FOUND })
        .layer(axum::middleware::from_fn_with_state(door, door::guard));
    Router::new()
        .route("/", get(index::index))
        .route("/healthcheck", get(healthcheck))
        .route("/metrics", get(scrape))
        .with_state(Open { metrics, scrapes: Arc::new(Semaphore::new(SCRAPES)) })
        .merge(guarded)
        .layer(DefaultBodyLimit::max(MAX_BODY))
}

async fn healthcheck(State(open): State<Open>) -> Response {
    let report = open.metrics.health().report();
    let code = if report.healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (code, headers, report.body()).into_response()
}

async fn scrape(State(open): State<Open>, headers: HeaderMap) -> Response {
    // Those who ask for more wait for their turn, and what answers probes has the processor meanwhile.
    let _turn = open.scrapes.acquire().await;
    let metrics = &open.metrics;
    let accepts_open = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("application/openmetrics-text"));
    let (kind, text) = if accepts_open {
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", metrics.encode_open())
    } else {
        ("text/plain; version=0.0.4; charset=utf-8", metrics.encode())
    };
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

async fn status(State(metrics): State<ServiceMetrics>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], metrics.status().to_string()).into_response()
}

//! HTTP: `/healthcheck` and `/metrics` for everybody, all else for this machine, and for others with the token.
//!
//! [`router`] takes further pages; whatever they are, they are behind the same door. [`Server`] is a small HTTP/1.1 server with
//! limits on everything that a caller could stretch.

mod door;
mod server;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

pub use self::door::{Door, Peer};
pub use self::server::{Server, ServerError};
use crate::metrics::ServiceMetrics;
use crate::settings::Secret;

/// Bytes of a request's body at most.
pub const MAX_BODY: usize = 1 << 20;

/// The whole site: `/healthcheck`, `/metrics`, `/api/v1/status`, and `pages`, which bring their full paths along.
///
/// ```
/// use axum::{Router, routing::get};
/// use turnmill_service::Health;
/// use turnmill_service::metrics::ServiceMetrics;
/// let metrics = ServiceMetrics::new(Health::default());
/// let patterns = Router::new().route("/api/v1/patterns", get(|| async { "[]" }));
/// let site = turnmill_service::http::router(metrics, None, patterns);
/// ```
pub fn router(metrics: ServiceMetrics, token: Option<&Secret>, pages: Router) -> Router {
    let door = Arc::new(Door::new(token));
    let guarded = Router::new()
        .route("/api/v1/status", get(status))
        .with_state(metrics.clone())
        .merge(pages)
        // Unknown paths are behind the door too, so that nobody learns from outside what is there.
        .fallback(|| async { StatusCode::NOT_FOUND })
        .layer(axum::middleware::from_fn_with_state(door, door::guard));
    Router::new()
        .route("/healthcheck", get(healthcheck))
        .route("/metrics", get(scrape))
        .with_state(metrics)
        .merge(guarded)
        .layer(DefaultBodyLimit::max(MAX_BODY))
}

async fn healthcheck(State(metrics): State<ServiceMetrics>) -> Response {
    let report = metrics.health().report();
    let code = if report.healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (code, headers, report.body()).into_response()
}

async fn scrape(State(metrics): State<ServiceMetrics>, headers: HeaderMap) -> Response {
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

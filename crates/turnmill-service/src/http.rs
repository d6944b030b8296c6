//! HTTP server of the service.
//!
//! `/`, `/healthcheck` and `/metrics` are public. All other paths require the token or, if no token
//! is set, a request from this machine. Browsers give the token on the page `/login`. [`router`]
//! takes further pages and restricts access to them in the same way. [`Server`] is a small HTTP/1.1
//! server that limits time, size and number of everything a client can send.

mod access;
mod connections;
mod host;
mod index;
mod login;
mod server;
mod session;
mod stall;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::Semaphore;

pub use self::access::{HttpAccess, Peer};
pub use self::server::{Server, ServerError};
use crate::metrics::ServiceMetrics;

/// Number of concurrent scrapes.
const SCRAPES: usize = 1;

/// State of the public pages.
#[derive(Clone)]
struct PublicState {
    metrics: ServiceMetrics,
    scrapes: Arc<Semaphore>,
}

/// Maximum size of a request body in bytes.
pub const MAX_BODY: usize = 1 << 20;

/// Builds the whole site: `/`, `/healthcheck`, `/metrics`, `/api/v1/status`, and `pages`, whose
/// routes are full paths.
///
/// ```
/// use axum::{Router, routing::get};
/// use turnmill_service::Health;
/// use turnmill_service::http::HttpAccess;
/// use turnmill_service::metrics::ServiceMetrics;
/// let metrics = ServiceMetrics::new(Health::default());
/// let patterns = Router::new().route("/api/v1/patterns", get(|| async { "[]" }));
/// let site = turnmill_service::http::router(metrics, HttpAccess::new(None), patterns);
/// ```
pub fn router(metrics: ServiceMetrics, access: HttpAccess, pages: Router) -> Router {
    let pages = Router::new().route("/api/v1/status", get(status)).with_state(metrics.clone()).merge(pages);
    Router::new()
        .route("/", get(index::index))
        .route("/healthcheck", get(healthcheck))
        .route("/metrics", get(scrape))
        .with_state(PublicState { metrics, scrapes: Arc::new(Semaphore::new(SCRAPES)) })
        .merge(guarded(access, pages))
        .layer(DefaultBodyLimit::max(MAX_BODY))
}

/// Builds a site of `pages` without anything public: every path requires what `access` requires,
/// apart from `/login` and `/logout` once a token is set.
///
/// ```
/// use axum::{Router, routing::get};
/// use turnmill_service::http::{HttpAccess, guarded};
/// let pages = Router::new().route("/", get(|| async { "for this machine" }));
/// let site = guarded(HttpAccess::new(None), pages);
/// ```
pub fn guarded(access: HttpAccess, pages: Router) -> Router {
    let access = Arc::new(access);
    let guarded = pages
        // Access is checked for unknown paths too. Otherwise a 404 would reveal which paths exist.
        .fallback(|| async { StatusCode::NOT_FOUND })
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&access), access::guard));
    // Without a token there is nothing to log in with.
    if access.has_login() { guarded.merge(login::router(access)) } else { guarded }
}

async fn healthcheck(State(public): State<PublicState>) -> Response {
    let report = public.metrics.health().report();
    let code = if report.healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (code, headers, report.body()).into_response()
}

async fn scrape(State(public): State<PublicState>, headers: HeaderMap) -> Response {
    // Encoding is expensive. Concurrent scrapes wait here, so that probes are answered meanwhile.
    let _permit = public.scrapes.acquire().await;
    let metrics = &public.metrics;
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

//! The index page at `/`.

use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

/// Paths with a description of their content and access.
const CONTENTS: [(&str, &str); 5] = [
    ("/overview", "the dashboard (token required; without one, from this machine only)"),
    ("/healthcheck", "health of the service (public)"),
    ("/metrics", "metrics for Prometheus (public)"),
    (
        "/api/v1/status",
        "phase, positions, lag and counts as JSON (token required; without one, from this machine only)",
    ),
    ("/api/v1/patterns", "marker patterns as JSON (token required; without one, from this machine only)"),
];

/// Lists all paths, as text or, for browsers, as links. The response is the same for every request.
pub(super) async fn index(headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("text/html")) {
        let items: String = CONTENTS
            .iter()
            .map(|(path, content)| format!("<li><a href=\"{path}\">{path}</a>: {content}</li>\n"))
            .collect();
        let page =
            format!("<!doctype html>\n<title>turnmill</title>\n<h1>turnmill</h1>\n<ul>\n{items}</ul>\n");
        return ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response();
    }
    let lines: String = CONTENTS.iter().map(|(path, content)| format!("{path:<18} {content}\n")).collect();
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], format!("turnmill\n\n{lines}")).into_response()
}

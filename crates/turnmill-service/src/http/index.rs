//! `/`: what is there.

use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

/// What is served, and for whom.
const CONTENTS: [(&str, &str); 4] = [
    ("/healthcheck", "whether the service is healthy; for everybody"),
    ("/metrics", "metrics for Prometheus; for everybody"),
    (
        "/api/v1/status",
        "phase, positions, lag and counts as JSON; with the token, if one is set, otherwise from this machine",
    ),
    (
        "/api/v1/patterns",
        "the patterns of markers as JSON; with the token, if one is set, otherwise from this machine",
    ),
];

/// Says what is there, as text, and with links for browsers. It is the same for everybody and depends on nothing.
pub(super) async fn index(headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("text/html")) {
        let items: String = CONTENTS
            .iter()
            .map(|(path, what)| format!("<li><a href=\"{path}\">{path}</a>: {what}</li>\n"))
            .collect();
        let page =
            format!("<!doctype html>\n<title>turnmill</title>\n<h1>turnmill</h1>\n<ul>\n{items}</ul>\n");
        return ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response();
    }
    let lines: String = CONTENTS.iter().map(|(path, what)| format!("{path:<18} {what}\n")).collect();
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], format!("turnmill\n\n{lines}")).into_response()
}

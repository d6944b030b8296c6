//! The log-in page. It exchanges the token for a cookie, because browsers send no bearer token by
//! themselves.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::access::HttpAccess;
use super::session::is_from_own_page;

/// Path of the page.
const PATH: &str = "/login";
/// What an address keeps as it is when it becomes a parameter of another one.
const KEPT: AsciiSet = NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.');
/// Nothing runs on the page, and no other page may show it.
const HEADERS: [(HeaderName, &str); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];
const STYLE: &str = include_str!("login.css");

/// Returns the public routes `/login` and `/logout`.
pub(super) fn router(access: Arc<HttpAccess>) -> Router {
    Router::new()
        .route(PATH, get(show).post(log_in))
        .route("/login/style.css", get(|| async { ([(header::CONTENT_TYPE, "text/css")], STYLE) }))
        .route("/logout", axum::routing::post(log_out))
        .layer(axum::middleware::from_fn(add_headers))
        .with_state(access)
}

/// Returns the seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// Returns whether a browser asks for a page, which may be the log-in page instead.
pub(super) fn is_page(request: &Request) -> bool {
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    request.method() == Method::GET && accept.is_some_and(|accept| accept.contains("text/html"))
}

/// Sends a browser to the log-in page, which leads back to `uri`.
pub(super) fn redirect(uri: &Uri) -> Response {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    see_other(&format!("{PATH}?next={}", utf8_percent_encode(path, &KEPT)))
}

fn see_other(location: &str) -> Response {
    let location = location.parse().unwrap_or(HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response()
}

async fn add_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn show(State(access): State<Arc<HttpAccess>>, uri: Uri, headers: HeaderMap) -> Response {
    let next = field(uri.query().unwrap_or_default(), "next");
    let next = own_path(next.as_deref());
    if headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site" || site == "same-site") {
        // After a link on another site the browser sends no cookie yet. The next request comes
        // from this page, so it has the cookie of a browser that is logged in already.
        let again = format!("{PATH}?next={}", utf8_percent_encode(next, &KEPT));
        let refresh = format!("<meta http-equiv=\"refresh\" content=\"0; url={}\">", escaped(&again));
        return page(StatusCode::OK, &refresh, "");
    }
    if access.has_session(&Method::GET, &headers, now()) {
        return see_other(next);
    }
    page(StatusCode::OK, "", &form(next, false))
}

async fn log_in(State(access): State<Arc<HttpAccess>>, headers: HeaderMap, body: String) -> Response {
    // A form of another site could log a browser in without its user noticing.
    if !is_from_own_page(&Method::POST, &headers) {
        return (StatusCode::FORBIDDEN, "log in on the page of this service\n").into_response();
    }
    let next = field(&body, "next");
    let next = own_path(next.as_deref());
    let token = field(&body, "token").unwrap_or_default();
    match access.new_session(&token, now(), is_encrypted(&headers)) {
        Some(cookie) => (AppendCookie(cookie), see_other(next)).into_response(),
        None => page(StatusCode::FORBIDDEN, "", &form(next, true)),
    }
}

async fn log_out(State(access): State<Arc<HttpAccess>>, headers: HeaderMap) -> Response {
    if !is_from_own_page(&Method::POST, &headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    match access.ended_session() {
        Some(cookie) => (AppendCookie(cookie), see_other(PATH)).into_response(),
        None => see_other("/"),
    }
}

/// Adds a cookie to a response.
struct AppendCookie(String);

impl axum::response::IntoResponseParts for AppendCookie {
    type Error = std::convert::Infallible;

    fn into_response_parts(
        self,
        mut parts: axum::response::ResponseParts,
    ) -> Result<axum::response::ResponseParts, Self::Error> {
        if let Ok(value) = self.0.parse() {
            parts.headers_mut().append(header::SET_COOKIE, value);
        }
        Ok(parts)
    }
}

/// Returns whether a proxy states that the browser's connection is encrypted. Then the cookie is
/// for such connections only.
fn is_encrypted(headers: &HeaderMap) -> bool {
    headers.get("x-forwarded-proto").is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"https"))
}

/// Returns a field of a form or query.
fn field(encoded: &str, name: &str) -> Option<String> {
    let (_, value) =
        encoded.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name)?;
    Some(percent_decode_str(&value.replace('+', " ")).decode_utf8().ok()?.into_owned())
}

/// Returns a path of this site, or `/` instead of what could lead to another one.
fn own_path(next: Option<&str>) -> &str {
    let is_own = |path: &&str| {
        let mut start = path.chars();
        start.next() == Some('/')
            && !matches!(start.next(), Some('/' | '\\'))
            && path.chars().all(|c| c.is_ascii_graphic())
    };
    next.filter(is_own).unwrap_or("/")
}

fn form(next: &str, is_wrong: bool) -> String {
    let wrong = if is_wrong { "<p role=\"alert\">This is not the token.</p>\n" } else { "" };
    format!(
        "<form method=\"post\" action=\"{PATH}\">\n<h1>turnmill</h1>\n\
         <label for=\"token\">Token of this service (<code>TURNMILL_API_TOKEN</code>)</label>\n\
         <input id=\"token\" name=\"token\" type=\"password\" autocomplete=\"current-password\" required \
         autofocus>\n{wrong}<input type=\"hidden\" name=\"next\" value=\"{}\">\n<button>Log in</button>\n\
         </form>\n",
        escaped(next)
    )
}

fn page(code: StatusCode, head: &str, body: &str) -> Response {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Log in · turnmill</title>\n<link rel=\"icon\" href=\"data:,\">\n\
         <link rel=\"stylesheet\" href=\"/login/style.css\">\n{head}\n<main>\n{body}</main>\n</html>\n"
    );
    (code, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response()
}

/// Escapes a text for an attribute.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_this_site_are_followed() {
        for path in ["/", "/overview?v=1&last=28d", "/conversations/a%2Fb"] {
            assert_eq!(own_path(Some(path)), path);
        }
        for path in ["", "//evil.example", "/\\evil.example", "https://evil.example", "/a\r\nb", "overview"] {
            assert_eq!(own_path(Some(path)), "/", "{path}");
        }
    }

    #[test]
    fn fields_are_decoded() {
        let form = "next=%2Fa%3Fb%3D1&token=a+b%2Bc";
        assert_eq!(field(form, "token").as_deref(), Some("a b+c"));
        assert_eq!(field(form, "next").as_deref(), Some("/a?b=1"));
        assert_eq!(field(form, "other"), None);
    }
}

//! Access control for all paths that are not public.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::host::{host, is_this_machine};
use super::login;
use super::session::{Sessions, is_from_own_page};
use crate::settings::Secret;

/// Address of the client, an extension of each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Grants access to requests with the token or, if no token is set, to requests from this machine.
///
/// | request | no token is set | a token is set | a token is set, and loopback is trusted |
/// | --- | --- | --- | --- |
/// | from this machine, without a token | allowed | 401 | allowed |
/// | from this machine, with a wrong token | allowed | 401 | allowed |
/// | from this machine, with the token | allowed | allowed | allowed |
/// | from elsewhere, without a token | 403 | 401 | 401 |
/// | from elsewhere, with a wrong token | 403 | 401 | 401 |
/// | from elsewhere, with the token | 403 | allowed | allowed |
/// | any, with a malformed `Host` | 400 | 400 | 400 |
///
/// A request is from this machine if its address is a loopback address and no header says
/// otherwise. These headers do:
///
/// - a header that proxies add;
/// - a `Host` that does not name this machine (DNS rebinding: a web page whose name now resolves to
///   127.0.0.1);
/// - an `Origin` from elsewhere (a foreign web page in a browser on this machine).
///
/// Through a local proxy that adds no header, every request looks like one from this machine.
/// Therefore such requests need the token as well once it is set.
///
/// Once a token is set, a browser that gave it on the page `/login` has a cookie, which counts as
/// the token does. It counts for requests of our own pages only: no `Sec-Fetch-Site` of another
/// site, no foreign `Origin`, and an `Origin` wherever the request changes something.
#[derive(Clone)]
pub struct HttpAccess {
    /// SHA-256 of the token. Comparing digests reveals nothing about the token through timing.
    token: Option<[u8; 32]>,
    /// Cookies of browsers that gave the token.
    sessions: Option<Sessions>,
    trusts_loopback: bool,
}

impl std::fmt::Debug for HttpAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpAccess")
            .field("has_token", &self.token.is_some())
            .field("trusts_loopback", &self.trusts_loopback)
            .finish()
    }
}

impl HttpAccess {
    /// Creates access control with `token`, or for requests from this machine only if it is `None`.
    #[must_use]
    pub fn new(token: Option<&Secret>) -> Self {
        let token = token.map(|token| digest(token.expose().trim()));
        Self { token, sessions: token.map(Sessions::new), trusts_loopback: false }
    }

    /// Sets whether requests from this machine are allowed without the token.
    #[must_use]
    pub fn trusting_loopback(self, trusts_loopback: bool) -> Self {
        Self { trusts_loopback, ..self }
    }

    /// Checks whether a request is allowed. The error is the status code of the response.
    ///
    /// # Errors
    ///
    /// 400 for a malformed `Host`, 401 if the token is missing or wrong, 403 if no token is set.
    pub fn check(&self, peer: IpAddr, headers: &HeaderMap) -> Result<(), StatusCode> {
        let hosts: Vec<Option<&str>> =
            headers.get_all(header::HOST).iter().map(|value| host(value.to_str().ok()?)).collect();
        let host = match hosts.as_slice() {
            [] => None,
            [Some(name)] => Some(*name),
            _ => return Err(StatusCode::BAD_REQUEST),
        };
        let is_here = peer.to_canonical().is_loopback()
            && host.is_none_or(is_this_machine)
            && has_own_origin(headers)
            && !headers.keys().any(|name| is_of_a_proxy(name.as_str()));
        if is_here && (self.token.is_none() || self.trusts_loopback) {
            return Ok(());
        }
        let Some(token) = self.token else { return Err(StatusCode::FORBIDDEN) };
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        match given {
            Some((_, given)) if digest(given.trim()) == token => Ok(()),
            _ => Err(StatusCode::UNAUTHORIZED),
        }
    }

    /// Returns whether browsers can log in.
    pub(super) fn has_login(&self) -> bool {
        self.sessions.is_some()
    }

    /// Returns the cookie of a browser that gave `token`, or `None` if the token is wrong.
    pub(super) fn new_session(&self, token: &str, now: u64, is_encrypted: bool) -> Option<String> {
        let is_right = self.token == Some(digest(token.trim()));
        self.sessions.as_ref().filter(|_| is_right).map(|sessions| sessions.cookie(now, is_encrypted))
    }

    /// Returns the cookie that ends a session.
    pub(super) fn ended_session(&self) -> Option<String> {
        self.sessions.as_ref().map(Sessions::removed)
    }

    /// Returns whether a request has a valid cookie and comes from our own pages.
    pub(super) fn has_session(&self, method: &Method, headers: &HeaderMap, now: u64) -> bool {
        let is_valid = self.sessions.as_ref().is_some_and(|sessions| sessions.has_valid_cookie(headers, now));
        is_valid && is_from_own_page(method, headers)
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Returns whether every `Origin` names this machine, or there is none.
fn has_own_origin(headers: &HeaderMap) -> bool {
    headers.get_all(header::ORIGIN).iter().all(|origin| {
        let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        authority.and_then(|(_, authority)| host(authority)).is_some_and(is_this_machine)
    })
}

/// Returns whether proxies add a header of this name: `Forwarded`, `X-Forwarded-*`, `Via`, and
/// those with the address of the proxy's client.
///
/// There is no complete list of such headers, so parts of their names are matched. A false match
/// only means that the token is required.
fn is_of_a_proxy(name: &str) -> bool {
    let words = [
        "forward",
        "proxy",
        "client-ip",
        "clientip",
        "client-addr",
        "real-ip",
        "connecting-ip",
        "remote-",
        "coming-from",
        "sent-from",
        "ingress",
        "cloud-trace",
        "tailscale-",
        "pomerium-",
        "traefik-",
        "ngrok-",
        "akamai-",
        "cloudfront-",
        "ssl-client",
        "client-cert",
        "request-start",
        "auth-request-",
    ];
    let fronts = [
        "x-envoy-",
        "cf-",
        "x-original-",
        "x-rewrite-",
        "x-azure-",
        "x-amz-cf-",
        "x-amzn-",
        "x-appengine-",
        "fastly-",
        "x-ssl-",
        "fly-",
    ];
    matches!(
        name,
        "via" | "x-via" | "cdn-loop" | "x-host" | "x-scheme" | "x-client" | "x-from" | "max-forwards"
    ) || ["-ip", "-addr", "-address"].iter().any(|end| name.ends_with(end))
        || words.iter().any(|word| name.contains(word))
        || fronts.iter().any(|front| name.starts_with(front))
}

/// Middleware that answers requests which [`HttpAccess::check`] refuses.
pub(super) async fn guard(State(access): State<Arc<HttpAccess>>, request: Request, next: Next) -> Response {
    // A request without an address did not come through our server, so it counts as one from
    // elsewhere.
    let peer = request.extensions().get::<Peer>().map_or(IpAddr::from([0, 0, 0, 0]), |Peer(peer)| peer.ip());
    // The host in `GET http://host/` takes precedence over `Host`, so both are checked.
    let target = request.uri().authority().map(|authority| authority.as_str().to_owned());
    let mut headers = request.headers().clone();
    if let Some(value) = target.and_then(|target| target.parse().ok()) {
        headers.append(header::HOST, value);
        // Equal values count as one; `check` refuses different ones.
        let first = headers.get_all(header::HOST).iter().next().cloned();
        if let Some(first) = first.filter(|first| headers.get_all(header::HOST).iter().all(|v| v == first)) {
            headers.insert(header::HOST, first);
        }
    }
    match access.check(peer, &headers) {
        Ok(()) => next.run(request).await,
        Err(StatusCode::UNAUTHORIZED) if access.has_session(request.method(), &headers, login::now()) => {
            let mut response = next.run(request).await;
            // Pages offer to log out.
            response.headers_mut().insert("turnmill-session", HeaderValue::from_static("cookie"));
            response
        }
        Err(StatusCode::UNAUTHORIZED) if login::is_page(&request) => login::redirect(request.uri()),
        Err(StatusCode::UNAUTHORIZED) => {
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")]).into_response()
        }
        Err(StatusCode::BAD_REQUEST) => (StatusCode::BAD_REQUEST, "malformed Host\n").into_response(),
        Err(code) => (code, "set TURNMILL_API_TOKEN to allow access from other machines\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in all {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn access_follows_the_table() {
        const TOKEN: &str = "a-token-of-some-length";
        let none = HttpAccess::new(None);
        let some = HttpAccess::new(Some(&Secret::new(TOKEN)));
        let trusting = some.clone().trusting_loopback(true);
        let bearer = format!("Bearer {TOKEN}");
        let (forbidden, unauthorized) = (Err(StatusCode::FORBIDDEN), Err(StatusCode::UNAUTHORIZED));
        let malformed = Err(StatusCode::BAD_REQUEST);
        let local = [("host", "localhost:8732")];
        type Answer = Result<(), StatusCode>;
        type Row<'r> = (&'r str, &'r [(&'static str, &'r str)], Answer, Answer, Answer);
        let table: &[Row<'_>] = &[
            ("127.0.0.1", &local, Ok(()), unauthorized, Ok(())),
            ("127.8.8.8", &[], Ok(()), unauthorized, Ok(())),
            ("::1", &[("host", "[::1]:8732")], Ok(()), unauthorized, Ok(())),
            ("::ffff:127.0.0.1", &[("host", "127.0.0.1")], Ok(()), unauthorized, Ok(())),
            ("127.0.0.1", &[("authorization", "Bearer guess")], Ok(()), unauthorized, Ok(())),
            ("127.0.0.1", &[("authorization", &bearer)], Ok(()), Ok(()), Ok(())),
            ("127.0.0.1", &[("host", "evil.example")], forbidden, unauthorized, unauthorized),
            ("127.0.0.1", &[("host", "")], forbidden, unauthorized, unauthorized),
            ("127.0.0.1", &[("host", "[::1]evil.example")], malformed, malformed, malformed),
            ("127.0.0.1", &[("host", "localhost:x@evil")], malformed, malformed, malformed),
            (
                "127.0.0.1",
                &[("host", "localhost"), ("host", "evil.example")],
                malformed,
                malformed,
                malformed,
            ),
            ("127.0.0.1", &[("origin", "https://evil.example")], forbidden, unauthorized, unauthorized),
            ("127.0.0.1", &[("origin", "http://localhost:8732")], Ok(()), unauthorized, Ok(())),
            ("127.0.0.1", &[("origin", "http://[::1]evil.example")], forbidden, unauthorized, unauthorized),
            ("127.0.0.1", &[("origin", "null")], forbidden, unauthorized, unauthorized),
            ("10.0.0.9", &local, forbidden, unauthorized, unauthorized),
            ("10.0.0.9", &[("authorization", "Bearer guess")], forbidden, unauthorized, unauthorized),
            ("10.0.0.9", &[("authorization", "Bearer")], forbidden, unauthorized, unauthorized),
            ("10.0.0.9", &[("authorization", &bearer)], forbidden, Ok(()), Ok(())),
            ("127.0.0.1", &[("host", "evil.example"), ("authorization", &bearer)], forbidden, Ok(()), Ok(())),
        ];
        for (peer, given, without, with, with_trust) in table {
            let (peer, given) = (peer.parse().unwrap(), headers(given));
            assert_eq!(none.check(peer, &given), *without, "{peer} {given:?}, no token set");
            assert_eq!(some.check(peer, &given), *with, "{peer} {given:?}, token set");
            assert_eq!(
                trusting.check(peer, &given),
                *with_trust,
                "{peer} {given:?}, token set, loopback trusted"
            );
        }
        let here = "127.0.0.1".parse().unwrap();
        for name in [
            "forwarded",
            "via",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-forwarded-port",
            "x-forwarded-by",
            "x-real-ip",
            "x-client-ip",
            "x-cluster-client-ip",
            "true-client-ip",
            "cf-connecting-ip",
            "cf-ray",
            "fastly-client-ip",
            "x-envoy-external-address",
            "x-original-forwarded-for",
            "x-original-host",
            "x-azure-clientip",
            "x-remote-addr",
            "x-remote-ip",
            "client-ip",
            "wl-proxy-client-ip",
            "proxy-connection",
            "x-proxyuser-ip",
            "x-originating-ip",
            "cdn-loop",
            "x-amzn-trace-id",
            "x-host",
            "cloudfront-viewer-address",
            "x-coming-from",
            "x-cloud-trace-context",
            "x-ssl-client-cert",
            "tailscale-user-login",
            "x-request-start",
        ] {
            let given = headers(&[local[0], (name, "10.0.0.9")]);
            assert_eq!(none.check(here, &given), forbidden, "{name}");
            assert_eq!(trusting.check(here, &given), unauthorized, "{name}");
        }
        for usual in
            ["accept", "user-agent", "sec-fetch-site", "cookie", "referer", "x-request-id", "traceparent"]
        {
            let headers = headers(&[local[0], (usual, "x")]);
            assert_eq!(none.check(here, &headers), Ok(()), "{usual}");
        }
        assert!(!format!("{some:?}").contains(TOKEN));
    }
}

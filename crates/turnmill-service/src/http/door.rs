//! Who may see more than health and metrics.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::settings::Secret;

/// The caller's address, an extension of each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Lets callers of this machine in, and with the token those of others.
///
/// | caller | no token is set | a token is set |
/// | --- | --- | --- |
/// | of this machine | in | in |
/// | another, without a token | 403 | 401 |
/// | another, with a wrong token | 403 | 401 |
/// | another, with the token | 403 | in |
///
/// A caller is of this machine if its address is a loopback address, and nothing says that it speaks for another: a proxy's
/// headers, a `Host` that is no name of this machine (a web page that had its name changed to 127.0.0.1), or an `Origin` of
/// elsewhere (a web page of somebody else, open in a browser here).
#[derive(Clone)]
pub struct Door {
    /// Digests are compared, so that the time of a comparison says nothing about the token.
    token: Option<[u8; 32]>,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("has_token", &self.token.is_some()).finish()
    }
}

impl Door {
    /// A door to which `token` is the key.
    #[must_use]
    pub fn new(token: Option<&Secret>) -> Self {
        Self { token: token.map(|token| digest(token.expose().trim())) }
    }

    /// Whether this caller may come in; the error is the answer to those who may not.
    ///
    /// # Errors
    ///
    /// 403 if there is no way in, 401 if the token is missing or wrong.
    pub fn check(&self, peer: IpAddr, headers: &HeaderMap) -> Result<(), StatusCode> {
        if peer.to_canonical().is_loopback() && speaks_for_itself(headers) {
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
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn speaks_for_itself(headers: &HeaderMap) -> bool {
    let proxied =
        ["forwarded", "x-forwarded-for", "x-real-ip"].iter().any(|name| headers.contains_key(*name));
    let here = |name| match headers.get(name).map(|value| value.to_str()) {
        None => true,
        Some(Ok(value)) => is_this_machine(value),
        Some(Err(_)) => false,
    };
    !proxied && here(header::HOST) && here(header::ORIGIN)
}

/// Whether a `Host` or `Origin` names this machine.
fn is_this_machine(value: &str) -> bool {
    let authority = value.split_once("://").map_or(value, |(_, authority)| authority);
    let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, _)) => v6,
        None => authority.split_once(':').map_or(authority, |(host, _)| host),
    };
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Keeps out whom [`Door::check`] keeps out.
pub(super) async fn guard(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    // A request without an address did not come through our server, so nothing is known about it.
    let peer = request.extensions().get::<Peer>().map_or(IpAddr::from([0, 0, 0, 0]), |Peer(peer)| peer.ip());
    match door.check(peer, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(StatusCode::UNAUTHORIZED) => {
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")]).into_response()
        }
        Err(code) => (code, "set TURNMILL_API_TOKEN to open this to other machines\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn who_comes_in() {
        const TOKEN: &str = "a-token-of-some-length";
        let none = Door::new(None);
        let some = Door::new(Some(&Secret::new(TOKEN)));
        let bearer = format!("Bearer {TOKEN}");
        let (forbidden, unauthorized) = (Err(StatusCode::FORBIDDEN), Err(StatusCode::UNAUTHORIZED));
        let local = [("host", "localhost:8732")];
        type Answer = Result<(), StatusCode>;
        type Row<'r> = (&'r str, &'r [(&'static str, &'r str)], Answer, Answer);
        let table: &[Row<'_>] = &[
            ("127.0.0.1", &local, Ok(()), Ok(())),
            ("127.8.8.8", &[], Ok(()), Ok(())),
            ("::1", &[("host", "[::1]:8732")], Ok(()), Ok(())),
            ("::ffff:127.0.0.1", &[("host", "127.0.0.1")], Ok(()), Ok(())),
            ("127.0.0.1", &[("host", "evil.example")], forbidden, unauthorized),
            ("127.0.0.1", &[("origin", "https://evil.example")], forbidden, unauthorized),
            ("127.0.0.1", &[("origin", "http://localhost:8732")], Ok(()), Ok(())),
            ("127.0.0.1", &[("origin", "null")], forbidden, unauthorized),
            ("127.0.0.1", &[("x-forwarded-for", "10.0.0.9")], forbidden, unauthorized),
            ("10.0.0.9", &local, forbidden, unauthorized),
            ("10.0.0.9", &[("authorization", "Bearer guess")], forbidden, unauthorized),
            ("10.0.0.9", &[("authorization", "Bearer")], forbidden, unauthorized),
            ("10.0.0.9", &[("authorization", &bearer)], forbidden, Ok(())),
            ("127.0.0.1", &[("host", "evil.example"), ("authorization", &bearer)], forbidden, Ok(())),
        ];
        for (peer, given, without, with) in table {
            let (peer, given) = (peer.parse().unwrap(), headers(given));
            assert_eq!(none.check(peer, &given), *without, "{peer} {given:?}, no token set");
            assert_eq!(some.check(peer, &given), *with, "{peer} {given:?}, token set");
        }
        assert!(!format!("{some:?}").contains(TOKEN));
    }
}

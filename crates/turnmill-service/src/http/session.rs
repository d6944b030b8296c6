//! Cookies of browsers that have logged in.
//!
//! A cookie is the time until which it is valid, signed with the token: `1795225518.9f86d0…`. So
//! it is valid after a restart and in every process with the same token, and none is valid once
//! the token changes.

use std::time::Duration;

use axum::http::{HeaderMap, Method, header};
use sha2::{Digest, Sha256};

use super::host::host;

/// Time for which a cookie is valid.
pub(super) const VALIDITY: Duration = Duration::from_secs(7 * 24 * 3600);

/// Block size of SHA-256 in bytes.
const BLOCK: usize = 64;

/// The key that signs cookies, and their name.
#[derive(Clone)]
pub(super) struct Sessions {
    key: [u8; 32],
    name: String,
}

impl Sessions {
    /// Creates the sessions of a token, from its digest.
    pub(super) fn new(token: [u8; 32]) -> Self {
        let key = hmac(&token, b"turnmill: cookies");
        // Browsers send a cookie to every port of a host. With names of their own, two services
        // with different tokens do not end each other's sessions.
        let name = format!("turnmill-{}", hex(&hmac(&key, b"name")[..4]));
        Self { key, name }
    }

    /// Returns the value of `Set-Cookie` for a browser that gave the token. `now` is in seconds
    /// since 1970.
    pub(super) fn cookie(&self, now: u64, is_encrypted: bool) -> String {
        let until = now.saturating_add(VALIDITY.as_secs());
        let value = format!("{until}.{}", hex(&self.signature(until)));
        self.attributes(&value, VALIDITY.as_secs(), is_encrypted)
    }

    /// Returns the value of `Set-Cookie` that removes the cookie.
    pub(super) fn removed(&self) -> String {
        self.attributes("", 0, false)
    }

    fn attributes(&self, value: &str, seconds: u64, is_encrypted: bool) -> String {
        let secure = if is_encrypted { "; Secure" } else { "" };
        format!("{}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}", self.name)
    }

    /// Returns whether a request has a valid cookie.
    pub(super) fn has_valid_cookie(&self, headers: &HeaderMap, now: u64) -> bool {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        cookies
            .flat_map(|value| value.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .any(|(name, value)| name == self.name && self.is_valid(value, now))
    }

    fn is_valid(&self, value: &str, now: u64) -> bool {
        let Some((until, signature)) = value.split_once('.') else { return false };
        let Ok(until) = until.parse::<u64>() else { return false };
        // Comparing digests reveals nothing about the signature through timing.
        let is_signed =
            Sha256::digest(signature.as_bytes()) == Sha256::digest(hex(&self.signature(until)).as_bytes());
        is_signed && now < until
    }

    fn signature(&self, until: u64) -> [u8; 32] {
        hmac(&self.key, until.to_string().as_bytes())
    }
}

/// Returns whether a request with a cookie comes from our own pages.
///
/// `SameSite=Strict` keeps the cookie from other sites. Other ports and sibling names of the same
/// site still send it, so the origin must be ours: browsers state it in every request that changes
/// something.
pub(super) fn is_from_own_page(method: &Method, headers: &HeaderMap) -> bool {
    let own =
        headers.get(header::HOST).and_then(|value| value.to_str().ok()).filter(|own| host(own).is_some());
    let origin = headers.get(header::ORIGIN).map(|origin| {
        let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        origin.is_some_and(|(_, authority)| own.is_some_and(|own| own.eq_ignore_ascii_case(authority)))
    });
    let site = headers.get("sec-fetch-site").map(axum::http::HeaderValue::as_bytes);
    let is_own_site = !matches!(site, Some(b"cross-site" | b"same-site"));
    is_own_site && origin.unwrap_or(*method == Method::GET || *method == Method::HEAD)
}

/// HMAC-SHA-256 of RFC 2104, with a key of at most one block.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let pad = |byte: u8| {
        let mut pad = [byte; BLOCK];
        pad.iter_mut().zip(key).for_each(|(pad, key)| *pad ^= key);
        pad
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_cookie(cookie: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::COOKIE, cookie.parse().unwrap())])
    }

    #[test]
    fn signatures_are_those_of_the_standard() {
        // RFC 4231, test cases 1 and 2.
        let one = hmac(&[0x0b; 20], b"Hi There");
        assert_eq!(hex(&one), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
        let two = hmac(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(hex(&two), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn a_cookie_is_valid_until_its_time_and_for_its_token() {
        let (own, other) = (Sessions::new([1; 32]), Sessions::new([2; 32]));
        let cookie = own.cookie(1000, false);
        assert!(cookie.ends_with("; Path=/; Max-Age=604800; HttpOnly; SameSite=Strict"), "{cookie}");
        assert!(own.cookie(1000, true).ends_with("; Secure"));
        let pair = cookie.split(';').next().unwrap();
        assert!(own.has_valid_cookie(&with_cookie(&format!("other=1; {pair}")), 605_799));
        assert!(!own.has_valid_cookie(&with_cookie(pair), 605_800), "expired");
        assert!(!other.has_valid_cookie(&with_cookie(pair), 1000));
        let value = pair.split_once('=').unwrap().1;
        assert!(!other.has_valid_cookie(&with_cookie(&format!("{}={value}", other.name)), 1000));
        // A later time needs another signature.
        assert!(!own.has_valid_cookie(&with_cookie(&pair.replace("605800", "705800")), 1000));
        for wrong in ["", "605800", "605800.", ".", "x.y"] {
            assert!(!own.has_valid_cookie(&with_cookie(&format!("{}={wrong}", own.name)), 1000), "{wrong}");
        }
    }

    #[test]
    fn requests_of_other_pages_are_told_apart() {
        type Row<'r> = (&'r str, &'r [(&'static str, &'r str)], bool);
        let rows: &[Row<'_>] = &[
            ("GET", &[("host", "a:1")], true),
            ("GET", &[("host", "a:1"), ("sec-fetch-site", "none")], true),
            ("GET", &[("host", "a:1"), ("sec-fetch-site", "same-origin")], true),
            ("GET", &[("host", "a:1"), ("sec-fetch-site", "same-site")], false),
            ("GET", &[("host", "a:1"), ("sec-fetch-site", "cross-site")], false),
            ("GET", &[("host", "a:1"), ("origin", "http://b:1")], false),
            ("PUT", &[("host", "a:1")], false),
            ("PUT", &[("host", "a:1"), ("origin", "http://a:1")], true),
            ("PUT", &[("host", "a:1"), ("origin", "http://a:2")], false),
            ("PUT", &[("host", "a:1"), ("origin", "null")], false),
            ("DELETE", &[("host", "A:1"), ("origin", "https://a:1")], true),
            ("POST", &[("origin", "https://a:1")], false),
        ];
        for (method, headers, expected) in rows {
            let mut all = HeaderMap::new();
            headers.iter().for_each(|(name, value)| drop(all.insert(*name, value.parse().unwrap())));
            assert_eq!(is_from_own_page(&method.parse().unwrap(), &all), *expected, "{method} {headers:?}");
        }
    }
}

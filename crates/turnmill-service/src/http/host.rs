//! Parses the `Host` header, and decides whether it names this machine.

use std::net::{IpAddr, Ipv6Addr};

/// Returns the name or address in a well-formed `Host` without its port, or `None` if it is
/// malformed.
///
/// Strict parsing matters: turnmill and a proxy could take `[::1]evil.example` or
/// `localhost:x@evil` for different hosts.
pub(super) fn host(value: &str) -> Option<&str> {
    let is_port = |port: &str| {
        port.is_empty() || (port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok())
    };
    if let Some(rest) = value.strip_prefix('[') {
        let (v6, rest) = rest.split_once(']')?;
        let port = if rest.is_empty() { "" } else { rest.strip_prefix(':')? };
        return (v6.parse::<Ipv6Addr>().is_ok() && is_port(port)).then_some(v6);
    }
    let (name, port) = value.split_once(':').unwrap_or((value, ""));
    // RFC 3986, `reg-name`. It allows the underscore, which Docker Compose and Kubernetes use in
    // names.
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=%".contains(c);
    (name.chars().all(is_name) && is_port(port)).then_some(name)
}

/// Returns whether a name or address from a `Host` names this machine.
pub(super) fn is_this_machine(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_and_a_port() {
        for (value, name, here) in [
            ("localhost", "localhost", true),
            ("LOCALHOST:8732", "LOCALHOST", true),
            ("localhost:", "localhost", true),
            ("127.0.0.1:8732", "127.0.0.1", true),
            ("127.1.2.3", "127.1.2.3", true),
            ("[::1]", "::1", true),
            ("[::1]:8732", "::1", true),
            ("[::ffff:127.0.0.1]:8732", "::ffff:127.0.0.1", true),
            ("analytics_db.svc:8732", "analytics_db.svc", false),
            ("evil.example", "evil.example", false),
            ("10.0.0.9:80", "10.0.0.9", false),
            ("localhost.evil.example", "localhost.evil.example", false),
            ("", "", false),
        ] {
            assert_eq!(host(value), Some(name), "{value}");
            assert_eq!(is_this_machine(name), here, "{value}");
        }
        for value in [
            "[::1]evil.example",
            "[::1]:80evil",
            "[::1",
            "[localhost]",
            "localhost:x@evil",
            "localhost:80@evil",
            "user@localhost",
            "localhost:99999",
            "localhost:-1",
            "localhost:+80",
            "localhost:80:80",
            "localhost/evil",
            "localhost evil",
            "http://localhost",
            "::1",
        ] {
            assert_eq!(host(value), None, "{value}");
        }
    }
}

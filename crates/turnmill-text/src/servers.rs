//! Checks of server names: a single host, and Kafka's list of brokers.

use std::net::Ipv6Addr;

/// Why a text is not a server's name. It does not repeat the text, which may contain a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerProblem {
    /// The text, or a part between two commas, is empty.
    Empty,
    /// A user or a password precedes the host.
    Login,
    /// The scheme is not one of brokers.
    Scheme,
    /// The port is not a number from 1 to 65535.
    Port,
    /// The host has invalid characters.
    Host,
}

impl std::fmt::Display for ServerProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "an address is empty",
            Self::Login => {
                "an address has an `@`: set user and password with `KAFKA_SASL_USERNAME` and \
                 `KAFKA_SASL_PASSWORD`"
            }
            Self::Scheme => "an address begins with a scheme that brokers do not have",
            Self::Port => "an address has a port that is no number from 1 to 65535",
            Self::Host => "an address has a host that is no name",
        })
    }
}

/// Checks Kafka's list of brokers, separated by commas: `host`, `host:port` or `[v6]:port`, each
/// also as `SASL_SSL://host:port`.
///
/// ```
/// use turnmill_text::{ServerProblem, check_brokers};
/// assert_eq!(check_brokers("kafka-1:9092, kafka-2"), Ok(()));
/// assert_eq!(check_brokers("rasa:secret@kafka:9092"), Err(ServerProblem::Login));
/// assert_eq!(check_brokers("rasa:secret"), Err(ServerProblem::Port));
/// ```
///
/// # Errors
///
/// The problem of the first invalid address.
pub fn check_brokers(text: &str) -> Result<(), ServerProblem> {
    text.split(',').map(str::trim).try_for_each(|broker| {
        if broker.contains('@') {
            return Err(ServerProblem::Login);
        }
        let address = match broker.split_once("://") {
            Some((scheme, address)) => {
                let known = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];
                let is_known = known.iter().any(|known| known.eq_ignore_ascii_case(scheme));
                is_known.then_some(address).ok_or(ServerProblem::Scheme)?
            }
            None => broker,
        };
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
            _ => (address, None),
        };
        if port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
            return Err(ServerProblem::Port);
        }
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        check_host(host)
    })
}

/// Checks the name of one host: a name, an IP address, or the folder of a Unix socket.
///
/// # Errors
///
/// The problem of the name.
pub fn check_host(host: &str) -> Result<(), ServerProblem> {
    let is_name = |c: char| c.is_alphanumeric() || "._-".contains(c);
    match host {
        "" => Err(ServerProblem::Empty),
        host if host.contains('@') => Err(ServerProblem::Login),
        host if host.starts_with('/') => Ok(()),
        host if host.split('%').next().is_some_and(|v6| v6.parse::<Ipv6Addr>().is_ok()) => Ok(()),
        host if host.contains(':') => Err(ServerProblem::Port),
        host if host.chars().all(is_name) => Ok(()),
        _ => Err(ServerProblem::Host),
    }
}

//! Names of servers: a host by itself, and Kafka's list of brokers.

use std::net::Ipv6Addr;

/// Why a text names no server. It does not repeat the text, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerProblem {
    /// There is nothing between two commas, or nothing at all.
    Empty,
    /// A user or a password stands in front of the host.
    Login,
    /// It begins like a URL of something else.
    Scheme,
    /// The port is no number from 1 to 65535.
    Port,
    /// The host has characters that no host has.
    Host,
}

impl std::fmt::Display for ServerProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "an address is empty",
            Self::Login => "an address has an `@`: user and password belong into `KAFKA_SASL_USERNAME` and `KAFKA_SASL_PASSWORD`",
            Self::Scheme => "an address begins with a scheme that brokers do not have",
            Self::Port => "an address has a port that is no number from 1 to 65535",
            Self::Host => "an address has a host that is no name",
        })
    }
}

/// Checks Kafka's list of brokers: `host`, `host:port`, `[v6]:port`, each also as `SASL_SSL://host:port`, separated by commas.
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
/// What is wrong with the first address that cannot be one.
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

/// Checks the name of one host: a name, an address, or the folder of a Unix socket.
///
/// # Errors
///
/// What is wrong with it.
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

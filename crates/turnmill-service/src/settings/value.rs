//! Parses the text of a setting by its type. Messages never repeat a secret.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use turnmill_analytics::Zone;
use turnmill_text::{Secret, check_brokers, escaped, redact};

use super::properties::properties;
use super::table::Kind;

/// A parsed value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Secret(Secret),
    Switch(bool),
    Integer(u64),
    Duration(Duration),
    Share(f64),
    Choice(&'static str),
    Address(SocketAddr),
    Properties(Vec<(String, Secret)>),
}

impl Value {
    /// Parses `text`. The error says what was expected.
    pub(crate) fn read(kind: Kind, text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        match kind {
            Kind::Text | Kind::Path | Kind::Names => Ok(Self::Text(trimmed.to_owned())),
            Kind::Brokers => brokers(trimmed).map(Self::Text),
            // Blanks may belong to a password. A line break at the end comes from a mounted file
            // and never does.
            Kind::Secret => Ok(Self::Secret(Secret::new(text.trim_end_matches(['\r', '\n'])))),
            Kind::DatabaseUrl => Ok(Self::Secret(Secret::new(trimmed))),
            Kind::Switch => switch(trimmed).map(Self::Switch),
            Kind::Integer(least, most) => integer(trimmed, least, most, "a whole number").map(Self::Integer),
            Kind::Millis(least, most) => integer(trimmed, least, most, "whole milliseconds")
                .map(|millis| Self::Duration(Duration::from_millis(millis))),
            Kind::Seconds(least, most) => integer(trimmed, least, most, "whole seconds")
                .map(|seconds| Self::Duration(Duration::from_secs(seconds))),
            Kind::Bytes(least) => bytes(trimmed, least).map(Self::Integer),
            Kind::Share => share(trimmed).map(Self::Share),
            Kind::Choice(names) => choice(trimmed, names).map(Self::Choice),
            Kind::TimeZone => match trimmed.parse::<Zone>() {
                Ok(zone) => Ok(Self::Text(zone.to_string())),
                Err(_) => Err(format!(
                    "expected a time zone such as Europe/Berlin or UTC, found `{}`",
                    shown(trimmed)
                )),
            },
            Kind::Address => address(trimmed).map(Self::Address),
            Kind::Properties => properties(trimmed).map(Self::Properties),
        }
    }
}

/// Returns `text` for an error message, redacted, because a secret may have been put into the wrong
/// setting.
fn shown(text: &str) -> String {
    escaped(&redact(text)).to_string()
}

/// Default port of Kafka brokers.
const KAFKA_PORT: u16 = 9092;

/// Normalises broker addresses: no blanks, each with a port, IPv6 in brackets.
fn brokers(text: &str) -> Result<String, String> {
    let addresses = text.split(',').map(str::trim).filter(|address| !address.is_empty());
    let addresses: Vec<String> = addresses.map(broker).collect::<Result<_, _>>()?;
    if addresses.is_empty() {
        return Err("expected host:port[,host:port]".into());
    }
    Ok(addresses.join(","))
}

fn broker(address: &str) -> Result<String, String> {
    // The text may hold a password, so the message does not repeat it.
    check_brokers(address).map_err(|problem| format!("{problem}; expected host:port[,host:port]"))?;
    let wrong = || "expected host:port[,host:port]".to_owned();
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest.trim_end_matches('/')),
        None => (String::new(), address),
    };
    if rest.parse::<Ipv6Addr>().is_ok() {
        return Ok(format!("{scheme}[{rest}]:{KAFKA_PORT}"));
    }
    let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) if host.parse::<Ipv6Addr>().is_ok() => {
            (format!("[{host}]"), port.strip_prefix(':').or(port.is_empty().then_some("")).ok_or_else(wrong)?)
        }
        Some(_) => return Err(wrong()),
        None => match rest.split_once(':') {
            Some((host, port)) => {
                (host.to_owned(), Some(port).filter(|port| !port.is_empty()).ok_or_else(wrong)?)
            }
            None => (rest.to_owned(), ""),
        },
    };
    let is_host = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':');
    if host.is_empty() || !host.chars().all(is_host) {
        return Err(wrong());
    }
    let port = if port.is_empty() { Ok(KAFKA_PORT) } else { port.parse::<u16>() };
    match port {
        Ok(port) if port > 0 => Ok(format!("{scheme}{host}:{port}")),
        _ => Err(wrong()),
    }
}

fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(format!("expected true or false, found `{}`", shown(text))),
    }
}

fn integer(text: &str, least: u64, most: u64, what: &str) -> Result<u64, String> {
    let range = if most == u64::MAX { format!("{least} or more") } else { format!("{least} to {most}") };
    match text.replace('_', "").parse::<u64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("expected {what}, {range}, found `{}`", shown(text))),
    }
}

fn bytes(text: &str, least: u64) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let shift = match text[digits.len()..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => Some(0),
        "k" | "kib" => Some(10),
        "m" | "mib" => Some(20),
        "g" | "gib" => Some(30),
        _ => None,
    };
    let number = digits.replace('_', "").parse::<u64>().ok();
    shift
        .zip(number)
        .and_then(|(shift, number)| number.checked_mul(1 << shift))
        .filter(|bytes| (least..=1 << 48).contains(bytes))
        .ok_or_else(|| {
            format!("expected bytes, {least} or more, such as 65536 or 64MiB, found `{}`", shown(text))
        })
}

fn share(text: &str) -> Result<f64, String> {
    let (digits, of) = text.strip_suffix('%').map_or((text, 1.0), |digits| (digits, 100.0));
    match digits.trim().parse::<f64>() {
        Ok(share) if (0.0..=of).contains(&share) => Ok(share / of),
        _ => Err(format!("expected a share from 0 to 1 or 0% to 100%, found `{}`", shown(text))),
    }
}

/// Names that are read, so that a sentence of their own can say that they are not supported.
const UNSUPPORTED: &[&str] = &["GSSAPI", "OAUTHBEARER", "AWS_MSK_IAM"];

fn choice(text: &str, names: &'static [&'static str]) -> Result<&'static str, String> {
    let upper = text.to_ascii_uppercase();
    // Most loggers call this level WARN.
    let canonical = if names.contains(&"WARNING") && upper == "WARN" { "WARNING" } else { &upper };
    names.iter().find(|name| name.eq_ignore_ascii_case(canonical)).copied().ok_or_else(|| {
        // Some names are known only to be refused with a reason.
        let accepted: Vec<&str> = names.iter().copied().filter(|name| !UNSUPPORTED.contains(name)).collect();
        format!("expected one of {}, found `{}`", accepted.join(", "), shown(text))
    })
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let port = |rest: &str| rest.parse::<u16>().ok();
    if let Some(port) = text.strip_prefix("localhost:").and_then(port) {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    if let Some(port) = text.strip_prefix(':').and_then(port) {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port));
    }
    text.parse()
        .map_err(|_| format!("expected an address and port such as 0.0.0.0:8732, found `{}`", shown(text)))
}

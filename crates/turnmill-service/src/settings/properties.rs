//! librdkafka properties given by the user: parsing, refusing, printing.

use turnmill_text::{HIDDEN, Secret, escaped, redact};

/// librdkafka properties that the service sets itself, with the setting to use instead or the
/// reason.
const RESERVED: [(&str, &str); 8] = [
    ("bootstrap.servers", "KAFKA_BROKER_ADDRESS sets it"),
    ("metadata.broker.list", "KAFKA_BROKER_ADDRESS sets it"),
    ("group.id", "RASA_ANALYTICS_CONSUMER_ID sets it"),
    ("group.instance.id", "TURNMILL_KAFKA_GROUP_INSTANCE_ID sets it"),
    ("enable.auto.commit", "offsets are committed in the store"),
    ("enable.auto.offset.store", "offsets are committed in the store"),
    ("auto.offset.reset", "the start offset comes from the store"),
    ("enable.partition.eof", "turnmill relies on its value"),
];

pub(crate) fn properties(text: &str) -> Result<Vec<(String, Secret)>, String> {
    let mut found: Vec<(String, Secret)> = Vec::new();
    for part in text.split(',').filter(|part| !part.trim().is_empty()) {
        // The part may be half of a secret that contains a comma, so the message does not repeat
        // it.
        let Some((name, value)) = part.split_once('=') else {
            return Err("expected comma-separated name=value pairs; one of them has no `=`".into());
        };
        found.push((name.trim().to_owned(), Secret::new(value.trim())));
    }
    check_properties(&found)?;
    Ok(found)
}

/// Refuses malformed names, duplicates, and properties that the service sets itself.
pub(crate) fn check_properties(properties: &[(String, Secret)]) -> Result<(), String> {
    for (number, (name, _)) in properties.iter().enumerate() {
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
        {
            return Err("invalid property name: use letters, digits, `.`, `_` and `-`".into());
        }
        if let Some((_, why)) = RESERVED.iter().find(|(reserved, _)| reserved == name) {
            return Err(format!("`{name}` cannot be set here: {why}"));
        }
        if properties[..number].iter().any(|(earlier, _)| earlier == name) {
            return Err(format!("`{name}` is set twice"));
        }
    }
    Ok(())
}

/// Prints properties; values that may be secret are hidden.
pub(crate) fn print_properties(properties: &[(String, Secret)]) -> String {
    let print = |(name, value): &(String, Secret)| {
        let is_shown = SHOWN.contains(&name.as_str());
        // An address in the wrong place is an address.
        let shown = || escaped(&redact(value.expose())).to_string();
        format!("{name}={}", if is_shown { shown() } else { HIDDEN.to_owned() })
    };
    properties.iter().map(print).collect::<Vec<_>>().join(",")
}

/// Returns whether a key of this name may hold a secret.
pub(crate) fn is_sensitive(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["pass", "secret", "token", "credential", "jaas", "pem", "key"].iter().any(|word| name.contains(word))
}

/// Properties whose values are printed; all other values are hidden.
///
/// A list of secret properties would not do: a password under a mistyped name would be printed.
const SHOWN: &[&str] = &[
    "allow.auto.create.topics",
    "api.version.fallback.ms",
    "api.version.request",
    "api.version.request.timeout.ms",
    "batch.num.messages",
    "batch.size",
    "broker.address.family",
    "broker.address.ttl",
    "broker.version.fallback",
    "builtin.features",
    "check.crcs",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "compression.codec",
    "compression.level",
    "compression.type",
    "connections.max.idle.ms",
    "consume.callback.max.messages",
    "coordinator.query.interval.ms",
    "debug",
    "delivery.timeout.ms",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "enable.random.seed",
    "enable.sparse.connections",
    "enable.ssl.certificate.verification",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "group.protocol",
    "group.protocol.type",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "isolation.level",
    "linger.ms",
    "log.connection.close",
    "log.queue",
    "log.thread.name",
    "log_level",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "message.copy.max.bytes",
    "message.max.bytes",
    "message.send.max.retries",
    "message.timeout.ms",
    "metadata.max.age.ms",
    "metadata.recovery.strategy",
    "partition.assignment.strategy",
    "partitioner",
    "queue.buffering.backpressure.threshold",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queue.buffering.max.ms",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "receive.message.max.bytes",
    "reconnect.backoff.jitter.ms",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.required.acks",
    "request.timeout.ms",
    "resolve.canonical.bootstrap.servers.only",
    "retries",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "sasl.kerberos.service.name",
    "sasl.mechanism",
    "sasl.mechanisms",
    "security.protocol",
    "session.timeout.ms",
    "socket.blocking.max.ms",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.max.fails",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.timeout.ms",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.cipher.suites",
    "ssl.crl.location",
    "ssl.curves.list",
    "ssl.endpoint.identification.algorithm",
    "ssl.key.location",
    "ssl.keystore.location",
    "ssl.sigalgs.list",
    "statistics.interval.ms",
    "sticky.partitioning.linger.ms",
    "topic.blacklist",
    "topic.metadata.propagation.max.ms",
    "topic.metadata.refresh.fast.interval.ms",
    "topic.metadata.refresh.interval.ms",
    "topic.metadata.refresh.sparse",
    "transaction.timeout.ms",
];

//! The settings of a broker.

use std::path::Path;

use super::{Listener, PASSWORD, USER};

/// The file in a broker's folder with its key and certificate.
pub(super) const KEYSTORE: &str = "server.pem";

const CONTROLLER: &str = "CONTROLLER";

/// Where clients find a listener.
pub(super) fn host(listener: Listener) -> &'static str {
    if listener.has_tls() { "localhost" } else { "127.0.0.1" }
}

/// A broker's `server.properties`; of two values for a name, Kafka takes the last.
pub(super) fn text(
    place: &Path,
    ports: &[(Listener, u16)],
    controller: u16,
    settings: &[(String, String)],
) -> String {
    let place = place.display();
    let each = |show: &dyn Fn(Listener, u16) -> String| {
        ports.iter().map(|(listener, port)| show(*listener, *port)).collect::<Vec<_>>().join(",")
    };
    let listeners = each(&|listener, port| format!("{}://127.0.0.1:{port}", listener.name()));
    let advertised = each(&|listener, port| format!("{}://{}:{port}", listener.name(), host(listener)));
    let protocols = each(&|listener, _| format!("{}:{}", listener.name(), listener.protocol()));
    let mut lines = Vec::new();
    let mut set = |name: &str, value: &str| lines.push(format!("{name}={value}"));
    set("process.roles", "broker,controller");
    set("node.id", "1");
    set("controller.quorum.bootstrap.servers", &format!("127.0.0.1:{controller}"));
    set("controller.listener.names", CONTROLLER);
    set("listeners", &format!("{listeners},{CONTROLLER}://127.0.0.1:{controller}"));
    set("advertised.listeners", &advertised);
    set("listener.security.protocol.map", &format!("{protocols},{CONTROLLER}:PLAINTEXT"));
    set("inter.broker.listener.name", Listener::Plaintext.name());
    set("log.dirs", &format!("{place}/data"));
    // One broker holds everything, and few consumers use it.
    for topic in ["offsets.topic", "transaction.state.log", "share.coordinator.state.topic"] {
        set(&format!("{topic}.replication.factor"), "1");
        set(&format!("{topic}.num.partitions"), "3");
        if topic != "offsets.topic" {
            set(&format!("{topic}.min.isr"), "1");
        }
    }
    set("default.replication.factor", "1");
    set("auto.create.topics.enable", "false");
    // Records may be of the day of a capture, however long ago, and of days to come.
    set("log.retention.ms", "-1");
    set("log.message.timestamp.after.max.ms", "9223372036854775807");
    // Tests are in a hurry: no waiting for further members of a group, sessions as short as tests need, and soon back
    // after a kill. A cluster accepts a broker only after the session has ended that it had before.
    set("group.initial.rebalance.delay.ms", "0");
    set("group.min.session.timeout.ms", "1000");
    set("broker.heartbeat.interval.ms", "500");
    set("broker.session.timeout.ms", "3000");
    for (listener, _) in ports {
        let prefix = format!("listener.name.{}", listener.name().to_lowercase());
        if listener.has_tls() {
            set(&format!("{prefix}.ssl.keystore.type"), "PEM");
            set(&format!("{prefix}.ssl.keystore.location"), &format!("{place}/{KEYSTORE}"));
            set(&format!("{prefix}.ssl.truststore.type"), "PEM");
            set(&format!("{prefix}.ssl.truststore.location"), &format!("{place}/ca.pem"));
            let client = if *listener == Listener::MutualSsl { "required" } else { "none" };
            set(&format!("{prefix}.ssl.client.auth"), client);
        }
        if listener.has_sasl() {
            set(&format!("{prefix}.sasl.enabled.mechanisms"), "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512");
            let module = "org.apache.kafka.common.security";
            let plain = format!("{module}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";");
            set(&format!("{prefix}.plain.sasl.jaas.config"), &plain);
            for mechanism in ["scram-sha-256", "scram-sha-512"] {
                let scram = format!("{module}.scram.ScramLoginModule required;");
                set(&format!("{prefix}.{mechanism}.sasl.jaas.config"), &scram);
            }
        }
    }
    for (name, value) in settings {
        set(name, value);
    }
    lines.push(String::new());
    lines.join("\n")
}

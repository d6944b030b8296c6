//! The settings of a broker.

use std::path::Path;

use super::{Listener, PASSWORD, USER};

/// The file with the key and the certificate in a broker's folder.
pub(super) const KEYSTORE: &str = "server.pem";

const CONTROLLER: &str = "CONTROLLER";

/// Returns the host of a listener for clients.
pub(super) fn host(listener: Listener) -> &'static str {
    if listener.has_tls() { "localhost" } else { "127.0.0.1" }
}

/// Returns a broker's `server.properties`. If a name occurs twice, Kafka uses the last value.
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
    // There is one broker, and few consumers use it.
    for topic in ["offsets.topic", "transaction.state.log", "share.coordinator.state.topic"] {
        set(&format!("{topic}.replication.factor"), "1");
        set(&format!("{topic}.num.partitions"), "3");
        if topic != "offsets.topic" {
            set(&format!("{topic}.min.isr"), "1");
        }
    }
    set("default.replication.factor", "1");
    set("auto.create.topics.enable", "false");
    // Keep records of any time: captures are old, and some tests write future times.
    set("log.retention.ms", "-1");
    set("log.message.timestamp.after.max.ms", "9223372036854775807");
    // Keep tests fast: no wait for more members of a group, short sessions, and a quick restart
    // after a kill. A cluster accepts a broker only after its previous session has ended.
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

//! Tests of encryption and log-in, on both sides.

use turnmill_source_kafka::{KafkaSettings, SaslMechanism, SecurityProtocol};
use turnmill_testbed::kafka::{self, Broker, Listener};
use turnmill_testbed::{or_skip, postgres};

use crate::support::{Service, Topic, capture, ran, turnmill, variables, verify, wait_until_read};

#[test]
fn sasl_ssl_and_verify_full() {
    let options = kafka::Options { listeners: vec![Listener::SaslSsl], ..kafka::Options::default() };
    let Some(broker) = or_skip(Broker::start(&options)) else { return };
    let options = postgres::Options { access: postgres::Access::TlsOnly, ..postgres::Options::default() };
    let Some(server) = or_skip(postgres::Server::start(&options)) else { return };
    let (kafka_ca, postgres_ca) = (&broker.tls().unwrap().ca, &server.tls().unwrap().ca);

    broker.create_topic("events", 2, &[]);
    broker.create_topic("rasa-analytics-dlq", 1, &[]);
    let mut client = KafkaSettings::new(broker.bootstrap_of(Listener::SaslSsl));
    client.security_protocol = SecurityProtocol::SaslSsl;
    client.sasl_mechanism = SaslMechanism::ScramSha512;
    client.sasl_username = Some(kafka::USER.into());
    client.sasl_password = Some(kafka::PASSWORD.into());
    client.ssl_ca_location = Some(kafka_ca.clone());
    let mut topic = Topic::with(&client, "events");
    topic.produce(&capture("partition-by-sender-true.jsonl.gz")[..500]);

    let store = format!(
        "{}?sslmode=verify-full&sslrootcert={}",
        server.create_database("rasa"),
        postgres_ca.display()
    );
    let mut settings = variables(&topic, &store);
    for (name, value) in [
        ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
        ("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512"),
        ("KAFKA_SASL_USERNAME", kafka::USER),
        ("KAFKA_SASL_PASSWORD", kafka::PASSWORD),
        ("KAFKA_SSL_CA_LOCATION", kafka_ca.to_str().unwrap()),
        ("RASA_ANALYTICS_DLQ", "rasa-analytics-dlq"),
    ] {
        settings.push((name.into(), value.into()));
    }
    let mut check = turnmill(&["check", "--connect"]);
    check.envs(settings.iter().cloned());
    let text = String::from_utf8(ran(check, 0).stdout).unwrap();
    assert!(text.contains("reachable, connection encrypted"), "{text}");

    let mut service = Service::start(&settings);
    wait_until_read(&store, &topic, &mut service);
    service
        .wait("the dead-letter topic is found", |service| service.said("sending dead letters to the topic"));
    service.stop();
    assert!(!service.said(kafka::PASSWORD), "{}", service.log());
    assert_eq!(verify(&store)["tables"], topic.expected());

    // A setting names the file with the authorities that the system trusts.
    let by_system = format!("{}?sslmode=verify-full&sslrootcert=system", server.url_of("rasa"));
    for (authorities, code, expected) in [
        (&server.tls().unwrap().ca, 0, "reachable, connection encrypted"),
        (&server.tls().unwrap().stranger_ca, 1, "PROBLEM  RASA_ANALYTICS_DB"),
    ] {
        let mut check = turnmill(&["check", "--connect"]);
        check.envs(settings.iter().cloned());
        check.env("RASA_ANALYTICS_DB_URL", &by_system).env("SSL_CERT_FILE", authorities);
        let text = String::from_utf8(ran(check, code).stdout).unwrap();
        assert!(text.contains(expected), "{text}");
    }

    // A server without a trusted certificate is refused.
    let stranger = server.tls().unwrap().stranger_ca.display().to_string();
    let untrusted = store.replace(&postgres_ca.display().to_string(), &stranger);
    let mut check = turnmill(&["check", "--connect"]);
    check.envs(settings.iter().cloned()).env("RASA_ANALYTICS_DB_URL", untrusted);
    let text = String::from_utf8(ran(check, 1).stdout).unwrap();
    assert!(text.contains("PROBLEM  RASA_ANALYTICS_DB"), "{text}");
}

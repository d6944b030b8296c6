//! The assistant's `endpoints.yml`.

use turnmill_service::settings::{SecurityProtocol, SettingId};

use crate::support::Case;

fn endpoints(text: &str) -> Case {
    Case::minimal()
        .without("KAFKA_BROKER_ADDRESS")
        .variable("TURNMILL_ENDPOINTS", "endpoints.yml")
        .variable("KAFKA_PASSWORD", "from-the-environment")
        .file("endpoints.yml", text)
}

const FULL: &str = "
action_endpoint:
  url: http://actions:5055/webhook
event_broker:
  type: Kafka
  partition_by_sender: True
  topic: rasa-events
  security_protocol: SASL_SSL
  sasl_mechanism: SCRAM-SHA-256
  sasl_username: 0123
  sasl_password: ${KAFKA_PASSWORD}-and-more
  ssl_cafile: /ca.pem
  client_id: ~
  url:
    - one:9092
    - two:9092
";

#[test]
fn broker_topic_and_security_are_the_assistants() {
    let case = endpoints(FULL);
    let kafka = case.load().unwrap().settings.kafka;
    assert_eq!(kafka.brokers, "one:9092,two:9092");
    assert_eq!(kafka.topic, "rasa-events");
    assert_eq!((kafka.security_protocol, kafka.sasl_mechanism), (SecurityProtocol::SaslSsl, "SCRAM-SHA-256"));
    // YAML would read it as a number.
    assert_eq!(kafka.sasl_username.as_deref(), Some("0123"));
    assert_eq!(kafka.sasl_password.unwrap().expose(), "from-the-environment-and-more");
    assert_eq!(kafka.ssl_ca.as_deref(), Some("/ca.pem".as_ref()));
    assert_eq!(case.shown(SettingId::Topic), ("rasa-events".into(), "endpoints.yml:7".into()));
    assert!(case.notes("TURNMILL_ENDPOINTS").is_empty());
    // Rasa loads its own classes by their full names as well.
    let named = FULL.replace("type: Kafka", "type: rasa.core.brokers.kafka.KafkaEventBroker");
    assert_eq!(endpoints(&named).load().unwrap().settings.kafka.brokers, "one:9092,two:9092");
}

#[test]
fn file_environment_and_flags_win_over_it() {
    let case = endpoints(FULL).file("turnmill.toml", "[kafka]\ntopic = \"file\"\n");
    assert_eq!(case.shown(SettingId::Topic).0, "file");
    let case = case.variable("KAFKA_TOPIC", "variable");
    assert_eq!(case.shown(SettingId::Topic).0, "variable");
    assert_eq!(case.flag(SettingId::Topic, "flag").shown(SettingId::Topic).0, "flag");
}

#[test]
fn it_may_be_named_by_the_settings_file() {
    let case = endpoints(FULL)
        .without("TURNMILL_ENDPOINTS")
        .file("turnmill.toml", "endpoints = \"endpoints.yml\"\n");
    assert_eq!(case.shown(SettingId::Topic).0, "rasa-events");
}

#[test]
fn rasas_default_protocol_is_not_librdkafkas() {
    let case = endpoints("event_broker: {type: kafka, url: 'kafka:9092'}\n");
    let error = case.error();
    assert!(
        error.contains("KAFKA_SASL_USERNAME")
            && error.contains(
                "SASL_PLAINTEXT (endpoints.yml:1, Rasa's default for a missing `security_protocol`)"
            ),
        "{error}"
    );
    let case = case.variable("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT");
    assert_eq!(case.load().unwrap().settings.kafka.topic, "rasa_core_events");
    assert!(case.notes("TURNMILL_ENDPOINTS")[0].contains("partition_by_sender"));
}

#[test]
fn topics_of_anonymised_copies_are_named_and_one_has_to_be_chosen() {
    let broker = "event_broker:\n  type: kafka\n  url: kafka\n  security_protocol: PLAINTEXT\n";
    let topics =
        "  anonymization_topics:\n    - name: topic_1\n      anonymization_rules: r\n    - name: topic_2\n";
    let silent = endpoints(&format!("{broker}{topics}"));
    let error = silent.error();
    for part in [
        "endpoints.yml:5: ",
        "anonymization_topics are `topic_1`, `topic_2`",
        "KAFKA_TOPIC",
        "rasa_core_events",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    for chosen in
        [silent.variable("KAFKA_TOPIC", "topic_2"), endpoints(&format!("{broker}  topic: plain\n{topics}"))]
    {
        let loaded = chosen.load().unwrap();
        assert_eq!(loaded.anonymization_topics, ["topic_1", "topic_2"]);
        let notes = chosen.notes("TURNMILL_ENDPOINTS");
        assert!(notes.iter().any(|note| note.contains("`topic_1`, `topic_2`; KAFKA_TOPIC")), "{notes:?}");
    }
    for none in ["", "  anonymization_topics: []\n", "  anonymization_topics: ~\n"] {
        assert!(endpoints(&format!("{broker}{none}")).load().unwrap().anonymization_topics.is_empty());
    }
}

#[test]
fn what_cannot_be_read_is_said_with_its_line() {
    for (text, part) in [
        ("event_broker:\n  type: file\n", "endpoints.yml:1: the event broker has type `file`"),
        (
            "event_broker:\n  url: rabbit\n",
            "has type `pika`, but the service reads from `kafka` only: RabbitMQ is not supported",
        ),
        ("event_broker:\n  type: rasa.core.brokers.pika.PikaEventBroker\n", "RabbitMQ is not supported"),
        ("event_broker:\n  type: my.own.Broker\n", "set KAFKA_BROKER_ADDRESS and KAFKA_TOPIC"),
        ("event_broker:\n  type: nats\n", "this type is not supported"),
        ("action_endpoint: {}\n", "no `event_broker` found"),
        ("", "no `event_broker` found"),
        (
            "event_broker:\n  type: kafka\n  url: ${NO_SUCH}\n",
            "endpoints.yml:3: event_broker.url: variable NO_SUCH is not set",
        ),
        (
            "event_broker:\n  type: kafka\n  topic: {a: b}\n",
            "endpoints.yml:3: event_broker.topic: expected text",
        ),
        (
            "event_broker:\n  type: kafka\n  security_protocol: TLS\n",
            "endpoints.yml:3: KAFKA_SECURITY_PROTOCOL (from event_broker): expected one of",
        ),
        ("event_broker: [\n", "invalid YAML"),
    ] {
        let error = endpoints(text).error();
        assert!(error.contains(part), "{part}\nis not in\n{error}");
    }
    let mechanism = Case::minimal().variable("KAFKA_SASL_MECHANISM", "SCRAM-SHA-1").error();
    assert!(mechanism.contains("one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, found"), "{mechanism}");
    let error = endpoints("").variable("TURNMILL_ENDPOINTS", "gone.yml").error();
    assert!(error.contains("TURNMILL_ENDPOINTS: cannot read gone.yml"), "{error}");
}

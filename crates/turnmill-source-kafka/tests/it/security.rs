//! Every way to log in, end to end.

use std::time::{Duration, Instant};

use turnmill_source::{GroupSource, RecordBatch};
use turnmill_source_kafka::{
    KafkaError, KafkaGroup, KafkaSettings, SaslMechanism, SecurityProtocol, check_connectivity,
};
use turnmill_testbed::kafka::{self, Broker, Listener, Options};
use turnmill_testbed::or_skip;

use crate::reader::{LIMITS, Reader, Stored, names, settings, write};

fn through(broker: &Broker, listener: Listener, topic: &str) -> KafkaSettings {
    let mut settings = settings(&broker.bootstrap_of(listener), topic);
    settings.security_protocol = listener.protocol().parse().unwrap();
    if matches!(listener, Listener::SaslPlaintext | Listener::SaslSsl) {
        settings.sasl_username = Some(kafka::USER.into());
        settings.sasl_password = Some(kafka::PASSWORD.into());
    }
    if let (true, Some(tls)) = (listener.protocol().ends_with("SSL"), broker.tls()) {
        settings.ssl_ca_location = Some(tls.ca.clone());
    }
    settings
}

fn round_trip(settings: &KafkaSettings) {
    let found = check_connectivity(settings, &["absent"], Duration::from_secs(20)).unwrap();
    assert_eq!(found.topics.iter().map(|topic| topic.partitions).collect::<Vec<_>>(), [Some(1), None]);
    write(settings, None, &names("r", 0..5));
    let mut reader = Reader::new(settings, Stored::new());
    reader.until_count(5);
}

/// Checks the connection, with as short a limit as a user may set, until the error says why.
///
/// On a busy machine the first attempts end before the handshake does.
fn unreachable(settings: &KafkaSettings, why: &str) {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let error = check_connectivity(settings, &[], Duration::from_secs(2)).unwrap_err();
        assert!(matches!(error, KafkaError::Unreachable { .. }), "{error}");
        let text = error.to_string().to_lowercase();
        if text.contains(why) {
            return;
        }
        assert!(text.contains("no answer") && Instant::now() < end, "{error}");
    }
}

#[test]
fn every_listener_and_mechanism_works_and_wrong_ones_are_explained() {
    let listeners = vec![Listener::Ssl, Listener::MutualSsl, Listener::SaslPlaintext, Listener::SaslSsl];
    let options = Options { listeners, ..Options::default() };
    let Some(broker) = or_skip(Broker::start(&options)) else { return };
    let topic = |name: &str| {
        broker.create_topic(name, 1, &[]);
        name.to_owned()
    };
    round_trip(&through(&broker, Listener::Plaintext, &topic("plaintext")));
    round_trip(&through(&broker, Listener::Ssl, &topic("ssl")));

    let mut mutual = through(&broker, Listener::MutualSsl, &topic("mutual"));
    let tls = broker.tls().unwrap();
    mutual.ssl_certfile_location = Some(tls.client_certificate.clone());
    mutual.ssl_keyfile_location = Some(tls.client_key.clone());
    round_trip(&mutual);
    (mutual.ssl_certfile_location, mutual.ssl_keyfile_location) = (None, None);
    unreachable(&mutual, "ssl");

    for listener in [Listener::SaslPlaintext, Listener::SaslSsl] {
        for mechanism in [SaslMechanism::Plain, SaslMechanism::ScramSha256, SaslMechanism::ScramSha512] {
            let name = topic(&format!("{}-{}", listener.protocol(), mechanism.as_str()));
            let mut settings = through(&broker, listener, &name);
            settings.sasl_mechanism = mechanism;
            round_trip(&settings);

            settings.sasl_password = Some("wrong".into());
            let error = check_connectivity(&settings, &[], Duration::from_secs(20)).unwrap_err();
            assert!(matches!(error, KafkaError::Refused { .. }), "{error}");
            assert!(error.to_string().contains("KAFKA_SASL_PASSWORD"), "{error}");
            let mut group = KafkaGroup::start(&settings).unwrap();
            let error = loop {
                if let Err(error) = group.next(&LIMITS, &mut RecordBatch::new()) {
                    break error;
                }
            };
            assert!(!format!("{error:?} {settings:?}").contains("wrong"), "the password is not told");
        }
    }
    let mut stranger = through(&broker, Listener::Ssl, "ssl");
    stranger.ssl_ca_location = Some(tls.stranger_ca.clone());
    unreachable(&stranger, "certificate");
    assert_eq!(stranger.security_protocol, SecurityProtocol::Ssl);
}

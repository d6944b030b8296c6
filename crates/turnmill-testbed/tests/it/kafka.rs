//! Kafka starts, keeps its topics, and has the listeners that were asked for.

use std::io::{Read, Write};
use std::net::TcpStream;

use turnmill_testbed::kafka::{Broker, Listener, Options, PASSWORD, USER, shared, topic};
use turnmill_testbed::or_skip;

/// Sends a request with this number and version of Kafka's protocol, and returns the answer.
fn ask(stream: &mut (impl Read + Write), api: i16, version: i16, body: &[u8]) -> std::io::Result<Vec<u8>> {
    let header =
        [&api.to_be_bytes()[..], &version.to_be_bytes(), &7_i32.to_be_bytes(), &[0xff, 0xff]].concat();
    let length = (header.len() + body.len()) as u32;
    stream.write_all(&[&length.to_be_bytes()[..], &header, body].concat())?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer)?;
    assert_eq!(answer[..4], 7_i32.to_be_bytes());
    Ok(answer.split_off(4))
}

/// Returns the number of partitions of a topic, from a request for metadata.
fn partitions(bootstrap: &str, topic: &str) -> Option<usize> {
    let mut stream = TcpStream::connect(bootstrap).unwrap();
    let name = [&(topic.len() as u16).to_be_bytes()[..], topic.as_bytes()].concat();
    let answer = ask(&mut stream, 3, 0, &[&1_i32.to_be_bytes()[..], &name].concat()).unwrap();
    let at = answer.windows(name.len()).position(|window| window == name).unwrap();
    let error = &answer[at - 2..at];
    let count: [u8; 4] = answer[at + name.len()..][..4].try_into().unwrap();
    (error == [0, 0]).then(|| u32::from_be_bytes(count) as usize)
}

#[test]
fn every_test_has_a_topic_of_its_own() {
    let (Some((bootstrap, one)), Some((_, other))) = (topic(3), topic(1)) else { return };
    assert_ne!(one, other);
    assert_eq!(partitions(&bootstrap, &one), Some(3));
    assert_eq!(partitions(&bootstrap, &other), Some(1));
    assert_eq!(partitions(shared().unwrap().bootstrap(), "no-such-topic"), None);
}

#[test]
fn a_killed_broker_keeps_its_topics() {
    let Some(broker) = or_skip(Broker::start(&Options::default())) else { return };
    let bootstrap = broker.bootstrap();
    broker.create_topic("kept", 2, &[("retention.ms", "1000000")]);
    broker.create_topic("deleted", 2, &[]);
    broker.delete_records("kept", 1, -1);
    broker.delete_topic("deleted");
    for (end, count) in [(Broker::kill as fn(&Broker), 3), (Broker::stop, 4)] {
        let pid = broker.pid();
        end(&broker);
        assert_eq!(broker.pid(), None);
        assert!(TcpStream::connect(&bootstrap).is_err());
        broker.start_again();
        assert_ne!(broker.pid(), pid);
        assert_eq!(broker.bootstrap(), bootstrap);
        broker.set_partitions("kept", count);
        assert_eq!(partitions(&bootstrap, "kept"), Some(count as usize));
        assert_eq!(partitions(&bootstrap, "deleted"), None);
    }
}

/// Lists the topics through a listener with Kafka's own client, or returns the client's error.
fn list_topics(broker: &Broker, listener: Listener, properties: &[String]) -> Result<String, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let protocol = format!("security.protocol={}", listener.protocol());
    let hurry = ["default.api.timeout.ms=5000", "request.timeout.ms=5000"].map(str::to_owned);
    std::fs::write(file.path(), [&[protocol], &hurry[..], properties].concat().join("\n")).unwrap();
    let mut command = broker.tool("kafka.admin.ConfigCommand");
    command.args([
        "--bootstrap-server",
        &broker.bootstrap_of(listener),
        "--describe",
        "--entity-type",
        "topics",
    ]);
    let output = command.arg("--command-config").arg(file.path()).output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    if output.status.success() { Ok(out) } else { Err(format!("{out}{err}")) }
}

#[test]
fn tls_and_sasl() {
    let listeners = vec![Listener::Ssl, Listener::MutualSsl, Listener::SaslPlaintext, Listener::SaslSsl];
    let options = Options { listeners, settings: vec![("num.partitions".to_owned(), "5".to_owned())] };
    let Some(broker) = or_skip(Broker::start(&options)) else { return };
    broker.create_topic("seen", 1, &[]);
    let files = broker.tls().unwrap();
    let pem = |path: &std::path::Path| std::fs::read_to_string(path).unwrap().replace('\n', "\\n");
    let trust = |ca: &std::path::Path| {
        vec!["ssl.truststore.type=PEM".to_owned(), format!("ssl.truststore.certificates={}", pem(ca))]
    };
    let identity = |certificate: &std::path::Path, key: &std::path::Path| {
        vec![
            "ssl.keystore.type=PEM".to_owned(),
            format!("ssl.keystore.certificate.chain={}", pem(certificate)),
            format!("ssl.keystore.key={}", pem(key)),
        ]
    };
    let user = |mechanism: &str, password: &str| {
        let module = if mechanism == "PLAIN" { "plain.Plain" } else { "scram.Scram" };
        vec![
            format!("sasl.mechanism={mechanism}"),
            format!(
                "sasl.jaas.config=org.apache.kafka.common.security.{module}LoginModule required username=\"{USER}\" password=\"{password}\";"
            ),
        ]
    };
    let client = identity(&files.client_certificate, &files.client_key);
    let stranger = identity(&files.stranger_certificate, &files.stranger_key);
    let (trusting, mistaken) = (trust(&files.ca), trust(&files.stranger_ca));
    let cases = [
        (Listener::Plaintext, vec![], None),
        (Listener::Ssl, trusting.clone(), None),
        (Listener::Ssl, mistaken, Some("SSL handshake failed")),
        (Listener::MutualSsl, [trusting.clone(), client].concat(), None),
        (Listener::MutualSsl, [trusting.clone(), stranger].concat(), Some("SSL")),
        (Listener::SaslPlaintext, user("PLAIN", PASSWORD), None),
        (Listener::SaslPlaintext, user("SCRAM-SHA-256", PASSWORD), None),
        (Listener::SaslPlaintext, user("SCRAM-SHA-512", "guess"), Some("Authentication failed")),
        (Listener::SaslSsl, [trusting, user("SCRAM-SHA-512", PASSWORD)].concat(), None),
    ];
    for (listener, properties, refused) in cases {
        let result = list_topics(&broker, listener, &properties);
        match (&result, refused) {
            (Ok(printed), None) => assert!(printed.contains("seen"), "{listener:?}: {printed}"),
            (Err(complaint), Some(part)) => assert!(complaint.contains(part), "{listener:?}: {complaint}"),
            _ => panic!("{listener:?} {properties:?}: {result:?}"),
        }
    }
    let described = broker
        .tool("kafka.admin.ConfigCommand")
        .args([
            "--bootstrap-server",
            &broker.bootstrap(),
            "--describe",
            "--entity-type",
            "brokers",
            "--entity-name",
            "1",
            "--all",
        ])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&described.stdout).contains("num.partitions=5"));
}

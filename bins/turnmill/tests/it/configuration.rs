//! Tests of invalid settings, and of the findings of `check` for valid ones.

use std::process::Command;

use turnmill_testbed::{or_skip, postgres};

use crate::support::{Service, Topic, capture, ran, turnmill, variables, wait_until_read};

fn with(mut command: Command, settings: &[(&str, &str)]) -> Command {
    command.envs(settings.iter().copied());
    command
}

/// Returns both streams of a command that ends with `code`.
#[track_caller]
fn said(command: Command, code: i32) -> String {
    let output = ran(command, code);
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn what_cannot_be_ends_the_service_and_names_the_variable() {
    let good = [("KAFKA_BROKER_ADDRESS", "localhost:1"), ("RASA_ANALYTICS_DB_URL", "sqlite:x.sqlite")];
    for (variable, value) in [
        ("KAFKA_BROKER_ADDRESS", ""),
        ("KAFKA_BROKER_ADDRESS", "no port"),
        ("RASA_ANALYTICS_DB_URL", "redshift://u:secret@h/d"),
        ("RASA_ANALYTICS_DB_URL", "postgresql://u:secret@h/d?nonsense=1"),
        ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
        ("KAFKA_SSL_CA_LOCATION", "/no/such/file"),
        ("TURNMILL_BATCH_RECORDS", "many"),
        ("TURNMILL_BATCH_RECORD", "1"),
        ("TURNMILL_HTTP_ADDRESS", "192.0.2.1:1"),
    ] {
        let mut settings = good.to_vec();
        if variable == "KAFKA_SSL_CA_LOCATION" {
            settings.push(("KAFKA_SECURITY_PROTOCOL", "SSL"));
        }
        settings.push((variable, value));
        let text = said(with(turnmill(&["run"]), &settings), 1);
        let named = if variable == "KAFKA_SECURITY_PROTOCOL" { "KAFKA_SASL_" } else { variable };
        assert!(text.contains(named), "{variable}={value}: {text}");
        assert!(!text.contains("secret"), "{variable}={value}: {text}");
    }
}

#[test]
fn a_store_that_cannot_be_used_ends_the_service_and_names_the_variable() {
    let Some(store) = postgres::database() else { return };
    let Some(topic) = Topic::fresh(1) else { return };
    let mut settings = variables(&topic, &store);
    settings.push(("RUN_ANALYTICS_DB_MIGRATIONS".into(), "false".into()));
    let mut service = Service::start(&settings);
    assert_eq!(service.ended().code(), Some(1));
    assert!(service.said("RUN_ANALYTICS_DB_MIGRATIONS"), "{}", service.log());
    let wrong = store.replace("turnmill-secret", "wrong-secret");
    assert_ne!(wrong, store);
    let mut service = Service::start(&variables(&topic, &wrong));
    assert_eq!(service.ended().code(), Some(1));
    assert!(service.said("RASA_ANALYTICS_DB_URL"), "{}", service.log());
    assert!(!service.said("wrong-secret"), "{}", service.log());
}

#[test]
fn check_says_what_is_there_and_what_is_missing() {
    let Some(store) = postgres::database() else { return };
    let Some(mut topic) = Topic::fresh(2) else { return };
    let settings = variables(&topic, &store);
    let check = |arguments: &[&str], more: &[(&str, &str)], code| {
        let mut command = turnmill(&[&["check"], arguments].concat());
        command.envs(settings.iter().cloned());
        said(with(command, more), code)
    };

    let offline = check(&[], &[("MAX_MESSAGES_TO_FETCH", "10")], 0);
    assert!(offline.contains(&format!("KAFKA_TOPIC = {}", topic.name)), "{offline}");
    assert!(offline.contains("MAX_MESSAGES_TO_FETCH: ignored"), "{offline}");
    assert!(!offline.contains("turnmill-secret"), "{offline}");
    assert!(check(&[], &[("KAFKA_BROKER_ADDRESS", "x:y")], 1).contains("PROBLEM"));

    let empty = check(&["--connect"], &[], 0);
    for part in ["Kafka cluster", "2 partitions", "has no records yet", "PostgreSQL", "will be created"] {
        assert!(empty.contains(part), "{part}: {empty}");
    }
    let closed = check(&["--connect"], &[("RUN_ANALYTICS_DB_MIGRATIONS", "false")], 1);
    assert!(closed.contains("PROBLEM  RUN_ANALYTICS_DB_MIGRATIONS"), "{closed}");
    let missing =
        check(&["--connect"], &[("KAFKA_TOPIC", "no-such-topic"), ("RASA_ANALYTICS_DLQ", "nor-this")], 1);
    assert!(missing.contains("KAFKA_TOPIC: topic `no-such-topic` does not exist"), "{missing}");
    assert!(missing.contains("RASA_ANALYTICS_DLQ: topic `nor-this` does not exist"), "{missing}");

    topic.produce(&capture("partition-by-sender-true.jsonl.gz")[..20]);
    let mut service = Service::start(&settings);
    wait_until_read(&store, &topic, &mut service);
    service.stop();
    let filled = check(&["--connect"], &[], 0);
    assert!(filled.contains("have keys") && filled.contains("is up to date"), "{filled}");
    let other = check(&["--connect"], &[("TURNMILL_SESSION_ID", "any")], 1);
    assert!(other.contains("TURNMILL_SESSION_ID"), "{other}");
    let away = check(&["--connect"], &[("KAFKA_BROKER_ADDRESS", "127.0.0.1:1")], 1);
    assert!(away.contains("PROBLEM  KAFKA_BROKER_ADDRESS"), "{away}");
}

#[test]
fn check_looks_at_the_marker_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("markers.yml");
    let path = file.to_str().unwrap();
    let settings = [("KAFKA_BROKER_ADDRESS", "localhost:1"), ("RASA_ANALYTICS_DB_URL", "sqlite:x.sqlite")];
    let check = |arguments: &[&str], more: &[(&str, &str)], code| {
        said(with(with(turnmill(&[&["check"], arguments].concat()), &settings), more), code)
    };
    let variable = [("TURNMILL_MARKERS", path)];

    let missing = check(&[], &variable, 1);
    assert!(
        missing.contains("PROBLEM  TURNMILL_MARKERS: ") && missing.contains("path_not_found"),
        "{missing}"
    );

    std::fs::write(&file, "a:\n  intnet: greet\nb: {intent: 3}\n").unwrap();
    for wrong in [check(&[], &variable, 1), check(&["--markers", path], &[], 1)] {
        for error in [format!("{path}:2:3: `intnet`"), format!("{path}:3:")] {
            assert!(wrong.contains(&format!("PROBLEM  TURNMILL_MARKERS: {error}")), "{error}: {wrong}");
        }
        assert!(
            wrong.contains("did you mean `intent`?") && wrong.contains("condition_needs_text"),
            "{wrong}"
        );
    }
    // Another problem does not hide it, and it does not hide another problem.
    let elsewhere =
        [variable[0], ("KAFKA_SECURITY_PROTOCOL", "SSL"), ("KAFKA_SSL_CA_LOCATION", "/no/such/file")];
    let both = check(&["--connect"], &elsewhere, 1);
    assert!(both.contains("TURNMILL_MARKERS: ") && both.contains("KAFKA_SSL_CA_LOCATION: "), "{both}");

    std::fs::write(&file, "a: {intent: greet, action: utter_greet}\nb: {intent: bye}\n").unwrap();
    let sound = check(&["--markers", folder.path().to_str().unwrap()], &[], 0);
    assert!(sound.contains("ok       TURNMILL_MARKERS: 2 markers, no errors"), "{sound}");
    assert!(sound.contains("note     warning: TURNMILL_MARKERS: ") && sound.contains("`action`"), "{sound}");
    assert!(!check(&[], &[], 0).contains("TURNMILL_MARKERS: "), "nothing to say where there are none");
}

#[test]
fn tables_of_the_closed_product_are_told_of_and_left_alone() {
    let Some(server) = or_skip(postgres::Server::start(&postgres::Options::default())) else { return };
    let Some(topic) = Topic::fresh(1) else { return };
    let store = server.create_database("analytics");
    server.psql("analytics", "CREATE TABLE rasa_event (id varchar(36) PRIMARY KEY)");
    let check = |more: &[(&str, &str)], code| {
        let mut command = turnmill(&["check", "--connect"]);
        command.envs(variables(&topic, &store));
        said(with(command, more), code)
    };
    let text = check(&[], 1);
    assert!(text.contains("`rasa_event`") && text.contains("TURNMILL_DB_SCHEMA"), "{text}");
    assert!(
        check(&[("TURNMILL_DB_SCHEMA", "own")], 0).contains("schema `own` and its tables will be created")
    );
    let mut service = Service::start(&variables(&topic, &store));
    assert_eq!(service.ended().code(), Some(1));
    assert!(service.said("TURNMILL_DB_SCHEMA"), "{}", service.log());

    // The user may not create anything.
    server.psql(
        "analytics",
        "CREATE ROLE reader LOGIN PASSWORD 'reader'; REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    );
    let reader = store.replace("postgres:turnmill-secret@", "reader:reader@");
    let text = check(&[("RASA_ANALYTICS_DB_URL", &reader), ("TURNMILL_DB_SCHEMA", "own")], 1);
    assert!(text.contains("lacks CREATE on the database"), "{text}");
}

#[test]
fn names_of_settings_reach_no_terminal_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("own.toml");
    let hostile = "\u{9b}31m\u{202e}\u{61c}x";
    std::fs::write(&settings, format!("[kafka]\n\"{hostile}\" = 1\n")).unwrap();
    let mut check = turnmill(&["check", "--config", settings.to_str().unwrap()]);
    check.env(format!("TURNMILL_{hostile}\u{1b}[31m\r"), "x");
    let printed = String::from_utf8(ran(check, 1).stdout).unwrap();
    assert!(printed.contains(r"\u{9b}31m\u{202e}\u{61c}x"), "{printed}");
    let obeyed = |c: char| c != '\n' && c.is_control() || c == '\u{202e}' || c == '\u{61c}';
    assert!(!printed.contains(obeyed), "{printed:?}");
}

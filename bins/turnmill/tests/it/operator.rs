//! Tests of what operators see: tools without arguments, waiting, status lines, recreated topics,
//! groups of other programs.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use turnmill_source_kafka::{KafkaProducer, KafkaSettings, OutgoingRecord, ProducerSettings};
use turnmill_testbed::kafka::{self, Broker, Options};
use turnmill_testbed::{or_skip, postgres};

use crate::markers_store::replay;
use crate::support::{
    Record, Service, Topic, capture, ledger, ran, turnmill, variables, verify, wait_until_read,
};

const EVENT: &str = r#"{"sender_id": "u1", "event": "user", "timestamp": 1656382549.5, "text": "hi", "parse_data": {"intent": {"name": "greet"}}}"#;

/// Creates a store with an event and a dead letter of this number of bytes.
fn filled(letter: usize) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("events.jsonl");
    fs::write(&input, format!("{EVENT}\nnot json {}\n", "x".repeat(letter))).unwrap();
    let store = format!("sqlite:{}", folder.path().join("rasa.sqlite").display());
    ran(replay(&[&input], &store), 0);
    fs::remove_file(&input).unwrap();
    (folder, store)
}

#[track_caller]
fn said(command: Command, code: i32) -> String {
    let output = ran(command, code);
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn tools_take_the_configured_store_when_none_is_named() {
    let (folder, store) = filled(10);
    let other = tempfile::tempdir().unwrap();
    let settings = other.path().join("own.toml");
    fs::write(&settings, format!("[database]\nurl = \"{store}\"\n")).unwrap();
    fs::write(folder.path().join("turnmill.toml"), format!("[database]\nurl = \"{store}\"\n")).unwrap();
    let config = settings.to_str().unwrap();
    for (arguments, part) in [
        (&["verify"][..], "rasa_event "),
        (&["positions", "list"], "events.jsonl"),
        (&["dead-letters", "list"], "not_json"),
        (&["dead-letters", "show", "1"], "not json xxx"),
        (&["dead-letters", "retry", "1"], "0 landed, 1 refused"),
        (&["dead-letters", "retry"], "0 landed, 1 refused"),
        (&["rebuild"], "1 sender with 1 event rebuilt in"),
        (&["markers", "list"], ""),
    ] {
        let mut by_variable = turnmill(arguments);
        by_variable.env("RASA_ANALYTICS_DB_URL", &store);
        let mut by_file = turnmill(arguments);
        by_file.current_dir(folder.path());
        let by_flag = turnmill(&[arguments, &["--config", config]].concat());
        for command in [by_variable, by_file, by_flag] {
            let text = said(command, 0);
            assert!(text.contains(part), "{arguments:?}: {text}");
        }
        let none = turnmill(arguments).current_dir(other.path()).output().unwrap();
        let text = String::from_utf8_lossy(&none.stderr).into_owned();
        assert_eq!(none.status.code(), Some(1), "{text}");
        assert!(text.contains("no store given") && text.contains("RASA_ANALYTICS_DB_URL"), "{text}");
    }
    // An argument takes precedence.
    let mut named = turnmill(&["verify", &store]);
    named.env("RASA_ANALYTICS_DB_URL", "sqlite:/no/such.sqlite");
    ran(named, 0);
    let mut named = turnmill(&["dead-letters", "show", &store, "1"]);
    named.env("RASA_ANALYTICS_DB_URL", "sqlite:/no/such.sqlite");
    ran(named, 0);

    let positions: Vec<Value> =
        serde_json::from_slice(&ran(turnmill(&["positions", "list", &store, "--json"]), 0).stdout).unwrap();
    let text = |key: &str| positions[0][key].as_str().unwrap().to_owned();
    let mut set = turnmill(&["positions", "set", &text("source"), &text("partition"), "earliest"]);
    set.env("RASA_ANALYTICS_DB_URL", &store);
    assert!(said(set, 0).contains(" -> 0"));
    for wrong in
        [&["positions", "set", "a", "b", "soon"][..], &["positions", "set", &store, "a", "b", "soon"]]
    {
        let mut set = turnmill(wrong);
        set.env("RASA_ANALYTICS_DB_URL", &store);
        assert!(said(set, 2).contains("expected [STORE] SOURCE PARTITION POSITION"));
    }
}

#[test]
fn tools_give_up_a_database_that_is_away() {
    let away = "postgresql://u:secret@127.0.0.1:1/x";
    let folder = tempfile::tempdir().unwrap();
    let markers = folder.path().join("markers.yml");
    fs::write(&markers, "a: {intent: greet}\n").unwrap();
    let markers = markers.to_str().unwrap();
    for arguments in [
        &["verify", away][..],
        &["positions", "list", away],
        &["positions", "set", away, "s", "t/0", "0"],
        &["dead-letters", "list", away],
        &["dead-letters", "retry", away],
        &["rebuild", away],
        &["markers", "list", "--on", away],
        &["markers", "upload", markers, "--on", away],
        &["markers", "preview", markers, "--on", away],
    ] {
        let begun = Instant::now();
        let text = said(turnmill(&[arguments, &["--wait", "1"]].concat()), 1);
        assert!(begun.elapsed() < Duration::from_secs(60), "{arguments:?}: {:?}", begun.elapsed());
        assert!(text.contains("database unavailable, retrying for 1.0 s: "), "{arguments:?}: {text}");
        assert!(
            text.contains("database unavailable for 1.0 s (--wait), giving up: "),
            "{arguments:?}: {text}"
        );
        assert!(text.contains("refused") && !text.contains("secret"), "{arguments:?}: {text}");
    }
    let begun = Instant::now();
    let text = said(turnmill(&["verify", away, "--wait", "0"]), 1);
    assert!(begun.elapsed() < Duration::from_secs(60) && !text.contains("retrying"), "{text}");
}

#[test]
fn looking_at_a_file_leaves_nothing_beside_it() {
    let (folder, store) = filled(10);
    let files = || {
        let entries = fs::read_dir(folder.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(files(), ["rasa.sqlite"]);
    for arguments in [
        &["verify", &store][..],
        &["dead-letters", "list", &store],
        &["dead-letters", "show", &store, "1"],
        &["positions", "list", &store],
        &["markers", "list", "--on", &store],
    ] {
        ran(turnmill(arguments), 0);
        assert_eq!(files(), ["rasa.sqlite"], "{arguments:?}");
    }
}

/// A privileged user may write everywhere, so the command runs as an unprivileged one.
#[cfg(unix)]
#[test]
fn a_file_in_a_folder_that_cannot_be_written_can_be_looked_at() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;

    let (folder, store) = filled(10);
    let mode =
        |path: &std::path::Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let binary = folder.path().join("turnmill");
    fs::copy(env!("CARGO_BIN_EXE_turnmill"), &binary).unwrap();
    for (path, bits) in [(folder.path(), 0o555), (&folder.path().join("rasa.sqlite"), 0o444)] {
        mode(path, bits);
    }
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    for arguments in
        [&["verify", &store][..], &["dead-letters", "list", &store], &["positions", "list", &store]]
    {
        let mut command = Command::new(&binary);
        command.args(arguments).env_clear().current_dir("/");
        if is_root {
            command.uid(65_534).gid(65_534);
        }
        ran(command, 0);
    }
    mode(folder.path(), 0o755);
}

#[test]
fn a_large_dead_letter_is_cut_unless_all_is_asked_for() {
    let (_folder, store) = filled(100_000);
    let cut = said(turnmill(&["dead-letters", "show", &store, "1"]), 0);
    assert!(cut.len() < 6_000, "{}", cut.len());
    assert!(
        cut.contains("100009 bytes:") && cut.contains("... and 96009 bytes more; --full shows all"),
        "{cut}"
    );
    let full = said(turnmill(&["dead-letters", "show", &store, "1", "--full"]), 0);
    assert!(full.len() > 100_000 && !full.contains("--full"), "{}", full.len());
    let json = said(turnmill(&["dead-letters", "show", &store, "1", "--json"]), 0);
    assert!(json.len() > 100_000);
    assert!(
        said(turnmill(&["dead-letters", "show", &store, "9"]), 1).contains("dead letter 9 does not exist")
    );
    assert!(said(turnmill(&["dead-letters", "show", &store]), 2).contains("number of a dead letter"));
    assert!(said(turnmill(&["dead-letters", "show", &store, "1", "x"]), 2).contains("`x` is not the number"));
}

#[test]
fn an_upload_says_that_history_needs_a_backfill() {
    let (folder, store) = filled(10);
    let markers = folder.path().join("markers.yml");
    fs::write(&markers, "greeted: {intent: greet}\n").unwrap();
    let path = markers.to_str().unwrap();
    let text = said(turnmill(&["markers", "upload", path, "--on", &store]), 0);
    assert!(text.contains("1 active marker: 1 new or changed"), "{text}");
    assert!(text.contains("1 marker applies to new events only; `turnmill markers backfill`"), "{text}");
    let text = said(turnmill(&["markers", "backfill", "--on", &store]), 0);
    assert!(text.contains("1 marker applies to all history; 1 sender backfilled"), "{text}");
    let text = said(turnmill(&["markers", "upload", path, "--on", &store]), 0);
    assert!(text.contains("no change") && !text.contains("backfill"), "{text}");
}

#[test]
fn a_service_gives_signs_of_life() {
    let options = postgres::Options::default();
    let Some(server) = or_skip(postgres::Server::start(&options)) else { return };
    let Some(mut topic) = Topic::fresh(1) else { return };
    let store = server.create_database("rasa");
    let mut records = capture("partition-by-sender-true.jsonl.gz")[..100].to_vec();
    records.push(Record { value: "garbage".into(), ..Record::default() });
    topic.produce(&records);
    let mut settings = variables(&topic, &store);
    settings.push(("TURNMILL_LOG_STATUS_SECS".into(), "1".into()));
    let mut service = Service::start(&settings);
    let messages = |service: &Service, part: &str| {
        let all = service.messages();
        all.iter().filter(|line| line["message"].as_str().is_some_and(|text| text.contains(part))).count()
    };
    wait_until_read(&store, &topic, &mut service);
    service.wait("it says what it has read", |service| {
        service.said("101 records in the last")
            && service.said("100 events, 0 duplicates, 1 dead letter; lag")
    });
    service.wait("nothing is waiting", |service| messages(service, "0 dead letters; lag 0 records") > 0);
    let place = format!("first dead letter of this reason since start at {}/0@100", topic.name);
    service.wait("it tells of the dead letter", |service| messages(service, &place) == 1);
    topic.produce(&[Record { value: "garbage".into(), ..Record::default() }]);
    wait_until_read(&store, &topic, &mut service);
    assert_eq!(messages(&service, "first dead letter of this reason"), 1, "{}", service.log());

    server.kill();
    topic.produce(&records[..1]);
    service.wait("it waits", |service| messages(service, "database unavailable, retrying in ") > 0);
    service.wait("it says so", |service| messages(service, "; waiting for database") > 0);
    std::thread::sleep(Duration::from_secs(2));
    server.start_again();
    service.wait("it is back", |service| messages(service, "database available again after ") == 1);
    wait_until_read(&store, &topic, &mut service);
    // Messages round durations and include causes.
    for line in service.messages() {
        let Some(text) = line["message"].as_str().filter(|text| text.contains("retrying in")) else {
            continue;
        };
        let (_, rest) = text.split_once("retrying in ").unwrap();
        let (duration, cause) = rest.split_once(": ").unwrap();
        assert!(duration.ends_with(" ms") || duration.ends_with(" s"), "{text}");
        assert!(duration.len() <= 6 && !cause.is_empty(), "{text}");
    }
    service.stop();

    // After a restart, lag is known before anything is read. Here a lock blocks reading.
    topic.produce(&records[..5]);
    let lock = "BEGIN; LOCK TABLE _turnmill_timeline IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(8); COMMIT";
    let mut service = std::thread::scope(|scope| {
        scope.spawn(|| server.psql("rasa", lock));
        std::thread::sleep(Duration::from_secs(1));
        let mut service = Service::start(&settings);
        service.wait("lag is known", |service| service.metric("turnmill_lag_events{") == 5.0);
        assert!(service.metric("turnmill_lag_seconds{") > 0.0);
        service
    });
    wait_until_read(&store, &topic, &mut service);
    service.stop();
}

#[test]
fn a_topic_made_anew_is_read_from_its_start_and_counted() {
    let Some(broker) = or_skip(Broker::start(&Options::default())) else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("rasa.sqlite").display());
    let records = capture("partition-by-sender-true.jsonl.gz");
    broker.create_topic("events", 1, &[]);
    let mut first = Topic::new(&broker.bootstrap(), "events");
    first.produce(&records[..200]);
    let mut service = Service::start(&variables(&first, &store));
    wait_until_read(&store, &first, &mut service);
    service.stop();

    broker.delete_topic("events");
    std::thread::sleep(Duration::from_secs(2));
    broker.create_topic("events", 1, &[]);
    let mut second = Topic::new(&broker.bootstrap(), "events");
    second.produce(&records[200..700]);
    let mut service = Service::start(&variables(&second, &store));
    wait_until_read(&store, &second, &mut service);
    assert_eq!(service.metric("turnmill_position_resets_total{reason=\"replaced\"}"), 1.0);
    assert!(service.said("the topic was probably recreated"), "{}", service.log());
    service.stop();
    second.produced.splice(0..0, first.produced.iter().cloned());
    assert_eq!(verify(&store)["tables"], second.expected());
    assert_eq!(ledger(&store, "records"), 700);

    // With the same log again, nothing is read twice.
    let mut service = Service::start(&variables(&second, &store));
    second.produce(&records[700..710]);
    service.wait("it goes on", |_| ledger(&store, "records") == 710);
    assert_eq!(service.metric("turnmill_position_resets_total{"), 0.0);
    service.stop();
    assert_eq!(ledger(&store, "duplicates"), 0);
}

/// A member of a group, as another program would be. It only joins.
fn member(topic: &Topic, group: &str) -> turnmill_source_kafka::KafkaGroup {
    use turnmill_source::{GroupLimits, GroupProgress, GroupSource as _, RecordBatch};
    let mut settings = KafkaSettings::new(&topic.brokers);
    settings.topics = vec![topic.name.clone()];
    settings.group_id = group.into();
    settings.client_id = "closed-service".into();
    let mut member = turnmill_source_kafka::KafkaGroup::start(&settings).unwrap();
    let end = Instant::now() + Duration::from_secs(120);
    while !matches!(
        member.next(&GroupLimits::default(), &mut RecordBatch::new()).unwrap(),
        GroupProgress::Assigned(_)
    ) {
        assert!(Instant::now() < end);
    }
    member
}

#[test]
fn a_group_of_another_program_is_named_and_refused() {
    let Some(mut topic) = Topic::fresh(1) else { return };
    topic.produce(&capture("partition-by-sender-true.jsonl.gz")[..20]);
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("rasa.sqlite").display());
    let group = format!("closed-{}", topic.name);
    let member = member(&topic, &group);
    let mut settings = variables(&topic, &store);
    settings.push(("RASA_ANALYTICS_CONSUMER_ID".into(), group.clone()));
    let mut check = turnmill(&["check", "--connect"]);
    check.envs(settings.iter().cloned());
    let text = said(check, 1);
    assert!(
        text.contains(&format!("group `{group}` has members of other programs (`closed-service`")),
        "{text}"
    );

    let mut service = Service::start(&settings);
    assert_eq!(service.ended().code(), Some(1));
    let errors: Vec<Value> = service.messages().into_iter().filter(|line| line["level"] == "ERROR").collect();
    assert_eq!(errors.len(), 1, "{}", service.log());
    assert!(service.said("TURNMILL_KAFKA_TAKE_OVER_GROUP"), "{}", service.log());

    settings.push(("TURNMILL_KAFKA_TAKE_OVER_GROUP".into(), "true".into()));
    drop(member);
    let mut service = Service::start(&settings);
    wait_until_read(&store, &topic, &mut service);
    service.stop();
}

#[test]
fn check_says_what_the_topic_holds() {
    let Some(shared) = kafka::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("rasa.sqlite").display());
    let Some(topic) = Topic::fresh(2) else { return };
    let sibling = format!("{}-pii", topic.name);
    shared.create_topic(&sibling, 1, &[]);
    let endpoints = folder.path().join("endpoints.yml");
    let text = format!(
        "event_broker:\n  type: kafka\n  url: {}\n  topic: {}\n  security_protocol: PLAINTEXT\n  \
         anonymization_topics:\n    - name: {sibling}\n    - name: {sibling}-gone\n",
        topic.brokers, topic.name
    );
    fs::write(&endpoints, text).unwrap();
    let check = |code| {
        let mut command = turnmill(&["check", "--connect", "--endpoints", endpoints.to_str().unwrap()]);
        command.env("RASA_ANALYTICS_DB_URL", &store);
        said(command, code)
    };
    let mut producer =
        KafkaProducer::new(&KafkaSettings::new(&topic.brokers), &ProducerSettings::default()).unwrap();
    let mut write = |value: &str, count| {
        for _ in 0..count {
            let record = OutgoingRecord { payload: Some(value.as_bytes()), ..Default::default() };
            producer.send(&topic.name, &record).unwrap();
        }
        producer.flush(Duration::from_secs(20)).unwrap();
    };
    let empty = check(0);
    assert!(empty.contains("the topic has no records yet"), "{empty}");
    assert!(
        empty.contains(&format!("anonymised topic `{sibling}` (anonymization_topics) exists, 1 partition;")),
        "{empty}"
    );
    assert!(
        empty.contains(&format!(
            "topic `{sibling}-gone` in anonymization_topics of endpoints.yml does not exist"
        )),
        "{empty}"
    );
    assert!(empty.contains("group `turnmill` is not used by other programs"), "{empty}");

    write("something else", 3);
    let wrong = check(1);
    assert!(
        wrong.contains("PROBLEM  KAFKA_TOPIC: none of the newest 3 records is a Rasa event (not_json 3)"),
        "{wrong}"
    );
    for assistant in ["bank", "shop"] {
        write(
            &EVENT.replace(
                "\"text\"",
                &format!("\"metadata\": {{\"assistant_id\": \"{assistant}\"}}, \"text\""),
            ),
            8,
        );
    }
    let mixed = check(0);
    assert!(
        mixed.contains(
            "84.2 % of the newest 19 records are events, the others would be dead letters (not_json 3)"
        ),
        "{mixed}"
    );
    assert!(mixed.contains("have no keys"), "{mixed}");
    assert!(mixed.contains("the events are of several assistants: `bank`, `shop`"), "{mixed}");
    write(&EVENT.replace("\"text\"", "\"anonymized_at\": 1656382550.5, \"text\""), 1);
    assert!(check(0).contains("1 of 17 events are anonymised copies"));
}

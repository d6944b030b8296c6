//! Tests every setting from every place.

use std::time::Duration;

use clap::Parser;
use turnmill_model::SessionIdMode;
use turnmill_postgres::{PostgresAddress, RootCert, SslMode};
use turnmill_service::settings::{
    DatabaseTarget, Environment, Flags, Kind, Loaded, LogLevel, RequiredSettings, SETTINGS, Secret,
    SecurityProtocol, Setting, SettingId, Support,
};

use crate::support::Case;

/// A value of this kind that is no default, and how it is printed.
fn sample(setting: &Setting, number: usize) -> (String, String) {
    let plain = |text: String| (text.clone(), text);
    match setting.kind {
        Kind::Text => plain(format!("text-{number}")),
        Kind::Brokers => (format!("b{number}, c"), format!("b{number}:9092,c:9092")),
        Kind::Path => plain(format!("dir/file-{number}")),
        Kind::Secret => (format!("long-enough-secret-{number}"), "***".into()),
        Kind::DatabaseUrl => {
            (format!("postgresql://u:pw@h{number}/d"), format!("postgresql://u:***@h{number}/d"))
        }
        Kind::Switch => plain((setting.default != Some("true")).to_string()),
        Kind::Integer(least, most) => plain(
            (setting.default.map_or(least, |d| d.parse().unwrap()) + number as u64)
                .min(most - number as u64)
                .to_string(),
        ),
        Kind::Millis(..) | Kind::Seconds(..) => {
            plain((setting.default.unwrap().parse::<u64>().unwrap() + number as u64).to_string())
        }
        Kind::Bytes(_) => {
            let mib = 128 + number;
            (format!("{mib}MiB"), (mib << 20).to_string())
        }
        Kind::Share => plain(format!("0.{number}1")),
        Kind::Choice(names) => {
            // Not those that are refused or change what others mean.
            let usable: Vec<_> =
                names.iter().filter(|n| !matches!(**n, "GSSAPI" | "OAUTHBEARER" | "AWS_MSK_IAM")).collect();
            plain((*usable[(number + 1) % usable.len()]).to_owned())
        }
        Kind::Address => plain(format!("127.0.0.{number}:80")),
        Kind::Properties => plain(format!("fetch.min.bytes={number}")),
        Kind::Names => plain(format!("name-{number},other_*")),
        Kind::TimeZone => plain(format!("Etc/GMT+{number}")),
        _ => unreachable!("a new kind"),
    }
}

/// The settings that work only in the company of others.
fn company(case: Case, id: SettingId) -> Case {
    match id {
        SettingId::SecurityProtocol
        | SettingId::SaslMechanism
        | SettingId::SaslUsername
        | SettingId::SaslPassword => {
            case.variable("KAFKA_SASL_USERNAME", "user").variable("KAFKA_SASL_PASSWORD", "password")
        }
        SettingId::KafkaSslCert => case.variable("KAFKA_SSL_KEYFILE_LOCATION", "key"),
        SettingId::KafkaSslKey => case.variable("KAFKA_SSL_CERTFILE_LOCATION", "cert"),
        _ => case,
    }
}

#[test]
fn each_setting_is_read_from_the_file_the_environment_and_flags_and_each_wins_over_those_before() {
    for setting in SETTINGS {
        if matches!(
            setting.id,
            SettingId::Config | SettingId::Endpoints | SettingId::RdsIam | SettingId::MskIam
        ) {
            continue; // those name files, or are refused; both have tests of their own
        }
        let mut case = company(Case::minimal(), setting.id).without(setting.variable);
        let mut seen = 0;
        if setting.allowed_in.file {
            let (text, printed) = sample(setting, 1);
            let (section, name) = setting.key.split_once('.').unwrap();
            case = case.file("turnmill.toml", &format!("# a comment\n[{section}]\n{name} = \"{text}\"\n"));
            assert_eq!(case.shown(setting.id), (printed, "turnmill.toml:3".into()), "{setting:?}");
            seen += 1;
        }
        let (text, printed) = sample(setting, 2);
        case = case.variable(setting.variable, &text);
        assert_eq!(case.shown(setting.id), (printed, setting.variable.into()), "{setting:?}");
        seen += 1;
        if let Some(flag) = setting.flag() {
            let (text, printed) = sample(setting, 3);
            case = case.flag(setting.id, &text);
            assert_eq!(case.shown(setting.id), (printed, format!("--{flag}")), "{setting:?}");
            seen += 1;
        }
        assert_eq!(seen, 1 + usize::from(setting.allowed_in.file) + usize::from(setting.allowed_in.flag));
    }
}

#[test]
fn the_table_is_in_order() {
    for (number, setting) in SETTINGS.iter().enumerate() {
        assert_eq!(setting.id as usize, number);
        assert_eq!(setting.id.setting(), setting);
        assert!(setting.doc.ends_with('.') && !setting.doc.contains('|'), "{}", setting.variable);
        let same = |other: &&Setting| {
            other.variable == setting.variable || (!setting.key.is_empty() && other.key == setting.key)
        };
        assert_eq!(SETTINGS.iter().filter(same).count(), 1, "{}", setting.variable);
        let own = setting.variable.starts_with("TURNMILL_");
        let documented = ["KAFKA_", "RASA_ANALYTICS_"].iter().any(|head| setting.variable.starts_with(head));
        assert!(
            own || documented || !setting.allowed_in.flag || setting.default.is_some(),
            "{}",
            setting.variable
        );
    }
}

/// What spec and code agree on, spelled out once more.
#[test]
fn defaults() {
    let settings = Case::minimal().load().unwrap().settings;
    let kafka = &settings.kafka;
    assert_eq!((kafka.topic.as_str(), kafka.group_id.as_str()), ("rasa_core_events", "turnmill"));
    assert_eq!((kafka.consumers, kafka.security_protocol), (1, SecurityProtocol::Plaintext));
    assert_eq!((kafka.brokers.as_str(), kafka.sasl_mechanism), ("kafka:9092", "PLAIN"));
    assert_eq!((&kafka.sasl_username, &kafka.group_instance_id), (&None, &None));
    assert!(kafka.keep_alive);
    assert_eq!(kafka.metadata_max_age, Duration::from_secs(180));
    assert_eq!(kafka.heartbeat_interval, Duration::from_secs(3));
    assert_eq!(kafka.session_timeout, Duration::from_secs(6));
    assert_eq!(kafka.max_poll_interval, Duration::from_secs(600));
    assert_eq!((kafka.producer_retries, kafka.producer_timeout), (2_147_483_647, Duration::from_secs(5)));
    assert_eq!((kafka.producer_partitioner, kafka.compression), ("consistent_random", Some("gzip")));
    assert!(kafka.properties.is_empty());
    let DatabaseTarget::Postgres(target) = &settings.database.target else { panic!("PostgreSQL") };
    assert_eq!(target.hosts(), [("db".to_owned(), 5432)]);
    assert!(!target.has_ssl_mode());
    assert!(settings.database.migrate);
    assert_eq!(settings.database.foreign_keys, "auto");
    assert_eq!(settings.database.lock_timeout, Some(Duration::from_secs(30)));
    assert_eq!(settings.database.schema, "public");
    assert!(!kafka.take_over_group, "a group of others is left alone");
    assert_eq!(settings.dead_letters.topic, None);
    assert_eq!(settings.row_topic.topic, None);
    assert_eq!((settings.row_topic.max_bytes, settings.row_topic.skip_refused), (1 << 30, false));
    assert_eq!(settings.dead_letters.max_run, Some(1000));
    assert_eq!(settings.dead_letters.max_share, Some(0.5));
    assert_eq!(settings.http.address, "0.0.0.0:8732".parse().unwrap());
    assert_eq!(settings.http.stall_timeout, None);
    assert_eq!(settings.shutdown_timeout, Duration::from_secs(20));
    assert_eq!(settings.work.flush_interval, Duration::from_millis(500));
    assert_eq!((settings.work.batch_records, settings.work.cache_bytes), (10_000, 256 << 20));
    assert_eq!(settings.rows, turnmill_model::Settings::default());
    assert_eq!(settings.log.level, LogLevel::Info);
    assert!(!settings.log.json);
}

#[test]
fn database_urls() {
    let target = |url: &str| match Case::minimal().variable("RASA_ANALYTICS_DB_URL", url).load() {
        Ok(loaded) => match loaded.settings.database.target {
            DatabaseTarget::Postgres(target) => {
                let password = target.password().map(Secret::expose);
                format!(
                    "{:?} {:?} {password:?} {} {:?}",
                    target.hosts(),
                    target.user(),
                    target.database().unwrap_or("none"),
                    target.ssl_mode()
                )
            }
            DatabaseTarget::Sqlite { url, path } => format!("{url} {}", path.display()),
            _ => unreachable!("a new target"),
        },
        Err(error) => error.to_string(),
    };
    let hosts = r#"[("db", 5432)]"#;
    let table = [
        ("postgresql://u:p@db:5432/d", format!(r#"{hosts} Some("u") Some("p") d Prefer"#)),
        ("POSTGRES://db/d", format!("{hosts} None None d Prefer")),
        ("postgresql+psycopg2://u@db/d", format!(r#"{hosts} Some("u") None d Prefer"#)),
        ("postgresql://u:Hm4/xT0#p@L@db/d", format!(r#"{hosts} Some("u") Some("Hm4/xT0#p@L") d Prefer"#)),
        (
            "postgresql://u%40x:p%2F%3A%25@db/d?sslmode=verify-full&application_name=a%20b",
            format!(r#"{hosts} Some("u@x") Some("p/:%") d VerifyFull"#),
        ),
        ("postgresql://u:p@[::1]:7,b/d", r#"[("::1", 7), ("b", 5432)] Some("u") Some("p") d Prefer"#.into()),
        ("sqlite:x.sqlite", "sqlite:x.sqlite x.sqlite".into()),
        ("sqlite:////var/x.sqlite", "sqlite:////var/x.sqlite /var/x.sqlite".into()),
    ];
    for (url, expected) in table {
        assert_eq!(target(url), expected, "{url}");
    }
    for (url, part) in [
        ("redshift://u:p@h/d", "Redshift is not supported yet"),
        ("mysql://u:p@h/d", "`mysql` is not supported"),
        ("file:///tmp?format=csv", "does not write files yet"),
        ("postgresql://u:p@h", "names no database"),
        ("postgresql://u:p@h:99999/d", "port"),
        ("postgresql://u:p?w@h/d", "`?` in a password is %3F"),
        ("postgresql://u:p@h/d?pasword=x", "unknown parameter `pasword`"),
        ("postgresql://h/d?sslmode=sometimes", "`sslmode` cannot be `sometimes`: expected one of"),
        ("h/d", "expected postgresql://"),
        ("sqlite:", "expected sqlite:PATH"),
    ] {
        let error = target(url);
        assert!(error.contains(part) && error.contains("RASA_ANALYTICS_DB_URL"), "{url}: {error}");
    }
}

#[test]
fn a_database_from_its_parts() {
    let parts = Case::minimal()
        .without("RASA_ANALYTICS_DB_URL")
        .variable("RASA_ANALYTICS_DB_HOST_NAME", "db")
        .variable("RASA_ANALYTICS_DB_NAME", "d");
    let full = parts
        .clone()
        .variable("RASA_ANALYTICS_DB_PORT", "5433")
        .variable("RASA_ANALYTICS_DB_USERNAME", "u")
        .variable("TURNMILL_DB_PASSWORD", "p@ss")
        .variable("RASA_ANALYTICS_DB_SSL_MODE", "verify-ca")
        .variable("RASA_ANALYTICS_DB_SSL_CA_LOCATION", "/ca.pem");
    let DatabaseTarget::Postgres(target) = full.load().unwrap().settings.database.target else { panic!() };
    let expected = PostgresAddress::default().with_host("db", 5433).with_user("u").with_database("d");
    let expected = expected.or_password("p@ss").with_ssl_mode(SslMode::VerifyCa);
    assert_eq!(target, expected.with_ssl_root_cert(RootCert::File("/ca.pem".into())));
    // With IAM only a password helps.
    assert!(full.clone().variable("RDS_SQL_DB_AWS_IAM_ENABLED", "true").load().is_ok());
    let error = parts.clone().variable("RDS_SQL_DB_AWS_IAM_ENABLED", "true").error();
    assert!(error.contains("RDS_SQL_DB_AWS_IAM_ENABLED") && error.contains("not supported"), "{error}");
    let error = parts.without("RASA_ANALYTICS_DB_NAME").error();
    assert!(error.contains("must be set together"), "{error}");
    // The URL wins, and says so.
    let both = full.variable("RASA_ANALYTICS_DB_URL", "postgresql://x:y@z/d?sslmode=require");
    for name in ["RASA_ANALYTICS_DB_HOST_NAME", "RASA_ANALYTICS_DB_SSL_MODE", "TURNMILL_DB_PASSWORD"] {
        assert_eq!(both.notes(name).len(), 1, "{name}");
    }
    let DatabaseTarget::Postgres(target) = both.load().unwrap().settings.database.target else { panic!() };
    assert_eq!((target.hosts()[0].0.as_str(), target.ssl_mode()), ("z", SslMode::Require));
}

#[test]
fn dead_letters_go_to_no_topic_unless_one_is_named() {
    let topic = |case: Case| case.load().unwrap().settings.dead_letters.topic;
    let wanted = Some("dlq".to_owned());
    assert_eq!(topic(Case::minimal()), None);
    assert_eq!(topic(Case::minimal().variable("RASA_ANALYTICS_DLQ", "dlq")), wanted);
    assert_eq!(topic(Case::minimal().variable("RASA_ANALYTICS_DLQ", "")), None);
    let file = Case::minimal().file("turnmill.toml", "[dead_letters]\ntopic = \"\"\n");
    assert_eq!(topic(file.clone()), None);
    assert_eq!(topic(file.variable("RASA_ANALYTICS_DLQ", "dlq")), wanted);
}

#[test]
fn topics_that_are_sent_to_differ_from_each_other_and_from_the_one_that_is_read() {
    let rows = |name: &str| Case::minimal().variable("TURNMILL_ROW_TOPIC", name);
    let settings = rows("rows").variable("TURNMILL_SINK_ON_REFUSAL", "skip").load().unwrap().settings;
    assert_eq!((settings.row_topic.topic.as_deref(), settings.row_topic.skip_refused), (Some("rows"), true));
    for (case, part) in [
        (rows("rasa_core_events"), "TURNMILL_ROW_TOPIC: `rasa_core_events` is the topic that is read"),
        (rows("a b"), "TURNMILL_ROW_TOPIC: `a b` is not a valid topic name"),
        (rows("same").variable("RASA_ANALYTICS_DLQ", "same"), "name the same topic"),
    ] {
        let error = case.load().unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn limits_that_are_off() {
    let settings = Case::minimal()
        .variable("TURNMILL_DEAD_LETTER_MAX_RUN", "0")
        .variable("TURNMILL_DEAD_LETTER_MAX_SHARE", "100%")
        .variable("TURNMILL_DB_LOCK_TIMEOUT_SECS", "0")
        .variable("TURNMILL_SESSION_ID", "OFF")
        .variable("DISABLE_STACK_EVENT_PROCESSING", "true")
        .variable("LOGGING_LEVEL", "critical")
        .load()
        .unwrap()
        .settings;
    assert_eq!((settings.dead_letters.max_run, settings.dead_letters.max_share), (None, None));
    assert_eq!(settings.database.lock_timeout, None);
    assert_eq!(settings.rows.session_id, SessionIdMode::Off);
    assert!(!settings.rows.stack_events);
    assert_eq!(settings.log.level, LogLevel::Error);
}

#[test]
fn what_is_not_obeyed_is_named_with_the_reason() {
    for setting in SETTINGS.iter().filter(|setting| setting.support != Support::Supported) {
        let is_switch = setting.kind == Kind::Switch;
        let mut case = Case::minimal().variable(setting.variable, if is_switch { "true" } else { "3" });
        if setting.id == SettingId::MskIam {
            assert!(case.error().contains("KAFKA_MSK_AWS_IAM_ENABLED"));
            case = case
                .variable("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
                .variable("KAFKA_SASL_USERNAME", "u")
                .variable("KAFKA_SASL_PASSWORD", "p");
        }
        let (Support::Ignored(why) | Support::Unsupported(why)) = setting.support else { unreachable!() };
        let notes = case.notes(setting.variable);
        assert!(notes.len() == 1 && notes[0].contains(why), "{}: {notes:?}", setting.variable);
        if is_switch {
            assert_eq!(case.variable(setting.variable, "false").notes(setting.variable), [""; 0]);
        }
    }
}

#[test]
fn what_has_no_effect_is_named() {
    let case = Case::minimal()
        .variable("KAFKA_SASL_PASSWORD", "p")
        .variable("KAFKA_SSL_CA_LOCATION", "/ca.pem")
        .variable("TURNMILL_DB_SCHEMA", "analytics")
        .variable("RASA_ANALYTICS_DB_URL", "sqlite:x.sqlite");
    for name in ["KAFKA_SASL_PASSWORD", "KAFKA_SSL_CA_LOCATION", "TURNMILL_DB_SCHEMA", "TURNMILL_API_TOKEN"] {
        assert_eq!(case.notes(name).len(), 1, "{name}");
    }
    assert!(case.variable("TURNMILL_HTTP_ADDRESS", "localhost:1").notes("TURNMILL_API_TOKEN").is_empty());
}

#[test]
fn wrong_values_are_reported_all_at_once_with_their_places() {
    let error = Case::minimal()
        .without("KAFKA_BROKER_ADDRESS")
        .file("turnmill.toml", "[kafka]\nconsumers = 0\ntopci = \"x\"\n\n[kafak]\n\n[log]\njson = \"maybe\"\n[http]\nflag = 1979-05-27\n")
        .variable("KAFKA_SECURITY_PROTOCOL", "TLS")
        .variable("TURNMILL_FLUSH_INTERVALL_MS", "3")
        .flag(SettingId::BatchBytes, "12 parsecs")
        .error();
    for part in [
        "turnmill.toml:2: kafka.consumers: expected a whole number, 1 to 64, found `0`",
        "turnmill.toml:3: unknown setting `kafka.topci`; did you mean `kafka.topic`?",
        "turnmill.toml:5: unknown section `[kafak]`; did you mean `kafka`?",
        "turnmill.toml:8: log.json: expected true or false, found `maybe`",
        "turnmill.toml:10: unknown setting `http.flag`",
        "KAFKA_SECURITY_PROTOCOL: expected one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL, found `TLS`",
        "TURNMILL_FLUSH_INTERVALL_MS: unknown variable; did you mean `TURNMILL_FLUSH_INTERVAL_MS`?",
        "--batch-bytes: expected bytes, 1024 or more",
        "KAFKA_BROKER_ADDRESS is required",
    ] {
        assert!(error.contains(part), "{part}\nis not in\n{error}");
    }
}

#[test]
fn settings_that_contradict_each_other() {
    let sasl = Case::minimal().variable("KAFKA_SECURITY_PROTOCOL", "SASL_SSL");
    let login = sasl.clone().variable("KAFKA_SASL_USERNAME", "u").variable("KAFKA_SASL_PASSWORD", "p");
    assert!(login.load().is_ok());
    for (case, part) in [
        (sasl, "KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD are required"),
        (login.clone().variable("KAFKA_SASL_MECHANISM", "GSSAPI"), "Kerberos authentication is unsupported"),
        (
            login.clone().variable("KAFKA_SASL_MECHANISM", "aws_msk_iam"),
            "AWS IAM authentication is unsupported",
        ),
        (login.variable("KAFKA_SASL_MECHANISM", "OAUTHBEARER"), "use PLAIN, SCRAM-SHA-256 or SCRAM"),
        (Case::minimal().variable("KAFKA_SSL_CERTFILE_LOCATION", "c"), "must be set together"),
        (Case::minimal().variable("KAFKA_CONSUMER_SESSION_TIMEOUT_MS", "3000"), "must be less than"),
        (Case::minimal().variable("KAFKA_CONSUMER_MAX_POLL_INTERVAL_MS", "3000"), "must not be less than"),
        (Case::minimal().variable("TURNMILL_BUFFER_RECORDS", "5"), "no batch could be full"),
        (Case::minimal().variable("TURNMILL_API_TOKEN", "short"), "too short"),
        (
            Case::minimal().variable("KAFKA_TOPIC", "one,two"),
            "KAFKA_TOPIC: `one,two` is not a valid topic name",
        ),
        (Case::minimal().variable("RASA_ANALYTICS_DLQ", "rasa_core_events"), "is the topic that is read"),
        (
            Case::minimal().variable("TURNMILL_KAFKA_PROPERTIES", "enable.auto.commit=true"),
            "offsets are committed in the store",
        ),
        (Case::minimal().variable("TURNMILL_CONFIG", "gone.toml"), "TURNMILL_CONFIG: cannot read gone.toml"),
        (Case::minimal().file("turnmill.toml", "[kafka\n"), "turnmill.toml:1: invalid TOML"),
    ] {
        let error = case.error();
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn brokers_are_written_in_many_ways() {
    for (text, brokers) in [
        ("kafka", "kafka:9092"),
        ("b1:9096, b2 ,", "b1:9096,b2:9092"),
        ("10.0.0.1", "10.0.0.1:9092"),
        ("::1", "[::1]:9092"),
        ("[fe80::1], [::1]:9093", "[fe80::1]:9092,[::1]:9093"),
        ("SASL_SSL://b1.example.net:9096", "SASL_SSL://b1.example.net:9096"),
        ("my_broker", "my_broker:9092"),
    ] {
        let case = Case::minimal().variable("KAFKA_BROKER_ADDRESS", text);
        assert_eq!(case.load().unwrap().settings.kafka.brokers, brokers, "{text}");
        assert_eq!(case.shown(SettingId::Brokers).0, brokers);
    }
    for text in [
        "no port",
        "b1:",
        "b1:0",
        "b1:70000",
        ":9092",
        "b1:9092:9093",
        "[::1",
        "[x]:9092",
        "b1/x",
        "b1:9092,b2:x",
    ] {
        let error = Case::minimal().variable("KAFKA_BROKER_ADDRESS", text).error();
        assert!(
            error.contains("KAFKA_BROKER_ADDRESS: ") && error.contains("expected host:port[,host:port]"),
            "{text}: {error}"
        );
    }
    let error = Case::minimal().variable("KAFKA_BROKER_ADDRESS", "kafka://rasa:secret@b1:9092").error();
    assert!(error.contains("KAFKA_SASL_PASSWORD") && !error.contains("secret"), "{error}");
}

#[test]
fn variables_of_others_are_left_alone() {
    let case = Case::minimal()
        .variable("KAFKA_HEAP_OPTS", "-Xmx1g")
        .variable("RASA_LICENSE", "licence")
        .variable("RASA_TELEMETRY_ENABLED", "true")
        // As Kubernetes sets them for services called `turnmill` and `turnmill-web`.
        .variable("TURNMILL_SERVICE_HOST", "10.0.0.1")
        .variable("TURNMILL_SERVICE_PORT", "8732")
        .variable("TURNMILL_SERVICE_PORT_HTTP", "8732")
        .variable("TURNMILL_PORT", "tcp://10.0.0.1:8732")
        .variable("TURNMILL_PORT_8732_TCP", "tcp://10.0.0.1:8732")
        .variable("TURNMILL_PORT_8732_TCP_ADDR", "10.0.0.1")
        .variable("TURNMILL_WEB_PORT_80_TCP_PROTO", "tcp");
    let loaded = case.load().unwrap();
    assert!(!loaded.effective.to_string().contains("licence"));
    assert!(case.variable("TURNMILL_PORT", "8732").error().contains("TURNMILL_PORT: unknown variable"));
}

#[test]
fn nothing_is_said_by_an_empty_variable() {
    let case = Case::minimal().variable("KAFKA_TOPIC", "").variable("TURNMILL_BATCH_RECORDS", " ");
    let settings = case.load().unwrap().settings;
    assert_eq!((settings.kafka.topic.as_str(), settings.work.batch_records), ("rasa_core_events", 10_000));
}

#[test]
fn tools_of_a_database_need_no_broker() {
    let case =
        Case::minimal().without("KAFKA_BROKER_ADDRESS").variable("KAFKA_SECURITY_PROTOCOL", "SASL_SSL");
    assert!(case.load().is_err());
    assert_eq!(case.load_for(RequiredSettings::Database).unwrap().settings.kafka.brokers, "");
}

#[test]
fn the_file_takes_toml_as_one_would_write_it() {
    let settings = Case::default()
        .file(
            "conf/own.toml",
            "shutdown = { secs = 5 }\nkafka.brokers = [\"a:1\", \"b:2\"]\nkafka.properties = { \"fetch.min.bytes\" = 7, \"check.crcs\" = true }\n\
             [database]\nurl = \"sqlite:x.sqlite\"\n[dead_letters]\nmax_share = 0.25\n[cache]\nbytes = \"1GiB\"\n[batch]\nrecords = 5_000\n",
        )
        .flag(SettingId::Config, "conf/own.toml")
        .load()
        .unwrap()
        .settings;
    assert_eq!(settings.kafka.brokers, "a:1,b:2");
    let names: Vec<_> = settings.kafka.properties.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["check.crcs", "fetch.min.bytes"]);
    assert_eq!(settings.dead_letters.max_share, Some(0.25));
    assert_eq!((settings.work.cache_bytes, settings.work.batch_records), (1 << 30, 5000));
    assert_eq!(settings.shutdown_timeout, Duration::from_secs(5));
}

#[derive(Debug, Parser)]
struct CommandLine {
    #[command(flatten)]
    settings: Flags,
}

#[test]
fn every_flag_is_a_flag_and_secrets_have_none() {
    for setting in SETTINGS {
        let key = if setting.id == SettingId::Markers { "markers" } else { setting.key };
        let flag = format!("--{}=x", key.replace(['.', '_'], "-"));
        let parsed = CommandLine::try_parse_from(["run", &flag]);
        let found = parsed.ok().and_then(|line| line.settings.get(setting.id).map(str::to_owned));
        assert_eq!(found.is_some(), setting.allowed_in.flag, "{flag}");
        assert!(setting.kind != Kind::Secret || !setting.allowed_in.flag);
    }
    let line = CommandLine::try_parse_from(["run", "--log-json", "--kafka-topic", "t"]).unwrap();
    assert_eq!(line.settings.get(SettingId::JsonLogging), Some("true"));
    assert_eq!(line.settings.get(SettingId::Topic), Some("t"));
}

#[test]
fn the_environment_of_this_process_can_be_taken() {
    let environment = Environment::of_process();
    assert!(environment.get("PATH").is_some());
    assert!(
        Loaded::read(
            &Flags::default(),
            &Environment::default(),
            &|_| Err(std::io::ErrorKind::NotFound.into()),
            RequiredSettings::Service
        )
        .is_err()
    );
}

#[cfg(unix)]
#[test]
fn a_value_that_is_not_utf8_is_named() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt as _;
    let bad = (OsString::from("KAFKA_TOPIC"), OsString::from_vec(vec![0xff]));
    let environment: Environment = [bad].into_iter().collect();
    let none = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
    let error = Loaded::read(&Flags::default(), &environment, &none, RequiredSettings::Service)
        .unwrap_err()
        .to_string();
    assert!(error.contains("KAFKA_TOPIC: the value is not valid UTF-8"), "{error}");
}

//! Tests that no form of an address shows its password.

use proptest::prelude::*;
use turnmill_text::{Arguments, ServerProblem, check_brokers, check_host, redact};

/// Ways to write the address of a database or a broker, right and wrong. `SECRET` is the password.
const WAYS: &str = include_str!("../addresses.txt");

#[test]
fn no_way_of_writing_an_address_shows_its_password() {
    for way in WAYS.lines() {
        let shown = redact(way);
        assert!(!shown.contains("SECRET"), "{way} shows as {shown}");
        assert!(shown.contains("***"), "{way} shows as {shown}");
        assert!(!redact(&format!("kafka:{way}")).contains("SECRET"), "kafka:{way}");
        // A redacted text is an address again, and redacting it once more changes nothing.
        assert!(!redact(&shown).contains("SECRET"));
    }
}

#[test]
fn what_is_no_secret_stays() {
    for text in [
        "events.jsonl",
        "/data/a@b.jsonl",
        "data/date=2026-12-01/events.jsonl",
        "C:\\data\\events.jsonl",
        "postgres/dump.jsonl",
        "kafka:rasa_core_events",
        "sqlite:rasa.sqlite",
        "sqlite:a:b@c.sqlite",
        "sqlite:///data/a@b.sqlite",
        "postgresql://h/x",
        "postgresql://[::1]:5432/x",
        "postgresql://a:1,b:2/x?sslmode=require&options=-csearch_path%3Da",
        "kafka-1:9092,kafka-2:9092",
        "SASL_SSL://kafka-1:9092",
        "",
    ] {
        assert_eq!(redact(text), text);
    }
}

#[test]
fn as_much_as_possible_is_shown() {
    for (text, shown) in [
        ("postgresql://u:SECRET@h:5432/x?sslmode=require", "postgresql://u:***@h:5432/x?sslmode=require"),
        ("postgresql://u@h/x", "postgresql://***@h/x"),
        ("host=h user=u password=SECRET dbname=x", "host=h user=u password=*** dbname=x"),
        (
            "postgresql://h/x?user=u&password=SECRET&sslmode=require",
            "postgresql://h/x?user=u&password=***&sslmode=require",
        ),
        ("postgresql:/u:SECRET@h/x", "postgresql:***@h/x"),
        (" postgresql://u:SECRET@h/x", " postgresql://u:***@h/x"),
    ] {
        assert_eq!(redact(text), shown);
    }
}

#[test]
fn messages_about_arguments_hide_what_is_in_them() {
    let arguments =
        Arguments::new(["dead-letters", "postgresql://u:SECRET@h/x", "--to=u:SECRET@h", "a\u{1b}[31m"]);
    let message = "invalid value 'postgresql://u:SECRET@h/x' for --to=u:SECRET@h: 'u:SECRET@h', a\u{1b}[31m";
    assert_eq!(
        arguments.hide_in(message),
        "invalid value 'postgresql://u:***@h/x' for --to=u:***@h: 'u:***@h', a\\u{1b}[31m"
    );
    assert!(!format!("{arguments:?}").contains("SECRET"));
}

#[test]
fn brokers_and_hosts_are_names_and_ports() {
    for good in
        ["h", "h:9092", "a:1,b:2, c", "[::1]:9092", "SASL_SSL://h:9092", "my_kafka.svc:9092", "10.0.0.1:9092"]
    {
        assert_eq!(check_brokers(good), Ok(()), "{good}");
    }
    for (wrong, problem) in [
        ("", ServerProblem::Empty),
        ("a:1,,b:2", ServerProblem::Empty),
        ("u:SECRET@h:9092", ServerProblem::Login),
        ("sasl://u:SECRET@h:9092", ServerProblem::Login),
        ("SECRET@h", ServerProblem::Login),
        ("kafka://h:9092", ServerProblem::Scheme),
        ("u:SECRET", ServerProblem::Port),
        ("h:0", ServerProblem::Port),
        ("h:99999", ServerProblem::Port),
        ("h/x", ServerProblem::Host),
        ("h x", ServerProblem::Host),
    ] {
        assert_eq!(check_brokers(wrong), Err(problem), "{wrong}");
        assert!(!problem.to_string().contains("SECRET"));
    }
    for good in ["h", "::1", "fe80::1%eth0", "/var/run/postgresql", "my_db", "10.0.0.1"] {
        assert_eq!(check_host(good), Ok(()), "{good}");
    }
    for wrong in ["", "u:SECRET@h", "SECRET@h", "h:5432", "h x", "postgresql://h"] {
        assert!(check_host(wrong).is_err(), "{wrong}");
    }
}

/// Secrets that no other text contains, with characters that are special in addresses.
fn secret() -> impl Strategy<Value = String> {
    "QZ[a-zA-Z0-9@:/?#%&=+ !$,;{}\\[\\]~.-]{6,24}ZQ"
}

/// Returns whether the text shows a piece of the secret that is too long for chance.
fn leaks(text: &str, secret: &str) -> bool {
    let characters: Vec<char> = secret.chars().collect();
    characters.windows(6).any(|window| text.contains(&window.iter().collect::<String>()))
}

proptest! {
    #[test]
    fn whatever_the_password(password in secret(), tail in "(/[a-z]*)?(\\?sslmode=[a-z]+)?") {
        for address in [
            format!("postgresql://rasa:{password}@db{tail}"),
            format!("Mysql+pymysql://:{password}@db{tail}"),
            format!("rasa:{password}@db{tail}"),
            format!("postgresql:/rasa:{password}@db{tail}"),
        ] {
            let shown = redact(&address);
            prop_assert!(!leaks(&shown, &password), "{shown}");
        }
        let quoted = format!("host=db password='{password}' dbname=rasa");
        prop_assert!(!leaks(&redact(&quoted), &password), "{}", redact(&quoted));
        let encoded: String = password.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let shown = redact(&format!("postgresql://db/d?user=u&password={encoded}&sslmode=require"));
        prop_assert_eq!(shown, "postgresql://db/d?user=u&password=***&sslmode=require");
    }

    #[test]
    fn any_text_at_all(text in ".{0,60}") {
        let _ = redact(&text);
    }
}

//! Checks that no output contains a secret, whatever it looks like and whatever else is wrong.

use proptest::prelude::*;
use turnmill_service::settings::{Loaded, SettingId, SettingsError};

use crate::support::Case;

/// Texts that nothing else contains, with special characters of URLs, YAML and TOML.
fn secret() -> impl Strategy<Value = String> {
    "QZ[a-zA-Z0-9@:/?#%&=+ !$,;{}\\[\\]~.-]{6,24}ZQ"
}

fn shown(result: &Result<Loaded, SettingsError>) -> String {
    match result {
        Ok(loaded) => {
            let notes: Vec<String> = loaded.notes.iter().map(ToString::to_string).collect();
            format!("{loaded:?}\n{}\n{}\n{}", loaded.effective, loaded.effective.json(), notes.join("\n"))
        }
        Err(error) => format!("{error}\n{error:?}"),
    }
}

/// Returns whether half of a secret shows: that is too much as well.
fn leaks(text: &str, secret: &str) -> bool {
    let characters: Vec<char> = secret.chars().collect();
    characters.windows(6).any(|window| text.contains(&window.iter().collect::<String>()))
}

proptest! {
    #[test]
    fn no_secret_is_ever_printed(
        password in secret(),
        sasl in secret(),
        token in secret(),
        property in secret(),
        broken in prop::bool::ANY,
        scheme in prop::sample::select(vec!["postgresql", "postgres", "mysql", "redshift", "post gres"]),
        encoded in prop::bool::ANY,
    ) {
        let url_password = if encoded {
            password.bytes().map(|byte| format!("%{byte:02X}")).collect()
        } else {
            password.clone()
        };
        let mut case = Case::minimal()
            .variable("RASA_ANALYTICS_DB_URL", &format!("{scheme}://rasa:{url_password}@db:5432/analytics"))
            .variable("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
            .variable("KAFKA_SASL_USERNAME", "rasa")
            .variable("KAFKA_SASL_PASSWORD", &sasl)
            .variable("TURNMILL_API_TOKEN", &token)
            .variable("TURNMILL_DB_PASSWORD", &password)
            .variable("TURNMILL_KAFKA_PROPERTIES", &format!("ssl.key.password={property}"));
        if broken {
            case = case.variable("KAFKA_TOPIC", "x").variable("LOGGING_LEVEL", "loud");
        }
        let result = case.load();
        let text = format!("{}\n{case:?}", shown(&result)).replace(&format!("{:?}", case.variables), "");
        for secret in [&password, &url_password, &sasl, &token] {
            prop_assert!(!leaks(&text, secret), "{secret} in {text}");
        }
        // A comma ends a property, and what follows may look like the name of another.
        if !property.contains(',') {
            prop_assert!(!leaks(&text, &property), "{property} in {text}");
        }
    }

    #[test]
    fn nor_one_from_a_file(password in secret(), broken in prop::sample::select(vec!["", "\n[kafka", "\ntypo = 1", "\nsasl_password"])) {
        let quoted = password.replace('\'', "");
        let toml = format!("[database]\nurl = 'postgresql://rasa:{quoted}@db/analytics'\n[kafka]\nsasl_password = '{quoted}'{broken}\n");
        let yaml = format!("event_broker:\n  type: kafka\n  url: kafka\n  sasl_username: u\n  sasl_password: '{quoted}'{broken}\n");
        let case = Case::minimal()
            .without("RASA_ANALYTICS_DB_URL")
            .variable("TURNMILL_ENDPOINTS", "endpoints.yml")
            .file("turnmill.toml", &toml)
            .file("endpoints.yml", &yaml);
        let text = shown(&case.load());
        prop_assert!(!leaks(&text, &quoted), "{quoted} in {text}");
    }
}

#[test]
fn flags_and_environments_show_names_only() {
    let case = Case::minimal().flag(SettingId::DatabaseUrl, "postgresql://rasa:QZsecretZQ@db/d");
    let text = format!("{:?} {}", case.flags, shown(&case.load()));
    assert!(text.contains("DatabaseUrl") && !text.contains("QZsecretZQ"), "{text}");
}

/// Values in the wrong variable, and values with typing errors.
#[test]
fn a_secret_in_the_wrong_place_does_not_show() {
    for (variable, value) in [
        ("RASA_ANALYTICS_DB_URL", "postgresql://h/x?user=u&pasword=QZsecretZQ"),
        ("RASA_ANALYTICS_DB_URL", "postgresql://h/x?password=a&QZsecretZQ=b"),
        ("RASA_ANALYTICS_DB_URL", "postgresql://u:a?QZsecretZQ@h/x"),
        ("RASA_ANALYTICS_DB_URL", "mysql+pymysql://u:QZsecretZQ@h/x"),
        ("RASA_ANALYTICS_DB_URL", "jdbc:postgresql://h/x?user=u&password=QZsecretZQ"),
        ("RASA_ANALYTICS_DB_URL", "host=h user=u password=QZsecretZQ dbname=x"),
        ("RASA_ANALYTICS_DB_URL", "'postgresql://u:QZsecretZQ@h/x'"),
        ("RASA_ANALYTICS_DB_URL", "QZsecretZQ://u@h/x"),
        ("RASA_ANALYTICS_DB_URL", "sqlite://u:QZsecretZQ@h/x"),
        ("KAFKA_BROKER_ADDRESS", "u:QZsecretZQ@h:9092"),
        ("KAFKA_BROKER_ADDRESS", "sasl://u:QZsecretZQ@h:9092"),
        ("KAFKA_BROKER_ADDRESS", "u:QZsecretZQ"),
        ("KAFKA_BROKER_ADDRESS", "QZsecretZQ@h"),
        ("KAFKA_TOPIC", "kafka://u:QZsecretZQ@h/topic"),
        ("KAFKA_SECURITY_PROTOCOL", "sasl://u:QZsecretZQ@h"),
        ("KAFKA_SASL_USERNAME", "u:QZsecretZQ"),
        ("KAFKA_SASL_MECHANISM", "u:QZsecretZQ@h"),
        ("KAFKA_SSL_CA_LOCATION", "https://u:QZsecretZQ@h/ca.pem"),
        ("RASA_ANALYTICS_DB_HOST_NAME", "u:QZsecretZQ@h"),
        ("RASA_ANALYTICS_DB_HOST_NAME", "QZsecretZQ@h"),
        ("RASA_ANALYTICS_DB_PORT", "postgresql://u:QZsecretZQ@h"),
        ("RASA_ANALYTICS_DB_NAME", "postgresql://u:QZsecretZQ@h/x"),
        ("RASA_ANALYTICS_DB_USERNAME", "u:QZsecretZQ"),
        ("RASA_ANALYTICS_DB_SSL_MODE", "u:QZsecretZQ@h"),
        ("RASA_ANALYTICS_DLQ", "kafka://u:QZsecretZQ@h/dlq"),
        ("TURNMILL_DB_SCHEMA", "postgresql://u:QZsecretZQ@h/x"),
        ("TURNMILL_HTTP_ADDRESS", "http://u:QZsecretZQ@h:8732"),
        ("TURNMILL_CONFIG", "https://u:QZsecretZQ@h/turnmill.toml"),
        ("TURNMILL_ENDPOINTS", "https://u:QZsecretZQ@h/endpoints.yml"),
        ("TURNMILL_KAFKA_PROPERTIES", "sasl.pasword=QZsecretZQ"),
        ("TURNMILL_KAFKA_PROPERTIES", "sasl.oauthbearer.config=QZsecretZQ"),
        ("TURNMILL_KAFKA_PROPERTIES", "ssl.keystore.password=a,QZsecretZQ"),
        ("TURNMILL_LOG", "postgresql://u:QZsecretZQ@h/x"),
    ] {
        for with_url in [true, false] {
            let mut case = Case::minimal();
            if !with_url {
                case = case.without("RASA_ANALYTICS_DB_URL").variable("RASA_ANALYTICS_DB_HOST_NAME", "h");
                case = case.variable("RASA_ANALYTICS_DB_NAME", "x");
            }
            let case = case.variable(variable, value);
            let text = match case.load() {
                Ok(loaded) => {
                    let notes: Vec<String> = loaded.notes.iter().map(ToString::to_string).collect();
                    format!("{}\n{}\n{}", loaded.effective, loaded.effective.json(), notes.join("\n"))
                }
                Err(error) => error.to_string(),
            };
            assert!(!text.contains("QZsecretZQ"), "{variable}={value}:\n{text}");
        }
    }
}

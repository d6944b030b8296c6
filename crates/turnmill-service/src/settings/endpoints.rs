//! Reads the `event_broker` of an assistant's `endpoints.yml`: the topic the assistant writes is
//! the one to read.

use std::path::{Path, PathBuf};

use saphyr::{MarkedYaml, ScalarStyle, YamlData, YamlLoader};
use saphyr_parser::Parser;

use super::environment::Environment;
use super::file::GivenValues;
use super::origin::Origin;
use super::problem::{Note, Problem, Severity};
use super::properties::is_sensitive;
use super::table::SettingId;

/// Rasa's default for `security_protocol`. It differs from that of librdkafka and
/// `KAFKA_SECURITY_PROTOCOL`.
const DEFAULT_PROTOCOL: &str = "SASL_PLAINTEXT";

const KEYS: [(&str, SettingId); 9] = [
    ("url", SettingId::Brokers),
    ("topic", SettingId::Topic),
    ("security_protocol", SettingId::SecurityProtocol),
    ("sasl_mechanism", SettingId::SaslMechanism),
    ("sasl_username", SettingId::SaslUsername),
    ("sasl_password", SettingId::SaslPassword),
    ("ssl_cafile", SettingId::KafkaSslCa),
    ("ssl_certfile", SettingId::KafkaSslCert),
    ("ssl_keyfile", SettingId::KafkaSslKey),
];

/// The settings found in an `endpoints.yml`.
#[derive(Default)]
pub(crate) struct Endpoints {
    pub(crate) given: GivenValues,
    pub(crate) anonymised: Option<AnonymizationTopics>,
}

/// Topics that the assistant sends anonymised copies of its events to.
pub(crate) struct AnonymizationTopics {
    origin: Origin,
    topics: Vec<String>,
}

impl AnonymizationTopics {
    /// Returns the topics. Adds a note that names them, or a problem if no topic was chosen.
    ///
    /// There is no default in this case: an operator who anonymises events probably wants the
    /// anonymised copies read, and those are not in Rasa's default topic.
    pub(crate) fn into_topics(
        self,
        topic_chosen: bool,
        problems: &mut Vec<Problem>,
        notes: &mut Vec<Note>,
    ) -> Vec<String> {
        let Self { origin, topics } = self;
        let (list, are) = (topics.join("`, `"), if topics.len() == 1 { "is" } else { "are" });
        if topic_chosen {
            let text = format!(
                "{origin}: event_broker.anonymization_topics: anonymised copies of events go to `{list}`; KAFKA_TOPIC \
                 selects the topic to read"
            );
            notes.push(Note {
                severity: Severity::Info,
                setting: SettingId::Endpoints.setting().variable,
                text,
            });
        } else {
            problems.push(Problem::at(
                &origin,
                format!(
                    "event_broker.anonymization_topics {are} `{list}`, and `topic` is missing: set KAFKA_TOPIC to the \
                     topic to read, an anonymised one or that of the plain events (Rasa's default is \
                     `rasa_core_events`)"
                ),
            ));
        }
        topics
    }
}

/// Reads settings from the text of an `endpoints.yml`.
pub(crate) fn read(
    path: &Path,
    text: &str,
    environment: &Environment,
    problems: &mut Vec<Problem>,
    notes: &mut Vec<Note>,
) -> Endpoints {
    let nothing = Endpoints::default();
    let mut reader = Reader { path: path.to_owned(), section: "event_broker", environment, problems };
    let Some(documents) = reader.documents(text) else { return nothing };
    let Some((line, broker)) = documents.first().and_then(|document| entry(document, "event_broker")) else {
        reader.problem(1, "no `event_broker` found; set KAFKA_BROKER_ADDRESS and KAFKA_TOPIC instead".into());
        return nothing;
    };
    let kind = reader.scalar(broker, "type").map_or_else(|| "pika".to_owned(), |(_, kind)| kind);
    if !class_of_rasa(&kind, "EventBroker").unwrap_or(&kind).eq_ignore_ascii_case("kafka") {
        reader.problem(line, other_broker(&kind));
        return nothing;
    }
    let given = reader.kafka(line, broker, notes);
    Endpoints { given, anonymised: reader.anonymised(broker) }
}

/// What the name of one of Rasa's own classes begins with: `Kafka` for
/// `rasa.core.brokers.kafka.KafkaEventBroker`, which Rasa loads as it loads any class of a project.
pub(super) fn class_of_rasa<'k>(kind: &'k str, suffix: &str) -> Option<&'k str> {
    let class = kind.strip_prefix("rasa.").and_then(|path| path.rsplit('.').next())?;
    class.strip_suffix(suffix)
}

fn other_broker(kind: &str) -> String {
    let name = class_of_rasa(kind, "EventBroker").unwrap_or(kind).to_ascii_lowercase();
    let advice = match name.as_str() {
        "file" => "load its file with `turnmill-replay`",
        "sql" => "load its database with `turnmill-replay`",
        "pika" => "RabbitMQ is not supported",
        kind if kind.contains('.') => {
            "for a custom broker class that writes to Kafka, set KAFKA_BROKER_ADDRESS and KAFKA_TOPIC instead of \
             TURNMILL_ENDPOINTS; `turnmill-replay` loads files and databases"
        }
        _ => "this type is not supported",
    };
    format!("the event broker has type `{kind}`, but the service reads from `kafka` only: {advice}")
}

/// Returns the value of `key` with the line of the key.
pub(super) fn entry<'y>(yaml: &'y MarkedYaml<'y>, key: &str) -> Option<(usize, &'y MarkedYaml<'y>)> {
    let YamlData::Mapping(mapping) = &yaml.data else { return None };
    mapping.iter().find_map(|(name, value)| match &name.data {
        YamlData::Representation(text, _, _) if text == key => Some((name.span.start.line(), value)),
        _ => None,
    })
}

/// Reads one section of the file.
pub(super) struct Reader<'r> {
    pub(super) path: PathBuf,
    /// The section's key.
    pub(super) section: &'static str,
    pub(super) environment: &'r Environment,
    pub(super) problems: &'r mut Vec<Problem>,
}

impl Reader<'_> {
    /// Parses the file into its documents. Returns `None`, and adds a problem, if it is not valid
    /// YAML.
    pub(super) fn documents<'y>(&mut self, text: &'y str) -> Option<Vec<MarkedYaml<'y>>> {
        let mut loader = YamlLoader::<MarkedYaml<'_>>::default();
        // Keeps scalars as text: a password may consist of digits.
        loader.early_parse(false);
        if let Err(error) = Parser::new_from_str(text).load(&mut loader, false) {
            self.problem(error.marker().line(), format!("invalid YAML: {}", error.info()));
            return None;
        }
        if let Some(error) = loader.error() {
            let (line, info) = (error.marker().line(), error.info().to_owned());
            self.problem(line, format!("invalid YAML: {info}"));
            return None;
        }
        Some(loader.into_documents())
    }

    fn origin(&self, line: usize) -> Origin {
        Origin::Endpoints { path: self.path.clone(), line }
    }

    pub(super) fn problem(&mut self, line: usize, detail: String) {
        self.problems.push(Problem::at(&self.origin(line), detail));
    }

    fn kafka(&mut self, line: usize, broker: &MarkedYaml<'_>, notes: &mut Vec<Note>) -> GivenValues {
        let mut given = GivenValues::new();
        for (key, id) in KEYS {
            if let Some((line, text)) = self.scalar(broker, key) {
                given.push((id, text, self.origin(line)));
            }
        }
        if !given.iter().any(|(id, ..)| *id == SettingId::SecurityProtocol) {
            let (path, key) = (self.path.clone(), "security_protocol");
            let origin = Origin::EndpointsDefault { path, line, key };
            given.push((SettingId::SecurityProtocol, DEFAULT_PROTOCOL.to_owned(), origin));
        }
        let is_on =
            |found: Option<(usize, String)>| found.is_some_and(|(_, on)| on.eq_ignore_ascii_case("true"));
        if !is_on(self.scalar(broker, "partition_by_sender")) {
            notes.push(Note {
                severity: Severity::Info,
                setting: SettingId::Endpoints.setting().variable,
                text: "the assistant does not key its events by sender (`partition_by_sender` is not true); the tables \
                       stay correct, but writing is slower"
                    .into(),
            });
        }
        given
    }

    /// Returns the topics of `anonymization_topics`, a list of names and rules.
    fn anonymised(&mut self, broker: &MarkedYaml<'_>) -> Option<AnonymizationTopics> {
        let (line, value) = entry(broker, "anonymization_topics")?;
        let YamlData::Sequence(items) = &value.data else { return None };
        let mut topics = Vec::new();
        for item in items {
            if let Some((_, name)) = self.scalar(item, "name") {
                topics.push(name);
            }
        }
        (!topics.is_empty()).then(|| AnonymizationTopics { origin: self.origin(line), topics })
    }

    /// Returns the text of `key`, or the comma-separated texts of a list. `None` if it is missing,
    /// null or empty.
    pub(super) fn scalar(&mut self, broker: &MarkedYaml<'_>, key: &str) -> Option<(usize, String)> {
        let (line, value) = entry(broker, key)?;
        let texts: Vec<&MarkedYaml<'_>> = match &value.data {
            YamlData::Sequence(items) => items.iter().collect(),
            _ => vec![value],
        };
        let mut found = Vec::new();
        for value in texts {
            let YamlData::Representation(text, style, _) = &value.data else {
                self.problem(line, format!("{}.{key}: expected text", self.section));
                return None;
            };
            let is_null =
                *style == ScalarStyle::Plain && matches!(&**text, "" | "~" | "null" | "Null" | "NULL");
            if is_null {
                continue;
            }
            match self.expand(text) {
                Ok(text) => found.push(text),
                Err(name) => {
                    // What looks like a variable may be part of a password.
                    let variable = if is_sensitive(key) {
                        "a variable in it".to_owned()
                    } else {
                        format!("variable {name}")
                    };
                    let detail = format!("{}.{key}: {variable} is not set", self.section);
                    self.problem(value.span.start.line(), detail);
                    return None;
                }
            }
        }
        let text = found.join(",");
        (!text.is_empty()).then_some((line, text))
    }

    /// Replaces each `${NAME}` by the variable's value. The error is the name of a variable that is
    /// not set.
    fn expand(&self, text: &str) -> Result<String, String> {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, after)) = after.split_once('}') else { break };
            expanded.push_str(before);
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                expanded.extend(["${", name, "}"]);
            } else {
                expanded.push_str(self.environment.get(name).ok_or_else(|| name.to_owned())?);
            }
            rest = after;
        }
        expanded.push_str(rest);
        Ok(expanded)
    }
}

//! Checks of brokers, consumer group and topics.

use std::io::Write;
use std::time::Duration;

use turnmill_pipeline::{counted, explain};
use turnmill_service::settings::{Loaded, ServiceSettings};
use turnmill_source_kafka::{Connectivity, KafkaError, KafkaSettings, check_connectivity};

use super::{Findings, sample};
use crate::connect;

/// Time the brokers have to respond.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of topics to name.
const NAMED: usize = 5;

/// Checks brokers, consumer group and topics.
pub(super) fn check(
    loaded: &Loaded,
    kafka: &KafkaSettings,
    findings: &mut Findings<impl Write>,
) -> std::io::Result<()> {
    let settings = &loaded.settings;
    let dead_letter_topic = settings.dead_letters.topic.as_deref();
    // The topic that is read may be one of the anonymised topics.
    let anonymised = loaded.anonymization_topics.iter().map(String::as_str);
    let anonymised = anonymised.filter(|topic| *topic != settings.kafka.topic);
    let row_topic = settings.row_topic.topic.as_deref();
    let others: Vec<&str> = dead_letter_topic.into_iter().chain(row_topic).chain(anonymised).collect();
    let found = match check_connectivity(kafka, &others, TIMEOUT) {
        Ok(found) => found,
        Err(KafkaError::Unreachable { brokers, problem }) => {
            return findings.problem(format_args!(
                "KAFKA_BROKER_ADDRESS: no broker of {brokers} is reachable: {problem}"
            ));
        }
        Err(error) => return findings.problem(explain(&error)),
    };
    let brokers = counted(found.brokers as u64, "broker");
    findings.ok(format_args!("Kafka cluster {} reachable, {brokers}", found.cluster))?;
    group(settings, &found, findings)?;
    for topic in &found.topics {
        let name = topic.topic.as_str();
        let partitions = topic.partitions.map(|count| counted(count as u64, "partition"));
        match (topic.partitions.zip(partitions), name) {
            (Some((count, partitions)), name) if name == settings.kafka.topic => {
                findings.ok(format_args!("topic `{name}` exists, {partitions}"))?;
                let consumers = connect::consumers(settings);
                if consumers > count {
                    findings.note(format_args!(
                        "RASA_ANALYTICS_CONSUMER_COUNT: {consumers} consumers for {partitions}; the surplus stays idle"
                    ))?;
                }
                sample::check(settings, kafka, findings)?;
            }
            (None, name) if name == settings.kafka.topic => findings.problem(format_args!(
                "KAFKA_TOPIC: topic `{name}` does not exist; the service would wait for it"
            ))?,
            (Some((_, partitions)), name) if Some(name) == dead_letter_topic => {
                findings.ok(format_args!("dead-letter topic `{name}` exists, {partitions}"))?;
            }
            (None, name) if Some(name) == dead_letter_topic => findings.note(format_args!(
                "warning: RASA_ANALYTICS_DLQ: topic `{name}` does not exist and is never created; the table keeps all dead \
                 letters"
            ))?,
            (Some((_, partitions)), name) if Some(name) == row_topic => {
                findings.ok(format_args!("row topic `{name}` exists, {partitions}"))?;
            }
            (None, name) if Some(name) == row_topic => findings.note(format_args!(
                "warning: TURNMILL_ROW_TOPIC: topic `{name}` does not exist and is never created; rows are sent once it exists"
            ))?,
            (Some((_, partitions)), name) => findings.note(format_args!(
                "anonymised topic `{name}` (anonymization_topics) exists, {partitions}; KAFKA_TOPIC selects the topic to read"
            ))?,
            (None, name) => findings.note(format_args!(
                "topic `{name}` in anonymization_topics of endpoints.yml does not exist"
            ))?,
        }
    }
    if !found.anonymised.is_empty() {
        let names = found.anonymised.iter().take(NAMED).map(|name| format!("`{name}`")).collect::<Vec<_>>();
        findings.note(format_args!(
            "these topics hold anonymised events, judging by their names: {}; KAFKA_TOPIC selects the topic to read",
            names.join(", ")
        ))?;
    }
    Ok(())
}

/// Reports members and offsets that other programs have in the consumer group.
fn group(
    settings: &ServiceSettings,
    found: &Connectivity,
    findings: &mut Findings<impl Write>,
) -> std::io::Result<()> {
    let group = &settings.kafka.group_id;
    if settings.kafka.take_over_group {
        return findings.note(format_args!(
            "TURNMILL_KAFKA_TAKE_OVER_GROUP: group `{group}` not checked for members and offsets of other programs"
        ));
    }
    let (members, offsets) = (&found.group.members, &found.group.offsets);
    if !members.is_empty() {
        findings.problem(format_args!(
            "RASA_ANALYTICS_CONSUMER_ID: group `{group}` has members of other programs ({}), so the service would refuse to \
             join it. Name another group, or shut down these programs and set TURNMILL_KAFKA_TAKE_OVER_GROUP=true",
            members.join(", ")
        ))?;
    }
    if !offsets.is_empty() {
        findings.note(format_args!(
            "RASA_ANALYTICS_CONSUMER_ID: group `{group}` has offsets of another program ({}). They are not overwritten, so lag \
             tools will not show turnmill's progress. To overwrite them, set TURNMILL_KAFKA_TAKE_OVER_GROUP=true",
            offsets.join(", ")
        ))?;
    }
    if members.is_empty() && offsets.is_empty() {
        findings.ok(format_args!("group `{group}` is not used by other programs"))?;
    }
    Ok(())
}

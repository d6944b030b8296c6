//! Brokers, group and topics, as far as the service depends on them.

use std::io::Write;
use std::time::Duration;

use turnmill_pipeline::{counted, explain};
use turnmill_service::settings::{Loaded, ServiceSettings};
use turnmill_source_kafka::{Connectivity, KafkaError, KafkaSettings, check_connectivity};

use super::{Findings, sample};
use crate::connect;

/// How long brokers may take to answer.
const BROKERS: Duration = Duration::from_secs(10);
/// Topics that are named at most.
const NAMED: usize = 5;

/// Looks at brokers, group and topics.
pub(super) fn look(
    loaded: &Loaded,
    kafka: &KafkaSettings,
    findings: &mut Findings<impl Write>,
) -> std::io::Result<()> {
    let settings = &loaded.settings;
    let mirror = settings.dead_letters.topic.as_deref();
    // One of them may be the topic that is read.
    let siblings = loaded.anonymization_topics.iter().map(String::as_str);
    let siblings: Vec<&str> = siblings.filter(|sibling| *sibling != settings.kafka.topic).collect();
    let others: Vec<&str> = mirror.into_iter().chain(siblings.iter().copied()).collect();
    let found = match check_connectivity(kafka, &others, BROKERS) {
        Ok(found) => found,
        Err(KafkaError::Unreachable { brokers, problem }) => {
            return findings
                .problem(format_args!("KAFKA_BROKER_ADDRESS: no broker of {brokers} answers: {problem}"));
        }
        Err(error) => return findings.problem(explain(&error)),
    };
    let brokers = counted(found.brokers as u64, "broker");
    findings.ok(format_args!("Kafka cluster {} answers, {brokers}", found.cluster))?;
    group(settings, &found, findings)?;
    for topic in &found.topics {
        let name = topic.topic.as_str();
        let partitions = topic.partitions.map(|count| counted(count as u64, "partition"));
        match (topic.partitions.zip(partitions), name) {
            (Some((count, partitions)), name) if name == settings.kafka.topic => {
                findings.ok(format_args!("topic `{name}` is there, {partitions}"))?;
                if connect::consumers(settings) > count {
                    findings.note(
                        "RASA_ANALYTICS_CONSUMER_COUNT: more consumers than the topic has partitions have nothing to do",
                    )?;
                }
                sample::look(settings, kafka, findings)?;
            }
            (None, name) if name == settings.kafka.topic => findings.problem(format_args!(
                "KAFKA_TOPIC: there is no topic `{name}`; the service would wait for it"
            ))?,
            (Some((_, partitions)), name) if Some(name) == mirror => {
                findings.ok(format_args!("dead-letter topic `{name}` is there, {partitions}"))?;
            }
            (None, name) if Some(name) == mirror => findings.note(format_args!(
                "warning: RASA_ANALYTICS_DLQ: there is no topic `{name}`; it is never created, and the table keeps all dead letters"
            ))?,
            (Some((_, partitions)), name) => findings.note(format_args!(
                "topic `{name}` of anonymised copies (anonymization_topics) is there, {partitions}; KAFKA_TOPIC chooses what is read"
            ))?,
            (None, name) => findings.note(format_args!(
                "there is no topic `{name}`, which endpoints.yml names among its anonymization_topics"
            ))?,
        }
    }
    if !found.anonymised.is_empty() {
        let names = found.anonymised.iter().take(NAMED).map(|name| format!("`{name}`")).collect::<Vec<_>>();
        findings.note(format_args!(
            "by their names, these topics hold anonymised events: {}; KAFKA_TOPIC chooses what is read",
            names.join(", ")
        ))?;
    }
    Ok(())
}

/// Says what other programs have in the consumer group.
fn group(
    settings: &ServiceSettings,
    found: &Connectivity,
    findings: &mut Findings<impl Write>,
) -> std::io::Result<()> {
    let group = &settings.kafka.group_id;
    if settings.kafka.take_over_group {
        return findings.note(format_args!(
            "TURNMILL_KAFKA_TAKE_OVER_GROUP: members and offsets that other programs have in the group `{group}` are not looked at"
        ));
    }
    let (members, offsets) = (&found.group.members, &found.group.offsets);
    if !members.is_empty() {
        findings.problem(format_args!(
            "RASA_ANALYTICS_CONSUMER_ID: the group `{group}` has members that are not turnmill's ({}); the service would refuse \
             to take partitions from them. Name a group of turnmill's own, or stop them and set \
             TURNMILL_KAFKA_TAKE_OVER_GROUP=true",
            members.join(", ")
        ))?;
    }
    if !offsets.is_empty() {
        findings.note(format_args!(
            "RASA_ANALYTICS_CONSUMER_ID: the group `{group}` has offsets that turnmill did not commit ({}); they would be left \
             alone, and lag tools would not follow turnmill, until TURNMILL_KAFKA_TAKE_OVER_GROUP=true",
            offsets.join(", ")
        ))?;
    }
    if members.is_empty() && offsets.is_empty() {
        findings.ok(format_args!("the group `{group}` is not used by other programs"))?;
    }
    Ok(())
}

//! Check whether the settings lead to brokers.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::metadata::Metadata;
use rdkafka::topic_partition_list::TopicPartitionList;

use crate::context::lock;
use crate::error::{explain, refusal};
use crate::poll::membership;
use crate::{KafkaError, KafkaSettings};

/// What the brokers answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connectivity {
    /// The cluster's id, which names the source in stored positions.
    pub cluster: String,
    /// Number of brokers.
    pub brokers: usize,
    /// The requested topics.
    pub topics: Vec<TopicFound>,
    /// Other topics of the cluster whose names suggest anonymised events.
    pub anonymised: Vec<String>,
    /// Members and offsets of other programs in the consumer group.
    pub group: GroupFound,
}

/// Members and offsets of other programs in a consumer group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupFound {
    /// Members, by client id and host. Joining would take partitions from them. Empty if the group
    /// is to be taken over.
    pub members: Vec<String>,
    /// Partitions with committed offsets, such as `topic/3`. They are not overwritten.
    pub offsets: Vec<String>,
}

/// A topic, if it exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFound {
    /// The topic's name.
    pub topic: String,
    /// Number of its partitions; `None` if it does not exist.
    pub partitions: Option<usize>,
}

#[derive(Debug, Default)]
pub(crate) struct LastError(Mutex<Option<(Code, String)>>);

impl LastError {
    /// Returns the last error, if it is a refusal.
    pub(crate) fn refusal(&self) -> Option<KafkaError> {
        let last = lock(&self.0);
        last.as_ref().and_then(|(code, reason)| refusal(*code, reason))
    }

    pub(crate) fn last(&self) -> Option<String> {
        lock(&self.0).as_ref().map(|(_, reason)| reason.clone())
    }

    pub(crate) fn note(&self, error: &ClientError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        let mut last = lock(&self.0);
        // librdkafka reports that all brokers are down after the cause of it.
        if last.is_none() || code != Code::AllBrokersDown {
            *last = Some((code, reason.to_owned()));
        }
    }
}

impl ClientContext for LastError {
    fn error(&self, error: ClientError, reason: &str) {
        self.note(&error, reason);
    }
}

impl ConsumerContext for LastError {}

/// Connects to the brokers and looks up the topics of the settings and `others`, such as the
/// dead-letter topic.
///
/// Also finds members and offsets of other programs in the consumer group. Joins no group and
/// commits nothing. It cannot see whether records have keys.
///
/// # Errors
///
/// [`KafkaError::Setting`] for invalid settings, [`KafkaError::Unreachable`] if no broker answers
/// within `timeout`, [`KafkaError::Refused`]. A topic that does not exist is no error.
pub fn check_connectivity(
    settings: &KafkaSettings,
    others: &[&str],
    timeout: Duration,
) -> Result<Connectivity, KafkaError> {
    settings.validate()?;
    let consumer: BaseConsumer<LastError> = settings
        .consumer()
        .remove("statistics.interval.ms")
        .remove("group.instance.id")
        .create_with_context(LastError::default())
        .map_err(|error| KafkaError::failed("cannot set up the client", &error))?;
    let end = Instant::now() + timeout;
    let cluster = loop {
        if let Some(cluster) = consumer.client().fetch_cluster_id(Duration::from_millis(250)) {
            break cluster;
        }
        // Runs the callbacks.
        let _ = consumer.poll(Duration::ZERO);
        if let Some(refused) = consumer.context().refusal() {
            return Err(refused);
        }
        if Instant::now() >= end {
            let problem = consumer.context().last().unwrap_or_else(|| "no answer".into());
            return Err(KafkaError::Unreachable { brokers: settings.brokers.clone(), problem });
        }
    };
    let mut topics = Vec::new();
    let mut brokers = 0;
    for topic in settings.topics.iter().map(String::as_str).chain(others.iter().copied()) {
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
        let metadata = consumer.fetch_metadata(Some(topic), left).map_err(|error| {
            let refused = error.rdkafka_error_code().and_then(|code| refusal(code, ""));
            refused.unwrap_or_else(|| KafkaError::Failed {
                doing: "cannot look up a topic",
                problem: explain(&error),
            })
        })?;
        brokers = metadata.brokers().len();
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        if let Some(error) = found.and_then(rdkafka::metadata::MetadataTopic::error)
            && let Some(refused) = refusal(error.into(), &format!("topic `{topic}`: {}", Code::from(error)))
        {
            return Err(refused);
        }
        let partitions = found.map(|found| found.partitions().len()).filter(|count| *count > 0);
        topics.push(TopicFound { topic: topic.to_owned(), partitions });
    }
    let left = end.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
    let group = group(&consumer, settings, &topics, left);
    let names = consumer.fetch_metadata(None, left).ok();
    let names = names.iter().flat_map(Metadata::topics).map(|topic| topic.name().to_owned());
    let mut anonymised: Vec<String> = names.filter(|name| is_anonymised(name, settings, others)).collect();
    anonymised.sort();
    Ok(Connectivity { cluster, brokers, topics, anonymised, group })
}

/// Returns whether the name of a topic that was not requested suggests anonymised events.
fn is_anonymised(name: &str, settings: &KafkaSettings, others: &[&str]) -> bool {
    let asked = settings.topics.iter().any(|topic| topic == name) || others.contains(&name);
    !asked && name.to_ascii_lowercase().contains("anonym")
}

/// Returns members and offsets of other programs in the group. What cannot be fetched counts as
/// absent.
fn group(
    consumer: &BaseConsumer<LastError>,
    settings: &KafkaSettings,
    topics: &[TopicFound],
    timeout: Duration,
) -> GroupFound {
    if settings.take_over_group {
        return GroupFound::default();
    }
    let mut list = TopicPartitionList::new();
    for topic in topics.iter().filter(|topic| settings.topics.contains(&topic.topic)) {
        for number in 0..topic.partitions.and_then(|count| i32::try_from(count).ok()).unwrap_or_default() {
            list.add_partition(&topic.topic, number);
        }
    }
    let committed = (list.count() > 0).then(|| consumer.committed_offsets(list, timeout).ok()).flatten();
    let offsets = committed.map(|list| membership::foreign_offsets(settings, &list)).unwrap_or_default();
    let mut offsets: Vec<_> = offsets.into_iter().collect();
    offsets.sort();
    GroupFound {
        members: membership::foreign_members(consumer, settings, timeout),
        offsets: offsets.into_iter().map(|(topic, number)| format!("{topic}/{number}")).collect(),
    }
}

//! Whether the settings lead to brokers.

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

/// What the brokers said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connectivity {
    /// The cluster's id: the name of the source in stored positions.
    pub cluster: String,
    /// Number of brokers.
    pub brokers: usize,
    /// The topics asked for.
    pub topics: Vec<TopicFound>,
    /// Other topics of the cluster whose name says that they hold anonymised events.
    pub anonymised: Vec<String>,
    /// What other programs have in the consumer group.
    pub group: GroupFound,
}

/// What other programs have in a consumer group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupFound {
    /// Members, by client id and host; joining would take partitions from them. Not looked for when the group is to be taken
    /// over.
    pub members: Vec<String>,
    /// Partitions with committed offsets, as `topic/3`; they are left alone.
    pub offsets: Vec<String>,
}

/// What is known of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFound {
    /// Its name.
    pub topic: String,
    /// Number of its partitions; `None` if it does not exist.
    pub partitions: Option<usize>,
}

#[derive(Debug, Default)]
pub(crate) struct Watch(Mutex<Option<(Code, String)>>);

impl Watch {
    /// The last error, as a refusal where it is one.
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
        // That all brokers are down is said after what is wrong with them.
        if last.is_none() || code != Code::AllBrokersDown {
            *last = Some((code, reason.to_owned()));
        }
    }
}

impl ClientContext for Watch {
    fn error(&self, error: ClientError, reason: &str) {
        self.note(&error, reason);
    }
}

impl ConsumerContext for Watch {}

/// Reaches the brokers, and looks up the topics of the settings and `others`, such as the dead-letter topic, and what other
/// programs have in the consumer group. Joins no group and commits nothing. Whether records have keys cannot be seen from
/// outside.
///
/// # Errors
///
/// Invalid settings; [`KafkaError::Unreachable`] when no broker answered within `timeout`; [`KafkaError::Refused`]. A
/// topic that does not exist is no error.
pub fn check_connectivity(
    settings: &KafkaSettings,
    others: &[&str],
    timeout: Duration,
) -> Result<Connectivity, KafkaError> {
    settings.validate()?;
    let consumer: BaseConsumer<Watch> = settings
        .consumer()
        .remove("statistics.interval.ms")
        .remove("group.instance.id")
        .create_with_context(Watch::default())
        .map_err(|error| KafkaError::failed("cannot set up the client", &error))?;
    let end = Instant::now() + timeout;
    let cluster = loop {
        if let Some(cluster) = consumer.client().fetch_cluster_id(Duration::from_millis(250)) {
            break cluster;
        }
        // Serves the callbacks.
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

/// Whether a topic that was not asked for says by its name that it holds anonymised events.
fn is_anonymised(name: &str, settings: &KafkaSettings, others: &[&str]) -> bool {
    let asked = settings.topics.iter().any(|topic| topic == name) || others.contains(&name);
    !asked && name.to_ascii_lowercase().contains("anonym")
}

/// What other programs have in the group of the settings. What cannot be found out counts as nothing.
fn group(
    consumer: &BaseConsumer<Watch>,
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

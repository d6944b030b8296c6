//! Members and committed offsets of other programs in the consumer group.
//!
//! A group spreads partitions over the processes of one application. Joining the group of another
//! application takes partitions away from it. Committing moves its offsets, so it would skip
//! records that it has not read.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::groups::GroupInfo;
use rdkafka::metadata::{MetadataPartition, MetadataTopic};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};

use super::{Poller, REQUEST_TIMEOUT, SHORT_TIMEOUT};
use crate::context::TopicPartition;
use crate::settings::{DEFAULT_CLIENT, DEFAULT_GROUP};
use crate::{KafkaError, KafkaSettings};

/// Metadata of offsets that turnmill commits. Other consumers commit none, or their own.
const MARK: &str = "turnmill";
/// Maximum number of members that an error names.
const NAMED: usize = 3;

/// Whether this process may commit the group's offsets.
#[derive(Debug, Default)]
pub(super) enum Mirroring {
    /// The brokers have not answered yet.
    #[default]
    Unknown,
    /// These partitions, of all partitions of the topics, have offsets that other programs
    /// committed.
    ///
    /// If there is one, no offset is committed at all. The other program would begin at these
    /// offsets where it has none of its own.
    Known(HashSet<TopicPartition>),
}

impl Mirroring {
    pub(super) fn is_foreign(&self, topic_partition: &TopicPartition) -> bool {
        matches!(self, Self::Known(foreign) if foreign.contains(topic_partition))
    }
}

/// Marks offsets to be committed as turnmill's.
pub(super) fn mark(list: &mut TopicPartitionList) {
    for mut element in list.elements() {
        element.set_metadata(MARK);
    }
}

impl Poller {
    /// Refuses a group that has members of other programs. A group that cannot be described is
    /// accepted, because some brokers allow joining without describing.
    pub(super) fn refuse_foreign_members(&self) -> Result<(), KafkaError> {
        if self.settings.take_over_group || self.settings.range.is_some() {
            return Ok(());
        }
        let members = foreign_members(&self.consumer, &self.settings, REQUEST_TIMEOUT);
        if members.is_empty() {
            return Ok(());
        }
        Err(KafkaError::GroupInUse { group: self.settings.group_id.clone(), members: named(&members) })
    }

    /// Fetches the group's offsets, and records which programs committed them.
    pub(super) fn check_group_offsets(&mut self) -> Option<TopicPartitionList> {
        let (list, foreign) = self.group_offsets(REQUEST_TIMEOUT)?;
        self.mirroring = foreign.map_or(Mirroring::Unknown, Mirroring::Known);
        Some(list)
    }

    /// Returns whether stored positions may be committed to the group.
    pub(super) fn may_mirror(&mut self) -> bool {
        if matches!(self.mirroring, Mirroring::Unknown)
            && let Some((_, Some(foreign))) = self.group_offsets(SHORT_TIMEOUT)
        {
            self.mirroring = Mirroring::Known(foreign);
        }
        matches!(&self.mirroring, Mirroring::Known(foreign) if foreign.is_empty())
    }

    /// Returns the group's offsets of all partitions of the topics, and those that other programs
    /// committed. The latter is `None` if some could not be fetched.
    fn group_offsets(
        &self,
        timeout: Duration,
    ) -> Option<(TopicPartitionList, Option<HashSet<TopicPartition>>)> {
        let (mut partitions, mut complete) = (self.partitions.clone(), true);
        for topic in &self.settings.topics {
            let Ok(metadata) = self.consumer.fetch_metadata(Some(topic), timeout) else {
                complete = false;
                continue;
            };
            let found = metadata.topics().iter().filter(|found| found.name() == topic);
            let numbers = found.flat_map(MetadataTopic::partitions).map(MetadataPartition::id);
            partitions.extend(numbers.map(|number| (topic.clone(), number)));
        }
        partitions.sort();
        partitions.dedup();
        let list = self.list(&partitions, |_| Offset::Invalid);
        let list = self.consumer.committed_offsets(list, timeout).ok()?;
        complete &= list.elements().iter().all(|element| element.error().is_ok());
        let foreign = foreign_offsets(&self.settings, &list);
        Some((list, complete.then_some(foreign)))
    }
}

/// Returns the partitions whose committed offset is another program's.
pub(crate) fn foreign_offsets(
    settings: &KafkaSettings,
    list: &TopicPartitionList,
) -> HashSet<TopicPartition> {
    if settings.take_over_group || settings.group_id == DEFAULT_GROUP {
        return HashSet::new();
    }
    let is_foreign = |element: &TopicPartitionListElem<'_>| {
        // rdkafka panics on metadata that is not UTF-8; turnmill's is.
        let metadata = || catch_unwind(AssertUnwindSafe(|| element.metadata() == MARK));
        matches!(element.offset(), Offset::Offset(_)) && !metadata().unwrap_or(false)
    };
    let elements = list.elements();
    let foreign = elements.iter().filter(|element| is_foreign(element));
    foreign.map(|element| (element.topic().to_owned(), element.partition())).collect()
}

/// Returns clients and hosts of the group's members that are other programs.
pub(crate) fn foreign_members<C>(
    consumer: &BaseConsumer<C>,
    settings: &KafkaSettings,
    timeout: Duration,
) -> Vec<String>
where
    C: ConsumerContext,
{
    let Ok(list) = consumer.fetch_group_list(Some(&settings.group_id), timeout) else { return Vec::new() };
    let own = settings.extra.get("client.id").unwrap_or(&settings.client_id);
    let of_group = |group: &GroupInfo| {
        let members = group.members().iter().map(|member| (member.client_id(), member.client_host()));
        let others = members.filter(|(client, _)| *client != own && !client.starts_with(DEFAULT_CLIENT));
        others
            .map(|(client, host)| format!("`{client}` at {}", host.trim_start_matches('/')))
            .collect::<Vec<_>>()
    };
    let groups = list.groups().iter();
    // As with metadata: rdkafka panics on names that are not UTF-8. No known client sends such
    // names.
    let others = catch_unwind(AssertUnwindSafe(|| groups.flat_map(of_group).collect::<Vec<_>>()));
    others.unwrap_or_default()
}

/// Lists the members, the first few by name.
pub(crate) fn named(members: &[String]) -> String {
    let mut text = members.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if members.len() > NAMED {
        text.push_str(&format!(" and {} more", members.len() - NAMED));
    }
    text
}

//! Whose the consumer group is: members and committed offsets of other programs.
//!
//! A group is Kafka's way to spread partitions over the processes of one application. Joining the group of another
//! application takes partitions away from it, and a commit moves its offsets: records that it has not read are lost to it.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::groups::GroupInfo;
use rdkafka::metadata::{MetadataPartition, MetadataTopic};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};

use super::{ANSWER, HASTE, Poller};
use crate::context::TopicPartition;
use crate::settings::{DEFAULT_CLIENT, DEFAULT_GROUP};
use crate::{KafkaError, KafkaSettings};

/// Metadata of the offsets that mirror stored positions. Other consumers commit none, or their own.
const MARK: &str = "turnmill";
/// Members that an error names.
const NAMED: usize = 3;

/// Whether the group's offsets are ours to write.
#[derive(Debug, Default)]
pub(super) enum Mirroring {
    /// The brokers have not answered yet.
    #[default]
    Unknown,
    /// Other programs committed offsets of these partitions, of all that the topics have. If there is one, no offset is
    /// written: also where the group has none, the other program would begin at what we wrote.
    Known(HashSet<TopicPartition>),
}

impl Mirroring {
    pub(super) fn is_foreign(&self, topic_partition: &TopicPartition) -> bool {
        matches!(self, Self::Known(foreign) if foreign.contains(topic_partition))
    }
}

/// Marks offsets to be committed as ours.
pub(super) fn mark(list: &mut TopicPartitionList) {
    for mut element in list.elements() {
        element.set_metadata(MARK);
    }
}

impl Poller {
    /// Refuses a group that has members of other programs. A group that cannot be looked at is not refused: some brokers
    /// allow joining without describing.
    pub(super) fn refuse_foreign_members(&self) -> Result<(), KafkaError> {
        if self.settings.take_over_group || self.settings.range.is_some() {
            return Ok(());
        }
        let members = foreign_members(&self.consumer, &self.settings, ANSWER);
        if members.is_empty() {
            return Ok(());
        }
        Err(KafkaError::GroupInUse { group: self.settings.group_id.clone(), members: named(&members) })
    }

    /// Asks for the group's offsets, and finds out whose they are.
    pub(super) fn look_at_group_offsets(&mut self) -> Option<TopicPartitionList> {
        let (list, foreign) = self.group_offsets(ANSWER)?;
        self.mirroring = foreign.map_or(Mirroring::Unknown, Mirroring::Known);
        Some(list)
    }

    /// Whether stored positions are to be mirrored.
    pub(super) fn may_mirror(&mut self) -> bool {
        if matches!(self.mirroring, Mirroring::Unknown)
            && let Some((_, Some(foreign))) = self.group_offsets(HASTE)
        {
            self.mirroring = Mirroring::Known(foreign);
        }
        matches!(&self.mirroring, Mirroring::Known(foreign) if foreign.is_empty())
    }

    /// The group's offsets of all partitions that its topics have, and which of these other programs committed, if that is
    /// known of all.
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

/// Partitions whose committed offset is another program's.
pub(crate) fn foreign_offsets(
    settings: &KafkaSettings,
    list: &TopicPartitionList,
) -> HashSet<TopicPartition> {
    if settings.take_over_group || settings.group_id == DEFAULT_GROUP {
        return HashSet::new();
    }
    let is_foreign = |element: &TopicPartitionListElem<'_>| {
        // The client panics over metadata that is not UTF-8; ours is.
        let metadata = || catch_unwind(AssertUnwindSafe(|| element.metadata() == MARK));
        matches!(element.offset(), Offset::Offset(_)) && !metadata().unwrap_or(false)
    };
    let elements = list.elements();
    let foreign = elements.iter().filter(|element| is_foreign(element));
    foreign.map(|element| (element.topic().to_owned(), element.partition())).collect()
}

/// Clients and hosts of the group's members that are other programs.
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
    // As with metadata: the client panics over names that are not UTF-8, which no client library sends.
    let others = catch_unwind(AssertUnwindSafe(|| groups.flat_map(of_group).collect::<Vec<_>>()));
    others.unwrap_or_default()
}

/// The members in words, the first few by name.
pub(crate) fn named(members: &[String]) -> String {
    let mut text = members.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if members.len() > NAMED {
        text.push_str(&format!(" and {} more", members.len() - NAMED));
    }
    text
}

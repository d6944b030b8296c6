//! Lookup of the offsets at which a range begins and ends.

use std::collections::HashMap;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError as ClientError;
use rdkafka::metadata::{MetadataPartition, MetadataTopic};
use rdkafka::topic_partition_list::Offset;

use super::{Poller, REQUEST_TIMEOUT, offsets};
use crate::KafkaError;
use crate::context::{TopicPartition, lock};
use crate::settings::Edge;

impl Poller {
    /// Looks up a range and assigns it, without a group.
    pub(super) fn assign_range(&mut self) -> Result<(), KafkaError> {
        let range = self.settings.range.unwrap_or_default();
        let failed = |doing| move |error: ClientError| KafkaError::failed(doing, &error);
        let topics = self.settings.topics.clone();
        for topic in topics {
            let metadata = self
                .consumer
                .fetch_metadata(Some(&topic), REQUEST_TIMEOUT)
                .map_err(failed("cannot look up the topic"))?;
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            let partitions = found.map(MetadataTopic::partitions).unwrap_or_default();
            if partitions.is_empty() {
                return Err(KafkaError::NoTopic { topic });
            }
            let wanted = self.settings.range_partition;
            let numbers = partitions.iter().map(MetadataPartition::id);
            let numbers = numbers.filter(|number| wanted.is_none_or(|wanted| wanted == *number));
            self.partitions.extend(numbers.map(|number| (topic.clone(), number)));
        }
        self.partitions.sort();
        for _ in 0..10 {
            if self.fetch_watermarks() {
                break;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        if self.watermarks.len() < self.partitions.len() {
            let problem = lock(&self.shared.state).stats.last_error.clone().unwrap_or_default();
            return Err(KafkaError::Failed { doing: "cannot look up where the partitions end", problem });
        }
        if let Some(from) = range.from {
            self.begins = self.edges(from)?;
        }
        self.stops = match range.to {
            Some(to) => self.edges(to)?,
            None => self.watermarks.iter().map(|(partition, (_, end))| (partition.clone(), *end)).collect(),
        };
        self.report_assignment();
        Ok(())
    }

    /// Returns the offset in each log that an edge refers to.
    fn edges(&self, edge: Edge) -> Result<HashMap<TopicPartition, u64>, KafkaError> {
        let mut found: HashMap<TopicPartition, u64> = HashMap::new();
        if let Edge::Time(seconds) = edge {
            #[allow(clippy::cast_possible_truncation, reason = "saturates")]
            let millis = (seconds * 1000.0).ceil().max(0.0) as i64;
            let list = self.list(&self.partitions, |_| Offset::Offset(millis));
            let list = self
                .consumer
                .offsets_for_times(list, REQUEST_TIMEOUT)
                .map_err(|error| KafkaError::failed("cannot look up offsets by time", &error))?;
            found = offsets(&list);
        }
        let cut = self.watermarks.iter().map(|(partition, (begin, end))| {
            let offset = match edge {
                Edge::Offset(offset) => offset,
                Edge::Last(offsets) => end.saturating_sub(offsets),
                // No record is as new as the edge.
                Edge::Time(_) => found.get(partition).copied().unwrap_or(*end),
            };
            (partition.clone(), offset.clamp(*begin, (*end).max(*begin)))
        });
        Ok(cut.collect())
    }
}

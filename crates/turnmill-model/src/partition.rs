//! What a position belongs to.

use std::fmt;

/// The part of a source that is read in order: one file, one topic partition, one table. A store keeps a position for each.
///
/// ```
/// use turnmill_model::PartitionId;
/// let partition = PartitionId::new("file", "/var/log/rasa_event.log");
/// assert_eq!(partition.to_string(), "file /var/log/rasa_event.log");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId {
    /// Name of the source: `file`, a Kafka cluster's id, or what the user called it.
    pub source: String,
    /// The part of the source: canonical absolute path, `-` for standard input, `topic/3` for Kafka.
    pub partition: String,
}

impl PartitionId {
    /// Names the partition `partition` of the source `source`.
    #[must_use]
    pub fn new(source: impl Into<String>, partition: impl Into<String>) -> Self {
        Self { source: source.into(), partition: partition.into() }
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.source, self.partition)
    }
}

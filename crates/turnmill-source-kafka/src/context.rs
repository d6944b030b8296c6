//! Callbacks of librdkafka. They only record what happened: they neither block nor use the network.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

/// Topic and partition number.
pub(crate) type TopicPartition = (String, i32);

/// A recorded callback.
#[derive(Debug)]
pub(crate) enum Notice {
    Assigned(Vec<TopicPartition>),
    Revoked { lost: bool },
    Stats(HashMap<TopicPartition, Ends>),
    Error(Code, String),
}

/// Ends of a partition, as librdkafka saw them last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    /// Offset after the last record, committed or not.
    pub(crate) high: i64,
    /// Offset after the last record that may be read.
    pub(crate) stable: i64,
    /// Offset at which reading reached the end last.
    pub(crate) eof: i64,
}

/// Holds callbacks until the poll thread takes them.
#[derive(Debug, Default)]
pub(crate) struct Context {
    notices: Mutex<Vec<Notice>>,
    pub(crate) closing: AtomicBool,
}

impl Context {
    pub(crate) fn take(&self) -> Vec<Notice> {
        std::mem::take(&mut *lock(&self.notices))
    }

    fn note(&self, notice: Notice) {
        lock(&self.notices).push(notice);
    }
}

impl ClientContext for Context {
    fn error(&self, error: ClientError, reason: &str) {
        match error.rdkafka_error_code() {
            // Polling reports this too, and it is no error.
            Some(Code::PartitionEOF) | None => {}
            Some(code) => self.note(Notice::Error(code, reason.to_owned())),
        }
    }

    fn stats(&self, statistics: Statistics) {
        let mut ends = HashMap::new();
        for (name, topic) in statistics.topics {
            for (number, partition) in topic.partitions {
                if number >= 0 && partition.hi_offset >= 0 {
                    let (high, stable) = (partition.hi_offset, partition.ls_offset);
                    ends.insert((name.clone(), number), Ends { high, stable, eof: partition.eof_offset });
                }
            }
        }
        self.note(Notice::Stats(ends));
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        if self.closing.load(Ordering::Acquire) {
            // The poll thread has ended, and librdkafka waits for the answer.
            let _ = consumer.unassign();
        } else if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let elements = list.elements();
            let mut partitions: Vec<_> =
                elements.iter().map(|element| (element.topic().to_owned(), element.partition())).collect();
            partitions.sort();
            self.note(Notice::Assigned(partitions));
        } else {
            self.note(Notice::Revoked { lost: consumer.assignment_lost() });
        }
    }
}

/// Locks a mutex, even after a panic: each change under these locks is complete in itself.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

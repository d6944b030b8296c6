//! What librdkafka calls back with. The callbacks note what they were told, and neither wait nor use the network.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

/// One partition of a topic.
pub(crate) type TopicPartition = (String, i32);

/// Something that was called back.
#[derive(Debug)]
pub(crate) enum Notice {
    Assigned(Vec<TopicPartition>),
    Revoked { lost: bool },
    Stats(HashMap<TopicPartition, Ends>),
    Error(Code, String),
}

/// Where a partition ends, as librdkafka saw it last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    /// Behind the last record, also an uncommitted one.
    pub(crate) high: i64,
    /// Behind the last one that may be read.
    pub(crate) stable: i64,
    /// Where reading came to the end last.
    pub(crate) eof: i64,
}

/// Keeps notices until the poll thread takes them.
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
            // Told here as well as by polling, and no error.
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
            // Nobody takes notices any more, and closing waits for the answer.
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

/// Goes on with what a panicking thread left: every change under our locks is complete in itself.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

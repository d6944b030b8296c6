//! Handling of errors: which ones pass, which ones end the source.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};

use super::{Phase, Poller};
use crate::context::{Context, lock};
use crate::error::{explain, refusal};
use crate::{KafkaError, KafkaSettings};

/// Time after which a fenced static member may take its name back again. If it is fenced twice
/// within this time, another process has the same name, and one of them must stop.
const FENCED_TWICE: Duration = Duration::from_secs(600);

impl Poller {
    pub(super) fn handle_poll_error(&mut self, error: &ClientError) -> Result<(), KafkaError> {
        let code = code_of(error);
        if matches!(error, ClientError::MessageConsumptionFatal(_)) {
            let (code, detail) = self.consumer.client().fatal_error().unzip();
            let detail = detail.unwrap_or_else(|| explain(error));
            return self.handle_fatal_error(code.unwrap_or(code_of(error)), detail);
        }
        let gone = match code {
            Code::AutoOffsetReset | Code::OffsetOutOfRange => true,
            // With several topics, one that does not exist reports this error repeatedly.
            Code::UnknownTopicOrPartition | Code::UnknownTopicId => self.settings.topics.len() == 1,
            _ => false,
        };
        if gone && matches!(self.phase, Phase::Reading) {
            // A partition was deleted while it was read. The error does not name it, so check all
            // of them.
            self.report_assignment();
        }
        self.note_error(code, explain(error))
    }

    /// Handles an error after which librdkafka's consumer is unusable.
    ///
    /// A fenced static member joins again once. It may have been fenced by itself: a broker that
    /// restarts may know an older session of this member.
    fn handle_fatal_error(&mut self, code: Code, detail: String) -> Result<(), KafkaError> {
        let now = Instant::now();
        let again = self.fenced.is_some_and(|before| now.duration_since(before) < FENCED_TWICE);
        if code != Code::FencedInstanceId || again {
            return Err(KafkaError::Refused {
                problem: detail,
                variable: "RASA_ANALYTICS_CONSUMER_ID and TURNMILL_KAFKA_GROUP_INSTANCE_ID",
            });
        }
        self.handle_revoked(true);
        self.consumer.context().closing.store(true, Ordering::Release);
        self.consumer = consumer(&self.settings)?;
        self.fenced = Some(now);
        self.join = Some(now + self.settings.session_timeout);
        self.note_error(code, detail)
    }

    pub(super) fn note_error(&mut self, code: Code, reason: String) -> Result<(), KafkaError> {
        if let Some(refused) = refusal(code, &reason) {
            return Err(refused);
        }
        let mut state = lock(&self.shared.state);
        state.stats.errors += 1;
        state.stats.last_error = Some(reason);
        Ok(())
    }
}

pub(super) fn consumer(settings: &KafkaSettings) -> Result<BaseConsumer<Context>, KafkaError> {
    let consumer = settings.consumer().create_with_context(Context::default());
    consumer.map_err(|error| KafkaError::failed("cannot set up the consumer", &error))
}

fn code_of(error: &ClientError) -> Code {
    error.rdkafka_error_code().unwrap_or(Code::Unknown)
}

//! What goes wrong, and what is done about it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};

use super::{Phase, Poller};
use crate::context::{Context, lock};
use crate::error::{explain, refusal};
use crate::{KafkaError, KafkaSettings};

/// A static member that was fenced takes its name back once, but not again within this time: then somebody else has the
/// same name, and one of the two has to give way.
const FENCED_AGAIN: Duration = Duration::from_secs(600);

impl Poller {
    pub(super) fn failed(&mut self, error: &ClientError) -> Result<(), KafkaError> {
        let code = code_of(error);
        if matches!(error, ClientError::MessageConsumptionFatal(_)) {
            let (code, detail) = self.consumer.client().fatal_error().unzip();
            let detail = detail.unwrap_or_else(|| explain(error));
            return self.fatal(code.unwrap_or(code_of(error)), detail);
        }
        let gone = match code {
            Code::AutoOffsetReset | Code::OffsetOutOfRange => true,
            // Of several topics, one that does not exist yet says so again and again.
            Code::UnknownTopicOrPartition | Code::UnknownTopicId => self.settings.topics.len() == 1,
            _ => false,
        };
        if gone && matches!(self.phase, Phase::Reading) {
            // Something was deleted while it was read. Which partition it was is not said: look at all.
            self.again();
        }
        self.trouble(code, explain(error))
    }

    /// The consumer is of no use any more. A static member that another one took the place of begins again, as that may
    /// have been itself: brokers that come back know an older one of us than the one that asks.
    fn fatal(&mut self, code: Code, detail: String) -> Result<(), KafkaError> {
        let now = Instant::now();
        let again = self.fenced.is_some_and(|before| now.duration_since(before) < FENCED_AGAIN);
        if code != Code::FencedInstanceId || again {
            return Err(KafkaError::Refused {
                problem: detail,
                variable: "RASA_ANALYTICS_CONSUMER_ID and TURNMILL_KAFKA_GROUP_INSTANCE_ID",
            });
        }
        self.revoked(true);
        self.consumer.context().closing.store(true, Ordering::Release);
        self.consumer = consumer(&self.settings)?;
        self.fenced = Some(now);
        self.join = Some(now + self.settings.session_timeout);
        self.trouble(code, detail)
    }

    pub(super) fn trouble(&mut self, code: Code, reason: String) -> Result<(), KafkaError> {
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

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

/// Time after trouble with a broker in which a fence says nothing about other processes.
const TROUBLE: Duration = Duration::from_secs(120);

/// Tells whether another process has the name of this static member.
///
/// A member can be fenced by itself: when a broker restarts, the member joins again, and a request
/// under its older session that comes later is refused.
///
/// ```text
/// fenced, fenced within ten minutes           another process: stop
/// broker away, fenced, broker away, fenced    by itself: join again each time
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fencing {
    fenced: Option<Instant>,
    trouble: Option<Instant>,
}

impl Fencing {
    /// Notes an error that comes with a broker that is away or restarts.
    fn note(&mut self, code: Code, now: Instant) {
        if matches!(
            code,
            Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::OperationTimedOut
                | Code::RequestTimedOut
                | Code::CoordinatorLoadInProgress
                | Code::CoordinatorNotAvailable
                | Code::NotCoordinator
        ) {
            self.trouble = Some(now);
        }
    }

    /// Counts a fence, and returns whether another process must have caused it.
    fn is_another_process(&mut self, now: Instant) -> bool {
        let within = |time: Option<Instant>, limit| time.is_some_and(|time| now.duration_since(time) < limit);
        if within(self.trouble, TROUBLE) {
            return false;
        }
        let twice = within(self.fenced, FENCED_TWICE);
        self.fenced = Some(now);
        twice
    }
}

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
    /// A fenced static member joins again, unless another process has its [name](Fencing).
    fn handle_fatal_error(&mut self, code: Code, detail: String) -> Result<(), KafkaError> {
        let now = Instant::now();
        if code != Code::FencedInstanceId || self.fencing.is_another_process(now) {
            return Err(KafkaError::Refused {
                problem: detail,
                variable: "RASA_ANALYTICS_CONSUMER_ID and TURNMILL_KAFKA_GROUP_INSTANCE_ID",
            });
        }
        self.handle_revoked(true);
        self.consumer.context().closing.store(true, Ordering::Release);
        self.consumer = consumer(&self.settings)?;
        self.join = Some(now + self.settings.session_timeout);
        self.note_error(code, detail)
    }

    pub(super) fn note_error(&mut self, code: Code, reason: String) -> Result<(), KafkaError> {
        if let Some(refused) = refusal(code, &reason) {
            return Err(refused);
        }
        self.fencing.note(code, Instant::now());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_fenced_twice_has_a_double() {
        let (mut fencing, now) = (Fencing::default(), Instant::now());
        assert!(!fencing.is_another_process(now));
        assert!(fencing.is_another_process(now + Duration::from_secs(50)));
        assert!(!fencing.is_another_process(now + Duration::from_secs(700)));
    }

    #[test]
    fn restarts_of_a_broker_fence_as_often_as_they_like() {
        let (mut fencing, now) = (Fencing::default(), Instant::now());
        for restart in 0..20 {
            let time = now + Duration::from_secs(30 * restart);
            fencing.note(Code::BrokerTransportFailure, time);
            assert!(!fencing.is_another_process(time + Duration::from_secs(9)));
        }
        let calm = now + Duration::from_secs(3600);
        fencing.note(Code::UnknownTopicOrPartition, calm);
        assert!(!fencing.is_another_process(calm));
        assert!(fencing.is_another_process(calm + Duration::from_secs(9)));
    }
}

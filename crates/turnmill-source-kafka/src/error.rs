//! Errors of Kafka.

use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};

/// Why Kafka cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KafkaError {
    /// A setting has an invalid value.
    #[error("{variable}: {problem}")]
    Setting {
        /// The environment variable that sets it.
        variable: &'static str,
        /// The problem.
        problem: String,
    },
    /// The client library refuses a property.
    #[error("the Kafka client refuses `{property}`: {problem}")]
    Property {
        /// librdkafka's name of the property.
        property: String,
        /// The cause.
        problem: String,
    },
    /// No broker answers.
    #[error("no broker of `{brokers}` answers: {problem}")]
    Unreachable {
        /// `KAFKA_BROKER_ADDRESS`.
        brokers: String,
        /// The last problem.
        problem: String,
    },
    /// The brokers refuse access because of settings or permissions. Retrying does not help.
    #[error("refused by the brokers: {problem}; check {variable}")]
    Refused {
        /// What the brokers answered.
        problem: String,
        /// The environment variables to check.
        variable: &'static str,
    },
    /// The consumer group has members of other programs. Joining would take partitions away from
    /// them.
    #[error(
        "RASA_ANALYTICS_CONSUMER_ID: the consumer group `{group}` has members that are not turnmill's ({members}), and \
         joining it would take partitions away from them; name a group of turnmill's own, or stop them and set \
         TURNMILL_KAFKA_TAKE_OVER_GROUP=true"
    )]
    GroupInUse {
        /// The group's id.
        group: String,
        /// Client ids and hosts of some members.
        members: String,
    },
    /// A required topic does not exist.
    #[error("topic `{topic}` does not exist")]
    NoTopic {
        /// The topic.
        topic: String,
    },
    /// A record was not delivered.
    #[error("record for topic `{topic}` was not delivered: {problem}")]
    Undelivered {
        /// The topic.
        topic: String,
        /// The cause.
        problem: String,
    },
    /// Any other failure.
    #[error("{doing}: {problem}")]
    Failed {
        /// What failed.
        doing: &'static str,
        /// The cause.
        problem: String,
    },
}

impl KafkaError {
    pub(crate) fn failed(doing: &'static str, error: &ClientError) -> Self {
        match error {
            ClientError::ClientConfig(_, problem, property, _) => {
                Self::Property { property: property.clone(), problem: problem.clone() }
            }
            _ => Self::Failed { doing, problem: explain(error) },
        }
    }
}

/// Describes an error with the names of Kafka's documentation.
pub(crate) fn explain(error: &ClientError) -> String {
    match error.rdkafka_error_code() {
        Some(code) => format!("{code}"),
        None => format!("{error}"),
    }
}

/// Returns the refusal if the error does not pass by itself.
pub(crate) fn refusal(code: Code, detail: &str) -> Option<KafkaError> {
    let variable = match code {
        Code::Authentication | Code::SaslAuthenticationFailed => {
            "KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and KAFKA_SASL_MECHANISM"
        }
        Code::UnsupportedSASLMechanism => "KAFKA_SASL_MECHANISM",
        Code::TopicAuthorizationFailed => "KAFKA_TOPIC and the access rights to it",
        Code::GroupAuthorizationFailed => "RASA_ANALYTICS_CONSUMER_ID and the access rights to it",
        Code::ClusterAuthorizationFailed => "the access rights of KAFKA_SASL_USERNAME",
        Code::UnsupportedVersion | Code::UnsupportedFeature | Code::InvalidGroupId | Code::Fatal => {
            "KAFKA_BROKER_ADDRESS and RASA_ANALYTICS_CONSUMER_ID"
        }
        _ => return None,
    };
    let problem = if detail.is_empty() { format!("{code}") } else { detail.to_owned() };
    Some(KafkaError::Refused { problem, variable })
}

//! What can go wrong with Kafka.

use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};

/// Why Kafka cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KafkaError {
    /// A setting has a value that cannot be.
    #[error("{variable}: {problem}")]
    Setting {
        /// The environment variable that sets it.
        variable: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The client library refuses its settings.
    #[error("the Kafka client refuses `{property}`: {problem}")]
    Property {
        /// librdkafka's name of the property.
        property: String,
        /// Why.
        problem: String,
    },
    /// No broker answers.
    #[error("no broker of `{brokers}` answers: {problem}")]
    Unreachable {
        /// `KAFKA_BROKER_ADDRESS`.
        brokers: String,
        /// The last thing that went wrong.
        problem: String,
    },
    /// The brokers refuse us: a matter of settings or permissions, which waiting does not mend.
    #[error("the brokers refuse: {problem}; see {variable}")]
    Refused {
        /// What they said.
        problem: String,
        /// The environment variables to look at.
        variable: &'static str,
    },
    /// The consumer group has members of other programs, from which joining would take partitions away.
    #[error(
        "RASA_ANALYTICS_CONSUMER_ID: the consumer group `{group}` has members that are not turnmill's ({members}), and \
         joining it would take partitions away from them; name a group of turnmill's own, or stop them and set \
         TURNMILL_KAFKA_TAKE_OVER_GROUP=true"
    )]
    GroupInUse {
        /// The group's id.
        group: String,
        /// Client ids and hosts of some.
        members: String,
    },
    /// The topic is not there, where it has to be.
    #[error("topic `{topic}` does not exist")]
    NoTopic {
        /// Its name.
        topic: String,
    },
    /// A record was not delivered.
    #[error("a record for topic `{topic}` was not delivered: {problem}")]
    Undelivered {
        /// Where it should have gone.
        topic: String,
        /// Why.
        problem: String,
    },
    /// Anything else.
    #[error("{doing}: {problem}")]
    Failed {
        /// What was being done.
        doing: &'static str,
        /// Why.
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

/// An error in words; with the names that Kafka's own documentation has for it.
pub(crate) fn explain(error: &ClientError) -> String {
    match error.rdkafka_error_code() {
        Some(code) => format!("{code}"),
        None => format!("{error}"),
    }
}

/// The refusal that an error is, if it is one that does not pass.
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

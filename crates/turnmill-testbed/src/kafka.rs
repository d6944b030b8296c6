//! Kafka brokers.
//!
//! ```
//! use turnmill_testbed::kafka;
//!
//! # fn main() {
//! // A new topic on the broker that all tests share; or the test is skipped.
//! let Some((bootstrap, topic)) = kafka::topic(3) else { return };
//! assert!(bootstrap.contains(':') && !topic.is_empty());
//! # }
//! ```

mod jars;
mod properties;
mod wire;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::supervisor::Supervisor;
use crate::tls::{Authority, Files, write_private};
use crate::{Unavailable, find, or_skip};
use jars::Java;
use wire::Client;

pub use jars::VERSION;

/// The user of the SASL listeners, and the name in the client's certificate.
pub const USER: &str = "turnmill";
/// The user's password.
pub const PASSWORD: &str = "turnmill-secret";

/// A way to connect to a broker. The SASL listeners support PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Listener {
    /// No TLS and no login. Every broker has this listener.
    Plaintext,
    /// TLS without a client certificate.
    Ssl,
    /// TLS with a required client certificate.
    MutualSsl,
    /// User and password without TLS.
    SaslPlaintext,
    /// User and password over TLS.
    SaslSsl,
}

impl Listener {
    /// Returns the value of `security.protocol` for clients.
    #[must_use]
    pub fn protocol(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl | Self::MutualSsl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// Returns the name in the broker's settings. Two listeners may have the same protocol.
    fn name(self) -> &'static str {
        if self == Self::MutualSsl { "MUTUAL" } else { self.protocol() }
    }

    fn has_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::MutualSsl | Self::SaslSsl)
    }

    fn has_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

/// Settings of a new broker.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Listeners besides [`Listener::Plaintext`].
    pub listeners: Vec<Listener>,
    /// More properties, such as `("auto.create.topics.enable", "true")`. They override the
    /// defaults.
    pub settings: Vec<(String, String)>,
}

/// A private broker, which is a whole cluster. Its data are deleted when it is dropped.
#[derive(Debug)]
pub struct Broker {
    supervisor: Supervisor,
    java: Java,
    ports: Vec<(Listener, u16)>,
    tls: Option<Files>,
}

impl Broker {
    /// Creates a cluster of one broker and starts it.
    ///
    /// # Errors
    ///
    /// If Java is not installed, Kafka cannot be downloaded, or the broker does not start.
    pub fn start(options: &Options) -> Result<Self, Unavailable> {
        find::on_free_ports(|| Self::try_start(options))
    }

    fn try_start(options: &Options) -> Result<Self, Unavailable> {
        let java = Java::find()?;
        let folder = tempfile::Builder::new().prefix("turnmill-kafka-").tempdir().map_err(failed)?;
        let mut ports: Vec<(Listener, u16)> = Vec::new();
        for listener in [Listener::Plaintext].iter().chain(&options.listeners) {
            if ports.iter().all(|(known, _)| known != listener) {
                ports.push((*listener, find::free_port()));
            }
        }
        let tls = if ports.iter().any(|(listener, _)| listener.has_tls()) {
            Some(certificates(folder.path())?)
        } else {
            None
        };
        let file = folder.path().join("server.properties");
        let controller = find::free_port();
        let text = properties::text(folder.path(), &ports, controller, &options.settings);
        fs::write(&file, text).map_err(failed)?;

        let mut command = java.tool("kafka.tools.StorageTool");
        command.args(["format", "--standalone", "-t", &cluster_id(), "-c"]).arg(&file);
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            let user = format!("{mechanism}=[name={USER},password={PASSWORD}]");
            command.args(["--add-scram", &user]);
        }
        find::output(&mut command).map_err(failed)?;

        let mut command = java.command(&["-Xms128m", "-Xmx512m"], "kafka.Kafka");
        command.push(file.display().to_string());
        let broker =
            Self { supervisor: Supervisor::new("Kafka", folder, "KILL", &command)?, java, ports, tls };
        broker.boot()?;
        Ok(broker)
    }

    fn boot(&self) -> Result<(), Unavailable> {
        self.supervisor.start()?;
        let address = self.bootstrap();
        self.supervisor.wait_until(|| {
            Client::connect(&address).and_then(|mut client| client.is_ready()).unwrap_or(false)
        })
    }

    /// Returns `HOST:PORT` of the listener without TLS and login.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        self.bootstrap_of(Listener::Plaintext)
    }

    /// Returns `HOST:PORT` of a listener. With TLS the host is `localhost`, as in the certificate.
    ///
    /// # Panics
    ///
    /// If the broker was started without that listener.
    #[must_use]
    #[track_caller]
    pub fn bootstrap_of(&self, listener: Listener) -> String {
        match self.ports.iter().find(|(known, _)| *known == listener) {
            Some((_, port)) => format!("{}:{port}", properties::host(listener)),
            None => panic!("the broker has no listener {listener:?}"),
        }
    }

    /// Creates a topic and waits until it is usable. Settings are those of topics, such as
    /// `("retention.ms", "1000")`.
    ///
    /// # Panics
    ///
    /// If Kafka refuses.
    #[track_caller]
    pub fn create_topic(&self, name: &str, partitions: u32, settings: &[(&str, &str)]) {
        done(
            Client::connect(&self.bootstrap())
                .and_then(|mut client| client.create_topic(name, partitions, settings)),
        );
    }

    /// Deletes a topic and waits until it is gone.
    ///
    /// # Panics
    ///
    /// If Kafka refuses.
    #[track_caller]
    pub fn delete_topic(&self, name: &str) {
        done(Client::connect(&self.bootstrap()).and_then(|mut client| client.delete_topic(name)));
    }

    /// Increases the number of partitions of a topic to `partitions`.
    ///
    /// # Panics
    ///
    /// If Kafka refuses.
    #[track_caller]
    pub fn set_partitions(&self, topic: &str, partitions: u32) {
        done(
            Client::connect(&self.bootstrap())
                .and_then(|mut client| client.set_partitions(topic, partitions)),
        );
    }

    /// Deletes the records of a partition before an offset, as retention does over time. -1 means
    /// the end.
    ///
    /// # Panics
    ///
    /// If Kafka refuses.
    #[track_caller]
    pub fn delete_records(&self, topic: &str, partition: u32, before: i64) {
        done(
            Client::connect(&self.bootstrap())
                .and_then(|mut client| client.delete_records(topic, partition, before)),
        );
    }

    /// Returns a command that runs a class of Kafka's server, such as `kafka.admin.ConfigCommand`.
    #[must_use]
    pub fn tool(&self, class: &str) -> Command {
        self.java.tool(class)
    }

    /// Returns the process id while the broker runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.supervisor.pid()
    }

    /// Returns the certificates for clients, if a listener has TLS.
    #[must_use]
    pub fn tls(&self) -> Option<&Files> {
        self.tls.as_ref()
    }

    /// Returns the broker's output: warnings and errors.
    #[must_use]
    pub fn log(&self) -> String {
        self.supervisor.log()
    }

    /// Shuts the broker down cleanly.
    ///
    /// # Panics
    ///
    /// If the broker does not end.
    #[track_caller]
    pub fn stop(&self) {
        self.supervisor.end("TERM");
    }

    /// Kills the broker.
    ///
    /// # Panics
    ///
    /// If the broker does not end.
    #[track_caller]
    pub fn kill(&self) {
        self.supervisor.end("KILL");
    }

    /// Starts a stopped or killed broker with the same ports and data. After a [`kill`](Self::kill)
    /// this takes a few seconds longer, because the cluster must first notice that the broker was
    /// away.
    ///
    /// # Panics
    ///
    /// If the broker does not start.
    #[track_caller]
    pub fn start_again(&self) {
        if let Err(error) = self.boot() {
            panic!("{error}");
        }
    }
}

/// Creates a topic on the broker that all tests share, and returns `(bootstrap, topic)`. Returns
/// `None` if there is no broker, which is [noted](crate::skip).
///
/// # Panics
///
/// If a broker exists and does not work.
#[must_use]
#[track_caller]
pub fn topic(partitions: u32) -> Option<(String, String)> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let shared = shared()?;
    // Other processes use the same broker.
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("turnmill-{}-{number}-{:08x}", std::process::id(), fastrand::u32(..));
    shared.create_topic(&name, partitions, &[]);
    Some((shared.bootstrap.clone(), name))
}

/// Returns the broker that all tests share: the one in `TURNMILL_TEST_KAFKA`, or one that is
/// started for this process. Returns `None` if there is no broker, which is [noted](crate::skip).
///
/// # Panics
///
/// If Kafka is available and does not start.
#[must_use]
#[track_caller]
pub fn shared() -> Option<&'static Shared> {
    static SHARED: OnceLock<Result<Shared, Unavailable>> = OnceLock::new();
    or_skip(SHARED.get_or_init(Shared::find).as_ref().map_err(Clone::clone))
}

/// A broker that tests share. Tests must not stop it: those that stop a broker start their own.
#[derive(Debug)]
pub struct Shared {
    bootstrap: String,
    /// `None` if the broker is external.
    _broker: Option<Broker>,
}

impl Shared {
    fn find() -> Result<Self, Unavailable> {
        match std::env::var("TURNMILL_TEST_KAFKA") {
            Ok(bootstrap) if !bootstrap.is_empty() => Ok(Self { bootstrap, _broker: None }),
            _ => {
                let broker = Broker::start(&Options::default())?;
                Ok(Self { bootstrap: broker.bootstrap(), _broker: Some(broker) })
            }
        }
    }

    /// Returns `HOST:PORT`, or several, separated by commas.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Creates a topic like [`Broker::create_topic`]. It is never removed from an external broker.
    ///
    /// # Panics
    ///
    /// If Kafka refuses.
    #[track_caller]
    pub fn create_topic(&self, name: &str, partitions: u32, settings: &[(&str, &str)]) {
        done(
            Client::connect(&self.bootstrap)
                .and_then(|mut client| client.create_topic(name, partitions, settings)),
        );
    }
}

/// Returns 16 random bytes in URL-safe base64. The last digit has 2 bits, and the first one must
/// not be `-`.
fn cluster_id() -> String {
    let mut id: String = (0..21).map(|_| fastrand::alphanumeric()).collect();
    id.push(['A', 'Q', 'g', 'w'][fastrand::usize(..4)]);
    id
}

fn certificates(folder: &Path) -> Result<Files, Unavailable> {
    let authority = Authority::new("turnmill-testbed");
    let server = authority.server();
    // Kafka requires key and certificate in one file.
    let both = format!("{}{}", server.key, server.certificate);
    write_private(&folder.join(properties::KEYSTORE), &both).map_err(failed)?;
    Files::write(folder, &authority, USER).map_err(failed)
}

#[track_caller]
fn done(result: wire::Result<()>) {
    if let Err(error) = result {
        panic!("{error}");
    }
}

fn failed(error: impl std::fmt::Display) -> Unavailable {
    Unavailable::failed("Kafka", error)
}

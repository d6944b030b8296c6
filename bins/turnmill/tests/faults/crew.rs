//! The processes of the service that share a topic, and their counts.

use std::ops::AddAssign;
use std::time::{Duration, Instant};

use crate::support::{self, Service, Topic};

/// Deployment that reads a topic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Deployment {
    /// Records have keys; two processes read them.
    Keyed,
    /// Records have no keys, as by Rasa's default; three processes read them.
    Unkeyed,
    /// Records have no keys; one process with three consumers reads them.
    Threads,
}

impl Deployment {
    pub(crate) const ALL: [Self; 3] = [Self::Keyed, Self::Unkeyed, Self::Threads];

    pub(crate) fn keyed(self) -> bool {
        self == Self::Keyed
    }

    pub(crate) fn processes(self) -> usize {
        match self {
            Self::Keyed => 2,
            Self::Unkeyed => 3,
            Self::Threads => 1,
        }
    }

    fn consumers(self) -> usize {
        if self == Self::Threads { 3 } else { 1 }
    }
}

/// Counts that the processes exported before they ended. Killed processes may have counted more.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) fences: f64,
    pub(crate) assigned: f64,
    pub(crate) revoked: f64,
    pub(crate) lost: f64,
    /// Stretches of history that were replayed for late events.
    pub(crate) replays: f64,
    pub(crate) retries: f64,
    pub(crate) kafka_errors: f64,
    /// Batches that were fenced, because another consumer owned their partitions.
    pub(crate) dropped: usize,
    pub(crate) kills: usize,
    /// Number of them from a process that had committed before.
    pub(crate) kills_at_work: usize,
}

impl AddAssign for Seen {
    fn add_assign(&mut self, other: Self) {
        self.fences += other.fences;
        self.assigned += other.assigned;
        self.revoked += other.revoked;
        self.lost += other.lost;
        self.replays += other.replays;
        self.retries += other.retries;
        self.kafka_errors += other.kafka_errors;
        self.dropped += other.dropped;
        self.kills += other.kills;
        self.kills_at_work += other.kills_at_work;
    }
}

impl Seen {
    fn of(service: &Service) -> Self {
        let dropped = service.log().matches("dropped a batch").count();
        let Some((_, text)) = service.get("/metrics") else { return Self { dropped, ..Self::default() } };
        let sum = |prefix: &str| {
            let lines = text.lines().filter(|line| line.starts_with(prefix));
            lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
        };
        Self {
            fences: sum("turnmill_fenced_total"),
            assigned: sum(r#"turnmill_rebalances_total{kind="assigned"}"#),
            revoked: sum(r#"turnmill_rebalances_total{kind="revoked"}"#),
            lost: sum(r#"turnmill_rebalances_total{kind="lost"}"#),
            replays: sum("turnmill_replays_total"),
            retries: sum("turnmill_transaction_retries_total"),
            kafka_errors: sum("turnmill_source_errors_total"),
            dropped,
            ..Self::default()
        }
    }
}

/// Processes that read one topic into one store.
pub(crate) struct Crew {
    pub(crate) deployment: Deployment,
    pub(crate) store: String,
    variables: Vec<(String, String)>,
    /// Running processes by slot; `None` where a process has ended.
    services: Vec<Option<Service>>,
    /// Whether the group knows its members by name.
    members_have_names: bool,
    seen: Seen,
}

impl Crew {
    /// Creates a crew without running processes.
    pub(crate) fn new(topic: &Topic, store: &str, deployment: Deployment) -> Self {
        let mut variables = support::variables(topic, store);
        for (name, value) in [
            ("RASA_ANALYTICS_CONSUMER_COUNT", deployment.consumers().to_string().as_str()),
            ("KAFKA_CONSUMER_SESSION_TIMEOUT_MS", "2000"),
            ("KAFKA_CONSUMER_HEARTBEAT_INTERVAL_MS", "300"),
            ("KAFKA_CONSUMER_MAX_POLL_INTERVAL_MS", "10000"),
            ("TURNMILL_DB_STATEMENT_TIMEOUT_SECS", "2"),
            ("TURNMILL_DB_LOCK_TIMEOUT_SECS", "1"),
            ("TURNMILL_BATCH_RECORDS", "200"),
            ("TURNMILL_FLUSH_INTERVAL_MS", "20"),
            ("RASA_ANALYTICS_DLQ", ""),
        ] {
            variables.push((name.into(), value.into()));
        }
        Self {
            deployment,
            store: store.into(),
            variables,
            services: Vec::new(),
            members_have_names: true,
            seen: Seen::default(),
        }
    }

    /// Starts a service in another group, which reads all partitions as well. Waits until a commit
    /// is fenced.
    pub(crate) fn start_rival(&mut self) {
        let group = ("RASA_ANALYTICS_CONSUMER_ID".to_owned(), "another group".to_owned());
        self.variables.push(group);
        let place = self.services.len();
        self.start_one(place);
        self.variables.pop();
        self.wait("a commit is fenced", |crew| {
            let mut services = crew.services.iter().flatten();
            services.any(|service| service.metric("turnmill_fenced_total") >= 1.0)
        });
    }

    /// Overrides a variable for processes that start later.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.into(), value.into()));
    }

    /// Makes the group's members dynamic: the group notices a stopped member at once, a killed one
    /// after the session timeout.
    pub(crate) fn without_names(mut self) -> Self {
        self.members_have_names = false;
        self
    }

    /// Starts all processes, and waits until the tables exist.
    pub(crate) fn start(&mut self) {
        for place in 0..self.deployment.processes() {
            self.start_one(place);
        }
        self.wait("the store is open", |crew| {
            crew.services.iter().flatten().all(|service| service.said("store opened"))
        });
    }

    /// Starts the process of a slot.
    pub(crate) fn start_one(&mut self, place: usize) {
        let mut variables = self.variables.clone();
        if self.members_have_names {
            variables.push(("TURNMILL_KAFKA_GROUP_INSTANCE_ID".into(), format!("worker-{place}")));
        }
        while self.services.len() <= place {
            self.services.push(None);
        }
        assert!(self.services[place].is_none(), "it runs already");
        self.services[place] = Some(Service::start(&variables));
    }

    pub(crate) fn service(&mut self, place: usize) -> &mut Service {
        self.services[place].as_mut().unwrap()
    }

    /// Returns the slots with a running process.
    pub(crate) fn running(&self) -> Vec<usize> {
        (0..self.services.len()).filter(|place| self.services[*place].is_some()).collect()
    }

    /// Ends a process by SIGKILL.
    pub(crate) fn kill(&mut self, place: usize) {
        let mut service = self.services[place].take().unwrap();
        self.seen += Seen::of(&service);
        let at_work =
            service.get("/metrics").is_some_and(|(_, text)| text.contains("\nturnmill_batches_total{"));
        service.signal("KILL");
        service.ended();
        self.seen.kills += 1;
        self.seen.kills_at_work += usize::from(at_work);
    }

    /// Stops a process cleanly.
    pub(crate) fn stop_one(&mut self, place: usize) {
        let mut service = self.services[place].take().unwrap();
        self.seen += Seen::of(&service);
        service.stop();
    }

    /// Stops all processes, and returns their counts.
    pub(crate) fn stop(&mut self) -> Seen {
        for place in self.running() {
            self.stop_one(place);
        }
        self.seen
    }

    /// Waits. A process that ends by itself fails the test.
    #[track_caller]
    pub(crate) fn wait(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let end = Instant::now() + support::PATIENCE;
        while !done(self) {
            for service in self.services.iter_mut().flatten() {
                // Once it says no, so that it is looked at.
                let mut looked = false;
                service.wait(what, |_| std::mem::replace(&mut looked, true));
            }
            if Instant::now() > end {
                for service in self.services.iter().flatten() {
                    let metrics = service.get("/metrics").map_or_else(String::new, |(_, text)| text);
                    let told: Vec<_> = metrics.lines().filter(|line| !line.starts_with('#')).collect();
                    eprintln!("{}\n{}\n", service.log(), told.join("\n"));
                }
                eprintln!("committed: {:?}", support::positions(&self.store));
                panic!("waited too long until {what}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Returns the lag of the store's positions, in records.
    pub(crate) fn committed(&self) -> u64 {
        let positions = support::positions(&self.store);
        positions.values().map(|(_, position)| position.parse::<u64>().unwrap_or(0)).sum()
    }

    /// Returns the time from now until the next commit.
    #[track_caller]
    pub(crate) fn recovers(&mut self) -> Duration {
        let began = Instant::now();
        let before = self.committed();
        self.wait("something is committed again", |crew| crew.committed() > before);
        began.elapsed()
    }

    /// Waits until all produced records are committed.
    #[track_caller]
    pub(crate) fn wait_until_read(&mut self, topic: &Topic) {
        let ends = topic.ends();
        self.wait(&format!("the topic is read to {ends:?}"), |crew| {
            let positions = support::positions(&crew.store);
            ends.iter().all(|(partition, end)| {
                positions.get(partition).is_some_and(|(_, at)| at.parse::<u64>().unwrap() >= *end)
            })
        });
    }
}

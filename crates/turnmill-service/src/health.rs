//! Whether the service is healthy, for probes that restart what is not.
//!
//! | state | `/healthcheck` |
//! | --- | --- |
//! | starting, migrating | 200 |
//! | running, with at least one consumer | 200 |
//! | running, database or brokers away | 200: a restart brings neither back; metrics and alerts tell |
//! | running, every consumer gone | 503 |
//! | running, records waiting and nothing committed for longer than the limit, if there is one | 503 |
//! | stopping | 503 |
//! | failed for good | 503, until the process ends |

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What the service is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Not much yet.
    #[default]
    Starting,
    /// Making the schema, or bringing it up to date.
    Migrating,
    /// Its work.
    Running,
    /// Its last.
    Stopping,
    /// It cannot go on, for this reason.
    Failed(String),
}

impl Phase {
    /// Its name, for people and machines.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Migrating => "migrating",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Failed(_) => "failed",
        }
    }
}

/// The health of the service at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthReport {
    /// Whether all is well, as far as a restart could help.
    pub healthy: bool,
    /// Consumers alive.
    pub alive: usize,
    /// What the service is doing.
    pub phase: Phase,
    /// What it waits for, e.g. a database that is away.
    pub waiting: Option<String>,
    /// Why it is not healthy.
    pub why: Option<&'static str>,
}

impl HealthReport {
    /// The body that `/healthcheck` is documented to have.
    ///
    /// ```
    /// use turnmill_service::{Health, Phase};
    /// let health = Health::default();
    /// let consumer = health.consumer();
    /// health.enter(Phase::Running);
    /// assert_eq!(health.report().body(),
    ///     r#"{"details": {"analytics-consumer": {"alive": 1, "isHealthy": true}}, "isHealthy": true}"#);
    /// drop(consumer);
    /// assert!(!health.report().healthy);
    /// ```
    #[must_use]
    pub fn body(&self) -> String {
        let Self { healthy, alive, .. } = self;
        format!(
            r#"{{"details": {{"analytics-consumer": {{"alive": {alive}, "isHealthy": {healthy}}}}}, "isHealthy": {healthy}}}"#
        )
    }
}

/// A handle on the service's health, shared between those who work and those who tell.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    stall_timeout: Option<Duration>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    alive: usize,
    waiting: Option<String>,
    lag: u64,
    /// The last time that something was committed, that nothing was to do, or that waiting ended.
    progress: Option<Instant>,
}

impl Health {
    /// Health of a service that is starting. With `stall_timeout` it counts as ill when so long nothing was committed though
    /// records are waiting and nothing is known to be away.
    #[must_use]
    pub fn new(stall_timeout: Option<Duration>) -> Self {
        Self(Arc::new(Inner { stall_timeout, state: Mutex::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what the service is doing now. Nothing follows on a failure, and only a failure on stopping.
    pub fn enter(&self, phase: Phase) {
        let mut state = self.state();
        let last = match state.phase {
            Phase::Failed(_) => true,
            Phase::Stopping => !matches!(phase, Phase::Failed(_)),
            Phase::Starting | Phase::Migrating | Phase::Running => false,
        };
        if !last {
            state.phase = phase;
            state.progress = Some(Instant::now());
        }
    }

    /// A consumer is alive as long as what this returns.
    #[must_use]
    pub fn consumer(&self) -> ConsumerAlive {
        self.state().alive += 1;
        ConsumerAlive(self.clone())
    }

    /// Something was committed.
    pub fn progressed(&self) {
        self.state().progress = Some(Instant::now());
    }

    /// So many records are waiting, in all partitions.
    pub fn set_lag(&self, lag: u64) {
        let mut state = self.state();
        if state.lag == 0 || lag == 0 {
            state.progress = Some(Instant::now());
        }
        state.lag = lag;
    }

    /// The service waits for something that is away (a text for people), or no longer does.
    pub fn set_waiting(&self, what: Option<String>) {
        let mut state = self.state();
        state.progress = Some(Instant::now());
        state.waiting = what;
    }

    /// The health now.
    #[must_use]
    pub fn report(&self) -> HealthReport {
        self.report_at(Instant::now())
    }

    fn report_at(&self, now: Instant) -> HealthReport {
        let state = self.state();
        let idle = state.progress.map(|progress| now.saturating_duration_since(progress)).unwrap_or_default();
        let stalled = state.lag > 0
            && state.waiting.is_none()
            && self.0.stall_timeout.is_some_and(|longest| idle > longest);
        let why = match &state.phase {
            Phase::Starting | Phase::Migrating => None,
            Phase::Running if state.alive == 0 => Some("no consumer is alive"),
            Phase::Running if stalled => Some("records are waiting and nothing is committed"),
            Phase::Running => None,
            Phase::Stopping => Some("stopping"),
            Phase::Failed(_) => Some("failed"),
        };
        HealthReport {
            healthy: why.is_none(),
            alive: state.alive,
            phase: state.phase.clone(),
            waiting: state.waiting.clone(),
            why,
        }
    }
}

/// As long as this exists, a consumer is alive.
#[derive(Debug)]
pub struct ConsumerAlive(Health);

impl Drop for ConsumerAlive {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.alive = state.alive.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(stall: Option<Duration>) -> (Health, ConsumerAlive) {
        let health = Health::new(stall);
        let consumer = health.consumer();
        health.enter(Phase::Running);
        (health, consumer)
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn starting_and_migrating_are_healthy_without_a_consumer() {
        let health = Health::default();
        assert!(health.report().healthy);
        health.enter(Phase::Migrating);
        assert!(health.report().healthy);
        health.enter(Phase::Running);
        assert_eq!(health.report().why, Some("no consumer is alive"));
    }

    #[test]
    fn standing_still_matters_only_with_a_limit_with_lag_and_with_nothing_away() {
        let later = Instant::now() + HOUR;
        let (health, _consumer) = running(Some(Duration::from_secs(60)));
        assert!(health.report_at(later).healthy, "nothing to do");
        health.set_lag(7);
        assert!(!health.report_at(later).healthy);
        assert!(health.report().healthy, "not for long enough");
        health.set_waiting(Some("database".into()));
        assert!(health.report_at(later).healthy, "a restart brings no database back");
        health.set_waiting(None);
        assert!(!health.report_at(later).healthy);
        let (health, _consumer) = running(None);
        health.set_lag(7);
        assert!(health.report_at(later).healthy, "no limit");
    }

    #[test]
    fn nothing_follows_a_failure() {
        let (health, _consumer) = running(None);
        health.enter(Phase::Stopping);
        health.enter(Phase::Running);
        assert_eq!(health.report().phase, Phase::Stopping);
        health.enter(Phase::Failed("wrong password".into()));
        health.enter(Phase::Stopping);
        assert_eq!(health.report().phase.as_str(), "failed");
        assert!(!health.report().healthy);
    }
}

//! Health of the service, for probes that restart an unhealthy process.
//!
//! | state | `/healthcheck` |
//! | --- | --- |
//! | starting, migrating | 200 |
//! | running, with at least one consumer | 200 |
//! | running, database or brokers unavailable | 200: a restart would not help; metrics and alerts report it |
//! | running, all consumers ended | 503 |
//! | running, records waiting and nothing committed for longer than the limit, if one is set | 503 |
//! | stopping | 503 |
//! | failed permanently | 503, until the process exits |

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Phase of the service's life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// The process has started and does not read yet.
    #[default]
    Starting,
    /// The schema is being created or migrated.
    Migrating,
    /// Records are read and written.
    Running,
    /// A stop was requested.
    Stopping,
    /// The service failed permanently, for this reason.
    Failed(String),
}

impl Phase {
    /// Returns the name used in `/api/v1/status`.
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
    /// Whether the service is healthy. A condition that a restart cannot change does not make it
    /// unhealthy.
    pub healthy: bool,
    /// Number of running consumers.
    pub alive: usize,
    /// Phase of the service.
    pub phase: Phase,
    /// What the service waits for, such as an unavailable database.
    pub waiting: Option<String>,
    /// Why the service is unhealthy.
    pub why: Option<&'static str>,
}

impl HealthReport {
    /// Returns the documented body of `/healthcheck`.
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

/// A handle to the health of the service. Clones share it.
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
    /// Last time that a batch was committed, that no record was waiting, or that waiting ended.
    progress: Option<Instant>,
}

impl Health {
    /// Creates the health of a service that is starting.
    ///
    /// With `stall_timeout` the service is unhealthy if it commits nothing for that time, although
    /// records are waiting and both database and brokers are available.
    #[must_use]
    pub fn new(stall_timeout: Option<Duration>) -> Self {
        Self(Arc::new(Inner { stall_timeout, state: Mutex::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a phase. `Failed` is final, and after `Stopping` only `Failed` is accepted; other
    /// calls have no effect.
    pub fn enter(&self, phase: Phase) {
        let mut state = self.state();
        let is_final = match state.phase {
            Phase::Failed(_) => true,
            Phase::Stopping => !matches!(phase, Phase::Failed(_)),
            Phase::Starting | Phase::Migrating | Phase::Running => false,
        };
        if !is_final {
            state.phase = phase;
            state.progress = Some(Instant::now());
        }
    }

    /// Counts a running consumer until the returned guard is dropped.
    #[must_use]
    pub fn consumer(&self) -> ConsumerAlive {
        self.state().alive += 1;
        ConsumerAlive(self.clone())
    }

    /// Notes that a batch was committed.
    pub(crate) fn progressed(&self) {
        self.state().progress = Some(Instant::now());
    }

    /// Sets the number of waiting records in all partitions.
    pub(crate) fn set_lag(&self, lag: u64) {
        let mut state = self.state();
        if state.lag == 0 || lag == 0 {
            state.progress = Some(Instant::now());
        }
        state.lag = lag;
    }

    /// Sets what the service waits for, such as an unavailable database. `None`: nothing.
    pub fn set_waiting(&self, waiting: Option<String>) {
        let mut state = self.state();
        state.progress = Some(Instant::now());
        state.waiting = waiting;
    }

    /// Returns the health at this moment.
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
            Phase::Running if state.alive == 0 => Some("no consumer is running"),
            Phase::Running if stalled => Some("records are waiting, but nothing is committed"),
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

/// Guard of a running consumer. Dropping it means that the consumer ended.
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
        assert_eq!(health.report().why, Some("no consumer is running"));
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

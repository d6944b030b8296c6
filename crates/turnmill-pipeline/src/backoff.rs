//! Pauses between attempts.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use turnmill_sink::{Class, StoreError};

/// Exponential back-off with full jitter: attempt number n waits for a random time up to `first * 2^n`, at most `longest`.
///
/// ```
/// use std::time::Duration;
/// use turnmill_pipeline::Backoff;
/// let backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(30) };
/// assert!(backoff.pause(0) <= Duration::from_millis(100));
/// assert!(backoff.pause(60) <= Duration::from_secs(30));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Longest pause after the first failure.
    pub first: Duration,
    /// Longest pause at all.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(100), longest: Duration::from_secs(30) }
    }
}

impl Backoff {
    /// The pause after failure number `attempt` (from 0).
    #[must_use]
    pub fn pause(&self, attempt: u32) -> Duration {
        let ceiling = self.first.saturating_mul(2_u32.saturating_pow(attempt)).min(self.longest);
        // A hasher with fresh random keys is randomness enough for jitter.
        let random = RandomState::new().hash_one(attempt) >> 11;
        ceiling.mul_f64(random as f64 / (1_u64 << 53) as f64)
    }
}

/// Losing against another writer more often than this in a row is no bad luck.
const LOSSES: u32 = 20;

/// What takes too long more often than this in a row, and cannot be made less, takes too long.
pub(crate) const TOO_SLOW: u32 = 3;

/// Failures in a row of work on a store that is simply begun again, also after another writer was faster.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attempts {
    backoff: Backoff,
    failed: u32,
    since: Option<Instant>,
    patience: Option<Duration>,
}

impl Attempts {
    /// Attempts for work that is given up when it has failed for so long; by default it is tried without end.
    #[must_use]
    pub fn giving_up_after(patience: Duration) -> Self {
        Self { patience: Some(patience), ..Self::default() }
    }

    /// How long to wait before the next attempt; none if there is no use in one.
    pub fn failed(&mut self, error: &StoreError) -> Option<Duration> {
        if matches!(error, StoreError::TimeLimit { .. }) && self.failed >= TOO_SLOW {
            return None;
        }
        let least = match error.class() {
            Class::Retryable { after } => after.unwrap_or_default(),
            Class::Fenced if self.failed < LOSSES => Duration::ZERO,
            Class::Fenced | Class::Poison | Class::Fatal => return None,
        };
        let pause = self.backoff.pause(self.failed).max(least);
        self.failed = self.failed.saturating_add(1);
        let since = *self.since.get_or_insert_with(Instant::now);
        let late = self.patience.is_some_and(|patience| since.elapsed() + pause > patience);
        (!late).then_some(pause)
    }

    /// The last attempt was none too many.
    pub fn succeeded(&mut self) {
        (self.failed, self.since) = (0, None);
    }
}

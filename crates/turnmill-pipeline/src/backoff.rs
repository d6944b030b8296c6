//! Pauses between attempts.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use turnmill_sink::{Class, StoreError};

/// Exponential back-off with full jitter: after failure number n (from 0) it waits for a random
/// time up to `first * 2^n`, at most `longest`.
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
    /// Longest pause after any failure.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(100), longest: Duration::from_secs(30) }
    }
}

impl Backoff {
    /// Returns the pause after failure number `attempt` (from 0).
    #[must_use]
    pub fn pause(&self, attempt: u32) -> Duration {
        let ceiling = self.first.saturating_mul(2_u32.saturating_pow(attempt)).min(self.longest);
        // A hasher with fresh random keys is random enough for jitter.
        let random = RandomState::new().hash_one(attempt) >> 11;
        ceiling.mul_f64(random as f64 / (1_u64 << 53) as f64)
    }
}

/// Fences in a row after which another attempt is pointless.
const LOSSES: u32 = 20;

/// Time-outs in a row that work survives if it cannot be made smaller.
const TIME_OUTS: u32 = 3;

/// Counts the time-outs in a row of work that cannot be made smaller.
///
/// Any other failure in between starts the count again: after it nothing says that the statement
/// itself is what takes long.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TooSlow {
    in_a_row: u32,
}

impl TooSlow {
    /// Counts a failure, and returns whether another attempt is pointless.
    pub(crate) fn is_hopeless_after(&mut self, error: &StoreError) -> bool {
        self.in_a_row = if matches!(error, StoreError::TimeLimit { .. }) { self.in_a_row + 1 } else { 0 };
        self.in_a_row > TIME_OUTS
    }
}

/// Counts failures in a row of work that can be repeated as a whole, also after a fence.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attempts {
    backoff: Backoff,
    failed: u32,
    too_slow: TooSlow,
    since: Option<Instant>,
    patience: Option<Duration>,
}

impl Attempts {
    /// Creates attempts that end when the work has failed for `patience`. By default they do not
    /// end.
    #[must_use]
    pub fn giving_up_after(patience: Duration) -> Self {
        Self { patience: Some(patience), ..Self::default() }
    }

    /// Counts a failure. Returns the pause before the next attempt, or `None` if none is to be
    /// made.
    pub fn failed(&mut self, error: &StoreError) -> Option<Duration> {
        if self.too_slow.is_hopeless_after(error) {
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
        let out_of_patience = self.patience.is_some_and(|patience| since.elapsed() + pause > patience);
        (!out_of_patience).then_some(pause)
    }

    /// Resets the count, after an attempt that succeeded.
    pub fn succeeded(&mut self) {
        *self = Self { backoff: self.backoff, patience: self.patience, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn too_slow() -> StoreError {
        StoreError::TimeLimit { detail: "canceling statement due to statement timeout".into() }
    }

    fn full() -> StoreError {
        StoreError::Unavailable { detail: "no space left on device".into(), source: None }
    }

    #[test]
    fn other_failures_do_not_count_as_time_outs() {
        let mut attempts = Attempts::default();
        for _ in 0..10 {
            assert!(attempts.failed(&full()).is_some());
        }
        assert!((0..3).all(|_| attempts.failed(&too_slow()).is_some()));
        assert!(attempts.failed(&full()).is_some());
        assert!((0..3).all(|_| attempts.failed(&too_slow()).is_some()));
        assert!(attempts.failed(&too_slow()).is_none(), "the fourth in a row");
    }
}

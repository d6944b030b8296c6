//! A request to stop.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Longest time until a pause notices the request.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// A request to stop, shared between the thread that asks and the work that ends. Work stops
/// between two transactions.
///
/// ```
/// use turnmill_pipeline::Stop;
/// let stop = Stop::default();
/// let handle = stop.clone();
/// handle.set();
/// assert!(stop.is_set());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<(Mutex<bool>, Condvar)>);

impl Stop {
    /// Requests to stop. May be called from a signal-handling thread, any number of times.
    pub fn set(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Returns whether stopping was requested.
    #[must_use]
    pub fn is_set(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `pause`, or until stopping is requested. Returns whether it is. Blocks no thread,
    /// and needs no runtime.
    pub async fn pause(&self, pause: Duration) -> bool {
        let mut left = pause;
        while !left.is_zero() && !self.is_set() {
            let step = left.min(CHECK_INTERVAL);
            futures_timer::Delay::new(step).await;
            left -= step;
        }
        self.is_set()
    }

    /// Blocks the thread until stopping is requested, at most for `longest`.
    pub fn wait(&self, longest: Duration) {
        let guard = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Whether the wait timed out does not matter: the caller checks.
        let _ = self.0.1.wait_timeout_while(guard, longest, |stopped| !*stopped);
    }
}

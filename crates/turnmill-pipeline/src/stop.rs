//! Asking to stop.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How long a pause goes on before it is looked whether stopping was asked for.
const LONGEST_DEAF: Duration = Duration::from_millis(100);

/// A request to stop, shared between whoever asks and whoever works. Work stops between two transactions.
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
    /// Asks to stop. May be called from a signal-handling thread, any number of times.
    pub fn set(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Whether stopping was asked for.
    #[must_use]
    pub fn is_set(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits so long, unless stopping is asked for; says whether it is. Blocks no thread, and needs no runtime.
    pub async fn pause(&self, pause: Duration) -> bool {
        let mut left = pause;
        while !left.is_zero() && !self.is_set() {
            let step = left.min(LONGEST_DEAF);
            futures_timer::Delay::new(step).await;
            left -= step;
        }
        self.is_set()
    }

    /// Waits for that, at most so long.
    pub fn wait(&self, longest: Duration) {
        let guard = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Whether it was notified does not matter: the caller looks.
        let _ = self.0.1.wait_timeout_while(guard, longest, |stopped| !*stopped);
    }
}

//! Retries while the database is unavailable.

use std::time::Duration;

use turnmill_pipeline::{Backoff, Stop};
use turnmill_sink::{Class, StoreError};

/// Back-off between attempts: at most 5 seconds, so that a recovered database is noticed soon.
pub(super) const BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(5) };

/// Repeats `attempt` until it succeeds or fails permanently. Calls `retrying` before each retry.
/// Returns `None` if a stop was requested.
pub(super) async fn retried<T>(
    stop: &Stop,
    retrying: impl Fn(&StoreError, Duration),
    mut attempt: impl AsyncFnMut() -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let mut number = 0;
    while !stop.is_set() {
        match attempt().await {
            Err(error) if matches!(error.class(), Class::Retryable { .. }) => {
                let pause = BACKOFF.pause(number);
                number += 1;
                retrying(&error, pause);
                stop.pause(pause).await;
            }
            result => return result.map(Some),
        }
    }
    Ok(None)
}

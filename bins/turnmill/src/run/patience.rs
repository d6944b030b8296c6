//! Waiting for a database that is away.

use std::time::Duration;

use turnmill_pipeline::{Backoff, Stop};
use turnmill_sink::{Class, StoreError};

/// A database that is back is noticed within seconds.
pub(super) const BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(5) };

/// Does something to a store as often as it takes, and tells of each failure that may pass; none if stopping was asked for.
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

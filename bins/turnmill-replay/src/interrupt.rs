//! Stopping on SIGINT, SIGTERM and SIGHUP.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use turnmill_pipeline::{Stop, rounded};
use turnmill_service::end_at_once;

use crate::{Failure, message};

/// Requests a stop at the first signal. Ends the process at the second one, and as soon as stopping
/// has taken longer than `longest`.
///
/// A database that does not respond answers no statement, and a tracker store that is being read
/// blocks its thread. Ending at once is safe: rows and positions commit together, so the same
/// command resumes after the last commit.
pub(crate) fn listen(stop: &Stop, longest: Duration) -> Result<(), Failure> {
    let stop = stop.clone();
    let stopping = AtomicBool::new(false);
    ctrlc::set_handler(move || {
        if stopping.swap(true, Ordering::Relaxed) {
            end_at_once();
        }
        stop.set();
        // The signals' thread has to be free for the second signal.
        let limit = std::thread::Builder::new().name("turnmill-limit".into()).spawn(move || {
            std::thread::sleep(longest);
            message(&format!(
                "stopping took longer than {} (--shutdown-secs); ended without waiting. Committed \
                 batches stay, and the same command resumes",
                rounded(longest)
            ));
            end_at_once();
        });
        if limit.is_err() {
            end_at_once();
        }
    })?;
    Ok(())
}

//! Stopping on SIGINT, SIGTERM and SIGHUP.

use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use turnmill_pipeline::{Stop, rounded};

use crate::{Failure, INTERRUPTED, message};

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
            end();
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
            end();
        });
        if limit.is_err() {
            end();
        }
    })?;
    Ok(())
}

#[expect(clippy::exit, reason = "the main thread may be blocked by a database that does not respond")]
fn end() -> ! {
    exit(INTERRUPTED.into());
}

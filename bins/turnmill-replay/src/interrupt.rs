//! Being asked to stop: by SIGINT, SIGTERM or SIGHUP.

use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use turnmill_pipeline::{Stop, rounded};

use crate::{Failure, INTERRUPTED, message};

/// Asks to stop at the first signal. Ends the process at the second one, and as soon as stopping has taken longer than
/// `longest`: a database that is silent answers no statement, and a tracker store that is read blocks its thread.
///
/// Ending at once is safe. Rows and positions commit together, so the same command goes on from what was committed.
pub(crate) fn listen(stop: &Stop, longest: Duration) -> Result<(), Failure> {
    let stop = stop.clone();
    let asked = AtomicBool::new(false);
    ctrlc::set_handler(move || {
        if asked.swap(true, Ordering::Relaxed) {
            exit(INTERRUPTED.into());
        }
        stop.set();
        // The signals' thread has to be free for the second one.
        let limit = std::thread::Builder::new().name("turnmill-limit".into()).spawn(move || {
            std::thread::sleep(longest);
            message(&format!(
                "stopping took longer than {} (--shutdown-secs): ended as it is; what was committed stays, and the same command \
                 goes on from there",
                rounded(longest)
            ));
            exit(INTERRUPTED.into());
        });
        if limit.is_err() {
            exit(INTERRUPTED.into());
        }
    })?;
    Ok(())
}

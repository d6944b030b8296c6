//! Formats errors for people.

use std::error::Error;

/// Returns the error and its causes in one line. A cause that adds nothing is left out.
///
/// ```
/// use turnmill_pipeline::{PipelineError, explain};
/// let error = PipelineError::Thread(std::io::Error::other("no more threads"));
/// assert_eq!(explain(&error), "cannot start the reading thread: no more threads");
/// ```
#[must_use]
pub fn explain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let detail = error.to_string();
        if !text.contains(&detail) {
            text = format!("{text}: {detail}");
        }
        cause = error.source();
    }
    text
}

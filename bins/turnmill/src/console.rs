//! Messages on standard error.

use std::io::Write;

use turnmill_text::{Arguments, escaped_message};

/// Returns the arguments of the command line, for hiding the secrets among them in messages.
pub(crate) fn arguments() -> Arguments {
    Arguments::new(std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()))
}

/// Prints a message to standard error, without secrets and control characters.
pub(crate) fn message(text: &str) {
    let text = arguments().hide_in(text);
    // A closed standard error is no reason to fail.
    let _ = writeln!(std::io::stderr(), "turnmill: {}", escaped_message(&text));
}

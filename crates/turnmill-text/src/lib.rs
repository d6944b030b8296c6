//! Printable forms of texts from outside: addresses without passwords, and data without control
//! characters.
//!
//! What is absent here: I/O, the environment, dependencies, and knowledge of what an address is
//! used for.
//!
//! Two rules hold for everything that turnmill prints. An address passes through [`redact`],
//! because a typing error can put its password anywhere. A text of the data passes through
//! [`escaped`], because end users choose it and terminals interpret it.
//!
//! ```
//! use turnmill_text::{escaped, redact};
//! assert_eq!(redact("mysql+pymysql://rasa:s@cret@db/rasa"), "mysql+pymysql://rasa:***@db/rasa");
//! assert_eq!(redact("host=db user=rasa password=secret"), "host=db user=rasa password=***");
//! assert_eq!(redact("events.jsonl"), "events.jsonl");
//! assert_eq!(escaped("\u{1b}[31mred\n").to_string(), r"\u{1b}[31mred\n");
//! ```

mod arguments;
mod escape;
mod redact;
mod secret;
mod servers;

pub use arguments::Arguments;
pub use escape::{Escaped, escaped, escaped_bytes, escaped_lines, escaped_message};
pub use redact::{HIDDEN, redact};
pub use secret::Secret;
pub use servers::{ServerProblem, check_brokers, check_host};

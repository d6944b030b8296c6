//! Messages about command lines, without the secrets of the command line.

use crate::escape::{escaped, escaped_lines};
use crate::redact::redact;

/// The arguments of a command that must be changed before they are printed. They contain a
/// password, or characters that a terminal interprets.
///
/// Libraries that parse command lines quote arguments in their messages. Passing the finished
/// message through this type keeps passwords out of it, even if an argument was misinterpreted.
///
/// ```
/// use turnmill_text::Arguments;
/// let arguments = Arguments::new(["verify", "--to=mysql://rasa:secret@db/rasa"]);
/// let message = "unexpected value 'mysql://rasa:secret@db/rasa'";
/// assert_eq!(arguments.hide_in(message), "unexpected value 'mysql://rasa:***@db/rasa'");
/// ```
#[derive(Clone, Default)]
pub struct Arguments(Vec<(String, String)>);

impl Arguments {
    /// Collects the arguments of a command line.
    pub fn new<A: AsRef<str>>(arguments: impl IntoIterator<Item = A>) -> Self {
        let mut hidden = Vec::new();
        for argument in arguments {
            let whole = argument.as_ref();
            let mut hide = |text: &str, before: &str| {
                let shown = escaped(&format!("{before}{}", redact(text))).to_string();
                let text = format!("{before}{text}");
                if shown != text {
                    hidden.push((text, shown));
                }
            };
            match whole.split_once('=').filter(|(flag, _)| flag.starts_with('-')) {
                // A message may quote the value alone.
                Some((flag, value)) => {
                    hide(value, &format!("{flag}="));
                    hide(value, "");
                }
                None => hide(whole, ""),
            }
        }
        // Replace longer texts first: they may contain shorter ones.
        hidden.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        Self(hidden)
    }

    /// Returns the message with these arguments in their printable form.
    #[must_use]
    pub fn hide_in(&self, message: &str) -> String {
        let hide = |message: String, (text, shown): &(String, String)| message.replace(text.as_str(), shown);
        self.0.iter().fold(message.to_owned(), hide)
    }

    /// Like [`hide_in`](Self::hide_in), for a message with colours. Removes them.
    ///
    /// A library that strips colours also strips parts of arguments, so they would not be
    /// recognised.
    ///
    /// ```
    /// use turnmill_text::Arguments;
    /// let arguments = Arguments::new(["a\u{1b}[31mb"]);
    /// assert_eq!(arguments.hide_in_coloured("\u{1b}[1merror:\u{1b}[0m a\u{1b}[31mb\n"), "error: a\\u{1b}[31mb\n");
    /// ```
    #[must_use]
    pub fn hide_in_coloured(&self, message: &str) -> String {
        let hidden = self.hide_in(message);
        let mut parts = hidden.split('\u{1b}');
        let mut plain = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
        }
        escaped_lines(&plain).to_string()
    }
}

impl std::fmt::Debug for Arguments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(_, shown)| shown)).finish()
    }
}

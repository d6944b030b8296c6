//! Texts of users that are settled: in the training data of the assistant, accepted, or ignored.

use std::collections::BTreeSet;

use crate::texts::normal;

/// Texts that a list of missed texts hides or marks. They are compared in lower case with single
/// spaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examples {
    known: BTreeSet<String>,
    accepted: BTreeSet<String>,
    ignored: BTreeSet<String>,
}

/// What has been decided about a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextStatus {
    /// Nothing.
    New,
    /// It goes into the training data.
    Accepted,
    /// It does not.
    Ignored,
}

impl TextStatus {
    /// Returns its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Accepted => "accepted",
            Self::Ignored => "ignored",
        }
    }
}

impl Examples {
    /// Adds the examples of Rasa's training data in YAML: the lines of `examples`, without the
    /// annotations of entities. Other lines are passed over.
    ///
    /// ```
    /// use turnmill_analytics::Examples;
    /// let mut examples = Examples::default();
    /// examples.add_training_data("nlu:\n- intent: send\n  examples: |\n    - send it to [Oslo](city)\n");
    /// assert!(examples.knows("Send it to  Oslo"));
    /// assert!(!examples.knows("intent: send"));
    /// ```
    pub fn add_training_data(&mut self, yaml: &str) {
        // Depth of the line `examples: |` whose block is being read.
        let mut block: Option<usize> = None;
        for line in yaml.lines() {
            let text = line.trim_start();
            let depth = line.len() - text.len();
            if text.is_empty() {
                continue;
            }
            if block.is_some_and(|start| depth <= start) {
                block = None;
            }
            match block {
                Some(_) => {
                    if let Some(example) = text.strip_prefix("- ") {
                        self.known.insert(normal(&plain(example)));
                    }
                }
                None => {
                    let key = text.strip_prefix("- ").unwrap_or(text);
                    if key.strip_prefix("examples:").is_some_and(|rest| rest.trim_start().starts_with('|')) {
                        block = Some(depth);
                    }
                }
            }
        }
    }

    /// Adds a text about which something has been decided.
    pub fn add(&mut self, text: &str, status: TextStatus) {
        let text = normal(text);
        self.accepted.remove(&text);
        self.ignored.remove(&text);
        match status {
            TextStatus::New => {}
            TextStatus::Accepted => drop(self.accepted.insert(text)),
            TextStatus::Ignored => drop(self.ignored.insert(text)),
        }
    }

    /// Returns whether the training data has a text.
    #[must_use]
    pub fn knows(&self, text: &str) -> bool {
        self.known.contains(&normal(text))
    }

    /// Returns what has been decided about a text.
    #[must_use]
    pub fn status(&self, text: &str) -> TextStatus {
        let text = normal(text);
        if self.accepted.contains(&text) {
            TextStatus::Accepted
        } else if self.ignored.contains(&text) {
            TextStatus::Ignored
        } else {
            TextStatus::New
        }
    }
}

/// Returns an example without its annotations: `[text](entity)` and `[text]{"entity": "x"}` are
/// `text`.
fn plain(example: &str) -> String {
    let mut out = String::with_capacity(example.len());
    let mut rest = example;
    while let Some((before, after)) = rest.split_once('[') {
        let annotated = after.split_once(']').and_then(|(text, after)| {
            let close = match after.chars().next()? {
                '(' => ')',
                '{' => '}',
                _ => return None,
            };
            Some((text, after.split_once(close)?.1))
        });
        out.push_str(before);
        match annotated {
            Some((text, after)) => {
                out.push_str(text);
                rest = after;
            }
            None => {
                out.push('[');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn training_data_is_read_as_rasa_writes_it() {
        let yaml = "version: \"3.1\"\nnlu:\n- intent: inform\n  examples: |\n    - [big](size) one\n\n    \
                    - to [New York]{\"entity\": \"city\", \"role\": \"to\"} [please\n- regex: zip\n  \
                    examples: |\n    - \\d{5}\nrules:\n- rule: say hi\n  steps:\n  - intent: hi\n";
        let mut examples = Examples::default();
        examples.add_training_data(yaml);
        for known in ["big one", "to New York [please", "BIG  one"] {
            assert!(examples.knows(known), "{known}: {examples:?}");
        }
        for unknown in ["say hi", "inform", "intent: hi", "rule: say hi"] {
            assert!(!examples.knows(unknown), "{unknown}");
        }
    }

    #[test]
    fn the_last_decision_counts() {
        let mut examples = Examples::default();
        examples.add("Order a  pizza", TextStatus::Accepted);
        assert_eq!(examples.status("order a pizza"), TextStatus::Accepted);
        examples.add("order a pizza", TextStatus::Ignored);
        assert_eq!(examples.status("order a pizza"), TextStatus::Ignored);
        examples.add("order a pizza", TextStatus::New);
        assert_eq!(examples.status("order a pizza"), TextStatus::New);
    }
}

//! Problems with the settings, and notes about them.

use std::fmt;

use super::origin::Origin;

/// One problem with the settings: its origin, and what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem(String);

impl Problem {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn at(origin: &Origin, detail: impl fmt::Display) -> Self {
        Self(format!("{origin}: {detail}"))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// All problems with the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct SettingsError {
    /// The problems, at least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [one] => write!(f, "invalid setting: {one}"),
            all => {
                f.write_str("invalid settings:")?;
                all.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

/// Log level of a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Informs about a consequence of the settings.
    Info,
    /// The settings probably differ from what was intended.
    Warning,
}

/// A message about a setting, logged once at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Log level of the message.
    pub severity: Severity,
    /// Environment variable of the setting.
    pub setting: &'static str,
    /// The message.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.text)
    }
}

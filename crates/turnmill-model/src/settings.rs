//! Defines the settings that change rows or ids.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Settings that change which rows or ids an event gives.
///
/// A store remembers the settings with which it was filled, and refuses others: under mixed
/// settings rows would no longer be a function of events.
///
/// ```
/// use turnmill_model::{SessionIdMode, Settings};
/// let settings = Settings::default();
/// assert_eq!(settings.session_id, SessionIdMode::Uuid);
/// assert!(settings.stack_events);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Which `metadata.session_id` values count.
    pub session_id: SessionIdMode,
    /// Whether slot values that are strings are stored without quotes.
    pub bare_slot_strings: bool,
    /// Whether `stack` events write dialogue stack frames (`DISABLE_STACK_EVENT_PROCESSING`
    /// switches that off).
    pub stack_events: bool,
    /// How logs of Amazon Lex are read. Stores remember it only if it is not the default.
    #[serde(skip_serializing_if = "LexSettings::is_default")]
    pub lex: LexSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            session_id: SessionIdMode::default(),
            bare_slot_strings: false,
            stack_events: true,
            lex: LexSettings::default(),
        }
    }
}

/// How conversation logs of Amazon Lex are read.
///
/// ```
/// use turnmill_model::LexSettings;
/// let settings = LexSettings::default();
/// assert_eq!(settings.session_gap, 300);
/// assert!(settings.secret_keys.iter().any(|pattern| pattern == "*token"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LexSettings {
    /// Longest silence inside a session whose records name no first request, in seconds.
    pub session_gap: u32,
    /// Session or request attribute that names the end user.
    pub user_attribute: Option<String>,
    /// Session attribute that hands the conversation over: `name`, or `name=value`.
    pub handover_attribute: Option<String>,
    /// Channel of records that name none.
    pub channel: Option<String>,
    /// Patterns of the keys of attributes whose values are secret. They are compared with the
    /// whole key, without case; `*` stands for any text.
    pub secret_keys: Vec<String>,
}

impl Default for LexSettings {
    fn default() -> Self {
        let secret_keys = ["*jwt", "*token", "authorization", "*secret", "*password"];
        Self {
            session_gap: 300,
            user_attribute: None,
            handover_attribute: None,
            channel: None,
            secret_keys: secret_keys.map(str::to_owned).to_vec(),
        }
    }
}

impl LexSettings {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Which `metadata.session_id` values name a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionIdMode {
    /// Only canonical UUID text: lower-case hex, 8-4-4-4-12.
    #[default]
    Uuid,
    /// Any non-empty text; one that is no UUID becomes one by digest.
    Any,
    /// None: sessions are cut by Rasa's boundary events alone.
    Off,
}

impl SessionIdMode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Uuid, Self::Any, Self::Off];

    /// Returns the name, as options spell it: `uuid`, `any` or `off`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uuid => "uuid",
            Self::Any => "any",
            Self::Off => "off",
        }
    }
}

impl fmt::Display for SessionIdMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SessionIdMode {
    type Err = UnknownSessionIdMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text).ok_or(UnknownSessionIdMode)
    }
}

/// Error of a text that names no [`SessionIdMode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected uuid, any or off")]
pub struct UnknownSessionIdMode;

//! The steps of a funnel, as users write them.

use std::fmt;
use std::str::FromStr;

/// Most steps of a funnel.
pub const MOST_STEPS: usize = 6;

/// One step of a funnel: something that happens in a conversation.
///
/// ```
/// use turnmill_analytics::Step;
/// assert_eq!("intent:greet".parse(), Ok(Step::Intent("greet".into())));
/// assert_eq!("flow:book_table:completed".parse(), Ok(Step::Flow("book_table".into(), "completed".into())));
/// assert!("greet".parse::<Step>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A message with this intent.
    Intent(String),
    /// An action of this name.
    Action(String),
    /// A bot message of this response.
    Response(String),
    /// A slot that is set, not to null.
    Slot(String),
    /// A flow that gets a status.
    Flow(String, String),
    /// A row of a marker.
    Marker(String),
}

/// A text that is no step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no step: write intent:NAME, action:NAME, response:NAME, slot:NAME, flow:NAME:STATUS or marker:NAME"
)]
pub struct UnknownStep {
    /// The text.
    pub text: String,
}

impl FromStr for Step {
    type Err = UnknownStep;

    fn from_str(text: &str) -> Result<Self, UnknownStep> {
        let bad = || UnknownStep { text: text.to_owned() };
        let (kind, name) = text.split_once(':').filter(|(_, name)| !name.is_empty()).ok_or_else(bad)?;
        let name = name.to_owned();
        Ok(match kind {
            "intent" => Self::Intent(name),
            "action" => Self::Action(name),
            "response" => Self::Response(name),
            "slot" => Self::Slot(name),
            "marker" => Self::Marker(name),
            "flow" => {
                let (flow, status) = name.rsplit_once(':').ok_or_else(bad)?;
                Self::Flow(flow.to_owned(), status.to_owned())
            }
            _ => return Err(bad()),
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Intent(name) => write!(f, "intent:{name}"),
            Self::Action(name) => write!(f, "action:{name}"),
            Self::Response(name) => write!(f, "response:{name}"),
            Self::Slot(name) => write!(f, "slot:{name}"),
            Self::Flow(flow, status) => write!(f, "flow:{flow}:{status}"),
            Self::Marker(name) => write!(f, "marker:{name}"),
        }
    }
}

/// A funnel: its steps, and in what they have to follow each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Funnel {
    /// The steps, at most [`MOST_STEPS`].
    pub steps: Vec<Step>,
    /// Whether the steps may be in several sessions of one sender.
    pub across_sessions: bool,
    /// Seconds from the first step within which all others have to come. `None`: any time.
    pub window_seconds: Option<u32>,
}

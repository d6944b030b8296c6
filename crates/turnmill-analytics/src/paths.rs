//! Which ways through sessions are shown, and what brings a user back.

use crate::funnel::Step;

/// Most steps of unrolled paths: as many as `ext_session.intent_path` has.
pub const MOST_PATH_STEPS: usize = 8;

/// The paths of sessions that are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathOptions {
    /// First name of a path. `None`: any.
    pub start: Option<String>,
    /// Last name of a path. `None`: any.
    pub end: Option<String>,
    /// Number of steps that are unrolled, at most [`MOST_PATH_STEPS`].
    pub steps: usize,
    /// Whether a path is made of the dialogs that are done, in the order in which they end, rather
    /// than of the intents of the user.
    pub completed: bool,
}

impl Default for PathOptions {
    fn default() -> Self {
        Self { start: None, end: None, steps: 4, completed: false }
    }
}

/// What makes a user one of a cohort, and what shows that the user came back. `None` is the start
/// of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Return {
    /// The first of these puts a user into the cohort of its week.
    pub first: Option<Step>,
    /// One of these in a later week counts as a return.
    pub back: Option<Step>,
}

//! What a metric is asked for: range, filters, buckets, comparison.

use std::fmt;
use std::str::FromStr;

use turnmill_model::Micros;

use crate::bucket::Bucket;
use crate::definitions::Definitions;
use crate::funnel::Funnel;
use crate::range::{Compare, Last, Span};
use crate::zone::Zone;

/// The way in which a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// Handed over to a human.
    Escalated,
    /// Given up by the user.
    Abandoned,
    /// Neither escalated nor abandoned.
    Finished,
    /// Not over.
    Open,
    /// Without a turn.
    Unused,
}

/// A name that is no ending.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no ending: use escalated, abandoned, finished, open or unused")]
pub struct UnknownEnding {
    /// The name.
    pub name: String,
}

impl Ending {
    /// All endings, in the order of lists.
    pub const ALL: [Self; 5] = [Self::Escalated, Self::Abandoned, Self::Finished, Self::Open, Self::Unused];

    /// Returns its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Escalated => "escalated",
            Self::Abandoned => "abandoned",
            Self::Finished => "finished",
            Self::Open => "open",
            Self::Unused => "unused",
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Ending {
    type Err = UnknownEnding;

    fn from_str(name: &str) -> Result<Self, UnknownEnding> {
        let known = Self::ALL.into_iter().find(|ending| ending.name() == name);
        known.ok_or_else(|| UnknownEnding { name: name.to_owned() })
    }
}

/// The rows that metrics count. Values of one filter are alternatives; filters are combined. `None`
/// among the values is NULL.
///
/// A filter means the same for every metric, by what the metric counts: see
/// [`Counted`](crate::Counted).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// Assistants.
    pub assistants: Vec<Option<String>>,
    /// Channels.
    pub channels: Vec<Option<String>>,
    /// Environments.
    pub environments: Vec<Option<String>>,
    /// Models.
    pub models: Vec<Option<String>>,
    /// Intents of messages.
    pub intents: Vec<Option<String>>,
    /// Endings of sessions.
    pub endings: Vec<Ending>,
    /// Names of markers of which a session has a row.
    pub markers: Vec<String>,
    /// Languages and regions.
    pub locales: Vec<Option<String>>,
    /// Kinds of sources.
    pub source_systems: Vec<Option<String>>,
    /// Whether sessions that are tests are left out.
    pub exclude_tests: bool,
}

/// The end of a question's range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// From one instant to another.
    Span(Span),
    /// The last hours, days, weeks or months of the store.
    Last(Last),
}

impl Default for When {
    fn default() -> Self {
        Self::Span(Span::default())
    }
}

/// The series of values that an answer has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Over {
    /// None.
    #[default]
    Nothing,
    /// The finest buckets of which there are at most [`FINEST`](crate::FINEST).
    Finest,
    /// Buckets of this width.
    Buckets(Bucket),
}

/// The parts that an answer has beside its first number.
///
/// A list or a further number may take longer than the first number, so a caller that draws one
/// number asks for no part. Numbers that come with the first one are always there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Parts {
    /// All numbers and lists of the metric.
    #[default]
    All,
    /// The numbers and lists of these names, as far as the metric has them. Without a name the
    /// answer has no list.
    Named(Vec<String>),
}

impl Parts {
    /// Returns whether the part of this name is asked for.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.iter().any(|known| known == name),
        }
    }
}

/// A question about one metric or several.
///
/// ```
/// use turnmill_analytics::{Bucket, Filters, Over, Question};
/// let question = Question {
///     filters: Filters { channels: vec![Some("web".into())], ..Filters::default() },
///     over: Over::Buckets(Bucket::Day),
///     zone: "Europe/Berlin".parse()?,
///     ..Question::default()
/// };
/// assert!(question.compare.is_none());
/// # Ok::<(), turnmill_analytics::UnknownZone>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The range of time.
    pub when: When,
    /// Time zone of days, hours and weekdays.
    pub zone: Zone,
    /// The rows counted.
    pub filters: Filters,
    /// Buckets of the series.
    pub over: Over,
    /// The period to compare with.
    pub compare: Option<Compare>,
    /// Time by which it is judged whether sessions are over. `None`: the store's newest event.
    pub as_of: Option<Micros>,
    /// Maximum number of rows of a list of the most frequent.
    pub top: usize,
    /// The numbers and lists that the answer has beside its first number.
    pub parts: Parts,
    /// Steps of the funnel.
    pub funnel: Funnel,
    /// Intent around which users' ways are shown. `None`: the most frequent.
    pub anchor: Option<String>,
    /// What the metrics mean.
    pub definitions: Definitions,
}

impl Default for Question {
    fn default() -> Self {
        Self {
            when: When::default(),
            zone: Zone::default(),
            filters: Filters::default(),
            over: Over::default(),
            compare: None,
            as_of: None,
            top: 10,
            parts: Parts::default(),
            funnel: Funnel::default(),
            anchor: None,
            definitions: Definitions::default(),
        }
    }
}

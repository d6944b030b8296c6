//! What a metric is asked for: range, filters, buckets, comparison.

use std::fmt;
use std::str::FromStr;

use turnmill_model::Micros;

use crate::bucket::Bucket;
use crate::business::Business;
use crate::definitions::Definitions;
use crate::examples::Examples;
use crate::funnel::Funnel;
use crate::paths::{PathOptions, Return};
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

/// The sessions of a range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum During {
    /// Those that start in it.
    #[default]
    Started,
    /// Those that are active in it: their first event is before its end, their last is not before
    /// its start.
    Active,
}

/// A name that does not say which sessions are in a range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` does not say which sessions are in a range: use started or active")]
pub struct UnknownDuring {
    /// The name.
    pub name: String,
}

impl During {
    /// Returns its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Active => "active",
        }
    }
}

impl FromStr for During {
    type Err = UnknownDuring;

    fn from_str(name: &str) -> Result<Self, UnknownDuring> {
        let known = [Self::Started, Self::Active].into_iter().find(|during| during.name() == name);
        known.ok_or_else(|| UnknownDuring { name: name.to_owned() })
    }
}

/// A saved set of senders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cohort {
    /// Its name.
    pub name: String,
    /// Keys of the senders. No key keeps no row.
    pub senders: Vec<String>,
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
    /// Sets of senders. A sender of any of them is kept.
    pub cohorts: Vec<Cohort>,
    /// The sessions of the range, for metrics that count sessions or users by their start.
    pub during: During,
    /// Whether sessions that are tests are left out: those that the source marks, those of a draft
    /// of the bot, and those of the channels `emulator` and `chatdown`.
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

/// A property of sessions by which lists are broken down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property {
    /// The channel.
    Channel,
    /// The model.
    Model,
    /// The environment.
    Environment,
    /// The assistant.
    Assistant,
}

/// A name that is no property.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no property: use channel, model, environment or assistant")]
pub struct UnknownProperty {
    /// The name.
    pub name: String,
}

impl Property {
    /// All properties.
    pub const ALL: [Self; 4] = [Self::Channel, Self::Model, Self::Environment, Self::Assistant];

    /// Returns its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Channel => "channel",
            Self::Model => "model",
            Self::Environment => "environment",
            Self::Assistant => "assistant",
        }
    }

    /// Returns the column of `ext_session` that holds it.
    pub(crate) fn column(self) -> &'static str {
        match self {
            Self::Channel => "channel",
            Self::Model => "model_id",
            Self::Environment => "environment",
            Self::Assistant => "assistant",
        }
    }
}

impl FromStr for Property {
    type Err = UnknownProperty;

    fn from_str(name: &str) -> Result<Self, UnknownProperty> {
        let known = Self::ALL.into_iter().find(|property| property.name() == name);
        known.ok_or_else(|| UnknownProperty { name: name.to_owned() })
    }
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
#[derive(Clone, Debug, PartialEq)]
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
    /// Models to compare with, in the same period, instead of an earlier one. Empty: none.
    pub against_models: Vec<Option<String>>,
    /// Time by which it is judged whether sessions are over. `None`: the store's newest event.
    pub as_of: Option<Micros>,
    /// Maximum number of rows of a list of the most frequent.
    pub top: usize,
    /// Whether the list of intents leaves out messages that have none.
    pub hide_null: bool,
    /// Intents and slots that lists of paths and of values leave out.
    pub exclude: Vec<String>,
    /// Property by which funnels and ways are broken down.
    pub breakdown: Option<Property>,
    /// The text that messages are searched for.
    pub text: Option<String>,
    /// Texts of users that the training data of the assistant has, or that are settled otherwise.
    pub examples: Examples,
    /// Costs and times of the business.
    pub business: Business,
    /// The numbers and lists that the answer has beside its first number.
    pub parts: Parts,
    /// Steps of the funnel.
    pub funnel: Funnel,
    /// The paths of sessions.
    pub paths: PathOptions,
    /// What retention counts.
    pub retention: Return,
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
            against_models: Vec::new(),
            as_of: None,
            top: 10,
            hide_null: false,
            exclude: Vec::new(),
            breakdown: None,
            text: None,
            examples: Examples::default(),
            business: Business::default(),
            parts: Parts::default(),
            funnel: Funnel::default(),
            paths: PathOptions::default(),
            retention: Return::default(),
            anchor: None,
            definitions: Definitions::default(),
        }
    }
}

//! The description of a metric: everything about it, once.

use std::fmt;

use crate::answer::Table;
use crate::measure::Measure;
use crate::scope::Scope;
use crate::value::Query;
use crate::view::View;

/// A metric.
///
/// A [`Plan`](crate::Plan) makes its queries, and [`answer`](crate::answer()) runs them.
pub struct Metric {
    /// Its id, for example `R8_containment`. Never changes.
    pub id: &'static str,
    /// Its title.
    pub title: &'static str,
    /// Its meaning in words.
    pub definition: &'static str,
    /// The unit of its first number.
    pub unit: Unit,
    /// The forms in which it is drawn, the usual one first.
    pub charts: &'static [Chart],
    /// What it counts, which says what the filters mean for it.
    pub counted: Counted,
    /// The sources that can feed it.
    pub sources: &'static [Source],
    /// Its numbers.
    pub figures: &'static [Figure],
    /// The query by whose groups the first number can be split over time: rows of slice, group and
    /// count.
    pub(crate) split: Option<&'static str>,
    pub(crate) plan: fn(&Scope) -> Vec<Query>,
    pub(crate) values: fn(&Scope, &View<'_>) -> Vec<Measure>,
    pub(crate) tables: fn(&Scope, &View<'_>) -> Vec<Table>,
}

/// One number of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figure {
    /// Its name, unique in the metric.
    pub name: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// What is counted: the numerator of a share.
    pub numerator: &'static str,
    /// What it is a share of, or divided by.
    pub denominator: Option<&'static str>,
}

/// The unit of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// How many.
    Count,
    /// Percent, from 0 to 100.
    Percent,
    /// A fraction, from 0 to 1.
    Fraction,
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// So many for each.
    Ratio,
    /// Percentage points.
    Points,
    /// An amount of money, in the currency of the costs.
    Money,
    /// Rows of a list.
    Rows,
}

impl Unit {
    /// Returns its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Percent => "%",
            Self::Fraction => "0-1",
            Self::Seconds => "s",
            Self::Milliseconds => "ms",
            Self::Ratio => "ratio",
            Self::Points => "pp",
            Self::Money => "money",
            Self::Rows => "rows",
        }
    }
}

/// A form of drawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chart {
    /// A number.
    Number,
    /// A line over time.
    Line,
    /// Bars.
    Bar,
    /// Bars over time, stacked by group.
    StackedBar,
    /// A histogram.
    Histogram,
    /// A table.
    Table,
    /// A number on a scale.
    Gauge,
    /// Parts of a whole.
    Pie,
    /// Areas over time, stacked by group.
    StackedArea,
    /// A heat map.
    HeatMap,
    /// A Sankey diagram.
    Sankey,
    /// A funnel.
    Funnel,
    /// A calendar.
    Calendar,
}

impl Chart {
    /// Returns its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Line => "line",
            Self::Bar => "bar",
            Self::StackedBar => "stacked bar",
            Self::Histogram => "histogram",
            Self::Table => "table",
            Self::Gauge => "gauge",
            Self::Pie => "pie",
            Self::StackedArea => "stacked area",
            Self::HeatMap => "heat map",
            Self::Sankey => "Sankey",
            Self::Funnel => "funnel",
            Self::Calendar => "calendar",
        }
    }
}

/// What a metric counts. It says which times and columns the filters look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Sessions or users: by the start of the session; channel, environment and model of the
    /// session; an intent that at least one of its messages has, at any time.
    Sessions,
    /// Messages, turns, responses of turns: by the time, channel, environment, model and intent of
    /// the message; the rest of its session.
    Messages,
    /// Other rows: by their own time; all filters of their session.
    Rows,
    /// Parts of different kinds, each by its own rule.
    Mixed,
}

impl Counted {
    /// Returns its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Messages => "messages",
            Self::Rows => "rows",
            Self::Mixed => "mixed",
        }
    }
}

/// A kind of source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Rasa's events.
    Rasa,
    /// Logs of Amazon Lex V2.
    Lex,
    /// Telemetry of Bot Framework.
    BotFramework,
}

impl Source {
    /// All sources.
    pub const ALL: &'static [Self] = &[Self::Rasa, Self::Lex, Self::BotFramework];

    /// Returns its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rasa => "Rasa",
            Self::Lex => "Lex V2",
            Self::BotFramework => "Bot Framework",
        }
    }
}

impl PartialEq for Metric {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl fmt::Debug for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metric").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Makes the figure of a count.
pub(crate) const fn count(name: &'static str, what: &'static str) -> Figure {
    Figure { name, unit: Unit::Count, numerator: what, denominator: None }
}

/// Makes the figure of a share in percent.
pub(crate) const fn share(name: &'static str, n: &'static str, d: &'static str) -> Figure {
    Figure { name, unit: Unit::Percent, numerator: n, denominator: Some(d) }
}

/// Makes the figure of a ratio.
pub(crate) const fn ratio(name: &'static str, n: &'static str, d: &'static str) -> Figure {
    Figure { name, unit: Unit::Ratio, numerator: n, denominator: Some(d) }
}

/// Makes the figure of a time in seconds.
pub(crate) const fn seconds(name: &'static str, what: &'static str) -> Figure {
    Figure { name, unit: Unit::Seconds, numerator: what, denominator: None }
}

/// For metrics without lists.
pub(crate) fn no_tables(_: &Scope, _: &View<'_>) -> Vec<Table> {
    Vec::new()
}

/// For metrics without numbers.
pub(crate) fn no_values(_: &Scope, _: &View<'_>) -> Vec<Measure> {
    Vec::new()
}

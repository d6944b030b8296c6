//! The answer to a question about a metric: one typed value, and its JSON.
//!
//! `turnmill report --format json` prints it and the dashboard's API returns it. Its version is
//! [`VERSION`]; fields are added to it, and none changes its meaning within a version.
//!
//! | field | content |
//! | --- | --- |
//! | `version` | 1 |
//! | `id`, `title`, `unit` | of the metric |
//! | `values` | an object: for each name `value`; `n` and `d` of a share or ratio; `n`, the number of values, of a mean or percentile; `small`, if there is too little for a percentage or percentile; `was` and `change`, if there is a comparison; `interval`, 95 % of a change of shares |
//! | `columns`, `rows` | the main list, if the metric has one |
//! | `tables` | further lists, each with `name`, `columns`, `rows` |
//! | `series` | each with `name`, `group` of a split, and `points`: `from`, `to` and the number |
//! | `filters` | what was asked: `from`, `to`, `tz`, `by`, `compare`, and the filters that are set |
//! | `compared` | `from` and `to` of the period compared with |
//! | `as_of` | the time by which sessions are over |
//! | `newest` | the time of the store's newest event |
//! | `not_set_up` | what is missing, if the metric needs a setting or data that are not there |
//! | `sql` | each query with `name`, `sql` and its bound `values`, in order |
//!
//! Times are UTC, `YYYY-MM-DD HH:MM:SS.ffffff`.

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use turnmill_model::Micros;

use crate::bucket::Bucket;
use crate::measure::{Change, Measure};
use crate::metric::Metric;
use crate::question::{During, Filters};
use crate::range::{Compare, Range, Span};
use crate::value::{Query, Row, Value};
use crate::zone::Zone;

/// Version of the answers' JSON.
pub const VERSION: u32 = 1;

/// The answer to a question about one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The metric.
    pub metric: &'static Metric,
    /// Its numbers, in the order of the metric's figures.
    pub values: Vec<NamedMeasure>,
    /// Its lists. The first is the main one.
    pub tables: Vec<Table>,
    /// Its numbers over time.
    pub series: Vec<Series>,
    /// What was asked.
    pub asked: Asked,
    /// The period compared with.
    pub compared: Option<Range>,
    /// The time by which it was judged whether sessions are over.
    pub as_of: Micros,
    /// The time of the store's newest event. `None` of an empty store.
    pub newest: Option<Micros>,
    /// What the metric needs and the store or the question does not have.
    pub not_set_up: Option<&'static str>,
    /// The queries that gave the numbers of the range.
    pub queries: Vec<Query>,
}

/// A number with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedMeasure {
    /// Its name, unique in the metric.
    pub name: &'static str,
    /// The number.
    pub measure: Measure,
    /// The number of the period compared with, and the change from it.
    pub compared: Option<(Measure, Change)>,
}

/// A list of an answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Table {
    /// Its name, unique in the metric.
    pub name: &'static str,
    /// Names of its columns.
    pub columns: Vec<&'static str>,
    /// Its rows.
    pub rows: Vec<Row>,
}

/// A number over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Name of the number.
    pub name: &'static str,
    /// The group of a split. `None` for the number of all; `Some(NULL)` is the group NULL.
    pub group: Option<Value>,
    /// The buckets in order.
    pub points: Vec<(Range, Measure)>,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// The range.
    pub span: Span,
    /// The zone of local times.
    pub zone: Zone,
    /// Width of the buckets.
    pub bucket: Option<Bucket>,
    /// The comparison.
    pub compare: Option<Compare>,
    /// The models compared with.
    pub against_models: Vec<Option<String>>,
    /// The filters.
    pub filters: Filters,
}

impl Answer {
    /// Returns the number called `name`.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<Measure> {
        self.values.iter().find(|value| value.name == name).map(|value| value.measure)
    }

    /// Returns the list called `name`.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("version", &VERSION)?;
        map.serialize_entry("id", self.metric.id)?;
        map.serialize_entry("title", self.metric.title)?;
        map.serialize_entry("unit", self.metric.unit.name())?;
        map.serialize_entry("values", &ByName(&self.values))?;
        let mut tables = self.tables.iter();
        if let Some(main) = tables.next() {
            map.serialize_entry("columns", &main.columns)?;
            map.serialize_entry("rows", &main.rows)?;
        }
        map.serialize_entry("tables", tables.as_slice())?;
        map.serialize_entry("series", &self.series)?;
        map.serialize_entry("filters", &self.asked)?;
        if let Some(range) = self.compared {
            map.serialize_entry("compared", &Ends(range))?;
        }
        map.serialize_entry("as_of", &self.as_of.to_string())?;
        map.serialize_entry("newest", &self.newest.map(|time| time.to_string()))?;
        if let Some(missing) = self.not_set_up {
            map.serialize_entry("not_set_up", missing)?;
        }
        map.serialize_entry("sql", &self.queries)?;
        map.end()
    }
}

struct ByName<'a>(&'a [NamedMeasure]);

impl Serialize for ByName<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|value| (value.name, value)))
    }
}

impl Serialize for NamedMeasure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.measure.entries(&mut map)?;
        if let Some((was, change)) = &self.compared {
            map.serialize_entry("was", was)?;
            map.serialize_entry("change", &change.value)?;
            if let Some((low, high)) = change.interval {
                map.serialize_entry("interval", &[low, high])?;
            }
        }
        map.end()
    }
}

impl Serialize for Series {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", self.name)?;
        if let Some(group) = &self.group {
            map.serialize_entry("group", group)?;
        }
        let points: Vec<Point<'_>> = self.points.iter().map(Point).collect();
        map.serialize_entry("points", &points)?;
        map.end()
    }
}

struct Point<'a>(&'a (Range, Measure));

impl Serialize for Point<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (range, measure) = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("from", &range.from.to_string())?;
        map.serialize_entry("to", &range.to.to_string())?;
        measure.entries(&mut map)?;
        map.end()
    }
}

struct Ends(Range);

impl Serialize for Ends {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("from", &self.0.from.to_string())?;
        map.serialize_entry("to", &self.0.to.to_string())?;
        map.end()
    }
}

impl Serialize for Asked {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("from", &self.span.from.map(|time| time.to_string()))?;
        map.serialize_entry("to", &self.span.to.map(|time| time.to_string()))?;
        map.serialize_entry("tz", &self.zone.to_string())?;
        if let Some(bucket) = self.bucket {
            map.serialize_entry("by", bucket.name())?;
        }
        if let Some(compare) = self.compare {
            map.serialize_entry("compare", compare.name())?;
        }
        let Filters {
            assistants,
            channels,
            environments,
            models,
            intents,
            endings,
            markers,
            locales,
            source_systems,
            cohorts,
            during,
            exclude_tests,
        } = &self.filters;
        for (name, values) in [
            ("assistant", assistants),
            ("channel", channels),
            ("model", models),
            ("environment", environments),
            ("intent", intents),
            ("locale", locales),
            ("source_system", source_systems),
        ] {
            if !values.is_empty() {
                map.serialize_entry(name, values)?;
            }
        }
        if !endings.is_empty() {
            let names: Vec<&str> = endings.iter().map(|ending| ending.name()).collect();
            map.serialize_entry("ending", &names)?;
        }
        if !markers.is_empty() {
            map.serialize_entry("marker", markers)?;
        }
        if !cohorts.is_empty() {
            let names: Vec<&str> = cohorts.iter().map(|cohort| cohort.name.as_str()).collect();
            map.serialize_entry("cohort", &names)?;
        }
        if *during != During::default() {
            map.serialize_entry("during", during.name())?;
        }
        if !self.against_models.is_empty() {
            map.serialize_entry("against_model", &self.against_models)?;
        }
        if *exclude_tests {
            map.serialize_entry("exclude_tests", &true)?;
        }
        map.end()
    }
}

impl Serialize for Query {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("name", self.name)?;
        map.serialize_entry("sql", &self.sql)?;
        map.serialize_entry("values", &self.values)?;
        map.end()
    }
}

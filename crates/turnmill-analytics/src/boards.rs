//! Boards for other tools, made from the descriptions of the metrics: one for Grafana, one for
//! Metabase.
//!
//! Each panel is a metric's own query, around which the board's SQL makes the buckets and the last
//! division. So a definition that changes here changes in the boards when they are made again.
//! Boards are for PostgreSQL; buckets are in UTC; lists of names are the default ones, and sessions
//! are over as of the newest event.
//!
//! ```
//! let board = turnmill_analytics::boards::grafana();
//! assert!(board.contains("-- R8_containment"));
//! ```

mod grafana;
mod metabase;
mod panels;
mod yaml;

use crate::metric::{Metric, Unit};
use crate::scope::{Scope, Template};

pub use self::grafana::grafana;
pub use self::metabase::{BoardFile, metabase};

/// One panel of a board.
#[derive(Debug)]
struct Panel {
    /// Its name in addresses and ids, unique in the board.
    key: &'static str,
    metric: &'static Metric,
    /// Follows the metric's title.
    suffix: &'static str,
    /// Name of the metric's query.
    query: &'static str,
    /// Names of the query's columns after the number of the slice.
    columns: &'static [&'static str],
    shows: Shows,
    /// Width, of 24, and height.
    size: (u32, u32),
}

/// What a panel shows.
#[derive(Debug)]
enum Shows {
    /// One number of the whole range.
    Number(Column),
    /// Numbers of each bucket.
    Series { numbers: &'static [Column], stacked: bool },
    /// The count of each bucket and group, both columns of the query.
    Groups { group: &'static str, count: &'static str },
    /// A list of the metric.
    List {
        /// Its name in the metric.
        name: &'static str,
        columns: &'static [Column],
        /// Condition that keeps a row.
        keep: &'static str,
        /// Order, the query's columns in it.
        order: &'static str,
        /// Maximum number of rows.
        most: u32,
        /// Whether it is drawn as bars of its second column.
        bars: bool,
    },
}

/// A column of a panel's rows.
#[derive(Debug)]
struct Column {
    /// Name of the metric's number, or of the list's column.
    name: &'static str,
    /// Its unit, `None` of a name or a time.
    unit: Option<Unit>,
    /// Expression over the query's rows `q`. In numbers and series it is an aggregate.
    sql: &'static str,
}

/// The language of a tool for what its user chooses.
struct Tool {
    /// Expression of the time from which, and that before which, rows count.
    range: (&'static str, &'static str),
    /// Expression of the text `hour`, `day`, `week` or `month`.
    bucket: &'static str,
    template: Template,
}

impl Panel {
    fn title(&self) -> String {
        format!("{}{}", self.metric.title, self.suffix)
    }

    /// Returns the SQL of the panel. Its first line names the metric.
    fn sql(&self, tool: &Tool) -> String {
        let scope = Scope::template(tool.template);
        let queries = (self.metric.plan)(&scope);
        let query = queries.into_iter().find(|query| query.name == self.query);
        let query = query.map(|query| query.sql).unwrap_or_default();
        let (from, to) = tool.range;
        let whole = format!("SELECT 0 AS i, {from} AS lo, {to} AS hi");
        let columns = self.columns.join(", ");
        let rows = format!("(\n{query}\n) q(i, {columns})");
        let id = self.metric.id;
        match &self.shows {
            Shows::Number(number) => format!(
                "-- {id}\nWITH bucket AS (\n  {whole}\n)\nSELECT {} AS \"{}\"\nFROM {rows}",
                number.typed(),
                number.name
            ),
            Shows::Series { numbers, .. } => {
                let numbers: Vec<String> = numbers
                    .iter()
                    .map(|number| format!("{} AS \"{}\"", number.typed(), number.name))
                    .collect();
                format!(
                    "-- {id}\nWITH bucket AS (\n  {}\n)\nSELECT b.lo AS \"time\", {}\nFROM bucket b LEFT JOIN {rows} \
                     ON q.i = b.i\nGROUP BY b.lo ORDER BY b.lo",
                    buckets(tool),
                    numbers.join(",\n  ")
                )
            }
            Shows::Groups { group, count } => format!(
                "-- {id} by {group}\nWITH bucket AS (\n  {}\n)\nSELECT b.lo AS \"time\", \
                 coalesce(q.{group}, '(none)') AS \"{group}\", q.{count} AS \"{count}\"\n\
                 FROM bucket b JOIN {rows} ON q.i = b.i\nORDER BY b.lo, q.{group}",
                buckets(tool)
            ),
            Shows::List { name, columns, keep, order, most, .. } => {
                let columns: Vec<String> = columns
                    .iter()
                    .map(|column| format!("{} AS \"{}\"", column.typed(), column.name))
                    .collect();
                format!(
                    "-- {id} list {name}\nWITH bucket AS (\n  {whole}\n)\nSELECT {}\nFROM {rows}\nWHERE {keep}\n\
                     ORDER BY {order} LIMIT {most}",
                    columns.join(",\n  ")
                )
            }
        }
    }
}

impl Column {
    const fn new(name: &'static str, unit: Unit, sql: &'static str) -> Self {
        Self { name, unit: Some(unit), sql }
    }

    const fn name(name: &'static str, sql: &'static str) -> Self {
        Self { name, unit: None, sql }
    }

    /// Returns the expression with the type that tools take for a number.
    fn typed(&self) -> String {
        match self.unit {
            None => self.sql.to_owned(),
            Some(Unit::Count | Unit::Rows) => format!("CAST({} AS bigint)", self.sql),
            Some(
                Unit::Percent
                | Unit::Fraction
                | Unit::Seconds
                | Unit::Milliseconds
                | Unit::Ratio
                | Unit::Points
                | Unit::Money,
            ) => format!("CAST({} AS double precision)", self.sql),
        }
    }
}

/// Returns the query of the buckets of the range, the first and the last one cut to it.
fn buckets(tool: &Tool) -> String {
    let (from, to) = tool.range;
    let bucket = tool.bucket;
    format!(
        "SELECT row_number() OVER (ORDER BY l.t) AS i, greatest(l.t, r.lo) AS lo, least(l.t + r.width, r.hi) AS hi\n  \
         FROM (SELECT {from} AS lo, {to} AS hi, CAST('1 ' || {bucket} AS interval) AS width) r\n  \
         CROSS JOIN LATERAL generate_series(\n    \
         date_trunc({bucket}, r.lo), r.hi - interval '1 microsecond', r.width) AS l(t)"
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::panels::PANELS;
    use super::*;

    #[test]
    fn panels_name_what_their_metrics_have() {
        let keys: BTreeSet<&str> = PANELS.iter().map(|panel| panel.key).collect();
        assert_eq!(keys.len(), PANELS.len());
        for panel in PANELS {
            let scope = Scope::template(Template { channel: |column| format!("{column} = 'rest'") });
            let queries = (panel.metric.plan)(&scope);
            let query = queries.iter().find(|query| query.name == panel.query);
            let query = query.unwrap_or_else(|| panic!("{}: no query {}", panel.key, panel.query));
            assert!(query.values.is_empty(), "{}: a text has no bound values", panel.key);
            let figures: Vec<&str> = panel.metric.figures.iter().map(|figure| figure.name).collect();
            let numbers: &[Column] = match &panel.shows {
                Shows::Number(number) => std::slice::from_ref(number),
                Shows::Series { numbers, .. } => numbers,
                Shows::Groups { .. } | Shows::List { .. } => &[],
            };
            for number in numbers {
                assert!(figures.contains(&number.name), "{}: no number {}", panel.key, number.name);
                let unit = panel.metric.figures.iter().find(|figure| figure.name == number.name);
                assert_eq!(unit.map(|figure| figure.unit), number.unit, "{}", panel.key);
            }
        }
    }
}

//! The rows of a metric's queries, as its functions read them: one slice at a time.

use std::collections::BTreeMap;

use crate::measure::Measure;
use crate::range::Range;
use crate::statistics::percentile;
use crate::value::{Query, Row, Sum, Value};

/// The rows of all queries of a metric.
#[derive(Debug, Default)]
pub(crate) struct Results {
    /// By name of the query, those of one slice next to each other.
    rows: BTreeMap<&'static str, Vec<Row>>,
}

impl Results {
    /// Takes the rows of each query, in the order of the queries.
    pub(crate) fn new(queries: &[Query], results: Vec<Vec<Row>>) -> Self {
        let mut rows = BTreeMap::new();
        for (query, mut result) in queries.iter().zip(results) {
            if query.per_slice {
                // Stable: inside of a slice the order of the query stays.
                result.sort_by_key(slice_of);
            }
            rows.insert(query.name, result);
        }
        Self { rows }
    }
}

impl Results {
    /// Adds the rows of a query of the whole range as the sums of those of its buckets.
    pub(crate) fn add_sum(&mut self, query: &Query, sliced: &Self) {
        let rows = sliced.rows.get(query.name).map(Vec::as_slice).unwrap_or_default();
        let rows = match query.sum {
            Some(Sum::Counts { groups }) => sum_of(rows, groups),
            Some(Sum::Values) => vec![vec![Value::Integer(0), Value::Text(joined(rows))]],
            None => return,
        };
        self.rows.insert(query.name, rows);
    }
}

/// Adds the counts of rows of equal groups in all slices.
fn sum_of(rows: &[Row], groups: usize) -> Vec<Row> {
    let mut sums: BTreeMap<Vec<(bool, &str)>, Row> = BTreeMap::new();
    for row in rows {
        let key = row.iter().skip(1).take(groups).map(Value::name_order).collect();
        let Some(sum) = sums.get_mut(&key) else {
            let slice = std::iter::once(Value::Integer(0));
            sums.insert(key, slice.chain(row.iter().skip(1).cloned()).collect());
            continue;
        };
        for (total, count) in sum.iter_mut().zip(row).skip(1 + groups) {
            *total = Value::Integer(total.integer() + count.integer());
        }
    }
    sums.into_values().collect()
}

/// Puts JSON lists of all slices together.
fn joined(rows: &[Row]) -> String {
    let inner = |row: &Row| -> Option<String> {
        let list = row.get(1)?.text()?.trim_matches(['[', ']']);
        (!list.is_empty()).then(|| list.to_owned())
    };
    format!("[{}]", rows.iter().filter_map(inner).collect::<Vec<_>>().join(","))
}

fn slice_of(row: &Row) -> i64 {
    row.first().map_or(0, Value::integer)
}

/// One slice of the results.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'r> {
    results: &'r Results,
    /// The results of the whole range, for queries that are not cut into slices.
    whole: &'r Results,
    /// The results of the period compared with.
    compared: Option<&'r Results>,
    slice: i64,
    range: Option<Range>,
}

/// Sum and percentiles of whole numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Distribution {
    pub(crate) count: i64,
    pub(crate) sum: f64,
    /// Percentiles 50, 90, 95 and 99.
    pub(crate) percentiles: [Option<f64>; 4],
}

impl Distribution {
    /// Returns the mean, in units of `scale`.
    pub(crate) fn mean(&self, scale: f64) -> Measure {
        Measure::mean(self.sum / scale, self.count)
    }

    /// Returns percentile number `which`, in units of `scale`.
    pub(crate) fn percentile(&self, which: usize, scale: f64) -> Measure {
        let value = self.percentiles.get(which).copied().flatten().map(|value| value / scale);
        Measure::Percentile { value, count: self.count }
    }
}

impl<'r> View<'r> {
    /// Views the whole range.
    pub(crate) fn whole(results: &'r Results, compared: Option<&'r Results>) -> Self {
        Self { results, whole: results, compared, slice: 0, range: None }
    }

    /// Views one bucket. The period compared with is the whole one.
    pub(crate) fn bucket(
        results: &'r Results,
        whole: &'r Results,
        compared: Option<&'r Results>,
        slice: i64,
        range: Range,
    ) -> Self {
        Self { results, whole, compared, slice, range: Some(range) }
    }

    /// Returns the view of the period compared with.
    pub(crate) fn compared(&self) -> Option<View<'r>> {
        self.compared.map(|results| View::whole(results, None))
    }

    /// Returns the bucket, or `None` of the whole range.
    pub(crate) fn range(&self) -> Option<Range> {
        self.range
    }

    /// Returns the rows of the slice, the number of the slice first.
    pub(crate) fn rows(&self, name: &str) -> &'r [Row] {
        let Some(rows) = self.results.rows.get(name) else { return &[] };
        let start = rows.partition_point(|row| slice_of(row) < self.slice);
        let end = rows.partition_point(|row| slice_of(row) <= self.slice);
        rows.get(start..end).unwrap_or_default()
    }

    /// Returns the rows of a query in all slices.
    pub(crate) fn every(&self, name: &str) -> &'r [Row] {
        self.results.rows.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns the rows of a query that is not cut into slices.
    pub(crate) fn all(&self, name: &str) -> &'r [Row] {
        self.whole.rows.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns an integer of the slice's only row, 0 if there is none.
    pub(crate) fn integer(&self, name: &str, column: usize) -> i64 {
        self.rows(name).first().and_then(|row| row.get(column)).map_or(0, Value::integer)
    }

    /// Returns the distribution of all values of a query of
    /// [`Draft::distribution`](crate::draft::Draft::distribution) without groups.
    pub(crate) fn distribution(&self, name: &str) -> Distribution {
        distribution(self.rows(name), 1)
    }

    /// Returns the distributions of a query with one group column, by that group.
    pub(crate) fn distributions(&self, name: &str) -> Vec<(Value, Distribution)> {
        let rows = self.rows(name);
        let mut groups = Vec::new();
        let mut start = 0;
        while let Some(group) = rows.get(start).and_then(|row| row.get(1)) {
            let rest = rows.get(start..).unwrap_or_default();
            let length = rest.iter().take_while(|row| row.get(1) == Some(group)).count();
            groups.push((group.clone(), distribution(rest.get(..length).unwrap_or_default(), 2)));
            start += length;
        }
        groups
    }

    /// Returns (group, count) of rows of slice, group and count: largest first, then by name.
    pub(crate) fn groups(&self, name: &str) -> Vec<(Value, i64)> {
        let pair = |row: &Row| Some((row.get(1)?.clone(), row.get(2)?.integer()));
        let mut groups: Vec<(Value, i64)> = self.rows(name).iter().filter_map(pair).collect();
        largest_first(&mut groups, |group| group.1, |group| &group.0);
        groups
    }
}

/// Sorts as lists are: largest first, ties by name in byte order, NULL last.
pub(crate) fn largest_first<T>(rows: &mut [T], size: impl Fn(&T) -> i64, name: impl Fn(&T) -> &Value) {
    rows.sort_by(|one, other| {
        size(other).cmp(&size(one)).then_with(|| name(one).name_order().cmp(&name(other).name_order()))
    });
}

/// Reads the row of one group: what PostgreSQL has summed up, or SQLite's list of values.
fn distribution(rows: &[Row], first: usize) -> Distribution {
    let Some(row) = rows.first() else { return Distribution::default() };
    if row.len() > first + 1 {
        let number = |column: usize| row.get(first + column).and_then(Value::float);
        return Distribution {
            count: row.get(first).map_or(0, Value::integer),
            sum: number(1).unwrap_or_default(),
            percentiles: [number(2), number(3), number(4), number(5)],
        };
    }
    let list = row.get(first).and_then(Value::text).unwrap_or_default();
    // The list is the database's own.
    let mut values: Vec<f64> = serde_json::from_str(list).unwrap_or_default();
    values.sort_unstable_by(f64::total_cmp);
    Distribution {
        count: i64::try_from(values.len()).unwrap_or(i64::MAX),
        sum: values.iter().sum(),
        percentiles: [0.5, 0.9, 0.95, 0.99].map(|p| percentile(&values, p)),
    }
}

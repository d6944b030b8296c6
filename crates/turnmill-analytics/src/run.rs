//! Asks a store: what of a metric is run, and how its rows become an answer.

use std::future::Future;

use turnmill_sql::Dialect;

use crate::answer::{Answer, Asked, NamedMeasure, Series, Table};
use crate::bucket::TooManyBuckets;
use crate::measure::Measure;
use crate::metric::Metric;
use crate::names::StoreNames;
use crate::question::{During, Parts, Question};
use crate::range::Range;
use crate::scope::{Scope, Slices};
use crate::set_up::missing;
use crate::value::{Query, Row, Value};
use crate::view::{Results, View, largest_first};

/// A connection to a store that answers queries and changes nothing.
///
/// Calls are independent of each other. The caller makes one call for the names of the store, and
/// one or more for each metric. An error leaves the connection usable if its own documentation says
/// so.
pub trait ReadQueries {
    /// The error of the store.
    type Error;

    /// Returns the dialect of the store.
    fn dialect(&self) -> Dialect;

    /// Runs queries on one snapshot of the store. Returns the rows of each, in their order.
    ///
    /// # Errors
    ///
    /// A query that the database refuses, for example because it writes, or one that takes longer
    /// than the store's time limit.
    fn read(&mut self, queries: &[Query]) -> impl Future<Output = Result<Vec<Vec<Row>>, Self::Error>> + Send;
}

/// A question without an answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError<E> {
    /// The store failed.
    #[error(transparent)]
    Store(E),
    /// The store has no facts.
    #[error("the store has no facts of its sessions yet: run `turnmill rebuild` once, which makes them")]
    NoFacts,
    /// The buckets asked for are too many.
    #[error(transparent)]
    Buckets(#[from] TooManyBuckets),
}

/// Asks a store about metrics. The names of the store are asked for once, then each metric on a
/// snapshot of its own.
///
/// # Errors
///
/// Those of the store, a store without facts, and more buckets than a list may have.
pub async fn answer<S: ReadQueries>(
    store: &mut S,
    metrics: &[&'static Metric],
    question: &Question,
) -> Result<Vec<Answer>, AskError<S::Error>> {
    let dialect = store.dialect();
    let names = store
        .read(&StoreNames::queries_for(dialect, &question.definitions))
        .await
        .map_err(AskError::Store)?;
    let names = StoreNames::read(&names);
    if names.lacks_facts {
        return Err(AskError::NoFacts);
    }
    let mut answers = Vec::with_capacity(metrics.len());
    for metric in metrics {
        let plan = Plan::new(metric, question, &names, dialect)?;
        let rows = store.read(&plan.queries).await.map_err(AskError::Store)?;
        answers.push(plan.answer(rows));
    }
    Ok(answers)
}

/// What is to be run for one metric.
#[derive(Debug)]
pub struct Plan {
    metric: &'static Metric,
    scope: Scope,
    series: Option<Scope>,
    compared: Option<Scope>,
    parts: Parts,
    /// The queries to run: those of the range, then of the period compared with, then of the
    /// buckets.
    pub queries: Vec<Query>,
    /// Number of the queries of the range, and of those of the period compared with.
    counts: (usize, usize),
    /// Queries of the range whose rows are sums of those of the buckets. They are not run.
    summed: Vec<Query>,
    /// Names of the numbers that are not asked for.
    left_out: Vec<&'static str>,
}

impl Plan {
    /// Makes the queries of a metric for a store with these names.
    ///
    /// # Errors
    ///
    /// More buckets than a list may have.
    pub fn new(
        metric: &'static Metric,
        question: &Question,
        names: &StoreNames,
        dialect: Dialect,
    ) -> Result<Self, TooManyBuckets> {
        let scope = Scope::new(question, names, dialect);
        let (series, compared) = (scope.series()?, scope.compared());
        let parts = question.parts.clone();
        let is_needed =
            |query: &Query| query.parts.is_empty() || query.parts.iter().any(|part| parts.has(part));
        let plan = |scope| (metric.plan)(scope).into_iter().filter(is_needed);
        let (needed, others): (Vec<Query>, Vec<Query>) =
            (metric.plan)(&scope).into_iter().partition(is_needed);
        let left_out = others.iter().flat_map(|query| &query.parts).copied().collect();
        // The buckets cover the range without gaps and overlaps. Still their sum is another number
        // than the whole if a session is active in several of them, or if each is rounded.
        let adds_up = question.filters.during == During::Started && !names.is_sampled;
        let is_summed = |query: &Query| series.is_some() && adds_up && query.per_slice && query.sum.is_some();
        let (summed, mut queries): (Vec<Query>, Vec<Query>) = needed.into_iter().partition(is_summed);
        let whole = queries.len();
        queries.extend(compared.iter().flat_map(plan));
        let counts = (whole, queries.len() - whole);
        queries.extend(series.iter().flat_map(plan).filter(|query| query.per_slice));
        Ok(Self { metric, scope, series, compared, parts, queries, counts, summed, left_out })
    }

    /// Makes the answer from the rows of each query.
    #[must_use]
    pub fn answer(self, mut rows: Vec<Vec<Row>>) -> Answer {
        let Self { metric, scope, series, compared, parts, mut queries, counts, summed, left_out } = self;
        let split = |at: usize, rows: &mut Vec<Vec<Row>>| {
            let rest = rows.split_off(at.min(rows.len()));
            std::mem::replace(rows, rest)
        };
        let first = split(counts.0, &mut rows);
        let second = split(counts.1, &mut rows);
        let mut whole = Results::new(&queries, first);
        let before =
            compared.as_ref().map(|_| Results::new(queries.get(counts.0..).unwrap_or_default(), second));
        let sliced = Results::new(queries.get(counts.0 + counts.1..).unwrap_or_default(), rows);
        summed.iter().for_each(|query| whole.add_sum(query, &sliced));

        let view = View::whole(&whole, before.as_ref());
        let was = compared.as_ref().zip(view.compared()).map(|(scope, view)| (metric.values)(scope, &view));
        let values = (metric.values)(&scope, &view);
        let mut values: Vec<NamedMeasure> = metric
            .figures
            .iter()
            .zip(values)
            .enumerate()
            .map(|(number, (figure, measure))| NamedMeasure {
                name: figure.name,
                measure,
                compared: was
                    .as_ref()
                    .and_then(|was| was.get(number))
                    .map(|was| (*was, measure.change_from(was))),
            })
            .collect();
        values.retain(|value| !left_out.contains(&value.name));
        let mut tables: Vec<Table> = (metric.tables)(&scope, &view);
        tables.retain(|table| parts.has(table.name));
        let mut series: Vec<Series> = series
            .as_ref()
            .map(|scope| series_of(metric, scope, &view, &sliced, &whole, before.as_ref()))
            .unwrap_or_default();
        series.retain(|series| series.group.is_some() || !left_out.contains(&series.name));
        queries.truncate(counts.0);
        queries.splice(0..0, summed);
        let not_set_up = missing(metric, &scope, &view);
        let Scope { span, zone, bucket, compare, against_models, filters, as_of, extent, .. } = scope;
        Answer {
            metric,
            values,
            tables,
            series,
            asked: Asked { span, zone, bucket, compare, against_models, filters },
            compared: compared.and_then(|scope| Some(Range { from: scope.span.from?, to: scope.span.to? })),
            as_of,
            newest: extent.map(|extent| extent.newest),
            not_set_up,
            queries,
        }
    }
}

/// Makes the series of each number, and that of the split.
fn series_of(
    metric: &Metric,
    scope: &Scope,
    total: &View<'_>,
    sliced: &Results,
    whole: &Results,
    before: Option<&Results>,
) -> Vec<Series> {
    let Slices::Buckets(buckets) = &scope.slices else { return Vec::new() };
    let mut series: Vec<Series> = metric
        .figures
        .iter()
        .map(|figure| Series { name: figure.name, group: None, points: Vec::with_capacity(buckets.len()) })
        .collect();
    // The groups that are the largest over the whole range; the rest is one.
    let mut groups: Vec<(Value, i64)> = metric.split.map(|name| total.groups(name)).unwrap_or_default();
    largest_first(&mut groups, |group| group.1, |group| &group.0);
    let rest = groups.len() > scope.top;
    groups.truncate(scope.top);
    let name = metric.figures.first().map_or("value", |figure| figure.name);
    let group_series = |group: Value| Series { name, group: Some(group), points: Vec::new() };
    let mut split: Vec<Series> = groups.iter().map(|(group, _)| group_series(group.clone())).collect();
    let mut other = rest.then(|| group_series(Value::Text("Other".into())));

    for (number, range) in buckets.iter().enumerate() {
        let slice = i64::try_from(number).unwrap_or(i64::MAX);
        let view = View::bucket(sliced, whole, before, slice, *range);
        for (series, measure) in series.iter_mut().zip((metric.values)(scope, &view)) {
            series.points.push((*range, measure));
        }
        let Some(query) = metric.split else { continue };
        let counts = view.groups(query);
        let count_of =
            |group: &Value| counts.iter().find(|(name, _)| name == group).map_or(0, |(_, count)| *count);
        let mut left: i64 = counts.iter().map(|(_, count)| count).sum();
        for (series, (group, _)) in split.iter_mut().zip(&groups) {
            let count = count_of(group);
            left -= count;
            series.points.push((*range, Measure::Count(count)));
        }
        if let Some(other) = &mut other {
            other.points.push((*range, Measure::Count(left)));
        }
    }
    series.extend(split);
    series.extend(other);
    // Some numbers are of the whole range only.
    series.retain(|series| !series.points.is_empty());
    series
}

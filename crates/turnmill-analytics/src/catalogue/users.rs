//! Users over weeks and days: lifecycle, stickiness, retention.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Days;
use turnmill_model::Micros;

use crate::answer::Table;
use crate::bucket::Bucket;
use crate::catalogue::funnel::source;
use crate::draft::Rows;
use crate::funnel::Step;
use crate::measure::Measure;
use crate::metric::{Chart, Counted, Figure, Metric, Source, Unit, count, no_tables, no_values};
use crate::paths::Return;
use crate::range::{Range, Span};
use crate::scope::{Scope, Slices};
use crate::value::{Query, Value};
use crate::view::View;

pub(crate) static LIFECYCLE: Metric = Metric {
    id: "X19_lifecycle",
    title: "Lifecycle",
    definition: "Users of each local week that overlaps the range, by their session starts: new, \
                 returning (also in the week before), resurrecting (earlier, not in the week \
                 before), dormant (in the week before and not in this one). If days or months are \
                 asked for, of each of these instead.",
    unit: Unit::Count,
    charts: &[Chart::StackedBar],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[],
    split: None,
    plan: |scope| users_of(scope, "weeks", &weeks(scope).0),
    values: no_values,
    tables: |scope, view| {
        let (weeks, shown) = weeks(scope);
        let active = users_by_bucket(view, "weeks");
        let nobody = BTreeSet::new();
        let of = |week: usize| active.get(&week).unwrap_or(&nobody);
        let mut before: BTreeSet<&str> = BTreeSet::new();
        let mut rows = Vec::new();
        for (number, week) in weeks.iter().enumerate() {
            let users = of(number);
            let last = number.checked_sub(1).map_or(&nobody, of);
            let new = users.iter().filter(|user| !before.contains(*user)).count();
            let returning = users.intersection(last).count();
            let counts = [new, returning, users.len() - new - returning, last.difference(users).count()];
            before.extend(users);
            if number >= shown {
                let day = Value::Text(scope.zone.local(week.from).date().to_string());
                let counts = counts.map(|count| Value::Integer(i64::try_from(count).unwrap_or(i64::MAX)));
                rows.push(std::iter::once(day).chain(counts).collect());
            }
        }
        let (name, column) = match period(scope) {
            Bucket::Day => ("days", "day"),
            Bucket::Month => ("months", "month"),
            _ => ("weeks", "week"),
        };
        vec![Table { name, columns: vec![column, "new", "returning", "resurrecting", "dormant"], rows }]
    },
};

pub(crate) static STICKINESS: Metric = Metric {
    id: "X20_stickiness",
    title: "Stickiness",
    definition: "Users by their number of local days with a session start in the range. Users of the \
                 last 1, 7 and 30 local days before the range's end, and the mean of the daily users \
                 of the 30 days as a share of all of them.",
    unit: Unit::Count,
    charts: &[Chart::Bar, Chart::Line],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[
        count("dau", "users of the last local day"),
        count("wau", "users of the last 7 local days"),
        count("mau", "users of the last 30 local days"),
        Figure {
            name: "dau_per_mau",
            unit: Unit::Fraction,
            numerator: "daily users of the 30 days",
            denominator: Some("30 times the users of the 30 days"),
        },
    ],
    split: None,
    plan: |scope| {
        let mut queries = users_of(scope, "last_days", &last_days(scope, 30));
        queries.extend(users_of(scope, "days", &days(scope)));
        queries
    },
    values: |_, view| {
        if view.range().is_some() {
            return Vec::new();
        }
        let days = users_by_bucket(view, "last_days");
        let of = |last: usize| {
            let users: BTreeSet<&str> = days
                .iter()
                .filter(|(day, _)| **day + last >= 30)
                .flat_map(|(_, users)| users)
                .copied()
                .collect();
            i64::try_from(users.len()).unwrap_or(i64::MAX)
        };
        let daily: usize = days.values().map(BTreeSet::len).sum();
        vec![
            Measure::Count(of(1)),
            Measure::Count(of(7)),
            Measure::Count(of(30)),
            Measure::ratio(i64::try_from(daily).unwrap_or(i64::MAX), 30 * of(30)),
        ]
    },
    tables: |_, view| {
        let mut days: BTreeMap<&str, i64> = BTreeMap::new();
        for user in users_by_bucket(view, "days").into_values().flatten() {
            *days.entry(user).or_default() += 1;
        }
        let mut users: BTreeMap<i64, i64> = BTreeMap::new();
        for count in days.into_values() {
            *users.entry(count).or_default() += 1;
        }
        vec![Table {
            name: "active_days",
            columns: vec!["days", "users"],
            rows: users.into_iter().map(|(days, users)| vec![days.into(), users.into()]).collect(),
        }]
    },
};

pub(crate) static RETENTION: Metric = Metric {
    id: "A32_retention",
    title: "Retention",
    definition: "Users by the local week of their first session start, whatever the range; cohorts \
                 are the weeks that overlap it. For each later week the users with a session start in \
                 it, and whether that week is over. Steps of a funnel can take the place of the first \
                 and of the later starts.",
    unit: Unit::Percent,
    charts: &[Chart::HeatMap, Chart::Line],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[],
    split: None,
    plan: |scope| {
        let weeks = all_weeks(scope);
        let mut queries = match &scope.retention.first {
            Some(step) => users_with(scope, "weeks", step, &weeks),
            None => users_of(scope, "weeks", &weeks),
        };
        match &scope.retention.back {
            Some(step) => queries.extend(users_with(scope, "back", step, &weeks)),
            None if scope.retention.first.is_some() => queries.extend(users_of(scope, "back", &weeks)),
            None => {}
        }
        queries
    },
    values: no_values,
    tables: |scope, view| {
        let weeks = all_weeks(scope);
        let first = users_by_bucket(view, "weeks");
        let active = match scope.retention == Return::default() {
            true => first.clone(),
            false => users_by_bucket(view, "back"),
        };
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut rows = Vec::new();
        for (number, week) in weeks.iter().enumerate() {
            let users = first.get(&number).cloned().unwrap_or_default();
            let cohort: BTreeSet<&str> = users.difference(&seen).copied().collect();
            seen.extend(&users);
            let in_range = scope.span.from.is_none_or(|from| week.to > from)
                && scope.span.to.is_none_or(|to| week.from < to);
            if !in_range || cohort.is_empty() {
                continue;
            }
            let size = i64::try_from(cohort.len()).unwrap_or(i64::MAX);
            let day = scope.zone.local(week.from).date().to_string();
            for (later, range) in weeks.iter().enumerate().skip(number) {
                let back = active.get(&later).map_or(0, |users| users.intersection(&cohort).count());
                let back = i64::try_from(back).unwrap_or(i64::MAX);
                rows.push(vec![
                    Value::Text(day.clone()),
                    size.into(),
                    Value::Integer(i64::try_from(later - number).unwrap_or(i64::MAX)),
                    back.into(),
                    Measure::share(back, size).value().into(),
                    Value::Boolean(range.to <= scope.as_of),
                ]);
            }
        }
        vec![Table {
            name: "cohorts",
            columns: vec!["cohort", "users", "week", "active", "share", "week_is_over"],
            rows,
        }]
    },
};

pub(crate) static PER_USER: Metric = Metric {
    id: "A23_conv_per_user",
    title: "Conversations per user",
    definition: "Sessions for each sender that has one.",
    unit: Unit::Ratio,
    charts: &[Chart::Line],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[Figure {
        name: "per_sender",
        unit: Unit::Ratio,
        numerator: "sessions",
        denominator: Some("senders of these sessions"),
    }],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.sessions();
        vec![draft.per_slice(
            "sessions",
            &format!(
                "SELECT {slice}, count(*), count(DISTINCT s.sender_id)\n\
                 FROM {from}\nWHERE {kept}\nGROUP BY 1"
            ),
        )]
    },
    values: |_, view| vec![Measure::ratio(view.integer("sessions", 1), view.integer("sessions", 2))],
    tables: no_tables,
};

/// Returns the period of the lifecycle: the bucket asked for if it is a day or a month, or a week.
fn period(scope: &Scope) -> Bucket {
    match scope.bucket {
        Some(period @ (Bucket::Day | Bucket::Month)) => period,
        _ => Bucket::Week,
    }
}

/// Returns the weeks, or other periods, from the store's first to the last that overlaps the range,
/// and the number of the first that does.
fn weeks(scope: &Scope) -> (Vec<Range>, usize) {
    let Some((extent, covered)) = scope.extent.zip(scope.covered()) else { return (Vec::new(), 0) };
    let last = Micros(covered.to.0 - 1);
    let period = period(scope);
    let span = Span { from: None, to: Some(period.end_after(last, scope.zone)) };
    let weeks = period.list(span, extent, scope.zone).unwrap_or_default();
    let shown = weeks.iter().position(|week| week.to > covered.from).unwrap_or(weeks.len());
    (weeks, shown)
}

/// Returns all weeks of the store.
fn all_weeks(scope: &Scope) -> Vec<Range> {
    let weeks = scope.extent.map(|extent| Bucket::Week.list(Span::default(), extent, scope.zone));
    weeks.and_then(Result::ok).unwrap_or_default()
}

/// Returns the local days of the range.
fn days(scope: &Scope) -> Vec<Range> {
    let Some((extent, covered)) = scope.extent.zip(scope.covered()) else { return Vec::new() };
    let span = Span { from: Some(covered.from), to: Some(covered.to) };
    Bucket::Day.list(span, extent, scope.zone).unwrap_or_default()
}

/// Returns the last local days before the range's end, which is the end of the newest event's
/// day if the range is open.
pub(crate) fn last_days(scope: &Scope, count: u64) -> Vec<Range> {
    let Some(extent) = scope.extent else { return Vec::new() };
    let zone = scope.zone;
    let to = scope.span.to.unwrap_or_else(|| Bucket::Day.end_after(extent.newest, zone));
    let last = zone.local(Micros(to.0 - 1)).date();
    let day = |back: u64| last.checked_sub_days(Days::new(back)).map(|day| zone.midnight(day));
    let starts: Vec<Micros> = (0..count).rev().filter_map(day).collect();
    let ends = starts.iter().copied().skip(1).chain([to]);
    starts.iter().copied().zip(ends).map(|(from, to)| Range { from, to }).collect()
}

/// Returns the query of the users with a session start in each of these ranges.
fn users_of(scope: &Scope, name: &'static str, ranges: &[Range]) -> Vec<Query> {
    if ranges.is_empty() {
        return Vec::new();
    }
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.sessions_in(ranges);
    vec![draft.once(
        name,
        &format!(
            "SELECT DISTINCT {slice}, coalesce(r.user_id, s.sender_id)\nFROM {from}\n\
             JOIN rasa_sender r ON r.id = s.sender_id\nWHERE {kept}"
        ),
    )]
}

/// Returns the query of the users with a match of a step in each of these ranges.
fn users_with(scope: &Scope, name: &'static str, step: &Step, ranges: &[Range]) -> Vec<Query> {
    if ranges.is_empty() {
        return Vec::new();
    }
    let scope = Scope { slices: Slices::Buckets(ranges.to_vec()), ..scope.clone() };
    let mut draft = scope.draft();
    let source = source(&mut draft, step);
    let Rows { slice, from, kept } = draft.rows(&source, "r.timestamp");
    vec![draft.once(
        name,
        &format!(
            "SELECT DISTINCT {slice}, coalesce(u.user_id, r.sender_id)\nFROM {from}\n\
             JOIN rasa_sender u ON u.id = r.sender_id\nWHERE {kept}"
        ),
    )]
}

/// Reads the rows of [`users_of`]: for each range with users, who they are.
fn users_by_bucket<'r>(view: &View<'r>, name: &str) -> BTreeMap<usize, BTreeSet<&'r str>> {
    let mut users: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
    for row in view.all(name) {
        let bucket = row.first().map(Value::integer).and_then(|number| usize::try_from(number).ok());
        if let Some((bucket, user)) = bucket.zip(row.get(1).and_then(Value::text)) {
            users.entry(bucket).or_default().insert(user);
        }
    }
    users
}

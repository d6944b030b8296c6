//! What changed from one period to another.

use crate::answer::Table;
use crate::catalogue::ends::{ending_counts, endings};
use crate::catalogue::intents::{by_intent, messages};
use crate::catalogue::missed::turns;
use crate::catalogue::releases::markers;
use crate::catalogue::usage::{by_channel, sessions};
use crate::measure::Measure;
use crate::metric::{Chart, Counted, Metric, Source, Unit, count};
use crate::statistics::{FALSE_DISCOVERIES, SMALLEST_SHARE, Share, benjamini_hochberg, pooled_p};
use crate::value::{Row, Value};
use crate::view::View;

pub(crate) static CHANGES: Metric = Metric {
    id: "X45_changes",
    title: "What changed",
    definition: "The three ways to end, the channels of sessions, the intents of messages, missed \
                 turns and markers against the period compared with: was, now, the difference in \
                 points with its 95 % interval. A row is marked if the difference is found by the \
                 procedure of Benjamini and Hochberg at 10 % false discoveries, of the rows whose \
                 denominators are at least 10 in both periods.",
    unit: Unit::Points,
    charts: &[Chart::Table],
    counted: Counted::Mixed,
    sources: Source::ALL,
    figures: &[count("compared", "shares compared"), count("marked", "shares that changed")],
    split: None,
    plan: |scope| {
        vec![
            endings(scope),
            sessions(scope),
            by_channel(scope, "s.channel", ""),
            messages(scope),
            by_intent(scope),
            turns(scope),
            markers(scope),
        ]
    },
    values: |_, view| {
        if view.range().is_some() {
            return Vec::new();
        }
        let changes = changes(view);
        let count = |count: usize| Measure::Count(i64::try_from(count).unwrap_or(i64::MAX));
        let tested = changes.iter().filter(|change| change.p.is_some()).count();
        vec![count(tested), count(changes.iter().filter(|change| change.marked).count())]
    },
    tables: |_, view| {
        let row = |change: &Compared| -> Row {
            let (was, now) = (Measure::Share(change.was), Measure::Share(change.now));
            let difference = now.change_from(&was);
            vec![
                change.kind.into(),
                change.name.clone(),
                change.was.n.into(),
                change.was.d.into(),
                was.value().into(),
                change.now.n.into(),
                change.now.d.into(),
                now.value().into(),
                difference.value.into(),
                difference.interval.map(|interval| interval.0).into(),
                difference.interval.map(|interval| interval.1).into(),
                change.p.into(),
                Value::Boolean(change.marked),
            ]
        };
        vec![Table {
            name: "changes",
            columns: vec![
                "kind",
                "name",
                "was_n",
                "was_d",
                "was",
                "now_n",
                "now_d",
                "now",
                "difference",
                "low",
                "high",
                "p",
                "marked",
            ],
            rows: changes(view).iter().map(row).collect(),
        }]
    },
};

/// One share in both periods.
struct Compared {
    kind: &'static str,
    name: Value,
    was: Share,
    now: Share,
    /// Of the test, if both denominators are large enough.
    p: Option<f64>,
    marked: bool,
}

/// Returns all shares of both periods; none without a period to compare with.
fn changes(view: &View<'_>) -> Vec<Compared> {
    let Some(was) = view.compared() else { return Vec::new() };
    let mut changes = Vec::new();
    for (kind, query, total) in [
        ("ending", "endings", None),
        ("channel", "by_channel", Some("sessions")),
        ("intent", "by_intent", Some("messages")),
        ("marker", "markers", Some("sessions")),
    ] {
        let (now_d, was_d) = match total {
            Some(total) => (view.integer(total, 1), was.integer(total, 1)),
            None => (over(view), over(&was)),
        };
        let (now_groups, was_groups) = (groups(view, query, kind), groups(&was, query, kind));
        let mut names: Vec<Value> =
            now_groups.iter().chain(&was_groups).map(|group| group.0.clone()).collect();
        names.sort_by(|one, other| one.name_order().cmp(&other.name_order()));
        names.dedup();
        let of = |groups: &[(Value, i64)], name: &Value| {
            groups.iter().find(|group| group.0 == *name).map_or(0, |group| group.1)
        };
        changes.extend(names.into_iter().map(|name| {
            let now = Share { n: of(&now_groups, &name), d: now_d };
            let was = Share { n: of(&was_groups, &name), d: was_d };
            compare(kind, name, was, now)
        }));
    }
    let missed = |view: &View<'_>| Share { n: view.integer("turns", 2), d: view.integer("turns", 1) };
    changes.push(compare("missed", Value::Null, missed(&was), missed(view)));
    let tested: Vec<f64> = changes.iter().filter_map(|change| change.p).collect();
    let mut marks = benjamini_hochberg(&tested, FALSE_DISCOVERIES).into_iter();
    for change in changes.iter_mut().filter(|change| change.p.is_some()) {
        change.marked = marks.next().unwrap_or(false);
    }
    changes
}

fn compare(kind: &'static str, name: Value, was: Share, now: Share) -> Compared {
    let enough = was.d >= SMALLEST_SHARE && now.d >= SMALLEST_SHARE;
    let p = if enough { pooled_p(was, now) } else { None };
    Compared { kind, name, was, now, p, marked: false }
}

/// Returns the sessions of the three ways to end.
fn over(view: &View<'_>) -> i64 {
    let [escalated, abandoned, finished, ..] = ending_counts(view);
    escalated + abandoned + finished
}

fn groups(view: &View<'_>, query: &str, kind: &str) -> Vec<(Value, i64)> {
    let mut groups = view.groups(query);
    if kind == "ending" {
        groups.retain(|group| !matches!(group.0.text(), Some("open" | "unused")));
    }
    groups
}

//! Intents of messages.

use std::collections::BTreeMap;

use crate::answer::Table;
use crate::bucket::{Bucket, DayBlock};
use crate::draft::{MESSAGE_OF_TURN, Rows};
use crate::measure::Measure;
use crate::metric::{Chart, Counted, Figure, Metric, Source, Unit, count, no_values, share};
use crate::scope::Scope;
use crate::statistics::jensen_shannon;
use crate::value::{Query, Row, Value};
use crate::view::View;

pub(crate) static TOP_INTENTS: Metric = Metric {
    id: "R6_top_intents",
    title: "Top N intents",
    definition: "Messages by intent, the most frequent first, with their share of all messages. \
                 Messages without an intent are a group, which can be hidden. If there is a period \
                 to compare with, the share in it and the change in points with its 95 % interval.",
    unit: Unit::Count,
    charts: &[Chart::Bar, Chart::StackedBar],
    counted: Counted::Messages,
    sources: Source::ALL,
    figures: &[count("messages", "messages")],
    split: Some("by_intent"),
    plan: |scope| vec![messages(scope), intents(scope, scope.hide_null)],
    values: |_, view| vec![Measure::Count(view.integer("messages", 1))],
    tables: |scope, view| {
        let messages = view.integer("messages", 1);
        let was: Option<(Vec<(Value, i64)>, i64)> =
            view.compared().map(|was| (was.groups("by_intent"), was.integer("messages", 1)));
        let rows = view.groups("by_intent").into_iter().take(scope.top).map(|(intent, count)| {
            let now = Measure::share(count, messages);
            let was = was.as_ref().map(|(groups, messages)| {
                let count = groups.iter().find(|group| group.0 == intent).map_or(0, |group| group.1);
                Measure::share(count, *messages)
            });
            let mut row = vec![intent, count.into(), now.value().into()];
            row.extend(changed(was.as_ref(), &now));
            row
        });
        vec![Table {
            name: "by_intent",
            columns: vec!["intent", "messages", "share", "was", "change", "low", "high"],
            rows: rows.collect(),
        }]
    },
};

pub(crate) fn messages(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let rows = draft.turns();
    let count = draft.count_turns(None);
    draft.totals("messages", &rows, &[&count]).summed(0)
}

pub(crate) fn by_intent(scope: &Scope) -> Query {
    intents(scope, false)
}

fn intents(scope: &Scope, hide_null: bool) -> Query {
    let mut draft = scope.draft();
    let mut rows = draft.turns();
    let count = draft.count_turns(None);
    if hide_null {
        rows = rows.and("t.intent IS NOT NULL");
    }
    draft.totals_by("by_intent", &rows, "t.intent", &[&count]).summed(1)
}

/// Returns what a share was, its change in points, and both ends of the 95 % interval.
pub(crate) fn changed(was: Option<&Measure>, now: &Measure) -> [Value; 4] {
    let change = was.map(|was| now.change_from(was));
    let interval = change.filter(|change| change.value.is_some()).and_then(|change| change.interval);
    [
        was.and_then(Measure::value).into(),
        change.and_then(|change| change.value).into(),
        interval.map(|interval| interval.0).into(),
        interval.map(|interval| interval.1).into(),
    ]
}

/// Bins of the histogram of confidences.
const BINS: i64 = 20;
/// Distance of the two most likely intents below which a message is ambiguous.
const MARGIN: f64 = 0.1;

pub(crate) static CONFIDENCE: Metric = Metric {
    id: "X22_confidence",
    title: "Confidence distribution",
    definition: "Messages by the confidence of their intent, in 20 equal bins; the mean for each \
                 intent; and the share below a threshold, 0.7 unless set. Messages without an \
                 intent or confidence are left out.",
    unit: Unit::Percent,
    charts: &[Chart::Histogram, Chart::Table],
    counted: Counted::Messages,
    sources: Source::ALL,
    figures: &[share(
        "below_threshold",
        "messages with a confidence below the threshold",
        "messages with one",
    )],
    split: None,
    plan: |scope| vec![bins(scope), doubtful(scope, "all", false), doubtful(scope, "by_intent", true)],
    values: |_, view| vec![Measure::share(view.integer("all", 1), view.integer("all", 2))],
    tables: |_, view| {
        let counts = confidence_bins(view);
        let rows = (0..)
            .zip(counts)
            .map(|(bin, count)| vec![Value::Float(f64::from(bin) / BINS as f64), count.into()]);
        let mut intents: Vec<&Row> = view.all("by_intent").iter().collect();
        intents.sort_by(|one, other| {
            let name = |row: &Row| row.get(1).and_then(Value::text).unwrap_or_default().to_owned();
            name(one).cmp(&name(other))
        });
        let intent = |row: &&Row| {
            let number = |column: usize| row.get(column).and_then(Value::float).unwrap_or_default();
            let (sum, weight) = (number(4), number(5));
            let name = row.get(1).cloned().unwrap_or(Value::Null);
            let mean = (weight != 0.0).then(|| sum / weight);
            vec![name, row.get(3).cloned().unwrap_or(Value::Null), mean.into()]
        };
        vec![
            Table { name: "histogram", columns: vec!["from", "messages"], rows: rows.collect() },
            Table {
                name: "by_intent",
                columns: vec!["intent", "messages", "mean"],
                rows: intents.iter().map(intent).collect(),
            },
        ]
    },
};

pub(crate) static CONFUSION: Metric = Metric {
    id: "X23_confusion",
    title: "Ambiguity",
    definition: "Pairs of the two most likely intents of a message, fallback intents left out, whose \
                 confidences differ by less than 0.1; with a text as an example.",
    unit: Unit::Count,
    charts: &[Chart::HeatMap, Chart::Table],
    counted: Counted::Messages,
    sources: &[Source::Rasa, Source::Lex],
    figures: &[count("ambiguous", "messages with two likely intents")],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.turns();
        let weight = draft.weight_of_turn();
        vec![draft.per_slice(
            "rankings",
            &format!(
                "SELECT {slice}, e.intent_ranking, m.text, {weight}\nFROM {from}{MESSAGE_OF_TURN}\n\
                 JOIN ext_message e ON e.event_id = m.id\nWHERE {kept}\n\
                 AND e.intent_ranking IS NOT NULL\nORDER BY 1, t.asked_at, t.turn_id"
            ),
        )]
    },
    values: |scope, view| {
        let ambiguous = view.rows("rankings").iter().filter(|row| pair(scope, row).is_some());
        vec![Measure::Count(ambiguous.map(|row| weight(row, 3)).sum::<f64>().round() as i64)]
    },
    tables: |scope, view| {
        let mut pairs: BTreeMap<(String, String), (f64, Option<&str>)> = BTreeMap::new();
        for row in view.rows("rankings") {
            if let Some(pair) = pair(scope, row) {
                let entry = pairs.entry(pair).or_default();
                entry.0 += weight(row, 3);
                entry.1 = entry.1.or_else(|| row.get(2).and_then(Value::text));
            }
        }
        let mut pairs: Vec<_> = pairs
            .into_iter()
            .map(|(pair, (count, example))| (pair, (count.round() as i64, example)))
            .collect();
        // Stable: pairs of one count stay in the order of their names.
        pairs.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
        let row = |((one, other), (count, example)): ((String, String), (i64, Option<&str>))| {
            vec![Value::Text(one), Value::Text(other), count.into(), example.into()]
        };
        vec![Table {
            name: "pairs",
            columns: vec!["intent", "other_intent", "messages", "example"],
            rows: pairs.into_iter().map(row).collect(),
        }]
    },
};

pub(crate) static INTENT_HOURS: Metric = Metric {
    id: "L18_heat_intent",
    title: "Intent match count heat map",
    definition: "Messages by intent and hour of the local day.",
    unit: Unit::Count,
    charts: &[Chart::HeatMap],
    counted: Counted::Messages,
    sources: Source::ALL,
    figures: &[],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let Some(Rows { slice, from, kept }) = draft.turns_by(Bucket::Hour) else { return Vec::new() };
        let count = draft.count_turns(None);
        vec![draft.once(
            "hours",
            &format!("SELECT {slice}, b.lo, t.intent, {count}\nFROM {from}\nWHERE {kept}\nGROUP BY 1, 2, 3"),
        )]
    },
    values: no_values,
    tables: |scope, view| {
        let mut cells: BTreeMap<(bool, &str, u32), (Value, i64)> = BTreeMap::new();
        for row in view.all("hours") {
            let (Some(at), Some(intent)) = (row.get(1).and_then(Value::time), row.get(2)) else { continue };
            let DayBlock { hour, .. } = DayBlock::of(at, scope.zone);
            let (null, name) = intent.name_order();
            let cell = cells.entry((null, name, hour)).or_insert_with(|| (intent.clone(), 0));
            cell.1 += row.get(3).map_or(0, Value::integer);
        }
        let rows = cells
            .into_iter()
            .map(|((_, _, hour), (intent, count))| vec![intent, i64::from(hour).into(), count.into()]);
        vec![Table { name: "cells", columns: vec!["intent", "hour", "messages"], rows: rows.collect() }]
    },
};

pub(crate) static DRIFT: Metric = Metric {
    id: "X34_drift",
    title: "Drift",
    definition: "Distance of Jensen and Shannon, from 0 to 1, between this period and the one \
                 compared with: of the intents of messages, of their confidences in 20 bins, of their \
                 languages. With the intents whose share moved most. Over time, each bucket is \
                 compared with the whole other period.",
    unit: Unit::Fraction,
    charts: &[Chart::Line, Chart::Table],
    counted: Counted::Messages,
    sources: Source::ALL,
    figures: &[
        Figure {
            name: "intents",
            unit: Unit::Fraction,
            numerator: "distance of the intents of messages",
            denominator: None,
        },
        Figure {
            name: "confidence",
            unit: Unit::Fraction,
            numerator: "distance of the confidences of messages",
            denominator: None,
        },
        Figure {
            name: "locale",
            unit: Unit::Fraction,
            numerator: "distance of the languages of messages",
            denominator: None,
        },
    ],
    split: None,
    plan: |scope| vec![by_intent(scope), bins(scope), by_locale(scope)],
    values: |_, view| {
        let Some(was) = view.compared() else { return vec![Measure::Number(None); 3] };
        let distance = |query: &str| {
            let moves = moves(view, &was, query);
            let (now, was): (Vec<i64>, Vec<i64>) = moves.iter().map(|(_, was, now)| (*now, *was)).unzip();
            Measure::Number(jensen_shannon(&was, &now))
        };
        vec![
            distance("by_intent"),
            Measure::Number(jensen_shannon(&confidence_bins(&was), &confidence_bins(view))),
            distance("by_locale"),
        ]
    },
    tables: |scope, view| {
        let moves = view.compared().map(|was| moves(view, &was, "by_intent")).unwrap_or_default();
        let sum = |pick: fn(&(Value, i64, i64)) -> i64| moves.iter().map(pick).sum::<i64>();
        let (was, now) = (sum(|row| row.1), sum(|row| row.2));
        let mut rows: Vec<(Row, f64)> = moves
            .into_iter()
            .map(|(intent, n_was, n_now)| {
                let (was, now) = (Measure::share(n_was, was), Measure::share(n_now, now));
                let change = now.change_from(&was).value;
                let [was, points, low, high] = changed(Some(&was), &now);
                (vec![intent, was, now.value().into(), points, low, high], change.unwrap_or_default().abs())
            })
            .collect();
        // Stable: equal moves stay in the order of the names.
        rows.sort_by(|one, other| other.1.total_cmp(&one.1));
        vec![Table {
            name: "movers",
            columns: vec!["intent", "was", "now", "change", "low", "high"],
            rows: rows.into_iter().map(|(row, _)| row).take(scope.top).collect(),
        }]
    },
};

/// Returns (group, messages before, messages now) of all groups of either period, by name.
fn moves(now: &View<'_>, was: &View<'_>, query: &str) -> Vec<(Value, i64, i64)> {
    let mut counts: Vec<(Value, i64, i64)> =
        now.groups(query).into_iter().map(|(intent, count)| (intent, 0, count)).collect();
    for (intent, count) in was.groups(query) {
        match counts.iter_mut().find(|known| known.0 == intent) {
            Some(known) => known.1 = count,
            None => counts.push((intent, count, 0)),
        }
    }
    counts.sort_by(|one, other| one.0.name_order().cmp(&other.0.name_order()));
    counts
}

/// Counts messages by the language of their session.
fn by_locale(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.turns();
    let count = draft.count_turns(None);
    draft.per_slice(
        "by_locale",
        &format!(
            "SELECT {slice}, l.locale, {count}\nFROM {from}\n\
             JOIN ext_session l ON l.session_id = t.session_id\nWHERE {kept}\nGROUP BY 1, 2"
        ),
    )
}

fn bins(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.turns();
    let count = draft.count_turns(None);
    let bounds: String = (1..BINS)
        .map(|bin| format!(" WHEN t.confidence < {} THEN {}", bin as f64 / BINS as f64, bin - 1))
        .collect();
    draft.per_slice(
        "bins",
        &format!(
            "SELECT {slice}, CASE{bounds} ELSE {last} END, {count}\nFROM {from}\nWHERE {kept}\n\
             AND t.intent IS NOT NULL AND t.confidence IS NOT NULL\nGROUP BY 1, 2",
            last = BINS - 1
        ),
    )
}

/// Returns the number of messages in each bin.
fn confidence_bins(view: &View<'_>) -> Vec<i64> {
    let rows = view.rows("bins");
    let count = |bin: i64| {
        let row = rows.iter().find(|row| row.get(1).map(Value::integer) == Some(bin));
        row.and_then(|row| row.get(2)).map_or(0, Value::integer)
    };
    (0..BINS).map(count).collect()
}

fn doubtful(scope: &Scope, name: &'static str, by_intent: bool) -> Query {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.turns();
    let (column, by) = if by_intent { (", t.intent", ", 2") } else { ("", "") };
    let threshold = draft.bind(Value::Float(scope.definitions.low_confidence));
    let (doubtful, all) =
        (draft.count_turns(Some(&format!("t.confidence < {threshold}"))), draft.count_turns(None));
    let weight = draft.weight_of_turn();
    let query = draft.per_slice(
        name,
        &format!(
            "SELECT {slice}{column}, {doubtful}, {all},\n\
             sum({weight} * t.confidence), sum({weight})\nFROM {from}\nWHERE {kept}\n\
             AND t.intent IS NOT NULL AND t.confidence IS NOT NULL\nGROUP BY 1{by}"
        ),
    );
    Query { per_slice: !by_intent, ..query }
}

/// Returns how many messages of the source a row stands for.
pub(crate) fn weight(row: &Row, column: usize) -> f64 {
    row.get(column).and_then(Value::float).unwrap_or(1.0)
}

/// Returns the two most likely intents of a ranking, in order of their names, if they are close.
fn pair(scope: &Scope, row: &Row) -> Option<(String, String)> {
    let mut likely = ranked(scope, row.get(1)).into_iter();
    let ((one, first), (other, second)) = (likely.next()?, likely.next()?);
    if first? - second? >= MARGIN {
        return None;
    }
    Some(if one <= other { (one, other) } else { (other, one) })
}

/// Returns the intents of a ranking with their confidence, without fallback intents.
pub(crate) fn ranked(scope: &Scope, ranking: Option<&Value>) -> Vec<(String, Option<f64>)> {
    let ranking = ranking.and_then(Value::text).and_then(|text| serde_json::from_str(text).ok());
    let ranking: Vec<serde_json::Value> = ranking.unwrap_or_default();
    let fallback = &scope.definitions.fallback_intents;
    let read = |entry: &serde_json::Value| {
        let name = entry.get("name")?.as_str()?;
        let own = !fallback.iter().any(|known| known == name);
        own.then(|| (name.to_owned(), entry.get("confidence").and_then(serde_json::Value::as_f64)))
    };
    ranking.iter().filter_map(read).collect()
}

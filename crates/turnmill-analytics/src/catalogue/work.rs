//! How an assistant with flows works on a turn: tools, time, generated answers, filled slots.

use std::collections::BTreeMap;

use crate::answer::Table;
use crate::draft::Rows;
use crate::measure::Measure;
use crate::metric::{Chart, Counted, Figure, Metric, Source, Unit, count, ratio, share};
use crate::value::{Row, Value};
use crate::view::{View, largest_first};

/// Microseconds of a millisecond.
const MILLISECOND: f64 = 1e3;

pub(crate) static TOOLS: Metric = Metric {
    id: "X50_tools",
    title: "Tools and failed actions",
    definition: "Calls of tools by name, and those that report an error; calls of tools per message; \
                 and actions that failed.",
    unit: Unit::Percent,
    charts: &[Chart::Table, Chart::Line],
    counted: Counted::Mixed,
    sources: &[Source::Rasa],
    figures: &[
        share("errors", "calls of tools with an error", "calls of tools"),
        ratio("per_message", "calls of tools", "messages"),
        count("failed_actions", "actions that failed"),
    ],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.rows("ext_call", "e.timestamp");
        let calls = draft.per_slice(
            "calls",
            &format!(
                "SELECT {slice}, r.name, r.kind, count(*), sum(CASE WHEN r.is_error THEN 1 ELSE 0 END)\n\
                 FROM {from}\nJOIN rasa_event e ON e.id = r.event_id\nWHERE {kept}\nGROUP BY 1, 2, 3"
            ),
        );
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.turns();
        let turns = draft
            .per_slice("turns", &format!("SELECT {slice}, count(*)\nFROM {from}\nWHERE {kept}\nGROUP BY 1"));
        vec![calls, turns]
    },
    values: |_, view| {
        let sum = |kind: &str, column: usize| {
            of_kind(view, kind).map(|row| row.get(column).map_or(0, Value::integer)).sum::<i64>()
        };
        let calls = sum("tool", 3);
        vec![
            Measure::share(sum("tool", 4), calls),
            Measure::ratio(calls, view.integer("turns", 1)),
            Measure::Count(sum("action", 3)),
        ]
    },
    tables: |_, view| {
        let list = |kind: &str| {
            let read = |row: &Row| Some((row.get(1)?.clone(), row.get(3)?.integer(), row.get(4)?.integer()));
            let mut rows: Vec<(Value, i64, i64)> = of_kind(view, kind).filter_map(read).collect();
            largest_first(&mut rows, |row| row.1, |row| &row.0);
            rows
        };
        let tool = |(name, calls, errors): (Value, i64, i64)| {
            vec![name, calls.into(), errors.into(), Measure::share(errors, calls).value().into()]
        };
        vec![
            Table {
                name: "tools",
                columns: vec!["tool", "calls", "errors", "share"],
                rows: list("tool").into_iter().map(tool).collect(),
            },
            Table {
                name: "failed_actions",
                columns: vec!["action", "failed"],
                rows: list("action").into_iter().map(|(name, calls, _)| vec![name, calls.into()]).collect(),
            },
        ]
    },
};

/// Rows of one kind of calls.
fn of_kind<'r>(view: &View<'r>, kind: &str) -> impl Iterator<Item = &'r Row> {
    view.rows("calls").iter().filter(move |row| row.get(2).and_then(Value::text) == Some(kind))
}

pub(crate) static PROCESSING: Metric = Metric {
    id: "X51_processing",
    title: "Processing time",
    definition: "Time that the assistant worked on a turn, as it says itself: percentiles, and the mean \
                 of each part over the turns that have it. The response time holds the channel and \
                 the network as well.",
    unit: Unit::Milliseconds,
    charts: &[Chart::Line, Chart::StackedBar, Chart::Table],
    counted: Counted::Messages,
    sources: &[Source::Rasa],
    figures: &[
        milliseconds("p50"),
        milliseconds("p90"),
        milliseconds("p95"),
        count("turns", "turns with a processing time"),
    ],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let rows = draft.turns();
        let time = draft.distribution("time", &rows, &[], "t.processing_us", "t.processing_us IS NOT NULL");
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.turns();
        let parts = draft.once(
            "parts",
            &format!(
                "SELECT {slice}, t.processing_parts, count(*)\nFROM {from}\nWHERE {kept}\n\
                 AND t.processing_parts IS NOT NULL\nGROUP BY 1, 2"
            ),
        );
        vec![time, parts]
    },
    values: |_, view| {
        let time = view.distribution("time");
        let mut values: Vec<Measure> = (0..3).map(|which| time.percentile(which, MILLISECOND)).collect();
        values.push(Measure::Count(time.count));
        values
    },
    tables: |_, view| {
        // The parts are JSON texts. Databases differ in what numbers they take from such texts.
        let mut parts: BTreeMap<String, (i64, f64)> = BTreeMap::new();
        for row in view.all("parts") {
            let text = row.get(1).and_then(Value::text).map(serde_json::from_str);
            let Some(Ok(serde_json::Value::Object(members))) = text else { continue };
            let turns = row.get(2).map_or(0, Value::integer);
            for (name, number) in members {
                let Some(number) = number.as_f64() else { continue };
                let (count, sum) = parts.entry(name).or_default();
                *count += turns;
                *sum += number * turns as f64;
            }
        }
        let mut rows: Vec<(Value, i64, Option<f64>)> = parts
            .into_iter()
            .map(|(name, (count, sum))| (Value::Text(name), count, Measure::mean(sum, count).value()))
            .collect();
        largest_first(&mut rows, |row| row.1, |row| &row.0);
        vec![Table {
            name: "parts",
            columns: vec!["part", "turns", "mean_ms"],
            rows: rows.into_iter().map(|(name, count, mean)| vec![name, count.into(), mean.into()]).collect(),
        }]
    },
};

const fn milliseconds(name: &'static str) -> Figure {
    Figure { name, unit: Unit::Milliseconds, numerator: "processing times of turns", denominator: None }
}

/// What says that the text of a bot message was written in advance.
const WRITTEN: [&str; 2] = ["TemplatedNaturalLanguageGenerator", "verbatim"];

pub(crate) static GENERATED: Metric = Metric {
    id: "X52_generated",
    title: "Generated answers",
    definition: "Bot messages by what made their text; and of those that say it, the share that was \
                 neither written in advance nor by an action of the assistant's own.",
    unit: Unit::Percent,
    charts: &[Chart::StackedBar, Chart::Table],
    counted: Counted::Rows,
    sources: &[Source::Rasa],
    figures: &[share(
        "generated",
        "bot messages with a generated text",
        "bot messages that say what made it",
    )],
    split: Some("by"),
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.rows("rasa_bot_message", "r.timestamp");
        vec![draft.per_slice(
            "by",
            &format!(
                "SELECT {slice}, e.generated_by, count(*)\nFROM {from}\n\
                 LEFT JOIN ext_message e ON e.event_id = r.id\nWHERE {kept}\nGROUP BY 1, 2"
            ),
        )]
    },
    values: |_, view| {
        let (mut generated, mut all) = (0, 0);
        for (name, count) in view.groups("by") {
            let Some(name) = name.text() else { continue };
            all += count;
            if !WRITTEN.contains(&name) && !name.starts_with("action_") {
                generated += count;
            }
        }
        vec![Measure::share(generated, all)]
    },
    tables: |_, view| {
        let rows = view.groups("by").into_iter().map(|(name, count)| vec![name, count.into()]);
        vec![Table { name: "by", columns: vec!["made_by", "messages"], rows: rows.collect() }]
    },
};

pub(crate) static SLOT_SOURCES: Metric = Metric {
    id: "X53_slot_sources",
    title: "Who filled the slots",
    definition: "Slots that were set, by what filled them: of all, and of each slot. Slots whose event \
                 does not say it are left out.",
    unit: Unit::Count,
    charts: &[Chart::StackedBar, Chart::Table],
    counted: Counted::Rows,
    sources: &[Source::Rasa],
    figures: &[count("filled", "slots that were set and say what filled them")],
    split: Some("by"),
    plan: |scope| {
        let query = |name: &'static str, columns: &str, groups: &str| {
            let mut draft = scope.draft();
            let Rows { slice, from, kept } = draft.rows("rasa_slot", "r.timestamp");
            draft.per_slice(
                name,
                &format!(
                    "SELECT {slice}, {columns}, count(*)\nFROM {from}\n\
                     JOIN ext_slot e ON e.event_id = r.id\nWHERE {kept}\n\
                     AND e.filled_by IS NOT NULL\nGROUP BY {groups}"
                ),
            )
        };
        vec![query("by", "e.filled_by", "1, 2"), query("slots", "r.name, e.filled_by", "1, 2, 3")]
    },
    values: |_, view| {
        vec![Measure::Count(view.rows("by").iter().map(|row| row.get(2).map_or(0, Value::integer)).sum())]
    },
    tables: |_, view| {
        let by = view.groups("by").into_iter().map(|(name, count)| vec![name, count.into()]);
        let read = |row: &Row| Some((row.get(1)?.clone(), row.get(2)?.clone(), row.get(3)?.integer()));
        let mut slots: Vec<(Value, Value, i64)> = view.rows("slots").iter().filter_map(read).collect();
        // Stable: slots of one name and count by what filled them.
        largest_first(&mut slots, |_| 0, |slot| &slot.1);
        largest_first(&mut slots, |slot| slot.2, |slot| &slot.0);
        let slots = slots.into_iter().map(|(slot, name, count)| vec![slot, name, count.into()]);
        vec![
            Table { name: "by", columns: vec!["filled_by", "slots"], rows: by.collect() },
            Table { name: "slots", columns: vec!["slot", "filled_by", "count"], rows: slots.collect() },
        ]
    },
};

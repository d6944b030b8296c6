//! Forms, slots and entities.

use std::collections::{BTreeMap, BTreeSet};

use crate::answer::Table;
use crate::draft::{MESSAGE_OF_TURN, Rows};
use crate::measure::Measure;
use crate::metric::{Chart, Counted, Metric, Source, Unit, count, no_values};
use crate::value::{Row, Value};
use crate::view::{View, largest_first};

pub(crate) static FORMS: Metric = Metric {
    id: "X27_slot_fill",
    title: "Form and slot filling",
    definition: "For each form, a name that no flow has, the sessions that have it: left open, if it \
                 is active at the end; completed, if it took the last message that it was open for; \
                 otherwise broken off. Its turns, those whose message it took and rejected, and the \
                 requested slot at which those left open stopped.",
    unit: Unit::Count,
    charts: &[Chart::Funnel, Chart::Table],
    counted: Counted::Sessions,
    sources: &[Source::Rasa],
    figures: &[],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.sessions();
        let turns = draft.once(
            "turns",
            &format!(
                "SELECT {slice}, s.session_id, s.open_loop, t.form, t.form_took\nFROM {from}\n\
                 JOIN ext_turn t ON t.session_id = s.session_id\nWHERE {kept}\n  AND t.form IS NOT NULL\n\
                 ORDER BY s.session_id, t.asked_at, t.turn_id"
            ),
        );
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.sessions();
        let open = draft.once(
            "open",
            &format!(
                "SELECT {slice}, s.session_id, s.open_loop, r.value\nFROM {from}\n\
                 LEFT JOIN rasa_session_slot_state r ON r.session_id = s.session_id\n\
                 AND r.name = 'requested_slot'\nWHERE {kept}\n  AND s.open_loop IS NOT NULL"
            ),
        );
        let flows = scope.draft().once("flows", "SELECT DISTINCT flow_identifier FROM rasa_flow_status");
        vec![turns, open, flows]
    },
    values: no_values,
    tables: |_, view| {
        let forms = forms(view);
        let row = |(name, form): (&&str, &Form<'_>)| -> Row {
            let left_open = form.left_open.len();
            let completed = form
                .last_took
                .iter()
                .filter(|(session, took)| **took && !form.left_open.contains_key(*session));
            let completed = completed.count();
            let all: BTreeSet<&&str> = form.last_took.keys().chain(form.left_open.keys()).collect();
            let sessions = all.len();
            let number = |count: usize| Value::Integer(i64::try_from(count).unwrap_or(i64::MAX));
            vec![
                Value::from(*name),
                number(sessions),
                number(completed),
                number(sessions - completed - left_open),
                number(left_open),
                form.turns.into(),
                form.taken.into(),
                form.rejected.into(),
            ]
        };
        let mut stopped = Vec::new();
        for (name, form) in &forms {
            let mut slots: BTreeMap<Option<&str>, i64> = BTreeMap::new();
            form.left_open.values().for_each(|slot| *slots.entry(*slot).or_default() += 1);
            let mut slots: Vec<(Value, i64)> =
                slots.into_iter().map(|(slot, count)| (slot.into(), count)).collect();
            largest_first(&mut slots, |slot| slot.1, |slot| &slot.0);
            stopped
                .extend(slots.into_iter().map(|(slot, count)| vec![Value::from(*name), slot, count.into()]));
        }
        vec![
            Table {
                name: "forms",
                columns: vec![
                    "form",
                    "sessions",
                    "completed",
                    "broken_off",
                    "left_open",
                    "turns",
                    "taken",
                    "rejected",
                ],
                rows: forms.iter().map(row).collect(),
            },
            Table { name: "stopped_at", columns: vec!["form", "slot", "sessions"], rows: stopped },
        ]
    },
};

/// What is known of one form.
#[derive(Default)]
struct Form<'r> {
    /// For each session in which a message came while it was open, whether it took the last one.
    last_took: BTreeMap<&'r str, bool>,
    /// For each session at whose end it is active, the slot that it asked for.
    left_open: BTreeMap<&'r str, Option<&'r str>>,
    turns: i64,
    taken: i64,
    rejected: i64,
}

fn forms<'r>(view: &View<'r>) -> BTreeMap<&'r str, Form<'r>> {
    let flows: BTreeSet<&str> =
        view.all("flows").iter().filter_map(|row| row.first().and_then(Value::text)).collect();
    let mut forms: BTreeMap<&str, Form<'_>> = BTreeMap::new();
    for row in view.all("turns") {
        let text = |column: usize| row.get(column).and_then(Value::text);
        let Some((session, name)) = text(1).zip(text(3)) else { continue };
        if flows.contains(name) {
            continue;
        }
        let took = row.get(4).filter(|took| !took.is_null()).map(Value::is_true);
        let form = forms.entry(name).or_default();
        form.turns += 1;
        form.taken += i64::from(took == Some(true));
        form.rejected += i64::from(took == Some(false));
        form.last_took.insert(session, took == Some(true));
    }
    for row in view.all("open") {
        let text = |column: usize| row.get(column).and_then(Value::text);
        let Some((session, name)) = text(1).zip(text(2)) else { continue };
        if !flows.contains(name) {
            forms.entry(name).or_default().left_open.insert(session, text(3));
        }
    }
    forms
}

pub(crate) static SLOT_VALUES: Metric = Metric {
    id: "X28_slot_values",
    title: "Slot state at end",
    definition: "For each slot its values at the end of sessions, and its fill rate: sessions with a \
                 value other than null, as a share of all sessions.",
    unit: Unit::Percent,
    charts: &[Chart::Bar],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[count("sessions", "sessions")],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.sessions();
        let sessions = draft.per_slice(
            "sessions",
            &format!("SELECT {slice}, count(*)\nFROM {from}\nWHERE {kept}\nGROUP BY 1"),
        );
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.sessions();
        let values = draft.once(
            "values",
            &format!(
                "SELECT {slice}, r.name, r.value, count(*)\nFROM {from}\n\
                 JOIN rasa_session_slot_state r ON r.session_id = s.session_id\nWHERE {kept}\n\
                 AND r.name NOT IN ('session_started_metadata', 'requested_slot')\nGROUP BY 1, 2, 3"
            ),
        );
        vec![sessions, values]
    },
    values: |_, view| vec![Measure::Count(view.integer("sessions", 1))],
    tables: |scope, view| {
        let sessions = view.integer("sessions", 1);
        let mut slots: BTreeMap<&str, Vec<(Value, i64)>> = BTreeMap::new();
        for row in view.all("values") {
            let Some(name) = row.get(1).and_then(Value::text) else { continue };
            let values = slots.entry(name).or_default();
            match row.get(2) {
                // A slot that is reset, and one whose value is null.
                None | Some(Value::Null) => {}
                Some(value) if value.text() == Some("null") => {}
                Some(value) => values.push((value.clone(), row.get(3).map_or(0, Value::integer))),
            }
        }
        let mut rates = Vec::new();
        let mut tops = Vec::new();
        for (name, mut values) in slots {
            let filled: i64 = values.iter().map(|(_, count)| count).sum();
            let share = Measure::share(filled, sessions).value();
            rates.push(vec![Value::from(name), filled.into(), sessions.into(), share.into()]);
            largest_first(&mut values, |value| value.1, |value| &value.0);
            let top = values.into_iter().take(scope.top);
            tops.extend(top.map(|(value, count)| vec![Value::from(name), value, count.into()]));
        }
        vec![
            Table { name: "fill_rates", columns: vec!["slot", "filled", "sessions", "share"], rows: rates },
            Table { name: "values", columns: vec!["slot", "value", "sessions"], rows: tops },
        ]
    },
};

pub(crate) static ENTITY_VALUES: Metric =
    Metric {
        id: "L20_slot_top",
        title: "Top 10 Slot Values in Fulfilled Intents",
        definition: "For each intent of a message and entity in it, the values of the entity and how \
                     often each came. Intents and entities can be excluded.",
        unit: Unit::Count,
        charts: &[Chart::Table, Chart::Bar],
        counted: Counted::Messages,
        sources: &[Source::Rasa, Source::Lex],
        figures: &[],
        split: None,
        plan: |scope| {
            let mut draft = scope.draft();
            let Rows { slice, from, kept } = draft.turns();
            let count = draft.count_turns(None);
            vec![draft.once(
                "entities",
                &format!(
                    "SELECT {slice}, t.intent, e.entities, {count}\nFROM {from}{MESSAGE_OF_TURN}\n\
                 JOIN ext_message e ON e.event_id = m.id\nWHERE {kept}\n  AND e.entities IS NOT NULL\n\
                 GROUP BY 1, 2, 3"
                ),
            )]
        },
        values: no_values,
        tables: |scope, view| {
            type Counts = BTreeMap<String, i64>;
            let mut pairs: BTreeMap<(Option<&str>, String), Counts> = BTreeMap::new();
            for row in view.all("entities") {
                let entities = row.get(2).and_then(Value::text).map(serde_json::from_str);
                let Some(Ok(serde_json::Value::Array(entities))) = entities else { continue };
                let intent = row.get(1).and_then(Value::text);
                let is_excluded = |name: &str| scope.exclude.iter().any(|excluded| excluded == name);
                if intent.is_some_and(is_excluded) {
                    continue;
                }
                let count = row.get(3).map_or(0, Value::integer);
                for entity in entities {
                    let (Some(name), Some(value)) =
                        (entity.get("entity").and_then(serde_json::Value::as_str), entity.get("value"))
                    else {
                        continue;
                    };
                    if is_excluded(name) {
                        continue;
                    }
                    let value = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
                    let values = pairs.entry((intent, name.to_owned())).or_default();
                    *values.entry(value).or_default() += count;
                }
            }
            let mut rows = Vec::new();
            for ((intent, entity), values) in pairs {
                let mut values: Vec<(Value, i64)> =
                    values.into_iter().map(|(value, count)| (Value::Text(value), count)).collect();
                largest_first(&mut values, |value| value.1, |value| &value.0);
                rows.extend(values.into_iter().take(scope.top).map(|(value, count)| {
                    vec![intent.into(), Value::Text(entity.clone()), value, count.into()]
                }));
            }
            vec![Table { name: "values", columns: vec!["intent", "entity", "value", "messages"], rows }]
        },
    };

//! Funnels: what share of sessions or senders goes from one step to the next.

use std::collections::BTreeMap;

use turnmill_model::Micros;

use crate::answer::Table;
use crate::catalogue::response::SECOND;
use crate::draft::{Draft, Rows};
use crate::funnel::{MOST_STEPS, Step};
use crate::measure::Measure;
use crate::metric::{Chart, Counted, Metric, Source, Unit, no_values};
use crate::scope::Scope;
use crate::statistics::percentile;
use crate::value::{Query, Row, Value};
use crate::view::View;

pub(crate) static FUNNEL: Metric = Metric {
    id: "A12_funnel",
    title: "Funnel",
    definition: "Sessions, or senders, that reach each of at most six steps: intents, actions, \
                 responses, slots, statuses of flows or markers. Step 1 is the first match in the \
                 range, with the filters; each next step the first match after the one before, also \
                 after the range, within the window from step 1. With the share of the first step \
                 and of the step before, and the median time from the step before.",
    unit: Unit::Percent,
    charts: &[Chart::Funnel, Chart::Table],
    counted: Counted::Rows,
    sources: Source::ALL,
    figures: &[],
    split: None,
    plan: |scope| {
        let steps = scope.funnel.steps.iter().take(MOST_STEPS).enumerate();
        steps.map(|(number, step)| matches(scope, number, step)).collect()
    },
    values: no_values,
    tables: |scope, view| {
        let reached = passes(scope, view);
        let count = |times: &Vec<f64>| i64::try_from(times.len()).unwrap_or(i64::MAX);
        let first = reached.first().map_or(0, count);
        let mut before = first;
        let mut rows = Vec::new();
        for (number, (step, times)) in scope.funnel.steps.iter().zip(&reached).enumerate() {
            let reach = count(times);
            let mut times = times.clone();
            times.sort_by(f64::total_cmp);
            let median = if number == 0 { None } else { percentile(&times, 0.5) };
            rows.push(vec![
                Value::Integer(i64::try_from(number + 1).unwrap_or(i64::MAX)),
                Value::Text(step.to_string()),
                reach.into(),
                Measure::share(reach, first).value().into(),
                Measure::share(reach, before).value().into(),
                median.into(),
            ]);
            before = reach;
        }
        vec![Table {
            name: "steps",
            columns: vec!["step", "match", "reached", "share_of_first", "share_of_before", "median_seconds"],
            rows,
        }]
    },
};

/// Names of the queries of the steps.
const QUERIES: [&str; MOST_STEPS] = ["step1", "step2", "step3", "step4", "step5", "step6"];

/// Returns the query of the matches of a step: unit, number in order, time.
fn matches(scope: &Scope, number: usize, step: &Step) -> Query {
    let mut draft = scope.draft();
    let unit = if scope.funnel.across_sessions { "sender_id" } else { "session_id" };
    let source = source(&mut draft, step);
    let name = QUERIES.get(number).copied().unwrap_or("step");
    if number > 0 {
        // After step 1 neither the range nor the filters matter.
        let sql = format!("SELECT r.{unit}, r.sequence_number, r.timestamp\nFROM {source} r\nORDER BY 1, 2");
        return draft.once(name, &sql);
    }
    let Rows { from, kept, .. } = draft.rows(&source, "r.timestamp");
    let sql =
        format!("SELECT r.{unit}, r.sequence_number, r.timestamp\nFROM {from}\nWHERE {kept}\nORDER BY 1, 2");
    draft.once(name, &sql)
}

/// Returns the rows of a step as a table with sender, session, number and time.
fn source(draft: &mut Draft<'_>, step: &Step) -> String {
    let columns = "sender_id, session_id, sequence_number, timestamp";
    let of = |table: &str, condition: String| format!("(SELECT {columns} FROM {table} WHERE {condition})");
    match step {
        Step::Intent(name) => of("rasa_user_message", format!("intent = {}", draft.bind(name.as_str()))),
        Step::Action(name) => of("rasa_action", format!("name = {}", draft.bind(name.as_str()))),
        Step::Response(name) => {
            of("rasa_bot_message", format!("template_name = {}", draft.bind(name.as_str())))
        }
        Step::Slot(name) => of(
            "rasa_slot",
            format!("name = {} AND value IS NOT NULL AND value <> 'null'", draft.bind(name.as_str())),
        ),
        // The row of a flow's status has the id of its event.
        Step::Flow(flow, status) => format!(
            "(SELECT e.sender_id, e.session_id, e.sequence_number, e.timestamp FROM rasa_flow_status f \
             JOIN rasa_event e ON e.id = f.id WHERE f.flow_identifier = {} AND f.flow_status = {})",
            draft.bind(flow.as_str()),
            draft.bind(status.as_str())
        ),
        Step::Marker(name) => format!(
            "(SELECT e.sender_id, e.session_id, e.sequence_number, e.timestamp FROM rasa_markers m \
             JOIN rasa_patterns p ON p.id = m.pattern_id JOIN rasa_event e ON e.id = m.event_id \
             WHERE p.name = {})",
            draft.bind(name.as_str())
        ),
    }
}

/// Returns for each step the seconds from the step before, one for each unit that reached it.
fn passes(scope: &Scope, view: &View<'_>) -> Vec<Vec<f64>> {
    let steps = scope.funnel.steps.len().min(MOST_STEPS);
    let mut matches: Vec<BTreeMap<&str, Vec<(i64, Micros)>>> = Vec::new();
    for name in QUERIES.iter().take(steps) {
        let mut units: BTreeMap<&str, Vec<(i64, Micros)>> = BTreeMap::new();
        for row in view.all(name) {
            let read = |row: &Row| Some((row.get(1)?.integer(), row.get(2)?.time()?));
            if let (Some(unit), Some(found)) = (row.first().and_then(Value::text), read(row)) {
                units.entry(unit).or_default().push(found);
            }
        }
        matches.push(units);
    }
    let mut reached = vec![Vec::new(); steps];
    let Some((first, later)) = matches.split_first() else { return reached };
    for (unit, found) in first {
        let Some(start) = found.iter().min() else { continue };
        let end = scope.funnel.window_seconds.map(|seconds| start.1.0 + i64::from(seconds) * 1_000_000);
        let mut at = *start;
        if let Some(times) = reached.first_mut() {
            times.push(0.0);
        }
        for (units, times) in later.iter().zip(reached.iter_mut().skip(1)) {
            // The first match after the step before. There is no second try from a later step 1.
            let next = units.get(unit).into_iter().flatten().filter(|found| found.0 > at.0).min();
            let Some(next) = next.filter(|next| end.is_none_or(|end| next.1.0 <= end)) else { break };
            times.push((next.1.0 - at.1.0) as f64 / SECOND);
            at = *next;
        }
    }
    reached
}

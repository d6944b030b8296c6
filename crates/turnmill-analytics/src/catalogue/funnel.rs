//! Funnels: what share of sessions or senders goes from one step to the next.

use std::collections::BTreeMap;

use turnmill_model::Micros;

use crate::answer::Table;
use crate::catalogue::response::SECOND;
use crate::catalogue::users::last_days;
use crate::draft::{Draft, Rows};
use crate::funnel::{MOST_STEPS, Step};
use crate::measure::Measure;
use crate::metric::{Chart, Counted, Metric, Source, Unit, share};
use crate::range::{Range, Span};
use crate::scope::{Scope, Slices};
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
                 and of the step before, and the median time from the step before. The same for each \
                 channel, model, environment or assistant of the session of step 1, if asked for, and \
                 the conversion of each of the last 90 local days before the end of the range.",
    unit: Unit::Percent,
    charts: &[Chart::Funnel, Chart::Line, Chart::Table],
    counted: Counted::Rows,
    sources: Source::ALL,
    figures: &[share("conversion", "those that reach the last step", "those that reach the first")],
    split: None,
    plan: |scope| {
        let steps = scope.funnel.steps.iter().take(MOST_STEPS).enumerate();
        let mut queries: Vec<Query> = steps.map(|(number, step)| matches(scope, number, step)).collect();
        if let (Some(step), Some(span)) = (scope.funnel.steps.first(), span_of(&last_days(scope, DAYS))) {
            let scope = Scope { span, slices: Slices::Whole(span), ..scope.clone() };
            queries.push(Query { name: HISTORY, ..matches(&scope, 0, step) });
        }
        queries
    },
    values: |scope, view| {
        // The steps are of the whole range.
        if view.range().is_some() {
            return Vec::new();
        }
        let steps = Steps::read(scope, view);
        let reached = steps.passes(&steps.first);
        let count = |times: Option<&Vec<f64>>| times.map_or(0, |times| size(times));
        vec![Measure::share(count(reached.last()), count(reached.first()))]
    },
    tables: |scope, view| {
        let steps = Steps::read(scope, view);
        let mut columns =
            vec!["step", "match", "reached", "share_of_first", "share_of_before", "median_seconds"];
        let rows = steps_of(scope, &steps.passes(&steps.first));
        let mut tables = vec![Table { name: "steps", columns: columns.clone(), rows }];
        if let Some(property) = scope.breakdown {
            columns.insert(0, property.name());
            let mut rows = Vec::new();
            for (value, first) in steps.by_property() {
                let own = steps_of(scope, &steps.passes(&first)).into_iter();
                rows.extend(own.map(|row| std::iter::once(value.clone()).chain(row).collect()));
            }
            tables.push(Table { name: "breakdown", columns, rows });
        }
        tables.push(history(scope, view, &steps));
        tables
    },
};

/// Days of the history.
const DAYS: u64 = 90;
/// Name of the query of the matches of step 1 in these days.
const HISTORY: &str = "history";

/// Returns the rows of the steps that were reached so.
fn steps_of(scope: &Scope, reached: &[Vec<f64>]) -> Vec<Row> {
    let first = reached.first().map_or(0, |times| size(times));
    let mut before = first;
    let mut rows = Vec::new();
    for (number, (step, times)) in scope.funnel.steps.iter().zip(reached).enumerate() {
        let reach = size(times);
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
    rows
}

/// Returns the conversion of each day: of the funnel whose range is that day.
fn history(scope: &Scope, view: &View<'_>, steps: &Steps<'_>) -> Table {
    let found = matches_of(view, HISTORY);
    let mut rows = Vec::new();
    for day in last_days(scope, DAYS) {
        let of_day = |found: &&Found| found.at >= day.from && found.at < day.to;
        let first: BTreeMap<&str, Found> = found
            .iter()
            .filter_map(|(unit, found)| Some((*unit, found.iter().filter(of_day).min()?.clone())))
            .collect();
        let reached = steps.passes(&first);
        let count = |times: Option<&Vec<f64>>| times.map_or(0, |times| size(times));
        let (last, first) = (count(reached.last()), count(reached.first()));
        rows.push(vec![
            Value::Text(scope.zone.local(day.from).date().to_string()),
            first.into(),
            last.into(),
            Measure::share(last, first).value().into(),
        ]);
    }
    Table { name: "history", columns: vec!["day", "first", "last", "conversion"], rows }
}

fn size(times: &[f64]) -> i64 {
    i64::try_from(times.len()).unwrap_or(i64::MAX)
}

/// Returns the time from the first of some days to the end of the last.
fn span_of(days: &[Range]) -> Option<Span> {
    Some(Span { from: Some(days.first()?.from), to: Some(days.last()?.to) })
}

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
    let (property, join) = match scope.breakdown {
        Some(property) => {
            (format!(", p.{}", property.column()), "\nLEFT JOIN ext_session p ON p.session_id = r.session_id")
        }
        None => (String::new(), ""),
    };
    let sql = format!(
        "SELECT r.{unit}, r.sequence_number, r.timestamp{property}\nFROM {from}{join}\nWHERE {kept}\n\
         ORDER BY 1, 2"
    );
    draft.once(name, &sql)
}

/// Returns the rows of a step as a table with sender, session, number and time.
pub(crate) fn source(draft: &mut Draft<'_>, step: &Step) -> String {
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

/// One match of a step, ordered as the events of its sender are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    /// Number in order.
    number: i64,
    at: Micros,
    /// The property of the session by which the funnel is broken down.
    property: Option<String>,
}

/// Matches by session or sender.
type Matches<'r> = BTreeMap<&'r str, Vec<Found>>;

/// The matches of all steps.
struct Steps<'r> {
    /// The first match of step 1 of each session or sender.
    first: BTreeMap<&'r str, Found>,
    /// All matches of the other steps.
    later: Vec<Matches<'r>>,
    /// Microseconds from step 1 within which the others have to come.
    window: Option<i64>,
}

impl<'r> Steps<'r> {
    fn read(scope: &Scope, view: &View<'r>) -> Self {
        let names = QUERIES.iter().take(scope.funnel.steps.len());
        let mut matches = names.map(|name| matches_of(view, name));
        let first = matches.next().unwrap_or_default();
        let first = first.into_iter().filter_map(|(unit, found)| Some((unit, found.into_iter().min()?)));
        Self {
            first: first.collect(),
            later: matches.collect(),
            window: scope.funnel.window_seconds.map(|seconds| i64::from(seconds) * 1_000_000),
        }
    }

    /// Returns the first matches by their property, NULL last.
    fn by_property(&self) -> Vec<(Value, BTreeMap<&'r str, Found>)> {
        let mut groups: BTreeMap<(bool, Option<&str>), BTreeMap<&'r str, Found>> = BTreeMap::new();
        for (unit, found) in &self.first {
            let name = found.property.as_deref();
            groups.entry((name.is_none(), name)).or_default().insert(*unit, found.clone());
        }
        groups.into_iter().map(|((_, name), first)| (Value::from(name), first)).collect()
    }

    /// Returns for each step the seconds from the step before, one for each session or sender that
    /// reached it, from these matches of step 1.
    fn passes(&self, first: &BTreeMap<&'r str, Found>) -> Vec<Vec<f64>> {
        let mut reached = vec![Vec::new(); self.later.len() + 1];
        for (unit, start) in first {
            let end = self.window.map(|window| start.at.0 + window);
            let mut at = start;
            if let Some(times) = reached.first_mut() {
                times.push(0.0);
            }
            for (units, times) in self.later.iter().zip(reached.iter_mut().skip(1)) {
                // The first match after the step before: no second try from a later step 1.
                let next =
                    units.get(unit).into_iter().flatten().filter(|found| found.number > at.number).min();
                let Some(next) = next.filter(|next| end.is_none_or(|end| next.at.0 <= end)) else { break };
                times.push((next.at.0 - at.at.0) as f64 / SECOND);
                at = next;
            }
        }
        reached
    }
}

/// Reads the matches of one step.
fn matches_of<'r>(view: &View<'r>, name: &str) -> Matches<'r> {
    let mut units: Matches<'r> = BTreeMap::new();
    for row in view.all(name) {
        let read = |row: &Row| {
            let property = row.get(3).and_then(Value::text).map(ToOwned::to_owned);
            Some(Found { number: row.get(1)?.integer(), at: row.get(2)?.time()?, property })
        };
        if let (Some(unit), Some(found)) = (row.first().and_then(Value::text), read(row)) {
            units.entry(unit).or_default().push(found);
        }
    }
    units
}

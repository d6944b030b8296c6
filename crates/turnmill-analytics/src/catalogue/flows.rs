//! Flows, skills, the patterns that repair a conversation, and commands.

use std::collections::BTreeMap;

use crate::answer::Table;
use crate::catalogue::response::SECOND;
use crate::draft::{Draft, Rows, flow_of_assistant};
use crate::measure::Measure;
use crate::metric::{Chart, Counted, Metric, Source, Unit, count, share};
use crate::scope::Scope;
use crate::value::{Query, Row, Value};
use crate::view::{View, largest_first};

/// The patterns and own skills of an assistant that repair a conversation.
const REPAIRS: [&str; 10] = [
    "default_silence_timeout",
    "default_unsupported_request_handler",
    "pattern_cancel_flow",
    "pattern_cannot_handle",
    "pattern_clarification",
    "pattern_correction",
    "pattern_internal_error",
    "pattern_repeat_bot_messages",
    "pattern_skip_question",
    "pattern_user_silence",
];

/// Those of them that say why.
const WITH_REASON: [&str; 2] = ["pattern_cannot_handle", "pattern_internal_error"];

pub(crate) static RESOLUTION: Metric = Metric {
    id: "X44_flow_resolution",
    title: "Flow resolution and drop-off",
    definition: "For each flow or skill of the assistant, the sessions in which it starts in the range: \
                 those in which it completes as well, not counting a completion that is a \
                 cancellation, and the others, which dropped off; beside them the sessions in which \
                 it is interrupted, resumed or cancelled in the range, whenever it started. The \
                 published queries divide these by the first.",
    unit: Unit::Percent,
    charts: &[Chart::Bar, Chart::Table],
    counted: Counted::Rows,
    sources: &[Source::Rasa],
    figures: &[share("resolution", "sessions and flows that complete", "sessions and flows that start")],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.rows("rasa_flow_status", "r.inserted_at");
        let flow = flow_of_assistant("r.flow_identifier");
        let completed = "flow_status = 'completed' AND coalesce(step_id, '') <> 'NEXT:END'";
        let flows = draft.per_slice(
            "flows",
            &format!(
                "SELECT o.slice, o.flow, count(*), count(e.session_id)\nFROM (SELECT DISTINCT {slice} AS slice, \
                 r.session_id, r.flow_identifier AS flow FROM {from}\nWHERE {kept}\n  \
                 AND r.flow_status = 'started' AND {flow}) o\n\
                 LEFT JOIN (SELECT DISTINCT session_id, flow_identifier FROM rasa_flow_status\n\
                 WHERE {completed}) e\nON e.session_id = o.session_id \
                 AND e.flow_identifier = o.flow\nGROUP BY 1, 2"
            ),
        );
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.rows("rasa_flow_status", "r.inserted_at");
        let sessions =
            |condition: &str| format!("count(DISTINCT CASE WHEN {condition} THEN r.session_id END)");
        let [interrupted, resumed, cancelled] = [
            sessions("r.flow_status = 'interrupted'"),
            sessions("r.flow_status = 'resumed'"),
            sessions(
                "r.flow_status = 'cancelled' OR (r.flow_status = 'completed' AND r.step_id = 'NEXT:END')",
            ),
        ];
        let beside = draft.per_slice(
            "beside",
            &format!(
                "SELECT {slice}, r.flow_identifier, {interrupted}, {resumed}, {cancelled}\nFROM {from}\n\
                 WHERE {kept}\nGROUP BY 1, 2"
            ),
        );
        vec![flows, beside]
    },
    values: |_, view| {
        let sum = |column: usize| view.rows("flows").iter().map(|row| integer(row, column)).sum();
        vec![Measure::share(sum(3), sum(2))]
    },
    tables: |_, view| {
        let mut rows: Vec<&Row> = view.rows("flows").iter().collect();
        rows.sort_by_key(|row| row.get(1).and_then(Value::text));
        let row = |row: &&Row| {
            let (started, completed) = (integer(row, 2), integer(row, 3));
            let beside = view.rows("beside").iter().find(|other| other.get(1) == row.get(1));
            let beside = |column: usize| beside.map_or(0, |row| integer(row, column));
            vec![
                cell(row, 1),
                started.into(),
                completed.into(),
                Measure::share(completed, started).value().into(),
                (started - completed).into(),
                beside(2).into(),
                beside(3).into(),
                beside(4).into(),
            ]
        };
        vec![Table {
            name: "flows",
            columns: vec![
                "flow",
                "started",
                "completed",
                "resolution",
                "dropped",
                "interrupted",
                "resumed",
                "cancelled",
            ],
            rows: rows.iter().map(row).collect(),
        }]
    },
};

pub(crate) static RUNS: Metric = Metric {
    id: "X47_flow_runs",
    title: "Flow runs",
    definition: "For each flow or skill of the assistant its runs that open in the range: done, \
                 cancelled, abandoned (an open one too if no session of its sender is open) and open; \
                 median time and mean messages of those done; how they were entered; and the last \
                 step of the stack at which those not done stopped, with the slot that it asks for.",
    unit: Unit::Percent,
    charts: &[Chart::StackedBar, Chart::Table],
    counted: Counted::Rows,
    sources: &[Source::Rasa],
    figures: &[share("done", "runs done", "runs"), count("runs", "runs")],
    split: None,
    plan: |scope| {
        let kinds = "('flow', 'skill')";
        vec![runs(scope, "runs", kinds), run_times(scope, "times", kinds), stopped(scope)]
    },
    values: |_, view| {
        let (done, all) = done_of(view);
        vec![Measure::share(done, all), Measure::Count(all)]
    },
    tables: |_, view| {
        let entered = listed(view.rows("runs"), |row| vec![cell(row, 1), cell(row, 2)]);
        let stopped = listed(view.all("stopped"), |row| {
            let (flow, step) = (cell(row, 1), cell(row, 2));
            let slot = flow.text().zip(step.text()).and_then(|(flow, step)| asked_slot(flow, step));
            let slot = slot.into();
            vec![flow, step, slot]
        });
        vec![
            run_table(view, "flows", "flow"),
            Table { name: "entered_by", columns: vec!["flow", "entered_by", "runs"], rows: entered },
            Table { name: "stopped", columns: vec!["flow", "step", "slot", "runs"], rows: stopped },
        ]
    },
};

pub(crate) static AGENTS: Metric = Metric {
    id: "X49_agents",
    title: "Sub agents",
    definition: "For each sub agent its runs that open in the range: done, cancelled with their \
                 reasons, abandoned and open, as of flows; mean turns of all, and median time of \
                 those done.",
    unit: Unit::Percent,
    charts: &[Chart::Table, Chart::Bar],
    counted: Counted::Rows,
    sources: &[Source::Rasa],
    figures: &[share("done", "runs done", "runs"), count("runs", "runs")],
    split: None,
    plan: |scope| vec![runs(scope, "runs", "('agent')"), run_times(scope, "times", "('agent')")],
    values: |_, view| {
        let (done, all) = done_of(view);
        vec![Measure::share(done, all), Measure::Count(all)]
    },
    tables: |_, view| {
        let cancelled: Vec<Row> =
            view.rows("runs").iter().filter(|row| cell(row, 4).text() == Some("canceled")).cloned().collect();
        let reasons = listed(&cancelled, |row| vec![cell(row, 1), cell(row, 3)]);
        vec![
            run_table(view, "agents", "agent"),
            Table { name: "canceled_by", columns: vec!["agent", "reason", "runs"], rows: reasons },
        ]
    },
};

pub(crate) static REPAIR: Metric = Metric {
    id: "X48_repair",
    title: "Conversation repair",
    definition: "Messages in whose turn a pattern opens that repairs the conversation (correction, \
                 clarification, cannot handle, repeat, skip, cancel, error, silence, and Mantle's own \
                 skills of that kind), as a share of all messages: any of them, each, by reason, and by \
                 the flow below.",
    unit: Unit::Percent,
    charts: &[Chart::Line, Chart::HeatMap, Chart::Table],
    counted: Counted::Messages,
    sources: &[Source::Rasa],
    figures: &[share("repaired", "messages in whose turn such a pattern opens", "messages")],
    split: Some("each"),
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.turns();
        let turns = draft
            .per_slice("turns", &format!("SELECT {slice}, count(*)\nFROM {from}\nWHERE {kept}\nGROUP BY 1"));
        vec![
            turns,
            repairs(scope, "any", &[], &REPAIRS),
            repairs(scope, "each", &["p.dialog_id"], &REPAIRS),
            repairs(scope, "reasons", &["p.dialog_id", "p.reason"], &WITH_REASON),
            repairs(scope, "by_flow", &["below.dialog_id", "p.dialog_id"], &REPAIRS),
        ]
    },
    values: |_, view| vec![Measure::share(view.integer("any", 1), view.integer("turns", 1))],
    tables: |_, view| {
        let turns = view.integer("turns", 1);
        let found: BTreeMap<&str, i64> =
            view.rows("each").iter().filter_map(|row| Some((row.get(1)?.text()?, integer(row, 2)))).collect();
        let row = |name: &&str| {
            let messages = found.get(name).copied().unwrap_or_default();
            let share = Measure::share(messages, turns).value();
            vec![Value::from(*name), messages.into(), turns.into(), share.into()]
        };
        let pairs = |name| listed_by(view.rows(name), 3, |row| vec![cell(row, 1), cell(row, 2)]);
        vec![
            Table {
                name: "patterns",
                columns: vec!["pattern", "repaired", "messages", "share"],
                rows: REPAIRS.iter().map(row).collect(),
            },
            Table { name: "reasons", columns: vec!["pattern", "reason", "messages"], rows: pairs("reasons") },
            Table { name: "by_flow", columns: vec!["flow", "pattern", "messages"], rows: pairs("by_flow") },
        ]
    },
};

pub(crate) static COMMANDS: Metric = Metric {
    id: "X54_commands",
    title: "Commands",
    definition: "Predicted commands by name; and the runs of flows that no command named in the \
                 session up to then, so that a call or a link started them, as a share of all runs of \
                 flows.",
    unit: Unit::Count,
    charts: &[Chart::Bar, Chart::Line, Chart::Table],
    counted: Counted::Rows,
    sources: &[Source::Rasa],
    figures: &[
        count("commands", "commands"),
        share("unnamed", "runs of flows that no command named", "runs of flows"),
    ],
    split: Some("commands"),
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.rows("rasa_llm_command", "r.inserted_at");
        let commands = draft.per_slice(
            "commands",
            &format!("SELECT {slice}, r.command, count(*)\nFROM {from}\nWHERE {kept}\nGROUP BY 1, 2"),
        );
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.rows("ext_dialog_run", "r.started_at");
        let unnamed = draft.per_slice(
            "unnamed",
            &format!(
                "SELECT {slice}, r.dialog_id, r.entered_by, count(*), \
                 sum(CASE WHEN c.named_at <= r.started_at THEN 0 ELSE 1 END)\nFROM {from}\n\
                 LEFT JOIN (SELECT session_id, flow_identifier, min(inserted_at) AS named_at \
                 FROM rasa_llm_command WHERE command = 'start flow' GROUP BY 1, 2) c\n\
                 ON c.session_id = r.session_id AND c.flow_identifier = r.dialog_id\n\
                 WHERE {kept}\n  AND r.kind = 'flow'\nGROUP BY 1, 2, 3"
            ),
        );
        vec![commands, unnamed]
    },
    values: |_, view| {
        let commands = view.rows("commands").iter().map(|row| integer(row, 2)).sum();
        let sum = |column: usize| view.rows("unnamed").iter().map(|row| integer(row, column)).sum();
        vec![Measure::Count(commands), Measure::share(sum(4), sum(3))]
    },
    tables: |_, view| {
        let commands = view.groups("commands");
        let mut unnamed = listed_by(view.rows("unnamed"), 4, |row| vec![cell(row, 1), cell(row, 2)]);
        unnamed.retain(|row| integer(row, 2) > 0);
        vec![
            Table {
                name: "commands",
                columns: vec!["command", "count"],
                rows: commands.into_iter().map(|(name, count)| vec![name, count.into()]).collect(),
            },
            Table { name: "unnamed", columns: vec!["flow", "entered_by", "runs"], rows: unnamed },
        ]
    },
};

fn integer(row: &Row, column: usize) -> i64 {
    row.get(column).map_or(0, Value::integer)
}

fn cell(row: &Row, column: usize) -> Value {
    row.get(column).cloned().unwrap_or(Value::Null)
}

/// Returns the expression of the status of a run `r` whose session is `h`. An open run is abandoned
/// if no session of its sender is open.
fn status(draft: &mut Draft<'_>, scope: &Scope) -> String {
    let idle_since = draft.bind_time(scope.definitions.idle_since(scope.as_of));
    format!(
        "CASE WHEN r.status IS NOT NULL THEN r.status WHEN EXISTS (SELECT 1 FROM ext_session o \
         WHERE o.sender_id = h.sender_id AND o.ended_by = 'open' AND o.last_event_at > {idle_since}) \
         THEN 'open' ELSE 'abandoned' END"
    )
}

/// Counts the runs of some kinds, by name, how they were entered, reason and status.
fn runs(scope: &Scope, name: &'static str, kinds: &str) -> Query {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.rows("ext_dialog_run", "r.started_at");
    let status = status(&mut draft, scope);
    draft.per_slice(
        name,
        &format!(
            "SELECT slice, dialog_id, entered_by, reason, status, count(*), CAST(sum(turns) AS bigint)\n\
             FROM (SELECT {slice} AS slice, r.dialog_id, r.entered_by, r.reason, r.turns, \
             {status} AS status\nFROM {from}\nJOIN ext_session h ON h.session_id = r.session_id\n\
             WHERE {kept}\n  AND r.kind IN {kinds}) run\nGROUP BY 1, 2, 3, 4, 5"
        ),
    )
}

/// Returns the distribution of the time that runs done took, by name.
fn run_times(scope: &Scope, name: &'static str, kinds: &str) -> Query {
    let mut draft = scope.draft();
    let rows = draft.rows("ext_dialog_run", "r.started_at");
    let took = draft.micros_between("r.started_at", "r.ended_at");
    let condition = format!("r.kind IN {kinds} AND r.status = 'done'");
    let query = draft.distribution(name, &rows, &["r.dialog_id"], &took, &condition);
    Query { per_slice: false, ..query }
}

/// Counts the runs of flows that are not done by the step at which each stopped: that of the
/// sender's last frame of the flow up to the run's end.
fn stopped(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.rows("ext_dialog_run", "r.started_at");
    draft.once(
        "stopped",
        &format!(
            "SELECT slice, dialog_id, step, count(*)\nFROM (SELECT {slice} AS slice, r.dialog_id, \
             (SELECT f.flow_step_id FROM ext_session o\n\
             JOIN rasa_dialogue_stack_frame f ON f.session_id = o.session_id\n\
             WHERE o.sender_id = h.sender_id AND f.active_flow_identifier = r.dialog_id \
             AND (r.ended_at IS NULL OR f.inserted_at <= r.ended_at)\n\
             AND f.flow_step_id <> 'END' AND substr(f.flow_step_id, 1, 5) <> 'NEXT:'\n\
             ORDER BY f.start_sequence_number DESC LIMIT 1) AS step\nFROM {from}\n\
             JOIN ext_session h ON h.session_id = r.session_id\nWHERE {kept}\n\
             AND r.kind IN ('flow', 'skill') AND coalesce(r.status, '') <> 'done') run\n\
             WHERE step IS NOT NULL\nGROUP BY 1, 2, 3"
        ),
    )
}

/// Counts the messages in whose turn one of these patterns opens, by these columns. The pattern is
/// `p`, the flow below is `below`.
fn repairs(scope: &Scope, name: &'static str, columns: &[&str], patterns: &[&str]) -> Query {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.turns();
    let names: Vec<String> = patterns.iter().map(|name| format!("'{name}'")).collect();
    let names = names.join(", ");
    let groups: String = columns.iter().map(|column| format!("{column}, ")).collect();
    let numbers: Vec<String> = (1..=columns.len() + 1).map(|number| number.to_string()).collect();
    let numbers = numbers.join(", ");
    draft.per_slice(
        name,
        &format!(
            "SELECT {slice}, {groups}count(DISTINCT t.turn_id)\nFROM {from}\n\
             JOIN rasa_turn u ON u.id = t.turn_id\n\
             JOIN rasa_event e ON e.session_id = u.session_id \
             AND e.sequence_number BETWEEN u.start_sequence_number AND u.end_sequence_number\n\
             JOIN ext_dialog_run p ON p.id = e.id\n\
             LEFT JOIN ext_dialog_run below ON below.id = p.parent_id\n\
             WHERE {kept}\n  AND p.dialog_id IN ({names})\nGROUP BY {numbers}"
        ),
    )
}

fn done_of(view: &View<'_>) -> (i64, i64) {
    let rows = view.rows("runs");
    let done = rows.iter().filter(|row| cell(row, 4).text() == Some("done"));
    (done.map(|row| integer(row, 5)).sum(), rows.iter().map(|row| integer(row, 5)).sum())
}

/// Returns the list of what [`runs`] counts, by name.
fn run_table(view: &View<'_>, name: &'static str, column: &'static str) -> Table {
    let mut runs: BTreeMap<&str, [i64; 6]> = BTreeMap::new();
    let mut all_turns: BTreeMap<&str, i64> = BTreeMap::new();
    for row in view.rows("runs") {
        let Some((dialog, status)) = row.get(1).and_then(Value::text).zip(row.get(4).and_then(Value::text))
        else {
            continue;
        };
        let (count, turns) = (integer(row, 5), integer(row, 6));
        let numbers = runs.entry(dialog).or_default();
        let place = ["done", "canceled", "abandoned", "open"].iter().position(|known| *known == status);
        if let Some(number) = place.and_then(|place| numbers.get_mut(place + 1)) {
            *number += count;
        }
        numbers[0] += count;
        if status == "done" {
            numbers[5] += turns;
        }
        *all_turns.entry(dialog).or_default() += turns;
    }
    let times: BTreeMap<Option<String>, Option<f64>> = view
        .distributions("times")
        .into_iter()
        .map(|(dialog, time)| (dialog.text().map(ToOwned::to_owned), time.percentile(0, SECOND).value()))
        .collect();
    let row = |(dialog, numbers): (&&str, &[i64; 6])| {
        let [all, done, canceled, abandoned, open, turns_of_done] = *numbers;
        let turns = all_turns.get(dialog).copied().unwrap_or_default();
        vec![
            Value::from(*dialog),
            all.into(),
            done.into(),
            canceled.into(),
            abandoned.into(),
            open.into(),
            times.get(&Some((*dialog).to_owned())).copied().flatten().into(),
            Measure::ratio(turns_of_done, done).value().into(),
            Measure::ratio(turns, all).value().into(),
        ]
    };
    Table {
        name,
        columns: vec![
            column,
            "runs",
            "done",
            "canceled",
            "abandoned",
            "open",
            "median_seconds_of_done",
            "turns_of_done",
            "turns",
        ],
        rows: runs.iter().map(row).collect(),
    }
}

/// Sums up the runs of rows of [`runs`] or [`stopped`] by what `names` returns: largest first.
fn listed(rows: &[Row], names: impl Fn(&Row) -> Vec<Value>) -> Vec<Row> {
    // Rows of `stopped` end with the count, those of `runs` with the turns after it.
    let count = |row: &Row| if row.len() > 4 { 5 } else { 3 };
    let column = rows.first().map_or(0, count);
    listed_by(rows, column, names)
}

/// Sums up a column by what `names` returns: largest first, then by the names, NULL last.
fn listed_by(rows: &[Row], column: usize, names: impl Fn(&Row) -> Vec<Value>) -> Vec<Row> {
    let mut sums: Vec<(Vec<Value>, i64)> = Vec::new();
    for row in rows {
        let names = names(row);
        match sums.iter_mut().find(|(known, _)| *known == names) {
            Some((_, sum)) => *sum += integer(row, column),
            None => sums.push((names, integer(row, column))),
        }
    }
    // Stable sorts, the last name first.
    let width = sums.first().map_or(0, |(names, _)| names.len());
    for place in (0..width).rev() {
        largest_first(&mut sums, |_| 0, |(names, _)| names.get(place).unwrap_or(&Value::Null));
    }
    sums.sort_by_key(|(_, sum)| std::cmp::Reverse(*sum));
    sums.into_iter()
        .map(|(mut names, sum)| {
            names.push(sum.into());
            names
        })
        .collect()
}

/// Returns the slot that a step asks for.
///
/// ```text
/// transfer_money_0_collect_amount   ->   amount
/// 0_collect_amount                  ->   amount      up to Rasa Pro 3.11.3
/// ```
fn asked_slot<'s>(flow: &str, step: &'s str) -> Option<&'s str> {
    let step = step.strip_prefix(flow).and_then(|rest| rest.strip_prefix('_')).unwrap_or(step);
    let (number, slot) = step.split_once("_collect_")?;
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_that_collect_name_their_slot() {
        for (step, slot) in [
            ("pay_12_collect_amount", Some("amount")),
            ("0_collect_a_collect_b", Some("a_collect_b")),
            ("pay_collect_amount", None),
            ("other_0_collect_amount", None),
            ("pay_1_call_other", None),
            ("START", None),
        ] {
            assert_eq!(asked_slot("pay", step), slot, "{step}");
        }
    }
}

//! Policies and responses.

use std::collections::BTreeMap;

use crate::answer::Table;
use crate::draft::Rows;
use crate::measure::Measure;
use crate::metric::{Chart, Counted, Metric, Source, Unit, count, share};
use crate::value::{Row, Value};
use crate::view::largest_first;

pub(crate) static POLICIES: Metric = Metric {
    id: "X32_policy",
    title: "Policy use",
    definition: "Actions by the policy that chose them, with the mean confidence; and the share of \
                 actions whose policy is named like fallback, of those that have a policy.",
    unit: Unit::Percent,
    charts: &[Chart::StackedBar, Chart::Table],
    counted: Counted::Rows,
    sources: &[Source::Rasa],
    figures: &[share("fallback", "actions of a fallback policy", "actions with a policy")],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.rows("rasa_action", "r.timestamp");
        vec![draft.per_slice(
            "policies",
            &format!(
                "SELECT {slice}, r.policy, count(*), count(r.confidence), sum(r.confidence)\n\
                 FROM {from}\nWHERE {kept}\nGROUP BY 1, 2"
            ),
        )]
    },
    values: |_, view| {
        let (mut fallback, mut all) = (0, 0);
        for row in view.rows("policies") {
            let Some(policy) = row.get(1).and_then(Value::text) else { continue };
            let count = row.get(2).map_or(0, Value::integer);
            all += count;
            if policy.to_lowercase().contains("fallback") {
                fallback += count;
            }
        }
        vec![Measure::share(fallback, all)]
    },
    tables: |_, view| {
        let read = |row: &Row| {
            let sum = row.get(4)?.float().unwrap_or_default();
            let mean = Measure::mean(sum, row.get(3)?.integer()).value();
            Some((row.get(1)?.clone(), row.get(2)?.integer(), mean))
        };
        let mut rows: Vec<(Value, i64, Option<f64>)> =
            view.rows("policies").iter().filter_map(read).collect();
        largest_first(&mut rows, |row| row.1, |row| &row.0);
        vec![Table {
            name: "policies",
            columns: vec!["policy", "actions", "mean_confidence"],
            rows: rows.into_iter().map(|(name, count, mean)| vec![name, count.into(), mean.into()]).collect(),
        }]
    },
};

pub(crate) static RESPONSES: Metric = Metric {
    id: "X33_templates",
    title: "Bot message use",
    definition: "Bot messages by response, NULL for a text without one; the sessions that have it, as \
                 a share of those with a bot message; and of the sessions of the three ways to end \
                 that have it last, the abandoned ones.",
    unit: Unit::Count,
    charts: &[Chart::Table],
    counted: Counted::Mixed,
    sources: &[Source::Rasa],
    figures: &[count("messages", "bot messages")],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.rows("rasa_bot_message", "r.timestamp");
        let (count, weights) = (draft.count_messages(), draft.weights_of_messages());
        let messages = draft.per_slice(
            "messages",
            &format!(
                "SELECT {slice}, r.template_name, {count}, count(DISTINCT r.session_id)\n\
                 FROM {from}{weights}\nWHERE {kept}\nGROUP BY 1, 2"
            ),
        );
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.rows("rasa_bot_message", "r.timestamp");
        let sessions = draft.per_slice(
            "sessions",
            &format!("SELECT {slice}, count(DISTINCT r.session_id)\nFROM {from}\nWHERE {kept}\nGROUP BY 1"),
        );
        let last = crate::catalogue::ends::abandoned_by_response(scope);
        vec![messages, sessions, last]
    },
    values: |_, view| {
        let messages = view.rows("messages").iter().map(|row| row.get(2).map_or(0, Value::integer)).sum();
        vec![Measure::Count(messages)]
    },
    tables: |_, view| {
        let sessions = view.integer("sessions", 1);
        let pair = |row: &'_ Row| {
            let name = row.get(1)?.text().map(ToOwned::to_owned);
            Some((name, (row.get(2)?.integer(), row.get(3)?.integer())))
        };
        let last: BTreeMap<Option<String>, (i64, i64)> =
            view.all("by_last_template").iter().filter_map(pair).collect();
        let read = |row: &Row| Some((row.get(1)?.clone(), row.get(2)?.integer(), row.get(3)?.integer()));
        let mut rows: Vec<(Value, i64, i64)> = view.rows("messages").iter().filter_map(read).collect();
        largest_first(&mut rows, |row| row.1, |row| &row.0);
        let row = |(response, messages, with): (Value, i64, i64)| {
            let (abandoned, ended) =
                last.get(&response.text().map(ToOwned::to_owned)).copied().unwrap_or_default();
            vec![
                response,
                messages.into(),
                with.into(),
                Measure::share(with, sessions).value().into(),
                abandoned.into(),
                ended.into(),
                Measure::share(abandoned, ended).value().into(),
            ]
        };
        vec![Table {
            name: "responses",
            columns: vec![
                "response",
                "messages",
                "sessions",
                "share",
                "abandoned_last",
                "last",
                "abandonment",
            ],
            rows: rows.into_iter().map(row).collect(),
        }]
    },
};

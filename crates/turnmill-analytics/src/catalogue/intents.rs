//! Intents of messages.

use crate::answer::Table;
use crate::draft::Rows;
use crate::measure::Measure;
use crate::metric::{Chart, Counted, Metric, Source, Unit, count};
use crate::value::Query;
use crate::scope::Scope;

pub(crate) static TOP_INTENTS: Metric = Metric {
    id: "R6_top_intents",
    title: "Top N intents",
    definition: "Messages by intent, the most frequent first, with their share of all messages. \
                 Messages without an intent are a group.",
    unit: Unit::Count,
    charts: &[Chart::Bar, Chart::StackedBar],
    counted: Counted::Messages,
    sources: Source::ALL,
    figures: &[count("messages", "messages")],
    split: Some("by_intent"),
    plan: |scope| vec![messages(scope), by_intent(scope)],
    values: |_, view| vec![Measure::Count(view.integer("messages", 1))],
    tables: |scope, view| {
        let messages = view.integer("messages", 1);
        let rows = view.groups("by_intent").into_iter().take(scope.top).map(|(intent, count)| {
            vec![intent, count.into(), Measure::share(count, messages).value().into()]
        });
        vec![Table {
            name: "by_intent",
            columns: vec!["intent", "messages", "share"],
            rows: rows.collect(),
        }]
    },
};

pub(crate) fn messages(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.turns();
    draft.per_slice("messages", format!("SELECT {slice}, count(*)\nFROM {from}\nWHERE {kept}\nGROUP BY 1"))
}

fn by_intent(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.turns();
    draft.per_slice(
        "by_intent",
        format!("SELECT {slice}, t.intent, count(*)\nFROM {from}\nWHERE {kept}\nGROUP BY 1, 2"),
    )
}

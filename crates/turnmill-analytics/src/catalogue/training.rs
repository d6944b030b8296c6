//! Missed texts that may go into the training data.

use std::collections::BTreeMap;

use turnmill_model::Micros;

use crate::answer::Table;
use crate::catalogue::intents::ranked;
use crate::draft::{MESSAGE_OF_TURN, Rows};
use crate::measure::Measure;
use crate::metric::{Chart, Counted, Metric, Source, Unit, count};
use crate::scope::Scope;
use crate::texts::normal;
use crate::value::Value;
use crate::view::View;

pub(crate) static ADD_MISSED: Metric = Metric {
    id: "L22_add_missed",
    title: "Add Missed Utterances",
    definition: "Texts of missed turns, those that came most often first, without the texts that the \
                 training data has. Texts are equal in lower case with single spaces, and shown as \
                 they came most often. Each with the likeliest intent of its recogniser that is no \
                 fallback intent, when it was first and last seen, and its status: new, accepted or \
                 ignored.",
    unit: Unit::Rows,
    charts: &[Chart::Table],
    counted: Counted::Messages,
    sources: Source::ALL,
    figures: &[
        count("texts", "different missed texts that the training data does not have"),
        count("messages", "messages with these texts"),
    ],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.turns();
        let missed = draft.missed();
        let count = draft.count_turns(None);
        vec![draft.per_slice(
            "texts",
            &format!(
                "SELECT {slice}, m.text, e.intent_ranking, {count}, min(t.asked_at), max(t.asked_at)\n\
                 FROM {from}{MESSAGE_OF_TURN}\nLEFT JOIN ext_message e ON e.event_id = m.id\n\
                 WHERE {kept}\n  AND {missed} AND m.text IS NOT NULL\nGROUP BY 1, 2, 3"
            ),
        )]
    },
    values: |scope, view| {
        let texts = texts(scope, view);
        vec![
            Measure::Count(i64::try_from(texts.len()).unwrap_or(i64::MAX)),
            Measure::Count(texts.values().map(|text| text.count).sum()),
        ]
    },
    tables: |scope, view| {
        let mut texts: Vec<(String, Missed<'_>)> = texts(scope, view).into_iter().collect();
        // Stable: texts of equal counts stay in their order.
        texts.sort_by_key(|(_, text)| std::cmp::Reverse(text.count));
        let row = |(normal, text): (String, Missed<'_>)| {
            let status = scope.examples.status(&normal).name();
            vec![
                Value::from(most(&text.spellings)),
                text.count.into(),
                most(&text.intents).into(),
                text.first.into(),
                text.last.into(),
                status.into(),
            ]
        };
        vec![Table {
            name: "texts",
            columns: vec!["text", "messages", "suggested_intent", "first_seen", "last_seen", "status"],
            rows: texts.into_iter().take(scope.top).map(row).collect(),
        }]
    },
};

/// What is known of one missed text.
struct Missed<'r> {
    count: i64,
    spellings: BTreeMap<&'r str, i64>,
    intents: BTreeMap<String, i64>,
    first: Micros,
    last: Micros,
}

/// Returns the texts of missed turns that the training data does not have, by their normal form.
fn texts<'r>(scope: &Scope, view: &View<'r>) -> BTreeMap<String, Missed<'r>> {
    let mut texts: BTreeMap<String, Missed<'r>> = BTreeMap::new();
    for row in view.rows("texts") {
        let Some(spelling) = row.get(1).and_then(Value::text) else { continue };
        let text = normal(spelling);
        if text.is_empty() || scope.examples.knows(&text) {
            continue;
        }
        let count = row.get(3).map_or(0, Value::integer);
        let time = |column: usize| row.get(column).and_then(Value::time).unwrap_or_default();
        let known = texts.entry(text).or_insert(Missed {
            count: 0,
            spellings: BTreeMap::new(),
            intents: BTreeMap::new(),
            first: time(4),
            last: time(5),
        });
        known.count += count;
        *known.spellings.entry(spelling).or_default() += count;
        if let Some(intent) = ranked(scope, row.get(2)).first() {
            *known.intents.entry(intent.0.clone()).or_default() += count;
        }
        known.first = known.first.min(time(4));
        known.last = known.last.max(time(5));
    }
    texts
}

/// Returns the name with the greatest count, of equal ones the first.
fn most<K: AsRef<str>>(counts: &BTreeMap<K, i64>) -> Option<&str> {
    let greatest = counts.values().copied().max()?;
    counts.iter().find(|(_, count)| **count == greatest).map(|(name, _)| name.as_ref())
}

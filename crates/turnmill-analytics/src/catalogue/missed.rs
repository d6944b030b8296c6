//! Messages that the assistant did not understand.

use std::collections::BTreeMap;

use turnmill_model::Micros;

use crate::answer::Table;
use crate::catalogue::usage::{sessions, shares};
use crate::draft::{MESSAGE_OF_TURN, Rows};
use crate::measure::Measure;
use crate::metric::{Chart, Counted, Metric, Source, Unit, count, no_tables, no_values, share};
use crate::scope::Scope;
use crate::texts::{ALIKE, likeness, normal};
use crate::value::{Query, Row, Value};
use crate::view::View;

pub(crate) static FALLBACK: Metric = Metric {
    id: "X24_fallback",
    title: "Fallback rate",
    definition: "Share of missed turns: the assistant answered by falling back. The intent alone does \
                 not make a turn missed. Beside it messages with a fallback intent, the sessions \
                 with two missed turns in a row, and missed turns by the intent and the first \
                 response of the turn before.",
    unit: Unit::Percent,
    charts: &[Chart::Line, Chart::Table],
    counted: Counted::Messages,
    sources: Source::ALL,
    figures: &[
        share("missed", "missed turns", "turns"),
        share("fallback_intents", "messages with a fallback intent", "messages"),
        share("sessions_two_in_a_row", "sessions with two missed turns in a row", "sessions"),
        count("taken_by_form", "messages with a fallback intent that a form took"),
    ],
    split: None,
    plan: |scope| {
        vec![
            turns(scope),
            in_a_row(scope).for_number("sessions_two_in_a_row"),
            sessions(scope).for_number("sessions_two_in_a_row"),
            by_preceding(scope),
        ]
    },
    values: |_, view| {
        let [turns, missed, intents, taken] = [1, 2, 3, 4].map(|column| view.integer("turns", column));
        vec![
            Measure::share(missed, turns),
            Measure::share(intents, turns),
            Measure::share(view.integer("in_a_row", 1), view.integer("sessions", 1)),
            Measure::Count(taken),
        ]
    },
    tables: |_, view| vec![preceding(view)],
};

pub(crate) fn turns(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let rows = draft.turns();
    let missed = draft.missed();
    let fallback = draft.list(&scope.definitions.fallback_intents);
    let (all, missed) = (draft.count_turns(None), draft.count_turns(Some(&missed)));
    let intents = draft.count_turns(Some(&format!("t.intent IN {fallback}")));
    let taken = draft.count_turns(Some(&format!("t.intent IN {fallback} AND t.form_took")));
    draft.totals("turns", &rows, &[&all, &missed, &intents, &taken]).summed(0)
}

/// Counts the sessions with two missed turns next to each other.
fn in_a_row(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    // Few sessions have two missed turns, so only these are read in the order of their turns.
    let missed = draft.missed();
    let rows = draft.sessions().and(&format!(
        "s.session_id IN (\n\
         SELECT session_id FROM (SELECT t.session_id, {missed} AS missed,\n\
         lag({missed}) OVER (PARTITION BY t.session_id ORDER BY t.asked_at, t.turn_id) AS before\n\
         FROM ext_turn t WHERE t.session_id IN (\n\
         SELECT t.session_id FROM ext_turn t WHERE {missed} GROUP BY t.session_id HAVING count(*) > 1)\n\
         ) q WHERE missed AND before)"
    ));
    draft.totals("in_a_row", &rows, &["count(*)"]).summed(0)
}

/// Counts missed turns by the turn before in their session.
fn by_preceding(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.turns();
    let missed = draft.missed();
    let count = draft.count_turns(None);
    let query = draft.per_slice("by_preceding", &format!(
            "SELECT {slice}, p.intent, p.response, {count}\nFROM {from}\nJOIN (\n\
             SELECT turn_id, lag(intent) OVER session AS intent, lag(first_template) OVER session AS response\n\
             FROM ext_turn WINDOW session AS (PARTITION BY session_id ORDER BY asked_at, turn_id)\n\
             ) p ON p.turn_id = t.turn_id\nWHERE {kept}\n  AND {missed}\nGROUP BY 1, 2, 3"
        ),
    );
    query.for_list("by_preceding")
}

fn preceding(view: &View<'_>) -> Table {
    let mut rows: Vec<Row> =
        view.all("by_preceding").iter().map(|row| row.iter().skip(1).cloned().collect()).collect();
    rows.sort_by(|one: &Row, other: &Row| {
        let count = |row: &Row| row.get(2).map_or(0, Value::integer);
        let names = |row: &Row, column: usize| {
            let (null, name) = row.get(column).map(Value::name_order).unwrap_or_default();
            (null, name.to_owned())
        };
        count(other)
            .cmp(&count(one))
            .then_with(|| names(one, 0).cmp(&names(other, 0)))
            .then_with(|| names(one, 1).cmp(&names(other, 1)))
    });
    Table { name: "by_preceding", columns: vec!["intent_before", "response_before", "missed"], rows }
}

pub(crate) static MISSED: Metric = Metric {
    id: "L7_missed",
    title: "Missed Utterances",
    definition: "Missed turns, with their share of all turns, by the intent of the message before in \
                 the session.",
    unit: Unit::Count,
    charts: &[Chart::Line, Chart::Bar],
    counted: Counted::Messages,
    sources: Source::ALL,
    figures: &[count("missed", "missed turns")],
    split: None,
    plan: |scope| vec![turns(scope), by_intent_before(scope)],
    values: |_, view| vec![Measure::Count(view.integer("turns", 2))],
    tables: |_, view| {
        vec![shares("by_intent_before", &["intent_before", "missed", "share"], view, "by_intent_before")]
    },
};

pub(crate) static MISSED_SHARE: Metric = Metric {
    id: "L8_missed_pct",
    title: "% Incoming Messages",
    definition: "Share of messages whose turn is missed.",
    unit: Unit::Percent,
    charts: &[Chart::Line],
    counted: Counted::Messages,
    sources: Source::ALL,
    figures: &[share("missed", "missed turns", "messages")],
    split: None,
    plan: |scope| vec![turns(scope)],
    values: |_, view| vec![Measure::share(view.integer("turns", 2), view.integer("turns", 1))],
    tables: no_tables,
};

pub(crate) static MISSED_BY_INTENT: Metric = Metric {
    id: "L9_missed_by_intent",
    title: "MissedUtterance for Intents",
    definition: "Missed turns by the intent of the message before in the session, NULL for the first \
                 message.",
    unit: Unit::Count,
    charts: &[Chart::Bar],
    counted: Counted::Messages,
    sources: Source::ALL,
    figures: &[],
    split: None,
    plan: |scope| vec![by_intent_before(scope)],
    values: no_values,
    tables: |_, view| {
        vec![shares("by_intent_before", &["intent_before", "missed", "share"], view, "by_intent_before")]
    },
};

pub(crate) static MISSED_SHARE_BY_INTENT: Metric = Metric {
    id: "L10_missed_share",
    title: "% MissedUtterance for Intents",
    definition: "Share of each intent among missed turns: the intent of the message before in the \
                 session, NULL for the first message.",
    unit: Unit::Percent,
    charts: &[Chart::Bar],
    counted: Counted::Messages,
    sources: Source::ALL,
    figures: &[],
    split: None,
    plan: |scope| vec![by_intent_before(scope)],
    values: no_values,
    tables: |_, view| {
        vec![shares("by_intent_before", &["intent_before", "missed", "share"], view, "by_intent_before")]
    },
};

pub(crate) static MISSED_HISTORY: Metric = Metric {
    id: "L11_missed_history",
    title: "Missed Utterances History",
    definition: "The newest missed turns: time, session, text, intent, channel, name and text of the \
                     first bot message of the turn.",
    unit: Unit::Rows,
    charts: &[Chart::Table],
    counted: Counted::Messages,
    sources: Source::ALL,
    figures: &[],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.turns();
        let missed = draft.missed();
        let top = scope.top;
        vec![draft.once(
            "missed",
            &format!(
                "SELECT slice, q.asked_at, q.session_id, q.text, q.intent, q.channel, q.first_template,\n\
                 (SELECT b.text FROM rasa_bot_message b WHERE b.session_id = q.session_id\n\
                 AND b.sequence_number > q.first AND b.sequence_number <= q.last\n\
                 ORDER BY b.sequence_number LIMIT 1)\nFROM (\n\
                 SELECT {slice} AS slice, t.asked_at, t.session_id, t.turn_id, m.text, t.intent, t.channel,\n\
                 t.first_template, rt.start_sequence_number AS first, rt.end_sequence_number AS last\n\
                 FROM {from}{MESSAGE_OF_TURN}\nWHERE {kept}\n  AND {missed}\n\
                 ORDER BY t.asked_at DESC, t.turn_id LIMIT {top}) q\nORDER BY q.asked_at DESC, q.turn_id"
            ),
        )]
    },
    values: no_values,
    tables: |_, view| {
        let row = |row: &Row| {
            let time = row.get(1).and_then(Value::time);
            std::iter::once(time.into()).chain(row.iter().skip(2).cloned()).collect()
        };
        vec![Table {
            name: "missed",
            columns: vec![
                "asked_at",
                "session_id",
                "text",
                "intent",
                "channel",
                "first_template",
                "first_message",
            ],
            rows: view.all("missed").iter().map(row).collect(),
        }]
    },
};

pub(crate) static UTTERANCES: Metric = Metric {
    id: "LN7_utterances",
    title: "Detected against missed",
    definition: "Texts of messages in lower case with single spaces: how often understood, how often \
                 missed, the last intent, first and last seen; those missed most often first.",
    unit: Unit::Rows,
    charts: &[Chart::Table],
    counted: Counted::Messages,
    sources: Source::ALL,
    figures: &[],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.turns();
        let missed = draft.missed();
        let count = draft.count_turns(None);
        vec![draft.once(
            "texts",
            &format!(
                "SELECT {slice}, m.text, {missed}, t.intent, {count}, min(t.asked_at), max(t.asked_at)\n\
                 FROM {from}{MESSAGE_OF_TURN}\nWHERE {kept}\nGROUP BY 1, 2, 3, 4"
            ),
        )]
    },
    values: no_values,
    tables: |scope, view| {
        let mut texts: BTreeMap<String, Utterance<'_>> = BTreeMap::new();
        for row in view.all("texts") {
            let text = normal(row.get(1).and_then(Value::text).unwrap_or_default());
            let time = |column: usize| row.get(column).and_then(Value::time).unwrap_or_default();
            let count = row.get(4).map_or(0, Value::integer);
            let known = texts.entry(text).or_insert(Utterance {
                detected: 0,
                missed: 0,
                intent: None,
                first: time(5),
                last: Micros(i64::MIN),
            });
            if row.get(2).is_some_and(Value::is_true) {
                known.missed += count;
            } else {
                known.detected += count;
            }
            known.first = known.first.min(time(5));
            if time(6) > known.last {
                (known.last, known.intent) = (time(6), row.get(3).and_then(Value::text));
            }
        }
        let mut texts: Vec<(String, Utterance<'_>)> = texts.into_iter().collect();
        // Stable: texts of equal counts stay in their order.
        texts.sort_by_key(|(_, text)| std::cmp::Reverse((text.missed, text.detected)));
        let row = |(text, about): (String, Utterance<'_>)| {
            let Utterance { detected, missed, intent, first, last } = about;
            vec![Value::Text(text), detected.into(), missed.into(), intent.into(), first.into(), last.into()]
        };
        vec![Table {
            name: "texts",
            columns: vec!["text", "detected", "missed", "last_intent", "first_seen", "last_seen"],
            rows: texts.into_iter().take(scope.top).map(row).collect(),
        }]
    },
};

pub(crate) static UNHANDLED: Metric = Metric {
    id: "X25_unhandled",
    title: "Unhandled message groups",
    definition: "Texts of missed turns in lower case with single spaces, and how often each came. The \
                 column `like` names the most frequent text whose runs of three characters are alike.",
    unit: Unit::Rows,
    charts: &[Chart::Table],
    counted: Counted::Messages,
    sources: Source::ALL,
    figures: &[count("groups", "different texts of missed turns")],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.turns();
        let missed = draft.missed();
        let count = draft.count_turns(None);
        let query = draft.per_slice(
            "texts",
            &format!(
                "SELECT {slice}, m.text, {count}\nFROM {from}{MESSAGE_OF_TURN}\nWHERE {kept}\n\
                 AND {missed}\nGROUP BY 1, 2"
            ),
        );
        vec![query.summed(1)]
    },
    values: |_, view| vec![Measure::Count(i64::try_from(unhandled(view).len()).unwrap_or(i64::MAX))],
    tables: |scope, view| {
        let texts: Vec<(String, i64)> = unhandled(view).into_iter().take(scope.top.max(FOLDED)).collect();
        let mut leaders: Vec<&str> = Vec::new();
        let mut rows = Vec::new();
        for (text, count) in &texts {
            let leader = leaders.iter().find(|leader| likeness(leader, text) >= ALIKE).copied();
            if leader.is_none() {
                leaders.push(text);
            }
            rows.push(vec![Value::Text(text.clone()), (*count).into(), leader.into()]);
        }
        rows.truncate(scope.top);
        vec![Table { name: "texts", columns: vec!["text", "messages", "like"], rows }]
    },
};

pub(crate) static REPEATS: Metric = Metric {
    id: "X26_repeat",
    title: "Repetition and rephrase",
    definition: "Neighbouring user texts of a session that are alike, as a share of all neighbouring \
                 pairs with a text that does not begin with `/`; and turns with the same first \
                 response as the turn before, as a share of turns that have one before. Texts are \
                 alike whose sets of runs of three characters have at least 80 % in common.",
    unit: Unit::Percent,
    charts: &[Chart::Line],
    counted: Counted::Messages,
    sources: Source::ALL,
    figures: &[
        share("texts", "neighbouring texts that are alike", "neighbouring texts"),
        share("responses", "turns with the response of the turn before", "turns with a turn before"),
    ],
    split: None,
    plan: |scope| vec![pairs_of_texts(scope), pairs_of_responses(scope)],
    values: |_, view| {
        let (mut alike, mut pairs) = (0, 0);
        for row in view.rows("texts") {
            let text = |column: usize| row.get(column).and_then(Value::text).map(normal);
            let (Some(before), Some(text)) = (text(1), text(2)) else { continue };
            if [&before, &text].iter().any(|text| text.starts_with('/')) {
                continue;
            }
            let count = row.get(3).map_or(0, Value::integer);
            pairs += count;
            if likeness(&before, &text) >= ALIKE {
                alike += count;
            }
        }
        vec![
            Measure::share(alike, pairs),
            Measure::share(view.integer("responses", 1), view.integer("responses", 2)),
        ]
    },
    tables: no_tables,
};

/// Most texts that are compared with each other.
const FOLDED: usize = 200;

/// What is known of one text.
struct Utterance<'r> {
    detected: i64,
    missed: i64,
    intent: Option<&'r str>,
    first: Micros,
    last: Micros,
}

/// Returns the texts of missed turns with their counts, the most frequent first.
fn unhandled(view: &View<'_>) -> Vec<(String, i64)> {
    let mut texts: BTreeMap<String, i64> = BTreeMap::new();
    for row in view.rows("texts") {
        let text = normal(row.get(1).and_then(Value::text).unwrap_or_default());
        *texts.entry(text).or_default() += row.get(2).map_or(0, Value::integer);
    }
    let mut texts: Vec<(String, i64)> = texts.into_iter().collect();
    // Stable: texts of equal counts stay in their order.
    texts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    texts
}

fn by_intent_before(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.turns();
    let missed = draft.missed();
    let count = draft.count_turns(None);
    let query = draft.per_slice("by_intent_before", &format!(
            "SELECT {slice}, p.intent, {count}\nFROM {from}\nJOIN (\n\
             SELECT turn_id, lag(intent) OVER (PARTITION BY session_id ORDER BY asked_at, turn_id) AS intent\n\
             FROM ext_turn) p ON p.turn_id = t.turn_id\nWHERE {kept}\n  AND {missed}\nGROUP BY 1, 2"
        ),
    );
    Query { per_slice: false, ..query }
}

/// Returns the pairs of neighbouring texts, each with its number.
fn pairs_of_texts(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.turns();
    let count = draft.count_turns(None);
    draft.per_slice(
        "texts",
        &format!(
            "SELECT {slice}, p.before, p.text, {count}\nFROM {from}{MESSAGE_OF_TURN}\nJOIN (\n\
             SELECT id, text, lag(text) OVER (PARTITION BY session_id ORDER BY sequence_number) AS before\n\
             FROM rasa_user_message) p ON p.id = m.id\nWHERE {kept}\n\
             AND p.text IS NOT NULL AND p.before IS NOT NULL\nGROUP BY 1, 2, 3"
        ),
    )
}

fn pairs_of_responses(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.turns();
    let (same, all) = (draft.count_turns(Some("p.response = t.first_template")), draft.count_turns(None));
    draft.per_slice("responses", &format!(
            "SELECT {slice}, {same}, {all}\n\
             FROM {from}\nJOIN (\n\
             SELECT turn_id, lag(turn_id) OVER session AS before, lag(first_template) OVER session AS response\n\
             FROM ext_turn WINDOW session AS (PARTITION BY session_id ORDER BY asked_at, turn_id)\n\
             ) p ON p.turn_id = t.turn_id\nWHERE {kept}\n  AND p.before IS NOT NULL\nGROUP BY 1"
        ),
    )
}

//! Search in the texts of users.

use crate::answer::Table;
use crate::draft::{MESSAGE_OF_TURN, Rows};
use crate::measure::Measure;
use crate::metric::{Chart, Counted, Metric, Source, Unit, count};
use crate::texts::holds;
use crate::value::{Row, Value};

pub(crate) static SEARCH: Metric = Metric {
    id: "X39_search",
    title: "Search",
    definition: "Messages whose text holds the text searched for, and the sessions with one: the newest \
                 of these with the number and the first of their matches. Case does not matter; the \
                 databases agree about that of ASCII, other letters are found as written, in lower \
                 and in upper case.",
    unit: Unit::Rows,
    charts: &[Chart::Table],
    counted: Counted::Messages,
    sources: Source::ALL,
    figures: &[
        count("messages", "messages whose text holds the text"),
        count("sessions", "sessions with such a message"),
    ],
    split: None,
    plan: |scope| {
        let Some(text) = &scope.text else { return Vec::new() };
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.turns();
        let (count, condition) = (draft.count_turns(None), holds(&mut draft, "m.text", text));
        let matches = draft.per_slice(
            "matches",
            &format!(
                "SELECT {slice}, {count}, count(DISTINCT t.session_id)\nFROM {from}{MESSAGE_OF_TURN}\n\
                 WHERE {kept}\n  AND {condition}\nGROUP BY 1"
            ),
        );
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.turns();
        let condition = holds(&mut draft, "m.text", text);
        let top = scope.top;
        let sessions = draft.once(
            "sessions",
            &format!(
                "SELECT q.session_id, r.sender_key, q.asked_at, q.matches, q.text, q.intent FROM (\n\
                 SELECT {slice} AS slice, t.session_id, t.sender_id, t.asked_at, m.text, t.intent,\n\
                 count(*) OVER (PARTITION BY t.session_id) AS matches,\n\
                 row_number() OVER (PARTITION BY t.session_id ORDER BY t.asked_at, t.turn_id) AS place\n\
                 FROM {from}{MESSAGE_OF_TURN}\nWHERE {kept}\n  AND {condition}) q\n\
                 JOIN rasa_sender r ON r.id = q.sender_id\nWHERE q.place = 1\n\
                 ORDER BY q.asked_at DESC, q.session_id LIMIT {top}"
            ),
        );
        vec![matches, sessions]
    },
    values: |_, view| (1..=2).map(|column| Measure::Count(view.integer("matches", column))).collect(),
    tables: |_, view| {
        let row = |row: &Row| {
            let mut row = row.clone();
            if let Some(time) = row.get_mut(2) {
                *time = time.time().into();
            }
            row
        };
        vec![Table {
            name: "sessions",
            columns: vec!["session_id", "sender_key", "asked_at", "matches", "text", "intent"],
            rows: view.all("sessions").iter().map(row).collect::<Vec<Vec<Value>>>(),
        }]
    },
};

//! Conversations one by one: a list with the filters of the metrics, and one with everything in it.
//!
//! A list's filters are those of metrics that count sessions, made by the same code. So the number
//! of conversations in a list is that of the metric with the same question.

use std::collections::BTreeSet;

use serde::Serialize;
use turnmill_model::Micros;
use turnmill_sql::Dialect;

use crate::bucket::{Bucket, DayBlock};
use crate::draft::{Draft, MESSAGE_OF_TURN, Rows};
use crate::names::StoreNames;
use crate::question::Question;
use crate::range::{Range, Span};
use crate::run::{AskError, ReadQueries};
use crate::scope::Scope;
use crate::texts::{holds, normal};
use crate::value::{Query, Row, Value};

mod transcript;

pub use transcript::{
    Conversation, EventKind, MarkerRow, OtherSession, SlotValue, TranscriptEvent, Turn, conversation,
    event_ids, sessions_named,
};

/// Filters that only lists of conversations have. All of them are combined.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListFilters {
    /// A part of the text of a user message, in any case.
    pub text: Option<String>,
    /// The sender's key.
    pub sender: Option<String>,
    /// A slot that has a value at the end.
    pub slot: Option<String>,
    /// The value of a slot at the end, as text.
    pub value: Option<String>,
    /// Minimum number of turns.
    pub min_turns: Option<i64>,
    /// Maximum number of turns.
    pub max_turns: Option<i64>,
    /// A turn took longer than this, in seconds.
    pub slower: Option<f64>,
    /// Whether a turn is missed.
    pub is_missed: bool,
    /// The text of a missed turn: the same in lower case, with single spaces.
    pub missed_text: Option<String>,
    /// Weekday and hour of the start; hours count in blocks of two.
    pub block: Option<DayBlock>,
}

/// Order of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListOrder {
    /// The newest first.
    #[default]
    Newest,
    /// The oldest first.
    Oldest,
    /// Those with most turns first.
    Turns,
    /// The longest first.
    Duration,
}

/// Part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListPage {
    /// Order of the list.
    pub order: ListOrder,
    /// Number of conversations before the part.
    pub offset: u32,
    /// Maximum number of conversations.
    pub limit: u32,
}

/// A list of conversations.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConversationList {
    /// Number of conversations that match.
    pub total: i64,
    /// A part of them.
    pub conversations: Vec<Listed>,
    /// The queries, with their bound values.
    pub sql: Vec<Query>,
}

/// A conversation of a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listed {
    /// Id of the session.
    pub session_id: Value,
    /// The sender's key.
    pub sender_key: Value,
    /// Time of its first event.
    pub started_at: Value,
    /// Seconds from its first to its last event.
    pub duration: Option<f64>,
    /// Channel.
    pub channel: Value,
    /// Environment.
    pub environment: Value,
    /// Model.
    pub model: Value,
    /// Number of turns.
    pub turns: i64,
    /// How it ended.
    pub ending: Value,
    /// Intent of its first message that has one.
    pub first_intent: Value,
    /// Text of its first user message.
    pub first_text: Value,
}

/// Returns the conversations that match a question and filters.
///
/// # Errors
///
/// Those of the store, and a store without facts.
pub async fn conversations<S: ReadQueries>(
    store: &mut S,
    question: &Question,
    filters: &ListFilters,
    page: ListPage,
) -> Result<ConversationList, AskError<S::Error>> {
    let dialect = store.dialect();
    let names = store
        .read(&StoreNames::queries_for(dialect, &question.definitions))
        .await
        .map_err(AskError::Store)?;
    let names = StoreNames::read(&names);
    if names.lacks_facts {
        return Err(AskError::NoFacts);
    }
    let scope = Scope::new(question, &names, dialect);
    let sessions = match &filters.missed_text {
        None => None,
        // The rule by which texts are equal is this crate's, not the database's.
        Some(text) => {
            let rows = store.read(&[missed_texts(&scope)]).await.map_err(AskError::Store)?;
            Some(sessions_with(&rows, &normal(text)))
        }
    };
    let queries =
        vec![total(&scope, filters, sessions.as_ref()), listed(&scope, filters, page, sessions.as_ref())];
    let rows = store.read(&queries).await.map_err(AskError::Store)?;
    let total = rows.first().and_then(|rows| rows.first()?.get(1)).map_or(0, Value::integer);
    let conversations = rows.get(1).into_iter().flatten().map(line).collect();
    Ok(ConversationList { total, conversations, sql: queries })
}

fn missed_texts(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.turns();
    let missed = draft.missed();
    draft.once(
        "missed",
        &format!(
            "SELECT {slice}, t.session_id, m.text\nFROM {from}{MESSAGE_OF_TURN}\nWHERE {kept}\n  AND {missed}"
        ),
    )
}

fn sessions_with(rows: &[Vec<Row>], text: &str) -> BTreeSet<String> {
    let rows = rows.first().into_iter().flatten();
    let session = |row: &Row| {
        let own = row.get(2)?.text().map(normal).unwrap_or_default();
        (own == text).then(|| row.get(1)?.text().map(ToOwned::to_owned)).flatten()
    };
    rows.filter_map(session).collect()
}

/// Returns the sessions of the list, as `s`, with its own conditions.
fn rows(
    draft: &mut Draft<'_>,
    scope: &Scope,
    filters: &ListFilters,
    sessions: Option<&BTreeSet<String>>,
) -> Rows {
    let mut rows = match filters.block {
        Some(block) => draft.sessions_in(&ranges(scope, block)),
        None => draft.sessions(),
    };
    let mut more = Vec::new();
    if let Some(text) = &filters.text {
        let holds = holds(draft, "u.text", text);
        more.push(format!(
            "EXISTS (SELECT 1 FROM rasa_user_message u WHERE u.session_id = s.session_id AND {holds})"
        ));
    }
    if let Some(sender) = &filters.sender {
        let sender = draft.bind(sender.as_str());
        more.push(format!(
            "s.session_id IN (SELECT id FROM rasa_session WHERE sender_id IN \
             (SELECT id FROM rasa_sender WHERE sender_key = {sender}))"
        ));
    }
    if filters.slot.is_some() || filters.value.is_some() {
        let mut slot = vec!["v.session_id = s.session_id AND v.value <> 'null'".to_owned()];
        if let Some(name) = &filters.slot {
            slot.push(format!("v.name = {}", draft.bind(name.as_str())));
        }
        if let Some(value) = &filters.value {
            // Values are JSON: a text has quotes there.
            let quoted = serde_json::to_string(value).unwrap_or_default();
            slot.push(format!(
                "v.value IN ({}, {})",
                draft.bind(value.as_str()),
                draft.bind(quoted.as_str())
            ));
        }
        let slot = slot.join(" AND ");
        more.push(format!("EXISTS (SELECT 1 FROM rasa_session_slot_state v WHERE {slot})"));
    }
    if let Some(turns) = filters.min_turns {
        more.push(format!("s.turns >= {}", draft.bind(turns)));
    }
    if let Some(turns) = filters.max_turns {
        more.push(format!("s.turns <= {}", draft.bind(turns)));
    }
    if let Some(seconds) = filters.slower {
        let micros = draft.bind((seconds * 1e6) as i64);
        more.push(format!(
            "s.session_id IN (SELECT t.session_id FROM ext_turn t WHERE t.response_us > {micros})"
        ));
    }
    if filters.is_missed {
        let missed = draft.missed();
        more.push(format!("s.session_id IN (SELECT t.session_id FROM ext_turn t WHERE {missed})"));
    }
    if let Some(sessions) = sessions {
        let list = draft.list(sessions);
        more.push(format!("s.session_id IN {list}"));
    }
    for condition in more {
        rows.kept.push_str("\n  AND ");
        rows.kept.push_str(&condition);
    }
    rows
}

/// Returns the hours of the range that are in a block.
fn ranges(scope: &Scope, block: DayBlock) -> Vec<Range> {
    let Some((covered, extent)) = scope.covered().zip(scope.extent) else { return Vec::new() };
    let span = Span { from: Some(covered.from), to: Some(covered.to) };
    let hours = Bucket::Hour.list(span, extent, scope.zone).unwrap_or_default();
    let is_in = |range: &Range| {
        let own = DayBlock::of(range.from, scope.zone);
        (own.weekday, own.hour / 2) == (block.weekday, block.hour / 2)
    };
    hours.into_iter().filter(is_in).collect()
}

fn total(scope: &Scope, filters: &ListFilters, sessions: Option<&BTreeSet<String>>) -> Query {
    let mut draft = scope.draft();
    let Rows { from, kept, .. } = rows(&mut draft, scope, filters, sessions);
    draft.once("total", &format!("SELECT 0, count(*)\nFROM {from}\nWHERE {kept}"))
}

fn listed(
    scope: &Scope,
    filters: &ListFilters,
    page: ListPage,
    sessions: Option<&BTreeSet<String>>,
) -> Query {
    let mut draft = scope.draft();
    let Rows { from, kept, .. } = rows(&mut draft, scope, filters, sessions);
    let ending = draft.ending();
    let time = draft.micros_between("s.started_at", "s.last_event_at");
    let order = match page.order {
        ListOrder::Newest => "s.started_at DESC, s.session_id DESC",
        ListOrder::Oldest => "s.started_at, s.session_id",
        ListOrder::Turns => "s.turns DESC, s.started_at DESC, s.session_id",
        ListOrder::Duration => "10 DESC, s.started_at DESC, s.session_id",
    };
    let ListPage { limit, offset, .. } = page;
    draft.once(
        "conversations",
        &format!(
            "SELECT s.session_id, r.sender_key, s.started_at, s.channel, s.environment, s.model_id, s.turns, \
             {ending},\n  s.first_intent, {time} AS micros,\n  (SELECT u.text FROM rasa_user_message u \
             WHERE u.session_id = s.session_id ORDER BY u.sequence_number LIMIT 1)\n\
             FROM {from}\nJOIN rasa_sender r ON r.id = s.sender_id\nWHERE {kept}\n\
             ORDER BY {order}\nLIMIT {limit} OFFSET {offset}"
        ),
    )
}

fn line(row: &Row) -> Listed {
    let cell = |column: usize| row.get(column).cloned().unwrap_or(Value::Null);
    Listed {
        session_id: cell(0),
        sender_key: cell(1),
        started_at: time(row.get(2)),
        channel: cell(3),
        environment: cell(4),
        model: cell(5),
        turns: cell(6).integer(),
        ending: cell(7),
        first_intent: cell(8),
        duration: cell(9).float().map(|micros| micros / 1e6),
        first_text: cell(10),
    }
}

/// Returns a time as every answer spells it.
fn time(cell: Option<&Value>) -> Value {
    let time: Option<Micros> = cell.and_then(Value::time);
    time.into()
}

/// Returns a query about one session.
fn of_session(dialect: Dialect, name: &'static str, sql: &str, session: &str) -> Query {
    let sql = sql.replace("{session}", &dialect.placeholder(1));
    Query { name, sql, values: vec![session.into()], per_slice: false, parts: Vec::new(), sum: None }
}

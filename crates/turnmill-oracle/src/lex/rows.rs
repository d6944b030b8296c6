//! The rows of the extension tables that only Lex fills, or fills in its own way.

use std::collections::{BTreeMap, HashMap};

use turnmill_model::tables::{self, Table};
use turnmill_model::text::{LONG, SHORT, cut};
use turnmill_model::{Body, EventId, Micros};
use uuid::Uuid;

use super::Written;
use super::object::{confidence, intent_of, number, scalar};
use crate::json::Json;
use crate::value::{OwnedValue, Tables};

/// Writes the rows of messages, slots and runs, and completes those of sessions and turns.
pub(crate) fn write(written: &[Written], tables: &mut Tables) {
    let numbers = sequence_numbers(tables);
    for object in written {
        push(tables, &tables::EXT_MESSAGE, |column| message(object, &numbers, column));
        for (id, kind, original, intent) in &object.slots {
            push(tables, &tables::EXT_SLOT, |column| match column {
                "event_id" => (*id).into(),
                "kind" => (*kind).into(),
                "original_value" => original.as_deref().map(|text| cut(text, LONG).to_owned()).into(),
                "intent" => short(intent.clone()),
                _ => OwnedValue::Null,
            });
        }
    }
    let mut sessions: BTreeMap<Uuid, Vec<&Written>> = BTreeMap::new();
    for object in written {
        sessions.entry(object.session).or_default().push(object);
    }
    let mut outcomes = HashMap::new();
    for (session, objects) in &sessions {
        outcomes.insert(*session, runs(*session, objects, tables));
    }
    complete(tables, &tables::EXT_SESSION, |row, column| {
        let OwnedValue::Id(id) = row[0] else { return None };
        let objects = sessions.get(&id)?;
        Some(match column {
            "assistant" => short(objects.iter().find_map(|object| object.object.assistant())),
            "locale" => short(objects.iter().find_map(|object| locale(object))),
            "source_system" => "lex".into(),
            "open_loop" => short(objects.last()?.active[1].clone()),
            "outcome" => outcomes.get(&id).copied().flatten().map(str::to_owned).into(),
            "is_test" => objects.iter().any(|object| is_test(object)).into(),
            _ => return None,
        })
    });
    let turns: HashMap<Uuid, &Written> = written
        .iter()
        .flat_map(|object| object.events.iter().map(move |event| (event, object)))
        .filter(|(event, _)| matches!(event.body, Body::User(_)))
        .map(|(event, object)| (event.id.turn(), object))
        .collect();
    complete(tables, &tables::EXT_TURN, |row, column| {
        let OwnedValue::Id(id) = row[0] else { return None };
        let object = turns.get(&id)?;
        Some(match column {
            "response_us" => OwnedValue::Null,
            "form" => short(object.active[0].clone()),
            "form_took" => object.took.into(),
            _ => return None,
        })
    });
    for rows in tables.values_mut() {
        rows.sort();
    }
}

fn push(tables: &mut Tables, table: &Table, value: impl Fn(&str) -> OwnedValue) {
    let row = table.columns.iter().map(|column| value(column.name)).collect();
    tables.entry(table.name).or_default().push(row);
}

/// Replaces the values of a table for which `value` returns one.
fn complete(tables: &mut Tables, table: &Table, value: impl Fn(&[OwnedValue], &str) -> Option<OwnedValue>) {
    for row in tables.entry(table.name).or_default() {
        for (place, column) in table.columns.iter().enumerate() {
            if let Some(value) = value(row, column.name) {
                row[place] = value;
            }
        }
    }
}

fn short(text: Option<String>) -> OwnedValue {
    text.map(|text| cut(&text, SHORT).to_owned()).into()
}

/// Returns the sequence number of each event.
fn sequence_numbers(tables: &Tables) -> HashMap<Uuid, i64> {
    let table = tables::public("rasa_event");
    let place = table.and_then(|table| table.column("sequence_number")).unwrap_or_default();
    let rows = tables.get("rasa_event").into_iter().flatten();
    rows.filter_map(|row| match (&row[0], &row[place]) {
        (OwnedValue::Id(id), OwnedValue::Integer(number)) => Some((*id, *number)),
        _ => None,
    })
    .collect()
}

fn locale(object: &Written) -> Option<String> {
    object.object.text("bot.localeId").map(|locale| locale.replace('_', "-"))
}

fn is_test(object: &Written) -> bool {
    let object = &object.object;
    object.text("bot.version").as_deref() == Some("DRAFT")
        && (object.text("bot.aliasName").as_deref() == Some("TestBotAlias")
            || object.text("bot.aliasId").as_deref() == Some("TSTALIASID"))
}

fn message(written: &Written, numbers: &HashMap<Uuid, i64>, column: &str) -> OwnedValue {
    let object = &written.object;
    let user = written.events.iter().find(|event| matches!(event.body, Body::User(_)));
    let at: EventId = user.map_or_else(|| object.id(), |event| event.id);
    let interpretations = object.interpretations();
    let first = interpretations.first().copied();
    let sentiment = |key: &str| {
        number(first.and_then(|first| first.get("sentimentResponse")?.get("sentimentScore")?.get(key)))
    };
    let transcription = match object.at("transcriptions") {
        Some(Json::List(items)) => items.first(),
        _ => None,
    };
    match column {
        "event_id" => at.into(),
        "locale" => short(locale(written)),
        "input_mode" => short(object.text("inputMode")),
        "is_missed" => object.missed().into(),
        "nlu_intent" => short(first.and_then(intent_of)),
        "intent_ranking" => {
            let named = interpretations.iter().filter_map(|item| Some((intent_of(item)?, confidence(item))));
            let items = named.take(5).map(|(name, confidence)| {
                let confidence = confidence.map_or(Json::Null, |number| Json::Number(spelled(number)));
                Json::Object(vec![("name".into(), Json::Text(name)), ("confidence".into(), confidence)])
            });
            let items: Vec<Json> = items.collect();
            (!items.is_empty()).then(|| Json::List(items).canonical()).into()
        }
        "sentiment_label" => {
            short(first.and_then(|first| scalar(first.get("sentimentResponse")?.get("sentiment"))))
        }
        "sentiment_score" => {
            sentiment("positive").zip(sentiment("negative")).map(|(one, other)| one - other).into()
        }
        "sentiment_positive" => sentiment("positive").into(),
        "sentiment_negative" => sentiment("negative").into(),
        "sentiment_neutral" => sentiment("neutral").into(),
        "sentiment_mixed" => sentiment("mixed").into(),
        "qna_found" => written.qna_found.into(),
        "weight" => 1.0.into(),
        "source_system" => "lex".into(),
        "intent" => short(object.intent()),
        "intent_state" => short(object.text("sessionState.intent.state")),
        "confirmation_state" => short(object.text("sessionState.intent.confirmationState")),
        "dialog_action" => short(object.action()),
        "slot_to_elicit" => short(object.slot_asked()),
        "response_reason" => short(object.text("responseReason")),
        "operation" => short(object.text("operationName")),
        "interpretation_source" => short(
            first
                .and_then(|first| scalar(first.get("interpretationSource")))
                .or_else(|| object.text("interpretationSource")),
        ),
        "transcription_confidence" => {
            number(transcription.and_then(|first| first.get("transcriptionConfidence"))).into()
        }
        "raw_text" => object
            .text("rawInputTranscript")
            .filter(|raw| object.text("inputTranscript").as_ref() != Some(raw))
            .map(|raw| cut(&raw, LONG).to_owned())
            .into(),
        "end_sequence_number" => {
            written.events.last().and_then(|last| numbers.get(&last.id.0).copied()).into()
        }
        _ => OwnedValue::Null,
    }
}

/// Spells a number as JSON writers do: with a decimal point.
fn spelled(number: f64) -> String {
    format!("{number:?}")
}

/// A stretch of objects with one intent.
struct Run<'w> {
    intent: String,
    objects: Vec<&'w Written>,
}

impl Run<'_> {
    fn is_fallback(&self) -> bool {
        matches!(self.intent.as_str(), "FallbackIntent" | "AMAZON.FallbackIntent")
    }

    fn is_closed(&self) -> bool {
        self.objects.last().is_some_and(|last| last.object.action().as_deref() == Some("Close"))
    }

    /// Returns how the run ended, which the next one may tell.
    fn status(&self, next: Option<&Run<'_>>) -> &'static str {
        let state = self.objects.last().and_then(|last| last.object.text("sessionState.intent.state"));
        match (self.is_closed(), state.as_deref(), next) {
            _ if self.is_fallback() => "failed",
            (true, Some("Failed"), _) => "failed",
            (true, Some("Fulfilled" | "ReadyForFulfillment"), _) => "done",
            (true, ..) => "abandoned",
            (false, _, Some(next)) if next.is_fallback() => "failed",
            (false, _, Some(_)) => "switched",
            (false, _, None) => "abandoned",
        }
    }
}

/// Writes the runs of a session. Returns its outcome.
fn runs(session: Uuid, objects: &[&Written], tables: &mut Tables) -> Option<&'static str> {
    let mut runs: Vec<Run<'_>> = Vec::new();
    for object in objects {
        let Some(intent) = object.object.intent() else { continue };
        match runs.last_mut().filter(|run| run.intent == intent && !run.is_closed()) {
            Some(run) => run.objects.push(object),
            None => runs.push(Run { intent, objects: vec![object] }),
        }
    }
    for (place, run) in runs.iter().enumerate() {
        let next = runs.get(place + 1);
        let id = run.objects[0].object.id().dialog_run("intent run");
        put_run(tables, session, id, None, &run.intent, "lex_intent", run.status(next), &run.objects, None);
        slot_runs(session, id, run, next, tables);
    }
    runs.last().map(|run| match run.status(None) {
        "done" => "success",
        "failed" => "failed",
        _ => "dropped",
    })
}

/// Writes the runs of the slots that a run asks for.
fn slot_runs(session: Uuid, parent: Uuid, run: &Run<'_>, next: Option<&Run<'_>>, tables: &mut Tables) {
    let asks = |object: &Written| match object.object.action().as_deref() {
        Some("ElicitSlot") => object.object.slot_asked(),
        _ => None,
    };
    let mut at = 0;
    while at < run.objects.len() {
        let Some(slot) = asks(run.objects[at]) else {
            at += 1;
            continue;
        };
        let count =
            run.objects[at..].iter().take_while(|object| asks(object).as_ref() == Some(&slot)).count();
        let asked = &run.objects[at..at + count];
        let after = run.objects.get(at + count);
        let status = match (after, next) {
            (Some(after), _) => {
                let filled = after.in_force.get(&slot).is_some_and(|held| held.value != "null");
                if filled { "done" } else { "failed" }
            }
            (None, Some(next)) if next.is_fallback() => "failed",
            (None, Some(_)) => "switched",
            (None, None) => "abandoned",
        };
        let id = asked[0].object.id().dialog_run("slot run");
        let name = format!("{}/{slot}", run.intent);
        let ended = after.map(|after| after.object.time.micros());
        put_run(tables, session, id, Some(parent), &name, "lex_slot", status, asked, ended);
        at += count;
    }
}

#[expect(clippy::too_many_arguments, reason = "they are the columns")]
fn put_run(
    tables: &mut Tables,
    session: Uuid,
    id: Uuid,
    parent: Option<Uuid>,
    name: &str,
    kind: &str,
    status: &str,
    objects: &[&Written],
    ended: Option<i64>,
) {
    let time =
        |object: Option<&&Written>| object.map(|object| object.object.time.micros()).unwrap_or_default();
    let (first, last) = (time(objects.first()), time(objects.last()));
    push(tables, &tables::EXT_DIALOG_RUN, |column| match column {
        "id" => id.into(),
        "session_id" => session.into(),
        "dialog_id" => cut(name, SHORT).into(),
        "kind" => kind.into(),
        "status" => status.into(),
        "started_at" => Micros(first).into(),
        "ended_at" => Micros(ended.unwrap_or(last)).into(),
        "steps" => OwnedValue::Integer(objects.len() as i64),
        "parent_id" => parent.into(),
        "weight" => 1.0.into(),
        _ => OwnedValue::Null,
    });
}

//! Writes the rows that single events of assistants with flows give: of tools and failed actions,
//! of who filled a slot, and of what made an answer.

use turnmill_model::tables::{CallRow, MessageFactsRow, SlotFactsRow, Text, Texts};
use turnmill_model::text::{SHORT, cut};
use turnmill_model::{Body, Changes, Event, EventId, SessionId};
use uuid::Uuid;

use crate::facts::SOURCE;

/// Writes the rows of `ext_call`, `ext_slot` and, of a bot message, `ext_message`. `turn` is the
/// turn that the event is in.
pub(crate) fn write(out: &mut Changes, event: &Event<'_>, session_id: SessionId, turn: Option<Uuid>) {
    let details = event.details.as_deref();
    let Changes { texts, message_facts, slot_facts, calls, .. } = out;
    let call = |texts: &mut Texts, kind: &str, [name, source]: [Option<&str>; 2], is_error| CallRow {
        event_id: event.id,
        session_id,
        turn_id: turn,
        kind: texts.add(kind),
        name: name.map(|name| short(texts, name)),
        source: source.map(|source| short(texts, source)),
        is_error,
    };
    match &event.body {
        Body::Tool { name, source, is_error } => {
            let row = call(texts, "tool", [name.as_deref(), source.as_deref()], *is_error);
            calls.inserts.push(row);
        }
        Body::Action { name, .. } if details.is_some_and(|details| details.has_failed) => {
            calls.inserts.push(call(texts, "action", [name.as_deref(), None], Some(true)));
        }
        Body::Slot { name: Some(_), .. } => {
            if let Some(filled_by) = details.and_then(|details| details.filled_by.as_deref()) {
                slot_facts.inserts.push(SlotFactsRow {
                    event_id: event.id,
                    kind: texts.add("slot"),
                    original_value: None,
                    intent: None,
                    filled_by: Some(short(texts, filled_by)),
                });
            }
        }
        Body::Bot { .. } => {
            if let Some(generated_by) = details.and_then(|details| details.generated_by.as_deref()) {
                let row = MessageFactsRow::new(event.id, texts.add(SOURCE));
                let generated_by = Some(short(texts, generated_by));
                message_facts.inserts.push(MessageFactsRow { generated_by, ..row });
            }
        }
        _ => {}
    }
}

/// Notes in its row that the assistant cannot do what the message `id` asks for. `has_row` says
/// whether the message has a row; `out` has to insert it.
pub(crate) fn miss(out: &mut Changes, id: EventId, has_row: bool) {
    if has_row {
        if let Some(row) = own_row(out, id) {
            row.is_missed = Some(true);
        }
    } else {
        let row = MessageFactsRow::new(id, out.texts.add(SOURCE));
        out.message_facts.inserts.push(MessageFactsRow { is_missed: Some(true), ..row });
    }
}

/// Returns the row of a message that these changes insert. It is one of the last ones.
pub(crate) fn own_row(out: &mut Changes, id: EventId) -> Option<&mut MessageFactsRow> {
    out.message_facts.inserts.iter_mut().rev().find(|row| row.event_id == id)
}

fn short(texts: &mut Texts, text: &str) -> Text {
    texts.add(cut(text, SHORT))
}

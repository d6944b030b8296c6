//! Writes an event's rows, and moves rows of this batch to another session.

use turnmill_model::tables::{
    ActionRow, BotMessageRow, CommandRow, EventErrorRow, EventRow, FlowStatusRow, FrameRow, SlotRow,
    SlotStateRow, Text, Texts, TurnRow, UserMessageRow,
};
use turnmill_model::text::{LONG, SHORT, cut, slot_path_name};
use turnmill_model::{Body, Changes, Command, Event, Micros, SenderId, SessionId, UserMessage};
use uuid::Uuid;

use crate::stack::TopFrame;

/// Combines an event with its session and its sequence number.
pub(crate) struct Context<'c, 'e> {
    pub(crate) event: &'c Event<'e>,
    pub(crate) session: SessionId,
    pub(crate) sequence_number: i64,
}

impl Context<'_, '_> {
    fn timestamp(&self) -> Micros {
        Micros(self.event.time.micros())
    }
}

fn short(texts: &mut Texts, text: &Option<impl AsRef<str>>) -> Option<Text> {
    text.as_ref().map(|text| texts.add(cut(text.as_ref(), SHORT)))
}

fn long(texts: &mut Texts, text: &Option<impl AsRef<str>>) -> Option<Text> {
    text.as_ref().map(|text| texts.add(cut(text.as_ref(), LONG)))
}

/// Writes the `rasa_event` row and the rows that depend on the event's type, but no turns and no
/// stack frames.
pub(crate) fn write_event(out: &mut Changes, context: &Context<'_, '_>) {
    let (event, session_id, sequence_number) = (context.event, context.session, context.sequence_number);
    let (id, sender_id, timestamp) = (event.id, event.sender, context.timestamp());
    let event_type = out.texts.add(cut(&event.event_type, SHORT));
    let model_id = short(&mut out.texts, &event.model_id);
    let environment = short(&mut out.texts, &event.environment);
    out.events.inserts.push(EventRow {
        id,
        sender_id,
        session_id,
        timestamp,
        event_type,
        model_id,
        environment,
        sequence_number,
    });
    match &event.body {
        Body::User(message) => write_user(out, context, message, model_id),
        Body::Bot { text, template_name } => out.bot_messages.inserts.push(BotMessageRow {
            id,
            event_id: id,
            sender_id,
            session_id,
            timestamp,
            template_name: short(&mut out.texts, template_name),
            text: long(&mut out.texts, text),
            model_id,
            sequence_number,
        }),
        Body::Action { name, policy, confidence } => out.actions.inserts.push(ActionRow {
            id,
            event_id: id,
            sender_id,
            session_id,
            name: short(&mut out.texts, name),
            confidence: *confidence,
            policy: short(&mut out.texts, policy),
            timestamp,
            model_id,
            sequence_number,
        }),
        Body::Slot { name: Some(name), value, .. } => write_slot(out, context, name, value),
        Body::Flow { status, flow_id: Some(flow_id), step_id } => {
            out.flow_statuses.inserts.push(FlowStatusRow {
                id,
                sender_id,
                session_id,
                flow_identifier: out.texts.add(cut(flow_id, SHORT)),
                flow_status: out.texts.add(status.as_str()),
                step_id: short(&mut out.texts, step_id),
                inserted_at: timestamp,
            });
        }
        Body::Slot { name: None, .. }
        | Body::Flow { flow_id: None, .. }
        | Body::Stack { .. }
        | Body::Agent { .. }
        | Body::Tool { .. }
        | Body::Unsupported
        | Body::SessionStarted
        | Body::SessionEnded
        | Body::Restart
        | Body::RoutingSessionEnded
        | Body::Form { .. }
        | Body::Rejected { .. }
        | Body::Pause
        | Body::Resume
        | Body::Inactive
        // The engine writes the events that it makes of an exchange, never the exchange itself.
        | Body::Exchange(_)
        | Body::Other => {}
    }
}

fn write_user(
    out: &mut Changes,
    context: &Context<'_, '_>,
    message: &UserMessage<'_>,
    model_id: Option<Text>,
) {
    let (event, session_id) = (context.event, context.session);
    let texts = &mut out.texts;
    let message_id = short(texts, &message.message_id);
    out.user_messages.inserts.push(UserMessageRow {
        id: event.id,
        event_id: event.id,
        sender_id: event.sender,
        session_id,
        intent: short(texts, &message.intent),
        retrieval_intent: short(texts, &message.retrieval_intent),
        confidence: message.confidence,
        text: long(texts, &message.text),
        timestamp: context.timestamp(),
        model_id,
        sequence_number: context.sequence_number,
        message_id,
    });
    for Command { index, command, flow, slot, options } in &message.commands {
        out.commands.inserts.push(CommandRow {
            id: event.id.command(*index),
            sender_id: event.sender,
            session_id,
            user_message_id: message_id,
            command: texts.add(cut(command, SHORT)),
            inserted_at: context.timestamp(),
            flow_identifier: short(texts, flow),
            set_slot_name: short(texts, slot),
            clarification_options: long(texts, options),
        });
    }
}

fn write_slot(out: &mut Changes, context: &Context<'_, '_>, name: &str, value: &str) {
    let event = context.event;
    let path = slot_path(event.sender, context.session, &slot_path_name(name));
    let texts = &mut out.texts;
    let path = texts.add(&path);
    let name = texts.add(cut(name, SHORT));
    let value = Some(texts.add(cut(value, LONG)));
    out.slots.inserts.push(SlotRow {
        id: event.id,
        event_id: event.id,
        sender_id: event.sender,
        session_id: context.session,
        slot_path: path,
        name,
        value,
        timestamp: context.timestamp(),
        sequence_number: context.sequence_number,
    });
    out.slot_states.inserts.push(SlotStateRow {
        id: path,
        sender_id: event.sender,
        session_id: context.session,
        name,
        value,
        timestamp: context.timestamp(),
    });
}

fn slot_path(sender: SenderId, session: SessionId, name: &str) -> String {
    let mut path = String::with_capacity(74 + name.len());
    let mut buffer = Uuid::encode_buffer();
    path.push_str(sender.0.as_hyphenated().encode_lower(&mut buffer));
    path.push('/');
    path.push_str(session.0.as_hyphenated().encode_lower(&mut buffer));
    path.push('/');
    path.push_str(name);
    path
}

/// Writes the turn that a `user` event opens.
pub(crate) fn write_turn(out: &mut Changes, context: &Context<'_, '_>, id: Uuid) {
    out.turns.inserts.push(TurnRow {
        id,
        sender_id: context.event.sender,
        session_id: context.session,
        start_sequence_number: context.sequence_number,
        end_sequence_number: context.sequence_number,
    });
}

/// Writes the stack frame that a `stack` event opens.
pub(crate) fn write_frame(out: &mut Changes, context: &Context<'_, '_>, top: &TopFrame<'_>) {
    out.frames.inserts.push(FrameRow {
        id: context.event.id,
        sender_id: context.event.sender,
        session_id: context.session,
        active_flow_identifier: short(&mut out.texts, &top.flow_id),
        flow_step_id: short(&mut out.texts, &top.step_id),
        inserted_at: context.timestamp(),
        start_sequence_number: context.sequence_number,
        end_sequence_number: context.sequence_number,
    });
}

/// Writes a row that tells which effect of the event failed, and why.
pub(crate) fn write_error(out: &mut Changes, context: &Context<'_, '_>, reason: &str, detail: &str) {
    let (reason, detail) = (out.texts.add(reason), out.texts.add(cut(detail, LONG)));
    out.event_errors.inserts.push(EventErrorRow {
        id: context.event.id,
        sender_id: context.event.sender,
        reason,
        detail,
    });
}

/// Sizes of the tables whose rows may move to another session, at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) sessions: usize,
    events: usize,
    bot_messages: usize,
    actions: usize,
    slots: usize,
    slot_states: usize,
    pub(crate) markers: usize,
    frames: usize,
    flow_statuses: usize,
    dialog_runs: usize,
    calls: usize,
}

impl Extent {
    pub(crate) fn of(out: &Changes) -> Self {
        Self {
            sessions: out.sessions.inserts.len(),
            events: out.events.inserts.len(),
            bot_messages: out.bot_messages.inserts.len(),
            actions: out.actions.inserts.len(),
            slots: out.slots.inserts.len(),
            slot_states: out.slot_states.inserts.len(),
            markers: out.markers.inserts.len(),
            frames: out.frames.inserts.len(),
            flow_statuses: out.flow_statuses.inserts.len(),
            dialog_runs: out.dialog_runs.inserts.len(),
            calls: out.calls.inserts.len(),
        }
    }
}

/// Moves the rows after `extent` that are in session `old` to session `new`.
///
/// They come from events that lead up to the begin of a session. A `user` event begins one, so
/// there are no user messages, turns and commands among them.
pub(crate) fn rename(out: &mut Changes, extent: Extent, sender: SenderId, old: SessionId, new: SessionId) {
    for row in out.sessions.inserts.iter_mut().skip(extent.sessions).filter(|row| row.id == old) {
        row.id = new;
    }
    macro_rules! rename {
        ($($table:ident),*) => {$(
            for row in out.$table.inserts.iter_mut().skip(extent.$table).filter(|row| row.session_id == old) {
                row.session_id = new;
            }
        )*};
    }
    rename!(events, bot_messages, actions, markers, frames, flow_statuses, dialog_runs, calls);
    for row in out.slots.inserts.iter_mut().skip(extent.slots).filter(|row| row.session_id == old) {
        row.session_id = new;
        row.slot_path = renamed_path(&mut out.texts, row.slot_path, sender, new);
    }
    for row in out.slot_states.inserts.iter_mut().skip(extent.slot_states).filter(|row| row.session_id == old)
    {
        row.session_id = new;
        row.id = renamed_path(&mut out.texts, row.id, sender, new);
    }
}

fn renamed_path(texts: &mut Texts, path: Text, sender: SenderId, session: SessionId) -> Text {
    // The name follows two ids of 36 characters, each with a slash.
    let name = texts.get(path).get(74..).unwrap_or_default().to_owned();
    texts.add(&slot_path(sender, session, &name))
}

/// Keeps the last state of each slot among the slot states from `start` on.
pub(crate) fn last_slot_states(out: &mut Changes, start: usize) {
    let (rows, texts) = (&mut out.slot_states.inserts, &out.texts);
    let run = rows.get(start..).unwrap_or_default();
    if run.len() < 2 {
        return;
    }
    // Backwards, so that the first state of a slot that is seen is its last one.
    //   slot a=1, slot b=2, slot a=3     -> keeps b=2, a=3
    let mut keep = vec![false; run.len()];
    let mut seen = std::collections::HashSet::with_capacity(run.len());
    for (index, row) in run.iter().enumerate().rev() {
        keep[index] = seen.insert(texts.get(row.id));
    }
    let mut index = 0;
    rows.retain(|_| {
        let kept = index < start || keep[index - start];
        index += 1;
        kept
    });
}

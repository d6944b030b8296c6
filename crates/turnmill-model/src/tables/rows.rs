//! Declares the documented `rasa_*` tables, each with its row type.

use uuid::Uuid;

use super::ColumnType::{self, Boolean, DateTime, Float, Id, Integer};
use super::{Column, Field, Index, LONG, Row, SHORT, Table, Text, Texts, Value};
use crate::{EventId, Micros, SenderId, SessionId, UserId};

table! {
    /// One conversation id of the assistant.
    RASA_SENDER, SenderRow, "rasa_sender" {
        /// Primary key.
        id: SenderId = ["id" Id],
        /// The wire's `sender_id`.
        sender_key: Text = ["sender_key" SHORT],
        /// First `input_channel` of the sender's `user` events.
        channel: Option<Text> = ["channel" SHORT, null],
        /// Least event time.
        first_seen: Micros = ["first_seen" DateTime],
        /// Greatest event time.
        last_seen: Micros = ["last_seen" DateTime],
        /// End user of the latest event that names one.
        user_id: Option<UserId> = ["user_id" Id, null references "rasa_user"],
        /// The assistant that the source names.
        assistant: Option<Text> = ["assistant" SHORT, null],
    }
    indexes: [("idx_rasa_sender_sender_key", ["sender_key"])]
}

table! {
    /// One end user (`user_id` of Rasa 3.16 and newer), over all of their conversations.
    RASA_USER, UserRow, "rasa_user" {
        /// Primary key.
        id: UserId = ["id" Id],
        /// The wire's `user_id`.
        user_key: Text = ["user_key" SHORT],
        /// Least time of the events that name the user.
        first_seen: Micros = ["first_seen" DateTime],
        /// Greatest time of the events that name the user.
        last_seen: Micros = ["last_seen" DateTime],
    }
    indexes: [("idx_rasa_user_user_key", ["user_key"])]
}

table! {
    /// One session of a sender.
    RASA_SESSION, SessionRow, "rasa_session" {
        /// Primary key.
        id: SessionId = ["id" Id],
        /// Sender of the session.
        sender_id: SenderId = ["sender_id" Id, references "rasa_sender"],
        /// Time of its first event.
        timestamp: Micros = ["timestamp" DateTime],
        /// Number of its first event.
        start_sequence_number: i64 = ["start_sequence_number" Integer],
        /// Number of its last event so far.
        end_sequence_number: i64 = ["end_sequence_number" Integer],
    }
    indexes: [("idx_rasa_session_sender_seq", ["sender_id", "start_sequence_number DESC"])]
}

table! {
    /// One turn: a `user` event and what follows it up to the next.
    RASA_TURN, TurnRow, "rasa_turn" {
        /// Primary key.
        id: Uuid = ["id" Id],
        /// Sender of the turn.
        sender_id: SenderId = ["sender_id" Id, references "rasa_sender"],
        /// Its session.
        session_id: SessionId = ["session_id" Id, references "rasa_session"],
        /// Number of its `user` event.
        start_sequence_number: i64 = ["start_sequence_number" Integer],
        /// Number of its last event so far.
        end_sequence_number: i64 = ["end_sequence_number" Integer],
    }
    indexes: [("idx_rasa_turn_sender_session_seq", ["sender_id", "session_id", "start_sequence_number DESC"])]
}

table! {
    /// One event of any type.
    RASA_EVENT, EventRow, "rasa_event" {
        /// Primary key.
        id: EventId = ["id" Id],
        /// Sender of the event.
        sender_id: SenderId = ["sender_id" Id, references "rasa_sender"],
        /// Its session.
        session_id: SessionId = ["session_id" Id, references "rasa_session"],
        /// The wire's `timestamp`.
        timestamp: Micros = ["timestamp" DateTime],
        /// The wire's `event`.
        event_type: Text = ["event_type" SHORT],
        /// `metadata.model_id`.
        model_id: Option<Text> = ["model_id" SHORT, null],
        /// Kafka header `RASA_ENVIRONMENT`.
        environment: Option<Text> = ["environment" SHORT, null],
        /// The event's number: strictly increasing inside its sender.
        sequence_number: i64 = ["sequence_number" Integer],
    }
    indexes: [
        ("idx_rasa_event_pattern_query", ["session_id", "timestamp ASC"]),
        ("idx_rasa_event_stack_query", ["sender_id", "session_id", "timestamp ASC"]),
        ("idx_rasa_event_was_processed", ["sender_id", "sequence_number"])
    ]
}

table! {
    /// One `bot` event.
    RASA_BOT_MESSAGE, BotMessageRow, "rasa_bot_message" {
        /// Primary key: the event's id.
        id: EventId = ["id" Id],
        /// Its event.
        event_id: EventId = ["event_id" Id, references "rasa_event"],
        /// Sender of the message.
        sender_id: SenderId = ["sender_id" Id, references "rasa_sender"],
        /// Its session.
        session_id: SessionId = ["session_id" Id, references "rasa_session"],
        /// The event's time.
        timestamp: Micros = ["timestamp" DateTime],
        /// Name of the response.
        template_name: Option<Text> = ["template_name" SHORT, null],
        /// The message.
        text: Option<Text> = ["text" LONG, null],
        /// The same value as in the event's row.
        model_id: Option<Text> = ["model_id" SHORT, null],
        /// The same value as in the event's row.
        sequence_number: i64 = ["sequence_number" Integer],
    }
    indexes: []
}

table! {
    /// One `user` event.
    RASA_USER_MESSAGE, UserMessageRow, "rasa_user_message" {
        /// Primary key: the event's id.
        id: EventId = ["id" Id],
        /// Its event.
        event_id: EventId = ["event_id" Id, references "rasa_event"],
        /// Sender of the message.
        sender_id: SenderId = ["sender_id" Id, references "rasa_sender"],
        /// Its session.
        session_id: SessionId = ["session_id" Id, references "rasa_session"],
        /// Name of the intent.
        intent: Option<Text> = ["intent" SHORT, null],
        /// Full retrieval intent name.
        retrieval_intent: Option<Text> = ["retrieval_intent" SHORT, null],
        /// Confidence, 0 to 1.
        confidence: Option<f64> = ["confidence" Float, null],
        /// The message.
        text: Option<Text> = ["text" LONG, null],
        /// The event's time.
        timestamp: Micros = ["timestamp" DateTime],
        /// The same value as in the event's row.
        model_id: Option<Text> = ["model_id" SHORT, null],
        /// The same value as in the event's row.
        sequence_number: i64 = ["sequence_number" Integer],
        /// The channel's id of the message.
        message_id: Option<Text> = ["message_id" SHORT, null],
    }
    indexes: []
}

table! {
    /// One `action` event.
    RASA_ACTION, ActionRow, "rasa_action" {
        /// Primary key: the event's id.
        id: EventId = ["id" Id],
        /// Its event.
        event_id: EventId = ["event_id" Id, references "rasa_event"],
        /// Sender of the action.
        sender_id: SenderId = ["sender_id" Id, references "rasa_sender"],
        /// Its session.
        session_id: SessionId = ["session_id" Id, references "rasa_session"],
        /// Name of the action.
        name: Option<Text> = ["name" SHORT, null],
        /// The policy's confidence.
        confidence: Option<f64> = ["confidence" Float, null],
        /// The policy.
        policy: Option<Text> = ["policy" SHORT, null],
        /// The event's time.
        timestamp: Micros = ["timestamp" DateTime],
        /// The same value as in the event's row.
        model_id: Option<Text> = ["model_id" SHORT, null],
        /// The same value as in the event's row.
        sequence_number: i64 = ["sequence_number" Integer],
    }
    indexes: []
}

table! {
    /// One `slot` event with a name.
    RASA_SLOT, SlotRow, "rasa_slot" {
        /// Primary key: the event's id.
        id: EventId = ["id" Id],
        /// Its event.
        event_id: EventId = ["event_id" Id, references "rasa_event"],
        /// Sender of the slot.
        sender_id: SenderId = ["sender_id" Id, references "rasa_sender"],
        /// Its session.
        session_id: SessionId = ["session_id" Id, references "rasa_session"],
        /// `<sender id>/<session id>/<name>`.
        slot_path: Text = ["slot_path" SHORT],
        /// Name of the slot.
        name: Text = ["name" SHORT],
        /// The value as JSON text.
        value: Option<Text> = ["value" LONG, null],
        /// The event's time.
        timestamp: Micros = ["timestamp" DateTime],
        /// The same value as in the event's row.
        sequence_number: i64 = ["sequence_number" Integer],
    }
    indexes: []
}

table! {
    /// The last value of one slot in one session.
    RASA_SESSION_SLOT_STATE, SlotStateRow, "rasa_session_slot_state" {
        /// Primary key: the slot path.
        id: Text = ["id" SHORT],
        /// Sender of the slot.
        sender_id: SenderId = ["sender_id" Id, references "rasa_sender"],
        /// Its session.
        session_id: SessionId = ["session_id" Id, references "rasa_session"],
        /// Name of the slot.
        name: Text = ["name" SHORT],
        /// The last value, as JSON text.
        value: Option<Text> = ["value" LONG, null],
        /// Time of the slot's last event in the session.
        timestamp: Micros = ["timestamp" DateTime],
    }
    indexes: []
}

/// One uploaded marker definition.
pub static RASA_PATTERNS: Table = Table {
    name: "rasa_patterns",
    doc: "One uploaded marker definition.",
    columns: &[
        column!("Primary key."; "id" Id),
        column!("Name of the marker."; "name" ColumnType::Text),
        column!("The marker's `description`."; "description" ColumnType::Text, null),
        column!("The marker's configuration, JSON."; "config" ColumnType::Text),
        column!("Whether it is evaluated."; "is_active" Boolean),
        column!("Time at which it was made."; "created_at" DateTime, wall_clock),
        column!("Time of its last change."; "updated_at" DateTime, wall_clock),
    ],
    indexes: &[],
    view: Some("rasa_pattern"),
};

table! {
    /// One application of a marker.
    RASA_MARKERS, MarkerRow, "rasa_markers" {
        /// Primary key: made of the pattern and the event.
        id: Uuid = ["id" Id],
        /// The pattern that applied.
        pattern_id: Uuid = ["pattern_id" Id, references "rasa_patterns"],
        /// Sender of the event.
        sender_id: SenderId = ["sender_id" Id, references "rasa_sender"],
        /// Its session.
        session_id: SessionId = ["session_id" Id, references "rasa_session"],
        /// The event at which the pattern applied.
        event_id: EventId = ["event_id" Id],
        /// `user` events before it in its session.
        num_preceding_user_turns: i64 = ["num_preceding_user_turns" Integer],
    }
    stamps: ["created_at"]
    indexes: []
    view: "rasa_marker"
}

table! {
    /// One `stack` event that applied.
    RASA_DIALOGUE_STACK_FRAME, FrameRow, "rasa_dialogue_stack_frame" {
        /// Primary key: the event's id.
        id: EventId = ["id" Id],
        /// Sender of the stack.
        sender_id: SenderId = ["sender_id" Id, references "rasa_sender"],
        /// Its session.
        session_id: SessionId = ["session_id" Id, references "rasa_session"],
        /// `flow_id` of the topmost frame.
        active_flow_identifier: Option<Text> = ["active_flow_identifier" SHORT, null],
        /// `step_id` of the topmost frame.
        flow_step_id: Option<Text> = ["flow_step_id" SHORT, null],
        /// The event's time.
        inserted_at: Micros = ["inserted_at" DateTime],
        /// Number of the `stack` event.
        start_sequence_number: i64 = ["start_sequence_number" Integer],
        /// Number of the session's last event before the next frame.
        end_sequence_number: i64 = ["end_sequence_number" Integer],
    }
    indexes: [(
        "idx_rasa_dialogue_stack_frame_sender_session_seq",
        ["sender_id", "session_id", "start_sequence_number DESC"]
    )]
}

table! {
    /// One command of a `user` event.
    RASA_LLM_COMMAND, CommandRow, "rasa_llm_command" {
        /// Primary key.
        id: Uuid = ["id" Id],
        /// Sender of the command.
        sender_id: SenderId = ["sender_id" Id, references "rasa_sender"],
        /// Its session.
        session_id: SessionId = ["session_id" Id, references "rasa_session"],
        /// `rasa_user_message.message_id` of its message.
        user_message_id: Option<Text> = ["user_message_id" SHORT, null],
        /// The command's name.
        command: Text = ["command" SHORT],
        /// The event's time.
        inserted_at: Micros = ["inserted_at" DateTime],
        /// Flow of `start flow`.
        flow_identifier: Option<Text> = ["flow_identifier" SHORT, null],
        /// Slot of `set slot`.
        set_slot_name: Option<Text> = ["set_slot_name" SHORT, null],
        /// Options of `clarify`, a JSON list.
        clarification_options: Option<Text> = ["clarification_options" LONG, null],
    }
    indexes: []
}

table! {
    /// One flow event.
    RASA_FLOW_STATUS, FlowStatusRow, "rasa_flow_status" {
        /// Primary key: the event's id.
        id: EventId = ["id" Id],
        /// Sender of the flow.
        sender_id: SenderId = ["sender_id" Id, references "rasa_sender"],
        /// Its session.
        session_id: SessionId = ["session_id" Id, references "rasa_session"],
        /// The flow.
        flow_identifier: Text = ["flow_identifier" SHORT],
        /// `started`, `completed`, `interrupted`, `resumed` or `cancelled`.
        flow_status: Text = ["flow_status" SHORT],
        /// The step.
        step_id: Option<Text> = ["step_id" SHORT, null],
        /// The event's time.
        inserted_at: Micros = ["inserted_at" DateTime],
    }
    indexes: []
}

table! {
    /// An event that was kept although an effect of it could not be had, e.g. a stack patch that
    /// does not apply.
    EVENT_ERROR, EventErrorRow, "_turnmill_event_error" {
        /// Primary key: the event's id.
        id: EventId = ["id" Id],
        /// Sender of the event.
        sender_id: SenderId = ["sender_id" Id, references "rasa_sender"],
        /// What could not be done: `stack_patch`.
        reason: Text = ["reason" SHORT],
        /// Why, for people.
        detail: Text = ["detail" LONG],
    }
    indexes: []
}

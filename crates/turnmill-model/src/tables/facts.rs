//! Declares the extension tables `ext_*`: facts that analysts ask for and that the documented
//! tables do not have.
//!
//! They are kept apart, so the `rasa_*` tables stay exactly as documented. Every row refers to a
//! row of a documented table by its key. The last two tables have no rows so far. They are for
//! sources to come.

use uuid::Uuid;

use super::ColumnType::{Boolean, DateTime, Float, Id, Integer};
use super::{Column, Field, LONG, Row, SHORT, Table, Text, Texts, Value};
use crate::{EventId, Micros, SenderId, SessionId};

table! {
    /// Facts of one session.
    EXT_SESSION, SessionFactsRow, "ext_session" {
        /// Primary key: the session.
        session_id: SessionId = ["session_id" Id, references "rasa_session"],
        /// Sender of the session.
        sender_id: SenderId = ["sender_id" Id, references "rasa_sender"],
        /// The sender's assistant.
        assistant: Option<Text> = ["assistant" SHORT, null],
        /// Time of its first event.
        started_at: Micros = ["started_at" DateTime],
        /// Time of its last event other than `inactive`.
        last_event_at: Micros = ["last_event_at" DateTime],
        /// Channel of its first message that has one.
        channel: Option<Text> = ["channel" SHORT, null],
        /// Environment of its first event that has one, slots apart.
        environment: Option<Text> = ["environment" SHORT, null],
        /// Model of its first event that has one, slots apart.
        model_id: Option<Text> = ["model_id" SHORT, null],
        /// Language and region.
        locale: Option<Text> = ["locale" SHORT, null],
        /// Kind of the source: `rasa`.
        source_system: Text = ["source_system" SHORT],
        /// Number of its user messages.
        user_messages: i64 = ["user_messages" Integer],
        /// Number of its bot messages, those before the first turn included.
        bot_messages: i64 = ["bot_messages" Integer],
        /// Number of its turns.
        turns: i64 = ["turns" Integer],
        /// Number of its turns with a bot message.
        answered_turns: i64 = ["answered_turns" Integer],
        /// Intent of its first message that has one.
        first_intent: Option<Text> = ["first_intent" SHORT, null],
        /// Intent of its last message that has one.
        last_intent: Option<Text> = ["last_intent" SHORT, null],
        /// Response with which the assistant had the last word.
        last_template: Option<Text> = ["last_template" SHORT, null],
        /// Form or flow that is active at its end.
        open_loop: Option<Text> = ["open_loop" SHORT, null],
        /// Whether it has a `pause`.
        is_handed_over: bool = ["is_handed_over" Boolean],
        /// Time of its first `pause`.
        handed_over_at: Option<Micros> = ["handed_over_at" DateTime, null],
        /// `success`, `failed` or `dropped`, where the source says it.
        outcome: Option<Text> = ["outcome" SHORT, null],
        /// Whether the source marked the session as a test.
        is_test: bool = ["is_test" Boolean],
        /// Why it ended, where the source says it.
        ended_reason: Option<Text> = ["ended_reason" SHORT, null],
        /// `explicit`, `restart`, `handoff`, `inactive`, `next_session` or `open`.
        ended_by: Text = ["ended_by" SHORT],
        /// Its first eight intents, equal neighbours merged, as a JSON list.
        intent_path: Text = ["intent_path" LONG],
    }
    indexes: []
}

table! {
    /// Facts of one turn.
    EXT_TURN, TurnFactsRow, "ext_turn" {
        /// Primary key: the turn.
        turn_id: Uuid = ["turn_id" Id, references "rasa_turn"],
        /// Its session.
        session_id: SessionId = ["session_id" Id, references "rasa_session"],
        /// Sender of the turn.
        sender_id: SenderId = ["sender_id" Id, references "rasa_sender"],
        /// Time of its user message.
        asked_at: Micros = ["asked_at" DateTime],
        /// Intent of its user message.
        intent: Option<Text> = ["intent" SHORT, null],
        /// Confidence of that intent, 0 to 1.
        confidence: Option<f64> = ["confidence" Float, null],
        /// Channel of its user message.
        channel: Option<Text> = ["channel" SHORT, null],
        /// Environment of its user message.
        environment: Option<Text> = ["environment" SHORT, null],
        /// Model of its user message.
        model_id: Option<Text> = ["model_id" SHORT, null],
        /// Microseconds from its user message to its first bot message.
        response_us: Option<i64> = ["response_us" Integer, null],
        /// Number of its bot messages.
        bot_messages: i64 = ["bot_messages" Integer],
        /// Response of its first bot message.
        first_template: Option<Text> = ["first_template" SHORT, null],
        /// Whether the assistant answered with a fallback action.
        default_fallback: bool = ["default_fallback" Boolean],
        /// Form or flow that was active when the message came.
        form: Option<Text> = ["form" SHORT, null],
        /// Whether that form took the message: NULL if it neither took nor rejected it.
        form_took: Option<bool> = ["form_took" Boolean, null],
        /// Microseconds of processing, where the source measures them.
        processing_us: Option<i64> = ["processing_us" Integer, null],
        /// Parts of the processing, as a JSON object of milliseconds.
        processing_parts: Option<Text> = ["processing_parts" LONG, null],
        /// How many turns of the source the row stands for: 1 unless the source is sampled.
        weight: f64 = ["weight" Float],
    }
    indexes: []
}

table! {
    /// Facts of one message.
    EXT_MESSAGE, MessageFactsRow, "ext_message" {
        /// Primary key: the event of the message.
        event_id: EventId = ["event_id" Id, references "rasa_event"],
        /// Language and region.
        locale: Option<Text> = ["locale" SHORT, null],
        /// `Text`, `Speech` or `DTMF`.
        input_mode: Option<Text> = ["input_mode" SHORT, null],
        /// Whether the assistant did not understand the message, where the source says it.
        is_missed: Option<bool> = ["is_missed" Boolean, null],
        /// Intent that the recogniser found, where it may differ from the message's.
        nlu_intent: Option<Text> = ["nlu_intent" SHORT, null],
        /// The five most likely intents with their confidence, as a JSON list.
        intent_ranking: Option<Text> = ["intent_ranking" LONG, null],
        /// Entities of the message, as a JSON list.
        entities: Option<Text> = ["entities" LONG, null],
        /// `POSITIVE`, `NEGATIVE`, `NEUTRAL` or `MIXED`.
        sentiment_label: Option<Text> = ["sentiment_label" SHORT, null],
        /// Sentiment, -1 to 1.
        sentiment_score: Option<f64> = ["sentiment_score" Float, null],
        /// Score of a positive sentiment, 0 to 1.
        sentiment_positive: Option<f64> = ["sentiment_positive" Float, null],
        /// Score of a negative sentiment, 0 to 1.
        sentiment_negative: Option<f64> = ["sentiment_negative" Float, null],
        /// Score of a neutral sentiment, 0 to 1.
        sentiment_neutral: Option<f64> = ["sentiment_neutral" Float, null],
        /// Score of a mixed sentiment, 0 to 1.
        sentiment_mixed: Option<f64> = ["sentiment_mixed" Float, null],
        /// Whether a knowledge base had an answer.
        qna_found: Option<bool> = ["qna_found" Boolean, null],
        /// Id of that answer.
        qna_id: Option<Text> = ["qna_id" SHORT, null],
        /// Score of that answer, 0 to 1.
        qna_score: Option<f64> = ["qna_score" Float, null],
        /// Question of the knowledge base that matched.
        qna_question: Option<Text> = ["qna_question" SHORT, null],
        /// Name of the knowledge base.
        qna_kb: Option<Text> = ["qna_kb" SHORT, null],
        /// What made the text of a bot message.
        generated_by: Option<Text> = ["generated_by" SHORT, null],
        /// How many messages of the source the row stands for: 1 unless the source is sampled.
        weight: f64 = ["weight" Float],
        /// Country of the client.
        country: Option<Text> = ["country" SHORT, null],
        /// Kind of the source: `rasa`.
        source_system: Text = ["source_system" SHORT],
        /// Lex: intent of the session state.
        intent: Option<Text> = ["intent" SHORT, null],
        /// Lex: state of that intent.
        intent_state: Option<Text> = ["intent_state" SHORT, null],
        /// Lex: confirmation state of that intent.
        confirmation_state: Option<Text> = ["confirmation_state" SHORT, null],
        /// Lex: type of the dialog action.
        dialog_action: Option<Text> = ["dialog_action" SHORT, null],
        /// Lex: slot that is asked for.
        slot_to_elicit: Option<Text> = ["slot_to_elicit" SHORT, null],
        /// Lex: reason of the response.
        response_reason: Option<Text> = ["response_reason" SHORT, null],
        /// Lex: name of the operation.
        operation: Option<Text> = ["operation" SHORT, null],
        /// Lex: what interpreted the message.
        interpretation_source: Option<Text> = ["interpretation_source" SHORT, null],
        /// Lex: confidence of the first transcription, 0 to 1.
        transcription_confidence: Option<f64> = ["transcription_confidence" Float, null],
        /// Lex: the transcript as heard, where it differs from the message.
        raw_text: Option<Text> = ["raw_text" LONG, null],
        /// Lex: number of the last event of the record.
        end_sequence_number: Option<i64> = ["end_sequence_number" Integer, null],
    }
    indexes: []
}

impl MessageFactsRow {
    /// Makes the row of a message of a source that is not sampled, with NULL in all other columns.
    #[must_use]
    pub fn new(event_id: EventId, source_system: Text) -> Self {
        Self {
            event_id,
            locale: None,
            input_mode: None,
            is_missed: None,
            nlu_intent: None,
            intent_ranking: None,
            entities: None,
            sentiment_label: None,
            sentiment_score: None,
            sentiment_positive: None,
            sentiment_negative: None,
            sentiment_neutral: None,
            sentiment_mixed: None,
            qna_found: None,
            qna_id: None,
            qna_score: None,
            qna_question: None,
            qna_kb: None,
            generated_by: None,
            weight: 1.0,
            country: None,
            source_system,
            intent: None,
            intent_state: None,
            confirmation_state: None,
            dialog_action: None,
            slot_to_elicit: None,
            response_reason: None,
            operation: None,
            interpretation_source: None,
            transcription_confidence: None,
            raw_text: None,
            end_sequence_number: None,
        }
    }
}

table! {
    /// One run of a dialog, flow or skill.
    EXT_DIALOG_RUN, DialogRunRow, "ext_dialog_run" {
        /// Primary key.
        id: Uuid = ["id" Id],
        /// Session in which it opened.
        session_id: SessionId = ["session_id" Id, references "rasa_session"],
        /// The source's id of the run.
        instance_id: Option<Text> = ["instance_id" SHORT, null],
        /// Name of the dialog, flow or skill.
        dialog_id: Text = ["dialog_id" SHORT],
        /// `waterfall`, `adaptive`, `topic`, `lex_intent`, `lex_slot`, `flow`, `pattern`, `skill`
        /// or `agent`.
        kind: Text = ["kind" SHORT],
        /// `done`, `canceled`, `failed`, `switched` or `abandoned`; NULL while it is open.
        status: Option<Text> = ["status" SHORT, null],
        /// Time at which it opened.
        started_at: Micros = ["started_at" DateTime],
        /// Time at which it ended.
        ended_at: Option<Micros> = ["ended_at" DateTime, null],
        /// Number of its steps.
        steps: Option<i64> = ["steps" Integer, null],
        /// Number of messages while it was the topmost open one.
        turns: Option<i64> = ["turns" Integer, null],
        /// The run that it hangs on.
        parent_id: Option<Uuid> = ["parent_id" Id, null],
        /// How it was entered.
        entered_by: Option<Text> = ["entered_by" SHORT, null],
        /// Why it opened or ended.
        reason: Option<Text> = ["reason" SHORT, null],
        /// How many runs of the source the row stands for: 1 unless the source is sampled.
        weight: f64 = ["weight" Float],
    }
    indexes: []
}

table! {
    /// Facts of one slot, attribute or entity that was set.
    EXT_SLOT, SlotFactsRow, "ext_slot" {
        /// Primary key: the event that set it.
        event_id: EventId = ["event_id" Id, references "rasa_event"],
        /// `slot`, `session_attribute` or `entity`.
        kind: Text = ["kind" SHORT],
        /// The value as the user said it.
        original_value: Option<Text> = ["original_value" LONG, null],
        /// Intent that the slot belongs to.
        intent: Option<Text> = ["intent" SHORT, null],
        /// What filled the slot.
        filled_by: Option<Text> = ["filled_by" SHORT, null],
    }
    indexes: []
}

table! {
    /// One call of a tool, or one action that failed.
    EXT_CALL, CallRow, "ext_call" {
        /// Primary key: the event of the call.
        event_id: EventId = ["event_id" Id, references "rasa_event"],
        /// Its session.
        session_id: SessionId = ["session_id" Id, references "rasa_session"],
        /// Its turn, if it is in one.
        turn_id: Option<Uuid> = ["turn_id" Id, null references "rasa_turn"],
        /// `tool` or `action`.
        kind: Text = ["kind" SHORT],
        /// Name of the tool or action.
        name: Option<Text> = ["name" SHORT, null],
        /// Where the tool comes from.
        source: Option<Text> = ["source" SHORT, null],
        /// Whether it failed, where the source says it.
        is_error: Option<bool> = ["is_error" Boolean, null],
    }
    indexes: []
}

table_to_come! {
    /// One span of a trace.
    EXT_SPAN, "ext_span" {
        /// Primary key.
        ["id" Id],
        /// Id of its trace.
        ["trace_id" SHORT, null],
        /// Its id in the trace.
        ["span_id" SHORT, null],
        /// Id of the span that it is part of.
        ["parent_id" SHORT, null],
        /// The service that it ran in.
        ["service" SHORT, null],
        /// The service that it called.
        ["target" SHORT, null],
        /// Its name.
        ["name" SHORT, null],
        /// `request`, `dependency` or `internal`.
        ["kind" SHORT, null],
        /// The operation that it is part of.
        ["operation" SHORT, null],
        /// Time at which it started.
        ["started_at" DateTime],
        /// Milliseconds that it took.
        ["duration_ms" Float, null],
        /// Milliseconds that none of its parts took.
        ["self_ms" Float, null],
        /// Whether it succeeded.
        ["success" Boolean, null],
        /// Code of its result.
        ["result_code" SHORT, null],
        /// The assistant.
        ["assistant" SHORT, null],
        /// `rasa_sender.sender_key` of its conversation.
        ["sender_key" SHORT, null],
        /// `rasa_user_message.message_id` of its message.
        ["message_id" SHORT, null],
        /// Its session, if it is found.
        ["session_id" Id, null],
        /// Its turn, if it is found.
        ["turn_id" Id, null],
        /// Its attributes, as a JSON object.
        ["attributes" LONG, null],
        /// How many spans of the source the row stands for: 1 unless the source is sampled.
        ["weight" Float],
    }
}

table_to_come! {
    /// One rating by a user.
    EXT_FEEDBACK, "ext_feedback" {
        /// Primary key.
        ["id" Id],
        /// Its session.
        ["session_id" Id, references "rasa_session"],
        /// The event that it is about.
        ["event_id" Id, null references "rasa_event"],
        /// The rating as given.
        ["value" SHORT, null],
        /// The rating as a number.
        ["score" Float, null],
        /// The user's words.
        ["comment" LONG, null],
        /// A label.
        ["tag" SHORT, null],
        /// Time at which it was given.
        ["created_at" DateTime],
    }
}

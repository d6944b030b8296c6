-- The tables of schema version 1, as a store had them before there was a second.
CREATE TABLE rasa_user (
    "id" TEXT NOT NULL PRIMARY KEY,
    "user_key" TEXT NOT NULL,
    "first_seen" TEXT NOT NULL,
    "last_seen" TEXT NOT NULL
);
CREATE UNIQUE INDEX idx_rasa_user_user_key ON rasa_user ("user_key");
CREATE TABLE rasa_sender (
    "id" TEXT NOT NULL PRIMARY KEY,
    "sender_key" TEXT NOT NULL,
    "channel" TEXT,
    "first_seen" TEXT NOT NULL,
    "last_seen" TEXT NOT NULL,
    "user_id" TEXT REFERENCES rasa_user ("id")
);
CREATE UNIQUE INDEX idx_rasa_sender_sender_key ON rasa_sender ("sender_key");
CREATE TABLE rasa_session (
    "id" TEXT NOT NULL PRIMARY KEY,
    "sender_id" TEXT NOT NULL REFERENCES rasa_sender ("id"),
    "timestamp" TEXT NOT NULL,
    "start_sequence_number" INTEGER NOT NULL,
    "end_sequence_number" INTEGER NOT NULL
);
CREATE INDEX idx_rasa_session_sender_seq ON rasa_session ("sender_id", "start_sequence_number" DESC);
CREATE TABLE rasa_turn (
    "id" TEXT NOT NULL PRIMARY KEY,
    "sender_id" TEXT NOT NULL REFERENCES rasa_sender ("id"),
    "session_id" TEXT NOT NULL REFERENCES rasa_session ("id"),
    "start_sequence_number" INTEGER NOT NULL,
    "end_sequence_number" INTEGER NOT NULL
);
CREATE INDEX idx_rasa_turn_sender_session_seq ON rasa_turn ("sender_id", "session_id", "start_sequence_number" DESC);
CREATE TABLE rasa_event (
    "id" TEXT NOT NULL PRIMARY KEY,
    "sender_id" TEXT NOT NULL REFERENCES rasa_sender ("id"),
    "session_id" TEXT NOT NULL REFERENCES rasa_session ("id"),
    "timestamp" TEXT NOT NULL,
    "event_type" TEXT NOT NULL,
    "model_id" TEXT,
    "environment" TEXT,
    "sequence_number" INTEGER NOT NULL
);
CREATE INDEX idx_rasa_event_pattern_query ON rasa_event ("session_id", "timestamp" ASC);
CREATE INDEX idx_rasa_event_stack_query ON rasa_event ("sender_id", "session_id", "timestamp" ASC);
CREATE INDEX idx_rasa_event_was_processed ON rasa_event ("sender_id", "sequence_number");
CREATE TABLE rasa_bot_message (
    "id" TEXT NOT NULL PRIMARY KEY,
    "event_id" TEXT NOT NULL REFERENCES rasa_event ("id"),
    "sender_id" TEXT NOT NULL REFERENCES rasa_sender ("id"),
    "session_id" TEXT NOT NULL REFERENCES rasa_session ("id"),
    "timestamp" TEXT NOT NULL,
    "template_name" TEXT,
    "text" TEXT,
    "model_id" TEXT,
    "sequence_number" INTEGER NOT NULL
);
CREATE TABLE rasa_user_message (
    "id" TEXT NOT NULL PRIMARY KEY,
    "event_id" TEXT NOT NULL REFERENCES rasa_event ("id"),
    "sender_id" TEXT NOT NULL REFERENCES rasa_sender ("id"),
    "session_id" TEXT NOT NULL REFERENCES rasa_session ("id"),
    "intent" TEXT,
    "retrieval_intent" TEXT,
    "confidence" REAL,
    "text" TEXT,
    "timestamp" TEXT NOT NULL,
    "model_id" TEXT,
    "sequence_number" INTEGER NOT NULL,
    "message_id" TEXT
);
CREATE TABLE rasa_action (
    "id" TEXT NOT NULL PRIMARY KEY,
    "event_id" TEXT NOT NULL REFERENCES rasa_event ("id"),
    "sender_id" TEXT NOT NULL REFERENCES rasa_sender ("id"),
    "session_id" TEXT NOT NULL REFERENCES rasa_session ("id"),
    "name" TEXT,
    "confidence" REAL,
    "policy" TEXT,
    "timestamp" TEXT NOT NULL,
    "model_id" TEXT,
    "sequence_number" INTEGER NOT NULL
);
CREATE TABLE rasa_slot (
    "id" TEXT NOT NULL PRIMARY KEY,
    "event_id" TEXT NOT NULL REFERENCES rasa_event ("id"),
    "sender_id" TEXT NOT NULL REFERENCES rasa_sender ("id"),
    "session_id" TEXT NOT NULL REFERENCES rasa_session ("id"),
    "slot_path" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "value" TEXT,
    "timestamp" TEXT NOT NULL,
    "sequence_number" INTEGER NOT NULL
);
CREATE TABLE rasa_session_slot_state (
    "id" TEXT NOT NULL PRIMARY KEY,
    "sender_id" TEXT NOT NULL REFERENCES rasa_sender ("id"),
    "session_id" TEXT NOT NULL REFERENCES rasa_session ("id"),
    "name" TEXT NOT NULL,
    "value" TEXT,
    "timestamp" TEXT NOT NULL
);
CREATE TABLE rasa_patterns (
    "id" TEXT NOT NULL PRIMARY KEY,
    "name" TEXT NOT NULL,
    "description" TEXT,
    "config" TEXT NOT NULL,
    "is_active" INTEGER NOT NULL,
    "created_at" TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')),
    "updated_at" TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now'))
);
CREATE UNIQUE INDEX _turnmill_patterns_active_name ON rasa_patterns ("name") WHERE "is_active";
CREATE VIEW rasa_pattern AS SELECT "id", "name", "description", "config", "is_active", "created_at", "updated_at" FROM rasa_patterns;
CREATE TABLE rasa_markers (
    "id" TEXT NOT NULL PRIMARY KEY,
    "pattern_id" TEXT NOT NULL REFERENCES rasa_patterns ("id"),
    "sender_id" TEXT NOT NULL REFERENCES rasa_sender ("id"),
    "session_id" TEXT NOT NULL REFERENCES rasa_session ("id"),
    "event_id" TEXT NOT NULL,
    "num_preceding_user_turns" INTEGER NOT NULL,
    "created_at" TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now'))
);
CREATE VIEW rasa_marker AS SELECT "id", "pattern_id", "sender_id", "session_id", "event_id", "num_preceding_user_turns", "created_at" FROM rasa_markers;
CREATE TABLE rasa_dialogue_stack_frame (
    "id" TEXT NOT NULL PRIMARY KEY,
    "sender_id" TEXT NOT NULL REFERENCES rasa_sender ("id"),
    "session_id" TEXT NOT NULL REFERENCES rasa_session ("id"),
    "active_flow_identifier" TEXT,
    "flow_step_id" TEXT,
    "inserted_at" TEXT NOT NULL,
    "start_sequence_number" INTEGER NOT NULL,
    "end_sequence_number" INTEGER NOT NULL
);
CREATE INDEX idx_rasa_dialogue_stack_frame_sender_session_seq ON rasa_dialogue_stack_frame ("sender_id", "session_id", "start_sequence_number" DESC);
CREATE TABLE rasa_llm_command (
    "id" TEXT NOT NULL PRIMARY KEY,
    "sender_id" TEXT NOT NULL REFERENCES rasa_sender ("id"),
    "session_id" TEXT NOT NULL REFERENCES rasa_session ("id"),
    "user_message_id" TEXT,
    "command" TEXT NOT NULL,
    "inserted_at" TEXT NOT NULL,
    "flow_identifier" TEXT,
    "set_slot_name" TEXT,
    "clarification_options" TEXT
);
CREATE TABLE rasa_flow_status (
    "id" TEXT NOT NULL PRIMARY KEY,
    "sender_id" TEXT NOT NULL REFERENCES rasa_sender ("id"),
    "session_id" TEXT NOT NULL REFERENCES rasa_session ("id"),
    "flow_identifier" TEXT NOT NULL,
    "flow_status" TEXT NOT NULL,
    "step_id" TEXT,
    "inserted_at" TEXT NOT NULL
);
CREATE TABLE _turnmill_event_error (
    "id" BLOB NOT NULL PRIMARY KEY,
    "sender_id" BLOB NOT NULL,
    "reason" TEXT NOT NULL,
    "detail" TEXT NOT NULL
);
CREATE TABLE _turnmill_meta (
    "name" TEXT NOT NULL PRIMARY KEY,
    "value" TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE _turnmill_migrations (
    "number" INTEGER NOT NULL PRIMARY KEY,
    "name" TEXT NOT NULL,
    "applied_at" TEXT NOT NULL
);
CREATE TABLE _turnmill_position (
    "source" TEXT NOT NULL,
    "partition" TEXT NOT NULL,
    "position" TEXT NOT NULL,
    PRIMARY KEY ("source", "partition")
) WITHOUT ROWID;
CREATE TABLE _turnmill_ledger (
    "source" TEXT NOT NULL PRIMARY KEY,
    "records" INTEGER NOT NULL,
    "events" INTEGER NOT NULL,
    "duplicates" INTEGER NOT NULL,
    "anonymised" INTEGER NOT NULL,
    "dead_letters" INTEGER NOT NULL,
    "skipped" INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE _turnmill_timeline (
    "sender_id" BLOB NOT NULL PRIMARY KEY,
    "version" INTEGER NOT NULL,
    "state" BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE _turnmill_history (
    "sender_id" BLOB NOT NULL,
    "number" INTEGER NOT NULL,
    "least" REAL NOT NULL,
    "greatest" REAL NOT NULL,
    "bytes" BLOB NOT NULL,
    PRIMARY KEY ("sender_id", "number")
);
CREATE INDEX _turnmill_history_time ON _turnmill_history ("sender_id", "greatest", "least", "number");
CREATE TABLE _turnmill_checkpoint (
    "sender_id" BLOB NOT NULL,
    "time" REAL NOT NULL,
    "state" BLOB NOT NULL,
    PRIMARY KEY ("sender_id", "time")
) WITHOUT ROWID;
CREATE TABLE _turnmill_dead_letter (
    "id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    "source" TEXT NOT NULL,
    "partition" TEXT NOT NULL,
    "place" TEXT NOT NULL,
    "reason" TEXT NOT NULL,
    "detail" TEXT NOT NULL,
    "payload" BLOB NOT NULL,
    "sender" TEXT,
    "time" REAL,
    "environment" TEXT,
    "record_key" BLOB,
    "headers" TEXT NOT NULL
);
CREATE TABLE _turnmill_pattern (
    "id" TEXT NOT NULL PRIMARY KEY,
    "number" INTEGER NOT NULL,
    "scopes" TEXT NOT NULL
) WITHOUT ROWID;

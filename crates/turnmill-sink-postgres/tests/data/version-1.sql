-- The tables of schema version 1, as a store had them before there was a second.
CREATE TABLE rasa_user (
    "id" varchar(36) COLLATE "C" NOT NULL PRIMARY KEY,
    "user_key" varchar(255) NOT NULL,
    "first_seen" timestamp(6) without time zone NOT NULL,
    "last_seen" timestamp(6) without time zone NOT NULL
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX idx_rasa_user_user_key ON rasa_user ("user_key");
CREATE TABLE rasa_sender (
    "id" varchar(36) COLLATE "C" NOT NULL PRIMARY KEY,
    "sender_key" varchar(255) NOT NULL,
    "channel" varchar(255),
    "first_seen" timestamp(6) without time zone NOT NULL,
    "last_seen" timestamp(6) without time zone NOT NULL,
    "user_id" varchar(36) COLLATE "C" REFERENCES rasa_user ("id")
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX idx_rasa_sender_sender_key ON rasa_sender ("sender_key");
CREATE TABLE rasa_session (
    "id" varchar(36) COLLATE "C" NOT NULL PRIMARY KEY,
    "sender_id" varchar(36) COLLATE "C" NOT NULL REFERENCES rasa_sender ("id"),
    "timestamp" timestamp(6) without time zone NOT NULL,
    "start_sequence_number" bigint NOT NULL,
    "end_sequence_number" bigint NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX idx_rasa_session_sender_seq ON rasa_session ("sender_id", "start_sequence_number" DESC);
CREATE TABLE rasa_turn (
    "id" varchar(36) COLLATE "C" NOT NULL PRIMARY KEY,
    "sender_id" varchar(36) COLLATE "C" NOT NULL REFERENCES rasa_sender ("id"),
    "session_id" varchar(36) COLLATE "C" NOT NULL REFERENCES rasa_session ("id"),
    "start_sequence_number" bigint NOT NULL,
    "end_sequence_number" bigint NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX idx_rasa_turn_sender_session_seq ON rasa_turn ("sender_id", "session_id", "start_sequence_number" DESC);
CREATE TABLE rasa_event (
    "id" varchar(36) COLLATE "C" NOT NULL PRIMARY KEY,
    "sender_id" varchar(36) COLLATE "C" NOT NULL REFERENCES rasa_sender ("id"),
    "session_id" varchar(36) COLLATE "C" NOT NULL REFERENCES rasa_session ("id"),
    "timestamp" timestamp(6) without time zone NOT NULL,
    "event_type" varchar(255) NOT NULL,
    "model_id" varchar(255),
    "environment" varchar(255),
    "sequence_number" bigint NOT NULL
);
CREATE INDEX idx_rasa_event_pattern_query ON rasa_event ("session_id", "timestamp" ASC);
CREATE INDEX idx_rasa_event_stack_query ON rasa_event ("sender_id", "session_id", "timestamp" ASC);
CREATE INDEX idx_rasa_event_was_processed ON rasa_event ("sender_id", "sequence_number");
CREATE TABLE rasa_bot_message (
    "id" varchar(36) COLLATE "C" NOT NULL PRIMARY KEY,
    "event_id" varchar(36) COLLATE "C" NOT NULL REFERENCES rasa_event ("id"),
    "sender_id" varchar(36) COLLATE "C" NOT NULL REFERENCES rasa_sender ("id"),
    "session_id" varchar(36) COLLATE "C" NOT NULL REFERENCES rasa_session ("id"),
    "timestamp" timestamp(6) without time zone NOT NULL,
    "template_name" varchar(255),
    "text" varchar(65535),
    "model_id" varchar(255),
    "sequence_number" bigint NOT NULL
);
CREATE TABLE rasa_user_message (
    "id" varchar(36) COLLATE "C" NOT NULL PRIMARY KEY,
    "event_id" varchar(36) COLLATE "C" NOT NULL REFERENCES rasa_event ("id"),
    "sender_id" varchar(36) COLLATE "C" NOT NULL REFERENCES rasa_sender ("id"),
    "session_id" varchar(36) COLLATE "C" NOT NULL REFERENCES rasa_session ("id"),
    "intent" varchar(255),
    "retrieval_intent" varchar(255),
    "confidence" double precision,
    "text" varchar(65535),
    "timestamp" timestamp(6) without time zone NOT NULL,
    "model_id" varchar(255),
    "sequence_number" bigint NOT NULL,
    "message_id" varchar(255)
);
CREATE TABLE rasa_action (
    "id" varchar(36) COLLATE "C" NOT NULL PRIMARY KEY,
    "event_id" varchar(36) COLLATE "C" NOT NULL REFERENCES rasa_event ("id"),
    "sender_id" varchar(36) COLLATE "C" NOT NULL REFERENCES rasa_sender ("id"),
    "session_id" varchar(36) COLLATE "C" NOT NULL REFERENCES rasa_session ("id"),
    "name" varchar(255),
    "confidence" double precision,
    "policy" varchar(255),
    "timestamp" timestamp(6) without time zone NOT NULL,
    "model_id" varchar(255),
    "sequence_number" bigint NOT NULL
);
CREATE TABLE rasa_slot (
    "id" varchar(36) COLLATE "C" NOT NULL PRIMARY KEY,
    "event_id" varchar(36) COLLATE "C" NOT NULL REFERENCES rasa_event ("id"),
    "sender_id" varchar(36) COLLATE "C" NOT NULL REFERENCES rasa_sender ("id"),
    "session_id" varchar(36) COLLATE "C" NOT NULL REFERENCES rasa_session ("id"),
    "slot_path" varchar(255) NOT NULL,
    "name" varchar(255) NOT NULL,
    "value" varchar(65535),
    "timestamp" timestamp(6) without time zone NOT NULL,
    "sequence_number" bigint NOT NULL
);
CREATE TABLE rasa_session_slot_state (
    "id" varchar(255) NOT NULL PRIMARY KEY,
    "sender_id" varchar(36) COLLATE "C" NOT NULL REFERENCES rasa_sender ("id"),
    "session_id" varchar(36) COLLATE "C" NOT NULL REFERENCES rasa_session ("id"),
    "name" varchar(255) NOT NULL,
    "value" varchar(65535),
    "timestamp" timestamp(6) without time zone NOT NULL
);
CREATE TABLE rasa_patterns (
    "id" varchar(36) COLLATE "C" NOT NULL PRIMARY KEY,
    "name" text NOT NULL,
    "description" text,
    "config" text NOT NULL,
    "is_active" boolean NOT NULL,
    "created_at" timestamp(6) without time zone NOT NULL DEFAULT ((now() AT TIME ZONE 'utc')),
    "updated_at" timestamp(6) without time zone NOT NULL DEFAULT ((now() AT TIME ZONE 'utc'))
);
CREATE UNIQUE INDEX _turnmill_patterns_active_name ON rasa_patterns ("name") WHERE "is_active";
CREATE VIEW rasa_pattern AS SELECT "id", "name", "description", "config", "is_active", "created_at", "updated_at" FROM rasa_patterns;
CREATE TABLE rasa_markers (
    "id" varchar(36) COLLATE "C" NOT NULL PRIMARY KEY,
    "pattern_id" varchar(36) COLLATE "C" NOT NULL REFERENCES rasa_patterns ("id"),
    "sender_id" varchar(36) COLLATE "C" NOT NULL REFERENCES rasa_sender ("id"),
    "session_id" varchar(36) COLLATE "C" NOT NULL REFERENCES rasa_session ("id"),
    "event_id" varchar(36) COLLATE "C" NOT NULL,
    "num_preceding_user_turns" bigint NOT NULL,
    "created_at" timestamp(6) without time zone NOT NULL DEFAULT ((now() AT TIME ZONE 'utc'))
);
CREATE VIEW rasa_marker AS SELECT "id", "pattern_id", "sender_id", "session_id", "event_id", "num_preceding_user_turns", "created_at" FROM rasa_markers;
CREATE TABLE rasa_dialogue_stack_frame (
    "id" varchar(36) COLLATE "C" NOT NULL PRIMARY KEY,
    "sender_id" varchar(36) COLLATE "C" NOT NULL REFERENCES rasa_sender ("id"),
    "session_id" varchar(36) COLLATE "C" NOT NULL REFERENCES rasa_session ("id"),
    "active_flow_identifier" varchar(255),
    "flow_step_id" varchar(255),
    "inserted_at" timestamp(6) without time zone NOT NULL,
    "start_sequence_number" bigint NOT NULL,
    "end_sequence_number" bigint NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX idx_rasa_dialogue_stack_frame_sender_session_seq ON rasa_dialogue_stack_frame ("sender_id", "session_id", "start_sequence_number" DESC);
CREATE TABLE rasa_llm_command (
    "id" varchar(36) COLLATE "C" NOT NULL PRIMARY KEY,
    "sender_id" varchar(36) COLLATE "C" NOT NULL REFERENCES rasa_sender ("id"),
    "session_id" varchar(36) COLLATE "C" NOT NULL REFERENCES rasa_session ("id"),
    "user_message_id" varchar(255),
    "command" varchar(255) NOT NULL,
    "inserted_at" timestamp(6) without time zone NOT NULL,
    "flow_identifier" varchar(255),
    "set_slot_name" varchar(255),
    "clarification_options" varchar(65535)
);
CREATE TABLE rasa_flow_status (
    "id" varchar(36) COLLATE "C" NOT NULL PRIMARY KEY,
    "sender_id" varchar(36) COLLATE "C" NOT NULL REFERENCES rasa_sender ("id"),
    "session_id" varchar(36) COLLATE "C" NOT NULL REFERENCES rasa_session ("id"),
    "flow_identifier" varchar(255) NOT NULL,
    "flow_status" varchar(255) NOT NULL,
    "step_id" varchar(255),
    "inserted_at" timestamp(6) without time zone NOT NULL
);
CREATE TABLE _turnmill_event_error (
    "id" uuid NOT NULL PRIMARY KEY,
    "sender_id" uuid NOT NULL,
    "reason" varchar(255) NOT NULL,
    "detail" varchar(65535) NOT NULL
);
CREATE TABLE _turnmill_meta (
    "name" text NOT NULL PRIMARY KEY,
    "value" text NOT NULL
) WITH (fillfactor = 80);
CREATE TABLE _turnmill_migrations (
    "number" bigint NOT NULL PRIMARY KEY,
    "name" text NOT NULL,
    "applied_at" timestamp(6) without time zone NOT NULL
);
CREATE TABLE _turnmill_position (
    "source" text NOT NULL,
    "partition" text NOT NULL,
    "position" text NOT NULL,
    PRIMARY KEY ("source", "partition")
) WITH (fillfactor = 80);
CREATE TABLE _turnmill_ledger (
    "source" text NOT NULL PRIMARY KEY,
    "records" bigint NOT NULL,
    "events" bigint NOT NULL,
    "duplicates" bigint NOT NULL,
    "anonymised" bigint NOT NULL,
    "dead_letters" bigint NOT NULL,
    "skipped" bigint NOT NULL
) WITH (fillfactor = 80);
CREATE TABLE _turnmill_timeline (
    "sender_id" uuid NOT NULL PRIMARY KEY,
    "version" bigint NOT NULL,
    "state" bytea NOT NULL
) WITH (fillfactor = 80);
CREATE TABLE _turnmill_history (
    "sender_id" uuid NOT NULL,
    "number" bigint NOT NULL,
    "least" double precision NOT NULL,
    "greatest" double precision NOT NULL,
    "bytes" bytea NOT NULL,
    PRIMARY KEY ("sender_id", "number")
);
CREATE INDEX _turnmill_history_time ON _turnmill_history ("sender_id", "greatest", "least", "number");
ALTER TABLE _turnmill_history ALTER COLUMN "bytes" SET STORAGE EXTERNAL;
CREATE TABLE _turnmill_checkpoint (
    "sender_id" uuid NOT NULL,
    "time" double precision NOT NULL,
    "state" bytea NOT NULL,
    PRIMARY KEY ("sender_id", "time")
) WITH (fillfactor = 80);
CREATE TABLE _turnmill_dead_letter (
    "id" bigint GENERATED BY DEFAULT AS IDENTITY NOT NULL PRIMARY KEY,
    "source" text NOT NULL,
    "partition" text NOT NULL,
    "place" text NOT NULL,
    "reason" text NOT NULL,
    "detail" text NOT NULL,
    "payload" bytea NOT NULL,
    "sender" text,
    "time" double precision,
    "environment" text,
    "record_key" bytea,
    "headers" text NOT NULL
);
CREATE TABLE _turnmill_pattern (
    "id" varchar(36) COLLATE "C" NOT NULL PRIMARY KEY,
    "number" bigint NOT NULL,
    "scopes" text NOT NULL
) WITH (fillfactor = 80);

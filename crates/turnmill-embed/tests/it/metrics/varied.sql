-- Makes a store of one assistant varied: every filter keeps some rows and drops others, and every
-- weight, rating, marker and cohort has some. Ids are hexadecimal, so a digit of them is chance
-- that is the same in both databases. The last digits of an event without content are 0.
UPDATE ext_session SET
    assistant = CASE WHEN substr(session_id, 36, 1) < '7' THEN 'parcels' END,
    environment = CASE WHEN substr(session_id, 35, 1) < '6' THEN 'production' WHEN substr(session_id, 35, 1) < 'b' THEN 'staging' END,
    locale = CASE WHEN substr(session_id, 34, 1) < '8' THEN 'en' WHEN substr(session_id, 34, 1) < 'c' THEN 'nb' END,
    model_id = CASE WHEN substr(session_id, 33, 1) < '6' THEN 'm1' WHEN substr(session_id, 33, 1) < 'c' THEN 'm2' WHEN substr(session_id, 33, 1) = 'f' THEN 'bot:DRAFT' END,
    source_system = CASE WHEN substr(session_id, 32, 1) < 'a' THEN 'rasa' ELSE 'lex_v2' END,
    outcome = CASE substr(session_id, 31, 1) WHEN '0' THEN 'success' WHEN '1' THEN 'dropped' WHEN '2' THEN 'failed' END,
    is_test = substr(session_id, 30, 1) < '3';
UPDATE ext_session SET channel = 'emulator' WHERE substr(session_id, 29, 1) = '0';
UPDATE ext_session SET ended_by = 'explicit' WHERE substr(session_id, 28, 1) = '0' AND ended_by <> 'open';
UPDATE ext_turn SET
    environment = CASE WHEN substr(turn_id, 36, 1) < '8' THEN 'production' WHEN substr(turn_id, 36, 1) < 'c' THEN 'staging' END,
    model_id = CASE WHEN substr(turn_id, 35, 1) < '8' THEN 'm1' WHEN substr(turn_id, 35, 1) < 'e' THEN 'm2' END,
    weight = CASE WHEN substr(turn_id, 34, 1) < '3' THEN 4 WHEN substr(turn_id, 34, 1) < '5' THEN 2 ELSE 1 END;
INSERT INTO ext_message (event_id, weight, source_system)
    SELECT id, 3, 'rasa' FROM rasa_bot_message WHERE substr(id, 28, 1) < '4';
UPDATE ext_message SET is_missed = TRUE
    WHERE event_id IN (SELECT id FROM rasa_user_message WHERE substr(id, 28, 1) = '0');
INSERT INTO rasa_patterns (id, name, config, is_active, created_at, updated_at) VALUES
    ('00000000-0000-4000-8000-000000000001', 'refund', '{}', FALSE, CURRENT_TIMESTAMP, CURRENT_TIMESTAMP),
    ('00000000-0000-4000-8000-000000000002', 'goal_sent', '{}', FALSE, CURRENT_TIMESTAMP, CURRENT_TIMESTAMP),
    ('00000000-0000-4000-8000-000000000003', 'upset', '{}', FALSE, CURRENT_TIMESTAMP, CURRENT_TIMESTAMP);
INSERT INTO rasa_markers (id, pattern_id, sender_id, session_id, event_id, num_preceding_user_turns, created_at)
    SELECT id, '00000000-0000-4000-8000-00000000000' || CASE WHEN substr(id, 28, 1) < '6' THEN '1' WHEN substr(id, 28, 1) < 'c' THEN '2' ELSE '3' END,
        sender_id, session_id, id, 2, CURRENT_TIMESTAMP
    FROM rasa_action WHERE substr(id, 27, 1) < '2';
INSERT INTO ext_feedback (id, session_id, value, score, created_at)
    SELECT turn_id, session_id, 'given', CASE WHEN substr(turn_id, 36, 1) < '8' THEN 4.5 ELSE 2 END, asked_at
    FROM ext_turn WHERE substr(turn_id, 33, 1) = '0';
INSERT INTO rasa_session_slot_state (id, sender_id, session_id, name, value, timestamp)
    SELECT turn_id, sender_id, session_id, 'stars', CASE WHEN substr(turn_id, 36, 1) < '6' THEN '"3"' WHEN substr(turn_id, 36, 1) < 'c' THEN '5' ELSE '"none"' END, asked_at
    FROM ext_turn WHERE substr(turn_id, 32, 1) = '0' AND NOT EXISTS (
        SELECT 1 FROM ext_turn o WHERE o.session_id = ext_turn.session_id AND substr(o.turn_id, 32, 1) = '0' AND o.turn_id < ext_turn.turn_id);
INSERT INTO rasa_llm_command (id, sender_id, session_id, command, inserted_at)
    SELECT turn_id, sender_id, session_id, CASE WHEN substr(turn_id, 36, 1) < '8' THEN 'human handoff' ELSE 'start flow' END, asked_at
    FROM ext_turn WHERE substr(turn_id, 31, 1) = '0';
INSERT INTO rasa_flow_status (id, sender_id, session_id, flow_identifier, flow_status, inserted_at)
    SELECT id, sender_id, session_id, CASE substr(id, 28, 1) WHEN '0' THEN 'pattern_human_handoff' WHEN '1' THEN 'pattern_internal_error' ELSE 'send_parcel' END,
        CASE WHEN substr(id, 27, 1) < 'c' THEN 'started' ELSE 'completed' END, timestamp
    FROM rasa_action WHERE substr(id, 26, 1) = '0';
INSERT INTO rasa_user (id, user_key, first_seen, last_seen)
    SELECT id, 'user ' || id, first_seen, last_seen FROM rasa_sender WHERE substr(id, 36, 1) = '0';
UPDATE rasa_sender SET user_id = (SELECT min(id) FROM rasa_user) WHERE substr(id, 36, 1) < '2';

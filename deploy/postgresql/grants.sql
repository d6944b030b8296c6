-- Lets a role read the tables and views of a turnmill store, and nothing else: not the tables
-- `_turnmill_*`, which hold the text of every event.
--
--   psql "$STORE" -v reader=analyst -f grants.sql
--   psql "$STORE" -v reader=analyst -v schema=analytics -f grants.sql
--
-- The role must exist. Run this as the owner of the tables, and again after an update of turnmill
-- that brings new tables or views.
\set ON_ERROR_STOP on
\if :{?schema} \else \set schema public \endif

GRANT USAGE ON SCHEMA :"schema" TO :"reader";

SET search_path TO :"schema";
GRANT SELECT ON
    rasa_user, rasa_sender, rasa_session, rasa_turn, rasa_event,
    rasa_user_message, rasa_bot_message, rasa_action, rasa_slot, rasa_session_slot_state,
    rasa_patterns, rasa_pattern, rasa_markers, rasa_marker,
    rasa_dialogue_stack_frame, rasa_llm_command, rasa_flow_status,
    ext_session, ext_turn, ext_message, ext_dialog_run, ext_slot, ext_call, ext_span, ext_feedback,
    turnmill_session, turnmill_turn, turnmill_user_message, turnmill_bot_message, turnmill_slot,
    turnmill_marker
TO :"reader";

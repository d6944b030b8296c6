//! Events of flows, skills, agents and tools, and the shape in which Mantle publishes events.

use super::conversation::{Conversation, Fields, quoted};
use super::random::Random;
use crate::json::{self, Json};

/// Flows and skills. The same few names, so that runs of one name lie on each other.
const FLOWS: [&str; 8] = [
    "transfer_money",
    "add_contact",
    "list_contacts",
    "pattern_collect_information",
    "pattern_cannot_handle",
    "pattern_session_start",
    "pattern_restart",
    "default_silence_timeout",
];

/// What an event has in Mantle's shape only.
#[derive(Clone, Debug)]
pub(crate) struct Mantle {
    event_id: Option<String>,
    sequence: Option<usize>,
    environment: Option<&'static str>,
}

impl Mantle {
    /// Makes those of event number `serial` of a conversation.
    pub(crate) fn new(conversation: u8, serial: usize) -> Self {
        Self {
            event_id: (!serial.is_multiple_of(7))
                .then(|| format!("01a00b8a-{conversation:04x}-7000-8000-{serial:012x}")),
            sequence: (!serial.is_multiple_of(5)).then_some(serial),
            environment: [None, Some("staging"), Some("RASA_ENVIRONMENT_NOT_SET")][serial % 3],
        }
    }

    /// Returns the members of the record, of which `fields` are those of the flat shape.
    pub(crate) fn members(&self, fields: &[(String, String)]) -> Vec<(String, String)> {
        let (mut members, mut payload, mut name) = (Vec::new(), Vec::new(), String::new());
        let mut session_id = "null".to_owned();
        for (key, json) in fields {
            match key.as_str() {
                "event" => {
                    if let Some(Json::Text(text)) = json::parse(json) {
                        name = text;
                    }
                }
                "sender_id" => members.push(("conversation_id".to_owned(), json.clone())),
                "timestamp" | "user_id" => members.push((key.clone(), json.clone())),
                "metadata" => {
                    let id = json::parse(json).and_then(|metadata| metadata.get("session_id").cloned());
                    session_id = id.unwrap_or(Json::Null).canonical();
                    members.push((key.clone(), quoted(json)));
                }
                "value" if name.starts_with("memory") => {
                    payload.push(format!("\"value_json\": {}", quoted(json)));
                }
                _ => payload.push(format!("{}: {json}", quoted(key))),
            }
        }
        members.insert(1, (name, format!("{{{}}}", payload.join(", "))));
        let text = |text: &Option<&str>| text.map_or("null".to_owned(), quoted);
        members.push(("session_id".to_owned(), session_id));
        members.push(("event_id".to_owned(), text(&self.event_id.as_deref())));
        members.push((
            "sequence".to_owned(),
            self.sequence.map_or("null".to_owned(), |number| number.to_string()),
        ));
        members.push(("deployment_environment".to_owned(), text(&self.environment)));
        members
    }
}

impl Conversation<'_> {
    /// Writes one event of a flow, a skill or an agent. Now and then a frame goes on.
    pub(super) fn dialog(&mut self, random: &mut Random) {
        let (name, frame) = (random.pick(&FLOWS), random.below(4));
        let step = random.pick(&["END", "NEXT:END", "transfer_money_0_collect_amount"]);
        let agent = random.pick(&["finder", "desk"]);
        let fields = match random.below(18) {
            0..=4 => self.opened(random, Fields::new("flow_started").text("flow_id", name), frame),
            5 => self.opened(random, Fields::new("skill_activated").text("skill_id", name), frame),
            6 | 7 => Fields::new("flow_completed").text("flow_id", name).text("step_id", step),
            8 | 9 => Fields::new("flow_cancelled").text("flow_id", name).text("step_id", step),
            10 => Fields::new("flow_interrupted").text("flow_id", name),
            11 => Fields::new("flow_resumed").text("flow_id", name),
            12 => Fields::new(random.pick(&["skill_completed", "skill_cancelled", "skill_interrupted"]))
                .text("skill_id", name),
            13 => Fields::new("skill_resumed").text("skill_id", name),
            14 => Fields::new("agent_completed")
                .text("agent_id", agent)
                .text("flow_id", name)
                .raw("status", random.pick(&["null", "\"completed\"", "\"input_required\""])),
            15 => Fields::new("agent_cancelled").text("agent_id", agent).raw("reason", "\"timed out\""),
            _ => {
                let event = random.pick(&["agent_started", "agent_resumed", "agent_interrupted"]);
                let fields = Fields::new(event).text("agent_id", agent);
                if random.once_in(3) { fields } else { fields.text("flow_id", name) }
            }
        };
        self.emit(random, fields);
    }

    fn opened(&mut self, random: &mut Random, fields: Fields, frame: usize) -> Fields {
        let frame = if frame == 0 { String::new() } else { format!("\"frame_id\": \"F{frame}\", ") };
        let entered = random.pick(&[
            "\"frame_type\": \"regular\", ",
            "\"frame_type\": \"call\", ",
            "\"frame_type\": \"link\", ",
            "\"frame_type\": \"interrupt\", \"reason\": \"cannot_handle_default\", ",
            "\"error_type\": \"rasa_internal_error_default\", ",
            "",
        ]);
        fields.raw("metadata", self.metadata(&format!("{frame}{entered}")))
    }

    /// Writes what a turn of an assistant with flows says beside its flows.
    pub(super) fn works(&mut self, random: &mut Random) {
        let times = random.pick(&[
            "{\"rasa_processing_ms\": 904.0625, \"prediction_loop\": 92.70, \"command_processor\": 8e2}",
            "{\"rasa_processing_ms\": 0.0015}",
            "{\"rasa_processing_ms\": -1, \"prediction_loop\": 2}",
            "{\"rasa_processing_ms\": 7, \"b\": null, \"a\\u0000\": 1, \"a\": 2, \"ü\": NaN}",
            "5",
        ]);
        let timed = self.metadata(&format!("\"execution_times\": {times}, "));
        let fields = match random.below(9) {
            0 => Fields::new("bot_turn_ended").raw("metadata", timed),
            1 => Fields::new("action").text("name", "action_listen").raw("metadata", timed),
            2 => {
                let failed = self.metadata("\"execution_success\": false, ");
                Fields::new("action").text("name", "action_transfer").raw("metadata", failed)
            }
            3 => Fields::new(random.pick(&["mcp_tool_executed", "tool_executed"]))
                .text("tool_name", "lookup")
                .raw("is_error", random.pick(&["true", "false", "null"]))
                .raw("source", random.pick(&["\"local\"", "5"])),
            4 => Fields::new("slot").text("name", "amount").raw("value", "50").text("filled_by", "LLM"),
            5 => Fields::new("memory_set")
                .text("key", "amount")
                .raw("value", random.pick(&["50", "NaN", "\"x\""])),
            6 => Fields::new("memory_cleared").text("key", "amount"),
            7 => Fields::new("unsupported_request_classified").text("label", "in_domain_out_of_scope"),
            _ => {
                let source = random
                    .pick(&["\"utter_source\": \"FlowPolicy\", ", "\"mantle_response_source\": \"llm\", "]);
                Fields::new("bot").text("text", "Made.").raw("metadata", self.metadata(source))
            }
        };
        self.emit(random, fields);
    }
}

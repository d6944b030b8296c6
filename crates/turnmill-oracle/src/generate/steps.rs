//! The records of each kind of step.

use std::collections::BTreeMap;

use super::conversation::{Conversation, Dated, Fields, quoted};
use super::random::Random;
use super::{Kind, Options, OwnedRecord, Script, Step};
use crate::{json::Json, patch};

/// Renders `scripts`, which run at the same time, to records in the order of arrival.
#[must_use]
pub fn render(options: &Options, scripts: &[Script]) -> Vec<OwnedRecord> {
    let mut conversations: BTreeMap<u8, Conversation<'_>> = BTreeMap::new();
    let mut out = Vec::new();
    let rounds = scripts.iter().map(|script| script.steps.len()).max().unwrap_or(0);
    for round in 0..rounds {
        for script in scripts {
            let Some(step) = script.steps.get(round) else { continue };
            let conversation = conversations
                .entry(script.sender)
                .or_insert_with(|| Conversation::new(options, script.sender, script.style));
            conversation.perform(*step);
            out.append(&mut conversation.out);
        }
    }
    out
}

/// Types of Rasa Open Source that write a `rasa_event` row only, with their fields.
const MISC: [(&str, &str, &str); 22] = [
    ("rewind", "", ""),
    ("undo", "", ""),
    ("reset_slots", "", ""),
    ("pause", "", ""),
    ("resume", "", ""),
    ("followup", "name", "\"action_extract_slots\""),
    ("active_loop", "name", "\"parcel_form\""),
    ("active_loop", "name", "null"),
    ("form", "name", "\"parcel_form\""),
    ("form_validation", "validate", "false"),
    ("loop_interrupted", "is_interrupted", "true"),
    ("action_execution_rejected", "name", "\"parcel_form\""),
    ("user_featurization", "use_text_for_featurization", "true"),
    ("entities", "entities", "[]"),
    ("reminder", "intent", "\"EXTERNAL_due\""),
    ("cancel_reminder", "", ""),
    ("export", "", ""),
    ("agent", "text", "\"a human agent\""),
    ("topic", "topic", "\"legacy\""),
    ("conversation_inactive", "", ""),
    ("inactive", "", ""),
    ("action_execution_rejected", "name", "\"action_unlikely_intent\""),
];

const SLOTS: [&str; 5] = ["email", "size", "requested_slot", "größe", "session_started_metadata"];
const VALUES: [&str; 9] = [
    "\"a@b.example\"",
    "null",
    "{\"vip\": true, \"score\": 0.250}",
    "[1, 2,3]",
    "\"\"",
    "12345678901234567890123",
    "false",
    "-0.0",
    "\"gr\\u00f6\\u00dfe \\ud83e\\udd80\"",
];

impl Conversation<'_> {
    fn perform(&mut self, step: Step) {
        let random = &mut Random::new(step.detail);
        match step.kind {
            Kind::Message => self.message(random),
            Kind::Start => self.start(random),
            Kind::Slot => {
                for _ in 0..=random.below(2) {
                    let (name, value) = (random.pick(&SLOTS), random.pick(&VALUES));
                    self.slot(random, name, value);
                }
            }
            Kind::Bare => {
                let user = self.user_fields(random, None);
                self.emit(random, user);
            }
            Kind::Restart => self.restart(random),
            Kind::Form => self.form(random),
            Kind::Misc => {
                let (event, key, json) = random.pick(&MISC);
                let fields = Fields::new(event);
                self.emit(random, if key.is_empty() { fields } else { fields.raw(key, json) });
            }
            Kind::Boundary => match random.below(3) {
                0 => self.session_started(random),
                1 => self.action(random, "action_session_start"),
                _ => self.action(random, "action_listen"),
            },
            Kind::Pause => self.advance(random.pick(&[61.0, 600.5, 3_600.0, 90_000.25])),
            Kind::Late => self.dated = Dated::Back(random.pick(&[0.000_001, 0.3, 5.0, 700.0, 86_400.5])),
            Kind::WholeSecond => self.dated = Dated::Whole,
            Kind::Tie => self.dated = Dated::Tie,
            Kind::Dialog => self.dialog(random),
            Kind::Work => self.works(random),
            Kind::Mantle => self.mantle = !self.mantle,
            Kind::Flow => {
                let event = random.pick(&[
                    "flow_started",
                    "flow_completed",
                    "flow_interrupted",
                    "flow_resumed",
                    "flow_cancelled",
                ]);
                let mut fields = Fields::new(event);
                if !random.once_in(6) {
                    fields = fields.text(
                        "flow_id",
                        random.pick(&["transfer_money", "add_contact", "pattern_cannot_handle", ""]),
                    );
                }
                if event != "flow_started" {
                    fields = fields.text("step_id", random.pick(&["END", "2_ask_amount"]));
                }
                self.emit(random, fields);
            }
            Kind::Stack => {
                let update = self.fitting_patch(random);
                self.stack_event(random, &update);
            }
            Kind::BadStack => {
                let update = random.pick(&BAD_PATCHES);
                self.stack_event(random, update);
            }
            Kind::Commands => {
                let commands: Vec<&str> = (0..random.below(5)).map(|_| random.pick(&COMMANDS)).collect();
                let user = self.user_fields(random, Some(&format!("[{}]", commands.join(", "))));
                self.emit(random, user);
            }
            Kind::End => self.end(random),
            Kind::NewId => {
                self.ids += 1;
                self.session_id = Some(self.own_id(self.ids));
            }
            Kind::OldId => {
                let number = random.below(self.ids + 1);
                self.session_id = Some(self.own_id(number));
            }
            Kind::NoId => self.session_id = None,
            Kind::ClaimedId => {
                let number = random.below(3);
                self.session_id = Some(format!("ffffffff-abcd-4000-8000-{number:012x}"));
            }
            Kind::ForeignId => {
                let own = self.own_id(1000 + random.below(2));
                let fields = self.user_fields(random, None);
                let metadata = self.metadata_with("\"client\": \"web\", ", Some(&own));
                self.emit(random, fields.raw("metadata", metadata));
            }
            Kind::TwoIdStart => {
                self.ids += 2;
                let (first, second) = (self.own_id(self.ids - 1), self.own_id(self.ids));
                self.session_id = Some(first);
                self.slot(random, "session_started_metadata", "{\"two\": 1}");
                if random.once_in(2) {
                    self.slot(random, "email", "\"early\"");
                }
                self.session_id = Some(second);
                self.start(random);
            }
            Kind::OddId => self.odd_id(random),
            Kind::EndUser => {
                self.user_id = match random.below(4) {
                    0 => None,
                    1 => Some("customer \u{1f980}".to_owned()),
                    2 if self.options.hostile > 0 => Some(format!("{}\0", "customer".repeat(40))),
                    number => Some(format!("customer-{number}")),
                };
            }
            Kind::Environment => {
                let known = ["production", "RASA_ENVIRONMENT_NOT_SET", "", "staging\0"];
                self.environment =
                    random.pick(&[None, Some(0), Some(1), Some(2), Some(3)]).map(|n: usize| known[n].into());
            }
            Kind::WrongTypes => self.wrong_types(random),
            Kind::OddTexts => self.odd_texts(random),
            Kind::LongTexts => self.long_texts(random),
            Kind::Unknown => self.unknown(random),
            Kind::Unplaced => self.unplaced(random),
            Kind::Copy => self.copy(random),
            Kind::Anonymised => self.anonymised(random),
            Kind::NoEvent => self.no_event(random),
        }
    }

    pub(super) fn action(&mut self, random: &mut Random, name: &str) {
        let fields = Fields::new("action").text("name", name);
        let fields = match random.below(3) {
            0 => fields.raw("policy", "null").raw("confidence", "null"),
            1 => fields.text("policy", "RulePolicy").raw("confidence", "1"),
            _ => fields.text("policy", "policy_2_TEDPolicy").raw("confidence", "0.9398527419567108"),
        };
        let starts = name == "action_session_start";
        self.emit(random, fields.raw("action_text", "null").raw("hide_rule_turn", "false"));
        if starts {
            self.stack = Json::List(Vec::new());
        }
    }

    pub(super) fn session_started(&mut self, random: &mut Random) {
        self.emit(random, Fields::new("session_started"));
        self.stack = Json::List(Vec::new());
    }

    pub(super) fn slot(&mut self, random: &mut Random, name: &str, value: &str) {
        self.slots.push((name.to_owned(), value.to_owned(), self.session_id.clone()));
        self.emit(random, Fields::new("slot").text("name", name).raw("value", value));
    }

    fn bot(&mut self, random: &mut Random) {
        let fields = Fields::new("bot");
        let fields = match random.below(4) {
            0 => fields.raw("text", "null").raw("data", "{}"),
            1 => fields.text("text", "Said by a custom action."),
            2 => fields
                .text("text", "Hi!")
                .raw("metadata", self.metadata("\"template_name\": \"utter_old\", ")),
            _ => fields
                .text("text", "Hi!")
                .raw("metadata", self.metadata("\"utter_action\": \"utter_greet\", ")),
        };
        self.emit(random, fields);
    }

    pub(super) fn user_fields(&mut self, random: &mut Random, commands: Option<&str>) -> Fields {
        let text = random.pick(&[
            "hi",
            "my mail is a@b.example",
            "/inform{\"city\": \"Rome\"}",
            "",
            "EXTERNAL: due",
        ]);
        let message_id = format!("message{}", self.serial());
        let intent = random.pick(&[
            "{\"name\": \"greet\", \"confidence\": 0.8798527419567108}",
            "{\"name\": null, \"confidence\": 0.0}",
            "{\"name\": \"faq\", \"confidence\": 1, \"full_retrieval_intent_name\": \"faq/prices\"}",
            "{}",
            "{\"name\": \"nlu_fallback\", \"confidence\": 5.3e-13, \"full_retrieval_intent_name\": null}",
        ]);
        let commands = commands.map(|json| format!(", \"commands\": {json}")).unwrap_or_default();
        let parsed_id = if random.once_in(2) {
            format!(", \"message_id\": {}", quoted(&message_id))
        } else {
            String::new()
        };
        let entities = random.pick(&[
            "[]",
            "[{\"end\": 4, \"start\": 0, \"entity\": \"city\", \"value\": [1.50,null], \"processors\": []}, 5, {}]",
        ]);
        let ranking = random.pick(&[
            "[{\"name\": \"x\"}]",
            "[{\"name\": \"a\", \"confidence\": 0.50}, null, {\"name\": 7}, {}, {}, {\"confidence\": \"1\"}, {\"name\": \"b\"}]",
            "5",
        ]);
        let parse_data = format!(
            "{{\"text\": {}, \"intent\": {intent}{commands}, \"entities\": {entities}{parsed_id}, \"intent_ranking\": {ranking}}}",
            quoted(text)
        );
        let fields = Fields::new("user").text("text", text).raw("parse_data", parse_data);
        let fields = if random.once_in(4) {
            fields.raw("message_id", "null")
        } else {
            fields.text("message_id", &message_id)
        };
        match random.below(4) {
            0 => fields.raw("input_channel", "null"),
            1 => fields.text("input_channel", "socketio"),
            _ => fields.text("input_channel", "rest"),
        }
    }

    fn message(&mut self, random: &mut Random) {
        let user = self.user_fields(random, None);
        self.emit(random, user);
        if random.once_in(2) {
            self.emit(random, Fields::new("user_featurization").raw("use_text_for_featurization", "false"));
        }
        if random.once_in(3) {
            let first =
                random.pick(&["parcel_form", "action_unlikely_intent", "action_default_fallback", ""]);
            if first.is_empty() {
                self.emit(random, Fields::new("action_execution_rejected").text("name", "parcel_form"));
            } else {
                self.action(random, first);
            }
        }
        for _ in 0..random.below(3) {
            self.action(random, "utter_greet");
            self.bot(random);
        }
        self.action(random, "action_listen");
    }

    fn start(&mut self, random: &mut Random) {
        if random.once_in(2) {
            self.slot(random, "session_started_metadata", "{\"tester\": true}");
        }
        // A customised start omits the action or `session_started`.
        let left_out = random.below(8);
        let before = std::mem::take(&mut self.slots);
        if self.session_id.is_some() && random.once_in(2) {
            self.ids += 1;
            self.session_id = Some(self.own_id(self.ids));
        }
        if random.once_in(8) {
            // Rasa 1.9.6 to 1.10.2 also write `session_started` before the action.
            self.session_started(random);
        }
        if left_out != 0 {
            self.action(random, "action_session_start");
        }
        if left_out != 1 {
            self.session_started(random);
        }
        if random.once_in(6) {
            self.bot(random);
        }
        if random.once_in(3) {
            self.slots = before.into_iter().filter(|(name, ..)| name == "session_started_metadata").collect();
        } else {
            // Carried over with their old metadata.
            for (name, value, id) in before.iter().rev().take(5).rev() {
                let metadata = self.metadata_with("", id.as_deref());
                let fields = Fields::new("slot").text("name", name).raw("value", value.as_str());
                self.emit(random, fields.raw("metadata", metadata));
            }
            self.slots = before;
        }
        if !random.once_in(6) {
            self.action(random, "action_listen");
        }
    }

    fn restart(&mut self, random: &mut Random) {
        if !random.once_in(4) {
            let user = self.user_fields(random, None).text("text", "/restart");
            self.emit(random, user);
            self.action(random, "action_restart");
        }
        self.emit(random, Fields::new("restart"));
        self.stack = Json::List(Vec::new());
        self.slots.clear();
        if !random.once_in(3) {
            self.start(random);
        }
    }

    fn form(&mut self, random: &mut Random) {
        self.action(random, "parcel_form");
        self.emit(random, Fields::new("active_loop").text("name", "parcel_form"));
        self.slot(random, "requested_slot", "\"size\"");
        if random.once_in(2) {
            let rejected = Fields::new("action_execution_rejected").text("name", "parcel_form");
            self.emit(random, rejected.text("policy", "RulePolicy").raw("confidence", "1.0"));
            self.emit(random, Fields::new("loop_interrupted").raw("is_interrupted", "true"));
        }
        self.slot(random, "size", "\"XL\"");
        self.slot(random, "requested_slot", "null");
        // Some users answer something else while the form waits.
        if random.once_in(2) {
            self.emit(random, Fields::new("active_loop").raw("name", "null"));
        }
    }

    fn end(&mut self, random: &mut Random) {
        match random.below(4) {
            0 => {
                self.emit(random, Fields::new("routing_session_ended"));
                self.stack = Json::List(Vec::new());
            }
            1 => {
                let agent =
                    Fields::new("agent_started").text("flow_id", "transfer_money").text("agent_id", "a1");
                self.emit(random, agent);
            }
            _ => {
                let metadata = self.metadata("\"_reason\": \"user request\", ");
                self.emit(random, Fields::new("session_ended").raw("metadata", metadata));
            }
        }
    }

    fn odd_id(&mut self, random: &mut Random) {
        let id = self.own_id(0);
        let odd = match random.below(6) {
            0 => quoted(&format!("session-{}-1", self.number)),
            1 => quoted(&id.to_uppercase()),
            2 => quoted(&format!("{{{id}}}")),
            3 => quoted(&id.replace('-', "")),
            4 => "\"\"".to_owned(),
            _ => "5".to_owned(),
        };
        let fields = match random.below(3) {
            0 => self.user_fields(random, None),
            1 => Fields::new("action").text("name", "action_listen"),
            _ => Fields::new("slot").text("name", "session_started_metadata").raw("value", "{}"),
        };
        let metadata = format!("{{\"session_id\": {odd}, \"model_id\": \"m\"}}");
        self.emit(random, fields.raw("metadata", metadata));
    }

    /// Writes a `stack` event, and applies the patch to the expected stack.
    fn stack_event(&mut self, random: &mut Random, update: &str) {
        if let Some(patched) = patch::apply(&self.stack, Some(update)) {
            self.stack = patched;
        }
        self.emit(random, Fields::new("stack").text("update", update));
    }

    /// Returns a patch that applies, provided that all earlier stack events arrived.
    fn fitting_patch(&mut self, random: &mut Random) -> String {
        let height = match &self.stack {
            Json::List(frames) => frames.len(),
            _ => 0,
        };
        let serial = self.serial();
        let frame = format!(
            "{{\"frame_id\": \"F{serial:07}\", \"flow_id\": \"flow{}\", \"step_id\": \"START\", \"frame_type\": \"regular\", \"type\": \"flow\"}}",
            serial % 3
        );
        let Some(top) = height.checked_sub(1) else {
            let path = random.pick(&["/0", "/-"]);
            return format!("[{{\"op\": \"add\", \"path\": \"{path}\", \"value\": {frame}}}]");
        };
        match random.below(8) {
            0 => format!("[{{\"op\": \"add\", \"path\": \"/{height}\", \"value\": {frame}}}]"),
            1 => format!("[{{\"op\": \"add\", \"path\": \"/0\", \"value\": {frame}}}]"),
            2 => format!("[{{\"op\": \"remove\", \"path\": \"/{top}\"}}]"),
            3 => format!("[{{\"op\": \"replace\", \"path\": \"/{top}\", \"value\": {frame}}}]"),
            4 => format!("[{{\"op\": \"move\", \"from\": \"/0\", \"path\": \"/{top}\"}}]"),
            5 if height < 6 => "[{\"op\": \"copy\", \"from\": \"/0\", \"path\": \"/-\"}]".to_owned(),
            6 => format!(
                "[{{\"op\": \"add\", \"path\": \"/{top}\", \"value\": {frame}}}, {{\"op\": \"test\", \"path\": \"/{top}/type\", \"value\": \"flow\"}}, \
                 {{\"op\": \"replace\", \"path\": \"/{top}/step_id\", \"value\": \"{serial}_ask\"}}]"
            ),
            _ => "[]".to_owned(),
        }
    }
}

/// Patches that apply to some stacks only, or never.
const BAD_PATCHES: [&str; 20] = [
    r#"[{"op": "remove", "path": "/99"}]"#,
    r#"[{"op": "replace", "path": "/0/step_id", "value": "1_late"}]"#,
    r#"[{"op": "test", "path": "/0/type", "value": "chitchat"}]"#,
    r#"[{"op": "remove", "path": "/0"}, {"op": "remove", "path": "/0"}, {"op": "remove", "path": "/0"}]"#,
    r#"[{"op": "add", "path": "/-", "value": 5}]"#,
    r#"[{"op": "add", "path": "/-", "value": {"type": "chitchat", "step_id": "no_flow"}}]"#,
    r#"[{"op": "add", "path": "/-", "value": {"flow_id": 7, "step_id": null}}]"#,
    r#"[{"op": "add", "path": "/-", "value": {"flow_id": "a\ud83db\u0000c", "a/b": {"~": 1}}}, {"op": "test", "path": "/-", "value": 0}]"#,
    r#"[{"op": "add", "path": "/0", "value": {"a/b": {"~": 1}}}, {"op": "move", "from": "/0/a~1b/~0", "path": "/0/flow_id"}, {"op": "remove", "path": "/0"}]"#,
    r#"[{"op": "replace", "path": "", "value": []}]"#,
    r#"[{"op": "replace", "path": "", "value": {"flow_id": "no_list"}}]"#,
    r#"[{"op": "add", "path": "", "value": 1}, {"op": "add", "path": "", "value": [{"flow_id": "again"}]}]"#,
    r#"[{"op": "move", "from": "/0", "path": "/0/inside"}]"#,
    r#"[{"op": "add", "path": "/00", "value": {}}]"#,
    r#"[{"op": "push", "path": "/0", "value": {}}]"#,
    r#"[{"op": "add", "path": "/0"}]"#,
    r#"{"op": "add", "path": "/0", "value": {}}"#,
    "[{\"op\": \"add\", ",
    "",
    "[]",
];

const COMMANDS: [&str; 14] = [
    r#"{"command": "start flow", "flow": "transfer_money"}"#,
    r#"{"command": "start flow"}"#,
    r#"{"command": "start flow", "flow": 5, "name": "not of this command"}"#,
    r#"{"command": "set slot", "name": "amount", "value": 50, "extractor": "LLM"}"#,
    r#"{"command": "clarify", "options": ["add_contact","remove_contact"]}"#,
    r#"{"command": "clarify", "options": "no list", "flow": "not of this command"}"#,
    r#"{"command": "clarify", "options": []}"#,
    r#"{"command": "human handoff"}"#,
    r#"{"command": "cancel flow", "flow": "not of this command"}"#,
    r#"{"command": "correct slot"}"#,
    r#"{"command": 5}"#,
    r#"{"flow": "transfer_money"}"#,
    r#""start flow""#,
    "null",
];

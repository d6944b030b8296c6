//! Events that are hard to parse, copies of events, and records that are not events.

use super::OwnedRecord;
use super::conversation::{Conversation, Fields, Written, quoted};
use super::random::Random;

/// Values of every type, as JSON, and as Python writes what is not JSON.
const ODD: [&str; 14] = [
    "null",
    "5",
    "-0.0",
    "1e999",
    "NaN",
    "-Infinity",
    "true",
    "\"text\"",
    "\"\"",
    "[]",
    "{}",
    "[{\"name\": \"greet\"}]",
    "{\"name\": 5, \"confidence\": \"high\"}",
    "\"\\u0000\"",
];

const ODD_TEXTS: [&str; 9] = [
    "\"half \\ud83d of a crab\"",
    "\"\\udc00\\ud83d\\ud83e\\udd80\"",
    "\"nul \\u0000 inside\"",
    "\"\\u0000\"",
    "\"\\u0001\\t\\n\\\\ \\\" \\/ \\u007f \\u2028\"",
    "\"unescaped ü 🦀\"",
    "NaN",
    "[NaN, Infinity, -Infinity, 1E+400, 0.10, {\"b\":1,\"a\":2,\"b\":3}]",
    "{\"\\ud83d\": \"\\u0000\", \"k\": {}}",
];

const KINDS: [&str; 12] = [
    "user",
    "bot",
    "action",
    "slot",
    "stack",
    "flow_started",
    "flow_cancelled",
    "session_started",
    "session_ended",
    "restart",
    "active_loop",
    "agent",
];

impl Conversation<'_> {
    pub(super) fn wrong_types(&mut self, random: &mut Random) {
        let mut fields = Fields::new(random.pick(&KINDS));
        let serial = self.serial();
        for key in [
            "name",
            "text",
            "value",
            "policy",
            "confidence",
            "data",
            "parse_data",
            "input_channel",
            "message_id",
            "flow_id",
            "step_id",
            "update",
            "metadata",
            "user_id",
        ] {
            if random.once_in(3) {
                fields = fields.raw(key, random.pick(&ODD));
            }
        }
        if random.once_in(3) {
            let mut odd = || random.pick(&ODD);
            let parse_data = format!(
                "{{\"intent\": {{\"name\": {}, \"confidence\": {}, \"full_retrieval_intent_name\": {}}}, \"message_id\": {}, \"commands\": {}}}",
                odd(),
                odd(),
                odd(),
                odd(),
                odd()
            );
            fields = fields.raw("parse_data", parse_data);
            let metadata = format!(
                "{{\"model_id\": {}, \"utter_action\": {}, \"template_name\": \"utter_x\"}}",
                odd(),
                odd()
            );
            fields = fields.raw("metadata", metadata);
        }
        self.emit(random, fields.raw("serial", serial.to_string()));
    }

    pub(super) fn odd_texts(&mut self, random: &mut Random) {
        let odd = random.pick(&ODD_TEXTS);
        let text = if odd.starts_with('"') { odd } else { "\"\"" };
        let fields = match random.below(4) {
            0 => self.user_fields(random, None).raw("text", text).raw("input_channel", text),
            1 => Fields::new("bot").raw("text", text).raw("data", odd),
            2 => Fields::new("slot").raw("name", text).raw("value", odd),
            _ => Fields::new("slot").text("name", "odd").raw("value", odd),
        };
        let metadata = self.metadata(&format!("\"odd\": {odd}, \"model_id\": {text}, "));
        let fields = if random.once_in(2) { fields.raw("metadata", metadata) } else { fields };
        self.emit(random, fields);
    }

    pub(super) fn long_texts(&mut self, random: &mut Random) {
        let long = |random: &mut Random| {
            let length = random.pick(&[181, 182, 255, 256, 300]);
            format!("{}{}", random.pick(&["n", "ü", "🦀"]).repeat(length), random.below(2))
        };
        let name = long(random);
        let fields = match random.below(6) {
            0 => Fields::new("action").text("name", &name).text("policy", &long(random)),
            1 => Fields::new("flow_completed").text("flow_id", &name).text("step_id", &long(random)),
            2 => Fields::new("bot").text("text", &"größe ".repeat(random.pick(&[10_922, 10_923]))),
            3 => {
                self.user_fields(random, None).text("input_channel", &name).text("message_id", &long(random))
            }
            4 => Fields::new(&name),
            _ => {
                let value = if random.once_in(4) { quoted(&"v".repeat(65_534)) } else { quoted(&name) };
                Fields::new("slot").text("name", &name).raw("value", value)
            }
        };
        self.emit(random, fields);
    }

    pub(super) fn unknown(&mut self, random: &mut Random) {
        let event = random.pick(&["my_plugin_event", "User", "flow_paused", "ünbekannt", "a\0b", " user"]);
        self.emit(
            random,
            Fields::new(event).text("name", "action_session_start").text("text", "unknown to Rasa"),
        );
    }

    pub(super) fn unplaced(&mut self, random: &mut Random) {
        let timestamp = random.pick(&[
            "null",
            "-",
            "\"1700000000.5\"",
            "-5.5",
            "1e18",
            "1700000000000",
            "NaN",
            "1e999",
            "[]",
            "5",
        ]);
        // The number distinguishes such events.
        let text = format!("unplaced {}", self.serial());
        let fields = match random.below(4) {
            0 => self.user_fields(random, None),
            1 => Fields::new("action").text("name", "action_session_start"),
            2 => Fields::new("slot").text("name", "size").text("value", "L"),
            _ => Fields::new("bot"),
        };
        self.emit_unplaced(random, fields.text("text", &text), timestamp);
    }

    pub(super) fn copy(&mut self, random: &mut Random) {
        if self.written.is_empty() {
            return;
        }
        let mut copy = self.written[random.below(self.written.len())].clone();
        if self.options.differing_copies && random.once_in(3) {
            copy.environment = None;
            copy.record_time = copy.record_time.map(|time| time + 30.5);
        }
        let sender_last = random.once_in(2);
        let record = self.record(&copy, sender_last);
        self.out.push(record);
    }

    pub(super) fn anonymised(&mut self, random: &mut Random) {
        let sources: Vec<&Written> = self
            .written
            .iter()
            .rev()
            .filter(|written| written.fields.get("anonymized_at").is_none())
            .take(12)
            .collect();
        if sources.is_empty() {
            return;
        }
        let mut copy = random.pick(&sources).clone();
        let at = random.pick(&[
            "1700090000.902456",
            "1700099999",
            "1e9",
            "\"2023-11-15T00:00:00+00:00\"",
            "\"2024\"",
            "",
        ]);
        let redacted = quoted(&format!("redacted {}", at.trim_matches('"')));
        copy.fields = match copy.fields.get("event") {
            Some("\"user\"") => copy.fields.raw("text", redacted.as_str()).raw("input_channel", "null"),
            Some("\"slot\"") => copy.fields.raw("value", redacted.as_str()),
            _ => copy.fields.raw("text", redacted.as_str()),
        };
        if at.is_empty() {
            // In a topic of anonymised copies, this copy has no mark.
            copy.facts.anonymised = true;
        } else {
            copy.fields = copy.fields.raw("anonymized_at", at);
        }
        // Rasa Pro reduces `parse_data` to the text, and omits the user.
        if random.once_in(2) {
            copy.fields.0.retain(|(key, _)| key != "user_id");
            let told_by_parse_data = copy.fields.get("message_id").is_none_or(|id| !id.starts_with('"'));
            if copy.fields.get("parse_data").is_some() && !told_by_parse_data {
                copy.fields = copy.fields.raw("parse_data", format!("{{\"text\": {redacted}}}"));
            }
        }
        let sender_last = random.once_in(2);
        let record = self.record(&copy, sender_last);
        self.out.push(record);
    }

    pub(super) fn no_event(&mut self, random: &mut Random) {
        let deep = format!(
            "{{\"event\": \"bot\", \"sender_id\": \"u\", \"timestamp\": 1700000000.5, \"data\": {}{}}}",
            "[".repeat(512),
            "]".repeat(512)
        );
        let payloads: [&[u8]; 18] = [
            b"",
            b" \r\n\t",
            b"null",
            b" null\n",
            b"\xff{}",
            b"{\"event\": \"user\", ",
            b"nul",
            b"{'event': 'user'}",
            b"[1, 2]",
            b"5",
            b"NaN",
            deep.as_bytes(),
            b"{}",
            b"{\"event\": 5, \"sender_id\": \"u\"}",
            b"{\"event\": \"user\", \"timestamp\": 1700000000.5}",
            b"{\"event\": \"user\", \"sender_id\": \"\\u0000\", \"timestamp\": 1700000000.5}",
            b"{\"event\": \"user\", \"sender_id\": [\"a\"], \"timestamp\": 1700000000.5}",
            b"{\"event\": \"user\", \"sender_id\": \"u\", \"timestamp\": -5.5}",
        ];
        let payload = random.pick(&payloads).to_vec();
        self.out.push(OwnedRecord {
            payload,
            environment: self.environment.clone(),
            ..OwnedRecord::default()
        });
    }
}

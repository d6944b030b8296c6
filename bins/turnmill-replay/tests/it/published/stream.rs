//! Generates conversations of a CALM assistant, with the events that Rasa Pro adds: flows, the
//! dialogue stack, commands.

use fastrand::Rng;
use serde_json::{Value, json};

pub(super) const DAY: f64 = 86_400.0;

const FLOWS: [&str; 9] = [
    "transfer_money",
    "setup_recurrent_payment",
    "book_restaurant",
    "replace_card",
    "check_balance",
    "add_contact",
    "list_contacts",
    "pattern_clarification",
    // Left out with the patterns, as `_` in LIKE is any character.
    "patterns_of_use",
];
const STEPS: [&str; 4] = ["0_ask_amount", "1_ask_recipient", "2_confirm", "3_execute"];

/// Generates the same conversations in every run. `now` is the time of the last one, in Unix
/// seconds.
pub(super) fn conversations(now: f64) -> Vec<Value> {
    let mut rng = Rng::with_seed(13);
    // 2026-01-10, 2026-01-31 10 seconds before midnight, and then every day for four months.
    let mut starts = vec![1_768_003_200.123_4, 1_769_903_990.123_4];
    starts.extend((1..120).map(|day| 1_769_904_000.123_4 + f64::from(day) * DAY));
    // Times an hour before and after the start of the last seven days, within a time zone's
    // difference of it, and further away.
    let recent = [9.0, 8.0, 7.3, 7.0 + 1.0 / 24.0, 7.0 - 1.0 / 24.0, 6.7, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.1];
    starts.extend(
        recent
            .iter()
            .flat_map(|days| (0..3).map(move |minutes| now - days * DAY - f64::from(minutes) * 60.0)),
    );
    starts.extend((1..9).map(|number| now - f64::from(number) * 300.0));
    starts.sort_by(f64::total_cmp);
    let mut events = Vec::new();
    for (number, start) in (0..).zip(starts) {
        Conversation::new(&mut rng, number, start, &mut events).go();
    }
    events
}

/// One session.
#[derive(Debug)]
struct Conversation<'a> {
    rng: &'a mut Rng,
    sender: String,
    /// Rasa 3.16 writes it into every event.
    session_id: Option<String>,
    clock: f64,
    /// The flows on the stack, topmost last.
    stack: Vec<&'static str>,
    events: &'a mut Vec<Value>,
}

impl<'a> Conversation<'a> {
    fn new(rng: &'a mut Rng, number: u32, clock: f64, events: &'a mut Vec<Value>) -> Self {
        let sender = number % 17;
        let session_id = sender.is_multiple_of(2).then(|| format!("5e551000-0000-4000-8000-{number:012x}"));
        Self { rng, sender: format!("customer {sender}"), session_id, clock, stack: Vec::new(), events }
    }

    fn emit(&mut self, mut event: Value) {
        event["sender_id"] = json!(self.sender);
        event["timestamp"] = json!(self.clock);
        event["metadata"] = json!({"model_id": "7a9c3c2fd5d14c1a"});
        if let Some(id) = &self.session_id {
            event["metadata"]["session_id"] = json!(id);
        }
        self.events.push(event);
        self.clock += 0.7;
    }

    fn go(&mut self) {
        if self.rng.u8(..3) == 0 {
            self.emit(json!({"event": "slot", "name": "session_started_metadata", "value": {"vip": true}}));
        }
        self.emit(
            json!({"event": "action", "name": "action_session_start", "policy": null, "confidence": 1.0}),
        );
        self.emit(json!({"event": "session_started"}));
        self.emit(json!({"event": "action", "name": "action_listen", "policy": null, "confidence": null}));
        if self.rng.u8(..5) == 0 {
            self.left_over();
            return;
        }
        for _ in 0..self.rng.u8(3..10) {
            self.turn();
        }
    }

    /// Generates a session that only ends, or only shows, a flow of the previous session.
    fn left_over(&mut self) {
        self.user(&json!([{"command": "cancel flow"}]));
        let flow = "setup_recurrent_payment";
        self.push(flow);
        self.step();
        match self.rng.u8(..3) {
            0 => self.status("flow_completed", flow),
            1 => self.status("flow_cancelled", flow),
            _ => {}
        }
    }

    fn turn(&mut self) {
        let Some(top) = self.stack.last().copied() else {
            return self.begin();
        };
        match self.rng.u8(..12) {
            0 => self.user(&json!([{"command": "human handoff"}])),
            1 => self.user(
                &json!([{"command": "human handoff"}, {"command": "chitchat"}, {"command": "human handoff"}]),
            ),
            2..5 => {
                self.user(&json!([{"command": "set slot", "name": "amount", "value": "50"}]));
                self.step();
            }
            5 | 6 => {
                self.user(&json!([{"command": "cancel flow"}]));
                self.leave("flow_cancelled");
            }
            7..10 => {
                self.user(&json!([]));
                self.step();
                self.leave("flow_completed");
            }
            _ => {
                self.status("flow_interrupted", top);
                self.begin();
            }
        }
    }

    /// Starts a flow on top of the others. Replacing a card sometimes continues in the flow that it
    /// links to.
    fn begin(&mut self) {
        let flow = *self.rng.choice(&FLOWS).unwrap();
        self.user(&json!([{"command": "start flow", "flow": flow}]));
        self.push(flow);
        self.status("flow_started", flow);
        self.step();
        if flow == "replace_card" && self.rng.bool() {
            self.leave("flow_completed");
            self.push("replace_eligible_card");
            self.status("flow_started", "replace_eligible_card");
        }
    }

    /// Ends the topmost flow. The one below continues or is cancelled.
    fn leave(&mut self, event: &str) {
        let flow = self.stack.pop().unwrap();
        self.patch(&json!([{"op": "remove", "path": format!("/{}", self.stack.len())}]));
        self.status(event, flow);
        match self.stack.last() {
            Some(below) if self.rng.u8(..3) > 0 => self.status("flow_resumed", below),
            Some(_) => self.leave("flow_cancelled"),
            None => {}
        }
    }

    fn push(&mut self, flow: &'static str) {
        let mut frame =
            json!({"frame_id": "8UJPHH5C", "flow_id": flow, "frame_type": "regular", "type": "flow"});
        // Not every frame has a step.
        if self.rng.u8(..4) > 0 {
            frame["step_id"] = json!("START");
        }
        self.patch(&json!([{"op": "add", "path": format!("/{}", self.stack.len()), "value": frame}]));
        self.stack.push(flow);
    }

    fn step(&mut self) {
        let step = *self.rng.choice(&STEPS).unwrap();
        let path = format!("/{}/step_id", self.stack.len() - 1);
        // Adding an existing key replaces it.
        self.patch(&json!([{"op": "add", "path": path, "value": step}]));
    }

    fn patch(&mut self, patch: &Value) {
        self.emit(json!({"event": "stack", "update": patch.to_string()}));
    }

    fn status(&mut self, event: &str, flow: &str) {
        let mut event = json!({"event": event, "flow_id": flow});
        if event["event"] != "flow_started" {
            event["step_id"] = json!("2_confirm");
        }
        self.emit(event);
    }

    fn user(&mut self, commands: &Value) {
        let parse_data = json!({"text": "well", "intent": {"name": null, "confidence": 0.0}, "entities": [], "commands": commands});
        let message_id = format!("{:08x}", self.rng.u32(..));
        self.emit(json!({"event": "user", "text": "well", "parse_data": parse_data, "input_channel": "rest",
            "message_id": message_id}));
    }
}

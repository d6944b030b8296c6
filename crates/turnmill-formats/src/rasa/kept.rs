//! Keeps facts of a plain event that are no personal data, when an anonymised copy replaces it.
//!
//! Rasa Pro cuts the `parse_data` of an anonymised message down to its text, and leaves `user_id`
//! out. Without these facts the numbers of messages by intent, of users and of commands would
//! shrink with every anonymised turn. The facts are a body of the same format, so they are read
//! like one:
//!
//! ```json
//! {"user_id": "7", "metadata": {"rasa_environment": "production"},
//!  "parse_data": {"intent": {"name": "greet"}}}
//! ```

use std::borrow::Cow;

use super::build::{commands, environment, filled, finite, text};
use super::nlu;
use super::wire::Wire;
use turnmill_model::json::{Limits, Node, Raw, Tree, canonical};
use turnmill_model::{Command, Record};

/// Returns the facts of the event `wire`, or `None` if it has none.
pub(super) fn facts(record: &Record<'_>, wire: &Wire<'_>) -> Option<Vec<u8>> {
    let mut body = Object::default();
    if filled(wire.user_id).is_some() {
        body.raw("user_id", wire.user_id);
    }
    if let Some(environment) = environment(record, wire) {
        let mut metadata = Object::default();
        metadata.text("rasa_environment", &environment);
        body.object("metadata", metadata);
    }
    let parsed = &wire.parse_data;
    let mut intent = Object::default();
    for (key, value) in [
        ("name", parsed.intent.name),
        ("full_retrieval_intent_name", parsed.intent.full_retrieval_intent_name),
    ] {
        if text(value).is_some() {
            intent.raw(key, value);
        }
    }
    if finite(parsed.intent.confidence).is_some() {
        intent.raw("confidence", parsed.intent.confidence);
    }
    let mut parse_data = Object::default();
    parse_data.object("intent", intent);
    parse_data.list("intent_ranking", &parsed.intent_ranking.map(ranking).unwrap_or_default());
    if let Some(list) = parsed.commands.filter(|list| list.is_list()) {
        // A command's row id depends on its index, so `null` stands for elements that are no
        // command.
        //   [5, {"command": "clarify"}]   -> [null, {"command": "clarify"}]
        let commands = commands(list);
        let mut kept = vec!["null".to_owned(); commands.last().map_or(0, |last| last.index as usize + 1)];
        for command in &commands {
            if let Some(place) = kept.get_mut(command.index as usize) {
                *place = without_values(command);
            }
        }
        parse_data.list("commands", &kept);
    }
    body.object("parse_data", parse_data);
    body.finish().map(String::into_bytes)
}

/// Fills into the anonymised copy `wire` the facts that it lacks and the plain copy had.
pub(super) fn fill<'a>(wire: &mut Wire<'a>, kept: &'a [u8]) {
    let mut plain = Wire::default();
    let Ok(body) = std::str::from_utf8(kept) else { return };
    if plain.lenient(body).is_err() {
        return;
    }
    let lacks = |field: Option<Raw<'a>>| text(field).is_none();
    if filled(wire.user_id).is_none() {
        wire.user_id = plain.user_id;
    }
    if filled(wire.metadata.rasa_environment).is_none() {
        wire.metadata.rasa_environment = plain.metadata.rasa_environment;
    }
    let (parsed, plain) = (&mut wire.parse_data, plain.parse_data);
    if lacks(parsed.intent.name) {
        parsed.intent.name = plain.intent.name;
    }
    if lacks(parsed.intent.full_retrieval_intent_name) {
        parsed.intent.full_retrieval_intent_name = plain.intent.full_retrieval_intent_name;
    }
    if finite(parsed.intent.confidence).is_none() {
        parsed.intent.confidence = plain.intent.confidence;
    }
    if nlu::intent_ranking(parsed.intent_ranking).is_none() {
        parsed.intent_ranking = plain.intent_ranking;
    }
    if parsed.commands.map(commands).unwrap_or_default().is_empty() {
        parsed.commands = plain.commands;
    }
}

/// Returns the names and confidences of an intent ranking, as JSON objects.
fn ranking(list: Raw<'_>) -> Vec<String> {
    let Ok(tree) = Tree::parse(list.as_str(), &Limits::default()) else { return Vec::new() };
    let intent = |item: Node<'_, '_>| {
        let mut intent = Object::default();
        for key in ["name", "confidence"] {
            let scalar = item.get(key).map(Node::raw).filter(|value| !value.is_list() && !value.is_object());
            if scalar.is_some() {
                intent.raw(key, scalar);
            }
        }
        intent.finish().unwrap_or_else(|| "{}".to_owned())
    };
    tree.root().items().filter(|item| item.raw().is_object()).map(intent).collect()
}

/// Returns a command as JSON, without the value that it sets and without fields of an assistant's
/// own.
fn without_values(command: &Command<'_>) -> String {
    let Command { index: _, command, flow, slot, options } = command;
    let mut kept = Object::default();
    kept.text("command", command);
    if let Some(flow) = flow {
        kept.text("flow", flow);
    }
    if let Some(slot) = slot {
        kept.text("name", slot);
    }
    if let Some(options) = options {
        kept.member("options", options);
    }
    kept.finish().unwrap_or_default()
}

/// A JSON object under construction.
#[derive(Default)]
struct Object(String);

impl Object {
    fn member(&mut self, key: &str, json: &str) {
        self.0.push_str(if self.0.is_empty() { "{\"" } else { ", \"" });
        self.0.push_str(key);
        self.0.push_str("\": ");
        self.0.push_str(json);
    }

    fn raw(&mut self, key: &str, value: Option<Raw<'_>>) {
        self.member(key, &value.map_or(Cow::Borrowed("null"), canonical));
    }

    fn text(&mut self, key: &str, text: &str) {
        self.member(key, &serde_json::Value::from(text).to_string());
    }

    /// Adds an object, unless it is empty.
    fn object(&mut self, key: &str, object: Self) {
        if let Some(json) = object.finish() {
            self.member(key, &json);
        }
    }

    /// Adds a list, unless it is empty.
    fn list(&mut self, key: &str, items: &[String]) {
        if !items.is_empty() {
            self.member(key, &format!("[{}]", items.join(", ")));
        }
    }

    fn finish(self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0 + "}")
    }
}

//! Holds the fields of an event body that rows or ids need, as the texts of their values.
//!
//! Two readers fill the same [`Wire`]: the quick one of [`super::scan`], and the lenient one for
//! bodies at which the quick one stops. [`Fields::target`] is the only map from keys to fields.
//!
//! Of equal keys the last one counts, as in Python. A later `metadata` replaces an earlier one
//! whole:
//!
//! ```text
//! {"event": "a", "event": "b"}                        -> event is "b"
//! {"metadata": {"model_id": "m"}, "metadata": {}}     -> no model_id
//! {"metadata": {"model_id": "m"}, "metadata": 5}      -> no model_id
//! ```

use turnmill_model::json::{Limits, Node, ParseError, Raw, Tree};

/// The body's own fields. Keys that no row and no id needs are skipped.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Wire<'a> {
    pub(super) sender_id: Option<Raw<'a>>,
    pub(super) event: Option<Raw<'a>>,
    pub(super) timestamp: Option<Raw<'a>>,
    pub(super) user_id: Option<Raw<'a>>,
    pub(super) anonymized_at: Option<Raw<'a>>,
    pub(super) name: Option<Raw<'a>>,
    pub(super) text: Option<Raw<'a>>,
    pub(super) value: Option<Raw<'a>>,
    pub(super) data: Option<Raw<'a>>,
    pub(super) policy: Option<Raw<'a>>,
    pub(super) confidence: Option<Raw<'a>>,
    pub(super) update: Option<Raw<'a>>,
    pub(super) flow_id: Option<Raw<'a>>,
    pub(super) step_id: Option<Raw<'a>>,
    pub(super) input_channel: Option<Raw<'a>>,
    pub(super) message_id: Option<Raw<'a>>,
    pub(super) action_text: Option<Raw<'a>>,
    pub(super) agent_id: Option<Raw<'a>>,
    pub(super) tool_name: Option<Raw<'a>>,
    pub(super) is_error: Option<Raw<'a>>,
    pub(super) error_code: Option<Raw<'a>>,
    pub(super) skill_id: Option<Raw<'a>>,
    pub(super) block_id: Option<Raw<'a>>,
    pub(super) key: Option<Raw<'a>>,
    pub(super) value_json: Option<Raw<'a>>,
    pub(super) filled_by: Option<Raw<'a>>,
    pub(super) source: Option<Raw<'a>>,
    pub(super) status: Option<Raw<'a>>,
    pub(super) reason: Option<Raw<'a>>,
    /// The sender of the second shape, see [`super::mantle`].
    pub(super) conversation_id: Option<Raw<'a>>,
    /// Of the second shape only: the event's own id.
    pub(super) event_id: Option<Raw<'a>>,
    /// Of the second shape only: the event's number in its conversation.
    pub(super) sequence: Option<Raw<'a>>,
    pub(super) metadata: Metadata<'a>,
    pub(super) parse_data: ParseData<'a>,
}

/// `metadata`
#[derive(Debug, Default, PartialEq)]
pub(super) struct Metadata<'a> {
    pub(super) model_id: Option<Raw<'a>>,
    pub(super) session_id: Option<Raw<'a>>,
    pub(super) utter_action: Option<Raw<'a>>,
    pub(super) template_name: Option<Raw<'a>>,
    pub(super) assistant_id: Option<Raw<'a>>,
    pub(super) rasa_environment: Option<Raw<'a>>,
    pub(super) frame_id: Option<Raw<'a>>,
    pub(super) frame_type: Option<Raw<'a>>,
    pub(super) reason: Option<Raw<'a>>,
    pub(super) error_type: Option<Raw<'a>>,
    /// `_reason`
    pub(super) end_reason: Option<Raw<'a>>,
    pub(super) utter_source: Option<Raw<'a>>,
    pub(super) mantle_response_source: Option<Raw<'a>>,
    pub(super) execution_success: Option<Raw<'a>>,
    pub(super) execution_times: Option<Raw<'a>>,
}

/// `parse_data`
#[derive(Debug, Default, PartialEq)]
pub(super) struct ParseData<'a> {
    pub(super) intent: Intent<'a>,
    pub(super) message_id: Option<Raw<'a>>,
    pub(super) intent_ranking: Option<Raw<'a>>,
    pub(super) entities: Option<Raw<'a>>,
    pub(super) commands: Option<Raw<'a>>,
}

/// `parse_data.intent`
#[derive(Debug, Default, PartialEq)]
pub(super) struct Intent<'a> {
    pub(super) name: Option<Raw<'a>>,
    pub(super) full_retrieval_intent_name: Option<Raw<'a>>,
    pub(super) confidence: Option<Raw<'a>>,
}

impl<'a> Wire<'a> {
    /// Reads a body as Python does.
    ///
    /// # Errors
    ///
    /// [`ParseError`] if Python would not read it, and for too many levels.
    #[cold]
    pub(super) fn lenient(&mut self, text: &'a str) -> Result<(), ParseError> {
        let tree = Tree::parse(text, &Limits::default())?;
        collect(tree.root(), emptied(self));
        Ok(())
    }
}

/// An object of a body whose fields are needed.
pub(super) trait Fields<'a> {
    /// Returns where the value under `key` goes.
    fn target(&mut self, key: &str) -> Target<'_, 'a>;
}

/// Tells where a value goes. A later value replaces an earlier one. A value that is no object,
/// where one is expected, leaves that object without fields.
pub(super) enum Target<'w, 'a> {
    Ignored,
    Field(&'w mut Option<Raw<'a>>),
    Metadata(&'w mut Metadata<'a>),
    ParseData(&'w mut ParseData<'a>),
    Intent(&'w mut Intent<'a>),
}

impl<'a> Fields<'a> for Wire<'a> {
    fn target(&mut self, key: &str) -> Target<'_, 'a> {
        Target::Field(match key {
            "sender_id" => &mut self.sender_id,
            "event" => &mut self.event,
            "timestamp" => &mut self.timestamp,
            "metadata" => return Target::Metadata(&mut self.metadata),
            "name" => &mut self.name,
            "policy" => &mut self.policy,
            "confidence" => &mut self.confidence,
            "value" => &mut self.value,
            "text" => &mut self.text,
            "data" => &mut self.data,
            "parse_data" => return Target::ParseData(&mut self.parse_data),
            "input_channel" => &mut self.input_channel,
            "message_id" => &mut self.message_id,
            "user_id" => &mut self.user_id,
            "anonymized_at" => &mut self.anonymized_at,
            "update" => &mut self.update,
            "flow_id" => &mut self.flow_id,
            "step_id" => &mut self.step_id,
            "action_text" => &mut self.action_text,
            "agent_id" => &mut self.agent_id,
            "tool_name" => &mut self.tool_name,
            "is_error" => &mut self.is_error,
            "error_code" => &mut self.error_code,
            "skill_id" => &mut self.skill_id,
            "block_id" => &mut self.block_id,
            "key" => &mut self.key,
            "value_json" => &mut self.value_json,
            "filled_by" => &mut self.filled_by,
            "source" => &mut self.source,
            "status" => &mut self.status,
            "reason" => &mut self.reason,
            "conversation_id" => &mut self.conversation_id,
            _ => return Target::Ignored,
        })
    }
}

impl<'a> Fields<'a> for Metadata<'a> {
    fn target(&mut self, key: &str) -> Target<'_, 'a> {
        Target::Field(match key {
            "model_id" => &mut self.model_id,
            "session_id" => &mut self.session_id,
            "utter_action" => &mut self.utter_action,
            "template_name" => &mut self.template_name,
            "assistant_id" => &mut self.assistant_id,
            "rasa_environment" => &mut self.rasa_environment,
            "frame_id" => &mut self.frame_id,
            "frame_type" => &mut self.frame_type,
            "reason" => &mut self.reason,
            "error_type" => &mut self.error_type,
            "_reason" => &mut self.end_reason,
            "utter_source" => &mut self.utter_source,
            "mantle_response_source" => &mut self.mantle_response_source,
            "execution_success" => &mut self.execution_success,
            "execution_times" => &mut self.execution_times,
            _ => return Target::Ignored,
        })
    }
}

impl<'a> Fields<'a> for ParseData<'a> {
    fn target(&mut self, key: &str) -> Target<'_, 'a> {
        match key {
            "intent" => Target::Intent(&mut self.intent),
            "message_id" => Target::Field(&mut self.message_id),
            "intent_ranking" => Target::Field(&mut self.intent_ranking),
            "entities" => Target::Field(&mut self.entities),
            "commands" => Target::Field(&mut self.commands),
            _ => Target::Ignored,
        }
    }
}

impl<'a> Fields<'a> for Intent<'a> {
    fn target(&mut self, key: &str) -> Target<'_, 'a> {
        Target::Field(match key {
            "name" => &mut self.name,
            "full_retrieval_intent_name" => &mut self.full_retrieval_intent_name,
            "confidence" => &mut self.confidence,
            _ => return Target::Ignored,
        })
    }
}

/// Fills `part` from a parsed object. Any other value fills nothing. Recurses at most twice:
/// `parse_data` holds `intent`.
pub(super) fn collect<'a, P: Fields<'a>>(node: Node<'_, 'a>, part: &mut P) {
    for (key, value) in node.entries() {
        match part.target(&key.as_key()) {
            Target::Ignored => {}
            Target::Field(field) => *field = Some(value.raw()),
            Target::Metadata(part) => collect(value, emptied(part)),
            Target::ParseData(part) => collect(value, emptied(part)),
            Target::Intent(part) => collect(value, emptied(part)),
        }
    }
}

fn emptied<T: Default>(part: &mut T) -> &mut T {
    *part = T::default();
    part
}

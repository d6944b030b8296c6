//! The fields of an event body that anything is made of, found but not yet looked into.
//!
//! Two readers fill the same [`Wire`]: serde_json in one pass, and the lenient parser for what that refuses. Which key
//! goes where is said once, in [`Part::place`].

use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;

use crate::json::{Limits, Node, ParseError, Raw, Tree};

/// The body's own fields. Keys that nothing is made of are skipped.
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
}

/// `parse_data`
#[derive(Debug, Default, PartialEq)]
pub(super) struct ParseData<'a> {
    pub(super) intent: Intent<'a>,
    pub(super) message_id: Option<Raw<'a>>,
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
    /// Reads standard JSON. `text` must be an object, if it is JSON at all. After an error some of it may be filled.
    pub(super) fn strict(&mut self, text: &'a str) -> Result<(), serde_json::Error> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        Fill(self).deserialize(&mut deserializer)?;
        deserializer.end()
    }

    /// Reads what Python reads.
    #[cold]
    pub(super) fn lenient(&mut self, text: &'a str) -> Result<(), ParseError> {
        let tree = Tree::parse(text, &Limits::default())?;
        collect(tree.root(), emptied(self));
        Ok(())
    }
}

/// An object of the wire.
trait Part<'a> {
    /// Where the value under `key` goes.
    fn place(&mut self, key: &str) -> Place<'_, 'a>;
}

/// Where a value goes. One that comes later takes the place of the one before; a value that is no object where one is
/// expected leaves it without fields.
enum Place<'w, 'a> {
    Nowhere,
    Field(&'w mut Option<Raw<'a>>),
    Metadata(&'w mut Metadata<'a>),
    ParseData(&'w mut ParseData<'a>),
    Intent(&'w mut Intent<'a>),
}

impl<'a> Part<'a> for Wire<'a> {
    fn place(&mut self, key: &str) -> Place<'_, 'a> {
        Place::Field(match key {
            "sender_id" => &mut self.sender_id,
            "event" => &mut self.event,
            "timestamp" => &mut self.timestamp,
            "metadata" => return Place::Metadata(&mut self.metadata),
            "name" => &mut self.name,
            "policy" => &mut self.policy,
            "confidence" => &mut self.confidence,
            "value" => &mut self.value,
            "text" => &mut self.text,
            "data" => &mut self.data,
            "parse_data" => return Place::ParseData(&mut self.parse_data),
            "input_channel" => &mut self.input_channel,
            "message_id" => &mut self.message_id,
            "user_id" => &mut self.user_id,
            "anonymized_at" => &mut self.anonymized_at,
            "update" => &mut self.update,
            "flow_id" => &mut self.flow_id,
            "step_id" => &mut self.step_id,
            _ => return Place::Nowhere,
        })
    }
}

impl<'a> Part<'a> for Metadata<'a> {
    fn place(&mut self, key: &str) -> Place<'_, 'a> {
        Place::Field(match key {
            "model_id" => &mut self.model_id,
            "session_id" => &mut self.session_id,
            "utter_action" => &mut self.utter_action,
            "template_name" => &mut self.template_name,
            _ => return Place::Nowhere,
        })
    }
}

impl<'a> Part<'a> for ParseData<'a> {
    fn place(&mut self, key: &str) -> Place<'_, 'a> {
        match key {
            "intent" => Place::Intent(&mut self.intent),
            "message_id" => Place::Field(&mut self.message_id),
            "commands" => Place::Field(&mut self.commands),
            _ => Place::Nowhere,
        }
    }
}

impl<'a> Part<'a> for Intent<'a> {
    fn place(&mut self, key: &str) -> Place<'_, 'a> {
        Place::Field(match key {
            "name" => &mut self.name,
            "full_retrieval_intent_name" => &mut self.full_retrieval_intent_name,
            "confidence" => &mut self.confidence,
            _ => return Place::Nowhere,
        })
    }
}

/// Fills `part` from a parsed object; from any other value nothing comes. Recurses as deep as parts are in parts.
fn collect<'a, P: Part<'a>>(node: Node<'_, 'a>, part: &mut P) {
    for (key, value) in node.entries() {
        match part.place(&key.as_key()) {
            Place::Nowhere => {}
            Place::Field(field) => *field = Some(value.raw()),
            Place::Metadata(part) => collect(value, emptied(part)),
            Place::ParseData(part) => collect(value, emptied(part)),
            Place::Intent(part) => collect(value, emptied(part)),
        }
    }
}

fn emptied<T: Default>(part: &mut T) -> &mut T {
    *part = T::default();
    part
}

/// Fills a part while its object is being parsed.
struct Fill<'w, P>(&'w mut P);

impl<'de, P: Part<'de>> DeserializeSeed<'de> for Fill<'_, P> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, P: Part<'de>> Visitor<'de> for Fill<'_, P> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(place) = map.next_key_seed(Find(&mut *self.0))? {
            map.next_value_seed(place)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

/// Finds the place that a key names.
struct Find<'w, P>(&'w mut P);

impl<'de: 'w, 'w, P: Part<'de>> DeserializeSeed<'de> for Find<'w, P> {
    type Value = Place<'w, 'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de: 'w, 'w, P: Part<'de>> Visitor<'de> for Find<'w, P> {
    type Value = Place<'w, 'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.place(key))
    }
}

impl<'de> DeserializeSeed<'de> for Place<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self {
            Self::Nowhere => IgnoredAny::deserialize(deserializer).map(|_| ()),
            Self::Field(field) => {
                *field = Some(Raw::trusted(<&RawValue>::deserialize(deserializer)?.get()));
                Ok(())
            }
            Self::Metadata(part) => Fill(emptied(part)).deserialize(deserializer),
            Self::ParseData(part) => Fill(emptied(part)).deserialize(deserializer),
            Self::Intent(part) => Fill(emptied(part)).deserialize(deserializer),
        }
    }
}

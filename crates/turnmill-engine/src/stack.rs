//! The dialogue stack of CALM assistants: patched by `stack` events, reset at session starts.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use turnmill_model::json;

/// The present stack: a JSON list of frames, bottom first. Mostly empty, so it is one pointer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Stack(Option<Box<Value>>);

/// What is on top of the stack after a patch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Top<'s> {
    pub(crate) flow_id: Option<&'s str>,
    pub(crate) step_id: Option<&'s str>,
}

impl Stack {
    pub(crate) fn reset(&mut self) {
        self.0 = None;
    }

    /// Applies a JSON Patch given as text. On an error the stack is as before.
    pub(crate) fn patch(&mut self, update: Option<&str>) -> Result<(), String> {
        let update = update.ok_or("`update` is not a text")?;
        let limits = json::Limits::STACK;
        let patch = json::to_value(update, &limits).ok_or("`update` is not JSON of an acceptable size")?;
        let operations: Vec<json_patch::PatchOperation> =
            serde_json::from_value(patch).map_err(|error| format!("`update` is not a JSON Patch: {error}"))?;
        let mut stack = self.0.as_deref().cloned().unwrap_or_else(|| Value::Array(Vec::new()));
        for operation in &operations {
            json_patch::patch(&mut stack, std::slice::from_ref(operation)).map_err(|error| error.to_string())?;
            if !within(&stack, &limits) {
                return Err(format!(
                    "the stack nests over {} levels or holds over {} values",
                    limits.max_depth, limits.max_values
                ));
            }
        }
        match &stack {
            Value::Array(frames) if frames.is_empty() => self.0 = None,
            Value::Array(_) => self.0 = Some(Box::new(stack)),
            _ => return Err("the stack is no longer a list".into()),
        }
        Ok(())
    }

    /// The topmost frame; all NULL if there is none or it is no object.
    pub(crate) fn top(&self) -> Top<'_> {
        let frame = self.0.as_deref().and_then(|stack| stack.as_array()?.last()?.as_object());
        let text = |key| frame.and_then(|frame| frame.get(key)?.as_str());
        Top { flow_id: text("flow_id"), step_id: text("step_id") }
    }

    pub(crate) fn memory(&self) -> usize {
        fn values(value: &Value) -> usize {
            match value {
                Value::Array(items) => 1 + items.iter().map(values).sum::<usize>(),
                Value::Object(map) => 1 + map.values().map(values).sum::<usize>(),
                _ => 1,
            }
        }
        // A value with its key takes about this much.
        self.0.as_deref().map_or(0, |stack| values(stack) * 80)
    }
}

fn within(value: &Value, limits: &json::Limits) -> bool {
    fn count(value: &Value, depth: usize, limits: &json::Limits, values: &mut usize) -> bool {
        *values += 1;
        if *values > limits.max_values {
            return false;
        }
        match value {
            Value::Array(items) => {
                depth < limits.max_depth && items.iter().all(|item| count(item, depth + 1, limits, values))
            }
            Value::Object(map) => {
                depth < limits.max_depth && map.values().all(|item| count(item, depth + 1, limits, values))
            }
            _ => true,
        }
    }
    count(value, 0, limits, &mut 0)
}

impl Serialize for Stack {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_deref().map(Value::to_string).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Stack {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        let Some(text) = text else { return Ok(Self(None)) };
        let value = json::to_value(&text, &json::Limits::STACK);
        let value = value.ok_or_else(|| serde::de::Error::custom("the stored stack is not JSON"))?;
        Ok(Self(Some(Box::new(value))))
    }
}

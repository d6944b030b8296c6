//! Keeps the dialogue stack of CALM assistants: `stack` events patch it, session starts reset it.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use turnmill_model::json;

/// Holds the present stack: a JSON list of frames, bottom first. It is one pointer, because most
/// stacks are empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Stack(Option<Box<Value>>);

/// The frame on top of the stack after a patch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TopFrame<'s> {
    /// Its flow, or its skill where it has no flow.
    pub(crate) flow_id: Option<&'s str>,
    /// Its step, after the name of its block and a slash where it is in a block.
    pub(crate) step_id: Option<Cow<'s, str>>,
}

impl Stack {
    pub(crate) fn reset(&mut self) {
        self.0 = None;
    }

    /// Applies a JSON Patch, given as text. Leaves the stack unchanged on an error.
    pub(crate) fn patch(&mut self, update: Option<&str>) -> Result<(), String> {
        let update = update.ok_or("`update` is not a text")?;
        let limits = json::Limits::STACK;
        let mut patch =
            json::to_value(update, &limits).ok_or("`update` is not JSON of an acceptable size")?;
        whole_numbers(&mut patch);
        let operations: Vec<json_patch::PatchOperation> = serde_json::from_value(patch)
            .map_err(|error| format!("`update` is not a JSON Patch: {error}"))?;
        let mut stack = self.0.as_deref().cloned().unwrap_or_else(|| Value::Array(Vec::new()));
        // One operation at a time: a chain of `copy` doubles the stack with each, so the limits are
        // checked in between.
        for operation in &operations {
            json_patch::patch(&mut stack, std::slice::from_ref(operation))
                .map_err(|error| error.to_string())?;
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

    /// Returns the topmost frame; without fields if there is none, or if it is no object.
    pub(crate) fn top(&self) -> TopFrame<'_> {
        let frame = self.0.as_deref().and_then(|stack| stack.as_array()?.last()?.as_object());
        let text = |key| frame.and_then(|frame| frame.get(key)?.as_str());
        let step_id = text("step_id").map(|step| match text("block_id") {
            Some(block) => Cow::Owned(format!("{block}/{step}")),
            None => Cow::Borrowed(step),
        });
        TopFrame { flow_id: text("flow_id").or_else(|| text("skill_id")), step_id }
    }

    pub(crate) fn memory(&self) -> usize {
        fn values(value: &Value) -> usize {
            match value {
                Value::Array(items) => 1 + items.iter().map(values).sum::<usize>(),
                Value::Object(map) => 1 + map.values().map(values).sum::<usize>(),
                _ => 1,
            }
        }
        // A value with its key takes about 80 bytes.
        self.0.as_deref().map_or(0, |stack| values(stack) * 80)
    }
}

/// Turns floats without a fraction into integers: JSON Patch compares numbers by value, so `1`
/// equals `1.0`.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(map) => map.values_mut().for_each(whole_numbers),
        Value::Number(number) => {
            if let Some(float) = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 9.0e15)
            {
                // The conversion is exact below 2^53.
                *value = Value::from(float as i64);
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
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

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(patches: &[&str]) -> Result<Stack, String> {
        let mut stack = Stack::default();
        patches.iter().try_for_each(|patch| stack.patch(Some(patch)))?;
        Ok(stack)
    }

    #[test]
    fn the_top_is_the_last_frame() {
        let stack = patched(&[
            r#"[{"op": "add", "path": "/0", "value": {"flow_id": "a", "step_id": "START"}}]"#,
            r#"[{"op": "add", "path": "/-", "value": {"flow_id": "b"}}, {"op": "replace", "path": "/0/step_id", "value": "1"}]"#,
        ])
        .unwrap();
        assert_eq!(stack.top(), TopFrame { flow_id: Some("b"), step_id: None });
    }

    #[test]
    fn frames_of_skills_name_the_skill_and_the_block() {
        let block = r#"{"skill_id": "book", "block_id": "main", "step_id": "1", "type": "ordered_block"}"#;
        let stack = patched(&[&format!(r#"[{{"op": "add", "path": "/0", "value": {block}}}]"#)]).unwrap();
        assert_eq!(stack.top(), TopFrame { flow_id: Some("book"), step_id: Some("main/1".into()) });
        let skill = r#"[{"op": "add", "path": "/0", "value": {"skill_id": "book", "block_id": "main", "flow_id": 5}}]"#;
        assert_eq!(patched(&[skill]).unwrap().top(), TopFrame { flow_id: Some("book"), step_id: None });
    }

    #[test]
    fn a_patch_that_fails_is_undone_whole() {
        let mut stack = patched(&[r#"[{"op": "add", "path": "/0", "value": {"flow_id": "a"}}]"#]).unwrap();
        let before = stack.clone();
        for patch in [
            r#"[{"op": "remove", "path": "/0"}, {"op": "test", "path": "/0", "value": 1}]"#,
            r#"[{"op": "replace", "path": "", "value": {"flow_id": "no list"}}]"#,
            r#"[{"op": "add", "path": "/7", "value": 1}]"#,
            "not JSON",
            r#"{"op": "add"}"#,
        ] {
            assert!(stack.patch(Some(patch)).is_err(), "{patch}");
            assert_eq!(stack, before);
        }
        assert!(stack.patch(None).is_err());
    }

    #[test]
    fn numbers_compare_by_value() {
        let stack = r#"[{"op": "add", "path": "/0", "value": {"n": 1.0}}, {"op": "test", "path": "/0/n", "value": 1}]"#;
        assert!(patched(&[stack]).is_ok());
    }

    #[test]
    fn repeated_copies_end_at_the_limit() {
        let mut patches = vec![r#"[{"op": "add", "path": "/0", "value": [0]}]"#.to_owned()];
        patches.extend((0..20).map(|_| r#"[{"op": "copy", "from": "/0", "path": "/0/-"}]"#.to_owned()));
        let patches: Vec<&str> = patches.iter().map(String::as_str).collect();
        assert!(patched(&patches).unwrap_err().contains("100000 values"));
    }

    #[test]
    fn state_survives_serialisation() {
        let stack =
            patched(&[r#"[{"op": "add", "path": "/0", "value": {"flow_id": "ü", "x": [1.5, null]}}]"#])
                .unwrap();
        for stack in [stack, Stack::default()] {
            let bytes = postcard::to_stdvec(&stack).unwrap();
            assert_eq!(postcard::from_bytes::<Stack>(&bytes).unwrap(), stack);
        }
    }
}

//! YAML 1.2 with the core schema for plain values: `true` is not a text, `yes` is one.

use std::collections::HashMap;
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use crate::diagnostic::Location;
use crate::value::{Data, Key, MAX_LEVELS, Unreadable, Value};

/// A collection that has not ended yet.
struct Open {
    location: Location,
    anchor: usize,
    values: Vec<Value>,
    /// The keys of a mapping. The value of the last one may be missing.
    keys: Option<Vec<Key>>,
}

/// Reads the only document of a text. An empty text is null.
pub(crate) fn read(text: &str) -> Result<Value, Unreadable> {
    let mut reader = Reader { open: Vec::new(), anchors: HashMap::new(), root: None, values: 0 };
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, span)) => reader.event(event, &span)?,
            Err(error) => return Err(refused(&error)),
        }
    }
    Ok(reader.root.unwrap_or_else(|| Value::scalar(Location::START, Data::Null)))
}

fn refused(error: &saphyr_parser::ScanError) -> Unreadable {
    let marker = error.marker();
    let location = Location { line: marker.line().max(1), column: marker.col() + 1 };
    let message = error.info();
    // To find keys, the parser counts the open brackets of a line, up to 255.
    if message.contains("recursion limit") {
        return Unreadable::too_deep(location);
    }
    Unreadable::invalid(message, location)
}

struct Reader {
    open: Vec<Open>,
    anchors: HashMap<usize, Value>,
    root: Option<Value>,
    values: usize,
}

impl Reader {
    fn event(&mut self, event: Event<'_>, span: &Span) -> Result<(), Unreadable> {
        let location = Location { line: span.start.line().max(1), column: span.start.col() + 1 };
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                return Err(Unreadable::invalid("more than one document", location));
            }
            Event::Scalar(text, style, anchor, tag) => {
                let data = scalar(&text, style, tag.as_deref(), location)?;
                let value = Value::scalar(location, data);
                return self.node(value, anchor, Some(&text));
            }
            Event::Alias(anchor) => {
                let Some(value) = self.anchors.get(&anchor).cloned() else {
                    return Err(Unreadable::invalid("an alias to what it stands in", location));
                };
                let text = match &value.data {
                    Data::Text(text) => Some(Rc::clone(text)),
                    Data::Null | Data::Other(_) | Data::List(_) | Data::Mapping(_) => None,
                };
                self.count(value.size, location)?;
                if self.open.len() + value.height > MAX_LEVELS {
                    return Err(Unreadable::too_deep(location));
                }
                return self.location(value, text.as_deref(), location);
            }
            Event::SequenceStart(anchor, tag) => self.begin(location, anchor, tag.as_deref(), None)?,
            Event::MappingStart(anchor, tag) => {
                self.begin(location, anchor, tag.as_deref(), Some(Vec::new()))?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else {
                    return Err(Unreadable::invalid("a closing mark without its opening", location));
                };
                let value = match open.keys {
                    None => Value::list(open.location, open.values),
                    Some(keys) => Value::mapping(open.location, keys.into_iter().zip(open.values).collect()),
                };
                return self.node(value, open.anchor, None);
            }
            _ => {}
        }
        Ok(())
    }

    fn begin(
        &mut self,
        location: Location,
        anchor: usize,
        tag: Option<&Tag>,
        keys: Option<Vec<Key>>,
    ) -> Result<(), Unreadable> {
        let usual = if keys.is_some() { "map" } else { "seq" };
        if tag.is_some_and(|tag| core(tag) != Some(usual) && !is_non_specific(tag)) {
            return Err(Unreadable::invalid("a YAML tag that is not read here", location));
        }
        if self.open.len() >= MAX_LEVELS {
            return Err(Unreadable::too_deep(location));
        }
        self.open.push(Open { location, anchor, values: Vec::new(), keys });
        Ok(())
    }

    fn node(&mut self, value: Value, anchor: usize, text: Option<&str>) -> Result<(), Unreadable> {
        let location = value.location;
        self.count(1, location)?;
        if anchor != 0 {
            self.anchors.insert(anchor, value.clone());
        }
        self.location(value, text, location)
    }

    fn count(&mut self, more: usize, location: Location) -> Result<(), Unreadable> {
        self.values = self.values.saturating_add(more);
        if self.values > crate::MAX_VALUES { Err(Unreadable::too_large(location)) } else { Ok(()) }
    }

    /// Adds a value to the open collection. `text` is a scalar as it was written.
    fn location(&mut self, value: Value, text: Option<&str>, location: Location) -> Result<(), Unreadable> {
        match self.open.last_mut() {
            None => self.root = Some(value),
            Some(Open { keys: Some(keys), values, .. }) if keys.len() == values.len() => {
                let text = text.ok_or_else(|| {
                    Unreadable::invalid(format!("{} as the key of a mapping", value.kind_name()), location)
                })?;
                keys.push(Key { location, text: text.into() });
            }
            Some(open) => open.values.push(value),
        }
        Ok(())
    }
}

/// Returns the name of a tag of YAML's core schema.
fn core(tag: &Tag) -> Option<&str> {
    tag.is_yaml_core_schema().then_some(tag.suffix.as_str())
}

/// Returns whether the tag is `!`, which declares a plain value to be a text.
fn is_non_specific(tag: &Tag) -> bool {
    tag.handle.is_empty() && tag.suffix == "!" || tag.handle == "!" && tag.suffix.is_empty()
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, location: Location) -> Result<Data, Unreadable> {
    if text.contains('\0') {
        return Err(Unreadable::invalid("a NUL character, which no table can hold", location));
    }
    let plain = match tag {
        None => style == ScalarStyle::Plain,
        Some(tag) if is_non_specific(tag) => false,
        Some(tag) => match core(tag) {
            Some("str") => false,
            Some("null" | "bool" | "int" | "float") => true,
            _ => return Err(Unreadable::invalid("a YAML tag that is not read here", location)),
        },
    };
    Ok(if plain { resolve(text) } else { Data::Text(text.into()) })
}

/// Resolves a plain scalar with YAML's core schema.
fn resolve(text: &str) -> Data {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Data::Null,
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => Data::Other("a truth value"),
        _ if is_number(text) => Data::Other("a number"),
        _ => Data::Text(text.into()),
    }
}

fn is_number(text: &str) -> bool {
    let all = |text: &str, digit: fn(&u8) -> bool| !text.is_empty() && text.bytes().all(|byte| digit(&byte));
    if let Some(digits) = text.strip_prefix("0o") {
        return all(digits, |byte| matches!(byte, b'0'..=b'7'));
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return all(digits, u8::is_ascii_hexdigit);
    }
    if matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return true;
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let exponent_fits = exponent.is_none_or(|exponent| {
        all(exponent.strip_prefix(['+', '-']).unwrap_or(exponent), u8::is_ascii_digit)
    });
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    exponent_fits && !(whole.is_empty() && fraction.is_empty()) && digits(whole) && digits(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_values_have_the_core_reading() {
        for text in
            ["0", "-12", "+1", "1.5", ".5", "1.", "1e3", "1.5E-3", "0o17", "0xfF", ".inf", "-.INF", ".nan"]
        {
            assert!(matches!(resolve(text), Data::Other("a number")), "{text}");
        }
        for text in
            ["yes", "no", "on", "off", "y", "1_000", "0b1", "1:30", "2026-11-21", ".", "-", "e3", "1e", "0x"]
        {
            assert!(matches!(resolve(text), Data::Text(_)), "{text}");
        }
        for text in ["true", "False"] {
            assert!(matches!(resolve(text), Data::Other("a truth value")), "{text}");
        }
        for text in ["", "~", "null"] {
            assert!(matches!(resolve(text), Data::Null), "{text}");
        }
    }
}

//! JSON and Python's dictionary notation, in which stored configurations may be written.

use crate::diagnostic::Location;
use crate::value::{Data, Key, MAX_LEVELS, Unreadable, Value};

/// Reads strict JSON.
pub(crate) fn read_json(text: &str) -> Result<Value, Unreadable> {
    // serde_json checks the syntax. The reader below only finds locations.
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        let location = Location { line: error.line().max(1), column: error.column().max(1) };
        return Err(Unreadable::invalid(plain(&error), location));
    }
    Reader::new(text, false).all()
}

/// Reads a Python literal of dictionaries, lists, texts, numbers, `True`, `False` and `None`.
pub(crate) fn read_python(text: &str) -> Result<Value, Unreadable> {
    Reader::new(text, true).all()
}

/// Returns the message without its location.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_lowercase()
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    /// Offset and number of the current line.
    line: (usize, usize),
    python: bool,
    values: usize,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str, python: bool) -> Self {
        Reader { text, at: 0, line: (0, 1), python, values: 0 }
    }

    fn all(mut self) -> Result<Value, Unreadable> {
        let value = self.value(0)?;
        self.blank();
        if self.at < self.text.len() {
            return Err(self.unexpected());
        }
        Ok(value)
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn location(&self) -> Location {
        let line = self.text.get(self.line.0..self.at).unwrap_or_default();
        Location { line: self.line.1, column: line.chars().count() + 1 }
    }

    fn unexpected(&self) -> Unreadable {
        let message = match self.rest().chars().next() {
            Some(found) => format!("unexpected `{found}`"),
            None => "unexpected end".to_owned(),
        };
        Unreadable::invalid(message, self.location())
    }

    fn blank(&mut self) {
        while let Some(byte @ (b' ' | b'\t' | b'\r' | b'\n')) = self.peek() {
            self.at += 1;
            if byte == b'\n' {
                self.line = (self.at, self.line.1 + 1);
            }
        }
    }

    fn value(&mut self, level: usize) -> Result<Value, Unreadable> {
        self.blank();
        let location = self.location();
        self.values += 1;
        if self.values > crate::MAX_VALUES {
            return Err(Unreadable::too_large(location));
        }
        match self.peek() {
            Some(b'{' | b'[') if level >= MAX_LEVELS => Err(Unreadable::too_deep(location)),
            Some(b'{') => {
                let mut entries = Vec::new();
                self.items(b'}', |reader| {
                    let location = reader.location();
                    let text = reader.string()?.into();
                    reader.blank();
                    if reader.peek() != Some(b':') {
                        return Err(reader.unexpected());
                    }
                    reader.at += 1;
                    entries.push((Key { location, text }, reader.value(level + 1)?));
                    Ok(())
                })?;
                Ok(Value::mapping(location, entries))
            }
            Some(b'[') => {
                let mut values = Vec::new();
                self.items(b']', |reader| {
                    values.push(reader.value(level + 1)?);
                    Ok(())
                })?;
                Ok(Value::list(location, values))
            }
            Some(b'"' | b'\'') => Ok(Value::scalar(location, Data::Text(self.string()?.into()))),
            _ => self.word(location),
        }
    }

    /// Reads what is between the next opening bracket and its closing one.
    fn items(
        &mut self,
        close: u8,
        mut item: impl FnMut(&mut Self) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        self.at += 1;
        self.blank();
        while self.peek() != Some(close) {
            item(self)?;
            self.blank();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(byte) if byte == close => break,
                _ => return Err(self.unexpected()),
            }
            self.blank();
        }
        self.at += 1;
        Ok(())
    }

    fn word(&mut self, location: Location) -> Result<Value, Unreadable> {
        let end = self.rest().find([',', ']', '}', ':', ' ', '\t', '\r', '\n']).unwrap_or(self.rest().len());
        let word = self.rest().get(..end).unwrap_or_default();
        let data = match (word, self.python) {
            ("null", false) | ("None", true) => Data::Null,
            ("true" | "false", false) | ("True" | "False", true) => Data::Other("a truth value"),
            _ if word.parse::<f64>().is_ok() => Data::Other("a number"),
            _ => return Err(self.unexpected()),
        };
        self.at += end;
        Ok(Value::scalar(location, data))
    }

    fn string(&mut self) -> Result<String, Unreadable> {
        let (start, location) = (self.at, self.location());
        let quote = match self.peek() {
            Some(b'"') => '"',
            Some(b'\'') if self.python => '\'',
            _ => return Err(self.unexpected()),
        };
        let body = self.rest().get(1..).unwrap_or_default();
        let mut escaped = false;
        let end = body.find(|c: char| {
            let ends = c == quote && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let Some(end) = end else { return Err(Unreadable::invalid("a text without its end", location)) };
        self.at = start + end + 2;
        let text = if self.python {
            unescape(body.get(..end).unwrap_or_default())
        } else {
            serde_json::from_str(self.text.get(start..self.at).unwrap_or_default()).ok()
        };
        let text =
            text.ok_or_else(|| Unreadable::invalid("an escape that stands for no character", location))?;
        if text.contains('\0') {
            return Err(Unreadable::invalid("a NUL character, which no table can hold", location));
        }
        Ok(text)
    }
}

/// Resolves Python's escapes. Returns `None` if one of them is not a character.
fn unescape(body: &str) -> Option<String> {
    let mut text = String::with_capacity(body.len());
    let mut chars = body.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            text.push(c);
            continue;
        }
        let digits = match chars.next()? {
            'n' => Err('\n'),
            'r' => Err('\r'),
            't' => Err('\t'),
            'a' => Err('\u{7}'),
            'b' => Err('\u{8}'),
            'f' => Err('\u{c}'),
            'v' => Err('\u{b}'),
            'x' => Ok(2),
            'u' => Ok(4),
            'U' => Ok(8),
            c @ ('\\' | '\'' | '"') => Err(c),
            _ => return None,
        };
        match digits {
            Err(c) => text.push(c),
            Ok(digits) => {
                let mut code = 0;
                for _ in 0..digits {
                    code = code * 16 + chars.next()?.to_digit(16)?;
                }
                text.push(char::from_u32(code)?);
            }
        }
    }
    Some(text)
}

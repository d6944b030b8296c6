//! A parser for what Python's `json.loads` accepts, into a flat borrowed tree.

use std::collections::HashMap;

use memchr::memchr2;

use super::{MAX_DEPTH, Raw};

/// How much JSON is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Levels of lists and objects; the outermost is level 1.
    pub max_depth: usize,
    /// Values, lists and objects included, keys not.
    pub max_values: usize,
}

impl Limits {
    /// Those for dialogue stacks and their patches: [`MAX_DEPTH`] levels and 100,000 values.
    pub const STACK: Self = Self { max_depth: MAX_DEPTH, max_values: 100_000 };
}

/// [`MAX_DEPTH`] levels, any number of values.
impl Default for Limits {
    fn default() -> Self {
        Self { max_depth: MAX_DEPTH, max_values: usize::MAX }
    }
}

/// Why a text is not read as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault} at byte {position}")]
pub struct ParseError {
    /// Where, in bytes from the text's start.
    pub position: usize,
    /// What is wrong there.
    pub fault: Fault,
}

/// What is wrong with a JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// No value where one must be.
    #[error("expected a value")]
    ExpectedValue,
    /// No string where a key must be.
    #[error("expected a key in quotes")]
    ExpectedKey,
    /// No colon after a key.
    #[error("expected `:`")]
    ExpectedColon,
    /// A value is followed by neither a comma nor its container's end.
    #[error("expected `,` or the end of the list or object")]
    ExpectedComma,
    /// A string is not closed.
    #[error("string without end")]
    EndlessString,
    /// A control character stands in a string unescaped.
    #[error("control character in a string")]
    ControlCharacter,
    /// No escape sequence of JSON.
    #[error("unknown escape sequence")]
    BadEscape,
    /// No number of JSON.
    #[error("malformed number")]
    BadNumber,
    /// Something follows the value.
    #[error("text after the value")]
    Trailing,
    /// Deeper than [`Limits::max_depth`].
    #[error("nested too deeply")]
    TooDeep,
    /// More than [`Limits::max_values`].
    #[error("too many values")]
    TooManyValues,
    /// The text has 4 GiB or more.
    #[error("text of 4 GiB or more")]
    TooLong,
}

/// A parsed JSON text: where its values begin and end, 12 bytes a value, in one allocation.
///
/// Neither building, walking nor dropping one recurses.
///
/// ```
/// use turnmill_model::json::{Limits, Tree};
/// let tree = Tree::parse(r#"[{"command": "start flow", "flow": "transfer"}, NaN]"#, &Limits::default())?;
/// let first = tree.root().items().next().unwrap();
/// assert_eq!(first.get("flow").unwrap().raw().as_text().unwrap(), "transfer");
/// # Ok::<(), turnmill_model::json::ParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tree<'a> {
    text: &'a str,
    /// In the order of the text; a container stands before what it holds, a key before its value.
    spans: Vec<Span>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    end: u32,
    /// Index of the first span behind this one and all it holds.
    next: u32,
}

impl<'a> Tree<'a> {
    /// Parses `text`, which is one JSON value, maybe with white space around it.
    ///
    /// Accepts `NaN`, `Infinity`, `-Infinity`, escapes of lone surrogates and numbers of any length; is otherwise as
    /// strict as the standard. What is no JSON is that first, however deep it is; and a value under a key that comes again
    /// is nobody's, so it may be of any depth, and is then taken for one that holds nothing.
    ///
    /// # Errors
    ///
    /// [`ParseError`] for any other text and beyond `limits`.
    pub fn parse(text: &'a str, limits: &Limits) -> Result<Self, ParseError> {
        if u32::try_from(text.len()).is_err() {
            return Err(ParseError { position: 0, fault: Fault::TooLong });
        }
        let mut parser = Parser {
            bytes: text.as_bytes(),
            at: 0,
            spans: Vec::new(),
            open: Vec::new(),
            deep: Vec::new(),
            values: 0,
            limits: *limits,
        };
        parser.document()?;
        let deep = parser.deep;
        let tree = Self { text, spans: parser.spans };
        match tree.first_that_counts(&deep) {
            Some(index) => {
                Err(ParseError { position: tree.span(index).start as usize, fault: Fault::TooDeep })
            }
            None => Ok(tree),
        }
    }

    /// The first of the values at these ascending indices that no later value under the same key replaces.
    fn first_that_counts(&self, deep: &[usize]) -> Option<usize> {
        if deep.is_empty() {
            return None;
        }
        let (mut first, mut open) = (None, vec![self.root()]);
        while let Some(node) = open.pop() {
            if deep.binary_search(&node.index).is_ok() {
                first = Some(first.map_or(node.index, |index: usize| index.min(node.index)));
            }
            open.extend(node.items());
            let last: HashMap<_, _> = node.entries().map(|(key, value)| (key.as_key(), value)).collect();
            open.extend(last.into_values());
        }
        first
    }

    /// The outermost value.
    #[must_use]
    pub fn root(&self) -> Node<'_, 'a> {
        Node { tree: self, index: 0 }
    }

    fn span(&self, index: usize) -> Span {
        self.spans.get(index).copied().unwrap_or(Span { start: 0, end: 0, next: u32::MAX })
    }

    fn raw(&self, index: usize) -> Raw<'a> {
        let span = self.span(index);
        Raw::assume_valid(self.text.get(span.start as usize..span.end as usize).unwrap_or_default())
    }
}

/// A value of a [`Tree`].
#[derive(Clone, Copy, Debug)]
pub struct Node<'t, 'a> {
    tree: &'t Tree<'a>,
    index: usize,
}

impl<'t, 'a> Node<'t, 'a> {
    /// The value's text.
    #[must_use]
    pub fn raw(self) -> Raw<'a> {
        self.tree.raw(self.index)
    }

    /// The items of a list; none for other types.
    #[must_use]
    pub fn items(self) -> Items<'t, 'a> {
        let range = if self.raw().is_list() { self.inside() } else { 0..0 };
        Items { tree: self.tree, range }
    }

    /// The keys and values of an object as written, duplicates included; none for other types.
    #[must_use]
    pub fn entries(self) -> Entries<'t, 'a> {
        let range = if self.raw().is_object() { self.inside() } else { 0..0 };
        Entries { tree: self.tree, range }
    }

    /// The value of an object under `key`; of duplicates the last. `None` for other types.
    #[must_use]
    pub fn get(self, key: &str) -> Option<Node<'t, 'a>> {
        self.entries().filter(|(name, _)| name.as_key() == key).map(|(_, value)| value).last()
    }

    fn inside(self) -> std::ops::Range<usize> {
        self.index + 1..self.tree.span(self.index).next as usize
    }
}

/// Iterator over the items of a list.
#[derive(Clone, Debug)]
pub struct Items<'t, 'a> {
    tree: &'t Tree<'a>,
    range: std::ops::Range<usize>,
}

impl<'t, 'a> Iterator for Items<'t, 'a> {
    type Item = Node<'t, 'a>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.range.is_empty() {
            return None;
        }
        let index = self.range.start;
        self.range.start = self.tree.span(index).next as usize;
        Some(Node { tree: self.tree, index })
    }
}

/// Iterator over the keys and values of an object.
#[derive(Clone, Debug)]
pub struct Entries<'t, 'a> {
    tree: &'t Tree<'a>,
    range: std::ops::Range<usize>,
}

impl<'t, 'a> Iterator for Entries<'t, 'a> {
    type Item = (Raw<'a>, Node<'t, 'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.range.is_empty() {
            return None;
        }
        let key = self.range.start;
        self.range.start = self.tree.span(key + 1).next as usize;
        Some((self.tree.raw(key), Node { tree: self.tree, index: key + 1 }))
    }
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    spans: Vec<Span>,
    /// Indices of the spans of the open lists and objects.
    open: Vec<usize>,
    /// Those of the lists and objects that are too deep to be looked into.
    deep: Vec<usize>,
    values: usize,
    limits: Limits,
}

impl Parser<'_> {
    fn document(&mut self) -> Result<(), ParseError> {
        loop {
            // Here a value must begin.
            let opened = self.value()?;
            if opened && !self.closes_at_once()? {
                continue;
            }
            // Here a value has ended, and maybe its container with it.
            while let Some(&container) = self.open.last() {
                match self.peek() {
                    Some(b',') => {
                        self.at += 1;
                        if self.in_object(container) {
                            self.key()?;
                        }
                        break;
                    }
                    Some(byte) if byte == self.closing(container) => self.close(container),
                    _ => return Err(self.fault(Fault::ExpectedComma)),
                }
            }
            if self.open.is_empty() {
                return match self.peek() {
                    None => Ok(()),
                    Some(_) => Err(self.fault(Fault::Trailing)),
                };
            }
        }
    }

    /// Reads a value; of a list or an object only its opening bracket, then true.
    fn value(&mut self) -> Result<bool, ParseError> {
        let first = self.peek();
        let start = self.at;
        if self.values == self.limits.max_values {
            return Err(self.fault(Fault::TooManyValues));
        }
        let is_container = matches!(first, Some(b'{' | b'['));
        let is_deep = is_container && self.open.len() >= self.limits.max_depth;
        if is_deep {
            self.deep.push(self.spans.len());
            self.pass()?;
        } else if is_container {
            self.open.push(self.spans.len());
            self.at += 1;
        } else {
            self.scalar()?;
        }
        self.values += 1;
        self.push(start);
        Ok(is_container && !is_deep)
    }

    /// Reads a value that is no list and no object.
    fn scalar(&mut self) -> Result<(), ParseError> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'n') => self.word(b"null"),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'N') => self.word(b"NaN"),
            Some(b'I') => self.word(b"Infinity"),
            Some(b'-') if self.bytes.get(self.at + 1) == Some(&b'I') => self.word(b"-Infinity"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.fault(Fault::ExpectedValue)),
        }
    }

    /// Goes past a value of any depth, adding no span.
    fn pass(&mut self) -> Result<(), ParseError> {
        // The closing brackets of what is open.
        let mut closings = Vec::new();
        loop {
            match self.peek() {
                Some(bracket @ (b'{' | b'[')) => {
                    self.at += 1;
                    let closing = bracket.wrapping_add(2);
                    closings.push(closing);
                    if self.peek() != Some(closing) {
                        if closing == b'}' {
                            self.name()?;
                            self.colon()?;
                        }
                        continue;
                    }
                }
                _ => self.scalar()?,
            }
            // Here a value has ended, or an empty container is about to.
            while let Some(&closing) = closings.last() {
                match self.peek() {
                    Some(byte) if byte == closing => {
                        self.at += 1;
                        closings.pop();
                    }
                    Some(b',') => {
                        self.at += 1;
                        if closing == b'}' {
                            self.name()?;
                            self.colon()?;
                        }
                        break;
                    }
                    _ => return Err(self.fault(Fault::ExpectedComma)),
                }
            }
            if closings.is_empty() {
                return Ok(());
            }
        }
    }

    /// Whether the container just opened holds nothing. If it is an object that does, its first key is read.
    fn closes_at_once(&mut self) -> Result<bool, ParseError> {
        let Some(&container) = self.open.last() else { return Ok(true) };
        if self.peek() == Some(self.closing(container)) {
            self.close(container);
            return Ok(true);
        }
        if self.in_object(container) {
            self.key()?;
        }
        Ok(false)
    }

    fn key(&mut self) -> Result<(), ParseError> {
        self.peek();
        let start = self.at;
        self.name()?;
        self.push(start);
        self.colon()
    }

    fn name(&mut self) -> Result<(), ParseError> {
        if self.peek() == Some(b'"') { self.string() } else { Err(self.fault(Fault::ExpectedKey)) }
    }

    fn colon(&mut self) -> Result<(), ParseError> {
        if self.peek() != Some(b':') {
            return Err(self.fault(Fault::ExpectedColon));
        }
        self.at += 1;
        Ok(())
    }

    fn string(&mut self) -> Result<(), ParseError> {
        self.at += 1;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let run = memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
            if let Some(control) = rest.iter().take(run).position(|byte| *byte < 0x20) {
                self.at += control;
                return Err(self.fault(Fault::ControlCharacter));
            }
            self.at += run;
            match rest.get(run) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(_) => self.escape()?,
                None => return Err(self.fault(Fault::EndlessString)),
            }
        }
    }

    fn escape(&mut self) -> Result<(), ParseError> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let digits = self.bytes.get(self.at + 2..self.at + 6).unwrap_or_default();
                if digits.len() != 4 || !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err(self.fault(Fault::BadEscape));
                }
                self.at += 6;
            }
            Some(_) => return Err(self.fault(Fault::BadEscape)),
            None => return Err(self.fault(Fault::EndlessString)),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), ParseError> {
        if self.next_is(b"-") {
            self.at += 1;
        }
        if self.next_is(b"0") {
            self.at += 1;
            if self.digits() > 0 {
                return Err(self.fault(Fault::BadNumber));
            }
        } else {
            self.some_digits()?;
        }
        if self.next_is(b".") {
            self.at += 1;
            self.some_digits()?;
        }
        if self.next_is(b"eE") {
            self.at += 1;
            if self.next_is(b"+-") {
                self.at += 1;
            }
            self.some_digits()?;
        }
        Ok(())
    }

    fn some_digits(&mut self) -> Result<(), ParseError> {
        if self.digits() == 0 { Err(self.fault(Fault::BadNumber)) } else { Ok(()) }
    }

    fn digits(&mut self) -> usize {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        count
    }

    fn next_is(&self, any_of: &[u8]) -> bool {
        self.bytes.get(self.at).is_some_and(|byte| any_of.contains(byte))
    }

    fn word(&mut self, word: &[u8]) -> Result<(), ParseError> {
        if !self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            return Err(self.fault(Fault::ExpectedValue));
        }
        self.at += word.len();
        Ok(())
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.bytes.get(self.at)? {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                byte => return Some(*byte),
            }
        }
    }

    /// Adds the span from `start` to here.
    fn push(&mut self, start: usize) {
        // Every span takes at least a byte of a text whose length fits.
        let next = self.spans.len() as u32 + 1;
        self.spans.push(Span { start: start as u32, end: self.at as u32, next });
    }

    fn close(&mut self, container: usize) {
        self.at += 1;
        self.open.pop();
        let next = self.spans.len() as u32;
        if let Some(span) = self.spans.get_mut(container) {
            span.end = self.at as u32;
            span.next = next;
        }
    }

    fn in_object(&self, container: usize) -> bool {
        self.closing(container) == b'}'
    }

    /// The bracket that closes the container: two code points behind the one that opens it.
    fn closing(&self, container: usize) -> u8 {
        let start = self.spans.get(container).map_or(0, |span| span.start as usize);
        self.bytes.get(start).map_or(0, |byte| byte.wrapping_add(2))
    }

    fn fault(&self, fault: Fault) -> ParseError {
        ParseError { position: self.at, fault }
    }
}

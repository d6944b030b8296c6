//! Decoding of UTF-16 text to UTF-8.

use std::io::{self, Read};

/// Bytes read at once.
const CHUNK: usize = 32 << 10;

/// Which byte of a unit comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteOrder {
    Little,
    Big,
}

/// Returns the byte order if text that begins with `first` is UTF-16. It has a byte order mark, or
/// begins as JSON with a zero in every other byte.
pub(crate) fn byte_order(first: &[u8]) -> Option<ByteOrder> {
    match first {
        // The same mark followed by two zeros is that of UTF-32.
        [0xff, 0xfe, 0, 0, ..] => None,
        [0xff, 0xfe, ..] => Some(ByteOrder::Little),
        [0xfe, 0xff, ..] => Some(ByteOrder::Big),
        [b'{' | b'[' | b'"', 0, second, 0, ..] if *second != 0 => Some(ByteOrder::Little),
        [0, b'{' | b'[' | b'"', 0, second, ..] if *second != 0 => Some(ByteOrder::Big),
        _ => None,
    }
}

/// Decodes UTF-16 to UTF-8. A surrogate without its partner becomes U+FFFD.
pub(crate) struct Utf16<R> {
    inner: R,
    order: ByteOrder,
    /// Bytes that were read and not decoded yet.
    raw: Vec<u8>,
    /// Decoded text. The part from `at` on was not returned yet.
    text: Vec<u8>,
    at: usize,
    first: bool,
}

impl<R: Read> Utf16<R> {
    pub(crate) fn new(inner: R, order: ByteOrder) -> Self {
        Self { inner, order, raw: Vec::new(), text: Vec::new(), at: 0, first: true }
    }

    /// Decodes all complete characters, and an incomplete one too at the `end`.
    ///
    /// A high surrogate at the end of `raw` waits for its partner: a chunk may end between the two.
    fn decode(&mut self, end: bool) {
        let unit = |pair: &[u8]| match (self.order, pair) {
            (ByteOrder::Little, [low, high]) => u16::from_le_bytes([*low, *high]),
            (ByteOrder::Big, [high, low]) => u16::from_be_bytes([*high, *low]),
            _ => 0xfffd,
        };
        let mut units: Vec<u16> = self.raw.chunks_exact(2).map(unit).collect();
        let mut used = units.len() * 2;
        if !end && units.last().is_some_and(|unit| (0xd800..0xdc00).contains(unit)) {
            units.pop();
            used -= 2;
        }
        self.raw.drain(..used);
        if end && !self.raw.is_empty() {
            self.raw.clear();
            units.push(0xfffd);
        }
        self.text.clear();
        self.at = 0;
        let mut bytes = [0; 4];
        for (index, decoded) in char::decode_utf16(units).enumerate() {
            let character = decoded.unwrap_or(char::REPLACEMENT_CHARACTER);
            if index == 0 && std::mem::take(&mut self.first) && character == '\u{feff}' {
                continue;
            }
            self.text.extend_from_slice(character.encode_utf8(&mut bytes).as_bytes());
        }
    }
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.text.len() {
            let before = self.raw.len();
            self.raw.resize(before + CHUNK, 0);
            let read = self.inner.read(&mut self.raw[before..]);
            self.raw.truncate(before + read.as_ref().copied().unwrap_or(0));
            let end = read? == 0;
            self.decode(end);
            if end && self.text.is_empty() {
                return Ok(0);
            }
        }
        let length = buffer.len().min(self.text.len() - self.at);
        buffer[..length].copy_from_slice(&self.text[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

/// Text whose encoding is detected when its first bytes are read.
pub(crate) struct Text<R> {
    state: Option<State<R>>,
    /// The first bytes.
    head: Vec<u8>,
}

enum State<R> {
    Unknown(R),
    /// UTF-8, or other bytes.
    Plain(R),
    Utf16(Utf16<io::Chain<io::Cursor<Vec<u8>>, R>>),
}

/// Number of bytes that are needed to detect an encoding.
const HEAD: usize = 4;

impl<R: Read> Text<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { state: Some(State::Unknown(inner)), head: Vec::new() }
    }
}

impl<R: Read> Read for Text<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(State::Unknown(_)) = self.state {
            let Some(State::Unknown(mut inner)) = self.state.take() else { return Ok(0) };
            while self.head.len() < HEAD {
                let mut next = [0; HEAD];
                match inner.read(&mut next[..HEAD - self.head.len()]) {
                    Ok(0) => break,
                    Ok(read) => self.head.extend_from_slice(&next[..read]),
                    // Decide from what was read before the error. The next read reports it again.
                    Err(error) if self.head.is_empty() || error.kind() == io::ErrorKind::Interrupted => {
                        self.state = Some(State::Unknown(inner));
                        return Err(error);
                    }
                    Err(_) => break,
                }
            }
            self.state = Some(match byte_order(&self.head) {
                Some(order) => {
                    let head = io::Cursor::new(std::mem::take(&mut self.head));
                    State::Utf16(Utf16::new(head.chain(inner), order))
                }
                None => State::Plain(inner),
            });
        }
        if !self.head.is_empty() {
            let length = buffer.len().min(self.head.len());
            buffer[..length].copy_from_slice(&self.head[..length]);
            self.head.drain(..length);
            return Ok(length);
        }
        match &mut self.state {
            Some(State::Plain(inner)) => inner.read(buffer),
            Some(State::Utf16(text)) => text.read(buffer),
            Some(State::Unknown(_)) | None => Ok(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A reader that returns its bytes in pieces.
    struct Pieces(Vec<u8>, usize);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(buffer.len()).min(self.0.len());
            buffer[..length].copy_from_slice(&self.0[..length]);
            self.0.drain(..length);
            Ok(length)
        }
    }

    fn encoded(text: &str, order: ByteOrder, mark: bool) -> Vec<u8> {
        let marked = if mark { format!("\u{feff}{text}") } else { text.to_owned() };
        let bytes = |unit: u16| match order {
            ByteOrder::Little => unit.to_le_bytes(),
            ByteOrder::Big => unit.to_be_bytes(),
        };
        marked.encode_utf16().flat_map(bytes).collect()
    }

    fn decoded(bytes: &[u8], step: usize) -> String {
        let mut text = String::new();
        Text::new(Pieces(bytes.to_vec(), step)).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn marks_and_the_zeros_of_json_tell() {
        let text = "{\"a\": \"é🛒\"}\r\n";
        for order in [ByteOrder::Little, ByteOrder::Big] {
            for mark in [true, false] {
                for step in [1, 3, 100] {
                    assert_eq!(decoded(&encoded(text, order, mark), step), text);
                }
            }
        }
        assert_eq!(decoded(b"\xff\xfe{\0\x3d\xd8x", 5), "{\u{fffd}\u{fffd}");
        assert_eq!(decoded(b"\xef\xbb\xbf{}", 1), "\u{feff}{}");
    }

    proptest! {
        #[test]
        fn all_text_comes_through(text: String, step in 1..9_usize) {
            prop_assert_eq!(decoded(&encoded(&text, ByteOrder::Big, true), step), text.clone());
            prop_assert_eq!(decoded(text.as_bytes(), step), text);
        }
    }
}

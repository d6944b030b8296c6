//! The table `events` as text: CSV and similar formats, and the `COPY` block of a `pg_dump`.

use memchr::{memchr, memchr2};
use turnmill_model::{Reason, Refused};

use crate::batch::{Envelope, Meta, Outcome, RecordBatch, is_blank};
use crate::container::byte_order_mark;
use crate::respell::{all_doubled, copy_text, csv_text};
use crate::scan::{Kind, Scanner, Span};

/// The separator of columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delimiter {
    Comma,
    Semicolon,
    Tab,
    Bar,
}

impl Delimiter {
    const ALL: [Self; 4] = [Self::Tab, Self::Comma, Self::Semicolon, Self::Bar];

    fn byte(self) -> u8 {
        match self {
            Self::Comma => b',',
            Self::Semicolon => b';',
            Self::Tab => b'\t',
            Self::Bar => b'|',
        }
    }
}

/// The indexes of the needed columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    delimiter: Delimiter,
    /// Whether the first line names the columns.
    pub(crate) head: bool,
    id: Option<usize>,
    sender: Option<usize>,
    time: Option<usize>,
    data: Option<usize>,
}

impl Columns {
    pub(crate) fn none(delimiter: Delimiter) -> Self {
        Self { delimiter, head: false, id: None, sender: None, time: None, data: None }
    }

    fn named<'a>(delimiter: Delimiter, names: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut columns = Self { head: true, ..Self::none(delimiter) };
        let mut several = false;
        for (index, name) in names.enumerate() {
            several |= index > 0;
            let name = name.trim_ascii();
            let name = name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\"")).unwrap_or(name);
            // Some tools prefix the table's name.
            let name = name.rsplit(|byte| matches!(byte, b'.' | b'"' | b'`')).find(|part| !part.is_empty());
            let name = name.unwrap_or_default().to_ascii_lowercase();
            let column = match &*name {
                b"id" => &mut columns.id,
                b"sender_id" => &mut columns.sender,
                b"timestamp" => &mut columns.time,
                b"data" => &mut columns.data,
                _ => continue,
            };
            *column = column.or(Some(index));
        }
        (columns.data.is_some() && (several || columns.sender.is_some())).then_some(columns)
    }

    /// Returns the columns that the first line of a file names, or `None` if it is no head of
    /// `events`.
    pub(crate) fn head(line: &[u8]) -> Option<Self> {
        Delimiter::ALL.into_iter().find_map(|delimiter| {
            let columns = Self::named(delimiter, line.split(|byte| *byte == delimiter.byte()))?;
            columns.sender.is_some().then_some(columns)
        })
    }

    /// Returns the columns of a table without a head whose first row is `line`. It must have as
    /// many columns as the table of a tracker store or of an event broker.
    pub(crate) fn implied(line: &[u8]) -> Option<Self> {
        let mut fields = line.splitn(8, |byte| *byte == b'\t');
        let first = fields.next()?;
        let rest: Vec<&[u8]> = fields.collect();
        let is_id = !first.is_empty() && first.iter().all(u8::is_ascii_digit);
        let last = rest.last()?;
        let (time, data) = match rest.len() {
            6 => (Some(3), 6),
            2 => (None, 2),
            _ => return None,
        };
        let columns =
            Self { id: Some(0), sender: Some(1), time, data: Some(data), ..Self::none(Delimiter::Tab) };
        (is_id && last.starts_with(b"{")).then_some(columns)
    }

    /// Returns the columns of a dump's line `COPY public.events (id, sender_id, …) FROM stdin;`.
    pub(crate) fn of_copy(line: &[u8]) -> Option<Self> {
        let rest = line.strip_prefix(b"COPY ")?;
        let open = memchr(b'(', rest)?;
        let table = rest[..open].trim_ascii();
        let table = table.rsplit(|byte| *byte == b'.').next()?;
        let table = table.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\"")).unwrap_or(table);
        let close = memchr(b')', rest)?;
        if table != b"events" || !rest[close..].starts_with(b") FROM stdin;") {
            return None;
        }
        Self::named(Delimiter::Tab, rest[open + 1..close].split(|byte| *byte == b','))
    }
}

/// The state of reading a dump: the meaning of a line depends on the lines before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dump {
    /// The columns of the table `events`, inside of its block.
    columns: Option<Columns>,
    /// Inside of the block of another table.
    elsewhere: bool,
}

impl Dump {
    /// Goes past a line and returns its columns if it is a row of `events`.
    pub(crate) fn pass(&mut self, line: &[u8]) -> Option<Columns> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line == b"\\." {
            *self = Self::default();
            return None;
        }
        if self.columns.is_some() || self.elsewhere {
            return self.columns;
        }
        if line.starts_with(b"COPY ") && line.ends_with(b"FROM stdin;") {
            self.columns = Columns::of_copy(line);
            self.elsewhere = self.columns.is_none();
        }
        None
    }
}

/// A field of a row, and how it was quoted.
#[derive(Clone, Copy, Debug)]
struct Field {
    span: Span,
    quotes: Quotes,
}

/// How a field was quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quotes {
    None,
    /// Quotes inside are doubled.
    Doubled,
    /// Quotes and backslashes inside are escaped with a backslash, as MySQL's
    /// `INTO OUTFILE … ENCLOSED BY '"'` writes them.
    Escaped,
}

/// Reads the row at `at` and appends at most one record. Returns where to continue, or `None` if
/// the bytes end inside of the row.
pub(crate) fn read_row(
    columns: &Columns,
    at: usize,
    base: u64,
    end: bool,
    batch: &mut RecordBatch,
) -> Option<usize> {
    let first = base == 0 && at == 0;
    let start = if first { byte_order_mark(&batch.bytes) } else { at };
    let (fields, stop, next) = fields(&batch.bytes, start, end, columns.delimiter)?;
    let mut line = Span::new(start, stop);
    if line.of(&batch.bytes).last() == Some(&b'\r') {
        line.end -= 1;
    }
    // The head may follow a tool's messages, and occurs again in concatenated files.
    let is_named_data = |field: &Field| field.span.of(&batch.bytes).to_ascii_lowercase().ends_with(b"data");
    if columns.head
        && columns.data.and_then(|data| fields.get(data)).is_some_and(is_named_data)
        && Columns::head(line.of(&batch.bytes)) == Some(*columns)
    {
        return Some(next);
    }
    keep(columns, line, base + at as u64, &fields, batch);
    Some(next)
}

/// Reads the row in the line `line` of a `COPY` block.
pub(crate) fn read_copied(columns: &Columns, line: Span, offset: u64, batch: &mut RecordBatch) {
    let mut fields = Vec::new();
    let mut start = line.start;
    for part in line.of(&batch.bytes).split(|byte| *byte == b'\t') {
        fields.push(Field { span: Span::new(start, start + part.len()), quotes: Quotes::None });
        start += part.len() + 1;
    }
    keep(columns, line, offset, &fields, batch);
}

/// Splits the row at `start` into fields, and returns its end and the start of the next row.
///
/// A quoted field may contain delimiters, line breaks and doubled quotes, so a row may span lines:
/// `1,u1,"{""text"": ""a` is incomplete. An unclosed quote extends to the end of the file.
fn fields(bytes: &[u8], start: usize, end: bool, delimiter: Delimiter) -> Option<(Vec<Field>, usize, usize)> {
    let delimiter = delimiter.byte();
    let mut fields = Vec::new();
    let mut at = start;
    loop {
        if bytes.get(at) == Some(&b'"') {
            let inside = at + 1;
            let mut close = inside;
            // JSON begins with `{""` if its quotes are doubled.
            let escaped = bytes[inside..].starts_with(b"{\\\"") || bytes[inside..].starts_with(b"[\\\"");
            // Finds the quote that ends the field, past pairs of bytes that stand for one.
            loop {
                let rest = bytes.get(close..).unwrap_or_default();
                let found = if escaped { memchr2(b'"', b'\\', rest) } else { memchr(b'"', rest) };
                let is_pair = |at: usize| match escaped {
                    true => bytes[at] == b'\\',
                    false => bytes.get(at + 1) == Some(&b'"'),
                };
                match found.map(|found| close + found) {
                    Some(found) if is_pair(found) => close = found + 2,
                    Some(found) => {
                        close = found;
                        break;
                    }
                    None if end => {
                        close = bytes.len();
                        break;
                    }
                    None => return None,
                }
            }
            let quotes = if escaped { Quotes::Escaped } else { Quotes::Doubled };
            fields.push(Field { span: Span::new(inside, close.min(bytes.len())), quotes });
            at = (close + 1).min(bytes.len());
        } else {
            let rest = &bytes[at..];
            let length = memchr2(delimiter, b'\n', rest).unwrap_or(rest.len());
            let mut span = Span::new(at, at + length);
            if span.of(bytes).last() == Some(&b'\r') && bytes.get(span.end) != Some(&delimiter) {
                span.end -= 1;
            }
            fields.push(Field { span, quotes: Quotes::None });
            at += length;
        }
        // Skip text between a closing quote and the next delimiter: the field is malformed.
        let rest = &bytes[at..];
        match memchr2(delimiter, b'\n', rest) {
            Some(found) if rest[found] == delimiter => at += found + 1,
            Some(found) => return Some((fields, at + found, at + found + 1)),
            None if end => {
                if at == start && bytes.len() == start {
                    return None;
                }
                return Some((fields, bytes.len(), bytes.len()));
            }
            None => return None,
        }
    }
}

/// Appends the record of a row.
fn keep(columns: &Columns, line: Span, offset: u64, fields: &[Field], batch: &mut RecordBatch) {
    if is_blank(line.of(&batch.bytes)) {
        batch.metas.push(Meta { payload: line, offset, outcome: Outcome::Skipped, envelope: None });
        return;
    }
    if std::str::from_utf8(line.of(&batch.bytes)).is_err() {
        batch.refuse(line, offset, Refused::new(Reason::NotUtf8, "row is not UTF-8"));
        return;
    }
    let field = |column: Option<usize>| column.and_then(|column| fields.get(column)).copied();
    let Some(data) = field(columns.data) else {
        let detail = format!("row has {} columns and none for `data`", fields.len());
        batch.refuse(line, offset, Refused::new(Reason::NoEventType, detail));
        return;
    };
    let number = |column, bytes: &[u8]| {
        let span = field(column)?.span;
        std::str::from_utf8(span.of(bytes)).ok().map(|text| text.trim().to_owned())
    };
    let row = number(columns.id, &batch.bytes).and_then(|text| text.parse().ok());
    let time: Option<f64> = number(columns.time, &batch.bytes).and_then(|text| text.parse().ok());
    let sender = field(columns.sender).and_then(|sender| plain(columns, sender, &mut batch.bytes));
    let payload = plain(columns, data, &mut batch.bytes);
    let readable = |span: &Span| std::str::from_utf8(span.of(&batch.bytes)).is_ok();
    let envelope = Envelope {
        sender: sender.filter(readable),
        time: time.filter(|time| time.is_finite()),
        row,
        ..Envelope::default()
    };
    batch.envelopes.push(envelope);
    let envelope = Some(batch.envelopes.len() - 1);
    let (payload, outcome) = match payload {
        Some(payload) if !is_blank(payload.of(&batch.bytes)) => (payload, Outcome::Body),
        Some(payload) => (payload, Outcome::Skipped),
        None => (Span::new(line.start, line.start), Outcome::Skipped),
    };
    batch.metas.push(Meta { payload, offset, outcome, envelope });
}

/// Returns the text of a field, with its escapes resolved in place, or `None` for a null.
fn plain(columns: &Columns, field: Field, bytes: &mut [u8]) -> Option<Span> {
    match field.quotes {
        Quotes::Doubled => return Some(csv_text(bytes, field.span, b'"')),
        Quotes::Escaped => return Some(copy_text(bytes, field.span)),
        Quotes::None => {}
    }
    let text = field.span.of(bytes);
    if text.is_empty() || matches!(text, b"\\N" | b"NULL" | b"[NULL]" | b"null") {
        return None;
    }
    if columns.delimiter != Delimiter::Tab {
        return Some(field.span);
    }
    // JSON may be written as it is, with single backslashes, or escaped by COPY or `mysql --batch`,
    // with doubled ones.
    let unescaped = memchr(b'\\', text).is_some() && !all_doubled(text) && is_json(text);
    Some(if unescaped { field.span } else { copy_text(bytes, field.span) })
}

fn is_json(text: &[u8]) -> bool {
    let mut scanner = Scanner::new(text, 0);
    scanner.value().is_ok_and(|value| value.kind == Kind::Object) && scanner.peek().is_err()
}

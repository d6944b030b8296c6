//! Lines with an envelope around the event body.

use turnmill_model::{Reason, Refused};

use crate::Container;
use crate::batch::{Envelope, Meta, Outcome, RecordBatch, is_blank};
use crate::container::key_name;
use crate::scan::{Fault, Kind, Scanner, Span, Value, unescape};

/// Buffers that are reused for every line.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) headers: Vec<(Value, Option<Value>)>,
    pub(crate) elements: Vec<Value>,
}

/// The values of an envelope. If a key occurs twice, the last value counts.
#[derive(Default)]
struct Fields {
    body: Option<Value>,
    sender: Option<Value>,
    time: Option<Value>,
    time_type: Option<Value>,
    key: Option<Value>,
    headers: Option<Value>,
    topic: Option<Value>,
    partition: Option<Value>,
    offset: Option<Value>,
    row: Option<Value>,
    properties: Option<Value>,
    environment: Option<Value>,
}

impl Fields {
    fn put(&mut self, container: Container, name: &[u8], value: Value) {
        let field = match (container, name) {
            (Container::Kafka | Container::Kcat, b"topic") => &mut self.topic,
            (Container::Kafka | Container::Kcat, b"partition") => &mut self.partition,
            (Container::Kafka | Container::Kcat, b"offset") => &mut self.offset,
            (Container::Kafka | Container::Kcat, b"key") => &mut self.key,
            (Container::Kafka | Container::Kcat, b"headers") => &mut self.headers,
            (Container::Kafka, b"ts_type") | (Container::Kcat, b"tstype") => &mut self.time_type,
            (Container::Kafka, b"ts_ms" | b"timestamp") | (Container::Kcat, b"ts") => &mut self.time,
            (Container::TrackerStore, b"timestamp") => &mut self.time,
            (Container::TrackerStore | Container::SqlBroker, b"sender_id") => &mut self.sender,
            (Container::TrackerStore | Container::SqlBroker, b"id") => &mut self.row,
            (Container::Rabbitmq, b"properties") => &mut self.properties,
            _ if name == body_key(container).as_bytes() => &mut self.body,
            _ => return,
        };
        *field = Some(value);
    }
}

fn body_key(container: Container) -> &'static str {
    match container {
        Container::Kafka => "value",
        Container::Kcat | Container::Rabbitmq => "payload",
        Container::TrackerStore | Container::SqlBroker => "data",
        // These have no envelope, or one that is read elsewhere.
        Container::Rasa | Container::Tracker | Container::Console | Container::Csv | Container::PgDump => "",
    }
}

/// Reads the line at `line` and appends exactly one record.
pub(crate) fn read_line(
    container: Container,
    line: Span,
    offset: u64,
    scratch: &mut Scratch,
    batch: &mut RecordBatch,
) {
    if container == Container::Console {
        crate::console::read_line(line, offset, batch);
        return;
    }
    let bytes = line.of(&batch.bytes);
    let blank = is_blank(bytes);
    if blank || container == Container::Rasa {
        let outcome = if blank { Outcome::Skipped } else { Outcome::Body };
        batch.metas.push(Meta { payload: line, offset, outcome, envelope: None });
        return;
    }
    // `fields` changes no byte: a refused line is kept as it was read. Only then may `keep`
    // unescape texts in place.
    match fields(container, bytes, scratch) {
        Ok((body, fields)) => {
            let meta = keep(container, line, offset, body, &fields, scratch, batch);
            batch.metas.push(meta);
        }
        Err(refused) => batch.refuse(line, offset, refused),
    }
}

/// Returns the body and the other fields of the envelope `line`, as spans into it. Collects the
/// headers in `scratch`.
fn fields(container: Container, line: &[u8], scratch: &mut Scratch) -> Result<(Value, Fields), Refused> {
    if let Err(error) = std::str::from_utf8(line) {
        let detail = format!("{container} envelope is not UTF-8 after byte {}", error.valid_up_to());
        return Err(Refused::new(Reason::NotUtf8, detail));
    }
    let mut scanner = Scanner::new(line, 0);
    if scanner.peek() != Ok(b'{') {
        let detail = format!("{container} envelope is not a JSON object");
        return Err(Refused::new(Reason::NotAnObject, detail));
    }
    let mut fields = Fields::default();
    scanner
        .object(|scanner, key| {
            let value = scanner.value()?;
            fields.put(container, &key_name(line, key), value);
            Ok(())
        })
        .map_err(|fault| refusal(container, fault))?;
    if scanner.peek().is_ok() {
        let what = "text after the object";
        return Err(refusal(container, Fault::Invalid { at: scanner.at, what }));
    }
    scratch.headers.clear();
    if let Some(headers) = fields.headers {
        collect_headers(line, headers, &mut scratch.headers).map_err(|fault| refusal(container, fault))?;
    }
    if let Some(properties) = fields.properties.filter(|properties| properties.kind == Kind::Object) {
        of_properties(line, properties, &mut fields, &mut scratch.headers)
            .map_err(|fault| refusal(container, fault))?;
    }
    let body = fields.body.ok_or_else(|| {
        Refused::new(Reason::NoEventType, format!("{container} envelope has no `{}`", body_key(container)))
    })?;
    Ok((body, fields))
}

/// Converts a fault in an envelope of `container` to a refusal.
pub(crate) fn refusal(container: Container, fault: Fault) -> Refused {
    match fault {
        Fault::Incomplete => {
            Refused::new(Reason::NotJson, format!("{container} envelope ends inside a JSON value"))
        }
        Fault::Invalid { at, what } => {
            Refused::new(Reason::NotJson, format!("{container} envelope: {what} at byte {at}"))
        }
        Fault::TooDeep => Refused::new(
            Reason::TooDeep,
            format!("{container} envelope nests more than {} levels", crate::scan::DEEPEST),
        ),
    }
}

/// Reads the properties of a RabbitMQ message. `app_id` is Rasa's environment.
fn of_properties(
    line: &[u8],
    properties: Value,
    fields: &mut Fields,
    headers: &mut Vec<(Value, Option<Value>)>,
) -> Result<(), Fault> {
    Scanner::new(line, properties.span.start).object(|scanner, key| {
        let value = scanner.value()?;
        match &*key_name(line, key) {
            b"app_id" => fields.environment = Some(value),
            b"headers" => collect_headers(line, value, headers)?,
            _ => {}
        }
        Ok(())
    })
}

/// Collects headers, which tools write in four ways:
///
/// - a list of pairs, `[["name", "value"]]`
/// - a list of objects, `[{"key": "name", "value": "value"}]`
/// - a flat list in which names and values alternate, `["name", "value"]`
/// - an object, `{"name": "value"}`
fn collect_headers(
    line: &[u8],
    headers: Value,
    found: &mut Vec<(Value, Option<Value>)>,
) -> Result<(), Fault> {
    let mut scanner = Scanner::new(line, headers.span.start);
    let present = |value: Value| (!value.is_null()).then_some(value);
    match headers.kind {
        Kind::Object => scanner.object(|scanner, name| {
            found.push((name, present(scanner.value()?)));
            Ok(())
        }),
        Kind::Array => {
            let mut name: Option<Value> = None;
            scanner.array(|scanner| {
                let start = scanner.at;
                let value = scanner.value()?;
                if value.kind == Kind::Object {
                    return header_object(scanner.bytes, value, found);
                }
                if value.kind != Kind::Array {
                    match name.take() {
                        Some(name) => found.push((name, present(value))),
                        None => name = Some(value),
                    }
                    return Ok(());
                }
                let mut pair = [None; 2];
                let mut used = 0;
                let mut parts = Scanner::new(scanner.bytes, start);
                parts.peek()?;
                parts.array(|parts| {
                    let part = parts.value()?;
                    if let Some(slot) = pair.get_mut(used) {
                        *slot = Some(part);
                    }
                    used += 1;
                    Ok(())
                })?;
                if let [Some(name), value] = pair {
                    found.push((name, value.and_then(present)));
                }
                Ok(())
            })?;
            if let Some(name) = name {
                found.push((name, None));
            }
            Ok(())
        }
        Kind::Null | Kind::Text { .. } | Kind::Token => Ok(()),
    }
}

/// Collects a header that is an object: `{"key": …, "value": …}`, or one member with its name and
/// value.
fn header_object(bytes: &[u8], header: Value, found: &mut Vec<(Value, Option<Value>)>) -> Result<(), Fault> {
    let (mut name, mut content, mut members) = (None, None, Vec::new());
    Scanner::new(bytes, header.span.start).object(|scanner, key| {
        let value = scanner.value()?;
        match &*key_name(bytes, key) {
            b"key" | b"name" => name = Some(value),
            b"value" => content = Some(value),
            _ => members.push((key, value)),
        }
        Ok(())
    })?;
    let present = |value: Value| (!value.is_null()).then_some(value);
    match name {
        Some(name) => found.push((name, content.and_then(present))),
        None => found.extend(members.into_iter().map(|(key, value)| (key, present(value)))),
    }
    Ok(())
}

/// Unescapes the needed texts in place and returns the record's meta.
fn keep(
    container: Container,
    line: Span,
    offset: u64,
    body: Value,
    fields: &Fields,
    scratch: &Scratch,
    batch: &mut RecordBatch,
) -> Meta {
    let bytes = &mut batch.bytes;
    let named = fields.sender.filter(|sender| is_name(line.of(bytes), *sender));
    let mut plain = |value: Value| {
        let span = Span::new(line.start + value.span.start, line.start + value.span.end);
        match value.kind {
            Kind::Text { escaped: true } => unescape(bytes, span),
            Kind::Text { escaped: false } | Kind::Null | Kind::Token | Kind::Object | Kind::Array => span,
        }
    };
    let first = batch.headers.len();
    for (name, value) in &scratch.headers {
        batch.headers.push((plain(*name), value.map(&mut plain)));
    }
    let headers = (first, batch.headers.len());
    let text = |value: &Value| matches!(value.kind, Kind::Text { .. });
    let sender = named.map(&mut plain);
    let app = fields.environment.filter(text).map(&mut plain);
    let key = fields.key.filter(|key| !key.is_null()).map(&mut plain);
    let topic = fields.topic.filter(text).map(&mut plain);
    let payload = plain(body);
    let number = |value: Option<Value>| token(&batch.bytes, line, value?);
    let origin = match (topic, number(fields.partition), number(fields.offset)) {
        (Some(topic), Some(partition), Some(offset)) => partition
            .parse()
            .ok()
            .zip(offset.parse().ok())
            .map(|(partition, offset)| (topic, partition, offset)),
        _ => None,
    };
    let time = number(fields.time).and_then(|time| time.parse::<f64>().ok()).filter(|time| time.is_finite());
    let time = match container {
        Container::Kafka | Container::Kcat if !has_time(&batch.bytes, line, fields.time_type) => None,
        Container::Kafka | Container::Kcat => time.filter(|time| *time >= 0.0).map(|time| time / 1000.0),
        _ => time,
    };
    let row = number(fields.row).and_then(|row| row.parse().ok());
    let environment = batch.environment_since(first).or(app);
    let skipped = body.is_null() || is_blank(payload.of(&batch.bytes));
    batch.envelopes.push(Envelope { part: 0, sender, time, environment, key, headers, origin, row });
    let envelope = Some(batch.envelopes.len() - 1);
    Meta { payload, offset, outcome: if skipped { Outcome::Skipped } else { Outcome::Body }, envelope }
}

/// Returns whether the record has a timestamp. Kafka's timestamp type 0 (`unknown` for kcat) means
/// none.
fn has_time(bytes: &[u8], line: Span, time_type: Option<Value>) -> bool {
    let Some(value) = time_type else { return true };
    let span = Span::new(line.start + value.span.start, line.start + value.span.end);
    !matches!(span.of(bytes), b"0" | b"unknown")
}

/// Returns whether the value names a sender: a text, or a number as some channels send it.
pub(crate) fn is_name(bytes: &[u8], value: Value) -> bool {
    let first = value.span.of(bytes).first();
    match value.kind {
        Kind::Text { .. } => true,
        Kind::Token => first.is_some_and(|first| first.is_ascii_digit() || *first == b'-'),
        Kind::Null | Kind::Object | Kind::Array => false,
    }
}

/// Returns a number, also one in quotes, as some tools write every column.
fn token(bytes: &[u8], line: Span, value: Value) -> Option<&str> {
    if !matches!(value.kind, Kind::Token | Kind::Text { escaped: false }) {
        return None;
    }
    std::str::from_utf8(bytes.get(line.start + value.span.start..line.start + value.span.end)?).ok()
}

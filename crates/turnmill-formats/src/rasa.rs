//! Rasa's event bodies: one JSON object per event, as its brokers and tracker stores write them.
//!
//! What is absent here: no state. An event is decoded without looking at any other; sessions, turns and stacks are made
//! of events elsewhere.
//!
//! Every type name is accepted; those that the tables know more about get a [`Body`](turnmill_model::Body) of their own. A field
//! of another JSON type than its column is as absent. What Python writes beyond JSON (`NaN`, lone surrogates) is read in
//! a second pass, which only records that need it pay for.

mod build;
mod kept;
mod scan;
mod wire;

use turnmill_model::json::{Fault, Limits, MAX_DEPTH, ParseError, Raw, Tree};
use turnmill_model::{Decoder, Event, Reason, Record, Refused, Settings, TimeUnit};
use wire::Wire;

/// Decodes Rasa's events; the [`Decoder`] named `rasa`.
///
/// A record holds one event, or none: blank payloads and `null` (tombstones, empty lines) are skipped.
///
/// ```
/// use turnmill_formats::rasa::RasaDecoder;
/// use turnmill_model::{Body, Decoder, Record, Settings};
///
/// let decoder = RasaDecoder::new(&Settings::default());
/// let payload = br#"{"event": "slot", "timestamp": 1656382551.2, "name": "email", "value": "john@example.com"}"#;
/// let record = Record { payload, sender: Some("u1"), ..Record::default() };
/// let mut events = Vec::new();
/// decoder.decode(&record, &mut events)?;
/// let Body::Slot { value, .. } = &events[0].body else { unreachable!() };
/// assert_eq!(value, "\"john@example.com\"");
/// # Ok::<(), turnmill_model::Refused>(())
/// ```
#[derive(Clone, Debug)]
pub struct RasaDecoder {
    settings: Settings,
    max_bytes: usize,
}

impl RasaDecoder {
    /// Payloads with more bytes than this are refused, unless [configured](Self::with_max_bytes) otherwise.
    pub const DEFAULT_MAX_BYTES: usize = 16 << 20;

    /// A decoder whose events are as `settings` ask for.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self { settings: settings.clone(), max_bytes: Self::DEFAULT_MAX_BYTES }
    }

    /// The same decoder, refusing payloads of more than `max_bytes` bytes.
    #[must_use]
    pub fn with_max_bytes(self, max_bytes: usize) -> Self {
        Self { max_bytes, ..self }
    }

    /// The fields of the body that `payload` is; `None` if it is to be skipped.
    fn read<'a>(&self, payload: &'a [u8]) -> Result<Option<Wire<'a>>, Refused> {
        let Some(text) = readable(payload, self.max_bytes)? else { return Ok(None) };
        let mut wire = Wire::default();
        if scan::scan(text, &mut wire).is_none() {
            parse(text, &mut wire)?;
        }
        Ok(Some(wire))
    }
}

impl Decoder for RasaDecoder {
    fn name(&self) -> &'static str {
        "rasa"
    }

    fn decode<'a>(&self, record: &Record<'a>, out: &mut Vec<Event<'a>>) -> Result<(), Refused> {
        let Some(mut wire) = self.read(record.payload)? else { return Ok(()) };
        if let Some(kept) = record.kept {
            kept::fill(&mut wire, kept);
        }
        build::event(&self.settings, record, &wire, out)
    }

    fn kept(&self, record: &Record<'_>, _ordinal: u32) -> Option<Vec<u8>> {
        let wire = self.read(record.payload).ok().flatten()?;
        kept::facts(record, &wire)
    }
}

/// The body with `seconds` added to its `timestamp`, which is counted in `unit`, in the number's place and nothing else changed;
/// `None` if it has no finite number there, nor a text that is one. What `rasa export --offset-timestamps-by-seconds` does, and with
/// the opposite sign undoes: sums of whole seconds are exact for the times of conversations.
///
/// ```
/// use turnmill_formats::rasa::shift_timestamp;
/// use turnmill_model::TimeUnit;
/// let body = br#"{"event": "restart", "timestamp": 1656386149.326936}"#;
/// let shifted = shift_timestamp(body, -3600, TimeUnit::Seconds).unwrap();
/// assert_eq!(shifted, br#"{"event": "restart", "timestamp": 1656382549.326936}"#);
/// ```
#[must_use]
pub fn shift_timestamp(payload: &[u8], seconds: i64, unit: TimeUnit) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(payload).ok()?;
    let tree = Tree::parse(text, &Limits::default()).ok()?;
    let written = tree.root().get("timestamp")?.raw();
    let step = match unit {
        TimeUnit::Seconds => 1,
        TimeUnit::Milliseconds => 1_000,
        TimeUnit::Microseconds => 1_000_000,
    };
    let shifted = build::written_number(written)? + seconds.saturating_mul(step) as f64;
    // The token is a part of the text.
    let start = written.as_str().as_ptr() as usize - text.as_ptr() as usize;
    let mut body = Vec::with_capacity(payload.len() + 8);
    body.extend_from_slice(payload.get(..start)?);
    body.extend_from_slice(shifted.to_string().as_bytes());
    body.extend_from_slice(payload.get(start + written.as_str().len()..)?);
    Some(body)
}

/// The payload as text; `None` if it is to be skipped.
fn readable(payload: &[u8], max_bytes: usize) -> Result<Option<&str>, Refused> {
    if payload.len() > max_bytes {
        let detail = format!("{} bytes, more than the limit of {max_bytes}", payload.len());
        return Err(Refused::new(Reason::TooLarge, detail));
    }
    let text = std::str::from_utf8(payload).map_err(|error| {
        Refused::new(Reason::NotUtf8, format!("invalid UTF-8 at byte {}", error.valid_up_to()))
    })?;
    let trimmed = text.trim_ascii();
    if trimmed.is_empty() || trimmed == "null" {
        return Ok(None);
    }
    Ok(Some(text))
}

/// Finds the fields of the object that `text` is.
fn parse<'a>(text: &'a str, wire: &mut Wire<'a>) -> Result<(), Refused> {
    let refused = |error: ParseError| match error.fault {
        Fault::TooDeep => {
            Refused::new(Reason::TooDeep, format!("more than {MAX_DEPTH} levels of lists and objects"))
        }
        _ => Refused::new(Reason::NotJson, error.to_string()),
    };
    if !text.trim_ascii_start().starts_with('{') {
        let value = Raw::parse(text).map_err(refused)?;
        let detail = format!("a JSON {}, not an object", format!("{:?}", value.kind()).to_lowercase());
        return Err(Refused::new(Reason::NotAnObject, detail));
    }
    wire.lenient(text).map_err(refused)
}

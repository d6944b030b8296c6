//! Decodes Rasa's event bodies: one JSON object per event, as its brokers and tracker stores write
//! them. Rasa's engine Mantle writes them in another shape, which is read into the same fields. One
//! topic may carry both.
//!
//! What is absent here: state. An event is decoded without looking at any other. The engine makes
//! sessions, turns and stacks of the events.
//!
//! Every type name is accepted. Types with rows of their own get a [`Body`](turnmill_model::Body)
//! of their own. A field of another JSON type than its column counts as absent.
//!
//! Two readers find the fields of a body. The quick one reads standard JSON in one pass. Where it
//! stops, the lenient one reads the body from the start, and also accepts what Python writes beyond
//! JSON (`NaN`, lone surrogates). Only records that need it cost the second pass.
//!
//! ```text
//! {"event": "slot", "value": 5, ...}        quick
//! {"event": "slot", "value": NaN, ...}      quick stops at NaN, then lenient: an event
//! {"event": "slot", "value": 5              quick stops at the end, then lenient: refused
//! ```

mod build;
mod details;
mod kept;
mod mantle;
mod nlu;
mod prompts;
mod scan;
mod wire;

use mantle::Mantle;
use turnmill_model::json::{Fault, Limits, MAX_DEPTH, ParseError, Raw, Tree};
use turnmill_model::{Decoder, Event, Reason, Record, Refused, SecretFilter, Settings, TimeUnit};
use wire::Wire;

/// Decodes Rasa's events: the [`Decoder`] named `rasa`.
///
/// A record holds one event, or none: blank payloads and `null` (tombstones, empty lines) are
/// skipped.
///
/// ```
/// use turnmill_formats::rasa::RasaDecoder;
/// use turnmill_model::{Body, Decoder, Record, Settings};
///
/// let decoder = RasaDecoder::new(&Settings::default());
/// let payload = br#"{"event": "slot", "timestamp": 1656382551.2, "name": "email", "value": "j@x.org"}"#;
/// let record = Record { payload, sender: Some("u1"), ..Record::default() };
/// let mut events = Vec::new();
/// decoder.decode(&record, &mut events)?;
/// let Body::Slot { value, .. } = &events[0].body else { unreachable!() };
/// assert_eq!(value, "\"j@x.org\"");
/// # Ok::<(), turnmill_model::Refused>(())
/// ```
#[derive(Clone, Debug)]
pub struct RasaDecoder {
    settings: Settings,
    max_bytes: usize,
}

impl RasaDecoder {
    /// The largest payload that is not refused, in bytes, unless
    /// [configured](Self::with_max_bytes) otherwise.
    pub const DEFAULT_MAX_BYTES: usize = 16 << 20;

    /// Makes a decoder with these settings.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self { settings: settings.clone(), max_bytes: Self::DEFAULT_MAX_BYTES }
    }

    /// Returns the same decoder with another limit: it refuses payloads of more than `max_bytes`
    /// bytes.
    #[must_use]
    pub fn with_max_bytes(self, max_bytes: usize) -> Self {
        Self { max_bytes, ..self }
    }

    /// Finds the fields of the body `payload`. Returns `None` if the record is to be skipped.
    fn read<'a>(&self, payload: &'a [u8]) -> Result<Option<Body<'a>>, Refused> {
        let Some(text) = readable(payload, self.max_bytes)? else { return Ok(None) };
        let mut wire = Wire::default();
        if scan::scan(text, &mut wire).is_none() {
            parse(text, &mut wire)?;
        }
        let mantle = if mantle::is_mantle(&wire) { Mantle::read(text) } else { None };
        Ok(Some(Body { wire, mantle }))
    }
}

/// A body in one of the two wire shapes.
struct Body<'a> {
    /// The fields of the first shape.
    wire: Wire<'a>,
    /// The body in the second shape, if that is its shape.
    mantle: Option<Mantle<'a>>,
}

impl Decoder for RasaDecoder {
    fn name(&self) -> &'static str {
        "rasa"
    }

    fn decode<'a>(&self, record: &Record<'a>, out: &mut Vec<Event<'a>>) -> Result<(), Refused> {
        let Some(Body { mut wire, mantle }) = self.read(record.payload)? else { return Ok(()) };
        let Some(mantle) = mantle else {
            if let Some(kept) = record.kept {
                kept::fill(&mut wire, kept);
            }
            return build::event(&self.settings, record, &wire, out);
        };
        let mut wire = mantle.wire()?;
        if let Some(kept) = record.kept {
            kept::fill(&mut wire, kept);
        }
        // The metadata is a text in the record, so the event refers to a copy of it.
        let mut events = Vec::new();
        build::event(&self.settings, record, &wire, &mut events)?;
        for event in events {
            out.push(event.into_owned());
        }
        Ok(())
    }

    fn kept(&self, record: &Record<'_>, _ordinal: u32) -> Option<Vec<u8>> {
        let Body { wire, mantle } = self.read(record.payload).ok().flatten()?;
        match mantle {
            Some(mantle) => kept::facts(record, &mantle.wire().ok()?),
            None => kept::facts(record, &wire),
        }
    }

    fn secret_filter(&self) -> Option<&dyn SecretFilter> {
        Some(self)
    }
}

/// Blanks the prompts of language models.
impl SecretFilter for RasaDecoder {
    fn without_secrets(&self, payload: &[u8]) -> Option<Vec<u8>> {
        prompts::without_prompts(payload)
    }
}

/// Adds `seconds` to the `timestamp` of a body, which is counted in `unit`. Nothing else changes.
///
/// Returns `None` if the timestamp is neither a finite number nor a text that is one.
///
/// `rasa export --offset-timestamps-by-seconds` does the same. The opposite sign undoes it: sums of
/// whole seconds are exact for the times of conversations.
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
    // The token is a part of the text, so the difference of the addresses is its position.
    let start = written.as_str().as_ptr() as usize - text.as_ptr() as usize;
    let mut body = Vec::with_capacity(payload.len() + 8);
    body.extend_from_slice(payload.get(..start)?);
    body.extend_from_slice(shifted.to_string().as_bytes());
    body.extend_from_slice(payload.get(start + written.as_str().len()..)?);
    Some(body)
}

/// Returns the payload as text, or `None` if the record is to be skipped.
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

/// Finds the fields of the object `text` with the lenient reader.
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

//! A conversation while it is generated: its clock, its slots, and its past events.

use std::collections::BTreeSet;

use super::calm::Mantle;
use super::random::Random;
use turnmill_model::{AssistantNameBuf, SourceFactsBuf};

use super::{Options, OwnedRecord};
use crate::json::Json;

/// Returns a text as a JSON string, with non-ASCII characters escaped as Python does.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for unit in text.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte @ (b'"' | b'\\')) => {
                out.push('\\');
                out.push(char::from(byte));
            }
            Ok(byte) if (b' '..0x7f).contains(&byte) => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\u{unit:04x}")),
        }
    }
    out.push('"');
    out
}

/// The fields of an event except `sender_id` and `timestamp`: keys, and values as JSON.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields(pub(crate) Vec<(String, String)>);

impl Fields {
    pub(crate) fn new(event: &str) -> Self {
        Self(vec![("event".to_owned(), quoted(event))])
    }

    /// Sets the field `key`, replacing an earlier value.
    pub(crate) fn raw(mut self, key: &str, json: impl Into<String>) -> Self {
        let json = json.into();
        match self.0.iter_mut().find(|(name, _)| name == key) {
            Some(field) => field.1 = json,
            None => self.0.push((key.to_owned(), json)),
        }
        self
    }

    pub(crate) fn text(self, key: &str, text: &str) -> Self {
        self.raw(key, quoted(text))
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, json)| json.as_str())
    }
}

/// A generated event, kept so that copies of it can be made.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) fields: Fields,
    pub(crate) timestamp: String,
    pub(crate) record_time: Option<f64>,
    pub(crate) environment: Option<String>,
    pub(crate) row: Option<i64>,
    pub(crate) facts: SourceFactsBuf,
    /// What it has in Mantle's shape, if that is its shape.
    pub(crate) mantle: Option<Mantle>,
}

/// How the next event gets its time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Dated {
    Now,
    Back(f64),
    Whole,
    Tie,
}

pub(crate) struct Conversation<'o> {
    pub(crate) options: &'o Options,
    pub(crate) number: u8,
    style: u8,
    key: String,
    clock: f64,
    last: f64,
    used: BTreeSet<u64>,
    pub(crate) dated: Dated,
    pub(crate) session_id: Option<String>,
    pub(crate) ids: usize,
    pub(crate) user_id: Option<String>,
    pub(crate) environment: Option<String>,
    /// Slots that were set in this session: name, value, and the session id of their event.
    pub(crate) slots: Vec<(String, String, Option<String>)>,
    pub(crate) stack: Json,
    /// Whether events come in Mantle's shape.
    pub(crate) mantle: bool,
    pub(crate) written: Vec<Written>,
    pub(crate) out: Vec<OwnedRecord>,
    count: usize,
}

impl<'o> Conversation<'o> {
    pub(crate) fn new(options: &'o Options, number: u8, style: u8) -> Self {
        let key = match number {
            1 | 2 if options.hostile > 0 => format!("{}{number}", "long".repeat(80)),
            3 if options.hostile > 0 => "Ünï \u{1f980}\n".to_owned(),
            4 if options.hostile > 0 => "nul\0led".to_owned(),
            5 if options.hostile > 0 => "   ".to_owned(),
            6 | 0 if options.hostile > 0 => format!("70010020{number}"),
            _ => format!("u{number}"),
        };
        let clock = 1_700_000_000.0 + f64::from(number) * 3.7;
        Self {
            options,
            number,
            style,
            key,
            clock,
            last: clock,
            used: BTreeSet::new(),
            dated: Dated::Now,
            session_id: None,
            ids: 0,
            user_id: None,
            environment: style.is_multiple_of(2).then(|| "production".to_owned()),
            slots: Vec::new(),
            stack: Json::List(Vec::new()),
            mantle: false,
            written: Vec::new(),
            out: Vec::new(),
            count: 0,
        }
    }

    /// Returns a number that no other event of this conversation has.
    pub(crate) fn serial(&mut self) -> usize {
        self.count += 1;
        self.count
    }

    /// Returns session id number `number` of this conversation.
    pub(crate) fn own_id(&self, number: usize) -> String {
        format!("{:08x}-abcd-4000-8000-{number:012x}", u32::from(self.number) + 1)
    }

    pub(crate) fn advance(&mut self, seconds: f64) {
        self.clock += seconds;
    }

    /// Returns the metadata of every event, with `extra` members (`"key": value, `) first.
    pub(crate) fn metadata(&self, extra: &str) -> String {
        self.metadata_with(extra, self.session_id.as_deref())
    }

    pub(crate) fn metadata_with(&self, extra: &str, session_id: Option<&str>) -> String {
        let id = session_id.map(|id| format!(", \"session_id\": {}", quoted(id))).unwrap_or_default();
        format!(
            "{{{extra}\"model_id\": \"75a985b7b86d442ca013d61ea4781b22\", \"assistant_id\": \"demo\"{id}}}"
        )
    }

    fn has_coarse_clock(&self) -> bool {
        self.options.ties && self.number % 3 == 1
    }

    /// Returns what the conversation's source declares about it.
    fn facts(&self) -> SourceFactsBuf {
        let assistant = match self.number % 5 {
            2 => AssistantNameBuf::Given("bakery".to_owned()),
            3 => AssistantNameBuf::FromMetadata,
            _ => AssistantNameBuf::None,
        };
        SourceFactsBuf { assistant, ..SourceFactsBuf::default() }
    }

    /// Returns the time of the next event. It differs from all others of the sender, except for
    /// wanted ties.
    fn time(&mut self, random: &mut Random) -> f64 {
        let wanted = match std::mem::replace(&mut self.dated, Dated::Now) {
            Dated::Tie => return self.last,
            Dated::Back(seconds) => self.clock - seconds,
            Dated::Whole => self.clock.ceil(),
            Dated::Now => {
                // The smallest steps are less than a microsecond.
                self.clock += random.pick(&[0.0, 2.4e-7, 1e-6, 0.0012, 0.07, 1.3, 2.9]);
                if self.has_coarse_clock() {
                    // On Windows the clock moves every 15.6 ms, so all events of one action have
                    // one timestamp.
                    self.last = (self.clock * 64.0).floor() / 64.0;
                    return self.last;
                }
                self.clock
            }
        };
        let whole = wanted.fract() == 0.0;
        let mut time = wanted;
        while !self.used.insert(time.to_bits()) {
            time = if whole { time + 1.0 } else { time.next_up() };
        }
        // Only a backdated event leaves the clock unchanged.
        self.clock = self.clock.max(time);
        self.last = time;
        time
    }

    /// Writes an event at the next time.
    pub(crate) fn emit(&mut self, random: &mut Random, fields: Fields) {
        let time = self.time(random);
        let timestamp = if time.fract() == 0.0 && random.once_in(2) {
            format!("{time:.0}")
        } else if self.options.hostile > 0 && random.once_in(20) {
            format!("{time:e}")
        } else if self.options.hostile > 0 && random.once_in(20) {
            format!("\"{time:?}\"")
        } else {
            format!("{time:?}")
        };
        let record_time = (self.style >= 2).then_some(time + 0.25);
        self.write(fields, timestamp, record_time);
    }

    /// Writes an event with an unusable timestamp.
    pub(crate) fn emit_unplaced(&mut self, random: &mut Random, fields: Fields, timestamp: &str) {
        let time = self.time(random);
        self.write(fields, timestamp.to_owned(), Some(time));
    }

    fn write(&mut self, mut fields: Fields, timestamp: String, record_time: Option<f64>) {
        if fields.get("metadata").is_none() {
            let metadata = self.metadata("");
            fields = fields.raw("metadata", metadata);
        }
        if let Some(user) = &self.user_id
            && fields.get("user_id").is_none()
        {
            let user = quoted(user);
            fields = fields.raw("user_id", user);
        }
        // Rows of a table dump are numbered in the order in which they were written.
        let row = (self.options.ties && self.style == 2).then(|| self.serial() as i64);
        let (environment, facts) = (self.environment.clone(), self.facts());
        let mantle = self.mantle.then(|| Mantle::new(self.number, self.serial()));
        let written = Written { fields, timestamp, record_time, environment, row, facts, mantle };
        let record = self.record(&written, false);
        self.out.push(record);
        self.written.push(written);
    }

    /// Returns the record of an event. `sender_last` selects another spelling of the same body.
    pub(crate) fn record(&self, written: &Written, sender_last: bool) -> OwnedRecord {
        // A record in Mantle's shape always names its sender.
        let in_envelope = self.style % 4 == 3 && written.mantle.is_none();
        let mut fields = written.fields.0.clone();
        if written.timestamp != "-" {
            fields.insert(1, ("timestamp".to_owned(), written.timestamp.clone()));
        }
        if !in_envelope {
            let position = if sender_last { fields.len() } else { 0 };
            // Some connectors send chat ids as numbers.
            let number = sender_last && self.key.bytes().all(|byte| byte.is_ascii_digit());
            let key = if number { self.key.clone() } else { quoted(&self.key) };
            fields.insert(position, ("sender_id".to_owned(), key));
        }
        if let Some(mantle) = &written.mantle {
            fields = mantle.members(&fields);
        }
        let separators = if sender_last { (",", ":") } else { (", ", ": ") };
        let members: Vec<String> =
            fields.iter().map(|(key, json)| format!("{}{}{json}", quoted(key), separators.1)).collect();
        OwnedRecord {
            payload: format!("{{{}}}", members.join(separators.0)).into_bytes(),
            sender: in_envelope.then(|| self.key.clone()),
            time: written.record_time,
            environment: written.environment.clone(),
            row: written.row,
            facts: written.facts.clone(),
        }
    }
}

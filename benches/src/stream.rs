//! A seeded generator of Rasa event streams. The same parameters give the same bytes.
//!
//! A sender's life is a row of sessions. A session starts as Rasa starts one (metadata slot,
//! `action_session_start`, `session_started`, carried-over slots, `action_listen`) and goes on with
//! turns; all events of one message come as one block, and the blocks of all senders are in the
//! order of their time, as a broker would bring them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Write as _;
use std::io::{self, Write};

use fastrand::Rng;

use crate::body::{self, Mix};

/// 2026-11-21 00:00:00 UTC.
const START: f64 = 1_795_219_200.0;
const DAY: f64 = 86_400.0;
/// Gap after which the assistant starts a new session.
const EXPIRY: f64 = 3_600.0;

/// Parameters of a stream.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// Size class of the events.
    pub mix: Mix,
    /// Number of events, without duplicates.
    pub events: u64,
    /// Number of senders.
    pub senders: u32,
    /// Number of the first sender: other numbers are other senders.
    pub first: u32,
    /// Seed; the same seed gives the same stream.
    pub seed: u64,
    /// Share of events that are repeated some time later.
    pub duplicates: f64,
    /// Whether the first block of each sender contains an event dated so far ahead that all later
    /// ones are late.
    pub ahead: bool,
    /// Days between the common start of all streams and the start of this one.
    pub day: u32,
    /// Days over which the first messages of the senders are spread.
    pub days: f64,
    /// Maximum number of sessions per sender; the average is half of it plus one half.
    pub sessions: u32,
}

impl Shape {
    /// A stream of `events` events of `mix` over about 30 days: two and a half sessions a sender,
    /// 18 events a session.
    #[must_use]
    pub(crate) fn new(mix: Mix, events: u64, seed: u64) -> Self {
        let senders = u32::try_from(events / 45).unwrap_or(u32::MAX).max(1);
        Self {
            mix,
            events,
            senders,
            first: 0,
            seed,
            duplicates: 0.0,
            ahead: false,
            day: 0,
            days: 30.0,
            sessions: 4,
        }
    }

    /// Writes the stream to `out` as JSON lines.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<Written> {
        let mut written = Written::default();
        let mut failed = Ok(());
        self.each(|line, _| {
            written.lines += 1;
            written.bytes += line.len() as u64 + 1;
            failed = out.write_all(line.as_bytes()).and_then(|()| out.write_all(b"\n"));
            failed.is_ok()
        });
        failed.map(|()| written)
    }

    /// Generates the lines of the stream.
    #[must_use]
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        self.each(|line, _| {
            lines.push(line.to_owned());
            true
        });
        lines
    }

    /// Calls `visit` with each line and the number of its sender, until it returns `false`.
    pub(crate) fn each(&self, mut visit: impl FnMut(&str, u32) -> bool) {
        let mut rng = Rng::with_seed(self.seed);
        let begin = START + f64::from(self.day) * DAY;
        let span = self.days * DAY;
        let mut senders: Vec<Sender> = Vec::with_capacity(self.senders as usize);
        let mut due = BinaryHeap::with_capacity(self.senders as usize);
        for number in 0..self.senders {
            senders.push(Sender::new(number, begin + rng.f64() * span, self, &mut rng));
            due.push(Reverse((Moment(senders[number as usize].next), number)));
        }
        let mut block = Block::default();
        let mut again: Vec<(String, u32)> = Vec::new();
        let mut made = 0;
        while made < self.events {
            // New senders start when all have ended.
            let (number, last) =
                due.pop().map_or((senders.len(), begin), |Reverse((next, number))| (number as usize, next.0));
            if number == senders.len() {
                senders.push(Sender::new(number as u32, last + span, self, &mut rng));
            }
            let sender = &mut senders[number];
            let number = number as u32;
            block.clear();
            sender.message(self.mix, &mut rng, &mut block);
            if sender.sessions > 0 || sender.left > 0 {
                due.push(Reverse((Moment(sender.next), number)));
            }
            for line in block.lines() {
                if made == self.events || !visit(line, number) {
                    return;
                }
                made += 1;
                if self.duplicates > 0.0 && rng.f64() < self.duplicates {
                    again.push((line.to_owned(), number));
                }
            }
            // Repeats events of some time ago.
            if again.len() >= 64 && !again.drain(..32).all(|(line, number)| visit(&line, number)) {
                return;
            }
        }
    }
}

/// Generates `events` events of one sender, about 18 per session, with two sessions per day.
#[must_use]
pub(crate) fn life(mix: Mix, events: usize, seed: u64) -> Vec<String> {
    let mut rng = Rng::with_seed(seed);
    let shape = Shape { sessions: u32::MAX, ..Shape::new(mix, events as u64, seed) };
    let mut sender = Sender::new(0, START, &shape, &mut rng);
    let mut block = Block::default();
    let mut lines = Vec::with_capacity(events);
    while lines.len() < events {
        block.clear();
        sender.message(mix, &mut rng, &mut block);
        lines.extend(block.lines().take(events - lines.len()).map(str::to_owned));
    }
    lines
}

/// Amount of output.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Written {
    /// Lines, duplicates included.
    pub lines: u64,
    /// Bytes, line ends included.
    pub bytes: u64,
}

/// A time that can be ordered.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Moment(f64);

impl Eq for Moment {}

impl PartialOrd for Moment {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Moment {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Lines in one buffer.
#[derive(Debug, Default)]
struct Block {
    text: String,
    ends: Vec<usize>,
}

impl Block {
    fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    fn lines(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.text[start..*end])
    }
}

/// State of one sender.
#[derive(Debug)]
struct Sender {
    key: String,
    /// Time of its next message.
    next: f64,
    /// Time of its last event.
    last: Option<f64>,
    /// Remaining messages of the current session.
    left: u32,
    /// Remaining sessions.
    sessions: u32,
    /// The slots set so far in this session, as name and JSON value.
    slots: Vec<(&'static str, String)>,
    ahead: bool,
}

impl Sender {
    fn new(number: u32, next: f64, shape: &Shape, rng: &mut Rng) -> Self {
        // Hex ids, telephone numbers and a few names, as in the captures.
        let number = shape.first + number;
        let mut mixed = Rng::with_seed(u64::from(number));
        let key = match mixed.u32(..10) {
            0..=5 => format!("{:032x}", mixed.u128(..)),
            6 | 7 => format!("+47{number:08}"),
            8 => format!("user.{number}@example.org"),
            _ => format!(r"bruker \u00f8 {number}"),
        };
        let sessions = if shape.sessions == u32::MAX { u32::MAX } else { rng.u32(..shape.sessions) + 1 };
        Self { key, next, last: None, left: 0, sessions, slots: Vec::new(), ahead: shape.ahead }
    }

    /// Writes the events of its next message.
    fn message(&mut self, mix: Mix, rng: &mut Rng, block: &mut Block) {
        let mut now = self.next;
        let fresh = self.last.is_none_or(|last| now - last > EXPIRY);
        let mut writer = Lines { sender: &self.key, block, rng };
        let metadata = fresh && writer.rng.f64() < 0.45;
        let page = body::pick(writer.rng, &body::PAGES);
        if fresh {
            let value = format!(
                r#"{{"page": "{page}", "ab": "{}", "locale": "en-GB", "referrer": "https://parcels.example.org/start"}}"#,
                if writer.rng.bool() { "A" } else { "B" }
            );
            if metadata {
                writer.slot(&mut now, "session_started_metadata", &value);
            }
            // The time of an event posted through the API is before that of the session start
            // inserted before it.
            let posted = writer.rng.f64() < 0.02;
            let before = now;
            now += f64::from(u8::from(posted)) * 0.001;
            writer.action(&mut now, "action_session_start", "null", "1.0");
            writer.event(&mut now, "session_started", |_| {});
            let carried: Vec<_> = self.slots.iter().rev().take(6).rev().cloned().collect();
            for (name, value) in &carried {
                writer.slot(&mut now, name, value);
            }
            if metadata {
                writer.slot(&mut now, "session_started_metadata", &value);
            }
            self.slots = carried;
            if posted {
                let mut before = before;
                writer.event(&mut before, "agent", body::agent);
            }
            writer.action(&mut now, "action_listen", "null", "null");
            self.sessions = self.sessions.saturating_sub(1);
            self.left = 1 + writer.rng.u32(..4) + writer.rng.u32(..3);
        }
        if std::mem::take(&mut self.ahead) {
            let mut ahead = now + 365.0 * DAY;
            writer.event(&mut ahead, "agent", body::agent);
        }
        now += 0.004;
        self.turn(mix, &mut now, rng, block);
        self.last = Some(now);
        self.left = self.left.saturating_sub(1);
        let pause = if self.left > 0 {
            // Some gaps are longer than the half hour of other programs' rule, and shorter than
            // Rasa's hour.
            if rng.f64() < 0.02 { 1_830.0 + rng.f64() * 1_700.0 } else { 3.0 + rng.f64() * rng.f64() * 90.0 }
        } else {
            EXPIRY * (1.1 + rng.f64() * 20.0)
        };
        self.next = now + pause;
    }

    /// Writes a user message and the assistant's events.
    fn turn(&mut self, mix: Mix, now: &mut f64, rng: &mut Rng, block: &mut Block) {
        let mut writer = Lines { sender: &self.key, block, rng };
        let said = body::Said::new(writer.rng);
        writer.event(now, "user", |writer| body::user(writer, mix, &said));
        if said.sets_slot {
            writer.slot(now, "parcel_id", &said.value);
            self.slots.push(("parcel_id", said.value.clone()));
        }
        if writer.rng.f64() < 0.955 {
            writer.event(now, "user_featurization", |text| {
                text.text.push_str(r#", "use_text_for_featurization": false"#);
            });
        }
        *now += 0.1 + writer.rng.f64() * 0.4;
        let rare = writer.rng.f64();
        if said.in_form {
            if rare < 0.2 {
                writer.event(now, "action_execution_rejected", |text| {
                    text.text
                        .push_str(r#", "name": "issue_form", "policy": "RulePolicy", "confidence": 1.0"#);
                });
            }
            writer.action(now, "issue_form", "\"RulePolicy\"", "1.0");
            if writer.rng.f64() < 0.28 {
                writer.event(now, "active_loop", |text| text.text.push_str(r#", "name": "issue_form""#));
            }
            for (name, value) in
                [("parcel_id", said.value.as_str()), ("requested_slot", "\"issue_text_in_your_own_words\"")]
            {
                writer.slot(now, name, value);
                self.slots
                    .push((if name == "parcel_id" { "parcel_id" } else { "requested_slot" }, value.into()));
            }
        }
        let [action, answer] = body::pick(writer.rng, &body::ANSWERS);
        if !said.in_form {
            let confidence = 1.0 - writer.rng.f64() * writer.rng.f64() * 0.5;
            writer.action(now, action, "\"TEDPolicy\"", &confidence.to_string());
            if writer.rng.f64() < 0.09 {
                writer.event(now, "action", body::unlikely_intent);
            }
        }
        writer.event(now, "bot", |text| body::bot(text, action, answer));
        if rare > 0.975 {
            writer.event(now, "rewind", |_| {});
            writer.event(now, "rewind", |_| {});
            writer.event(now, "reset_slots", |_| {});
        }
        *now += 0.003;
        if writer.rng.f64() < 0.95 {
            writer.action(now, "action_listen", "\"RulePolicy\"", "1.0");
        }
        if self.slots.len() > 24 {
            self.slots.drain(..12);
        }
    }
}

/// Writes lines of one sender.
pub(crate) struct Lines<'b> {
    sender: &'b str,
    block: &'b mut Block,
    pub(crate) rng: &'b mut Rng,
}

/// Output buffer of a body, with a random generator.
pub(crate) struct Fields<'b> {
    pub(crate) text: &'b mut String,
    pub(crate) rng: &'b mut Rng,
}

impl Lines<'_> {
    fn event(&mut self, now: &mut f64, event: &str, fields: impl FnOnce(&mut Fields<'_>)) {
        // Distinct, with seven digits after the point, as in the captures.
        let time = (*now * 1e7).round() / 1e7;
        *now += 0.000_01 + self.rng.f64() * 0.000_2;
        let text = &mut self.block.text;
        let sender = self.sender;
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            r#"{{"sender_id": "{sender}", "event": "{event}", "timestamp": {time}, "metadata": {{"model_id": "f66f3c4291e744e0b2a544e5663a98d7", "assistant_id": "parcel_helpdesk_dev"}}"#,
        );
        fields(&mut Fields { text, rng: self.rng });
        text.push('}');
        self.block.ends.push(text.len());
    }

    fn slot(&mut self, now: &mut f64, name: &str, value: &str) {
        self.event(now, "slot", |fields| {
            let _ = write!(fields.text, r#", "name": "{name}", "value": {value}"#);
        });
    }

    fn action(&mut self, now: &mut f64, name: &str, policy: &str, confidence: &str) {
        self.event(now, "action", |fields| {
            let _ = write!(
                fields.text,
                r#", "name": "{name}", "policy": {policy}, "confidence": {confidence}, "action_text": null, "hide_rule_turn": false"#
            );
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap, HashSet};

    use super::*;

    fn types(lines: &[String]) -> BTreeMap<String, usize> {
        let mut types = BTreeMap::new();
        for line in lines {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            *types.entry(value["event"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        types
    }

    #[test]
    fn the_same_seed_gives_the_same_stream() {
        let shape = Shape::new(Mix::Capture, 5_000, 3);
        assert_eq!(shape.lines(), shape.lines());
        assert_ne!(shape.lines(), Shape { seed: 4, ..shape.clone() }.lines());
        assert_eq!(shape.lines().len(), 5_000);
    }

    #[test]
    fn mixes_have_the_sizes_and_shares_that_they_name() {
        for (mix, mean) in [(Mix::Lean, 340.0), (Mix::Capture, 556.0)] {
            let lines = Shape::new(mix, 60_000, 1).lines();
            let size = lines.iter().map(|line| line.len() + 1).sum::<usize>() as f64 / lines.len() as f64;
            assert!((size / mean - 1.0).abs() < 0.02, "{mix:?}: {size}");
            let types = types(&lines);
            // Percentages as in the capture.
            for (name, share) in [
                ("action", 33.4),
                ("slot", 21.1),
                ("user", 12.8),
                ("bot", 12.6),
                ("user_featurization", 12.2),
            ] {
                let found = types[name] as f64 / lines.len() as f64 * 100.0;
                assert!((found - share).abs() < 1.5, "{mix:?} {name}: {found}, should be {share}");
            }
        }
    }

    #[test]
    fn times_are_distinct_inside_a_sender_and_duplicates_are_copies() {
        let shape = Shape { duplicates: 0.1, ..Shape::new(Mix::Lean, 20_000, 9) };
        let lines = shape.lines();
        assert!(lines.len() > 21_500, "{}", lines.len());
        let distinct: HashSet<&String> = lines.iter().collect();
        assert_eq!(distinct.len(), 20_000);
        let mut times: HashMap<String, HashSet<u64>> = HashMap::new();
        for line in distinct {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            let times = times.entry(value["sender_id"].as_str().unwrap().to_owned()).or_default();
            assert!(times.insert(value["timestamp"].as_f64().unwrap().to_bits()));
        }
    }

    #[test]
    fn one_event_a_sender_is_dated_ahead() {
        let shape = Shape { ahead: true, ..Shape::new(Mix::Lean, 4_000, 5) };
        let (mut senders, mut ahead) = (HashSet::new(), HashSet::new());
        for line in shape.lines() {
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            let sender = value["sender_id"].as_str().unwrap().to_owned();
            if value["timestamp"].as_f64().unwrap() > START + 300.0 * DAY {
                assert!(ahead.insert(sender.clone()), "{sender} has two");
            }
            senders.insert(sender);
        }
        assert!(senders.len() > 40);
        assert_eq!(senders, ahead);
    }
}

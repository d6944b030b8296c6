//! Reads another format than Rasa's: a decoder for lines of a chat log, in one store with Rasa's
//! senders.
//!
//! ```text
//! own_decoder CHAT.log RASA.jsonl STORE.sqlite
//! ```
//!
//! A line has the Unix time, the room, the line's number in the room, the author and a text,
//! between tabs. The author `bot` is the assistant, any other the user.

#![allow(clippy::print_stdout, reason = "it is a program that prints")]

use turnmill_embed::sqlite::SqliteStore;
use turnmill_embed::{
    Body, Decoder, Event, EventId, EventTime, IdentityDigest, Loader, Reason, Record, Refused, SenderId,
    SessionRule, UserMessage,
};

/// Decodes chat lines. A record is one line, and gives one event.
struct ChatDecoder;

impl Decoder for ChatDecoder {
    /// Stored with each line, so that this decoder reads it again. It never changes.
    fn name(&self) -> &'static str {
        "chat"
    }

    fn decode<'a>(&self, record: &Record<'a>, out: &mut Vec<Event<'a>>) -> Result<(), Refused> {
        let malformed = |detail: &str| Refused::new(Reason::Malformed, detail);
        let line = str::from_utf8(record.payload).map_err(|_| malformed("not UTF-8"))?;
        // A control message gives no event, and counts as skipped.
        if line.starts_with('#') {
            return Ok(());
        }
        let fields: Vec<&str> = line.splitn(5, '\t').collect();
        let &[time, room, number, author, text] = fields.as_slice() else {
            return Err(malformed("less than five fields"));
        };
        let number: i64 = number.parse().map_err(|_| malformed("the line has no number"))?;
        let time = time.parse().ok().and_then(EventTime::from_seconds);
        let time = time.ok_or_else(|| Refused::new(Reason::NoUsableTimestamp, "the line has no time"))?;

        // Keeps the rooms apart from Rasa's senders, also from one with the same name.
        let sender = SenderId::of_format("chat", None, room);
        // Equal ids are copies of one event: room and number identify a line.
        let identity = IdentityDigest::new("chat").text(room).text(&number.to_string());
        let id = EventId::of(Some(time), &identity, None);
        // The log has no session ids: half an hour of silence ends a session.
        let session = SessionRule::Gap { seconds: 1800.0 };
        let text = Some(text.into());
        let (event_type, body) = match author {
            "bot" => ("bot", Body::Bot { text, template_name: None }),
            _ => ("user", Body::User(Box::new(UserMessage { text, ..UserMessage::default() }))),
        };
        out.push(Event {
            // Orders lines of one second.
            tie: Some(i128::from(number)),
            body,
            ..Event::new(id, sender, room, time, event_type, session)
        });
        Ok(())
    }

    /// The log has no anonymised copies, so nothing is kept of plain ones.
    fn kept(&self, _record: &Record<'_>, _ordinal: u32) -> Option<Vec<u8>> {
        None
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [chat, rasa, store] = arguments.as_slice() else {
        return Err("usage: own_decoder CHAT.log RASA.jsonl STORE.sqlite".into());
    };
    let mut loader = Loader::new(SqliteStore::file(store)).with_decoder(|_| ChatDecoder);
    let lines = loader.load_file_as("chat", chat)?.report.counts;
    let events = loader.load_file(rasa)?.report.counts;
    println!("chat: {} new lines, {} skipped", lines.events, lines.skipped);
    println!("rasa: {} new events", events.events);
    loader.into_store().finish()?;
    Ok(())
}

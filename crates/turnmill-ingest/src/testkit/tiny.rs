//! A tiny format beside Rasa's, with everything that other formats need and Rasa's does not.

use std::borrow::Cow;

use turnmill_formats::rasa::RasaDecoder;
use turnmill_model::{
    AnonymisedAt, AssistantName, Body, Decoder, Event, EventId, EventTime, IdentityDigest, Reason, Record,
    Refused, SecretFilter, SenderId, SessionId, SessionRule, Settings, UserMessage,
};

/// Decodes lines such as `1656382549.5|u1|s1|17|greet: hello|hi there`: time, sender, session,
/// number, message, reply.
///
/// - A line gives a `user` event and, if there is a reply, a `bot` event. It counts once.
/// - The number identifies the message, and orders messages of one time.
/// - A key identifies the session. Messages without a key are cut by silences of a minute.
/// - `ping` is a control message. `intent: text` has an intent.
/// - A seventh field marks an anonymised copy. It lacks the intent, which is kept of the plain one.
/// - What follows `token=` in the line is a secret.
#[derive(Clone, Debug)]
pub struct Tiny;

impl Tiny {
    /// Makes the decoder. It has no settings.
    #[must_use]
    pub fn new(_: &Settings) -> Self {
        Self
    }
}

impl Decoder for Tiny {
    fn name(&self) -> &'static str {
        "tiny"
    }

    fn decode<'a>(&self, record: &Record<'a>, out: &mut Vec<Event<'a>>) -> Result<(), Refused> {
        if record.payload == b"ping" {
            return Ok(());
        }
        let malformed = |detail: &str| Refused::new(Reason::Malformed, detail);
        let line = str::from_utf8(record.payload).map_err(|_| malformed("not UTF-8"))?;
        let fields: Vec<&str> = line.split('|').collect();
        let [time, sender, session, number, message, reply, mark @ ..] = fields.as_slice() else {
            return Err(malformed("less than six fields"));
        };
        let number: i64 = number.parse().map_err(|_| malformed("no number"))?;
        let time = time.parse().ok().or(record.time).and_then(EventTime::from_seconds);
        let time = time.ok_or_else(|| Refused::new(Reason::NoUsableTimestamp, "neither line nor record"))?;
        let assistant = match record.facts.assistant {
            AssistantName::Given(name) => Some(name),
            AssistantName::None | AssistantName::FromMetadata => None,
        };
        let sender_id = SenderId::of_format("tiny", assistant, sender);
        let session = if session.is_empty() {
            SessionRule::Gap { seconds: 60.0 }
        } else {
            SessionRule::Key(SessionId::from_text(&format!("tiny {sender} {session}")).0)
        };
        let anonymised = mark.first().map(|mark| AnonymisedAt::Text((*mark).into()));
        let (intent, text) = match message.split_once(": ") {
            Some((intent, text)) => (Some(Cow::Borrowed(intent)), text),
            None => (record.kept.map(String::from_utf8_lossy), *message),
        };
        let user = UserMessage { text: Some(text.into()), intent, ..UserMessage::default() };
        let bot = Body::Bot { text: Some((*reply).into()), template_name: None };
        let bodies = [("user", Body::User(Box::new(user))), ("bot", bot)];
        let count = if reply.is_empty() { 1 } else { 2 };
        for (ordinal, (event_type, body)) in (0_u32..).zip(bodies.into_iter().take(count)) {
            let key = IdentityDigest::new("tiny").bytes(sender_id.0.as_bytes());
            let key = key.number(number.unsigned_abs()).text(event_type);
            let id = match &anonymised {
                Some(mark) => EventId::of_anonymised(Some(time), &key, mark),
                None => EventId::of(Some(time), &key, None),
            };
            out.push(Event {
                assistant: assistant.map(Cow::Borrowed),
                tie: Some(i128::from(number * 2 + i64::from(ordinal))),
                anonymised: anonymised.clone(),
                identified_by_key: true,
                ordinal,
                counted: ordinal == 0,
                body,
                ..Event::new(id, sender_id, *sender, time, event_type, session)
            });
        }
        Ok(())
    }

    fn kept(&self, record: &Record<'_>, ordinal: u32) -> Option<Vec<u8>> {
        let line = str::from_utf8(record.payload).ok()?;
        let (intent, _) = line.split('|').nth(4)?.split_once(": ")?;
        (ordinal == 0).then(|| intent.as_bytes().to_vec())
    }

    fn secret_filter(&self) -> Option<&dyn SecretFilter> {
        Some(self)
    }
}

impl SecretFilter for Tiny {
    fn without_secrets(&self, payload: &[u8]) -> Option<Vec<u8>> {
        let line = str::from_utf8(payload).ok()?;
        let (before, secret) = line.split_once("token=")?;
        let (secret, after) = secret.split_at(secret.find('|').unwrap_or(secret.len()));
        (secret != "[secret]").then(|| format!("{before}token=[secret]{after}").into_bytes())
    }
}

/// Decodes Rasa's bodies under another name. So one sender has events of two decoders.
#[derive(Clone, Debug)]
pub struct Annex(RasaDecoder);

impl Annex {
    /// Makes the decoder.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self(RasaDecoder::new(settings))
    }
}

impl Decoder for Annex {
    fn name(&self) -> &'static str {
        "annex"
    }

    fn decode<'a>(&self, record: &Record<'a>, out: &mut Vec<Event<'a>>) -> Result<(), Refused> {
        self.0.decode(record, out)
    }

    fn kept(&self, record: &Record<'_>, ordinal: u32) -> Option<Vec<u8>> {
        self.0.kept(record, ordinal)
    }
}

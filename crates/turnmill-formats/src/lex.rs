//! Decodes the conversation logs of Amazon Lex V2: one JSON object for each exchange, in any of
//! the envelopes in which people have them.
//!
//! What is absent here: state between records. A record tells all slots and attributes of its
//! session, and the engine works out which of them changed.
//!
//! - [`LexDecoder`] makes one event of a log object, an [`Exchange`](turnmill_model::Exchange).
//! - Its [unwrapper](turnmill_model::Decoder::unwrapper) takes log objects out of what CloudWatch,
//!   Kinesis, Firehose, exports, downloads and command lines put around them.
//! - Its [filter](turnmill_model::Decoder::secret_filter) blanks tokens in attributes.
//!
//! ```text
//! {"awslogs": {"data": "H4sI…"}}                     a message of a subscription: many log objects
//! 2024-03-04T13:49:26.014Z {"sessionId": …}          a line of an export: one
//! @timestamp,@message                                the head of a downloaded table: one a row
//! {"messageType": "CONTROL_MESSAGE", …}              nothing
//! ```

mod base64;
mod build;
mod canonical;
mod csv;
mod envelope;
mod fields;
mod scan;
mod secrets;
mod split;
mod time;

use turnmill_model::json::{Fault, Limits, MAX_DEPTH, Node, Tree};
use turnmill_model::{
    Decoder, Event, LexSettings, Reason, Record, Refused, SecretFilter, Settings, Unwrapper, Unwrapping,
};

use self::secrets::Secrets;
use self::split::Splitter;

/// Decodes log objects of Lex V2: the [`Decoder`] named `lex`.
///
/// A record holds one log object, or none: blank payloads and the test messages of CloudWatch are
/// skipped.
///
/// ```
/// use turnmill_formats::lex::LexDecoder;
/// use turnmill_model::{Body, Decoder, Record, Settings};
///
/// let payload = br#"{"timestamp": "2024-03-04T13:49:26.014Z", "sessionId": "s1", "requestId": "r1",
///     "bot": {"id": "QX7PLM2R9A", "version": "7"}, "inputTranscript": "send money",
///     "sessionState": {"originatingRequestId": "r1", "intent": {"name": "SendMoney"}}}"#;
/// let mut events = Vec::new();
/// let decoder = LexDecoder::new(&Settings::default());
/// decoder.decode(&Record { payload, ..Record::default() }, &mut events)?;
/// let Body::Exchange(exchange) = &events[0].body else { unreachable!() };
/// assert_eq!(exchange.intent.as_deref(), Some("SendMoney"));
/// assert!(exchange.begins_session);
/// # Ok::<(), turnmill_model::Refused>(())
/// ```
#[derive(Clone, Debug)]
pub struct LexDecoder {
    settings: LexSettings,
    bare_strings: bool,
    secrets: Secrets,
}

impl LexDecoder {
    /// The largest log object that is not refused, in bytes.
    pub const MAX_BYTES: usize = 16 << 20;

    /// Makes a decoder with these settings.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self {
            settings: settings.lex.clone(),
            bare_strings: settings.bare_slot_strings,
            secrets: Secrets::new(&settings.lex.secret_keys),
        }
    }
}

impl Decoder for LexDecoder {
    fn name(&self) -> &'static str {
        "lex"
    }

    fn decode<'a>(&self, record: &Record<'a>, out: &mut Vec<Event<'a>>) -> Result<(), Refused> {
        let Some(text) = readable(record.payload)? else { return Ok(()) };
        let tree = Tree::parse(text, &Limits::default()).map_err(|error| match error.fault {
            Fault::TooDeep => {
                Refused::new(Reason::TooDeep, format!("more than {MAX_DEPTH} levels of lists and objects"))
            }
            _ => Refused::new(Reason::NotJson, error.to_string()),
        })?;
        check_kind(tree.root())?;
        out.push(build::event(self, record, tree.root())?);
        Ok(())
    }

    fn kept(&self, _record: &Record<'_>, _ordinal: u32) -> Option<Vec<u8>> {
        None
    }

    fn secret_filter(&self) -> Option<&dyn SecretFilter> {
        Some(&self.secrets)
    }

    fn unwrapper(&self) -> Option<&dyn Unwrapper> {
        Some(self)
    }
}

impl Unwrapper for LexDecoder {
    fn claims(&self, head: &[u8]) -> bool {
        split::claims(head)
    }

    fn begin(&self) -> Box<dyn Unwrapping + Send> {
        Box::new(Splitter::default())
    }
}

/// The query that gives whole log objects.
pub(crate) const QUERY: &str = "fields @timestamp, @message | sort @timestamp desc | limit 10000";

/// Returns the payload as text, or `None` if the record is to be skipped.
fn readable(payload: &[u8]) -> Result<Option<&str>, Refused> {
    if payload.len() > LexDecoder::MAX_BYTES {
        let detail = format!("{} bytes, more than the limit of {}", payload.len(), LexDecoder::MAX_BYTES);
        return Err(Refused::new(Reason::TooLarge, detail));
    }
    let text = std::str::from_utf8(payload).map_err(|error| {
        Refused::new(Reason::NotUtf8, format!("invalid UTF-8 at byte {}", error.valid_up_to()))
    })?;
    let trimmed = text.trim_ascii();
    Ok((!trimmed.is_empty() && !is_test_message(trimmed)).then_some(text))
}

/// Returns whether `text` is what CloudWatch writes to try its access to a destination.
fn is_test_message(text: &str) -> bool {
    let text = text.trim_matches('"');
    text == "aws-logs-write-test" || text.starts_with("Permission Check Successful")
}

/// Refuses JSON that is no log object of Lex V2, with the reason that helps most.
fn check_kind(root: Node<'_, '_>) -> Result<(), Refused> {
    let has = |key: &str| root.get(key).is_some();
    if has("invocationSource") {
        let detail = "it is the Lambda event that Lex hands to a function, not a conversation log; conversation \
                      logs are in the log group that the bot's alias names";
        return Err(Refused::new(Reason::LambdaEvent, detail));
    }
    if has("botName") && !has("bot") && !has("sessionState") && !has("interpretations") {
        let detail = "it is a log of Lex V1, and only logs of Lex V2 are read";
        return Err(Refused::new(Reason::LexV1, detail));
    }
    let known = has("sessionState") || has("interpretations") || has("bot");
    if known || has("botId") && has("sessionId") {
        return Ok(());
    }
    let detail = "it has neither `sessionState` nor `interpretations` nor `bot`";
    Err(Refused::new(Reason::NotLex, detail))
}

//! Decodes the bytes of records into events, with a feature for each format.
//!
//! What is absent here: this crate never reads a file, a socket or a clock. It knows no async and
//! no randomness, needs no C compiler, and keeps no state between two calls. A decoder looks at one
//! record at a time. The engine makes sessions, turns and stacks of the events.
//!
//! - `rasa` (feature `rasa`, on by default): every event type of Rasa Open Source and of CALM
//!   assistants.
//!
//! - `lex` (feature `lex`, on by default): conversation logs of Amazon Lex V2, in any envelope.
//!
//! [`shipped`] holds all of them by their names.
//!
//! ```
//! use turnmill_formats::rasa::RasaDecoder;
//! use turnmill_model::{Decoder, Record, Settings};
//!
//! let decoder = RasaDecoder::new(&Settings::default());
//! let payload = br#"{"sender_id": "u1", "event": "restart", "timestamp": 1656382549.326936}"#;
//! let mut events = Vec::new();
//! decoder.decode(&Record { payload, ..Record::default() }, &mut events)?;
//! assert_eq!(events[0].event_type, "restart");
//! # Ok::<(), turnmill_model::Refused>(())
//! ```

#[cfg(feature = "lex")]
pub mod lex;
#[cfg(feature = "rasa")]
pub mod rasa;

/// Returns all decoders of this build, under `settings`. Rasa's is the default one.
///
/// ```
/// use turnmill_model::Settings;
/// let decoders = turnmill_formats::shipped(&Settings::default());
/// assert_eq!(decoders.default_decoder().name(), "rasa");
/// ```
#[cfg(feature = "rasa")]
#[must_use]
pub fn shipped(settings: &turnmill_model::Settings) -> turnmill_model::Decoders {
    let decoders = turnmill_model::Decoders::from(rasa::RasaDecoder::new(settings));
    #[cfg(feature = "lex")]
    let decoders = decoders.with(lex::LexDecoder::new(settings));
    decoders
}

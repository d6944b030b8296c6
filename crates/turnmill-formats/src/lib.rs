//! Decoders: from the bytes of a record to events, a feature for each format.
//!
//! What is absent here: this crate never reads a file, a socket or a clock, knows no async and no randomness, needs no
//! C compiler, and keeps no state between two calls. A decoder looks at one record at a time; sessions, turns and stacks are
//! made of events elsewhere.
//!
//! - `rasa` (feature `rasa`, on by default): every event type of Rasa Open Source and of CALM assistants.
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

#[cfg(feature = "rasa")]
pub mod rasa;

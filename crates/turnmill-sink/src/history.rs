//! How a sender's events are kept: one compressed chunk per sender and transaction, holding the original records.
//!
//! An event's bytes are kept as they were received, with what the envelope said, so that the event can be decoded again: for
//! late events, a rebuild, or markers over history.

use serde::{Deserialize, Serialize, Serializer};
use turnmill_model::EventTime;

use crate::StoreError;

/// Version of the encoding, the first byte of a chunk.
const VERSION: u8 = 1;

/// One event of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry<'a> {
    /// The event's place in its sender's order; that of its first copy, if an anonymised one took its place.
    pub time: EventTime,
    /// Which of its record's events it is.
    pub ordinal: u32,
    /// The record's own time.
    pub record_time: Option<f64>,
    /// The record's environment.
    #[serde(borrow)]
    pub environment: Option<&'a str>,
    /// The record's bytes.
    #[serde(serialize_with = "all_at_once")]
    pub payload: &'a [u8],
}

/// The events of a chunk, in the sender's order: by time, those of the same time as they arrived.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entries<'a> {
    /// Name of the decoder that reads the records.
    pub decoder: &'a str,
    /// The events.
    #[serde(borrow)]
    pub entries: Vec<Entry<'a>>,
}

impl Entries<'_> {
    /// The chunk's bytes.
    ///
    /// ```
    /// use turnmill_sink::history::{Entries, Entry, unpack};
    /// # use turnmill_model::EventTime;
    /// let time = EventTime::from_seconds(1656382549.5).unwrap();
    /// let entry = Entry { time, ordinal: 0, record_time: None, environment: None, payload: b"{}" };
    /// let packed = Entries { decoder: "rasa", entries: vec![entry] }.pack();
    /// let bytes = unpack(&packed)?;
    /// assert_eq!(Entries::read(&bytes)?.entries, [entry]);
    /// # Ok::<(), turnmill_sink::StoreError>(())
    /// ```
    #[must_use]
    pub fn pack(&self) -> Vec<u8> {
        // Serialising plain data into memory cannot fail; an empty chunk would be refused on reading.
        let plain = postcard::to_stdvec(self).unwrap_or_default();
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&u32::try_from(plain.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend(lz4_flex::block::compress(&plain));
        bytes
    }
}

impl<'a> Entries<'a> {
    /// Reads the events of an [unpacked](unpack) chunk.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if the bytes are no chunk.
    pub fn read(unpacked: &'a [u8]) -> Result<Self, StoreError> {
        postcard::from_bytes(unpacked).map_err(|error| damaged(&error.to_string()))
    }
}

/// The same encoding as that of a sequence of bytes, without taking them one by one.
fn all_at_once<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// Undoes the compression of a chunk.
///
/// # Errors
///
/// [`StoreError::Damaged`] if the bytes are no chunk of a known version.
pub fn unpack(bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
    let (Some(&VERSION), Some(size), Some(packed)) = (bytes.first(), bytes.get(1..5), bytes.get(5..)) else {
        return Err(damaged("unknown version"));
    };
    let size = size.iter().rev().fold(0, |size, byte| size << 8 | usize::from(*byte));
    lz4_flex::block::decompress(packed, size).map_err(|error| damaged(&error.to_string()))
}

fn damaged(detail: &str) -> StoreError {
    StoreError::Damaged { detail: format!("a chunk of history cannot be read: {detail}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_encoded_as_sequences_of_bytes() {
        for payload in [&b""[..], b"{}", &[0xff; 300]] {
            let time = EventTime::from_seconds(1.5e9).unwrap();
            let entry =
                Entry { time, ordinal: 7, record_time: Some(2.5), environment: Some("prod"), payload };
            let one_by_one = (time, 7_u32, Some(2.5), Some("prod"), payload.to_vec());
            assert_eq!(postcard::to_stdvec(&entry).unwrap(), postcard::to_stdvec(&one_by_one).unwrap());
        }
    }
}

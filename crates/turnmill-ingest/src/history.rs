//! Encodes the events of a sender as the store keeps them: in compressed chunks, which hold the
//! original records. Each transaction adds chunks of its own.
//!
//! The bytes of a record are kept as they were received, with the facts of its envelope. So an
//! event can be decoded again: for late events, a rebuild, or markers over history.

use serde::{Deserialize, Serialize, Serializer};
use turnmill_model::{Event, EventTime, Record, TimeUnit};

use turnmill_sink::{Chunk, StoreError};

/// Version of the encoding of a chunk whose records need one decoder: the first byte of the chunk.
const VERSION: u8 = 2;
/// Version of the encoding of a chunk whose records need several. Chunks of one decoder keep the
/// older version, which is smaller.
const VERSION_OF_SEVERAL: u8 = 3;

/// Holds one event of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry<'a> {
    /// Name of the decoder that reads the record; empty: the [default](turnmill_model::Decoders)
    /// one.
    #[serde(skip)]
    pub(crate) decoder: &'a str,
    /// Time of the event in its sender's order. If an anonymised copy took its place, the time of
    /// the first copy.
    pub(crate) time: EventTime,
    /// Tie key: its place among events of exactly that time, see [`Event::tie`].
    pub(crate) tie: Option<i128>,
    /// Index of the event among the events of its record.
    pub(crate) ordinal: u32,
    /// The record's own time.
    pub(crate) record_time: Option<f64>,
    /// The record's environment.
    #[serde(borrow)]
    pub(crate) environment: Option<&'a str>,
    /// The unit of the record's timestamps.
    pub(crate) time_unit: TimeUnit,
    /// Whether its source declares all events anonymised.
    pub(crate) anonymised: bool,
    /// Of an anonymised copy: what the decoder [kept](turnmill_model::Decoder::kept) of the plain
    /// copy. `None` if no plain copy has come, empty if it had nothing to keep.
    #[serde(borrow)]
    pub(crate) kept: Option<&'a [u8]>,
    /// The record's bytes.
    #[serde(serialize_with = "all_at_once")]
    pub(crate) payload: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Creates the entry of `event`, which is one of the events of `record`. The decoder is the one
    /// that the record's [facts](turnmill_model::SourceFacts::decoder) name.
    #[must_use]
    pub(crate) fn new(record: &Record<'a>, event: &Event<'_>, kept: Option<&'a [u8]>) -> Self {
        let (time, tie) = event.order();
        Self {
            decoder: record.facts.decoder.unwrap_or_default(),
            time,
            tie,
            ordinal: event.ordinal,
            record_time: record.time,
            environment: record.environment,
            time_unit: record.facts.time_unit,
            anonymised: record.facts.anonymised,
            kept,
            payload: record.payload,
        }
    }
}

/// Holds an entry of version 1 of the encoding.
#[derive(Serialize, Deserialize)]
struct EntryV1<'a> {
    time: EventTime,
    ordinal: u32,
    record_time: Option<f64>,
    #[serde(borrow)]
    environment: Option<&'a str>,
    payload: &'a [u8],
}

impl<'a> From<EntryV1<'a>> for Entry<'a> {
    fn from(entry: EntryV1<'a>) -> Self {
        let EntryV1 { time, ordinal, record_time, environment, payload } = entry;
        Self {
            decoder: "",
            time,
            tie: None,
            ordinal,
            record_time,
            environment,
            time_unit: TimeUnit::Seconds,
            anonymised: false,
            kept: None,
            payload,
        }
    }
}

/// Holds the events of a chunk, in the sender's order: by time and tie key, then by arrival.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entries<'a>(pub(crate) Vec<Entry<'a>>);

/// The content of a chunk whose records need several decoders.
#[derive(Serialize, Deserialize)]
struct OfSeveral<'a> {
    /// Names of the decoders.
    #[serde(borrow)]
    decoders: Vec<&'a str>,
    /// For each event the index of its decoder among the names.
    of: Vec<u32>,
    entries: Vec<Entry<'a>>,
}

/// Most events of a chunk. The chunks of a batch follow each other in time. So a stretch of history
/// is found in few of them, even if each batch brought events from all over a sender's life.
const CHUNK: usize = 512;

impl Entries<'_> {
    /// Returns the events as chunks, numbered from 0; none if there are no events.
    #[must_use]
    pub(crate) fn chunks(&self) -> Vec<Chunk> {
        let chunk = |(number, entries): (u64, &[Entry<'_>])| {
            let (first, last) = (entries.first()?, entries.last()?);
            let (least, greatest) = (first.time, last.time);
            let bytes = pack(entries);
            Some(Chunk { number, least, greatest, bytes })
        };
        (0..).zip(self.0.chunks(CHUNK)).filter_map(chunk).collect()
    }

    /// Encodes and compresses the events.
    #[must_use]
    pub(crate) fn pack(&self) -> Vec<u8> {
        pack(&self.0)
    }
}

fn pack(entries: &[Entry<'_>]) -> Vec<u8> {
    let first = entries.first().map_or("", |entry| entry.decoder);
    // Serialising plain data into memory cannot fail. An empty chunk would be refused on reading.
    let (version, plain) = if entries.iter().all(|entry| entry.decoder == first) {
        (VERSION, postcard::to_stdvec(&(first, entries)).unwrap_or_default())
    } else {
        (VERSION_OF_SEVERAL, postcard::to_stdvec(&of_several(entries)).unwrap_or_default())
    };
    let mut bytes = vec![version];
    bytes.extend_from_slice(&u32::try_from(plain.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend(lz4_flex::block::compress(&plain));
    bytes
}

fn of_several<'a>(entries: &[Entry<'a>]) -> OfSeveral<'a> {
    let mut decoders: Vec<&str> = Vec::new();
    let index = |entry: &Entry<'a>| {
        let known = decoders.iter().position(|name| *name == entry.decoder);
        let index = known.unwrap_or_else(|| {
            decoders.push(entry.decoder);
            decoders.len() - 1
        });
        u32::try_from(index).unwrap_or(u32::MAX)
    };
    let of = entries.iter().map(index).collect();
    OfSeveral { decoders, of, entries: entries.to_vec() }
}

impl<'a> Entries<'a> {
    /// Reads the events of an [unpacked](unpack) chunk, of any version.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if the bytes are no chunk.
    pub(crate) fn read(chunk: &'a Unpacked) -> Result<Self, StoreError> {
        let unreadable = |error: postcard::Error| damaged(&error.to_string());
        let of_one = |decoder: &'a str, entries: Vec<Entry<'a>>| {
            Self(entries.into_iter().map(|entry| Entry { decoder, ..entry }).collect())
        };
        match chunk.version {
            1 => {
                let (decoder, entries): (&str, Vec<EntryV1<'_>>) =
                    postcard::from_bytes(&chunk.bytes).map_err(unreadable)?;
                Ok(of_one(decoder, entries.into_iter().map(Entry::from).collect()))
            }
            VERSION => {
                let (decoder, entries) = postcard::from_bytes(&chunk.bytes).map_err(unreadable)?;
                Ok(of_one(decoder, entries))
            }
            _ => {
                let OfSeveral { decoders, of, mut entries } =
                    postcard::from_bytes(&chunk.bytes).map_err(unreadable)?;
                if of.len() != entries.len() {
                    return Err(damaged("not every event has a decoder"));
                }
                for (entry, index) in entries.iter_mut().zip(of) {
                    entry.decoder =
                        decoders.get(index as usize).ok_or_else(|| damaged("an event lacks its decoder"))?;
                }
                Ok(Self(entries))
            }
        }
    }
}

/// Holds a chunk without its compression.
#[derive(Clone, Debug)]
pub(crate) struct Unpacked {
    version: u8,
    bytes: Vec<u8>,
}

/// Encodes bytes as a whole. The encoding is that of a sequence of bytes, which would take them one
/// by one.
fn all_at_once<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// Undoes the compression of a chunk.
///
/// # Errors
///
/// [`StoreError::Damaged`] if the bytes are no chunk of a known version.
pub(crate) fn unpack(bytes: &[u8]) -> Result<Unpacked, StoreError> {
    let (Some(&version @ 1..=VERSION_OF_SEVERAL), Some(size), Some(packed)) =
        (bytes.first(), bytes.get(1..5), bytes.get(5..))
    else {
        return Err(damaged("unknown version"));
    };
    let size = size.iter().rev().fold(0, |size, byte| size << 8 | usize::from(*byte));
    let bytes = lz4_flex::block::decompress(packed, size).map_err(|error| damaged(&error.to_string()))?;
    Ok(Unpacked { version, bytes })
}

fn damaged(detail: &str) -> StoreError {
    StoreError::Damaged { detail: format!("a chunk of history cannot be read: {detail}") }
}

#[cfg(test)]
mod tests {
    use turnmill_formats::rasa::RasaDecoder;
    use turnmill_model::{Decoder as _, Settings};

    use super::*;

    #[test]
    fn payloads_are_encoded_as_sequences_of_bytes() {
        for payload in [&b""[..], b"{}", &[0xff; 300]] {
            let time = EventTime::from_seconds(1.5e9).unwrap();
            let entry = Entry {
                decoder: "",
                time,
                tie: Some(3),
                ordinal: 7,
                record_time: Some(2.5),
                environment: Some("prod"),
                time_unit: TimeUnit::Seconds,
                anonymised: true,
                kept: Some(b"k"),
                payload,
            };
            let one_by_one = (
                (time, Some(3_i64), 7_u32, Some(2.5), Some("prod"), TimeUnit::Seconds, true),
                Some(b"k".to_vec()),
                payload.to_vec(),
            );
            assert_eq!(postcard::to_stdvec(&entry).unwrap(), postcard::to_stdvec(&one_by_one).unwrap());
        }
    }

    #[test]
    fn what_is_packed_is_read() {
        let payload = br#"{"sender_id": "u1", "event": "restart", "timestamp": 1656382549.5}"#;
        let record = Record { payload, ..Record::default() };
        let mut events = Vec::new();
        RasaDecoder::new(&Settings::default()).decode(&record, &mut events).unwrap();
        let entry = Entry::new(&record, &events[0], None);
        let chunk = unpack(&Entries(vec![entry]).pack()).unwrap();
        assert_eq!(Entries::read(&chunk).unwrap().0, [entry]);
    }

    #[test]
    fn chunks_of_version_1_are_read() {
        let time = EventTime::from_seconds(1.5e9).unwrap();
        let old = EntryV1 { time, ordinal: 2, record_time: None, environment: Some("prod"), payload: b"{}" };
        let plain = postcard::to_stdvec(&("rasa", vec![old])).unwrap();
        let mut bytes = vec![1];
        bytes.extend_from_slice(&u32::try_from(plain.len()).unwrap().to_le_bytes());
        bytes.extend(lz4_flex::block::compress(&plain));
        let chunk = unpack(&bytes).unwrap();
        let entries = Entries::read(&chunk).unwrap();
        let [entry] = entries.0.as_slice() else { panic!("one entry") };
        assert_eq!((entry.decoder, entry.ordinal, entry.environment), ("rasa", 2, Some("prod")));
        assert_eq!((entry.tie, entry.anonymised, entry.kept), (None, false, None));
        bytes[0] = 4;
        assert!(unpack(&bytes).is_err(), "a newer version is not guessed at");
    }

    #[test]
    fn only_a_chunk_of_several_decoders_has_the_version_for_them() {
        let time = EventTime::from_seconds(1.5e9).unwrap();
        let old = EntryV1 { time, ordinal: 0, record_time: None, environment: None, payload: b"{}" };
        let entry = |decoder| Entry { decoder, ..Entry::from(EntryV1 { ..old }) };
        for (decoders, version) in [(["rasa", "rasa"], 2), (["rasa", "chat"], 3), (["", ""], 2)] {
            let entries = Entries(decoders.map(entry).to_vec());
            let bytes = entries.pack();
            assert_eq!(bytes[0], version, "{decoders:?}");
            assert_eq!(Entries::read(&unpack(&bytes).unwrap()).unwrap(), entries);
        }
        let several = OfSeveral { decoders: vec!["rasa"], of: vec![1], entries: vec![entry("rasa")] };
        let plain = postcard::to_stdvec(&several).unwrap();
        let chunk = Unpacked { version: 3, bytes: plain };
        assert!(Entries::read(&chunk).is_err(), "an index without a name is damage");
    }
}

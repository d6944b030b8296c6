//! Where a source stands: positions and fingerprints.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// Longest prefix of a file that a [`Fingerprint`] covers, in bytes.
pub const FINGERPRINT_BYTES: usize = 1024;

/// Digest of the first bytes of a file, to notice that another file took its place.
///
/// It covers consumed bytes only, at most [`FINGERPRINT_BYTES`] of them, uncompressed. Files whose covered prefix is
/// equal are taken for the same file, so one that merely grew is not a replacement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    covered: u16,
    digest: [u8; 16],
}

impl Fingerprint {
    /// The fingerprint of a file that begins with `prefix` (of which at most [`FINGERPRINT_BYTES`] count).
    #[must_use]
    pub fn of(prefix: &[u8]) -> Self {
        let prefix = &prefix[..prefix.len().min(FINGERPRINT_BYTES)];
        let mut digest = [0; 16];
        digest.copy_from_slice(&Sha256::digest(prefix)[..16]);
        // At most 1024.
        Self { covered: u16::try_from(prefix.len()).unwrap_or(0), digest }
    }

    /// Number of bytes that it covers.
    #[must_use]
    pub fn covered(&self) -> usize {
        usize::from(self.covered)
    }

    /// Whether a file that begins with `prefix` may be the one this was taken of.
    ///
    /// ```
    /// use turnmill_source::Fingerprint;
    /// let small = Fingerprint::of(b"one line\n");
    /// assert!(small.matches(b"one line\nand another\n"));
    /// assert!(!small.matches(b"two"));
    /// ```
    #[must_use]
    pub fn matches(&self, prefix: &[u8]) -> bool {
        prefix.get(..self.covered()).is_some_and(|prefix| Self::of(prefix) == *self)
    }
}

/// The last record that was read before a position of a log.
///
/// An offset alone does not tell that a topic was deleted and created again, or that its log was truncated and has grown
/// past the offset since. The record that was read last does: whoever goes on at the position first reads that record again
/// and compares it.
///
/// ```
/// use turnmill_source::LastRecord;
/// let last = LastRecord::new(299, Some(1_656_382_549_326), Some(b"u1"), b"{}");
/// assert_eq!(last, LastRecord::new(299, Some(1_656_382_549_326), Some(b"u1"), b"{}"));
/// assert_ne!(last, LastRecord::new(299, Some(1_656_382_549_326), Some(b"u2"), b"{}"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LastRecord {
    /// Its offset: less than the position's, by more than one if the offsets between hold no record.
    pub offset: u64,
    /// Its time in Unix milliseconds, if it has one.
    pub millis: Option<i64>,
    digest: [u8; 8],
}

impl LastRecord {
    /// The record at `offset` with this time, key and payload. A payload that is missing counts as an empty one.
    #[must_use]
    pub fn new(offset: u64, millis: Option<i64>, key: Option<&[u8]>, payload: &[u8]) -> Self {
        let key = key.unwrap_or_default();
        let hash = Sha256::new().chain_update((key.len() as u64).to_le_bytes()).chain_update(key);
        let mut digest = [0; 8];
        digest.copy_from_slice(&hash.chain_update(payload).finalize()[..8]);
        Self { offset, millis, digest }
    }
}

/// How far a partition has been consumed.
///
/// Its text form is short and stable, for a store's text column: `OFFSET` or, of a file, `OFFSET@COVERED:DIGEST` or, of a
/// log, `OFFSET~LAST:MILLIS:DIGEST`.
///
/// ```
/// use turnmill_source::{Fingerprint, Position};
/// let position = Position { fingerprint: Some(Fingerprint::of(b"one line\n")), ..Position::at(9) };
/// let text = position.to_string();
/// assert!(text.starts_with("9@9:"));
/// assert_eq!(text.parse(), Ok(position));
/// assert_eq!("78".parse(), Ok(Position::at(78)));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Position {
    /// For files the uncompressed byte offset after the last consumed line, for tables the last consumed id.
    pub offset: u64,
    /// Fingerprint of the file, if the partition is one and something was consumed.
    pub fingerprint: Option<Fingerprint>,
    /// The record that was read last, if the partition is a log's and something was read.
    pub last: Option<LastRecord>,
}

impl Position {
    /// A position without fingerprint.
    #[must_use]
    pub fn at(offset: u64) -> Self {
        Self { offset, fingerprint: None, last: None }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.offset)?;
        if let Some(fingerprint) = &self.fingerprint {
            write!(f, "@{}:", fingerprint.covered)?;
            return write_hex(f, &fingerprint.digest);
        }
        if let Some(last) = &self.last {
            write!(f, "~{}:", last.offset)?;
            if let Some(millis) = last.millis {
                write!(f, "{millis}")?;
            }
            write!(f, ":")?;
            return write_hex(f, &last.digest);
        }
        Ok(())
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| InvalidPosition(text.into()))
    }
}

fn parse(text: &str) -> Option<Position> {
    if let Some((offset, last)) = text.split_once('~') {
        return Some(Position { last: Some(parse_last(last)?), ..Position::at(decimal(offset)?) });
    }
    let Some((offset, fingerprint)) = text.split_once('@') else {
        return Some(Position::at(decimal(text)?));
    };
    let (covered, hex) = fingerprint.split_once(':')?;
    let covered = u16::try_from(decimal(covered)?).ok()?;
    if usize::from(covered) > FINGERPRINT_BYTES {
        return None;
    }
    let fingerprint = Fingerprint { covered, digest: parse_hex(hex)? };
    Some(Position { fingerprint: Some(fingerprint), ..Position::at(decimal(offset)?) })
}

fn parse_last(text: &str) -> Option<LastRecord> {
    let (offset, rest) = text.split_once(':')?;
    let (millis, hex) = rest.split_once(':')?;
    let millis = match millis {
        "" => None,
        millis => {
            let magnitude = i64::try_from(decimal(millis.strip_prefix('-').unwrap_or(millis))?).ok()?;
            Some(if millis.starts_with('-') { -magnitude } else { magnitude })
        }
    };
    Some(LastRecord { offset: decimal(offset)?, millis, digest: parse_hex(hex)? })
}

fn parse_hex<const N: usize>(hex: &str) -> Option<[u8; N]> {
    if hex.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn decimal(text: &str) -> Option<u64> {
    // `u64::from_str` would take a sign.
    text.bytes().all(|c| c.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A text that is no [`Position`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid position `{0}`: expected OFFSET, OFFSET@COVERED:DIGEST or OFFSET~LAST:MILLIS:DIGEST")]
pub struct InvalidPosition(pub String);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nonsense_is_no_position() {
        for text in [
            "",
            "-1",
            "+1",
            "1@",
            "1@2",
            "1@2:ab",
            "1@1025:00112233445566778899aabbccddeeff",
            "1 ",
            "1~",
            "1~0:1",
            "1~0:x:0011223344556677",
            "1~0:1:00",
            "1~0:+1:0011223344556677",
            "1~-1:1:0011223344556677",
        ] {
            assert_eq!(text.parse::<Position>(), Err(InvalidPosition(text.into())));
        }
    }

    proptest! {
        #[test]
        fn text_round_trips(offset: u64, prefix: Option<Vec<u8>>) {
            let position = Position { fingerprint: prefix.as_deref().map(Fingerprint::of), ..Position::at(offset) };
            prop_assert_eq!(position.to_string().parse(), Ok(position));
        }

        #[test]
        fn the_last_record_round_trips(
            offset: u64, before: u64, millis in prop::option::of(-1_i64 << 60..1 << 60), key: Option<Vec<u8>>, payload: Vec<u8>,
        ) {
            let last = LastRecord::new(before, millis, key.as_deref(), &payload);
            let position = Position { last: Some(last), ..Position::at(offset) };
            prop_assert_eq!(position.to_string().parse(), Ok(position));
        }

        #[test]
        fn growth_matches_and_change_does_not(prefix in prop::collection::vec(any::<u8>(), 1..2000), more: Vec<u8>, at: prop::sample::Index) {
            let print = Fingerprint::of(&prefix);
            let mut grown = prefix.clone();
            grown.extend(more);
            prop_assert!(print.matches(&grown));
            grown[at.index(print.covered())] ^= 1;
            prop_assert!(!print.matches(&grown));
        }
    }
}

//! Defines how the records of a format are taken out of their envelopes.

use crate::Refused;

/// Takes the records of a format out of envelopes, and out of files of any layout.
///
/// A [`Decoder`](crate::Decoder) of such a format returns one. A file is a sequence of pieces, and
/// each piece holds any number of records. The payload of a topic's record is a file too.
pub trait Unwrapper: Send + Sync {
    /// Returns whether `head`, the first bytes of a file or a whole payload, is certainly of this
    /// format. It has to be quick, because it is asked for records of other formats.
    fn claims(&self, head: &[u8]) -> bool;

    /// Begins a file.
    fn begin(&self) -> Box<dyn Unwrapping + Send>;

    /// Takes the records out of `payload`, which is a whole file.
    fn unwrap(&self, payload: &[u8], out: &mut Vec<Unwrapped>) {
        let (mut file, mut at) = (self.begin(), 0);
        while let Some(rest) = payload.get(at..).filter(|rest| !rest.is_empty()) {
            match file.next(rest, true, out) {
                Some(taken) if taken > 0 => at += taken,
                _ => return,
            }
        }
    }
}

/// Takes the records out of one file.
pub trait Unwrapping {
    /// Takes the next piece from the start of `bytes` and appends its records, if it has any.
    /// Returns the piece's length.
    ///
    /// `None` asks for more bytes: the piece is not complete. `all` tells that no bytes follow.
    /// Then the answer is `Some`, and at least 1 unless `bytes` is empty.
    fn next(&mut self, bytes: &[u8], all: bool, out: &mut Vec<Unwrapped>) -> Option<usize>;
}

/// A record that was taken out of its envelope.
#[derive(Clone, Debug, PartialEq)]
pub struct Unwrapped {
    /// The record's bytes.
    pub payload: Vec<u8>,
    /// The envelope's time of it, Unix seconds.
    pub time: Option<f64>,
    /// What to do with it.
    pub outcome: UnwrappedOutcome,
}

/// What to do with an unwrapped record.
#[derive(Clone, Debug, PartialEq)]
pub enum UnwrappedOutcome {
    /// It is to be decoded.
    Body,
    /// It holds nothing: a control message, a blank line.
    Skipped,
    /// The envelope cannot be read.
    Refused(Refused),
}

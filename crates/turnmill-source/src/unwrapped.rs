//! Files whose records are in envelopes of any layout.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use turnmill_model::{Decoder, Reason, Refused, Unwrapped, UnwrappedOutcome, Unwrapping};

use crate::input::{Compression, Input};
use crate::source::{BatchLimits, Opened, Progress, Source, SourceError};
use crate::{FileOptions, Fingerprint, PartitionId, Position, RecordBatch, RecordOutcome, SourceRecord};

/// Bytes read at once.
const CHUNK: usize = 256 << 10;

/// A file as a [`Source`], plain or compressed, whose records a decoder's
/// [unwrapper](turnmill_model::Unwrapper) takes out of their envelopes.
///
/// An envelope with many records is one piece: a batch never ends inside of it. If a compressed
/// file ends early, its complete records count, and what is left is one dead letter. Only its
/// length is kept, because part of a record may hide a secret.
///
/// The file is read to its end and cannot be followed.
///
/// Memory: the batch's limits, the largest piece, and 256 KiB.
pub struct UnwrappedFile {
    partition: PartitionId,
    options: FileOptions,
    decoder: &'static str,
    /// `None` for streams, which have no positions.
    path: Option<PathBuf>,
    input: Input,
    pieces: Box<dyn Unwrapping + Send>,
    /// Bytes that were read; those from `head` on are not consumed yet.
    carry: Vec<u8>,
    head: usize,
    /// Offset after the last consumed byte.
    consumed: u64,
    /// Records that begin before this offset were delivered by an earlier run.
    known: u64,
    last: Option<Position>,
    opened: Opened,
    opened_pending: bool,
    end: End,
}

/// What is known about the end of the file.
#[derive(Debug)]
enum End {
    /// There may be more bytes.
    NotSeen,
    /// All bytes are in the carry.
    Read,
    /// The compressed bytes end early.
    Broken,
    Done,
    Failed(SourceError),
}

impl std::fmt::Debug for UnwrappedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnwrappedFile")
            .field("partition", &self.partition)
            .field("decoder", &self.decoder)
            .field("consumed", &self.consumed)
            .finish_non_exhaustive()
    }
}

impl UnwrappedFile {
    /// Opens the file `path` for `decoder`, after the position `resume_from` if that is of this
    /// file. Returns `None` if the decoder has no unwrapper.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if the file cannot be opened or read, or is to be followed.
    pub fn open(
        path: &Path,
        options: FileOptions,
        decoder: &dyn Decoder,
        resume_from: Option<&Position>,
    ) -> Result<Option<Self>, SourceError> {
        let failed = |source| SourceError::Open { path: path.to_path_buf(), source };
        let canonical = path.canonicalize().map_err(failed)?;
        let partition = PartitionId::new(options.source.clone(), canonical.to_string_lossy().into_owned());
        if options.follow {
            return Err(SourceError::FollowUnwrapped { path: partition.partition });
        }
        let file = File::open(&canonical).map_err(failed)?;
        let input = Input::file(file).map_err(|error| crate::file::input_error(&partition, error))?;
        let Some(mut source) = Self::new(partition, options, decoder, input) else { return Ok(None) };
        source.path = Some(canonical);
        if let Some(position) = resume_from.filter(|position| position.offset > 0) {
            source.last = Some(position.clone());
            source.read_ahead();
            let same = position.fingerprint.is_none_or(|of_file| of_file.matches(&source.input.prefix));
            (source.opened, source.known) =
                if same { (Opened::Resumed, position.offset) } else { (Opened::Replaced, 0) };
        }
        Ok(Some(source))
    }

    /// Opens a stream, such as standard input, as the given partition. It has no positions.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if the stream cannot be read.
    pub fn stream(
        partition: PartitionId,
        stream: Box<dyn Read + Send>,
        options: FileOptions,
        decoder: &dyn Decoder,
    ) -> Result<Option<Self>, SourceError> {
        let input = Input::stream(stream).map_err(|error| crate::file::input_error(&partition, error))?;
        Ok(Self::new(partition, options, decoder, input))
    }

    fn new(
        partition: PartitionId,
        options: FileOptions,
        decoder: &dyn Decoder,
        input: Input,
    ) -> Option<Self> {
        Some(Self {
            partition,
            options,
            decoder: decoder.name(),
            path: None,
            input,
            pieces: decoder.unwrapper()?.begin(),
            carry: Vec::new(),
            head: 0,
            consumed: 0,
            known: 0,
            last: None,
            opened: Opened::Fresh,
            opened_pending: true,
            end: End::NotSeen,
        })
    }

    /// Reads more bytes into the carry, or notes how the file ends.
    fn read_ahead(&mut self) {
        self.carry.drain(..self.head);
        self.head = 0;
        // An incomplete piece is looked at again from its start. Doubling keeps that linear.
        let want = CHUNK.max(self.carry.len());
        match self.input.read(&mut self.carry, want, false) {
            Ok(0) => self.end = End::Read,
            Ok(_) => {}
            Err(error) if self.input.compression != Compression::None && is_damage(&error) => {
                self.end = End::Broken;
            }
            Err(source) => {
                let (path, offset) = (self.partition.partition.clone(), self.input.offset);
                self.end = End::Failed(SourceError::Read { path, offset, source });
            }
        }
    }

    /// Takes the next piece. Returns its records, with the offset at which it begins.
    fn next_piece(&mut self) -> Result<Option<(u64, Vec<Unwrapped>)>, SourceError> {
        let mut records = Vec::new();
        loop {
            let rest = self.carry.get(self.head..).unwrap_or_default();
            let (offset, all) = (self.consumed, matches!(self.end, End::Read));
            if !rest.is_empty() && !matches!(self.end, End::Done | End::Failed(_)) {
                match self.pieces.next(rest, all, &mut records) {
                    Some(taken) if taken > 0 => {
                        self.head += taken;
                        self.consumed += taken as u64;
                        return Ok(Some((offset, records)));
                    }
                    // Only a faulty unwrapper asks for more than all.
                    _ if all => self.end = End::Done,
                    _ => {}
                }
            }
            match &self.end {
                End::NotSeen => {
                    let limit = self.options.max_record_bytes;
                    if rest.len() > limit {
                        let path = self.partition.partition.clone();
                        self.end = End::Done;
                        return Err(SourceError::RecordTooLarge { path, offset, limit });
                    }
                    self.read_ahead();
                }
                End::Broken => {
                    let length = rest.len();
                    self.head += length;
                    self.consumed += length as u64;
                    self.end = End::Done;
                    let detail = "the compressed file ends early, or is damaged";
                    let outcome = UnwrappedOutcome::Refused(Refused::new(Reason::TruncatedGzip, detail));
                    let payload = format!("{length} bytes").into_bytes();
                    return Ok(Some((offset, vec![Unwrapped { payload, time: None, outcome }])));
                }
                End::Read | End::Done => {
                    self.end = End::Done;
                    return Ok(None);
                }
                End::Failed(_) => {
                    return match std::mem::replace(&mut self.end, End::Done) {
                        End::Failed(error) => Err(error),
                        _ => Ok(None),
                    };
                }
            }
        }
    }

    fn position(&self) -> Option<Position> {
        self.path.as_ref()?;
        let prefix = &self.input.prefix;
        let covered = usize::try_from(self.consumed).map_or(prefix.len(), |all| all.min(prefix.len()));
        let fingerprint = prefix.get(..covered).filter(|covered| !covered.is_empty()).map(Fingerprint::of);
        Some(Position { fingerprint, ..Position::at(self.consumed) })
    }
}

/// Returns whether decompressing failed because of the bytes, not of the device.
fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | Other | UnexpectedEof)
}

impl Source for UnwrappedFile {
    fn partition(&self) -> &PartitionId {
        &self.partition
    }

    fn decoder(&self) -> Option<&str> {
        Some(self.decoder)
    }

    fn is_unwrapped(&self) -> bool {
        true
    }

    fn next_batch(&mut self, limits: &BatchLimits, out: &mut RecordBatch) -> Result<Progress, SourceError> {
        out.start(&self.partition, self.last.as_ref());
        let mut progress = Progress::More;
        while out.len() < limits.records.max(1) && out.bytes() < limits.bytes.max(1) {
            match self.next_piece() {
                Ok(Some((offset, records))) => {
                    for record in records.iter().filter(|_| offset >= self.known) {
                        let envelope = SourceRecord {
                            payload: &[],
                            sender: None,
                            time: None,
                            environment: None,
                            key: None,
                            headers: crate::Headers::default(),
                            origin: None,
                            offset,
                            part: 0,
                            row: None,
                            outcome: RecordOutcome::Body,
                        };
                        out.push_unwrapped(0, &envelope, record);
                    }
                }
                Ok(None) => {
                    progress = Progress::End;
                    break;
                }
                Err(error) if out.is_empty() => return Err(error),
                // Deliver the records before the fault first.
                Err(error) => {
                    self.end = End::Failed(error);
                    break;
                }
            }
        }
        if !out.is_empty() {
            self.last = self.position();
            if std::mem::take(&mut self.opened_pending) {
                out.set_opened(self.opened);
            }
        }
        out.finish(self.last.clone());
        Ok(progress)
    }
}

//! The bytes of a file: decompressed, converted from UTF-16, with the first bytes remembered.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};

use crate::position::FINGERPRINT_BYTES;
use crate::utf16::{Text, Utf16, byte_order};

/// How a file is compressed, detected from its first bytes, never from its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not compressed.
    None,
    /// gzip, one or several members.
    Gzip,
    /// Zstandard, one or several frames.
    Zstd,
}

impl Compression {
    fn detect(first: &[u8]) -> Self {
        match first {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A frame, or a skippable frame.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// Returns the name, which is also that of the cargo feature.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

type Stream = Box<dyn Read + Send>;

enum Reader {
    /// A plain file, which can seek.
    File(File),
    Stream(Stream),
    #[cfg(feature = "gzip")]
    Gzip(Box<flate2::bufread::MultiGzDecoder<BufReader<Stream>>>),
    #[cfg(feature = "zstd")]
    Zstd(Box<zstd::Frames<BufReader<Stream>>>),
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(buffer),
            Self::Stream(stream) => stream.read(buffer),
            #[cfg(feature = "gzip")]
            Self::Gzip(decoder) => decoder.read(buffer),
            #[cfg(feature = "zstd")]
            Self::Zstd(frames) => frames.read(buffer),
        }
    }
}

pub(crate) struct Input {
    reader: Reader,
    pub(crate) compression: Compression,
    /// The plain file is UTF-16.
    pub(crate) utf16: bool,
    /// The first compressed bytes, at most 16.
    pub(crate) magic: Vec<u8>,
    /// The first bytes, at most [`FINGERPRINT_BYTES`].
    pub(crate) prefix: Vec<u8>,
    /// Offset of the next byte to be read.
    pub(crate) offset: u64,
    failure: Option<io::Error>,
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input")
            .field("compression", &self.compression)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

/// Why an input cannot be opened: a read failed, or this build lacks the decompressor.
#[derive(Debug)]
pub(crate) enum InputError {
    Io(io::Error),
    Unsupported(Compression),
}

impl From<io::Error> for InputError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Input {
    /// Opens a file that can seek.
    pub(crate) fn file(mut file: File) -> Result<Self, InputError> {
        let magic = magic(&mut file)?;
        file.rewind()?;
        match (Compression::detect(&magic), byte_order(&magic)) {
            (Compression::None, None) => Ok(Self::new(Reader::File(file), Compression::None, magic)),
            (Compression::None, Some(order)) => {
                let text: Stream = Box::new(Utf16::new(file, order));
                let input = Self::new(Reader::Stream(text), Compression::None, magic);
                Ok(Self { utf16: true, ..input })
            }
            (compression, _) => Self::compressed(Box::new(file), compression, magic),
        }
    }

    /// Opens any other stream.
    pub(crate) fn stream(mut stream: Stream) -> Result<Self, InputError> {
        let magic = magic(&mut stream)?;
        let stream: Stream = Box::new(Cursor::new(magic.clone()).chain(stream));
        match Compression::detect(&magic) {
            Compression::None => {
                let text = Box::new(Text::new(stream));
                Ok(Self::new(Reader::Stream(text), Compression::None, magic))
            }
            compression => Self::compressed(stream, compression, magic),
        }
    }

    fn compressed(stream: Stream, compression: Compression, magic: Vec<u8>) -> Result<Self, InputError> {
        let reader = decompressor(stream, compression).ok_or(InputError::Unsupported(compression))?;
        Ok(Self::new(Reader::Stream(Box::new(Text::new(reader))), compression, magic))
    }

    fn new(reader: Reader, compression: Compression, magic: Vec<u8>) -> Self {
        Self { reader, compression, utf16: false, magic, prefix: Vec::new(), offset: 0, failure: None }
    }

    /// Appends up to `want` bytes and returns how many; 0 means the end.
    ///
    /// There are fewer only at the end, or if `eager` returns what one read delivers. An error
    /// after some bytes is reported by the next call.
    pub(crate) fn read(&mut self, buffer: &mut Vec<u8>, want: usize, eager: bool) -> io::Result<usize> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let start = buffer.len();
        buffer.reserve(want);
        let outcome = if eager {
            buffer.resize(start + want, 0);
            let outcome = loop {
                match self.reader.read(&mut buffer[start..]) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    outcome => break outcome,
                }
            };
            buffer.truncate(start + outcome.as_ref().copied().unwrap_or(0));
            outcome
        } else {
            (&mut self.reader).take(want as u64).read_to_end(buffer)
        };
        let read = buffer.len() - start;
        let missing = FINGERPRINT_BYTES - self.prefix.len();
        if missing > 0 && self.offset == self.prefix.len() as u64 {
            self.prefix.extend_from_slice(&buffer[start..start + read.min(missing)]);
        }
        self.offset += read as u64;
        match outcome {
            Err(error) if read == 0 => Err(error),
            // Deliver the bytes before the fault first.
            Err(error) => {
                self.failure = Some(error);
                Ok(read)
            }
            Ok(_) => Ok(read),
        }
    }

    /// Skips to `offset`. Returns false if the file ends before it.
    pub(crate) fn skip_to(&mut self, offset: u64) -> io::Result<bool> {
        if let Reader::File(file) = &mut self.reader {
            if file.metadata()?.len() < offset {
                return Ok(false);
            }
            self.offset = file.seek(SeekFrom::Start(offset))?;
            return Ok(true);
        }
        let distance = offset.saturating_sub(self.offset);
        let skipped = io::copy(&mut (&mut self.reader).take(distance), &mut io::sink())?;
        self.offset += skipped;
        Ok(skipped == distance)
    }

    /// Returns the file, if it is plain.
    pub(crate) fn plain_file(&self) -> Option<&File> {
        match &self.reader {
            Reader::File(file) => Some(file),
            Reader::Stream(_) => None,
            #[cfg(feature = "gzip")]
            Reader::Gzip(_) => None,
            #[cfg(feature = "zstd")]
            Reader::Zstd(_) => None,
        }
    }
}

/// Returns the reader that decompresses, or `None` if this build has none for `compression`.
fn decompressor(stream: Stream, compression: Compression) -> Option<Reader> {
    let stream = BufReader::with_capacity(64 << 10, stream);
    match compression {
        Compression::None => Some(Reader::Stream(Box::new(stream))),
        #[cfg(feature = "gzip")]
        Compression::Gzip => Some(Reader::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(stream)))),
        #[cfg(not(feature = "gzip"))]
        Compression::Gzip => None,
        #[cfg(feature = "zstd")]
        Compression::Zstd => Some(Reader::Zstd(Box::new(zstd::Frames::new(stream)))),
        #[cfg(not(feature = "zstd"))]
        Compression::Zstd => None,
    }
}

fn magic(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut magic = Vec::new();
    reader.take(16).read_to_end(&mut magic)?;
    Ok(magic)
}

#[cfg(feature = "zstd")]
mod zstd {
    use std::io::{self, BufRead, Read};

    use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
    use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

    /// The content of all frames of a stream, one after the other.
    pub(super) struct Frames<R> {
        source: R,
        decoder: FrameDecoder,
        inside: bool,
    }

    impl<R: BufRead> Frames<R> {
        pub(super) fn new(source: R) -> Self {
            Self { source, decoder: FrameDecoder::new(), inside: false }
        }

        /// Enters the next frame. Returns false at the end.
        fn enter(&mut self) -> io::Result<bool> {
            loop {
                if self.source.fill_buf()?.is_empty() {
                    return Ok(false);
                }
                match self.decoder.reset(&mut self.source) {
                    Ok(()) => return Ok(true),
                    Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                        length,
                        ..
                    })) => {
                        let length = u64::from(length);
                        let skipped = io::copy(&mut (&mut self.source).take(length), &mut io::sink())?;
                        if skipped < length {
                            return Err(io::ErrorKind::UnexpectedEof.into());
                        }
                    }
                    Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
                }
            }
        }
    }

    impl<R: BufRead> Read for Frames<R> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if buffer.is_empty() {
                return Ok(0);
            }
            loop {
                if !self.inside {
                    if !self.enter()? {
                        return Ok(0);
                    }
                    self.inside = true;
                }
                while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                    let wanted = BlockDecodingStrategy::UptoBytes(buffer.len());
                    self.decoder
                        .decode_blocks(&mut self.source, wanted)
                        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                }
                match self.decoder.read(buffer)? {
                    0 => self.inside = false,
                    read => return Ok(read),
                }
            }
        }
    }
}

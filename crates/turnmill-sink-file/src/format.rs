//! The formats of files.

use std::fmt;
use std::path::PathBuf;

/// Format of the files of tables.
///
/// ```
/// use turnmill_sink_file::Format;
/// assert_eq!(Format::Parquet.extension(), "parquet");
/// assert_eq!("csv".parse(), Ok(Format::Csv));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// JSON lines: one object for each row, with all columns in the order of the table.
    Jsonl,
    /// CSV as RFC 4180 has it, with a header. NULL is an empty field, an empty text is `""`.
    Csv,
    /// Parquet, compressed with Zstandard.
    Parquet,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 3] = [Self::Jsonl, Self::Csv, Self::Parquet];

    /// Returns the name, which is the extension of its files as well.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.extension())
    }
}

impl std::str::FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        let found = Self::ALL.into_iter().find(|format| format.extension() == text);
        found.ok_or_else(|| UnknownFormat { text: turnmill_text::escaped(text).to_string() })
    }
}

/// A name that is no format's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a format of files: use `jsonl:`, `csv:` or `parquet:`, followed by a folder")]
pub struct UnknownFormat {
    text: String,
}

/// A folder of files of one format, as an address: `parquet:DIR`.
///
/// ```
/// use turnmill_sink_file::{FileAddress, Format};
/// let address: FileAddress = "parquet:out/tables".parse()?;
/// assert_eq!((address.format, address.folder.to_str()), (Format::Parquet, Some("out/tables")));
/// assert_eq!(address.to_string(), "parquet:out/tables");
/// assert!("parquet:".parse::<FileAddress>().is_err());
/// # Ok::<(), turnmill_sink_file::BadAddress>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileAddress {
    /// Format of the files.
    pub format: Format,
    /// The folder.
    pub folder: PathBuf,
}

/// A text that is no [`FileAddress`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// The format is not known.
    #[error(transparent)]
    Format(#[from] UnknownFormat),
    /// There is no folder.
    #[error("`{format}:` needs a folder: `{format}:tables`")]
    NoFolder {
        /// The format.
        format: Format,
    },
}

impl std::str::FromStr for FileAddress {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let (format, folder) = text.split_once(':').unwrap_or((text, ""));
        let format: Format = format.parse()?;
        if folder.is_empty() {
            return Err(BadAddress::NoFolder { format });
        }
        Ok(Self { format, folder: folder.into() })
    }
}

impl fmt::Display for FileAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.format, self.folder.display())
    }
}

//! Errors of files.

use std::path::{Path, PathBuf};

use turnmill_sink::StoreError;

/// Why files could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file system refused.
    #[error("{doing} `{}`", path.display())]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A Parquet file could not be written.
    #[error("writing the Parquet file `{}`", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: parquet::errors::ParquetError,
    },
    /// The manifest cannot be read.
    #[error("`{}` is damaged: {detail}; write to another folder, or remove this one", path.display())]
    Damaged {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A later version of turnmill wrote the folder.
    #[error("`{}` was written by a later version of turnmill (layout {found}, this one knows {known})", path.display())]
    Newer {
        /// The manifest.
        path: PathBuf,
        /// Version of its layout.
        found: u32,
        /// Version that is known here.
        known: u32,
    },
    /// The folder has files of something else.
    #[error("`{}` has files, but no manifest of turnmill: name an empty or a new folder", folder.display())]
    Foreign {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder has tables of another kind or format.
    #[error("`{}` holds {found}, and {wanted} were asked for: name another folder", folder.display())]
    Other {
        /// The folder.
        folder: PathBuf,
        /// What it holds.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// The address is not one of a folder.
    #[error(transparent)]
    Address(#[from] crate::BadAddress),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl FileError {
    /// Returns a function that makes an error of a cause.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }
}

//! `--to parquet:DIR`: the tables as files, with a SQLite file beside them that stays the truth.

use std::path::PathBuf;

use turnmill_sink::outbox::Outbox;
use turnmill_sink_file::{Content, FileAddress, FileError, Format, MANIFEST, Manifest, write_snapshot};

/// Name of the SQLite file in the folder.
const STORE: &str = "turnmill.sqlite";

/// A folder of tables that a run fills.
#[derive(Debug)]
pub(crate) struct Tables {
    address: FileAddress,
}

impl Tables {
    /// Returns the folder that `to` names, which is created, or `None` if `to` names something
    /// else.
    pub(crate) fn at(to: &str) -> Result<Option<Self>, FileError> {
        let scheme = to.split_once(':').map_or("", |(scheme, _)| scheme);
        if Format::ALL.iter().all(|format| format.extension() != scheme) {
            return Ok(None);
        }
        let address: FileAddress = to.parse()?;
        Manifest::open(&address.folder, Content::Snapshot, address.format)?;
        Ok(Some(Self { address }))
    }

    /// Returns the path of the SQLite file.
    pub(crate) fn store(&self) -> PathBuf {
        self.address.folder.join(STORE)
    }

    /// Returns whether the folder has tables.
    pub(crate) fn exist(&self) -> bool {
        self.address.folder.join(MANIFEST).exists()
    }

    /// Writes the tables of the store.
    pub(crate) async fn write<S: Outbox>(&self, store: &mut S) -> Result<(), FileError> {
        write_snapshot(store, &self.address).await.map(drop)
    }
}

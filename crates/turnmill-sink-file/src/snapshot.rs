//! The current rows of a store as files.

use std::fs;

use turnmill_model::tables::{PUBLIC, Table};
use turnmill_sink::outbox::{ChangeValue, Outbox};

use crate::columns::columns_of;
use crate::manifest::{Content, DataFile, Manifest, sync_folder};
use crate::writer::TableFile;
use crate::{FileAddress, FileError};

/// Rows that are read at once.
const PAGE: usize = 5000;

/// Writes the rows of all public tables to files, and returns the manifest that names them.
///
/// The store must be [open](turnmill_sink::Store::open). Rows are in the order of their keys. The
/// files of the last snapshot stay until the new manifest is durable, then they are removed. So a
/// process may be killed at any moment: the manifest names one complete snapshot or the other.
///
/// Columns that a store fills with the time of writing (`rasa_markers.created_at`) are left out, as
/// in digests. Pages are read one after another: if another process writes to the store meanwhile,
/// rows of different tables may be of different moments.
///
/// ```
/// use turnmill_model::Settings;
/// use turnmill_sink::{MemoryStore, Store};
/// use turnmill_sink_file::{FileAddress, Format, write_snapshot};
///
/// # let folder = tempfile::tempdir()?;
/// # pollster::block_on(async {
/// let mut store = MemoryStore::default();
/// store.open(&Settings::default()).await?;
/// let address = FileAddress { format: Format::Csv, folder: folder.path().join("tables") };
/// let manifest = write_snapshot(&mut store, &address).await?;
/// assert_eq!(manifest.rows("rasa_event"), 0);
/// assert!(address.folder.join(&manifest.tables["rasa_event"][0].path).exists());
/// # Ok::<(), turnmill_sink_file::FileError>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`FileError`]. Then the folder has the snapshot that it had before.
pub async fn write_snapshot<S: Outbox>(store: &mut S, address: &FileAddress) -> Result<Manifest, FileError> {
    let folder = &address.folder;
    let mut manifest = Manifest::open(folder, Content::Snapshot, address.format)?;
    let mut files = Vec::with_capacity(PUBLIC.len());
    for table in PUBLIC {
        let path = manifest.next_path(table.name);
        let below = folder.join(table.name);
        fs::create_dir_all(&below).map_err(FileError::io("creating", &below))?;
        let columns = columns_of(table.name).unwrap_or_default();
        let mut file = TableFile::create(&folder.join(&path), address.format, columns)?;
        write_rows(store, table, &mut file).await?;
        let (rows, bytes) = file.finish()?;
        sync_folder(&below)?;
        files.push((table.name.to_owned(), vec![DataFile { path, rows, bytes }]));
    }
    sync_folder(folder)?;
    manifest.tables = files.into_iter().collect();
    manifest.write(folder)?;
    manifest.remove_others(folder)?;
    Ok(manifest)
}

async fn write_rows<S: Outbox>(
    store: &mut S,
    table: &'static Table,
    file: &mut TableFile,
) -> Result<(), FileError> {
    let mut after = String::new();
    loop {
        let rows = store.rows_after(table, &after, PAGE).await?;
        for row in &rows {
            file.write(row)?;
        }
        match rows.last().and_then(|row| row.first()) {
            Some(ChangeValue::Text(key)) if rows.len() >= PAGE => after = key.clone().into_owned(),
            _ => return Ok(()),
        }
    }
}

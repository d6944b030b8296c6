//! The manifest: which files of a folder count.
//!
//! Data files are written and synced first. Then a new manifest, which names them, takes the place
//! of the old one in one step. A file that no manifest names does not count: it is what a killed
//! process left, and the next write removes it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{FileError, Format};

/// Name of the manifest in its folder.
pub const MANIFEST: &str = "turnmill.json";
/// Version of the layout.
const VERSION: u32 = 1;

/// What a folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Content {
    /// The current rows of each table.
    Snapshot,
}

impl Content {
    fn name(self) -> &'static str {
        match self {
            Self::Snapshot => "a snapshot",
        }
    }
}

/// A file of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// Path below the folder, with `/`.
    pub path: String,
    /// Number of rows.
    pub rows: u64,
    /// Size in bytes.
    pub bytes: u64,
}

/// Names the files of a folder that count.
///
/// ```json
/// {"version": 1, "content": "snapshot", "format": "parquet", "number": 3,
///  "tables": {"rasa_sender": [{"path": "rasa_sender/000003.parquet", "rows": 332, "bytes": 18221}]}}
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the layout.
    version: u32,
    /// What the folder holds.
    pub content: Content,
    /// Format of the files.
    pub format: Format,
    /// How many times the manifest was written.
    pub number: u64,
    /// Files of each table, in order.
    pub tables: BTreeMap<String, Vec<DataFile>>,
}

impl Manifest {
    /// Creates the manifest of an empty folder.
    #[must_use]
    pub fn new(content: Content, format: Format) -> Self {
        Self { version: VERSION, content, format, number: 0, tables: BTreeMap::new() }
    }

    /// Returns the number of rows of a table.
    #[must_use]
    pub fn rows(&self, table: &str) -> u64 {
        self.tables.get(table).into_iter().flatten().map(|file| file.rows).sum()
    }

    /// Reads the manifest of a folder, or returns `None` if the folder is empty or missing.
    ///
    /// # Errors
    ///
    /// A folder with other files, and a manifest that is damaged or of a later version.
    pub fn read(folder: &Path) -> Result<Option<Self>, FileError> {
        let path = folder.join(MANIFEST);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return if is_empty(folder)? {
                    Ok(None)
                } else {
                    Err(FileError::Foreign { folder: folder.to_owned() })
                };
            }
            Err(error) => return Err(FileError::io("reading", &path)(error)),
        };
        /// The part of every version.
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let damaged =
            |error: serde_json::Error| FileError::Damaged { path: path.clone(), detail: error.to_string() };
        let head: Head = serde_json::from_slice(&bytes).map_err(damaged)?;
        if head.version > VERSION {
            return Err(FileError::Newer { path, found: head.version, known: VERSION });
        }
        serde_json::from_slice(&bytes).map(Some).map_err(damaged)
    }

    /// Reads the manifest of a folder that is to hold this, or creates a new one.
    ///
    /// # Errors
    ///
    /// Those of [`read`](Self::read), and a folder that holds something else.
    pub fn open(folder: &Path, content: Content, format: Format) -> Result<Self, FileError> {
        fs::create_dir_all(folder).map_err(FileError::io("creating", folder))?;
        let Some(manifest) = Self::read(folder)? else { return Ok(Self::new(content, format)) };
        if (manifest.content, manifest.format) != (content, format) {
            let described = |content: Content, format: Format| format!("{} as {format}", content.name());
            return Err(FileError::Other {
                folder: folder.to_owned(),
                found: described(manifest.content, manifest.format),
                wanted: described(content, format),
            });
        }
        Ok(manifest)
    }

    /// Puts this manifest in the place of the old one, durably.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn write(&mut self, folder: &Path) -> Result<(), FileError> {
        self.number += 1;
        let (path, new) = (folder.join(MANIFEST), folder.join(format!("{MANIFEST}.new")));
        let mut json = serde_json::to_vec_pretty(self)
            .map_err(|error| FileError::Damaged { path: path.clone(), detail: error.to_string() })?;
        json.push(b'\n');
        let mut file = File::create(&new).map_err(FileError::io("creating", &new))?;
        file.write_all(&json).map_err(FileError::io("writing", &new))?;
        file.sync_all().map_err(FileError::io("syncing", &new))?;
        fs::rename(&new, &path).map_err(FileError::io("renaming", &new))?;
        sync_folder(folder)
    }

    /// Removes the files of this folder's tables that the manifest does not name.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn remove_others(&self, folder: &Path) -> Result<(), FileError> {
        for table in crate::columns::table_names() {
            let below = folder.join(table);
            let entries = match fs::read_dir(&below) {
                Ok(entries) => entries,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(FileError::io("reading", &below)(error)),
            };
            for entry in entries {
                let entry = entry.map_err(FileError::io("reading", &below))?;
                let file = entry.file_name().to_string_lossy().into_owned();
                let name = format!("{table}/{file}");
                if !is_data_file(&file) {
                    continue;
                }
                let named = self.tables.get(table).into_iter().flatten().any(|file| file.path == name);
                if !named {
                    let path = entry.path();
                    fs::remove_file(&path).map_err(FileError::io("removing", &path))?;
                }
            }
        }
        Ok(())
    }

    /// Returns the path for a new file of a table.
    pub(crate) fn next_path(&self, table: &str) -> String {
        format!("{table}/{:06}.{}", self.number + 1, self.format)
    }
}

/// Waits until names in a folder are durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), FileError> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(FileError::io("syncing", folder))
}

/// Returns whether a folder has no files, or only what a process that was killed before its first
/// manifest left.
fn is_empty(folder: &Path) -> Result<bool, FileError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(FileError::io("reading", folder)(error)),
    };
    let ours = |path: PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let is_table = path.is_dir() && crate::columns::table_names().any(|table| table == name);
        is_table || name == format!("{MANIFEST}.new") || name.starts_with("turnmill.")
    };
    for entry in entries {
        if !ours(entry.map_err(FileError::io("reading", folder))?.path()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns whether a name is one that [`Manifest::next_path`] gives to files.
fn is_data_file(name: &str) -> bool {
    let Some((number, extension)) = name.split_once('.') else { return false };
    number.len() >= 6
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && Format::ALL.iter().any(|format| format.extension() == extension)
}

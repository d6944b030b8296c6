//! The table `events` of an SQLite file, in both shapes.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row};
use turnmill_source::{
    BatchLimits, NewRecord, Opened, PartitionId, Position, Progress, RecordBatch, Source, SourceError,
};

/// Maximum number of rows of one query, so that a reader does not block a writer for long.
const PAGE: usize = 10_000;

/// Returns whether the file `path` is an SQLite database, by its first bytes.
///
/// # Errors
///
/// If the file cannot be read.
pub fn is_sqlite(path: &Path) -> io::Result<bool> {
    let mut magic = Vec::new();
    File::open(path)?.take(16).read_to_end(&mut magic)?;
    Ok(magic == b"SQLite format 3\0")
}

/// How to read a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackerOptions {
    /// Name of the source in positions, `"file"` by default.
    pub source: String,
    /// Whether to wait for more at the last row instead of ending.
    pub follow: bool,
}

impl Default for TrackerOptions {
    fn default() -> Self {
        Self { source: "file".into(), follow: false }
    }
}

/// Which of the two tables it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `SQLTrackerStore`: the row's `timestamp` is the record's own time.
    TrackerStore,
    /// `SQLEventBroker`: `id`, `sender_id` and `data` only.
    EventBroker,
}

/// Why a database cannot be opened as a tracker store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrackerError {
    /// The file does not exist or cannot be opened.
    #[error("cannot open `{}`", path.display())]
    Open {
        /// The path as it was given.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// SQLite refuses the file, or a query.
    #[error("cannot read the database `{}`", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: rusqlite::Error,
    },
    /// The database has no table `events`.
    #[error("no table `events` in `{}`; tables found: {}", path.display(), list(tables))]
    NoEventsTable {
        /// The file.
        path: PathBuf,
        /// The tables of the database.
        tables: Vec<String>,
    },
    /// The table `events` lacks a column.
    #[error("table `events` in `{}` has no column `{missing}`; columns found: {}", path.display(), list(columns))]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// The missing column.
        missing: &'static str,
        /// The columns of the table.
        columns: Vec<String>,
    },
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// The table `events` of an SQLite file as a [`Source`].
///
/// Each row is a record, and its `id` is the position. Rows whose `data` is null or blank are
/// skipped. If the last id is less than the stored position, the table was recreated. It is then
/// read from its start ([`Opened::Replaced`]). While following, this is checked whenever there are
/// no new rows.
///
/// Both tables reuse the id of a deleted last row. If the newest rows are deleted and as many are
/// written before the next check, the new ones are not seen. Read such a store from its start; that
/// costs only duplicates.
#[derive(Debug)]
pub struct TrackerSource {
    partition: PartitionId,
    connection: Connection,
    follow: bool,
    shape: Shape,
    /// The query for rows after the cursor.
    page: String,
    newest: String,
    /// The id that was read last; `None` before the first.
    cursor: Option<i64>,
    last: Option<Position>,
    opened: Opened,
    opened_pending: bool,
}

impl TrackerSource {
    /// Opens the database `path` after the position `resume_from`.
    ///
    /// The partition is the canonical path.
    ///
    /// # Errors
    ///
    /// [`TrackerError`] if the file is not a readable database or has no suitable table.
    pub fn open(
        path: &Path,
        options: TrackerOptions,
        resume_from: Option<&Position>,
    ) -> Result<Self, TrackerError> {
        let canonical =
            path.canonicalize().map_err(|source| TrackerError::Open { path: path.to_path_buf(), source })?;
        let failed = |source| TrackerError::Database { path: canonical.clone(), source };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&canonical, flags).map_err(failed)?;
        connection.busy_timeout(Duration::from_secs(10)).map_err(failed)?;

        let tables: Vec<String> =
            names(&connection, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
                .map_err(failed)?;
        if !tables.iter().any(|table| table.eq_ignore_ascii_case("events")) {
            return Err(TrackerError::NoEventsTable { path: canonical, tables });
        }
        let columns =
            names(&connection, "SELECT lower(name) FROM pragma_table_info('events')").map_err(failed)?;
        let has = |name: &str| columns.iter().any(|column| column == name);
        if let Some(missing) = ["id", "sender_id", "data"].into_iter().find(|name| !has(name)) {
            return Err(TrackerError::NoColumn { path: canonical, missing, columns });
        }
        let shape =
            if has("type_name") && has("timestamp") { Shape::TrackerStore } else { Shape::EventBroker };
        let keys = names(
            &connection,
            "SELECT lower(name) FROM pragma_table_info('events') WHERE pk > 0 AND upper(type) = 'INTEGER'",
        )
        .map_err(failed)?;
        // A copied table may lack its key, and ids may then repeat.
        let id = if keys == ["id"] { "id" } else { "rowid" };
        let time = match shape {
            Shape::TrackerStore => "timestamp",
            Shape::EventBroker => "NULL",
        };
        let page = format!(
            "SELECT {id}, sender_id, {time}, data FROM events WHERE {id} > ?1 OR ?2 ORDER BY {id} LIMIT ?3"
        );

        let mut source = Self {
            partition: PartitionId::new(options.source, canonical.to_string_lossy()),
            connection,
            follow: options.follow,
            shape,
            page,
            newest: format!("SELECT max({id}) FROM events"),
            cursor: None,
            last: resume_from.cloned(),
            opened: Opened::Fresh,
            opened_pending: true,
        };
        if let Some(position) = resume_from {
            source.cursor = Some(i64::try_from(position.offset).unwrap_or(i64::MAX));
            source.opened = Opened::Resumed;
            source.check_for_replacement().map_err(failed)?;
        }
        Ok(source)
    }

    /// Returns which of the two tables it is.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Returns how the table was opened, or started again while following.
    #[must_use]
    pub fn opened(&self) -> Opened {
        self.opened
    }

    /// Goes back to the start if the rows end before the cursor. Returns whether it did.
    fn check_for_replacement(&mut self) -> Result<bool, rusqlite::Error> {
        let Some(cursor) = self.cursor.filter(|cursor| *cursor > 0) else { return Ok(false) };
        let newest: Option<Option<i64>> =
            self.connection.query_row(&self.newest, [], |row| row.get(0)).optional()?;
        if newest.flatten().is_some_and(|newest| newest >= cursor) {
            return Ok(false);
        }
        self.cursor = None;
        self.opened = Opened::Replaced;
        self.opened_pending = true;
        Ok(true)
    }

    fn fill(&mut self, limits: &BatchLimits, out: &mut RecordBatch) -> Result<Progress, rusqlite::Error> {
        let records = limits.records.max(1);
        loop {
            let wanted = (records - out.len()).min(PAGE);
            let mut statement = self.connection.prepare_cached(&self.page)?;
            let limit = i64::try_from(wanted).unwrap_or(i64::MAX);
            let mut rows = statement.query((self.cursor.unwrap_or(0), self.cursor.is_none(), limit))?;
            let mut found = 0;
            while let Some(row) = rows.next()? {
                self.cursor = Some(push(row, out)?);
                found += 1;
                if out.len() >= records || out.bytes() >= limits.bytes {
                    return Ok(Progress::More);
                }
            }
            drop(rows);
            drop(statement);
            if found == wanted {
                continue;
            }
            if !self.follow {
                return Ok(Progress::End);
            }
            let replaced = out.is_empty() && self.check_for_replacement()?;
            return Ok(if replaced { Progress::More } else { Progress::Idle });
        }
    }
}

impl Source for TrackerSource {
    fn partition(&self) -> &PartitionId {
        &self.partition
    }

    fn next_batch(&mut self, limits: &BatchLimits, out: &mut RecordBatch) -> Result<Progress, SourceError> {
        out.start(&self.partition, self.last.as_ref());
        let before = self.cursor;
        let outcome = self.fill(limits, out);
        if outcome.is_err() {
            // Read the rows before the fault again.
            self.cursor = before;
            out.start(&self.partition, self.last.as_ref());
        }
        let progress = outcome.map_err(|source| {
            let path = PathBuf::from(&self.partition.partition);
            let cause = TrackerError::Database { path, source };
            SourceError::Other { partition: self.partition.clone(), source: Box::new(cause) }
        })?;
        if !out.is_empty() {
            let id = self.cursor.and_then(|id| u64::try_from(id).ok());
            self.last = Some(Position::at(id.unwrap_or(0)));
            if std::mem::take(&mut self.opened_pending) {
                out.set_opened(self.opened);
            }
        }
        out.finish(self.last.clone());
        Ok(progress)
    }
}

/// Appends the row and returns its id.
fn push(row: &Row<'_>, out: &mut RecordBatch) -> Result<i64, rusqlite::Error> {
    let id = row.get(0)?;
    let data = bytes(row.get_ref(3)?);
    let sender = match row.get_ref(1)? {
        ValueRef::Text(text) => Some(String::from_utf8_lossy(text)),
        ValueRef::Integer(number) => Some(Cow::Owned(number.to_string())),
        ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_) => None,
    };
    let time = match row.get_ref(2)? {
        ValueRef::Real(time) => Some(time),
        // Rasa's times are far below 2^53.
        #[allow(clippy::cast_precision_loss)]
        ValueRef::Integer(time) => Some(time as f64),
        ValueRef::Null | ValueRef::Text(_) | ValueRef::Blob(_) => None,
    };
    out.push(&NewRecord {
        payload: data.as_deref(),
        sender: sender.as_deref(),
        time: time.filter(|time| time.is_finite()),
        offset: u64::try_from(id).unwrap_or(0),
        row: u64::try_from(id).ok(),
        ..NewRecord::default()
    });
    Ok(id)
}

fn bytes(value: ValueRef<'_>) -> Option<Cow<'_, [u8]>> {
    match value {
        ValueRef::Null => None,
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(Cow::Borrowed(bytes)),
        ValueRef::Integer(number) => Some(Cow::Owned(number.to_string().into_bytes())),
        ValueRef::Real(number) => Some(Cow::Owned(number.to_string().into_bytes())),
    }
}

fn names(connection: &Connection, query: &str) -> Result<Vec<String>, rusqlite::Error> {
    connection.prepare(query)?.query_map([], |row| row.get(0))?.collect()
}

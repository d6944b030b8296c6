//! The table `events` of a PostgreSQL database, in both shapes.

use std::fmt;

use ::postgres::{Client, Config, Row, Statement};
use turnmill_source::{
    BatchLimits, NewRecord, Opened, PartitionId, Position, Progress, RecordBatch, Source, SourceError,
};

use turnmill_postgres::{AddressError, Passwords, PostgresAddress, Tls, TlsError};

use crate::{Shape, TrackerOptions};

/// Maximum number of rows of one query. They are all in memory at once.
const PAGE: usize = 2_000;
/// How often to check whether writers have ended, and the seconds between checks.
const WRITER_CHECKS: (usize, f64) = (40, 0.025);

const COLUMNS: &str = "SELECT attname::text FROM pg_attribute \
    WHERE attrelid = to_regclass('events') AND attnum > 0 AND NOT attisdropped";
const NEWEST: &str = "SELECT max(id)::int8 FROM events";
/// Transactions that write to the table at present. A writer holds this lock before it takes an id.
const WRITERS: &str = "SELECT virtualtransaction FROM pg_locks \
    WHERE relation = to_regclass('events') AND mode = 'RowExclusiveLock' AND granted \
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// Why a database cannot be read as a tracker store. No message contains a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresTrackerError {
    /// The URL is invalid.
    #[error(transparent)]
    Url(#[from] AddressError),
    /// TLS cannot be set up as the URL requires.
    #[error("cannot connect to {database}: {source}")]
    Tls {
        /// The database, without user and password.
        database: String,
        /// The cause.
        source: TlsError,
    },
    /// The server cannot be reached, or refuses the login or a query.
    #[error("cannot read {database}")]
    Database {
        /// The database, without user and password.
        database: String,
        /// The cause.
        source: ::postgres::Error,
    },
    /// The search path has no table `events`.
    #[error(
        "no table `events` in {database}; if it is in another schema, add ?options=-csearch_path%3DSCHEMA"
    )]
    NoEventsTable {
        /// The database.
        database: String,
    },
    /// The table `events` lacks a column.
    #[error("table `events` in {database} has no column `{missing}`; columns found: {}", columns.join(", "))]
    NoColumn {
        /// The database.
        database: String,
        /// The missing column.
        missing: &'static str,
        /// The columns of the table.
        columns: Vec<String>,
    },
    /// No thread could be started for the connection.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    /// The thread of the connection panicked.
    #[error("connecting to {database} panicked")]
    Panicked {
        /// The database, without user and password.
        database: String,
    },
}

/// The table `events` of a PostgreSQL database as a [`Source`].
///
/// Each row is a record, and its `id` is the position. Rows whose `data` is null or blank are
/// skipped. Without following, the source ends at the row that was the newest at the start. If the
/// last id is less than the stored position, the table was recreated. It is then read from its
/// start ([`Opened::Replaced`]).
///
/// # Rows that become visible out of order
///
/// A writer takes its id before it commits, so a row may become visible after a row with a greater
/// id:
///
/// ```text
/// writer A: takes id 1                           commits
/// writer B:              takes id 2, commits
/// source:                            reads 2               reads 1?
/// ```
///
/// Therefore the position advances only when all transactions that were writing at that moment have
/// ended. This takes milliseconds. If a transaction stays open, a source that follows waits for it.
/// A source that does not follow reads on and keeps its position. The next run then reads these
/// rows again, as duplicates.
///
/// ```no_run
/// use turnmill_source::{BatchLimits, RecordBatch, Source};
/// use turnmill_source_tracker::{PostgresTracker, TrackerOptions};
///
/// let url = "postgresql://rasa:secret@localhost:5432/rasa?sslmode=verify-full&sslrootcert=system";
/// let mut source = PostgresTracker::open(url, TrackerOptions::default(), None)?;
/// let mut batch = RecordBatch::new();
/// source.next_batch(&BatchLimits::default(), &mut batch)?;
/// println!("{} rows of {}", batch.len(), source.partition());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PostgresTracker {
    partition: PartitionId,
    client: Client,
    follow: bool,
    shape: Shape,
    page: Statement,
    /// The id that was read last; `None` before the first.
    cursor: Option<i64>,
    /// The id up to which rows are read, and whether all rows up to it are visible.
    visible_until: Option<(i64, bool)>,
    last: Option<Position>,
    opened: Opened,
    opened_pending: bool,
}

impl fmt::Debug for PostgresTracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresTracker")
            .field("partition", &self.partition)
            .field("shape", &self.shape)
            .field("cursor", &self.cursor)
            .finish_non_exhaustive()
    }
}

impl PostgresTracker {
    /// Returns whether `text` is the URL of a PostgreSQL database: `postgresql://` or
    /// `postgres://`, also with a Python driver as in `postgresql+psycopg2://`.
    #[must_use]
    pub fn is_url(text: &str) -> bool {
        PostgresAddress::is_url(text)
    }

    /// Returns the name of `url` in positions: host, port and database, without user and password.
    ///
    /// # Errors
    ///
    /// [`PostgresTrackerError::Url`].
    pub fn name(url: &str) -> Result<String, PostgresTrackerError> {
        Ok(url.parse::<PostgresAddress>()?.name())
    }

    /// Opens the database `url` after the position `resume_from`.
    ///
    /// A password that the URL lacks comes from the environment or the password file
    /// ([`Passwords`]). The call is allowed on a thread that drives an async runtime.
    ///
    /// # Errors
    ///
    /// [`PostgresTrackerError`] if the database cannot be read or has no fitting table.
    pub fn open(
        url: &str,
        options: TrackerOptions,
        resume_from: Option<&Position>,
    ) -> Result<Self, PostgresTrackerError> {
        let address: PostgresAddress = url.parse()?;
        let address =
            address.or_application_name("turnmill-replay").or_password_from(&Passwords::of_process());
        // The driver starts its own runtime, which is not allowed where another one runs.
        std::thread::scope(|scope| {
            let connecting = std::thread::Builder::new()
                .name("turnmill-tracker".into())
                .spawn_scoped(scope, || Self::connect(&address, options, resume_from))
                .map_err(PostgresTrackerError::Thread)?;
            let panicked = |_| PostgresTrackerError::Panicked { database: address.name() };
            connecting.join().map_err(panicked)?
        })
    }

    fn connect(
        address: &PostgresAddress,
        options: TrackerOptions,
        resume_from: Option<&Position>,
    ) -> Result<Self, PostgresTrackerError> {
        let database = || address.name();
        let failed = |source| PostgresTrackerError::Database { database: database(), source };
        let tls = Tls::new(address)
            .map_err(|source| PostgresTrackerError::Tls { database: address.name(), source })?;
        let connect = |encryption| {
            let mut driver = address.driver();
            driver.ssl_mode(encryption);
            Config::from(driver).connect(tls.clone())
        };
        // The first attempt is what the mode prefers, so its error is reported.
        let mut first = None;
        let opened = address
            .attempts()
            .iter()
            .find_map(|encryption| connect(*encryption).map_err(|error| first.get_or_insert(error)).ok());
        let mut client = match (opened, first) {
            (Some(client), _) => client,
            (None, Some(error)) => return Err(failed(error)),
            (None, None) => return Err(PostgresTrackerError::Panicked { database: database() }),
        };
        client.batch_execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY").map_err(failed)?;

        let rows = client.query(COLUMNS, &[]).map_err(failed)?;
        let columns: Vec<String> =
            rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(failed)?;
        if columns.is_empty() {
            return Err(PostgresTrackerError::NoEventsTable { database: database() });
        }
        let has = |name: &str| columns.iter().any(|column| column == name);
        if let Some(missing) = ["id", "sender_id", "data"].into_iter().find(|name| !has(name)) {
            return Err(PostgresTrackerError::NoColumn { database: database(), missing, columns });
        }
        let shape =
            if has("type_name") && has("timestamp") { Shape::TrackerStore } else { Shape::EventBroker };
        let time = match shape {
            Shape::TrackerStore => "timestamp",
            Shape::EventBroker => "NULL",
        };
        let page = client
            .prepare(&format!(
                "SELECT id::int8, sender_id::text, {time}::float8, data::text FROM events \
                 WHERE id > $1::int8 AND id <= $2::int8 ORDER BY id LIMIT $3::int8"
            ))
            .map_err(failed)?;
        let mut source = Self {
            partition: PartitionId::new(options.source, address.name()),
            client,
            follow: options.follow,
            shape,
            page,
            cursor: None,
            visible_until: None,
            last: resume_from.cloned(),
            opened: Opened::Fresh,
            opened_pending: true,
        };
        if let Some(position) = resume_from {
            source.cursor = Some(i64::try_from(position.offset).unwrap_or(i64::MAX));
            source.opened = Opened::Resumed;
            let newest = source.newest().map_err(failed)?;
            source.check_for_replacement(newest);
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

    fn newest(&mut self) -> Result<Option<i64>, ::postgres::Error> {
        self.client.query_one(NEWEST, &[])?.try_get(0)
    }

    /// Goes back to the start if the rows end before the cursor. Returns whether it did.
    fn check_for_replacement(&mut self, newest: Option<i64>) -> bool {
        let Some(cursor) = self.cursor.filter(|cursor| *cursor > 0) else { return false };
        if newest.is_some_and(|newest| newest >= cursor) {
            return false;
        }
        self.cursor = None;
        self.visible_until = None;
        self.opened = Opened::Replaced;
        self.opened_pending = true;
        true
    }

    /// Waits a short time until all present writers have ended. Returns whether they have.
    ///
    /// Writers that start later are ignored: their ids are greater than the id that was the newest
    /// before.
    fn wait_for_writers(&mut self) -> Result<bool, ::postgres::Error> {
        let writers = |client: &mut Client| -> Result<Vec<String>, ::postgres::Error> {
            client.query(WRITERS, &[])?.iter().map(|row| row.try_get(0)).collect()
        };
        let mut writers_then = writers(&mut self.client)?;
        for _ in 0..WRITER_CHECKS.0 {
            if writers_then.is_empty() {
                return Ok(true);
            }
            self.client.execute("SELECT pg_sleep($1)", &[&WRITER_CHECKS.1])?;
            let present = writers(&mut self.client)?;
            writers_then.retain(|writer| present.contains(writer));
        }
        Ok(writers_then.is_empty())
    }

    fn fill(&mut self, limits: &BatchLimits, out: &mut RecordBatch) -> Result<Progress, ::postgres::Error> {
        let records = limits.records.max(1);
        loop {
            let (until, _) = match self.visible_until {
                Some((until, settled)) if self.cursor.is_none_or(|cursor| cursor < until) => (until, settled),
                Some(_) if !self.follow => return Ok(Progress::End),
                _ => {
                    if !out.is_empty() {
                        // The batch gets the position of the previous range.
                        return Ok(Progress::More);
                    }
                    let newest = self.newest()?;
                    let news = newest.filter(|newest| self.cursor.is_none_or(|cursor| *newest > cursor));
                    let Some(newest) = news else {
                        let replaced = self.check_for_replacement(newest);
                        return Ok(match (self.follow, replaced) {
                            (_, true) => Progress::More,
                            (true, false) => Progress::Idle,
                            (false, false) => Progress::End,
                        });
                    };
                    let settled = self.wait_for_writers()?;
                    if self.follow && !settled {
                        return Ok(Progress::Idle);
                    }
                    *self.visible_until.insert((newest, settled))
                }
            };
            let wanted = (records - out.len()).min(PAGE);
            let limit = i64::try_from(wanted).unwrap_or(i64::MAX);
            let rows = self.client.query(&self.page, &[&self.cursor.unwrap_or(i64::MIN), &until, &limit])?;
            for row in &rows {
                self.cursor = Some(push(row, out)?);
                if out.len() >= records || out.bytes() >= limits.bytes {
                    return Ok(Progress::More);
                }
            }
            if rows.len() < wanted {
                self.cursor = Some(until);
            }
        }
    }
}

impl Source for PostgresTracker {
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
            let database = self.partition.partition.clone();
            let cause = PostgresTrackerError::Database { database, source };
            SourceError::Other { partition: self.partition.clone(), source: Box::new(cause) }
        })?;
        if !out.is_empty() {
            if self.visible_until.is_some_and(|(_, settled)| settled) {
                let id = self.cursor.and_then(|id| u64::try_from(id).ok());
                self.last = Some(Position::at(id.unwrap_or(0)));
            }
            if std::mem::take(&mut self.opened_pending) {
                out.set_opened(self.opened);
            }
        }
        out.finish(self.last.clone());
        Ok(progress)
    }
}

/// Appends the row and returns its id.
fn push(row: &Row, out: &mut RecordBatch) -> Result<i64, ::postgres::Error> {
    let id: i64 = row.try_get(0)?;
    let (sender, time, data): (Option<&str>, Option<f64>, Option<&str>) =
        (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
    out.push(&NewRecord {
        payload: data.map(str::as_bytes),
        sender,
        time: time.filter(|time| time.is_finite()),
        offset: u64::try_from(id).unwrap_or(0),
        row: u64::try_from(id).ok(),
        ..NewRecord::default()
    });
    Ok(id)
}

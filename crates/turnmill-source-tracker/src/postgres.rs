//! The table `events` of a PostgreSQL database, in both shapes.

use std::fmt;

use ::postgres::{Client, Config, Row, Statement};
use turnmill_source::{
    BatchLimits, NewRecord, Opened, PartitionId, Position, Progress, RecordBatch, Source, SourceError,
};

use turnmill_postgres::{AddressError, Passwords, PostgresAddress, Tls, TlsError};

use crate::{Shape, TrackerOptions};

/// Rows of one query at most; they are all in memory at once.
const PAGE: usize = 2_000;
/// How often to look whether writers have ended, and seconds in between.
const PATIENCE: (usize, f64) = (40, 0.025);

const COLUMNS: &str = "SELECT attname::text FROM pg_attribute \
    WHERE attrelid = to_regclass('events') AND attnum > 0 AND NOT attisdropped";
const NEWEST: &str = "SELECT max(id)::int8 FROM events";
/// Who writes to the table just now; a writer has its lock before it takes an id.
const WRITERS: &str = "SELECT virtualtransaction FROM pg_locks \
    WHERE relation = to_regclass('events') AND mode = 'RowExclusiveLock' AND granted \
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// Why a database cannot be read as a tracker store. No message shows a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresTrackerError {
    /// The URL cannot be used.
    #[error(transparent)]
    Url(#[from] AddressError),
    /// Encryption cannot be set up as the URL says.
    #[error("cannot connect to {database}: {source}")]
    Tls {
        /// The database, without user and password.
        database: String,
        /// Why.
        source: TlsError,
    },
    /// The server cannot be reached, or refuses a log-in or a query.
    #[error("cannot read {database}")]
    Database {
        /// The database, without user and password.
        database: String,
        /// Why.
        source: ::postgres::Error,
    },
    /// There is no table `events` in the search path.
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
        /// The column that is needed.
        missing: &'static str,
        /// The columns that there are.
        columns: Vec<String>,
    },
    /// No thread could be started to connect on.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    /// The thread that connects has panicked.
    #[error("connecting to {database} panicked")]
    Panicked {
        /// The database, without user and password.
        database: String,
    },
}

/// The table `events` of a PostgreSQL database as a [`Source`].
///
/// A row is a record; its `id` is the position. Rows whose `data` is null or blank are skipped. Without following it
/// ends at the row that was the newest when reading began. If the last id is below the stored position the table was
/// made anew, and is read from its start ([`Opened::Replaced`]).
///
/// Ids are taken before they are committed, so a row may come into sight below one that was read. Therefore the position
/// moves on only when all who were writing at that moment have ended. That takes milliseconds; if somebody keeps a
/// transaction open, a source that follows waits for it, and one that does not reads on and leaves its position, so that the
/// next run reads these rows again, as duplicates.
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
    /// The id read last; `None` before the first.
    cursor: Option<i64>,
    /// Up to which id may be read, and whether all rows up to there can be seen.
    stretch: Option<(i64, bool)>,
    last: Option<Position>,
    opened: Opened,
    untold: bool,
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
    /// Whether `text` is the URL of a PostgreSQL database: `postgresql://` or `postgres://`, also with the name of a Python
    /// driver as in `postgresql+psycopg2://`.
    #[must_use]
    pub fn is_url(text: &str) -> bool {
        PostgresAddress::is_url(text)
    }

    /// What `url` is called in positions: host, port and database, without user and password.
    ///
    /// # Errors
    ///
    /// [`PostgresTrackerError::Url`].
    pub fn name(url: &str) -> Result<String, PostgresTrackerError> {
        Ok(url.parse::<PostgresAddress>()?.name())
    }

    /// Opens the database `url` after the position `resume_from`. A password that the URL lacks comes from the environment or the
    /// password file ([`Passwords`]). May also be called on a thread that drives an async runtime.
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
        // The driver has a runtime of its own, which does not start where another one is.
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
        // The first attempt is what the mode asks for first, so its error is the one to tell.
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
            stretch: None,
            last: resume_from.cloned(),
            opened: Opened::Fresh,
            untold: true,
        };
        if let Some(position) = resume_from {
            source.cursor = Some(i64::try_from(position.offset).unwrap_or(i64::MAX));
            source.opened = Opened::Resumed;
            let newest = source.newest().map_err(failed)?;
            source.look_for_replacement(newest);
        }
        Ok(source)
    }

    /// Which of the two tables it is.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// How the table was opened, or begun again while following.
    #[must_use]
    pub fn opened(&self) -> Opened {
        self.opened
    }

    fn newest(&mut self) -> Result<Option<i64>, ::postgres::Error> {
        self.client.query_one(NEWEST, &[])?.try_get(0)
    }

    /// Goes back to the start if the rows end before the cursor; says whether it did.
    fn look_for_replacement(&mut self, newest: Option<i64>) -> bool {
        let Some(cursor) = self.cursor.filter(|cursor| *cursor > 0) else { return false };
        if newest.is_some_and(|newest| newest >= cursor) {
            return false;
        }
        self.cursor = None;
        self.stretch = None;
        self.opened = Opened::Replaced;
        self.untold = true;
        true
    }

    /// Waits a little until those who write now have ended; says whether they have.
    fn settle(&mut self) -> Result<bool, ::postgres::Error> {
        let writers = |client: &mut Client| -> Result<Vec<String>, ::postgres::Error> {
            client.query(WRITERS, &[])?.iter().map(|row| row.try_get(0)).collect()
        };
        let mut waited_for = writers(&mut self.client)?;
        for _ in 0..PATIENCE.0 {
            if waited_for.is_empty() {
                return Ok(true);
            }
            self.client.execute("SELECT pg_sleep($1)", &[&PATIENCE.1])?;
            let present = writers(&mut self.client)?;
            waited_for.retain(|writer| present.contains(writer));
        }
        Ok(waited_for.is_empty())
    }

    fn fill(&mut self, limits: &BatchLimits, out: &mut RecordBatch) -> Result<Progress, ::postgres::Error> {
        let records = limits.records.max(1);
        loop {
            let (until, _) = match self.stretch {
                Some((until, settled)) if self.cursor.is_none_or(|cursor| cursor < until) => (until, settled),
                Some(_) if !self.follow => return Ok(Progress::End),
                _ => {
                    if !out.is_empty() {
                        // Its position is that of this stretch.
                        return Ok(Progress::More);
                    }
                    let newest = self.newest()?;
                    let news = newest.filter(|newest| self.cursor.is_none_or(|cursor| *newest > cursor));
                    let Some(newest) = news else {
                        let replaced = self.look_for_replacement(newest);
                        return Ok(match (self.follow, replaced) {
                            (_, true) => Progress::More,
                            (true, false) => Progress::Idle,
                            (false, false) => Progress::End,
                        });
                    };
                    let settled = self.settle()?;
                    if self.follow && !settled {
                        return Ok(Progress::Idle);
                    }
                    *self.stretch.insert((newest, settled))
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
            // The rows before the fault will be read again.
            self.cursor = before;
            out.start(&self.partition, self.last.as_ref());
        }
        let progress = outcome.map_err(|source| SourceError::Other {
            partition: self.partition.clone(),
            source: Box::new(source),
        })?;
        if !out.is_empty() {
            if self.stretch.is_some_and(|(_, settled)| settled) {
                let id = self.cursor.and_then(|id| u64::try_from(id).ok());
                self.last = Some(Position::at(id.unwrap_or(0)));
            }
            if std::mem::take(&mut self.untold) {
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

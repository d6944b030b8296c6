//! A connection of its own that answers queries and changes nothing.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::types::{Null, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Error, ErrorCode, InterruptHandle};
use turnmill_analytics::{Query, QueryResult, ReadQueries, Row, Value};
use turnmill_sink::StoreError;
use turnmill_sql::Dialect;

use crate::store::roll_back;
use crate::{SqliteStore, connect};

/// Number of steps of SQLite's machine between two looks at the clock: some tens of microseconds.
const STEPS: i32 = 10_000;

/// Pragmas that a question may use: they describe the database and change nothing.
const DESCRIBING: [&str; 11] = [
    "collation_list",
    "compile_options",
    "database_list",
    "foreign_key_list",
    "function_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "table_info",
    "table_list",
    "table_xinfo",
];

/// Answers queries of metrics from a store's file, beside its writer.
///
/// The database refuses to change anything: the connection has `query_only`, or the file is opened
/// for reading. A set of queries that takes longer than the time limit is interrupted. An error
/// leaves the reader usable.
#[derive(Debug)]
pub struct SqliteReader {
    connection: Connection,
    store: SqliteStore,
    limit: Duration,
    interrupt: SqliteInterrupt,
}

/// Ends what a [`SqliteReader`] is asked, from any thread.
#[derive(Clone)]
pub struct SqliteInterrupt {
    /// SQLite forgets an interrupt that comes between two statements; this does not.
    is_set: Arc<AtomicBool>,
    handle: Arc<InterruptHandle>,
}

impl SqliteInterrupt {
    /// Ends the query that runs, and refuses all later ones of the reader.
    pub fn interrupt(&self) {
        self.is_set.store(true, Ordering::Relaxed);
        self.handle.interrupt();
    }

    fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for SqliteInterrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteInterrupt").field("is_set", &self.is_set()).finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens a connection that reads this store and that ends a set of queries after `limit`.
    ///
    /// # Errors
    ///
    /// Fatal if the file is missing, not turnmill's, or of another schema version. A store in
    /// memory has no second connection.
    ///
    /// ```
    /// use std::time::Duration;
    /// use turnmill_analytics::{Question, answer, metric};
    /// use turnmill_model::Settings;
    /// use turnmill_sink::Store;
    /// use turnmill_sink_sqlite::SqliteStore;
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("rasa.sqlite");
    /// # pollster::block_on(async {
    /// # SqliteStore::file(&path).open(&Settings::default()).await?;
    /// let mut reader = SqliteStore::file(&path).reader(Duration::from_secs(10))?;
    /// let sessions = metric("R3_sessions").unwrap();
    /// let answers = answer(&mut reader, &[sessions], &Question::default()).await?;
    /// assert_eq!(answers[0].value("sessions").unwrap().value(), Some(0.0), "an empty store");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reader(&self, limit: Duration) -> Result<SqliteReader, StoreError> {
        let Some(path) = self.path() else {
            let detail = "a store in memory has no second connection: use one in a file".to_owned();
            return Err(StoreError::Unusable { detail, source: None });
        };
        let store = SqliteStore::file(path).busy_timeout(self.busy_timeout).read_only();
        let (connection, _) = connect::open_as_it_is(&store)?;
        let handle = Arc::new(connection.get_interrupt_handle());
        let interrupt = SqliteInterrupt { is_set: Arc::default(), handle };
        Ok(SqliteReader { connection, store, limit, interrupt })
    }
}

impl SqliteReader {
    /// Returns a handle that ends what this reader is asked.
    ///
    /// ```
    /// use std::time::Duration;
    /// use turnmill_analytics::{Query, ReadQueries};
    /// # use turnmill_model::Settings;
    /// # use turnmill_sink::Store;
    /// use turnmill_sink_sqlite::SqliteStore;
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("rasa.sqlite");
    /// # pollster::block_on(async {
    /// # SqliteStore::file(&path).open(&Settings::default()).await?;
    /// let mut reader = SqliteStore::file(&path).reader(Duration::from_secs(600))?;
    /// reader.interrupt_handle().interrupt();
    /// let one = Query::new("one", "SELECT 1".into());
    /// assert!(reader.read(&[one]).await.is_err(), "the caller has gone");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn interrupt_handle(&self) -> SqliteInterrupt {
        self.interrupt.clone()
    }

    fn read_all(&self, queries: &[Query]) -> Result<Vec<Vec<Row>>, StoreError> {
        self.in_time(|| {
            let read = |query: &Query| self.rows(query).map_err(|error| self.error(error, query.name));
            queries.iter().map(read).collect()
        })
    }

    /// Reads on one snapshot, until the time limit.
    fn in_time<T>(&self, read: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.connection
            .execute_batch("BEGIN")
            .map_err(|error| self.store.error(error, "beginning to read"))?;
        let deadline = Instant::now() + self.limit;
        let interrupt = self.interrupt.clone();
        let is_over = move || Instant::now() > deadline || interrupt.is_set();
        self.connection.progress_handler(STEPS, Some(is_over));
        let result = read();
        self.connection.progress_handler(0, None::<fn() -> bool>);
        roll_back(Some(&self.connection));
        result
    }

    /// Hands the rows of a query to `each` as they are read, until it breaks. Returns the names of
    /// the columns.
    ///
    /// # Errors
    ///
    /// As [`read`](ReadQueries::read).
    pub fn each_row(
        &mut self,
        query: &Query,
        each: &mut (dyn FnMut(&[String], Row) -> ControlFlow<()> + Send),
    ) -> Result<Vec<String>, StoreError> {
        self.in_time(|| self.rows_of(query, each).map_err(|error| self.error(error, query.name)))
    }

    fn rows_of(
        &self,
        query: &Query,
        each: &mut (dyn FnMut(&[String], Row) -> ControlFlow<()> + Send),
    ) -> rusqlite::Result<Vec<String>> {
        let mut statement = self.connection.prepare_cached(&query.sql)?;
        let columns: Vec<String> = statement.column_names().into_iter().map(ToOwned::to_owned).collect();
        let mut rows = statement.query(rusqlite::params_from_iter(query.values.iter().map(Bound)))?;
        while let Some(row) = rows.next()? {
            let cell = |column| row.get_ref(column).map(value);
            let cells = (0..columns.len()).map(cell).collect::<rusqlite::Result<Row>>()?;
            if each(&columns, cells).is_break() {
                break;
            }
        }
        Ok(columns)
    }

    /// Runs one statement that a person wrote, and returns its first `most` rows.
    ///
    /// SQLite refuses what is no question: a statement that writes, attaches a file or changes a
    /// setting of the connection, and a second statement.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unusable`] with SQLite's own words if it refuses the statement, and if it
    /// takes longer than the time limit.
    pub fn ask(&mut self, sql: &str, most: usize) -> Result<QueryResult, StoreError> {
        self.in_time(|| {
            self.connection.authorizer(Some(only_reads));
            let answer = self.answer_of(sql, most);
            // The end of the transaction is not the question's.
            self.connection.authorizer(None::<fn(AuthContext<'_>) -> Authorization>);
            answer.map_err(|error| match error.sqlite_error_code() {
                Some(ErrorCode::OperationInterrupted) => self.error(error, "question"),
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                    self.store.error(error, "asking")
                }
                _ => refused(&error),
            })
        })
    }

    fn answer_of(&self, sql: &str, most: usize) -> rusqlite::Result<QueryResult> {
        // Refuses a text with a second statement.
        let mut statement = self.connection.prepare(sql)?;
        let columns: Vec<String> = statement.column_names().into_iter().map(ToOwned::to_owned).collect();
        if columns.is_empty() || !statement.readonly() {
            return Err(Error::InvalidQuery);
        }
        let mut result = QueryResult { columns, ..QueryResult::default() };
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            if result.rows.len() == most {
                result.is_cut = true;
                break;
            }
            let cell = |column| row.get_ref(column).map(value);
            result.rows.push((0..result.columns.len()).map(cell).collect::<rusqlite::Result<Row>>()?);
        }
        Ok(result)
    }

    fn rows(&self, query: &Query) -> rusqlite::Result<Vec<Row>> {
        if self.interrupt.is_set() {
            return Err(Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_INTERRUPT),
                None,
            ));
        }
        let mut statement = self.connection.prepare_cached(&query.sql)?;
        let columns = statement.column_count();
        let mut rows = statement.query(rusqlite::params_from_iter(query.values.iter().map(Bound)))?;
        let mut read = Vec::new();
        while let Some(row) = rows.next()? {
            let cell = |column| row.get_ref(column).map(value);
            read.push((0..columns).map(cell).collect::<rusqlite::Result<Row>>()?);
        }
        Ok(read)
    }

    fn error(&self, error: Error, name: &str) -> StoreError {
        if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) {
            if self.interrupt.is_set() {
                let detail = format!("the query {name} was interrupted");
                return StoreError::Unusable { detail, source: None };
            }
            let detail = format!(
                "the query {name} took longer than {} s: ask for a shorter range, or raise the limit",
                self.limit.as_secs_f64()
            );
            return StoreError::Unusable { detail, source: None };
        }
        self.store.error(error, &format!("asking for {name}"))
    }
}

impl ReadQueries for SqliteReader {
    type Error = StoreError;

    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    async fn read(&mut self, queries: &[Query]) -> Result<Vec<Vec<Row>>, StoreError> {
        self.read_all(queries)
    }
}

/// Allows what only reads. `query_only` alone can be switched off by a pragma.
fn only_reads(context: AuthContext<'_>) -> Authorization {
    let allowed = match context.action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => true,
        // Extensions are not loaded into this connection, so functions are SQLite's own.
        AuthAction::Function { function_name } => function_name != "load_extension",
        AuthAction::Pragma { pragma_name, .. } => DESCRIBING.contains(&pragma_name),
        _ => false,
    };
    if allowed { Authorization::Allow } else { Authorization::Deny }
}

fn refused(error: &Error) -> StoreError {
    let why = match error {
        Error::MultipleStatement => "it has more than one statement".to_owned(),
        Error::InvalidQuery => "it returns no rows".to_owned(),
        Error::SqlInputError { msg, .. } => msg.clone(),
        error => error.to_string(),
    };
    StoreError::Unusable { detail: format!("the question is refused: {why}"), source: None }
}

/// A value to bind.
struct Bound<'v>(&'v Value);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self.0 {
            Value::Null => Null.to_sql().map(|_| ToSqlOutput::Owned(rusqlite::types::Value::Null)),
            Value::Text(text) => text.to_sql(),
            Value::Integer(number) => number.to_sql(),
            Value::Float(number) => number.to_sql(),
            Value::Boolean(truth) => truth.to_sql(),
            Value::Time(time) => Ok(ToSqlOutput::from(time.to_string())),
        }
    }
}

/// Reads a value as SQLite has it. Times are texts and truths are integers.
fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Float(number),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            Value::Text(String::from_utf8_lossy(bytes).into_owned())
        }
    }
}

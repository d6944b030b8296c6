//! A connection, its session, and how long answers are waited for.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::task::AbortHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row, SimpleQueryMessage, Statement, ToStatement};
use turnmill_postgres::Tls;
use turnmill_sink::StoreError;

use crate::error::{
    contradiction, is_about_encryption, is_connection_lost, is_of_the_server, is_taken_under_lock,
    store_error,
};
use crate::failure::Failure;
use crate::settings::PostgresSettings;
use crate::steps::Step;

/// Oldest major version of PostgreSQL that can be used.
const OLDEST: u32 = 11;

/// Time that the client waits for a statement past the server's own limit. The server ends the
/// statement in time if it can.
const GRACE: Duration = Duration::from_secs(5);
/// Number of connect timeouts after which a statement without a limit is checked through another
/// connection.
const LOOK_AFTER: u32 = 3;
/// Connect timeout where the settings have none.
const PATIENCE: Duration = Duration::from_secs(10);

/// An open connection with its prepared statements. A task of the runtime that it was opened in
/// does its traffic, and ends when this is dropped.
///
/// Every request waits for an answer only while one can come. A server that hangs, or a pooler
/// before it, keeps a connection open and sends nothing, so the server's own limits do not help.
pub(crate) struct Connection {
    client: Client,
    place: String,
    version: u32,
    process: i32,
    statements: HashMap<String, Statement>,
    lost: AtomicBool,
    /// Whether statements run without a limit at the moment.
    unlimited: AtomicBool,
    limit: Option<Duration>,
    /// Time of the last answer.
    answered: Mutex<Instant>,
    settings: PostgresSettings,
    traffic: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Otherwise the task goes on until the server has handled what was sent, a `ROLLBACK` for
        // example.
        if self.is_lost() {
            self.traffic.abort();
        }
    }
}

/// Connects. Returns a client and the handle of the task with its traffic.
async fn connect(settings: &PostgresSettings) -> Result<(Client, AbortHandle), StoreError> {
    let place = settings.to_string();
    let mut last = None;
    let tls = Tls::new(&settings.address)
        .map_err(|error| StoreError::Unusable { detail: error.to_string(), source: None })?;
    for encryption in settings.address.attempts() {
        let mut driver = settings.address.driver();
        driver.ssl_mode(*encryption);
        match driver.connect(tls.clone()).await {
            Ok((client, traffic)) => {
                // The statements under way return the task's errors.
                let task = tokio::spawn(traffic.map(drop));
                return Ok((client, task.abort_handle()));
            }
            Err(error) => {
                let another = is_about_encryption(&error);
                // Report the first attempt's error: it is of the kind of connection that the mode
                // prefers.
                let _ = last.get_or_insert(error);
                if !another {
                    break;
                }
            }
        }
    }
    Err(match last {
        Some(error) => store_error(error.into(), &place, "connecting"),
        None => StoreError::Unusable { detail: format!("cannot connect to `{place}`"), source: None },
    })
}

impl Connection {
    pub(crate) async fn open(settings: &PostgresSettings) -> Result<Self, StoreError> {
        settings.check_schema()?;
        let limit = settings.connecting_limit();
        let opening = Box::pin(Self::open_without_limit(settings));
        let Some(limit) = limit else { return opening.await };
        tokio::time::timeout(limit, opening)
            .await
            .unwrap_or_else(|_| Err(store_error(Failure::Silent(limit), &settings.to_string(), "connecting")))
    }

    async fn open_without_limit(settings: &PostgresSettings) -> Result<Self, StoreError> {
        let (client, traffic) = connect(settings).await?;
        let limit = Some(settings.statement_timeout).filter(|limit| !limit.is_zero());
        let mut connection = Self {
            client,
            place: settings.to_string(),
            version: 0,
            process: 0,
            statements: HashMap::new(),
            lost: AtomicBool::new(false),
            unlimited: AtomicBool::new(false),
            limit,
            answered: Mutex::new(Instant::now()),
            settings: settings.clone(),
            traffic,
        };
        connection.set_up(settings).await?;
        Ok(connection)
    }

    /// Sets up the session. A statement is planned once, so its plan must suit tables of any size:
    /// every statement of a batch finds its rows by an index.
    async fn set_up(&mut self, settings: &PostgresSettings) -> Result<(), StoreError> {
        let read_only = if settings.read_only { "SET default_transaction_read_only = on; " } else { "" };
        let session = format!(
            "SET client_min_messages = warning; SET TimeZone = 'UTC'; SET search_path TO {schema}; \
             SET statement_timeout = {statement}; SET lock_timeout = {lock}; \
             SET idle_in_transaction_session_timeout = {idle}; \
             SET default_transaction_isolation = 'read committed'; \
             SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off; \
             SELECT set_config(name, 'force_generic_plan', false) FROM pg_settings WHERE name = 'plan_cache_mode'; \
             {read_only}SELECT current_setting('server_version_num'), pg_backend_pid(), \
             current_setting('transaction_read_only') = 'on' AND NOT pg_is_in_recovery()",
            schema = quoted(&settings.schema),
            statement = milliseconds(settings.statement_timeout),
            lock = milliseconds(settings.lock_timeout),
            idle = milliseconds(settings.idle_timeout),
        );
        let answers = self.client.simple_query(&session).await;
        let answers = answers.map_err(|error| self.fail(error, "setting up the session"))?;
        let answer = answers.iter().rev().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let value = |column| answer.and_then(|row| row.get(column));
        (self.version, self.process) = (
            value(0).and_then(|version| version.parse().ok()).unwrap_or_default(),
            value(1).and_then(|process| process.parse().ok()).unwrap_or_default(),
        );
        if self.version / 10_000 < OLDEST {
            return Err(StoreError::Unusable {
                detail: format!(
                    "`{}` is older than PostgreSQL {OLDEST}: upgrade it, or use another server",
                    self.place
                ),
                source: None,
            });
        }
        // A standby may be promoted, so it is no reason to stop. This setting was made by an
        // operator.
        if value(2) == Some("t") && !settings.read_only {
            return Err(StoreError::Unusable {
                detail: format!(
                    "`{}` begins transactions as read-only: `ALTER DATABASE ... RESET \
                     default_transaction_read_only`, the same \
                     for the user with `ALTER ROLE`, or name another database",
                    self.place
                ),
                source: None,
            });
        }
        Ok(())
    }

    /// Returns the server's version, as in `server_version_num`.
    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    /// Sets whether the client waits for statements without a limit. Does not change the server's
    /// own limit.
    pub(crate) fn set_unlimited(&self, unlimited: bool) {
        self.unlimited.store(unlimited, Ordering::Relaxed);
    }

    /// Returns the result of a request, if an answer comes in time. The driver's futures are large:
    /// box them, or the future of every caller contains one.
    pub(crate) async fn answer<T>(
        &self,
        request: impl Future<Output = Result<T, Error>> + Unpin,
    ) -> Result<T, Failure> {
        Ok(self.in_time(request).await??)
    }

    /// Waits for `request` while an answer may still come.
    async fn in_time<T>(&self, mut request: impl Future<Output = T> + Unpin) -> Result<T, Failure> {
        // Requests are sent without waiting for the earlier ones. So the time of a request starts
        // at the last answer, not when it was sent: with a limit of 60 s the third of three
        // statements may take until 180 s. Each turn of the loop waits for one limit. If another
        // request was answered meanwhile, the wait starts again from that answer. Otherwise the
        // connection is given up, unless there is no limit and the server still works on the
        // statement.
        let mut since = Instant::now();
        loop {
            let limit = self.limit.filter(|_| !self.unlimited.load(Ordering::Relaxed));
            let patience = limit.map_or_else(|| self.look_after(), |limit| limit + GRACE);
            if let Ok(result) = tokio::time::timeout_at((since + patience).into(), &mut request).await {
                if let Ok(mut answered) = self.answered.lock() {
                    *answered = Instant::now();
                }
                return Ok(result);
            }
            let answered = self.answered.lock().map_or(since, |answered| *answered);
            if answered > since {
                since = answered;
            } else if limit.is_none() && Box::pin(self.is_working()).await {
                since = Instant::now();
            } else {
                self.give_up();
                return Err(Failure::Silent(since.elapsed()));
            }
        }
    }

    fn look_after(&self) -> Duration {
        let driver = self.settings.address.driver();
        let connecting = driver.get_connect_timeout().filter(|limit| !limit.is_zero());
        *connecting.unwrap_or(&PATIENCE) * LOOK_AFTER
    }

    /// Returns whether the server can be reached and still works on a statement of this connection.
    async fn is_working(&self) -> bool {
        let look = async {
            let (client, traffic) = connect(&self.settings).await?;
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND state <> 'idle'";
            let working: Result<i64, Error> =
                client.query_one(sql, &[&self.process]).await.and_then(|row| row.try_get(0));
            traffic.abort();
            working.map_err(|error| store_error(error.into(), &self.place, "checking on a statement"))
        };
        let limit = self.settings.connecting_limit().unwrap_or(PATIENCE);
        match tokio::time::timeout(limit, look).await {
            Ok(Ok(working)) => working == 1,
            // A server that answers with an error does not hang.
            Ok(Err(error)) => is_of_the_server(&error),
            Err(_) => false,
        }
    }

    pub(crate) async fn query<T: ?Sized + ToStatement + Sync>(
        &self,
        statement: &T,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Failure> {
        self.answer(Box::pin(self.client.query(statement, parameters))).await
    }

    pub(crate) async fn query_one<T: ?Sized + ToStatement + Sync>(
        &self,
        statement: &T,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, Failure> {
        self.answer(Box::pin(self.client.query_one(statement, parameters))).await
    }

    pub(crate) async fn execute<T: ?Sized + ToStatement + Sync>(
        &self,
        statement: &T,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, Failure> {
        self.answer(Box::pin(self.client.execute(statement, parameters))).await
    }

    pub(crate) async fn batch_execute(&self, statements: &str) -> Result<(), Failure> {
        self.answer(Box::pin(self.client.batch_execute(statements))).await
    }

    /// Returns the driver, for requests that are sent without waiting for earlier ones. Callers
    /// wait with [`Self::answer`].
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Changes a setting of the session.
    pub(crate) async fn set_session(&self, name: &str, value: &str) -> Result<(), StoreError> {
        let set = self.batch_execute(&format!("SET {name} = {value}")).await;
        set.map_err(|error| self.fail(error, &format!("setting {name}")))
    }

    /// Restores the statement timeout of the settings.
    pub(crate) async fn limit_statements(&self) -> Result<(), StoreError> {
        let limit = milliseconds(self.settings.statement_timeout).to_string();
        self.set_session("statement_timeout", &limit).await
    }

    /// Restores the lock timeout of the settings.
    pub(crate) async fn limit_locks(&self) -> Result<(), StoreError> {
        self.set_session("lock_timeout", &milliseconds(self.settings.lock_timeout).to_string()).await
    }

    /// Returns whether the connection is lost, so that a new one is needed.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed) || self.client.is_closed()
    }

    /// Marks the connection as lost.
    pub(crate) fn give_up(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }

    /// Asks the server to end the statement that runs, and gives the connection up: the server may
    /// get the request late, when another statement runs.
    pub(crate) async fn cancel(&self) {
        self.give_up();
        let Ok(tls) = Tls::new(&self.settings.address) else { return };
        let token = self.client.cancel_token();
        let request = Box::pin(token.cancel_query(tls));
        // A server that cannot be reached ends the statement by its own limit.
        let limit = self.settings.connecting_limit().unwrap_or(PATIENCE);
        let _ = tokio::time::timeout(limit, request).await;
    }

    /// Converts an error. Marks the connection as lost if the error says so.
    pub(crate) fn fail(&self, error: impl Into<Failure>, doing: &str) -> StoreError {
        let error = error.into();
        if is_connection_lost(&error) {
            self.give_up();
        }
        store_error(error, &self.place, doing)
    }

    /// Prepares the statements that are not prepared yet, all in one round trip.
    pub(crate) async fn prepare(&mut self, statements: &[&str]) -> Result<(), StoreError> {
        let mut missing: Vec<&str> =
            statements.iter().copied().filter(|sql| !self.statements.contains_key(*sql)).collect();
        missing.sort_unstable();
        missing.dedup();
        if missing.is_empty() {
            return Ok(());
        }
        let prepare = try_join_all(missing.iter().map(|sql| self.client.prepare(sql)));
        let prepared = self.answer(Box::pin(prepare)).await;
        let prepared = prepared.map_err(|error| self.fail(error, "preparing statements"))?;
        self.statements.extend(missing.into_iter().map(ToOwned::to_owned).zip(prepared));
        Ok(())
    }

    pub(crate) fn statement(&self, sql: &str) -> Result<&Statement, StoreError> {
        let missing = || StoreError::Unusable {
            detail: format!("bug in turnmill: a statement was not prepared: {sql}"),
            source: None,
        };
        self.statements.get(sql).ok_or_else(missing)
    }

    /// Executes steps without waiting for one before sending the next. Returns the error of the
    /// first one that fails. Those after it have done nothing, because the transaction has failed.
    ///
    /// A COPY is sent only when everything before it has succeeded. In a failed transaction the
    /// server refuses to begin it. By then the driver has sent more than the server reads, and no
    /// longer knows which answer belongs to which request.
    pub(crate) async fn run(&self, steps: &[Step], rivals: Rivals) -> Result<(), StoreError> {
        let mut rest = steps;
        while !rest.is_empty() {
            let next = rest.iter().skip(1).position(Step::is_copy).map_or(rest.len(), |at| at + 1);
            let (group, others) = rest.split_at(next);
            self.run_group(group, rivals).await?;
            rest = others;
        }
        Ok(())
    }

    /// Executes one step. The outer error is that the statement was not prepared, the inner one the
    /// server's.
    pub(crate) async fn run_one(&self, step: &Step) -> Result<Result<u64, Failure>, StoreError> {
        match self.in_time(Box::pin(step.run(self))).await {
            Ok(result) => Ok(result?.map_err(Failure::from)),
            Err(silent) => Ok(Err(silent)),
        }
    }

    async fn run_group(&self, steps: &[Step], rivals: Rivals) -> Result<(), StoreError> {
        let mut results: FuturesOrdered<_> = steps.iter().map(|step| step.run(self)).collect();
        let mut outcome = Ok(());
        for step in steps {
            let result = match self.in_time(results.next()).await {
                Ok(Some(result)) => result?,
                Ok(None) => break,
                Err(silent) => return Err(self.fail(silent, &step.doing())),
            };
            let done = result.map_err(|error| match rivals {
                Rivals::Excluded if is_taken_under_lock(&error) => {
                    contradiction(&error, &self.place, &step.doing())
                }
                _ => self.fail(error, &step.doing()),
            });
            let done = done.and_then(|rows| step.check(rows));
            // Wait for the others all the same, so that no answer is left over.
            outcome = outcome.and(done);
        }
        outcome
    }

    /// Sends `ROLLBACK` without waiting for the answer: whatever is sent next comes after it.
    pub(crate) fn roll_back(&self) {
        // The first poll sends the request. The answer does not matter: if it fails, the connection
        // is lost.
        let _ = self.client.batch_execute("ROLLBACK").now_or_never();
    }
}

/// Whether another writer can have written the rows that a step inserts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rivals {
    /// It can, so a key that is taken means a lost race.
    Possible,
    /// It cannot. The senders are locked, and the rows were made from states that were read under
    /// the lock.
    Excluded,
}

/// Rolls a transaction back when it is dropped before it has ended.
pub(crate) struct RollBack<'c> {
    connection: &'c Connection,
    ended: bool,
}

impl<'c> RollBack<'c> {
    pub(crate) fn new(connection: &'c Connection) -> Self {
        Self { connection, ended: false }
    }

    /// Begins a read-only transaction with one snapshot, in which the statement timeout of the
    /// settings applies. Plans are made for the values bound: ranges of time differ much.
    pub(crate) async fn reading_in_time(connection: &'c Connection) -> Result<Self, StoreError> {
        let guard = Self::new(connection);
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL enable_seqscan = on; \
             SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on; \
             SELECT set_config(name, 'force_custom_plan', true) FROM pg_settings WHERE name = 'plan_cache_mode'";
        let begun = connection.batch_execute(begin).await;
        begun.map_err(|error| connection.fail(error, "beginning to read"))?;
        Ok(guard)
    }

    pub(crate) fn ended(&mut self) {
        self.ended = true;
    }

    /// Begins a read-only transaction with one snapshot and without a statement timeout.
    pub(crate) async fn reading(connection: &'c Connection) -> Result<Self, StoreError> {
        let guard = Self::new(connection);
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = 0; \
             SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on";
        let begun = connection.batch_execute(begin).await;
        begun.map_err(|error| connection.fail(error, "beginning to read"))?;
        connection.set_unlimited(true);
        Ok(guard)
    }
}

impl Drop for RollBack<'_> {
    fn drop(&mut self) {
        self.connection.set_unlimited(false);
        if !self.ended {
            self.connection.roll_back();
        }
    }
}

/// Returns a name in quotes.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Converts a duration for PostgreSQL's settings, where 0 means no limit. A shorter time than a
/// millisecond becomes 1.
fn milliseconds(duration: Duration) -> i32 {
    let milliseconds = i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
    if milliseconds == 0 && !duration.is_zero() { 1 } else { milliseconds }
}

//! A connection and its session.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{join_all, try_join_all};
use tokio_postgres::{Client, Error, SimpleQueryMessage, Statement};
use turnmill_postgres::Tls;
use turnmill_sink::StoreError;

use crate::error::{is_about_encryption, is_connection_lost, store_error};
use crate::settings::PostgresSettings;
use crate::steps::Step;

/// The oldest PostgreSQL that can be used.
const OLDEST: u32 = 11;

/// An open connection with its prepared statements. Its traffic is done by a task of the runtime that it was made in, which
/// ends when this is dropped.
pub(crate) struct Connection {
    pub(crate) client: Client,
    place: String,
    statements: HashMap<String, Statement>,
    lost: AtomicBool,
}

impl Connection {
    pub(crate) async fn open(settings: &PostgresSettings) -> Result<Self, StoreError> {
        let place = settings.to_string();
        let mut last = None;
        let tls = Tls::new(&settings.address)
            .map_err(|error| StoreError::Unusable { detail: error.to_string(), source: None })?;
        for encryption in settings.address.attempts() {
            let mut driver = settings.address.driver();
            driver.ssl_mode(*encryption);
            match driver.connect(tls.clone()).await {
                Ok((client, traffic)) => {
                    // Its errors come out of the statements under way.
                    tokio::spawn(traffic.map(drop));
                    let statements = HashMap::new();
                    let connection = Self { client, place, statements, lost: AtomicBool::new(false) };
                    connection.set_up(settings).await?;
                    return Ok(connection);
                }
                Err(error) => {
                    let another = is_about_encryption(&error);
                    // What the first attempt said is what the mode asks for first.
                    let _ = last.get_or_insert(error);
                    if !another {
                        break;
                    }
                }
            }
        }
        Err(match last {
            Some(error) => store_error(error, &place, "connecting"),
            None => {
                StoreError::Unusable { detail: format!("`{place}` cannot be connected to"), source: None }
            }
        })
    }

    /// Settings of the session. Plans are made once per statement, so they must be such that are good for tables of any size:
    /// every statement of the pipeline's path finds its rows by an index.
    async fn set_up(&self, settings: &PostgresSettings) -> Result<(), StoreError> {
        let read_only = if settings.read_only { "SET default_transaction_read_only = on; " } else { "" };
        let session = format!(
            "SET client_min_messages = warning; SET TimeZone = 'UTC'; SET search_path TO {schema}; \
             SET statement_timeout = {statement}; SET lock_timeout = {lock}; \
             SET idle_in_transaction_session_timeout = {idle}; \
             SET default_transaction_isolation = 'read committed'; \
             SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off; \
             SELECT set_config(name, 'force_generic_plan', false) FROM pg_settings WHERE name = 'plan_cache_mode'; \
             {read_only}SHOW server_version_num",
            schema = quoted(&settings.schema),
            statement = milliseconds(settings.statement_timeout),
            lock = milliseconds(settings.lock_timeout),
            idle = milliseconds(settings.idle_timeout),
        );
        let answers =
            self.client.simple_query(&session).await.map_err(|e| self.fail(e, "setting up the session"))?;
        let version = answers.iter().rev().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => row.get(0)?.parse::<u32>().ok(),
            _ => None,
        });
        match version {
            Some(version) if version / 10_000 >= OLDEST => Ok(()),
            _ => Err(StoreError::Unusable {
                detail: format!("`{}` is no PostgreSQL {OLDEST} or newer: use one that is", self.place),
                source: None,
            }),
        }
    }

    /// Whether it has to be made again.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed) || self.client.is_closed()
    }

    /// A store's error of the driver's. Remembers if the connection is gone.
    pub(crate) fn fail(&self, error: Error, doing: &str) -> StoreError {
        if is_connection_lost(&error) {
            self.lost.store(true, Ordering::Relaxed);
        }
        store_error(error, &self.place, doing)
    }

    /// Prepares those statements that are not yet, all in one round trip.
    pub(crate) async fn prepare(&mut self, statements: &[&str]) -> Result<(), StoreError> {
        let mut missing: Vec<&str> =
            statements.iter().copied().filter(|sql| !self.statements.contains_key(*sql)).collect();
        missing.sort_unstable();
        missing.dedup();
        if missing.is_empty() {
            return Ok(());
        }
        let prepared = try_join_all(missing.iter().map(|sql| self.client.prepare(sql))).await;
        let prepared = prepared.map_err(|error| self.fail(error, "preparing statements"))?;
        self.statements.extend(missing.into_iter().map(ToOwned::to_owned).zip(prepared));
        Ok(())
    }

    pub(crate) fn statement(&self, sql: &str) -> Result<&Statement, StoreError> {
        let missing = || StoreError::Damaged { detail: format!("a statement was not prepared: {sql}") };
        self.statements.get(sql).ok_or_else(missing)
    }

    /// Executes steps without waiting for one before sending the next. The first one to fail is the error; those after it
    /// have done nothing, because the transaction has failed.
    pub(crate) async fn run(&self, steps: &[Step]) -> Result<(), StoreError> {
        let results = join_all(steps.iter().map(|step| step.run(self))).await;
        for (step, result) in steps.iter().zip(results) {
            let rows = result?.map_err(|error| self.fail(error, &step.doing()))?;
            step.check(rows)?;
        }
        Ok(())
    }

    /// Ends the transaction without a trace, and without waiting for that: what is sent next comes after it.
    pub(crate) fn roll_back(&self) {
        // The request is sent by the first poll; the answer is of no interest, since if it fails the connection is gone.
        let _ = self.client.batch_execute("ROLLBACK").now_or_never();
    }
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

    pub(crate) fn ended(&mut self) {
        self.ended = true;
    }

    /// Begins a transaction that sees the database as it is now until it ends, and has all the time it needs.
    pub(crate) async fn reading(connection: &'c Connection) -> Result<Self, StoreError> {
        let guard = Self::new(connection);
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = 0; \
             SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on";
        let begun = connection.client.batch_execute(begin).await;
        begun.map_err(|error| connection.fail(error, "beginning to read"))?;
        Ok(guard)
    }
}

impl Drop for RollBack<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.connection.roll_back();
        }
    }
}

/// A name in quotes.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// As PostgreSQL's settings want it; 0 is without limit.
fn milliseconds(duration: Duration) -> i32 {
    let milliseconds = i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
    if milliseconds == 0 && !duration.is_zero() { 1 } else { milliseconds }
}

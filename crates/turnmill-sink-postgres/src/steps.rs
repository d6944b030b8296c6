//! A step: one statement of a transaction with the values that it writes.

use bytes::Bytes;
use futures_util::{SinkExt as _, pin_mut};
use tokio_postgres::Error;
use tokio_postgres::types::ToSql;
use turnmill_sink::StoreError;

use crate::connect::Connection;
use crate::value::Array;

/// Bytes of a COPY per message, so that the server reads while the rest is being sent.
const MESSAGE: usize = 1 << 18;

/// A statement to execute.
#[derive(Debug)]
pub(crate) struct Step {
    /// Subject of the statement, for messages: a table's name, or a few words.
    about: &'static str,
    sql: String,
    payload: Payload,
    expected: Expected,
}

#[derive(Debug)]
enum Payload {
    /// No parameters: the statements are not prepared.
    Nothing,
    /// Binary rows for `COPY ... FROM STDIN`.
    Rows(Bytes),
    /// One column per parameter.
    Columns(Vec<Array>),
}

/// Number of rows that a step has to touch.
#[derive(Debug)]
enum Expected {
    Any,
    /// This number; any other means that the store contradicts itself.
    Found(u64, String),
    /// This number; any other means that another writer was faster.
    Ours(u64, String),
}

impl Step {
    pub(crate) fn plain(about: &'static str, sql: &str) -> Self {
        Self { about, sql: sql.into(), payload: Payload::Nothing, expected: Expected::Any }
    }

    pub(crate) fn copy(about: &'static str, sql: &str, rows: Bytes) -> Self {
        Self { about, sql: sql.into(), payload: Payload::Rows(rows), expected: Expected::Any }
    }

    pub(crate) fn arrays(about: &'static str, sql: &str, columns: Vec<Array>) -> Self {
        Self { about, sql: sql.into(), payload: Payload::Columns(columns), expected: Expected::Any }
    }

    /// Demands that the step touches `rows` rows. Otherwise the store is damaged, as `missing`
    /// says.
    pub(crate) fn must_find(self, rows: usize, missing: impl Into<String>) -> Self {
        Self { expected: Expected::Found(rows as u64, missing.into()), ..self }
    }

    /// Demands that the step touches `rows` rows. Otherwise another writer was faster, as `taken`
    /// says.
    pub(crate) fn must_win(self, rows: usize, taken: impl Into<String>) -> Self {
        Self { expected: Expected::Ours(rows as u64, taken.into()), ..self }
    }

    /// Returns the statement to prepare, if any.
    pub(crate) fn to_prepare(&self) -> Option<&str> {
        match self.payload {
            Payload::Nothing => None,
            Payload::Rows(_) | Payload::Columns(_) => Some(&self.sql),
        }
    }

    pub(crate) fn is_copy(&self) -> bool {
        matches!(self.payload, Payload::Rows(_))
    }

    pub(crate) fn doing(&self) -> String {
        if self.about.contains(' ') { self.about.into() } else { format!("writing {}", self.about) }
    }

    /// Executes the step and returns the number of rows touched. The outer error is that the
    /// statement was not prepared, the inner one the driver's.
    pub(crate) async fn run(&self, connection: &Connection) -> Result<Result<u64, Error>, StoreError> {
        let client = connection.client();
        Ok(match &self.payload {
            Payload::Nothing => client.batch_execute(&self.sql).await.map(|()| 0),
            Payload::Columns(columns) => {
                let parameters: Vec<&(dyn ToSql + Sync)> =
                    columns.iter().map(|column| column as &(dyn ToSql + Sync)).collect();
                client.execute(connection.statement(&self.sql)?, &parameters).await
            }
            Payload::Rows(rows) => {
                let statement = connection.statement(&self.sql)?;
                let copy = async {
                    let sink = client.copy_in::<_, Bytes>(statement).await;
                    // After that the driver assigns later answers to the wrong requests.
                    let sink = sink.inspect_err(|_| connection.give_up())?;
                    pin_mut!(sink);
                    let mut rest = rows.clone();
                    while !rest.is_empty() {
                        sink.feed(rest.split_to(MESSAGE.min(rest.len()))).await?;
                    }
                    sink.finish().await
                };
                copy.await
            }
        })
    }

    pub(crate) fn check(&self, rows: u64) -> Result<(), StoreError> {
        match &self.expected {
            Expected::Found(expected, missing) if rows != *expected => {
                Err(StoreError::Damaged { detail: format!("{missing} ({rows} of {expected} rows found)") })
            }
            Expected::Ours(expected, taken) if rows != *expected => {
                Err(StoreError::Fenced { detail: taken.clone() })
            }
            _ => Ok(()),
        }
    }
}

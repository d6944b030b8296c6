//! What there is to know of a database before it is opened: for tools that check a configuration.

use std::time::Duration;

use tokio_postgres::SimpleQueryMessage;
use turnmill_model::Settings;
use turnmill_sink::StoreError;
use turnmill_sql::migrations::{Change, Migration, pending};
use turnmill_sql::{Dialect, Schema, meta};

use crate::PostgresStore;
use crate::arrange::Plan;
use crate::connect::{Connection, RollBack};
use crate::error::SESSION_POOLER;
use crate::migrate::{Found, look, named};
use crate::settings::PostgresSettings;

/// Time that a pooler may take to give a server process.
const POOLER: Duration = Duration::from_secs(5);

/// Findings about a database, which was only read.
#[derive(Clone, Debug, PartialEq)]
pub struct Survey {
    /// Version that the server reports.
    pub server: String,
    /// Whether the connection is encrypted.
    pub encrypted: bool,
    /// Contents of the schema.
    pub schema: SchemaFound,
    /// Changes that would bring indexes and foreign keys to what the settings ask for.
    /// [`PostgresStore::arrange`] makes them; nothing else does.
    pub to_arrange: Vec<String>,
    /// Problems that keep the store from working as it should, with their remedies.
    pub problems: Vec<String>,
    /// Privileges that this user needs and lacks.
    pub lacking: Vec<String>,
}

/// Contents of a schema.
#[derive(Clone, Debug, PartialEq)]
pub enum SchemaFound {
    /// The schema does not exist.
    Missing,
    /// The schema has no tables of turnmill, and none with the names of turnmill's.
    Empty,
    /// The schema holds a store.
    Store {
        /// Settings that filled the store.
        settings: Settings,
        /// Migrations that the store lacks, by number and name.
        pending: Vec<String>,
    },
}

const SERVER: &str = "SELECT current_setting('server_version'), \
     COALESCE((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false)";
const MAY_CREATE_SCHEMA: &str = "SELECT has_database_privilege(current_database(), 'CREATE')";
const MAY_CREATE_TABLES: &str = "SELECT has_schema_privilege($1::text, 'CREATE')";
const TABLES_LACKING: &str = "SELECT c.relname::text FROM pg_catalog.pg_class AS c \
     JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
     WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND (c.relname LIKE 'rasa\\_%' OR c.relname LIKE 'ext\\_%' \
     OR c.relname LIKE '\\_turnmill\\_%') \
     AND NOT (has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT') \
     AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE')) ORDER BY c.relname";

const ENCODING: &str = "SELECT pg_encoding_to_char(encoding)::text, pg_is_in_recovery() FROM pg_catalog.pg_database \
     WHERE datname = current_database()";
const PROCESS: &str = "SELECT pg_backend_pid()";

/// Checks that a connection keeps its server process, which prepared statements and session
/// settings need. A pooler gives a free process to the client that asks first. So a second
/// connection occupies that process with a transaction, and the first is asked again which process
/// it has.
async fn pooled(place: &PostgresSettings, connection: &Connection) -> Result<Option<String>, StoreError> {
    let doing = "looking for a pooler";
    let process = async |connection: &Connection| {
        let row = connection.client().simple_query(PROCESS).await;
        row.map(|answers| {
            answers.iter().find_map(|answer| match answer {
                SimpleQueryMessage::Row(row) => row.get(0).map(ToOwned::to_owned),
                _ => None,
            })
        })
    };
    let first = process(connection).await.map_err(|error| connection.fail(error, doing))?;
    let other = Connection::open(place).await?;
    other.batch_execute("BEGIN").await.map_err(|error| other.fail(error, doing))?;
    let _guard = RollBack::new(&other);
    process(&other).await.map_err(|error| other.fail(error, doing))?;
    let second = process(connection);
    let second = match tokio::time::timeout(POOLER, second).await {
        Ok(second) => second.map_err(|error| connection.fail(error, doing))?,
        // The second connection has the only process.
        Err(_) => None,
    };
    Ok((first != second).then(|| {
        format!("a pooler gives the connection another server process for each transaction: {SESSION_POOLER}")
    }))
}

impl PostgresStore {
    /// Connects and reads what the schema holds and what this user may do there. Changes nothing.
    ///
    /// # Errors
    ///
    /// Those of [`open`](turnmill_sink::Store::open), among them tables of another product. A
    /// schema without tables is no error.
    pub async fn survey(&self) -> Result<Survey, StoreError> {
        let (place, doing) = (&self.settings, "reading properties of the database");
        let connection = Connection::open(place).await?;
        let row = connection.query_one(SERVER, &[]).await;
        let (server, encrypted) = row
            .and_then(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .map_err(|error| connection.fail(error, doing))?;
        let may = async |sql: &str, parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)]| {
            let answer: Result<bool, _> =
                connection.query_one(sql, parameters).await.and_then(|row| Ok(row.try_get(0)?));
            answer.map_err(|error| connection.fail(error, doing))
        };
        let (mut lacking, mut to_arrange) = (Vec::new(), Vec::new());
        let mut problems = Vec::new();
        let row = connection.query_one(ENCODING, &[]).await;
        let (encoding, standby): (String, bool) = row
            .and_then(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .map_err(|error| connection.fail(error, doing))?;
        if encoding != "UTF8" {
            problems.push(format!(
                "the database has the encoding {encoding}: records with characters that it lacks would \
                 become dead letters; create \
                 one with `ENCODING 'UTF8'`"
            ));
        }
        if standby {
            let primary = "the server is a standby, which cannot be written to: name the primary, or \
                           several hosts with \
                 `target_session_attrs=read-write`";
            problems.push(primary.into());
        }
        if let Some(pooler) = pooled(place, &connection).await? {
            problems.push(pooler);
        }
        let found = look(&connection, place).await?;
        let schema = match found {
            Found::Nothing => {
                if !may(MAY_CREATE_SCHEMA, &[]).await? {
                    lacking.push("CREATE on the database, to create the schema".into());
                }
                SchemaFound::Missing
            }
            Found::Empty => SchemaFound::Empty,
            Found::Ours(facts) => {
                let settings = meta::settings(&facts)?;
                if let Err(StoreError::Unusable { detail, .. }) = meta::check_engine(&facts) {
                    problems.push(detail);
                }
                let references = place.foreign_keys.on(connection.version());
                let schema = Schema::new(Dialect::Postgres);
                let plan = Plan::new(&connection, &schema, references).await?.describe();
                let describe = |step: &Migration| match step.change {
                    Change::Rearrange => format!("{}: {}", named(step), plan.join("; ")),
                    Change::Keys => format!(
                        "{}: builds an index of _turnmill_history, beside running queries, and drops two",
                        named(step)
                    ),
                    _ => named(step),
                };
                let steps = pending(meta::schema_version(&facts)?)?;
                let pending: Vec<String> = steps.iter().map(describe).collect();
                if pending.is_empty() {
                    to_arrange = plan;
                }
                SchemaFound::Store { settings, pending }
            }
        };
        let complete = matches!(&schema, SchemaFound::Store { pending, .. } if pending.is_empty());
        if schema != SchemaFound::Missing {
            if !complete && !may(MAY_CREATE_TABLES, &[&place.schema]).await? {
                lacking.push(format!("CREATE on the schema `{}`", place.schema));
            }
            let rows = connection.query(TABLES_LACKING, &[&place.schema]).await;
            for row in rows.map_err(|error| connection.fail(error, doing))? {
                let table: String = row.try_get(0).map_err(|error| connection.fail(error, doing))?;
                lacking.push(format!("SELECT, INSERT, UPDATE and DELETE on `{table}`"));
            }
        }
        Ok(Survey { server, encrypted, schema, to_arrange, problems, lacking })
    }
}

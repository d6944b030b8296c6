//! Opens a database: checks whose the tables are and which version they have, and migrates them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use turnmill_model::Settings;
use turnmill_model::tables::PUBLIC;
use turnmill_sink::StoreError;
use turnmill_sql::migrations::{Change, MIGRATIONS, Migration, pending};
use turnmill_sql::{Dialect, Schema, meta, views};

use crate::arrange::{Plan, history_by_time};
use crate::connect::{Connection, RollBack, quoted};
use crate::notices::Notices;
use crate::settings::PostgresSettings;

/// Interval between attempts to get the lock that another process holds.
const POLL: Duration = Duration::from_millis(50);

/// First half of the advisory lock's key; the second half is the schema's name.
const LOCK: i32 = 0x7475_726e;

/// Contents of a schema.
pub(crate) enum Found {
    /// The schema does not exist.
    Nothing,
    /// The schema has no tables of turnmill.
    Empty,
    Ours(BTreeMap<String, String>),
}

/// Purpose that a schema is opened for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Purpose {
    /// Add rows, with the settings that filled the store.
    Fill,
    /// Rebuild all rows, with any settings.
    Rebuild,
}

impl Purpose {
    fn check(self, meta: &BTreeMap<String, String>, settings: &Settings) -> Result<(), StoreError> {
        match self {
            Self::Fill => meta::check(meta, settings),
            Self::Rebuild => Ok(()),
        }
    }
}

/// Creates or migrates the tables, and compares the settings. Processes that start at once wait for
/// each other.
pub(crate) async fn open(
    connection: &Connection,
    place: &PostgresSettings,
    settings: &Settings,
    purpose: Purpose,
    notices: &Notices,
) -> Result<(), StoreError> {
    if let Found::Ours(meta) = look(connection, place).await?
        && pending(meta::schema_version(&meta)?)?.is_empty()
    {
        return purpose.check(&meta, settings);
    }
    if !place.migrations || place.read_only {
        return up_to_date(connection, place).await.and_then(|meta| purpose.check(&meta, settings));
    }
    let alone = Alone::begin(connection, place, notices).await?;
    migrate(connection, place, settings, purpose, notices).await?;
    alone.end().await
}

/// Holds the lock under which one connection alone changes the schema. A caller that drops this
/// without [`end`](Self::end) has to drop the connection too.
pub(crate) struct Alone<'c> {
    connection: &'c Connection,
    place: &'c PostgresSettings,
}

impl<'c> Alone<'c> {
    /// Waits for other processes. Polls for the lock: a connection that waits inside a statement is
    /// a running transaction, and building an index waits for running transactions.
    pub(crate) async fn begin(
        connection: &'c Connection,
        place: &'c PostgresSettings,
        notices: &Notices,
    ) -> Result<Self, StoreError> {
        let doing = "locking the schema to bring it up to date";
        let sql = "SELECT pg_try_advisory_lock($1, hashtext($2))";
        let mut waiting = false;
        loop {
            let row = connection.query_one(sql, &[&LOCK, &place.schema]).await;
            let locked = row.and_then(|row| Ok(row.try_get(0)?));
            if locked.map_err(|error| connection.fail(error, doing))? {
                break;
            }
            if !waiting {
                notices.say("waiting for another process that brings the schema up to date");
            }
            waiting = true;
            tokio::time::sleep(POLL).await;
        }
        connection.set_session("statement_timeout", "0").await?;
        connection.set_unlimited(true);
        Ok(Self { connection, place })
    }

    pub(crate) async fn end(self) -> Result<(), StoreError> {
        let sql = "SELECT pg_advisory_unlock($1, hashtext($2))";
        let unlocked = self.connection.execute(sql, &[&LOCK, &self.place.schema]).await;
        unlocked.map_err(|error| self.connection.fail(error, "unlocking the schema"))?;
        self.connection.set_unlimited(false);
        self.connection.limit_statements().await
    }
}

/// Returns the facts of `_turnmill_meta`, if the schema has the version of this turnmill. Changes
/// nothing.
pub(crate) async fn up_to_date(
    connection: &Connection,
    place: &PostgresSettings,
) -> Result<BTreeMap<String, String>, StoreError> {
    let meta = of_any_version(connection, place).await?;
    let version = meta::schema_version(&meta)?;
    let steps = pending(version)?;
    if steps.is_empty() {
        return Ok(meta);
    }
    let names: Vec<String> = steps.iter().map(named).collect();
    let names = names.join(", ");
    let lacks = format!("the schema `{}` has version {version} and lacks migration {names}", place.schema);
    Err(unusable(place, &lacks, meta::way_forward(&meta)))
}

/// Checks that the public tables and views are those of this turnmill. Changes nothing.
///
/// A role for reading may not read `_turnmill_meta`, which has the version. For such a role the
/// columns that this turnmill reads have to be there.
pub(crate) async fn readable(connection: &Connection, place: &PostgresSettings) -> Result<(), StoreError> {
    let doing = "reading its tables";
    // Without the schema itself, `look` says what to grant.
    let sql = "SELECT has_table_privilege(c.oid, 'SELECT') OR NOT has_schema_privilege(n.oid, 'USAGE') \
         FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relname = '_turnmill_meta'";
    let rows = connection.query(sql, &[&place.schema]).await;
    let rows = rows.map_err(|error| connection.fail(error, doing))?;
    let may_read: Option<Result<bool, _>> = rows.first().map(|row| row.try_get(0));
    match may_read.transpose().map_err(|error| connection.fail(error, doing))? {
        Some(false) => {}
        Some(true) | None => return up_to_date(connection, place).await.map(drop),
    }
    let sql = "SELECT c.relname || '.' || a.attname FROM pg_catalog.pg_class AS c \
         JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
         WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v')";
    let rows = connection.query(sql, &[&place.schema]).await;
    let rows = rows.map_err(|error| connection.fail(error, doing))?;
    let there: Result<BTreeSet<String>, _> = rows.iter().map(|row| row.try_get(0)).collect();
    let there = there.map_err(|error| connection.fail(error, doing))?;
    let of_tables = PUBLIC
        .iter()
        .flat_map(|table| table.columns.iter().map(move |column| format!("{}.{}", table.name, column.name)));
    let of_views = views::ALL
        .iter()
        .flat_map(|view| view.columns.iter().map(move |column| format!("{}.{}", view.name, column.name)));
    match of_tables.chain(of_views).find(|column| !there.contains(column)) {
        None => Ok(()),
        Some(column) => {
            let lacks = format!("the schema `{}` has another version: it lacks {column}", place.schema);
            Err(unusable(place, &lacks, "bring it up to date as its owner"))
        }
    }
}

/// Returns the facts of `_turnmill_meta`, if there is a store and it is not newer than this
/// turnmill. Changes nothing.
pub(crate) async fn of_any_version(
    connection: &Connection,
    place: &PostgresSettings,
) -> Result<BTreeMap<String, String>, StoreError> {
    let missing = match look(connection, place).await? {
        Found::Nothing => format!("there is no schema `{}`", place.schema),
        Found::Empty => format!("the schema `{}` has no tables of turnmill", place.schema),
        Found::Ours(meta) => {
            pending(meta::schema_version(&meta)?)?;
            return Ok(meta);
        }
    };
    Err(unusable(place, &missing, "open it once for writing"))
}

fn unusable(place: &PostgresSettings, missing: &str, way_forward: &str) -> StoreError {
    let detail = if place.read_only {
        format!("`{place}`: {missing}; {way_forward}, or name another with `TURNMILL_DB_SCHEMA`")
    } else {
        format!(
            "`{place}`: {missing}; set `RUN_ANALYTICS_DB_MIGRATIONS` to true for one start, by a user who \
             may create tables"
        )
    };
    StoreError::Unusable { detail, source: None }
}

pub(crate) fn named(migration: &Migration) -> String {
    format!("{} ({})", migration.number, migration.name)
}

/// Checks whose tables are in the schema. Tables of another product with turnmill's names are an
/// error.
pub(crate) async fn look(connection: &Connection, place: &PostgresSettings) -> Result<Found, StoreError> {
    let doing = "reading its tables";
    let sql = "SELECT n.nspname IS NOT NULL, c.relname, COALESCE(has_schema_privilege(n.oid, 'USAGE'), \
               true) FROM (VALUES (1)) AS one (row) \
         LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname = $1 \
         LEFT JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'f') \
         ORDER BY c.relname";
    let rows = connection.query(sql, &[&place.schema]).await;
    let rows = rows.map_err(|error| connection.fail(error, doing))?;
    let mut names: Vec<String> = Vec::new();
    for row in rows {
        let exists: bool = row.try_get(0).map_err(|error| connection.fail(error, doing))?;
        if !exists {
            return Ok(Found::Nothing);
        }
        let may_use: bool = row.try_get(2).map_err(|error| connection.fail(error, doing))?;
        if !may_use {
            let schema = &place.schema;
            let detail = format!(
                "`{place}`: the user may not use the schema `{schema}`: grant it that (`GRANT USAGE, CREATE \
                 ON SCHEMA {} TO ...`), or set \
                 `TURNMILL_DB_SCHEMA` to another",
                quoted(schema)
            );
            return Err(StoreError::Unusable { detail, source: None });
        }
        let name: Option<String> = row.try_get(1).map_err(|error| connection.fail(error, doing))?;
        names.extend(name);
    }
    if names.iter().any(|name| name == "_turnmill_meta") {
        return read_meta(connection, place).await.map(Found::Ours);
    }
    let theirs = |name: &&String| {
        matches!(name.as_str(), "alembic_version" | "_rasa_raw_event") || name.starts_with("rasa_")
    };
    if let Some(name) = names.iter().find(theirs) {
        let detail = format!(
            "`{place}` has a table `{name}` in the schema `{}` that turnmill did not make, as a deployment of Rasa Pro \
             Services has it, and it is left alone: set `TURNMILL_DB_SCHEMA` to a schema of its own, or \
             `RASA_ANALYTICS_DB_URL` to a database of its own, and fill it by replaying the events with \
             `turnmill-replay`",
            place.schema
        );
        return Err(StoreError::Unusable { detail, source: None });
    }
    if let Some(name) = names.iter().find(|name| name.starts_with("_turnmill_")) {
        let detail = format!(
            "`{place}` has a table `{name}` but no `_turnmill_meta`: fill another schema from the events"
        );
        return Err(StoreError::Damaged { detail });
    }
    Ok(Found::Empty)
}

async fn read_meta(
    connection: &Connection,
    place: &PostgresSettings,
) -> Result<BTreeMap<String, String>, StoreError> {
    let doing = "reading the stored settings";
    let sql = format!("SELECT name, value FROM {}._turnmill_meta", quoted(&place.schema));
    let rows = connection.query(&sql, &[]).await.map_err(|error| connection.fail(error, doing))?;
    let mut meta = BTreeMap::new();
    for row in rows {
        let fact = row.try_get(0).and_then(|name| Ok((name, row.try_get(1)?)));
        let (name, value): (String, String) = fact.map_err(|error| connection.fail(error, doing))?;
        meta.insert(name, value);
    }
    if !meta.contains_key(meta::SCHEMA_VERSION) {
        return Err(StoreError::Damaged { detail: format!("`{place}` has no schema version") });
    }
    Ok(meta)
}

/// Applies missing migrations, and compares or stores the settings. Needs [`Alone`].
async fn migrate(
    connection: &Connection,
    place: &PostgresSettings,
    settings: &Settings,
    purpose: Purpose,
    notices: &Notices,
) -> Result<(), StoreError> {
    let references = place.foreign_keys.on(connection.version());
    let schema = Schema::new(Dialect::Postgres).references(references);
    let meta = match look(connection, place).await? {
        Found::Ours(meta) => meta,
        Found::Empty => return create(connection, "", &schema, settings).await,
        Found::Nothing => {
            let first = format!("CREATE SCHEMA {}", quoted(&place.schema));
            return create(connection, &first, &schema, settings).await;
        }
    };
    let steps = pending(meta::schema_version(&meta)?)?;
    purpose.check(&meta, settings)?;
    for step in steps {
        notices.say(&format!("bringing the schema `{}` up to date: migration {}", place.schema, named(step)));
        match step.change {
            Change::Widen => {
                let sql = schema.new_columns().join(";\n");
                let fail = |error| connection.fail(error, "adding columns");
                connection.batch_execute(&sql).await.map_err(fail)?;
            }
            Change::Rearrange => {
                // The plan has the indexes of all public tables, so these must be there.
                make_facts(connection, &schema).await?;
                Plan::new(connection, &schema, references).await?.carry_out(connection, notices).await?;
            }
            Change::Sinks => {
                let sql = schema.tables_of_sinks().join(";\n");
                let fail = |error| connection.fail(error, "making the tables of sinks");
                connection.batch_execute(&sql).await.map_err(fail)?;
            }
            Change::Formats => {
                let sql = schema.for_formats().join(";\n");
                let fail = |error| connection.fail(error, "making room for several formats");
                connection.batch_execute(&sql).await.map_err(fail)?;
            }
            Change::Facts => make_facts(connection, &schema).await?,
            Change::Keys => history_by_time(connection, notices).await?,
            _ => {
                let detail = format!("bug in turnmill: PostgreSQL has no migration {}", named(step));
                return Err(StoreError::Unusable { detail, source: None });
            }
        }
        let mut guard = RollBack::new(connection);
        let fail = |error| connection.fail(error, "recording a migration");
        connection.batch_execute("BEGIN").await.map_err(fail)?;
        note(connection, step).await?;
        connection.batch_execute("COMMIT").await.map_err(fail)?;
        guard.ended();
    }
    Ok(())
}

/// Makes the tables of facts that are missing.
async fn make_facts(connection: &Connection, schema: &Schema) -> Result<(), StoreError> {
    let sql = schema.tables_of_facts().join(";\n");
    let fail = |error| connection.fail(error, "making the tables of facts");
    connection.batch_execute(&sql).await.map_err(fail)
}

/// Creates a new store, completely or not at all.
async fn create(
    connection: &Connection,
    first: &str,
    schema: &Schema,
    settings: &Settings,
) -> Result<(), StoreError> {
    let mut guard = RollBack::new(connection);
    let doing = if first.is_empty() { "creating the tables" } else { "creating the schema and the tables" };
    let fail = |error| connection.fail(error, doing);
    connection.batch_execute(&format!("BEGIN; {first}")).await.map_err(fail)?;
    connection.batch_execute(&schema.statements().join(";\n")).await.map_err(fail)?;
    for step in &MIGRATIONS {
        note(connection, step).await?;
    }
    for (name, value) in meta::initial(settings) {
        put_meta(connection, name, &value).await?;
    }
    connection.batch_execute("COMMIT").await.map_err(fail)?;
    guard.ended();
    Ok(())
}

/// Records that a migration was applied.
async fn note(connection: &Connection, step: &Migration) -> Result<(), StoreError> {
    let note = format!(
        "INSERT INTO _turnmill_migrations (\"number\", \"name\", \"applied_at\") VALUES ($1, $2, {})",
        Dialect::Postgres.utc_now()
    );
    let noted = connection.execute(&note, &[&i64::from(step.number), &step.name]).await;
    noted.map_err(|error| connection.fail(error, "recording a migration"))?;
    put_meta(connection, meta::SCHEMA_VERSION, &step.number.to_string()).await
}

pub(crate) async fn put_meta(connection: &Connection, name: &str, value: &str) -> Result<(), StoreError> {
    let put = "INSERT INTO _turnmill_meta (\"name\", \"value\") VALUES ($1, $2) \
         ON CONFLICT (\"name\") DO UPDATE SET \"value\" = excluded.\"value\"";
    let done = connection.execute(put, &[&name, &value]).await;
    done.map(drop).map_err(|error| connection.fail(error, "storing the settings"))
}

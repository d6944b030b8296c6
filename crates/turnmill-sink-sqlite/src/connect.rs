//! Opening a file: check that turnmill made it, check its schema version, migrate it.

use std::collections::{BTreeMap, BTreeSet};
#[cfg(unix)]
use std::fs::OpenOptions;
use std::path::Path;
use std::time::Instant;

use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags};
use turnmill_model::Settings;
use turnmill_model::tables::{Table, public};
use turnmill_sink::StoreError;
use turnmill_sql::indexes::PUBLISHED;
use turnmill_sql::migrations::{Change, Migration, SCHEMA_VERSION, pending};
use turnmill_sql::{Dialect, References, Schema, meta};

use crate::SqliteStore;
use crate::inspect::Survey;
use crate::read_only;
use crate::store::{DatabaseLocation, roll_back};

/// Cache of pages: 64 MiB.
const CACHE_KIBIBYTES: i64 = 65_536;
/// Pages in the write-ahead log at which they are copied to the file: 256 MiB. Pages of recent
/// senders and the ends of indexes change with every batch. The larger the log, the less often they
/// are copied.
const LOG_PAGES: i64 = 65_536;
/// Number of prepared statements to keep.
const STATEMENTS: usize = 256;

/// The purpose for which a database is opened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Purpose {
    /// Fill it further, with the same settings.
    Fill,
    /// Rebuild its rows, with any settings.
    Rebuild,
}

/// Opens the database, creates or migrates it, and compares the settings.
pub(crate) fn open(
    store: &SqliteStore,
    settings: &Settings,
    purpose: Purpose,
) -> Result<Connection, StoreError> {
    let connection = connect(store, !store.read_only)?;
    let fail = |error, doing: &str| store.error(error, doing);
    if store.read_only {
        require_ours(store, &connection)?;
        let meta = read_meta(store, &connection)?;
        if !pending(meta::schema_version(&meta)?)?.is_empty() {
            let way_forward = meta::way_forward(&meta);
            let detail = format!("`{}` has an older schema: {way_forward}", store.name());
            return Err(StoreError::Unusable { detail, source: None });
        }
        meta::check(&meta, settings)?;
        return Ok(connection);
    }
    // Refuse databases of other programs and of newer versions.
    if is_ours(store, &connection)? {
        pending(meta::schema_version(&read_meta(store, &connection)?)?)?;
    }
    if connection.is_readonly(MAIN_DB).map_err(|error| fail(error, "opening"))? {
        let detail = format!(
            "`{}` is read-only: make the file and its folder writable for this user, or name another file",
            store.name()
        );
        return Err(StoreError::Unusable { detail, source: None });
    }
    if let DatabaseLocation::File(_) = store.location {
        write_ahead(store, &connection)?;
    }
    connection
        .execute_batch("BEGIN IMMEDIATE")
        .map_err(|error| fail(error, "locking the database to open it"))?;
    match migrate(store, &connection, settings, purpose) {
        Ok(()) => connection.execute_batch("COMMIT").map_err(|error| fail(error, "creating the tables"))?,
        Err(error) => {
            roll_back(Some(&connection));
            return Err(error);
        }
    }
    Ok(connection)
}

/// Opens an existing database with any settings. Creates and migrates nothing.
pub(crate) fn open_as_it_is(store: &SqliteStore) -> Result<(Connection, Settings), StoreError> {
    let connection = connect(store, false)?;
    require_ours(store, &connection)?;
    let meta = read_meta(store, &connection)?;
    let version = meta::schema_version(&meta)?;
    if !pending(version)?.is_empty() {
        let detail = format!(
            "`{}` has schema version {version} and this turnmill needs {SCHEMA_VERSION}: {}",
            store.name(),
            meta::way_forward(&meta)
        );
        return Err(StoreError::Unusable { detail, source: None });
    }
    let settings = meta::settings(&meta)?;
    Ok((connection, settings))
}

/// Returns the settings that a database was filled with, for any schema version.
pub(crate) fn stored_settings(store: &SqliteStore) -> Result<Settings, StoreError> {
    let connection = connect(store, false)?;
    require_ours(store, &connection)?;
    let meta = read_meta(store, &connection)?;
    pending(meta::schema_version(&meta)?)?;
    meta::settings(&meta)
}

/// Reads what the next [`open`] will find and do. Creates and migrates nothing.
pub(crate) fn survey(store: &SqliteStore) -> Result<Survey, StoreError> {
    let connection = connect(store, false)?;
    require_ours(store, &connection)?;
    let meta = read_meta(store, &connection)?;
    let steps = pending(meta::schema_version(&meta)?)?;
    let describe = |step: &Migration| {
        let what = match step.change {
            Change::Rearrange => ": builds and drops indexes",
            Change::Keys => ": copies both tables inside the file, in one transaction",
            _ => "",
        };
        format!("{} ({}){what}", step.number, step.name)
    };
    let problem = match meta::check_engine(&meta) {
        Err(StoreError::Unusable { detail, .. }) => Some(detail),
        other => other.map(|()| None)?,
    };
    Ok(Survey { settings: meta::settings(&meta)?, pending: steps.iter().map(describe).collect(), problem })
}

/// Creates the file for its owner alone if it is missing, because it contains conversations. SQLite
/// gives the files beside it the same rights. An existing file keeps its rights: they may be set on
/// purpose.
#[cfg(unix)]
fn make_private(path: &Path) {
    use std::os::unix::fs::OpenOptionsExt as _;
    // Opening the path reports its problems better.
    let _ = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
}

#[cfg(not(unix))]
fn make_private(_: &Path) {}

fn connect(store: &SqliteStore, create: bool) -> Result<Connection, StoreError> {
    let fail = |error| store.error(error, "opening");
    let access = match (store.read_only, create) {
        (true, _) => OpenFlags::SQLITE_OPEN_READ_ONLY,
        (false, true) => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        (false, false) => OpenFlags::SQLITE_OPEN_READ_WRITE,
    };
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = match &store.location {
        DatabaseLocation::Memory => Connection::open_in_memory_with_flags(flags).map_err(fail)?,
        DatabaseLocation::File(path) => {
            // An absolute path cannot mean `:memory:`, a temporary database or a URI.
            let absolute = std::path::absolute(path).map_err(|error| StoreError::Unusable {
                detail: format!("`{}` cannot be the path of a database file: {error}", path.display()),
                source: Some(Box::new(error)),
            })?;
            if !create && !absolute.exists() {
                let detail = format!("`{}` does not exist: name the file of a store", path.display());
                return Err(StoreError::Unusable { detail, source: None });
            }
            if create {
                make_private(&absolute);
            }
            if store.read_only {
                read_only::open(&absolute, store.busy_timeout).map_err(fail)?
            } else {
                Connection::open_with_flags(absolute, flags).map_err(fail)?
            }
        }
    };
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.busy_timeout(store.busy_timeout).map_err(fail)?;
    connection.pragma_update(None, "foreign_keys", false).map_err(fail)?;
    connection.pragma_update(None, "temp_store", "memory").map_err(fail)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIBIBYTES).map_err(fail)?;
    Ok(connection)
}

/// Switches to the write-ahead log. The file remembers this, so there is nothing to do later.
fn write_ahead(store: &SqliteStore, connection: &Connection) -> Result<(), StoreError> {
    let start = Instant::now();
    let mode: String = loop {
        match connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0)) {
            // SQLite itself does not wait here for others that open the new file at the same time.
            Err(rusqlite::Error::SqliteFailure(error, _))
                if error.code == ErrorCode::DatabaseBusy && start.elapsed() < store.busy_timeout =>
            {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            result => {
                break result.map_err(|error| store.error(error, "switching to the write-ahead log"))?;
            }
        }
    };
    if mode != "wal" {
        let detail = format!(
            "`{}` is on a file system that does not allow a write-ahead log: name a file on a local disk",
            store.name()
        );
        return Err(StoreError::Unusable { detail, source: None });
    }
    let fail = |error| store.error(error, "setting up the write-ahead log");
    // Positions and rows commit together, so a power failure takes the last transactions of both.
    connection.pragma_update(None, "synchronous", "normal").map_err(fail)?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES).map_err(fail)?;
    connection.pragma_update(None, "journal_size_limit", LOG_PAGES * 4096).map_err(fail)
}

fn require_ours(store: &SqliteStore, connection: &Connection) -> Result<(), StoreError> {
    if is_ours(store, connection)? {
        return Ok(());
    }
    let detail = format!("`{}` is empty: name the file of a store", store.name());
    Err(StoreError::Unusable { detail, source: None })
}

/// Returns whether turnmill made this database; false for an empty one.
fn is_ours(store: &SqliteStore, connection: &Connection) -> Result<bool, StoreError> {
    let fail = |error| store.error(error, "reading its tables");
    let names = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT GLOB \
                 'sqlite_*' ORDER BY name";
    let mut statement = connection.prepare(names).map_err(fail)?;
    let names: Vec<String> =
        statement.query_map([], |row| row.get(0)).and_then(Iterator::collect).map_err(fail)?;
    if names.iter().any(|name| name == "_turnmill_meta") {
        return Ok(true);
    }
    let Some(first) = names.first() else { return Ok(false) };
    let file = store.name();
    let detail = if let Some(rasa) = names.iter().find(|name| name.starts_with("rasa_")) {
        format!(
            "`{file}` has a table `{rasa}` that turnmill did not make, and is left alone: \
             name a new file for the store, and fill it by replaying the events"
        )
    } else if names.iter().any(|name| name == "events") {
        format!(
            "`{file}` seems to be a Rasa tracker store and is left alone: \
             name a new file for the store, and this one as the source to read"
        )
    } else {
        format!(
            "`{file}` is a database of another program (it has `{first}`) and is left alone: name a new \
             file for the store"
        )
    };
    Err(StoreError::Unusable { detail, source: None })
}

pub(crate) fn read_meta(
    store: &SqliteStore,
    connection: &Connection,
) -> Result<BTreeMap<String, String>, StoreError> {
    let fail = |error| store.error(error, "reading the stored settings");
    let mut statement = connection.prepare("SELECT name, value FROM _turnmill_meta").map_err(fail)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    let meta: BTreeMap<String, String> = rows.and_then(Iterator::collect).map_err(fail)?;
    if !meta.contains_key(meta::SCHEMA_VERSION) {
        return Err(StoreError::Damaged { detail: format!("`{}` has no schema version", store.name()) });
    }
    Ok(meta)
}

/// Returns the statements that give an old store the indexes of a new one. In every version
/// references are not checked and ids compare as bytes.
fn rearrange(
    store: &SqliteStore,
    connection: &Connection,
    schema: &Schema,
) -> Result<Vec<String>, StoreError> {
    let fail = |error| store.error(error, "reading its indexes");
    let mut query =
        connection.prepare("SELECT name FROM sqlite_master WHERE type = 'index'").map_err(fail)?;
    let there: BTreeSet<String> =
        query.query_map([], |row| row.get(0)).and_then(Iterator::collect).map_err(fail)?;
    let needless = PUBLISHED.into_iter().filter(|name| there.contains(*name));
    // A later step makes the tables of facts, with their indexes.
    let of_facts = |name: &str| public(name).is_some_and(Table::is_extension);
    let missing = schema.indexes().filter(|index| !of_facts(index.table) && !there.contains(&index.name));
    Ok(needless.map(|name| format!("DROP INDEX {name}")).chain(missing.map(|index| index.create())).collect())
}

/// Applies missing migrations, and compares or stores the settings. The caller holds the lock.
fn migrate(
    store: &SqliteStore,
    connection: &Connection,
    settings: &Settings,
    purpose: Purpose,
) -> Result<(), StoreError> {
    let ours = is_ours(store, connection)?;
    let meta = if ours { read_meta(store, connection)? } else { BTreeMap::new() };
    let version = meta::schema_version(&meta)?;
    let references = if store.foreign_keys { References::Declared } else { References::None };
    let schema = Schema::new(Dialect::Sqlite).references(references);
    let steps = pending(version)?;
    if ours && purpose == Purpose::Fill {
        meta::check(&meta, settings)?;
    }
    let put = |name: &str, value: &str| {
        connection
            .execute(&store.sql.put_meta, [name, value])
            .map_err(|error| store.error(error, "storing the settings"))
    };
    for step in steps {
        let doing = format!("applying migration {} ({})", step.number, step.name);
        let statements = match step.change {
            Change::Create => schema.statements(),
            // A new store has them already.
            Change::Widen
            | Change::Rearrange
            | Change::Sinks
            | Change::Formats
            | Change::Facts
            | Change::Keys
                if !ours =>
            {
                Vec::new()
            }
            Change::Widen => schema.new_columns(),
            Change::Rearrange => rearrange(store, connection, &schema)?,
            Change::Sinks => schema.tables_of_sinks(),
            Change::Formats => schema.for_formats(),
            Change::Facts => schema.tables_of_facts(),
            Change::Keys => schema.copied_by_sender(),
            _ => {
                let detail = format!("bug in turnmill: SQLite has no migration {}", step.number);
                return Err(StoreError::Unusable { detail, source: None });
            }
        };
        for statement in statements {
            connection.execute_batch(&statement).map_err(|error| store.error(error, &doing))?;
        }
        let note = format!(
            "INSERT INTO _turnmill_migrations (number, name, applied_at) VALUES (?1, ?2, {})",
            Dialect::Sqlite.utc_now()
        );
        connection.execute(&note, (step.number, step.name)).map_err(|error| store.error(error, &doing))?;
        put(meta::SCHEMA_VERSION, &step.number.to_string())?;
    }
    if !ours {
        for (name, value) in meta::initial(settings) {
            put(name, &value)?;
        }
    }
    Ok(())
}

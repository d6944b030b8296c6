//! Compares `turnmill-replay` into SQLite with plain inserts, for new, known, and half known
//! events.

use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use crate::measure::{Cost, Failure, Figures, Seconds, run, seconds};
use crate::stream::Shape;

/// The tables that an event's rows go to.
const TABLES: [&str; 13] = [
    "rasa_user",
    "rasa_sender",
    "rasa_session",
    "rasa_turn",
    "rasa_event",
    "rasa_bot_message",
    "rasa_user_message",
    "rasa_action",
    "rasa_slot",
    "rasa_session_slot_state",
    "rasa_dialogue_stack_frame",
    "rasa_llm_command",
    "rasa_flow_status",
];

/// The rows of one table, in the order in which they were inserted, and the statement that inserts
/// one.
struct Rows {
    insert: String,
    rows: Vec<Vec<Value>>,
}

/// Prints the rates of `turnmill-replay` at `replay` for streams of `shape`, of `runs` runs.
pub(crate) fn measure(replay: &Path, shape: &Shape, runs: usize) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    let input = path("events.jsonl");
    write(&input, shape.lines().iter())?;
    // Half of the events are known, mixed with as many new ones.
    let other = Shape { seed: shape.seed + 1, ..shape.clone() };
    let mixed = path("mixed.jsonl");
    let halves = shape.lines().into_iter().step_by(2).zip(other.lines().into_iter().step_by(2));
    write(&mixed, halves.flat_map(|(old, new)| [old, new]).collect::<Vec<_>>().iter())?;

    let events = shape.events as f64;
    let [mut plain, mut plain_cpu, mut again, mut again_cpu, mut half, mut first, mut rate, mut peak] =
        std::array::from_fn(|_| Figures::default());
    let mut rows = Vec::new();
    let mut schema = Vec::new();
    for number in 0..=runs {
        let store = path(&format!("{number}.sqlite"));
        let cost = into(replay, &input, &store, "first")?;
        if rows.is_empty() {
            (schema, rows) = read(&store)?;
        }
        let copy = path("plain.sqlite");
        let inserted = insert(&copy, &schema, &rows)?;
        remove(&copy)?;
        let second = into(replay, &input, &store, "second")?;
        let third = into(replay, &mixed, &store, "third")?;
        remove(&store)?;
        // The first run is a warm-up.
        if number > 0 {
            plain.push(inserted.wall / cost.seconds.wall);
            plain_cpu.push(inserted.cpu / cost.seconds.cpu);
            again.push(cost.seconds.wall / second.seconds.wall);
            again_cpu.push(cost.seconds.cpu / second.seconds.cpu);
            half.push(cost.seconds.wall / third.seconds.wall);
            first.push(cost.seconds.wall);
            rate.push(events / cost.seconds.wall / 1000.0);
            peak.push(cost.peak / 1e6);
        }
    }
    let count: usize = rows.iter().map(|rows| rows.rows.len()).sum();
    println!("{:?}: {} events, {count} rows of public tables", shape.mix, shape.events);
    println!(
        "  rate from the file / rate of plain inserts of the same rows: {plain} wall, {plain_cpu} processors"
    );
    println!("  rate of the second time / first: {again} wall, {again_cpu} processors");
    println!("  rate of half known, half new / first: {half} wall");
    println!("  first time: {first} s, {rate} thousand events a second, {peak} MB at most");
    Ok(())
}

fn write<'l>(path: &Path, lines: impl Iterator<Item = &'l String>) -> Result<(), Failure> {
    use std::io::Write as _;
    let mut out = std::io::BufWriter::new(std::fs::File::create(path)?);
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(out.flush()?)
}

/// Runs the command as a user would.
pub(crate) fn into(replay: &Path, input: &Path, store: &Path, source: &str) -> Result<Cost, Failure> {
    let (input, to) = (input.to_string_lossy(), format!("sqlite:{}", store.display()));
    run(replay, &[&input, "--to", &to, "--source", source, "--quiet"])
}

pub(crate) fn remove(store: &Path) -> Result<(), Failure> {
    for end in ["", "-wal", "-shm"] {
        let mut name = store.as_os_str().to_owned();
        name.push(end);
        let file = PathBuf::from(name);
        if file.exists() {
            std::fs::remove_file(file)?;
        }
    }
    Ok(())
}

/// Returns the statements that create tables and indexes, and the rows.
fn read(store: &Path) -> Result<(Vec<String>, Vec<Rows>), Failure> {
    let db = Connection::open(store)?;
    let mut schema = Vec::new();
    let mut all = Vec::new();
    for table in TABLES {
        let mut made = db
            .prepare("SELECT sql FROM sqlite_schema WHERE tbl_name = ? AND sql IS NOT NULL ORDER BY rowid")?;
        for sql in made.query_map([table], |row| row.get::<_, String>(0))? {
            schema.push(sql?);
        }
        let mut select = db.prepare(&format!("SELECT * FROM {table} ORDER BY rowid"))?;
        let columns = select.column_count();
        let rows = select
            .query_map([], |row| (0..columns).map(|column| row.get(column)).collect())?
            .collect::<Result<Vec<Vec<Value>>, _>>()?;
        let places = vec!["?"; columns].join(", ");
        all.push(Rows { insert: format!("INSERT INTO {table} VALUES ({places})"), rows });
    }
    Ok((schema, all))
}

/// Inserts the rows into a new database: one prepared statement per table, one transaction, and a
/// checkpoint, as the store does it at its end.
fn insert(path: &Path, schema: &[String], all: &[Rows]) -> Result<Seconds, Failure> {
    let mut db = Connection::open(path)?;
    db.execute_batch(
        "PRAGMA journal_mode = wal; PRAGMA synchronous = normal; PRAGMA cache_size = -65536; \
         PRAGMA wal_autocheckpoint = 65536; PRAGMA foreign_keys = off",
    )?;
    for sql in schema {
        db.execute_batch(sql)?;
    }
    let ((), took) = seconds(|| {
        let transaction = db.transaction()?;
        for Rows { insert, rows } in all {
            let mut statement = transaction.prepare(insert)?;
            for row in rows {
                statement.execute(params_from_iter(row))?;
            }
        }
        transaction.commit()?;
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(db.close().map_err(|(_, error)| error)?)
    })?;
    Ok(took)
}

//! Compares Kafka to PostgreSQL with a binary COPY of the resulting rows into tables that have only
//! primary keys.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, TryStreamExt as _, pin_mut};
use turnmill_model::tables::{PUBLIC, Table};
use turnmill_sink_postgres::ForeignKeys;
use turnmill_sql::{Dialect, References, Schema};

use super::fill::{Filled, into_tables, make_schema};
use super::servers::{Keys, Servers, Spent};
use crate::body::Mix;
use crate::measure::{Failure, Figures};
use crate::stream::Shape;

/// Size of a COPY message in bytes.
const MESSAGE: usize = 1 << 18;

/// The rows of one table in PostgreSQL's binary format.
struct Rows {
    copy_in: String,
    bytes: Bytes,
}

/// Returns the documented tables. Facts are made of their rows, so the anchor has none.
fn documented() -> impl Iterator<Item = &'static Table> {
    PUBLIC.into_iter().filter(|table| !table.is_extension())
}

/// Returns all rows of the documented tables of a schema, and their number.
async fn read(servers: &Servers, schema: &str) -> Result<(Vec<Rows>, u64), Failure> {
    let client = servers.connect().await?;
    let mut all = Vec::new();
    let mut count = 0;
    for table in documented() {
        let names: Vec<String> = table.columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
        let (name, columns) = (table.name, names.join(", "));
        let row = client.query_one(&format!("SELECT count(*) FROM {schema}.{name}"), &[]).await?;
        count += u64::try_from(row.try_get::<_, i64>(0)?)?;
        let sql = format!("COPY (SELECT {columns} FROM {schema}.{name}) TO STDOUT (FORMAT binary)");
        let stream = client.copy_out(&sql).await?;
        pin_mut!(stream);
        let mut bytes = Vec::new();
        while let Some(part) = stream.try_next().await? {
            bytes.extend_from_slice(&part);
        }
        let copy_in = format!("COPY {name} ({columns}) FROM STDIN (FORMAT binary)");
        all.push(Rows { copy_in, bytes: bytes.into() });
    }
    Ok((all, count))
}

/// Returns the minimum that a table of the same rows needs: its columns and its primary key.
fn create_tables() -> Result<Vec<String>, Failure> {
    let ddl = Schema::new(Dialect::Postgres).references(References::None);
    let create = |table: &'static Table| {
        let statement = ddl.table(table).into_iter().next().ok_or("a table without DDL")?;
        // COPY needs no free space for updates.
        Ok(statement.split(" WITH (").next().unwrap_or_default().to_owned())
    };
    documented().map(create).collect()
}

/// Copies the rows into the tables of another schema, one COPY per table, in one transaction.
/// Returns the cost, and the bytes of the tables.
fn copy(servers: &Servers, schema: &str, all: &[Rows]) -> Result<(Spent, f64), Failure> {
    let client = servers.runtime.block_on(async {
        let client = servers.connect().await?;
        client.batch_execute(&format!("CREATE SCHEMA {schema}; SET search_path TO {schema}")).await?;
        client.batch_execute(&create_tables()?.join("; ")).await?;
        Ok::<_, Failure>(client)
    })?;
    let work = async {
        client.batch_execute("BEGIN").await?;
        for Rows { copy_in, bytes } in all {
            let sink = client.copy_in::<_, Bytes>(copy_in).await?;
            pin_mut!(sink);
            let mut rest = bytes.clone();
            while !rest.is_empty() {
                sink.feed(rest.split_to(MESSAGE.min(rest.len()))).await?;
            }
            sink.finish().await?;
        }
        Ok(client.batch_execute("COMMIT").await?)
    };
    let ((), spent) = servers.measure(|| servers.runtime.block_on(work))?;
    Ok((spent, servers.stored(schema)?))
}

/// The figures of several runs.
#[derive(Debug, Default)]
struct Ratios {
    wall: Figures,
    processors: Figures,
    server: Figures,
    stored: Figures,
    stored_raw: Figures,
    wal: Figures,
    wal_raw: Figures,
    micros: Figures,
    rate: Figures,
    copied: Figures,
    busy: Figures,
    commits: Figures,
}

/// Prints the ratios of the wanted ways to keep references.
pub(crate) fn measure(
    mixes: &[Mix],
    consumers: &[u32],
    events: u64,
    batch: usize,
    runs: usize,
    only: Option<ForeignKeys>,
) -> Result<(), Failure> {
    let servers = Servers::start()?;
    for (mix, consumers) in mixes.iter().flat_map(|mix| consumers.iter().map(move |number| (mix, *number))) {
        let topic = servers.produce(&Shape::new(*mix, events, 1), consumers, Keys::Sender)?;
        let raw = topic.bytes as f64;
        for keys in only.map_or_else(|| vec![ForeignKeys::Auto, ForeignKeys::Declared], |keys| vec![keys]) {
            let mut ratios = Ratios::default();
            let mut count = 0;
            for run in 0..=runs {
                let (schema, plain) = (format!("ours_{run}"), format!("plain_{run}"));
                let place = make_schema(&servers, &schema, keys)?;
                let fill = || into_tables(&servers, &topic, &place, consumers as usize, batch);
                let (filled, ours) = servers.measure(fill)?;
                let stored = servers.stored(&schema)?;
                let took = Filled::seconds(&filled);
                let (rows, number) = servers.runtime.block_on(read(&servers, &schema))?;
                servers.drop_schema(&schema);
                let (theirs, plainly) = copy(&servers, &plain, &rows)?;
                servers.drop_schema(&plain);
                count = number;
                // The first run is a warm-up.
                if run > 0 {
                    ratios.wall.push(theirs.seconds.wall / took);
                    ratios.processors.push(theirs.seconds.cpu / ours.seconds.cpu);
                    ratios.server.push(ours.server / theirs.server);
                    ratios.stored.push(stored / plainly);
                    ratios.stored_raw.push(stored / raw);
                    ratios.wal.push(ours.wal / theirs.wal);
                    ratios.wal_raw.push(ours.wal / raw);
                    ratios.micros.push(ours.server * 1e6 / events as f64);
                    ratios.rate.push(number as f64 / took / 1000.0);
                    ratios.copied.push(number as f64 / theirs.seconds.wall / 1000.0);
                    let share = |of: fn(&Filled) -> Duration| {
                        filled.iter().map(of).sum::<Duration>().as_secs_f64() / filled.len() as f64 / took
                    };
                    ratios.busy.push(share(|filled| filled.busy));
                    ratios.commits.push(share(|filled| filled.commits));
                }
            }
            println!(
                "{mix:?}, {events} events of {:.0} bytes, {count} public rows, batches of {batch}, foreign keys {keys:?}, \
                 {consumers} consumers; COPY is of the documented rows into tables with primary keys only",
                raw / events as f64
            );
            let Ratios { server, stored, stored_raw, wal, wal_raw, micros, .. } = &ratios;
            println!("  PostgreSQL's processors, ours / COPY: {server}; {micros} us an event");
            println!("  bytes stored / raw bytes of the events: {stored_raw}; / COPY: {stored}");
            println!("  WAL / raw bytes of the events: {wal_raw}; / COPY: {wal}");
            let Ratios { wall, processors, rate, copied, busy, commits, .. } = &ratios;
            println!("  rate from Kafka / rate of COPY: {wall} wall, {processors} processors of all");
            println!("  {rate} and {copied} thousand rows a second");
            println!("  of our time: transactions {busy}, waiting for commits {commits}");
        }
    }
    Ok(())
}

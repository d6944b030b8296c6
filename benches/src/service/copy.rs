//! Compares Kafka to PostgreSQL with a binary COPY of the resulting rows.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, TryStreamExt as _, pin_mut};
use turnmill_model::tables::PUBLIC;
use turnmill_sink_postgres::ForeignKeys;
use turnmill_sql::{Dialect, References, Schema};

use super::fill::{BATCH, Filled, into_schema};
use super::servers::{Keys, Servers};
use crate::body::Mix;
use crate::measure::{Failure, Figures, Seconds};
use crate::stream::Shape;

/// Size of a COPY message in bytes.
const MESSAGE: usize = 1 << 18;

/// The rows of one table in PostgreSQL's binary format.
struct Rows {
    copy_in: String,
    bytes: Bytes,
}

/// Returns all rows of the public tables of a schema, and their number.
async fn read(servers: &Servers, schema: &str) -> Result<(Vec<Rows>, u64), Failure> {
    let client = servers.connect().await?;
    let mut all = Vec::new();
    let mut count = 0;
    for table in PUBLIC {
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

/// Copies the rows into the empty tables of another schema, one COPY per table, in one transaction.
fn copy(servers: &Servers, schema: &str, keys: ForeignKeys, all: &[Rows]) -> Result<Seconds, Failure> {
    let references = if keys == ForeignKeys::Declared { References::Checked } else { References::None };
    let ddl = Schema::new(Dialect::Postgres).references(references);
    let client = servers.runtime.block_on(async {
        let client = servers.connect().await?;
        client.batch_execute(&format!("CREATE SCHEMA {schema}; SET search_path TO {schema}")).await?;
        for table in PUBLIC {
            client.batch_execute(&ddl.table(table).join("; ")).await?;
        }
        Ok::<_, Failure>(client)
    })?;
    servers.settle();
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
    Ok(servers.measure(|| servers.runtime.block_on(work))?.1)
}

/// Prints the ratios without and with foreign keys.
pub(crate) fn measure(
    mixes: &[Mix],
    consumers: &[u32],
    events: u64,
    runs: usize,
    only: Option<bool>,
) -> Result<(), Failure> {
    let servers = Servers::start()?;
    for (mix, consumers) in mixes.iter().flat_map(|mix| consumers.iter().map(move |number| (mix, *number))) {
        let topic = servers.produce(&Shape::new(*mix, events, 1), consumers, Keys::Sender)?;
        for (keys, declared) in [(ForeignKeys::None, false), (ForeignKeys::Declared, true)] {
            if only.is_some_and(|only| only != declared) {
                continue;
            }
            let [mut wall, mut cpu, mut rate, mut copied, mut commits, mut busy] =
                std::array::from_fn(|_| Figures::default());
            let mut count = 0;
            for run in 0..=runs {
                let (schema, plain) = (format!("ours_{run}"), format!("plain_{run}"));
                let fill = || into_schema(&servers, &topic, &schema, keys, consumers as usize, BATCH);
                let (filled, ours) = servers.measure(fill)?;
                let took = Filled::seconds(&filled);
                let (rows, number) = servers.runtime.block_on(read(&servers, &schema))?;
                servers.drop_schema(&schema);
                let theirs = copy(&servers, &plain, keys, &rows)?;
                servers.drop_schema(&plain);
                count = number;
                // The first run is a warm-up.
                if run > 0 {
                    wall.push(theirs.wall / took);
                    cpu.push(theirs.cpu / ours.cpu);
                    rate.push(number as f64 / took / 1000.0);
                    copied.push(number as f64 / theirs.wall / 1000.0);
                    let share = |of: fn(&Filled) -> Duration| {
                        filled.iter().map(of).sum::<Duration>().as_secs_f64() / filled.len() as f64 / took
                    };
                    busy.push(share(|filled| filled.busy));
                    commits.push(share(|filled| filled.commits));
                }
            }
            println!(
                "{mix:?}, {events} events, {count} public rows, batches of {BATCH}, foreign keys {keys:?}, {consumers} consumers"
            );
            println!(
                "  rate from Kafka / rate of binary COPY of the same rows: {wall} wall, {cpu} processors"
            );
            println!("  {rate} and {copied} thousand rows a second");
            println!("  of our time: transactions {busy}, waiting for commits {commits}");
        }
    }
    Ok(())
}

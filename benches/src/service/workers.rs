//! One worker on a keyed topic, one and three on an unkeyed one: rates, fences, and the same rows.

use turnmill_model::Settings;
use turnmill_sink::digest::Digests;
use turnmill_sink::{Inspect as _, Store as _};
use turnmill_sink_postgres::{ForeignKeys, PostgresStore};

use super::fill::{Filled, into_schema};
use super::servers::{Keys, Servers, Topic};
use crate::body::Mix;
use crate::measure::{Failure, Figures};
use crate::stream::Shape;

const PARTITIONS: u32 = 3;

/// Fills a schema with several consumers. Returns the statistics of each, and the digests of the
/// rows.
fn fill(
    servers: &Servers,
    topic: &Topic,
    schema: &str,
    workers: usize,
    batch: usize,
) -> Result<(Vec<Filled>, Digests), Failure> {
    let filled = into_schema(servers, topic, schema, ForeignKeys::None, workers, batch)?;
    let mut store = PostgresStore::new(servers.store(schema, ForeignKeys::None)?);
    let digests = servers.runtime.block_on(async {
        store.open(&Settings::default()).await?;
        store.digests().await
    })?;
    drop(store);
    servers.drop_schema(schema);
    Ok((filled, digests))
}

/// Prints the rates and their ratios. Fails if the rows differ.
pub(crate) fn measure(mix: Mix, events: u64, batch: usize, runs: usize) -> Result<(), Failure> {
    let servers = Servers::start()?;
    let shape = Shape::new(mix, events, 1);
    let keyed = servers.produce(&shape, PARTITIONS, Keys::Sender)?;
    let unkeyed = servers.produce(&shape, PARTITIONS, Keys::None)?;
    let ways =
        [("keyed, one worker", &keyed, 1), ("unkeyed, one", &unkeyed, 1), ("unkeyed, three", &unkeyed, 3)];
    let mut rates: [Figures; 3] = std::array::from_fn(|_| Figures::default());
    let mut ratios: [Figures; 3] = std::array::from_fn(|_| Figures::default());
    let mut last: [Vec<Filled>; 3] = std::array::from_fn(|_| Vec::new());
    let mut longest = [0; 3];
    for run in 0..=runs {
        let mut first: Option<(f64, Digests)> = None;
        for (way, (name, topic, workers)) in ways.iter().enumerate() {
            let (filled, digests) = fill(&servers, topic, &format!("workers_{run}_{way}"), *workers, batch)?;
            let took = Filled::seconds(&filled);
            let (keyed_took, same) = first.get_or_insert_with(|| (took, digests.clone()));
            if *same != digests {
                let differ = |table: &&&str| same.tables.get(*table) != digests.tables.get(*table);
                let tables: Vec<&&str> = digests.tables.keys().filter(differ).collect();
                return Err(
                    format!("{name}: rows differ from those of the keyed topic, in {tables:?}").into()
                );
            }
            longest[way] = filled.iter().map(|filled| filled.longest).max().unwrap_or(0).max(longest[way]);
            // The first run is a warm-up.
            if run > 0 {
                rates[way].push(events as f64 / took / 1000.0);
                ratios[way].push(*keyed_took / took);
            }
            last[way] = filled;
        }
    }
    println!(
        "{mix:?}, {events} events, {PARTITIONS} partitions, batches of {batch}, the same rows each time"
    );
    for (way, (name, ..)) in ways.iter().enumerate() {
        let sum = |count: fn(&Filled) -> u64| last[way].iter().map(count).sum::<u64>();
        println!(
            "  {name}: {} of keyed with one; {} thousand events a second; longest fenced streak {}",
            ratios[way], rates[way], longest[way]
        );
        println!(
            "    last run: {} batches, {} fenced, {} events late, {} stretches replayed",
            sum(|filled| filled.batches),
            sum(|filled| filled.fences),
            sum(|filled| filled.late),
            sum(|filled| filled.replays)
        );
    }
    Ok(())
}

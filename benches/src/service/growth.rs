//! Compares the rate into a large store with the rate into a small one.

use turnmill_sink_postgres::ForeignKeys;

use super::fill::{BATCH, Filled, into_schema};
use super::servers::{Keys, Servers};
use crate::body::Mix;
use crate::measure::{Failure, Figures};
use crate::stream::Shape;

const MILLION: u64 = 1_000_000;

/// A store that grows by one stream at a time.
struct Growing<'s> {
    servers: &'s Servers,
    schema: &'static str,
    events: u64,
    day: u32,
    senders: u32,
}

impl Growing<'_> {
    /// Loads the next `events` events, and returns the seconds. Half of the senders are those of
    /// the previous stream.
    fn more(&mut self, mix: Mix, events: u64) -> Result<f64, Failure> {
        let mut shape = Shape::new(mix, events, self.events);
        (shape.day, shape.first) = (self.day, self.senders);
        self.senders += shape.senders.div_ceil(2);
        self.day += 40;
        self.events += events;
        let topic = self.servers.produce(&shape, 1, Keys::Sender)?;
        self.servers.settle();
        let filled = into_schema(self.servers, &topic, self.schema, ForeignKeys::None, 1, BATCH)?;
        self.servers.broker.delete_topic(&topic.name);
        Ok(Filled::seconds(&filled))
    }

    fn grow_to(&mut self, mix: Mix, events: u64) -> Result<(), Failure> {
        while self.events < events {
            self.more(mix, MILLION.min(events - self.events))?;
        }
        // Restores the state of a server that has been running for some time.
        self.servers.sql("VACUUM ANALYZE");
        Ok(())
    }
}

/// Prints the rate of `events` more events at each of the sizes, in millions, as a ratio of that at
/// one million; `settings` are PostgreSQL's.
pub(crate) fn measure(
    mix: Mix,
    millions: &[u64],
    events: u64,
    runs: usize,
    settings: &[String],
) -> Result<(), Failure> {
    let servers = Servers::with(settings)?;
    let store = |schema| Growing { servers: &servers, schema, events: 0, day: 0, senders: 0 };
    let (mut small, mut large) = (store("small"), store("large"));
    small.grow_to(mix, MILLION)?;
    println!(
        "{mix:?}: rate of {events} events more, batches of {BATCH}, foreign keys off, PostgreSQL with {settings:?}"
    );
    for size in millions {
        large.grow_to(mix, size * MILLION)?;
        let [mut ratio, mut rate] = std::array::from_fn(|_| Figures::default());
        for run in 0..=runs {
            let at_million = small.more(mix, events)?;
            let at_size = large.more(mix, events)?;
            if run > 0 {
                ratio.push(at_million / at_size);
                rate.push(events as f64 / at_size / 1000.0);
            }
        }
        let bytes = servers.sql(
            "SELECT pg_size_pretty(sum(pg_total_relation_size(oid))) FROM pg_class \
             WHERE relkind = 'r' AND relnamespace = 'large'::regnamespace",
        );
        println!(
            "  with {size} million stored / with one ({:.1} by the last run): {ratio}; {rate} thousand events a second; {}",
            small.events as f64 / MILLION as f64,
            bytes.join("")
        );
    }
    Ok(())
}

//! Reads events from a source of your own: an iterator of numbered bodies, with a position to
//! continue from.
//!
//! ```text
//! cargo run -p turnmill-examples --bin own_source
//! ```
//!
//! The loader asks for one batch after the other, and commits the position with the rows. Started
//! again, it opens the source at the stored position. For records without positions,
//! `Loader::load_records` is simpler.

#![allow(clippy::print_stdout, reason = "it is a program that prints")]

use turnmill_embed::{
    BatchLimits, Loader, MemoryStore, NewRecord, PartitionId, Position, Progress, RecordBatch, Source,
    SourceError,
};

/// An append-only log that numbers its bodies from 1, such as a table with a serial id.
fn log(after: u64, newest: u64) -> impl Iterator<Item = (u64, String)> + Send {
    (after + 1..=newest).map(|id| {
        let kind = if id % 2 == 1 { "user" } else { "bot" };
        let time = 1_700_000_000.5 + id as f64;
        (id, format!(r#"{{"sender_id": "ada", "event": "{kind}", "timestamp": {time}, "text": "{id}"}}"#))
    })
}

struct Log<I> {
    partition: PartitionId,
    bodies: I,
    /// Where the next batch starts.
    position: Option<Position>,
}

impl<I: Iterator<Item = (u64, String)> + Send> Source for Log<I> {
    fn partition(&self) -> &PartitionId {
        &self.partition
    }

    fn next_batch(&mut self, limits: &BatchLimits, out: &mut RecordBatch) -> Result<Progress, SourceError> {
        out.start(&self.partition, self.position.as_ref());
        let mut progress = Progress::More;
        while out.len() < limits.records {
            let Some((id, body)) = self.bodies.next() else {
                progress = Progress::End;
                break;
            };
            out.push(&NewRecord { payload: Some(body.as_bytes()), offset: id, ..NewRecord::default() });
            self.position = Some(Position::at(id));
        }
        // Committed together with the rows of the records above.
        out.finish(self.position.clone());
        Ok(progress)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let partition = PartitionId::new("my-log", "0");
    let mut loader = Loader::new(MemoryStore::default());
    for newest in [10, 10, 16] {
        let loaded = loader.load(Some(&partition), &mut |stored| {
            let after = stored.map_or(0, |position| position.offset);
            println!("open after {after}");
            let (partition, position) = (partition.clone(), stored.cloned());
            Ok(Box::new(Log { partition, bodies: log(after, newest), position }))
        })?;
        println!("  {} records, {} new events", loaded.report.counts.records, loaded.report.counts.events);
    }
    println!("{} turns", loader.store().rows("rasa_turn").len());
    Ok(())
}

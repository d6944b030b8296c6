//! Late events: after an event dated far ahead, and in an old session of a long history. Runs in
//! this process, on both stores.

use std::time::Instant;

use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::testkit::NoLetters;
use turnmill_ingest::{Accounting, Arrivals, Ingest, Report, RowRules};
use turnmill_model::{Record, Settings};
use turnmill_sink::{MemoryStore, Store};
use turnmill_sink_sqlite::SqliteStore;

use crate::body::Mix;
use crate::measure::{Failure, Figures};
use crate::stream::{Shape, life};

/// A store with its ingestion.
struct Filler<S> {
    store: S,
    ingest: Ingest,
}

impl<S: Store> Filler<S> {
    fn new(mut store: S, rules: &RowRules) -> Result<Self, Failure> {
        let ingest = Ingest::new(rules, 256 << 20);
        pollster::block_on(ingest.open(&mut store))?;
        Ok(Self { store, ingest })
    }

    /// Ingests one batch.
    fn batch(&mut self, lines: &[String]) -> Result<Report, Failure> {
        let mut arrivals = Arrivals::default();
        for line in lines {
            arrivals.push(self.ingest.decoders(), Record { payload: line.as_bytes(), ..Record::default() });
        }
        let accounting = Accounting::Source("bench");
        let done = self.ingest.ingest(&mut self.store, &arrivals, &[], &accounting, &NoLetters);
        let report = pollster::block_on(done)?;
        if report.counts.dead_letters > 0 {
            return Err(format!("dead letters: {:?}", report.counts).into());
        }
        Ok(report)
    }

    /// Ingests all lines in batches of `batch`. Returns the time, and the number of late events.
    fn all(&mut self, lines: &[String], batch: usize) -> Result<(f64, u64), Failure> {
        let start = Instant::now();
        let mut late = 0;
        for lines in lines.chunks(batch) {
            late += self.batch(lines)?.late;
        }
        Ok((start.elapsed().as_secs_f64(), late))
    }
}

/// Prints the rate of streams in which the first event of every sender makes all its later ones
/// late, divided by the rate of the same streams without such events.
pub(crate) fn ahead(runs: usize) -> Result<(), Failure> {
    println!(
        "rate with an event dated ahead in every sender / rate without (median and range of {runs} runs)"
    );
    println!("{:>8} {:>7} {:>13}   memory store, SQLite", "senders", "batch", "events/sender");
    for (senders, batch) in
        [(50, 10_000), (1_000, 10_000), (5_000, 10_000), (1_000, 1_000), (50, 50), (50, 5)]
    {
        let plain = Shape { senders, days: 0.3, sessions: u32::MAX, ..Shape::new(Mix::Capture, 60_000, 7) };
        let shapes = [plain.clone(), Shape { ahead: true, ..plain }];
        let lines = shapes.map(|shape| shape.lines());
        let [mut memory, mut sqlite] = [Figures::default(), Figures::default()];
        let mut share = 0.0;
        for _ in 0..runs {
            let (before, _) = on_memory(&lines[0], batch)?;
            let (with, late) = on_memory(&lines[1], batch)?;
            memory.push(before / with);
            share = late as f64 / lines[1].len() as f64;
            sqlite.push(on_sqlite(&lines[0], batch)? / on_sqlite(&lines[1], batch)?);
        }
        let each = per_sender(&lines[0], batch);
        println!("{senders:>8} {batch:>7} {each:>13.1}   {memory}, {sqlite}; {:.0} % late", share * 100.0);
    }
    Ok(())
}

/// Events of one sender in a batch, on average.
fn per_sender(lines: &[String], batch: usize) -> f64 {
    let sender = |line: &String| line.split("\", \"event\"").next().unwrap_or_default().to_owned();
    let of_batch =
        |lines: &[String]| lines.iter().map(sender).collect::<std::collections::HashSet<_>>().len();
    lines.len() as f64 / lines.chunks(batch).map(of_batch).sum::<usize>() as f64
}

fn on_memory(lines: &[String], batch: usize) -> Result<(f64, u64), Failure> {
    let rules = RowRules::new(&Settings::default(), RasaDecoder::new);
    Filler::new(MemoryStore::default(), &rules)?.all(lines, batch)
}

fn on_sqlite(lines: &[String], batch: usize) -> Result<f64, Failure> {
    let folder = tempfile::tempdir()?;
    let rules = RowRules::new(&Settings::default(), RasaDecoder::new);
    let mut filler = Filler::new(SqliteStore::file(folder.path().join("store.sqlite")), &rules)?;
    Ok(filler.all(lines, batch)?.0)
}

/// Prints the cost of one late event in an old session of a history of `events` events.
pub(crate) fn old_session(events: usize, runs: usize) -> Result<(), Failure> {
    let lines = life(Mix::Capture, events, 3);
    for batch in [events.div_ceil(10), 5_000, 20] {
        let folder = tempfile::tempdir()?;
        let file = |name: &str| SqliteStore::file(folder.path().join(name));
        println!("a life of {events} events that came in batches of {batch}:");
        one_late("memory store", MemoryStore::default(), MemoryStore::default(), &lines, batch, runs)?;
        one_late("SQLite", file("a.sqlite"), file("b.sqlite"), &lines, batch, runs)?;
    }
    Ok(())
}

fn one_late<S: Store>(
    name: &str,
    store: S,
    other: S,
    lines: &[String],
    batch: usize,
    runs: usize,
) -> Result<(), Failure> {
    let settings = Settings::default();
    let rules = RowRules::new(&settings, RasaDecoder::new);
    let mut filler = Filler::new(store, &rules)?;
    let (life, _) = filler.all(lines, batch)?;
    // Without checkpoints, the whole history is replayed.
    let mut whole = Filler::new(other, &rules.clone().with_checkpoint_every(u16::MAX))?;
    whole.all(lines, batch)?;
    let [mut against_life, mut against_replay, mut took] = std::array::from_fn(|_| Figures::default());
    for run in 0..runs {
        let cost = |filler: &mut Filler<S>, place: usize| {
            let late = lines.get(place).map(|line| after(line)).ok_or("too short a life")?;
            let start = Instant::now();
            let report = filler.batch(&[late])?;
            let seconds = start.elapsed().as_secs_f64();
            if (report.late, report.counts.events) == (1, 1) {
                Ok(seconds)
            } else {
                Err::<f64, Failure>(format!("{report:?}").into())
            }
        };
        let place = lines.len() / 4 + lines.len() / 2 * run / runs;
        let session = cost(&mut filler, place)?;
        against_life.push(life / session);
        // From the first event to the last checkpoint.
        against_replay.push(cost(&mut whole, lines.len() / 50 + run)? / session);
        took.push(session * 1e3);
    }
    println!(
        "  {name}: a whole replay / one late event {against_replay}; the whole life / one late event {against_life}; {took} ms"
    );
    Ok(())
}

/// Returns an event one microsecond after that of `line`.
fn after(line: &str) -> String {
    let time = line.split("\"timestamp\": ").nth(1).and_then(|rest| rest.split(',').next());
    let time = time.and_then(|time| time.parse::<f64>().ok()).unwrap_or_default() + 0.000_001;
    let sender = line.split("\", \"event\"").next().unwrap_or_default();
    format!(
        "{sender}\", \"event\": \"agent\", \"timestamp\": {time}, \"metadata\": {{}}, \"text\": \"late\"}}"
    )
}

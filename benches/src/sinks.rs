//! A store in PostgreSQL with a sink, against the same store without.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::RowRules;
use turnmill_model::Settings;
use turnmill_pipeline::{Event, OutboxRunner, Pipeline, Stop};
use turnmill_sink::Store as _;
use turnmill_sink::outbox::{ChangeBatch, Outbox as _, SinkSpec, SinkStart};
use turnmill_sink_postgres::{PostgresSettings, PostgresStore};
use turnmill_source::{BatchLimits, Container, FileOptions, FileSource, Position, Source};
use turnmill_testbed::postgres;

use crate::measure::{Failure, Figures, Seconds, process_cpu, seconds};
use crate::stream::Shape;

/// Events of a batch, as the service has them under backlog.
const BATCH: usize = 5_000;

/// What runs in addition to the store.
#[derive(Clone, Copy, PartialEq)]
enum Beside {
    Nothing,
    /// A sink without a runner: the cost for the writer.
    Sink,
    /// A sink with a runner in the same process: the total cost.
    Fed,
}

fn spec() -> SinkSpec {
    SinkSpec { start: SinkStart::Now, max_bytes: None, ..SinkSpec::new("bench") }
}

/// Fills a new schema from a file. Returns the processor time of this process and PostgreSQL, and
/// the bytes of the outbox.
fn fill(
    input: &Path,
    server: &postgres::Server,
    runtime: &Runtime,
    beside: Beside,
) -> Result<(Seconds, f64), Failure> {
    let settings = Settings::default();
    server.psql(
        "postgres",
        "SET client_min_messages = warning; DROP SCHEMA IF EXISTS bench CASCADE; CHECKPOINT",
    );
    let place = server.url().parse::<PostgresSettings>()?.with_schema("bench");
    let mut store = PostgresStore::new(place.clone());
    runtime.block_on(store.open(&settings))?;
    if beside != Beside::Nothing {
        runtime.block_on(store.put_sink(&spec()))?;
    }
    let rules = RowRules::new(&settings, RasaDecoder::new);
    let mut pipeline = Pipeline::new(store, &rules, Stop::default())
        .with_cache_bytes(256 << 20)
        .with_limits(BatchLimits { records: BATCH, ..BatchLimits::default() });
    let mut open = |position: Option<&Position>| {
        let options = FileOptions { container: Some(Container::Rasa), ..FileOptions::default() };
        FileSource::open(input, options, position).map(|source| Box::new(source) as Box<dyn Source>)
    };
    let stop = Stop::default();
    let pid = server.pid().ok_or("PostgreSQL has ended")?;
    let before = process_cpu(pid)?;
    let (counts, own) = seconds(|| {
        std::thread::scope(|scope| {
            if beside == Beside::Fed {
                let feed = OutboxRunner::new(
                    PostgresStore::new(place.clone()),
                    &settings,
                    spec(),
                    |_: &ChangeBatch| Ok(()),
                    stop.clone(),
                );
                let mut feed = feed.with_poll(Duration::from_millis(100));
                scope.spawn(move || runtime.block_on(feed.run(&mut |_| {})));
            }
            let drained = runtime.block_on(pipeline.drain(None, &mut open, &mut |_: &Event<'_>| {}));
            stop.set();
            drained.map(|drained| drained.report.counts).map_err(Failure::from)
        })
    })?;
    if counts.events == 0 || counts.dead_letters > 0 {
        return Err(format!("not all became events: {counts:?}").into());
    }
    let took = Seconds { wall: own.wall, cpu: own.cpu + process_cpu(pid)? - before };
    let bytes = server.psql("postgres", "SELECT coalesce(sum(bytes), 0) FROM bench._turnmill_outbox_head");
    Ok((took, bytes.trim().parse::<f64>()? / counts.events as f64))
}

/// Prints the costs with a sink by those without, for a stream of `shape`, of `runs` runs.
pub(crate) fn measure(shape: &Shape, runs: usize) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let input = folder.path().join("events.jsonl");
    let mut out = BufWriter::new(File::create(&input)?);
    shape.write(&mut out)?;
    out.flush()?;
    let server = postgres::Server::start(&postgres::Options { durable: true, ..Default::default() })?;
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let [mut sink_wall, mut sink_cpu, mut fed_wall, mut fed_cpu, mut bytes, mut rate] =
        std::array::from_fn(|_| Figures::default());
    for run in 0..=runs {
        let (plain, none) = fill(&input, &server, &runtime, Beside::Nothing)?;
        let (sink, size) = fill(&input, &server, &runtime, Beside::Sink)?;
        let (fed, _) = fill(&input, &server, &runtime, Beside::Fed)?;
        if none > 0.0 || size == 0.0 {
            return Err(format!("the outbox has {none} bytes without a sink, {size} with one").into());
        }
        // The first is for warming up.
        if run > 0 {
            sink_wall.push(sink.wall / plain.wall);
            sink_cpu.push(sink.cpu / plain.cpu);
            fed_wall.push(fed.wall / plain.wall);
            fed_cpu.push(fed.cpu / plain.cpu);
            bytes.push(size);
            rate.push(shape.events as f64 / plain.wall / 1000.0);
        }
    }
    println!("{} events, {runs} runs; time with a sink / without", shape.events);
    println!("  entries written, sink not fed: {sink_wall} wall, {sink_cpu} processors");
    println!("  and fed by the same process:   {fed_wall} wall, {fed_cpu} processors");
    println!("  bytes of the outbox an event:  {bytes}");
    println!("  without a sink, thousand events a second: {rate}");
    Ok(())
}

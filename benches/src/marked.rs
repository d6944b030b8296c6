//! Compares the pipeline with and without markers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use turnmill_engine::Engine;
use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::RowRules;
use turnmill_markers::{FileFormat, MarkerSet, SourceFile};
use turnmill_model::{Micros, Settings};
use turnmill_pipeline::{Event, PatternEvent, PatternTools, Pipeline, Stop};
use turnmill_sink::{PatternSet, Store as _};
use turnmill_sink_sqlite::SqliteStore;
use turnmill_source::{Container, FileOptions, FileSource, Position, Source};

use crate::engine::{self, Found, InMemory, Rule};
use crate::measure::{Failure, Figures, Seconds, seconds};
use crate::stream::Shape;

/// The markers.
const MARKERS: &str = include_str!("../markers.yml");

/// Repetitions per measurement, because a single one is too short for the processor clock.
const TIMES: usize = 5;

/// Time of the upload, which has no effect in a store without events.
const UPLOAD: Micros = Micros(0);

/// Rates with markers divided by rates without.
#[derive(Default)]
struct Ratios {
    wall: Figures,
    cpu: Figures,
}

impl Ratios {
    fn push(&mut self, without: Seconds, with: Seconds) {
        self.wall.push(without.wall / with.wall);
        self.cpu.push(without.cpu / with.cpu);
    }
}

impl std::fmt::Display for Ratios {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} wall, {} processors", self.wall, self.cpu)
    }
}

fn markers() -> Result<MarkerSet, Failure> {
    let source =
        SourceFile { name: "markers.yml".into(), bytes: MARKERS.as_bytes().into(), format: FileFormat::Yaml };
    let parsed = MarkerSet::parse(&[source]);
    Ok(parsed.map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?.0)
}

/// Fills a new store from a file, as `turnmill-replay` does, with markers uploaded before the first
/// event, if any.
fn fill(input: &Path, store: &Path, markers: Option<&MarkerSet>) -> Result<Seconds, Failure> {
    let settings = Settings::default();
    let mut store = SqliteStore::file(store);
    pollster::block_on(store.open(&settings))?;
    if let Some(markers) = markers {
        let mut tell = |_: PatternEvent<'_>| ();
        let mut tools = PatternTools::new(&mut store, Stop::default(), &mut tell);
        pollster::block_on(tools.upload(markers, UPLOAD))?;
    }
    let rules = RowRules::new(&settings, RasaDecoder::new);
    let mut pipeline = Pipeline::new(store, &rules, Stop::default()).with_cache_bytes(256 << 20);
    let mut open = |position: Option<&Position>| {
        let options = FileOptions { container: Some(Container::Rasa), ..FileOptions::default() };
        FileSource::open(input, options, position).map(|source| Box::new(source) as Box<dyn Source>)
    };
    let (counts, took) = seconds(|| {
        let drained = pollster::block_on(pipeline.drain(None, &mut open, &mut |_: &Event<'_>| {}))?;
        pipeline.into_store().finish()?;
        Ok(drained.report.counts)
    })?;
    if counts.events == 0 || counts.dead_letters > 0 {
        return Err(format!("not all became events: {counts:?}").into());
    }
    Ok(took)
}

/// Number of rows per marker.
fn rows(store: &Path) -> Result<BTreeMap<String, u64>, Failure> {
    let db = Connection::open(store)?;
    let mut counted = db.prepare(
        "SELECT name, (SELECT count(*) FROM rasa_markers WHERE pattern_id = rasa_patterns.id) FROM rasa_patterns",
    )?;
    let rows = counted.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Seconds that some work took, in several runs.
fn several(mut work: impl FnMut() -> Result<Found, Failure>) -> Result<(Found, Seconds), Failure> {
    seconds(|| {
        let mut found = Found::default();
        for _ in 0..TIMES {
            found = work()?;
        }
        Ok(found)
    })
}

/// Prints the rates with markers divided by those without, for a stream of `shape` and `runs` runs.
pub(crate) fn measure(shape: &Shape, runs: usize) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let input = folder.path().join("events.jsonl");
    let mut out = BufWriter::new(File::create(&input)?);
    shape.write(&mut out)?;
    out.flush()?;
    let markers = markers()?;
    let patterns = PatternSet::default().upload(&markers, UPLOAD, false).ok_or("there are no markers")?;
    let without = Engine::new(&Settings::default());
    let with = without.clone().with_patterns(Arc::new(patterns.compile()?));

    let [mut pipeline, mut decoded, mut alone] = std::array::from_fn(|_| Ratios::default());
    let [mut rate, mut nanos, mut added] = std::array::from_fn(|_| Figures::default());
    let mut of_markers = BTreeMap::new();
    for run in 0..=runs {
        let store = |name: &str| folder.path().join(format!("{name}-{run}.sqlite"));
        let (one, other) = (store("without"), store("with"));
        let plain = fill(&input, &one, None)?;
        crate::sqlite::remove(&one)?;
        let marked = fill(&input, &other, Some(&markers))?;
        of_markers = rows(&other)?;
        crate::sqlite::remove(&other)?;
        // The first run is a warm-up.
        if run > 0 {
            pipeline.push(plain, marked);
            rate.push(shape.events as f64 / marked.wall / 1000.0);
        }
    }
    let bytes = std::fs::read(&input)?;
    let in_memory = InMemory::decode(&bytes, Rule::Rasa);
    for run in 0..=runs {
        let read = |engine: &Engine| several(|| engine::sessions(&input, engine, Rule::Rasa, 2));
        let (plain, marked) = (read(&without)?, read(&with)?);
        let apply = |engine: &Engine| several(|| Ok(in_memory.apply(engine)));
        let (plain_alone, marked_alone) = (apply(&without)?, apply(&with)?);
        for (plain, marked) in [(plain.0, marked.0), (plain_alone.0, marked_alone.0)] {
            if marked.markers == 0 || marked.changes - marked.markers != plain.changes || marked.refused > 0 {
                return Err(format!("markers must add rows and no others: {marked:?}, {plain:?}").into());
            }
        }
        if run > 0 {
            decoded.push(plain.1, marked.1);
            alone.push(plain_alone.1, marked_alone.1);
            let each = |seconds: Seconds| seconds.cpu * 1e9 / (shape.events as f64 * TIMES as f64);
            nanos.push(each(plain_alone.1));
            added.push(each(marked_alone.1) - each(plain_alone.1));
        }
    }

    let all: u64 = of_markers.values().sum();
    let by_rows = |(_, rows): &(&String, &u64)| **rows;
    let ends = [of_markers.iter().min_by_key(by_rows), of_markers.iter().max_by_key(by_rows)];
    let [Some((least, few)), Some((most, many))] = ends else { return Err("no markers are stored".into()) };
    if *few == 0 {
        return Err(format!("the marker `{least}` never applies").into());
    }
    println!(
        "{:?}, {} events, {} markers: {all} rows of markers, {:.2} an event, from {few} of `{least}` to {many} of `{most}`",
        shape.mix,
        shape.events,
        of_markers.len(),
        all as f64 / shape.events as f64
    );
    println!("  rate with markers / without, file to SQLite: {pipeline}; {rate} thousand events a second");
    println!("  the same, decoder and engine without a store, two threads: {decoded}");
    println!(
        "  the same, engine alone, one thread: {alone}; to {nanos} ns an event the markers add {added}, their rows included"
    );
    Ok(())
}

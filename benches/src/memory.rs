//! Memory: of an open session, and of `turnmill-replay` with many senders.

use std::collections::HashMap;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use turnmill_engine::{Engine, Timeline};
use turnmill_formats::rasa::RasaDecoder;
use turnmill_model::{Changes, Decoder, Event, Record, SenderId, Settings};

use crate::body::Mix;
use crate::measure::{Failure, resident};
use crate::sqlite::{into, remove};
use crate::stream::Shape;

/// Prints the bytes of a timeline with an open session, beyond its strings.
pub(crate) fn timelines(senders: u32) -> Result<(), Failure> {
    let settings = Settings::default();
    let (decoder, engine) = (RasaDecoder::new(&settings), Engine::new(&settings));
    let mut timelines: HashMap<SenderId, Timeline> = HashMap::new();
    let mut changes = Changes::default();
    let mut strings = 0;
    let shape = Shape { senders, days: 0.01, ..Shape::new(Mix::Lean, u64::from(senders) * 12, 2) };
    shape.each(|line, _| {
        let mut events: Vec<Event<'_>> = Vec::new();
        let record = Record { payload: line.as_bytes(), ..Record::default() };
        if decoder.decode(&record, &mut events).is_err() {
            return false;
        }
        for event in &events {
            let timeline = timelines.entry(event.sender).or_insert_with(|| {
                // The key, and the name of the channel.
                strings += event.sender_key.len() + "rest".len();
                Timeline::new(event.sender, &event.sender_key, None)
            });
            let mut run = engine.run(timeline, &mut changes);
            let _ = run.apply(event);
            run.finish();
            changes.clear();
        }
        true
    });
    let count = timelines.len() as f64;
    let said = timelines.values().map(Timeline::memory).sum::<usize>() as f64 / count;
    let strings = strings as f64 / count;
    let open = timelines.values().filter(|timeline| timeline.session_start().is_some()).count();
    let mut copies: Vec<Timeline> = Vec::with_capacity(timelines.len());
    let before = resident("VmRSS")?;
    copies.extend(timelines.values().cloned());
    let grown = (resident("VmRSS")? - before) / count;
    println!("{open} open sessions, {strings:.0} bytes of strings in each");
    println!("  size of the type: {} bytes", size_of::<Timeline>());
    println!(
        "  type and heap as the cache counts them: {said:.0} bytes, {:.0} beyond the strings",
        said - strings
    );
    println!(
        "  as the process grew (allocator's overhead included): {grown:.0} bytes, {:.0} beyond the strings",
        grown - strings
    );
    drop(copies);
    Ok(())
}

/// Prints the greatest memory of `turnmill-replay` for a file of `senders` senders with one event each.
pub(crate) fn replay(replay: &Path, senders: u64) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let (input, store) = (folder.path().join("events.jsonl"), folder.path().join("store.sqlite"));
    let mut out = BufWriter::with_capacity(1 << 20, std::fs::File::create(&input)?);
    for number in 0..senders {
        let time = 1_795_219_200.0 + number as f64 * 0.0137;
        writeln!(
            out,
            r#"{{"sender_id": "{:032x}", "event": "action", "timestamp": {time}, "metadata": {{"model_id": "f66f3c4291e744e0b2a544e5663a98d7"}}, "name": "action_session_start", "policy": null, "confidence": 1.0}}"#,
            fastrand::Rng::with_seed(number).u128(..)
        )?;
    }
    out.flush()?;
    let cost = into(replay, &input, &store, "file")?;
    let size = std::fs::metadata(&store)?.len() as f64 / 1e6;
    println!(
        "{senders} senders: {:.0} MB at most, {:.0} s; the store has {size:.0} MB",
        cost.peak / 1e6,
        cost.seconds.wall
    );
    remove(&store)
}

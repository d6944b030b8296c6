//! The engine alone: events in, row changes out; the program keeps state and history itself.
//!
//! ```text
//! cargo run -p turnmill-examples --bin engine_only
//! ```
//!
//! With `default-features = false` this is all that is built: no async, no I/O, no database.
//!
//! One event below is late: the session had started before the user's message. For it, the engine
//! changes nothing and returns `Step::NeedsReplay`. A `Replay` of the stored history with the late
//! event gives the difference to the rows written before.

#![allow(clippy::print_stdout, reason = "it is a program that prints")]

use turnmill_embed::{
    Changes, Decoder, Engine, Event, RasaDecoder, Record, Replay, ReplayOutcome, Settings, Step, Timeline,
};

const RECORDS: [&str; 5] = [
    r#"{"sender_id": "ada", "event": "user", "timestamp": 1656382550.3, "text": "where is my parcel?"}"#,
    r#"{"sender_id": "ada", "event": "bot", "timestamp": 1656382550.4, "text": "What is its code?"}"#,
    // The same event again.
    r#"{"sender_id": "ada", "event": "bot", "timestamp": 1656382550.4, "text": "What is its code?"}"#,
    // This event is late.
    r#"{"sender_id": "ada", "event": "action", "timestamp": 1656382549.1, "name": "action_session_start"}"#,
    r#"{"sender_id": "ada", "event": "user", "timestamp": 1656382560.0, "text": "PX-17"}"#,
];

/// A sender: its state, and its events in order. A service would keep both as bytes.
struct Sender<'r> {
    timeline: Timeline,
    history: Vec<Event<'r>>,
}

impl<'r> Sender<'r> {
    /// Applies an event and returns the rows that change.
    fn apply(&mut self, engine: &Engine, event: Event<'r>) -> Result<Changes, Box<dyn std::error::Error>> {
        let mut changes = Changes::default();
        if self.history.iter().any(|known| known.id == event.id) {
            println!("  a duplicate");
            return Ok(changes);
        }
        let mut run = engine.run(&mut self.timeline, &mut changes);
        let step = run.apply(&event);
        run.finish();
        let place = self.history.partition_point(|known| known.time <= event.time);
        if let Step::NeedsReplay { .. } = step {
            println!(
                "  late: {} of {} stored events come after it",
                self.history.len() - place,
                self.history.len()
            );
            // Two replays in one, without the event and with it; they differ in the rows to change.
            let mut replay = Replay::new(engine, &self.timeline, None)?;
            self.history[..place].iter().for_each(|known| replay.stored(known));
            replay.insert(&event);
            self.history[place..].iter().for_each(|known| replay.stored(known));
            changes.clear();
            let ReplayOutcome::Done(replayed) = replay.finish(&mut changes) else {
                return Err("only a replay from a checkpoint can be too short".into());
            };
            self.timeline = replayed.timeline;
        }
        self.history.insert(place, event);
        Ok(changes)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let settings = Settings::default();
    let (decoder, engine) = (RasaDecoder::new(&settings), Engine::new(&settings));
    let mut ada: Option<Sender<'_>> = None;
    for payload in RECORDS.map(str::as_bytes) {
        let mut events = Vec::new();
        decoder.decode(&Record { payload, ..Record::default() }, &mut events)?;
        for event in events {
            println!("{} {}", event.time, event.event_type);
            let sender = ada.get_or_insert_with(|| Sender {
                timeline: Timeline::new(event.sender, &event.sender_key, None),
                history: Vec::new(),
            });
            sender.apply(&engine, event)?.for_each_table(|table| {
                let counts =
                    [table.inserts.len(), table.updates.len() + table.ends.len(), table.deletes.len()];
                if counts != [0; 3] {
                    let [new, changed, deleted] = counts;
                    println!("  {}: {new} new, {changed} changed, {deleted} deleted", table.table.name);
                }
            });
        }
    }
    if let Some(sender) = ada {
        println!("{} bytes of state", sender.timeline.to_bytes().len());
    }
    Ok(())
}

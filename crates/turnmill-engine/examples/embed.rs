//! Embedding the engine: a log of Rasa events in, sessions and turns out as they come to be.
//!
//! ```text
//! cargo run -p turnmill-engine --example embed -- rasa_event.log
//! ```
//!
//! Without an argument it reads a conversation of its own. The program keeps each sender's state as bytes, as a service
//! would in its database, and does what it likes with the row changes; this one prints and counts.

#![allow(clippy::print_stdout, reason = "it is a program that prints")]

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::io::{BufRead, BufReader, Cursor};

use turnmill_engine::{Engine, Step, Timeline};
use turnmill_formats::rasa::RasaDecoder;
use turnmill_model::{Changes, Decoder, Record, SenderId, Settings};

const CONVERSATION: &str = r#"{"sender_id": "ada", "event": "action", "timestamp": 1656382549.10, "name": "action_session_start"}
{"sender_id": "ada", "event": "session_started", "timestamp": 1656382549.11}
{"sender_id": "ada", "event": "action", "timestamp": 1656382549.12, "name": "action_listen"}
{"sender_id": "ada", "event": "user", "timestamp": 1656382550.30, "text": "where is my parcel?", "input_channel": "web"}
{"sender_id": "ada", "event": "bot", "timestamp": 1656382550.41, "text": "What is its code?"}
{"sender_id": "bob", "event": "user", "timestamp": 1656382551.75, "text": "hello", "input_channel": "sms"}
{"sender_id": "ada", "event": "user", "timestamp": 1656382560.02, "text": "PX-17"}
{"sender_id": "ada", "event": "slot", "timestamp": 1656382560.05, "name": "code", "value": "PX-17"}
{"sender_id": "ada", "event": "bot", "timestamp": 1656382550.41, "text": "What is its code?"}
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let input: Box<dyn BufRead> = match std::env::args_os().nth(1) {
        Some(path) => Box::new(BufReader::new(std::fs::File::open(path)?)),
        None => Box::new(Cursor::new(CONVERSATION)),
    };
    let settings = Settings::default();
    let (decoder, engine) = (RasaDecoder::new(&settings), Engine::new(&settings));
    let mut states: HashMap<SenderId, Vec<u8>> = HashMap::new();
    let mut rows: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut behind, mut refused) = (0, 0);

    for line in input.split(b'\n') {
        let line = line?;
        let mut events = Vec::new();
        // What cannot be decoded belongs somewhere where a person will see it.
        if let Err(why) = decoder.decode(&Record { payload: &line, ..Record::default() }, &mut events) {
            println!("refused: {why}");
            refused += 1;
        }
        for event in &events {
            let mut timeline = match states.get(&event.sender) {
                Some(state) => Timeline::from_bytes(state)?,
                None => Timeline::new(event.sender, &event.sender_key, event.assistant.as_deref()),
            };
            let mut changes = Changes::default();
            let mut run = engine.run(&mut timeline, &mut changes);
            // Late or known. Whoever keeps the events can put a late one in its place with `turnmill_engine::Replay`;
            // `turnmill_ingest` does that for any store.
            if !matches!(run.apply(event), Step::Applied) {
                println!("{:>6}  behind: {}", event.sender_key, event.event_type);
                behind += 1;
                continue;
            }
            run.finish();

            for session in &changes.sessions.inserts {
                println!("{:>6}  session {}", event.sender_key, session.id);
            }
            for turn in &changes.turns.inserts {
                println!("{:>6}  turn    {}", event.sender_key, turn.id);
            }
            changes.for_each_table(|table| {
                *rows.entry(table.table.name).or_default() += table.inserts.len();
            });
            states.insert(event.sender, timeline.to_bytes());
        }
    }

    println!();
    for (table, count) in rows.into_iter().filter(|(_, count)| *count > 0) {
        println!("{count:>6}  {table}");
    }
    let bytes: usize = states.values().map(Vec::len).sum();
    println!(
        "{} senders in {bytes} bytes of state; {behind} events behind, {refused} records refused",
        states.len()
    );
    Ok(())
}

//! Evaluates markers over the events of a capture, on one thread, and counts the results.

use std::collections::BTreeMap;
use std::fs::File;
use std::hint::black_box;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::time::Instant;

use fastrand::Rng;
use flate2::read::MultiGzDecoder;
use serde_json::Value;
use turnmill_markers::evaluate::sessions;
use turnmill_markers::{Compatibility, Hit, MarkerEvent, Node, Pattern, PatternId, Program, Tag};

use crate::measure::{Failure, Figures, seconds};

/// Events per second of the evaluator of Rasa Open Source 3.6.21 (one thread, events parsed
/// beforehand), by the numbers of markers and nodes. Taken over from an earlier measurement: Rasa
/// needs an old Python and is not run here.
const RASA: [(usize, usize, f64); 3] = [(6, 19, 120_000.0), (5, 24, 85_000.0), (50, 391, 6_800.0)];

/// Number of draws of random markers, so that the result does not depend on one draw.
const DRAWS: u64 = 5;

/// Events of a sender as they are in memory.
type Events = Vec<Owned>;

enum Owned {
    Action(String),
    User(Option<String>, Option<String>),
    Slot(String, bool),
    Other,
}

impl Owned {
    fn of(event: &Value) -> Self {
        let name = event["name"].as_str().map(str::to_owned);
        let intent = |key: &str| event["parse_data"]["intent"][key].as_str().map(str::to_owned);
        match (event["event"].as_str(), name) {
            (Some("action"), Some(name)) => Owned::Action(name),
            (Some("slot"), Some(name)) => Owned::Slot(name, !event["value"].is_null()),
            (Some("user"), _) => Owned::User(intent("name"), intent("full_retrieval_intent_name")),
            _ => Owned::Other,
        }
    }

    fn borrow(&self) -> MarkerEvent<'_> {
        match self {
            Owned::Action(name) => MarkerEvent::Action { name },
            Owned::User(intent, full) => {
                MarkerEvent::User { intent: intent.as_deref(), full_retrieval_intent: full.as_deref() }
            }
            Owned::Slot(name, is_set) => MarkerEvent::Slot { name, is_set: *is_set },
            Owned::Other => MarkerEvent::Other,
        }
    }
}

fn read(file: &Path) -> Result<Vec<Events>, Failure> {
    let mut conversations: BTreeMap<String, Events> = BTreeMap::new();
    for line in BufReader::new(MultiGzDecoder::new(File::open(file)?)).lines() {
        let event: Value = serde_json::from_str(&line?)?;
        let sender = event["sender_id"].as_str().ok_or("an event without sender")?.to_owned();
        conversations.entry(sender).or_default().push(Owned::of(&event));
    }
    Ok(conversations.into_values().collect())
}

/// The names in the events: actions, intents, slots.
fn names(conversations: &[Events]) -> [Vec<String>; 3] {
    let mut names: [std::collections::BTreeSet<&str>; 3] = Default::default();
    for event in conversations.iter().flatten() {
        match event {
            Owned::Action(name) => drop(names[0].insert(name)),
            Owned::User(intent, full) => {
                names[1].extend([intent, full].into_iter().flatten().map(String::as_str));
            }
            Owned::Slot(name, _) => drop(names[2].insert(name)),
            Owned::Other => {}
        }
    }
    names.map(|names| names.into_iter().map(str::to_owned).collect())
}

/// Returns a random marker with `nodes` nodes. Tags of one kind are equally likely.
fn marker(rng: &mut Rng, nodes: usize, names: &[Vec<String>; 3]) -> Result<Node, Failure> {
    let tag = |rng: &mut Rng, condition: bool| loop {
        let tag = Tag::ALL[rng.usize(..Tag::ALL.len())];
        if tag.is_condition() == condition {
            return tag;
        }
    };
    if nodes == 1 {
        let tag = tag(rng, true);
        let names = match tag.positive() {
            Tag::Action => &names[0],
            Tag::Intent => &names[1],
            _ => &names[2],
        };
        return Ok(Node::condition(tag, names[rng.usize(..names.len())].as_str())?);
    }
    let tag = tag(rng, false);
    let subs = if tag.takes_one() { 1 } else { rng.usize(1..=4.min(nodes - 1)) };
    let mut left = nodes - 1;
    let mut below = Vec::new();
    for rest in (0..subs).rev() {
        let nodes = if rest == 0 { left } else { rng.usize(1..=left - rest) };
        left -= nodes;
        below.push(marker(rng, nodes, names)?);
    }
    Ok(Node::operator(tag, below)?)
}

/// Returns random markers with the given number of nodes in all.
fn markers(
    rng: &mut Rng,
    markers: usize,
    nodes: usize,
    names: &[Vec<String>; 3],
) -> Result<Vec<Node>, Failure> {
    (0..markers)
        .map(|index| marker(rng, nodes * (index + 1) / markers - nodes * index / markers, names))
        .collect()
}

/// Result of a run over all conversations.
struct Ran {
    events: usize,
    hits: usize,
    /// Events per second of processor time.
    rate: f64,
}

fn run(nodes: &[Node], conversations: &[Vec<MarkerEvent<'_>>]) -> Result<Ran, Failure> {
    let patterns: Vec<_> = nodes.iter().map(|config| Pattern { id: PatternId::default(), config }).collect();
    let program = Program::compile(&patterns, Compatibility::Documented);
    let ((events, hits), took) = seconds(|| {
        let (mut events, mut hits) = (0, 0);
        let started = Instant::now();
        // Processor time has a resolution of a hundredth of a second.
        while started.elapsed().as_secs_f64() < 0.5 {
            for conversation in conversations {
                for session in sessions(conversation) {
                    let mut state = program.start();
                    for event in &conversation[session] {
                        let hit = |hit| hits += usize::from(black_box::<Hit>(hit).pattern < nodes.len());
                        program.step(&mut state, *event, hit)?;
                        events += 1;
                    }
                }
            }
        }
        Ok((events, hits))
    })?;
    // Only one thread works, so this is its time, for any other load of the machine.
    Ok(Ran { events, hits, rate: events as f64 / took.cpu })
}

pub(crate) fn measure(file: &Path, runs: usize) -> Result<(), Failure> {
    let owned = read(file)?;
    let names = names(&owned);
    let events: Vec<Vec<_>> = owned.iter().map(|events| events.iter().map(Owned::borrow).collect()).collect();
    println!("{} events", events.iter().map(Vec::len).sum::<usize>());

    for (count, size, rasa) in RASA {
        let (mut ratio, mut rate, mut hits) = (Figures::default(), Figures::default(), Figures::default());
        for seed in 0..DRAWS * runs as u64 {
            let nodes = markers(&mut Rng::with_seed(seed % DRAWS), count, size, &names)?;
            let ran = run(&nodes, &events)?;
            ratio.push(ran.rate / rasa);
            rate.push(ran.rate / 1e6);
            hits.push(ran.hits as f64 / ran.events as f64);
        }
        println!(
            "{count} markers, {size} nodes: {ratio} times Rasa; {rate} million events/s; {hits} results an event"
        );
    }

    // Conditions that are true at single events, as in most markers, so that results do not
    // dominate the time.
    let sequence = |rng: &mut Rng, names: &[Vec<String>; 3]| -> Result<Node, Failure> {
        let mut of =
            |tag, kind: usize| Node::condition(tag, names[kind][rng.usize(..names[kind].len())].as_str());
        Ok(Node::operator(Tag::Seq, vec![of(Tag::Intent, 1)?, of(Tag::SlotWasSet, 2)?, of(Tag::Action, 0)?])?)
    };
    let absent =
        [0, 1, 2].map(|kind| (0..500).map(|name| format!("absent_{kind}_{name}")).collect::<Vec<_>>());
    for (what, own) in [("all over names of the events", usize::MAX), ("10 over names of the events", 10)] {
        let mut first = f64::NAN;
        for count in [10, 100, 1000] {
            let mut cost = Figures::default();
            for seed in 0..runs as u64 {
                let rng = &mut Rng::with_seed(seed);
                let nodes: Result<Vec<_>, _> = (0..count)
                    .map(|index| sequence(rng, if index < own { &names } else { &absent }))
                    .collect();
                cost.push(1e9 / run(&nodes?, &events)?.rate);
            }
            if count == 10 {
                first = cost.median();
            }
            println!(
                "{count} markers, {what}: {cost} ns an event, {:.2} times that of 10",
                cost.median() / first
            );
        }
    }
    Ok(())
}

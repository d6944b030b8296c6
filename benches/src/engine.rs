//! Decoder and engine over a file, on a few threads, without a store.
//!
//! The file is read in rounds of blocks. In a round the threads first read and decode blocks, then they take shards of the
//! senders: a sender's events of the round are put in order and applied to its timeline, and the row changes stay in
//! memory until the next round takes their place. So memory is bounded by a round, the changes of it, and the timelines.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use memchr::{memchr, memchr_iter};
use turnmill_engine::{Engine, Step, Timeline};
use turnmill_formats::rasa::RasaDecoder;
use turnmill_model::{Changes, Decoder, Event, Record, SenderId, SessionRule, Settings};

use crate::measure::Failure;

const BLOCK: u64 = 1 << 19;
const BLOCKS: usize = 16;
const SHARDS: usize = 8;

/// How sessions are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Rule {
    /// Rasa's boundaries.
    Rasa,
    /// More than half an hour of silence.
    Gap,
}

/// What the engine found.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    pub(crate) events: usize,
    pub(crate) sessions: usize,
    /// Entries of the row changes.
    pub(crate) changes: usize,
    /// Rows of markers, which are entries as well.
    pub(crate) markers: usize,
    /// Events that a store's history would be needed for.
    pub(crate) behind: usize,
    pub(crate) refused: usize,
}

#[derive(Default)]
struct Shard {
    timelines: HashMap<SenderId, Timeline>,
    changes: Changes,
    /// The round's events: sender, block and number.
    order: Vec<(SenderId, (u32, u32))>,
    found: Found,
}

/// A block, decoded: its events, and their numbers by shard.
struct Decoded<'b> {
    block: usize,
    events: Vec<Event<'b>>,
    shards: [Vec<u32>; SHARDS],
    refused: usize,
}

/// Reads the file at `path` to its end, with `engine`, which has default settings.
pub(crate) fn sessions(path: &Path, engine: &Engine, rule: Rule, threads: usize) -> Result<Found, Failure> {
    let file = File::open(path)?;
    let blocks = usize::try_from(file.metadata()?.len().div_ceil(BLOCK))?;
    let decoder = RasaDecoder::new(&Settings::default());
    let shards: Vec<Mutex<Shard>> = (0..SHARDS).map(|_| Mutex::default()).collect();
    let mut buffers: Vec<Vec<u8>> = vec![Vec::new(); BLOCKS];
    let mut refused = 0;
    // Memory for events, used again.
    let spare: Mutex<Vec<Vec<Event<'static>>>> = Mutex::default();
    for round in (0..blocks).step_by(BLOCKS) {
        let numbers = round..blocks.min(round + BLOCKS);
        let work = Mutex::new(numbers.zip(&mut buffers));
        let mut decoded = on_threads(threads, || {
            let mut done = Vec::new();
            loop {
                let next = work.lock().map_err(|_| "a thread failed")?.next();
                let Some((block, buffer)) = next else { return Ok(done) };
                let lines = read_block(&file, block as u64 * BLOCK, buffer)?;
                let events = recycled(spare.lock().map_err(|_| "a thread failed")?.pop().unwrap_or_default());
                done.push(decode(&decoder, rule, block, lines, events));
            }
        })?;
        decoded.sort_by_key(|decoded| decoded.block);
        let next = AtomicUsize::new(0);
        on_threads(threads, || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(shard) = shards.get(number) else { return Ok(Vec::<()>::new()) };
                apply(engine, &mut *shard.lock().map_err(|_| "a thread failed")?, &decoded, number);
            }
        })?;
        refused += decoded.iter().map(|decoded| decoded.refused).sum::<usize>();
        let mut spare = spare.lock().map_err(|_| "a thread failed")?;
        spare.extend(decoded.into_iter().map(|decoded| recycled(decoded.events)));
    }
    let mut found = Found { refused, ..Found::default() };
    for shard in shards {
        found.add(shard.into_inner().map_err(|_| "a thread failed")?.found);
    }
    Ok(found)
}

impl Found {
    fn add(&mut self, other: Self) {
        self.events += other.events;
        self.sessions += other.sessions;
        self.changes += other.changes;
        self.markers += other.markers;
        self.behind += other.behind;
        self.refused += other.refused;
    }
}

/// A file's events in memory, so that the engine is all that works.
pub(crate) struct InMemory<'b> {
    rounds: Vec<Vec<Decoded<'b>>>,
}

impl<'b> InMemory<'b> {
    pub(crate) fn decode(mut lines: &'b [u8], rule: Rule) -> Self {
        let decoder = RasaDecoder::new(&Settings::default());
        let mut rounds: Vec<Vec<Decoded<'b>>> = Vec::new();
        while !lines.is_empty() {
            let block = lines.len().min(BLOCK as usize);
            let end = memchr(b'\n', &lines[block..]).map_or(lines.len(), |end| block + end + 1);
            let (own, rest) = lines.split_at(end);
            if rounds.last().is_none_or(|round| round.len() == BLOCKS) {
                rounds.push(Vec::new());
            }
            if let Some(round) = rounds.last_mut() {
                round.push(decode(&decoder, rule, round.len(), own, Vec::new()));
            }
            lines = rest;
        }
        Self { rounds }
    }

    /// Applies all events on this thread.
    pub(crate) fn apply(&self, engine: &Engine) -> Found {
        let mut shards: [Shard; SHARDS] = std::array::from_fn(|_| Shard::default());
        for round in &self.rounds {
            for (number, shard) in shards.iter_mut().enumerate() {
                apply(engine, shard, round, number);
            }
        }
        let refused = self.rounds.iter().flatten().map(|decoded| decoded.refused).sum();
        let mut found = Found { refused, ..Found::default() };
        shards.into_iter().for_each(|shard| found.add(shard.found));
        found
    }
}

/// The memory of `events` for others.
fn recycled<'b>(mut events: Vec<Event<'_>>) -> Vec<Event<'b>> {
    events.clear();
    // Nothing is left to be turned into anything, and collecting in place keeps the allocation.
    events.into_iter().map_while(|_| None).collect()
}

/// Does `work` on so many threads and puts the results together.
fn on_threads<T: Send>(
    threads: usize,
    work: impl Fn() -> Result<Vec<T>, Failure> + Sync,
) -> Result<Vec<T>, Failure> {
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(&work)).collect();
        let mut results = Vec::new();
        for thread in running {
            results.extend(thread.join().map_err(|_| "a thread failed")??);
        }
        Ok(results)
    })
}

/// The lines that begin in the block at `start`.
fn read_block<'b>(file: &File, start: u64, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], Failure> {
    // One byte more in front: a line begins behind a line end.
    let from = start.saturating_sub(1);
    let mut wanted = usize::try_from(start + BLOCK - from)?;
    let mut filled = 0;
    loop {
        buffer.resize(wanted, 0);
        while filled < wanted {
            match file.read_at(&mut buffer[filled..], from + filled as u64)? {
                0 => break,
                read => filled += read,
            }
        }
        let at_end = filled < wanted;
        let own = usize::try_from(start + BLOCK - from)?.min(filled);
        // The line end at or behind the last own byte.
        let end = buffer[own.saturating_sub(1)..filled].iter().position(|byte| *byte == b'\n');
        match end {
            None if !at_end => wanted += 1 << 16,
            end => {
                let end = end.map_or(filled, |end| own.saturating_sub(1) + end + 1);
                let first = match start {
                    0 => 0,
                    _ => buffer[..end].iter().position(|byte| *byte == b'\n').map_or(end, |at| at + 1),
                };
                return Ok(&buffer[first..end]);
            }
        }
    }
}

fn decode<'b>(
    decoder: &RasaDecoder,
    rule: Rule,
    block: usize,
    lines: &'b [u8],
    mut events: Vec<Event<'b>>,
) -> Decoded<'b> {
    let mut refused = 0;
    let mut start = 0;
    for end in memchr_iter(b'\n', lines).chain([lines.len()]) {
        let line = &lines[start..end];
        start = lines.len().min(end + 1);
        refused +=
            usize::from(decoder.decode(&Record { payload: line, ..Record::default() }, &mut events).is_err());
    }
    let mut shards: [Vec<u32>; SHARDS] =
        std::array::from_fn(|_| Vec::with_capacity(events.len() / SHARDS * 2));
    for (number, event) in (0..).zip(&mut events) {
        if rule == Rule::Gap {
            event.session = SessionRule::Gap { seconds: 1800.0 };
        }
        shards[usize::from(event.sender.0.as_bytes()[15]) % SHARDS].push(number);
    }
    Decoded { block, events, shards, refused }
}

/// Applies the round's events of shard `number`.
fn apply(engine: &Engine, shard: &mut Shard, decoded: &[Decoded<'_>], number: usize) {
    let Shard { timelines, changes, order, found } = shard;
    let event = |(block, number): (u32, u32)| &decoded[block as usize].events[number as usize];
    order.clear();
    for (block, decoded) in (0..).zip(decoded) {
        let own = decoded.shards[number].iter();
        order.extend(own.map(|event| (decoded.events[*event as usize].sender, (block, *event))));
    }
    order.sort_unstable();
    changes.clear();
    for own in order.chunk_by_mut(|a, b| a.0 == b.0) {
        // In the order of time, and of the same time in the order of arrival.
        if !own.is_sorted_by_key(|(_, place)| event(*place).time) {
            own.sort_by_key(|(_, place)| event(*place).time);
        }
        let first = event(own[0].1);
        let timeline = timelines
            .entry(first.sender)
            .or_insert_with(|| Timeline::new(first.sender, &first.sender_key, None));
        let mut run = engine.run(timeline, changes);
        for (_, place) in &*own {
            found.behind += usize::from(run.apply(event(*place)) != Step::Applied);
        }
        run.finish();
    }
    found.events += order.len();
    found.sessions += changes.sessions.inserts.len();
    found.changes += changes.len();
    found.markers += changes.markers.inserts.len();
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::body::Mix;
    use crate::stream::Shape;

    #[test]
    fn blocks_hold_every_line_once() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let lines = Shape::new(Mix::Capture, 9_000, 8).lines();
        write!(file, "{}", lines.join("\n")).unwrap();
        let opened = File::open(file.path()).unwrap();
        let blocks = opened.metadata().unwrap().len().div_ceil(BLOCK);
        let mut read = Vec::new();
        for block in 0..blocks {
            let mut buffer = Vec::new();
            let lines = read_block(&opened, block * BLOCK, &mut buffer).unwrap();
            read.extend(
                lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec),
            );
        }
        assert!(blocks > 3);
        assert_eq!(read.len(), lines.len());
        assert!(read.iter().zip(&lines).all(|(read, line)| read == line.as_bytes()));
        let engine = Engine::new(&Settings::default());
        let found = sessions(file.path(), &engine, Rule::Gap, 2).unwrap();
        assert_eq!((found.events, found.behind, found.refused), (9_000, 0, 0));
        let all = std::fs::read(file.path()).unwrap();
        let in_memory = InMemory::decode(&all, Rule::Gap).apply(&engine);
        assert_eq!(
            (in_memory.events, in_memory.sessions, in_memory.changes),
            (found.events, found.sessions, found.changes)
        );
    }
}

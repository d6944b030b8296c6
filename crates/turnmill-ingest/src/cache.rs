//! Timelines kept between batches, within a budget of bytes.

use lru::LruCache;
use turnmill_engine::Timeline;
use turnmill_model::SenderId;

/// How much of the cache of timelines is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheUsage {
    /// Number of timelines in memory.
    pub timelines: usize,
    /// The bytes that they take.
    pub bytes: usize,
}

impl std::ops::AddAssign for CacheUsage {
    fn add_assign(&mut self, other: Self) {
        self.timelines += other.timelines;
        self.bytes += other.bytes;
    }
}

/// A least-recently-used cache of timelines. It is only a cache: whatever is missing is loaded from the store.
#[derive(Debug)]
pub(crate) struct Cache {
    entries: LruCache<SenderId, Cached>,
    bytes: usize,
    budget: usize,
}

#[derive(Debug)]
struct Cached {
    version: u64,
    timeline: Timeline,
    bytes: usize,
}

impl Cache {
    pub(crate) fn new(budget: usize) -> Self {
        Self { entries: LruCache::unbounded(), bytes: 0, budget }
    }

    pub(crate) fn version(&self, sender: SenderId) -> Option<u64> {
        self.entries.peek(&sender).map(|cached| cached.version)
    }

    /// Hands a timeline out, with its version; [`put`](Self::put) brings the next one.
    pub(crate) fn take(&mut self, sender: SenderId) -> Option<(u64, Timeline)> {
        let cached = self.entries.pop(&sender)?;
        self.bytes -= cached.bytes;
        Some((cached.version, cached.timeline))
    }

    pub(crate) fn put(&mut self, version: u64, timeline: Timeline) {
        // The map's own cost per entry is about that of two pointers and the key.
        let bytes = timeline.memory() + 64;
        self.bytes += bytes;
        let before = self.entries.put(timeline.sender(), Cached { version, timeline, bytes });
        self.bytes -= before.map_or(0, |before| before.bytes);
        while self.bytes > self.budget
            && let Some((_, dropped)) = self.entries.pop_lru()
        {
            self.bytes -= dropped.bytes;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    pub(crate) fn usage(&self) -> CacheUsage {
        CacheUsage { timelines: self.entries.len(), bytes: self.bytes }
    }
}

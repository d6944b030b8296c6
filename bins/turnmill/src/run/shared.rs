//! What the consumers of a process tell together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use turnmill_ingest::CacheUsage;
use turnmill_model::Reason;
use turnmill_pipeline::rounded;
use turnmill_service::Health;
use turnmill_source::GroupControl;

/// What the consumers of a process tell together.
pub(crate) struct Shared {
    pub(crate) waiting: Waiting,
    keys_told: AtomicBool,
    /// Reasons of dead letters that were told.
    reasons: Mutex<BTreeSet<&'static str>>,
    /// Timelines and bytes in each consumer's cache.
    caches: Mutex<Vec<CacheUsage>>,
    controls: Mutex<Vec<Arc<dyn GroupControl>>>,
}

impl Shared {
    pub(crate) fn new(health: Health, consumers: usize) -> Self {
        Self {
            waiting: Waiting { health, away: Mutex::default() },
            keys_told: AtomicBool::new(false),
            reasons: Mutex::default(),
            caches: Mutex::new(vec![CacheUsage::default(); consumers]),
            controls: Mutex::default(),
        }
    }

    /// True once.
    pub(crate) fn tell_of_keys(&self) -> bool {
        !self.keys_told.swap(true, Ordering::Relaxed)
    }

    /// True once for each reason.
    pub(crate) fn tell_of_reason(&self, reason: Reason) -> bool {
        lock(&self.reasons).insert(reason.as_str())
    }

    /// Notes one consumer's cache, and gives the sum of all.
    pub(crate) fn cached(&self, consumer: usize, cached: CacheUsage) -> CacheUsage {
        let mut caches = lock(&self.caches);
        if let Some(slot) = caches.get_mut(consumer) {
            *slot = cached;
        }
        caches.iter().fold(CacheUsage::default(), |mut sum, cache| {
            sum += *cache;
            sum
        })
    }

    pub(crate) fn add_control(&self, control: Arc<dyn GroupControl>) {
        lock(&self.controls).push(control);
    }

    pub(crate) fn controls(&self) -> Vec<Arc<dyn GroupControl>> {
        lock(&self.controls).clone()
    }
}

/// What is away, and since when, as far as it was noticed.
pub(crate) struct Waiting {
    health: Health,
    away: Mutex<BTreeMap<&'static str, Instant>>,
}

impl Waiting {
    /// Notes that `what` is away.
    pub(crate) fn begin(&self, what: &'static str) {
        let mut all = lock(&self.away);
        if !all.contains_key(what) {
            all.insert(what, Instant::now());
            self.health.set_waiting(names(&all));
        }
    }

    /// Notes that `what` is there, and logs it if it was away.
    pub(crate) fn end(&self, what: &'static str) {
        let mut all = lock(&self.away);
        if let Some(since) = all.remove(what) {
            self.health.set_waiting(names(&all));
            tracing::info!("{what} available again after {}", rounded(since.elapsed()));
        }
    }
}

fn names(away: &BTreeMap<&'static str, Instant>) -> Option<String> {
    (!away.is_empty()).then(|| away.keys().copied().collect::<Vec<_>>().join(", "))
}

/// Goes on with what a panicking thread left: every change here is complete in itself.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! State that the consumers of a process share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use turnmill_ingest::CacheUsage;
use turnmill_model::Reason;
use turnmill_pipeline::rounded;
use turnmill_service::Health;
use turnmill_source::GroupControl;

/// State that the consumers of a process share.
pub(super) struct SharedState {
    pub(super) outages: Outages,
    keys_logged: AtomicBool,
    /// Reasons of which a dead letter was logged.
    logged_reasons: Mutex<BTreeSet<&'static str>>,
    /// Number of timelines and bytes in each consumer's cache.
    caches: Mutex<Vec<CacheUsage>>,
    controls: Mutex<Vec<Arc<dyn GroupControl>>>,
}

impl SharedState {
    pub(super) fn new(health: Health, consumers: usize) -> Self {
        Self {
            outages: Outages { health, since: Mutex::default() },
            keys_logged: AtomicBool::new(false),
            logged_reasons: Mutex::default(),
            caches: Mutex::new(vec![CacheUsage::default(); consumers]),
            controls: Mutex::default(),
        }
    }

    /// Returns `true` at the first call only.
    pub(super) fn is_first_about_keys(&self) -> bool {
        !self.keys_logged.swap(true, Ordering::Relaxed)
    }

    /// Returns `true` at the first call for each reason only.
    pub(super) fn is_first_of_reason(&self, reason: Reason) -> bool {
        lock(&self.logged_reasons).insert(reason.as_str())
    }

    /// Sets the size of one consumer's cache, and returns the sum over all consumers.
    pub(super) fn update_cache(&self, consumer: usize, cached: CacheUsage) -> CacheUsage {
        let mut caches = lock(&self.caches);
        if let Some(cache) = caches.get_mut(consumer) {
            *cache = cached;
        }
        caches.iter().fold(CacheUsage::default(), |mut sum, cache| {
            sum += *cache;
            sum
        })
    }

    pub(super) fn add_control(&self, control: Arc<dyn GroupControl>) {
        lock(&self.controls).push(control);
    }

    pub(super) fn controls(&self) -> Vec<Arc<dyn GroupControl>> {
        lock(&self.controls).clone()
    }
}

/// Servers that are unavailable, each with the time at which it was noticed.
pub(super) struct Outages {
    health: Health,
    since: Mutex<BTreeMap<&'static str, Instant>>,
}

impl Outages {
    /// Notes that `server` is unavailable.
    pub(super) fn begin(&self, server: &'static str) {
        let mut all = lock(&self.since);
        if !all.contains_key(server) {
            all.insert(server, Instant::now());
            self.health.set_waiting(names(&all));
        }
    }

    /// Notes that `server` is available, and logs it if it was not.
    pub(super) fn end(&self, server: &'static str) {
        let mut all = lock(&self.since);
        if let Some(since) = all.remove(server) {
            self.health.set_waiting(names(&all));
            tracing::info!("{server} available again after {}", rounded(since.elapsed()));
        }
    }
}

fn names(unavailable: &BTreeMap<&'static str, Instant>) -> Option<String> {
    (!unavailable.is_empty()).then(|| unavailable.keys().copied().collect::<Vec<_>>().join(", "))
}

/// Locks a mutex even if a thread panicked while holding it: every change here is complete in
/// itself.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

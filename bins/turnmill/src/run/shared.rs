//! What the consumers of a process tell together.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use turnmill_service::Health;
use turnmill_source::GroupControl;

/// What the consumers of a process tell together.
pub(crate) struct Shared {
    pub(crate) waiting: Waiting,
    keys_told: AtomicBool,
    /// Timelines and bytes in each consumer's cache.
    caches: Mutex<Vec<(usize, usize)>>,
    controls: Mutex<Vec<Arc<dyn GroupControl>>>,
}

impl Shared {
    pub(crate) fn new(health: Health, consumers: usize) -> Self {
        Self {
            waiting: Waiting { health, away: Mutex::default() },
            keys_told: AtomicBool::new(false),
            caches: Mutex::new(vec![(0, 0); consumers]),
            controls: Mutex::default(),
        }
    }

    /// True once.
    pub(crate) fn tell_of_keys(&self) -> bool {
        !self.keys_told.swap(true, Ordering::Relaxed)
    }

    /// Notes one consumer's cache, and gives the sum of all.
    pub(crate) fn cached(&self, consumer: usize, cached: (usize, usize)) -> (usize, usize) {
        let mut caches = lock(&self.caches);
        if let Some(slot) = caches.get_mut(consumer) {
            *slot = cached;
        }
        caches.iter().fold((0, 0), |sum, cache| (sum.0 + cache.0, sum.1 + cache.1))
    }

    pub(crate) fn add_control(&self, control: Arc<dyn GroupControl>) {
        lock(&self.controls).push(control);
    }

    pub(crate) fn controls(&self) -> Vec<Arc<dyn GroupControl>> {
        lock(&self.controls).clone()
    }
}

/// What is away just now, as far as anybody has noticed.
pub(crate) struct Waiting {
    health: Health,
    away: Mutex<BTreeSet<&'static str>>,
}

impl Waiting {
    pub(crate) fn set(&self, what: &'static str, away: bool) {
        let mut all = lock(&self.away);
        let changed = if away { all.insert(what) } else { all.remove(what) };
        if changed {
            let names: Vec<&str> = all.iter().copied().collect();
            self.health.set_waiting((!names.is_empty()).then(|| names.join(", ")));
        }
    }
}

/// Goes on with what a panicking thread left: every change here is complete in itself.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The servers, and the lock for using them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use turnmill_testbed::kafka::{self, Broker};
use turnmill_testbed::{Unavailable, or_skip, postgres};

/// Servers that a test may break, and that are repaired when the test ends.
pub(crate) struct Bed {
    pub(crate) broker: Broker,
    pub(crate) postgres: postgres::Server,
    turn: Mutex<()>,
}

/// The right to use and to break the servers.
pub(crate) struct Turn {
    pub(crate) bed: &'static Bed,
    _turn: MutexGuard<'static, ()>,
}

impl Bed {
    fn start() -> Result<Self, Unavailable> {
        let options =
            postgres::Options { settings: vec!["max_connections = 100".into()], ..Default::default() };
        let postgres = postgres::Server::start(&options)?;
        Ok(Self { broker: Broker::start(&kafka::Options::default())?, postgres, turn: Mutex::new(()) })
    }

    /// Waits for the lock. Returns `None` if the servers cannot run.
    #[track_caller]
    pub(crate) fn turn() -> Option<Turn> {
        static BED: OnceLock<Result<Bed, Unavailable>> = OnceLock::new();
        let bed = or_skip(BED.get_or_init(Self::start).as_ref().map_err(Clone::clone))?;
        let turn = bed.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // The previous test may have failed during an outage.
        if bed.broker.pid().is_none() {
            bed.broker.start_again();
        }
        if bed.postgres.pid().is_none() {
            bed.postgres.start_again();
        }
        Some(Turn { bed, _turn: turn })
    }
}

impl Turn {
    /// Returns a new topic with three partitions, and the URL of a new database of the same name.
    pub(crate) fn fresh(&self, name: &str) -> (String, String) {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("{name}-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.bed.broker.create_topic(&name, 3, &[]);
        let url = self.bed.postgres.create_database(&name);
        (name, url)
    }
}

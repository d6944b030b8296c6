//! Slots of open connections: which client has one, and which connection closes when there are too
//! many.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Maximum number of connections from other machines.
const OTHERS: usize = 256;
/// Maximum number of connections. The slots beyond [`OTHERS`] are reserved for clients on this
/// machine.
const ALL: usize = OTHERS + 128;
/// Time that a caller has for its next request before its connection counts as idle. A probe that
/// is about to ask is not idle.
const GRACE: Duration = Duration::from_secs(1);

/// The connection slots of a server.
#[derive(Clone, Debug, Default)]
pub(super) struct ConnectionSlots(Arc<Mutex<SlotTable>>);

#[derive(Debug, Default)]
struct SlotTable {
    next: u64,
    connections: HashMap<u64, OpenConnection>,
    others: usize,
}

#[derive(Debug)]
struct OpenConnection {
    peer: IpAddr,
    opened: Instant,
    /// Time at which the connection was opened, or its last request began.
    since: Instant,
    /// Requests whose headers have arrived and that have no answer yet.
    requests: usize,
    evicted: Arc<Notify>,
}

/// The slot of one connection. Dropping it frees the slot.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    id: u64,
    slots: ConnectionSlots,
    evicted: Arc<Notify>,
}

/// Counts the requests in progress of one connection.
#[derive(Clone, Debug)]
pub(super) struct RequestCounter {
    id: u64,
    slots: ConnectionSlots,
}

/// Guard of a request in progress. Dropping it means that the response is ready.
#[derive(Debug)]
pub(super) struct RequestInProgress(RequestCounter);

impl ConnectionSlots {
    fn table(&self) -> MutexGuard<'_, SlotTable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Acquires a slot for a connection from `peer`. If none is free, evicts another connection.
    pub(super) fn acquire(&self, peer: IpAddr) -> ConnectionSlot {
        self.acquire_at(peer, Instant::now())
    }

    fn acquire_at(&self, peer: IpAddr, now: Instant) -> ConnectionSlot {
        let mut table = self.table();
        let is_other = !peer.is_loopback();
        // Connections from other machines evict only each other, never one of a client on this
        // machine.
        if is_other && table.others >= OTHERS {
            table.evict(now, |connection| !connection.peer.is_loopback());
        } else if table.connections.len() >= ALL {
            table.evict(now, |_| true);
        }
        let id = table.next;
        table.next += 1;
        table.others += usize::from(is_other);
        let evicted = Arc::new(Notify::new());
        let connection =
            OpenConnection { peer, opened: now, since: now, requests: 0, evicted: Arc::clone(&evicted) };
        table.connections.insert(id, connection);
        ConnectionSlot { id, slots: self.clone(), evicted }
    }

    /// Evicts one connection.
    pub(super) fn evict_one(&self) {
        self.table().evict(Instant::now(), |_| true);
    }
}

impl SlotTable {
    /// Evicts one of the connections that `may_go` selects.
    ///
    /// Prefers, in this order: connections of a client that has many, idle connections, and
    /// connections that have been idle longest, or else the oldest. Example: `a` has 200 idle
    /// connections, `b` has one. A connection of `a` is evicted, even if that of `b` has been idle
    /// for longer.
    ///
    /// A request in progress may be half a body that never ends, so such a connection must not
    /// outlive a new one. Otherwise, with all slots taken by such connections, each newcomer would
    /// evict the newcomer before it, a health probe too.
    fn evict(&mut self, now: Instant, may_go: impl Fn(&OpenConnection) -> bool) {
        let mut of_peer: HashMap<IpAddr, usize> = HashMap::new();
        for connection in self.connections.values().filter(|connection| may_go(connection)) {
            *of_peer.entry(connection.peer).or_default() += 1;
        }
        let most = of_peer.values().copied().max().unwrap_or_default();
        // A client with at least half as many connections as the largest one counts as having many.
        let has_many = |connection: &OpenConnection| {
            of_peer.get(&connection.peer).is_some_and(|count| count * 2 >= most)
        };
        let order = |(_, connection): &(&u64, &OpenConnection)| {
            let is_idle =
                connection.requests == 0 && now.saturating_duration_since(connection.since) >= GRACE;
            let age = if is_idle { connection.since } else { connection.opened };
            (!has_many(connection), !is_idle, age)
        };
        let found = self.connections.iter().filter(|(_, connection)| may_go(connection)).min_by_key(order);
        if let Some(id) = found.map(|(id, _)| *id) {
            self.remove(id);
        }
    }

    fn remove(&mut self, id: u64) {
        if let Some(connection) = self.connections.remove(&id) {
            self.others -= usize::from(!connection.peer.is_loopback());
            connection.evicted.notify_one();
        }
    }
}

impl ConnectionSlot {
    /// Returns when the slot was given to another connection.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Returns the counter of requests in progress.
    pub(super) fn requests(&self) -> RequestCounter {
        RequestCounter { id: self.id, slots: self.slots.clone() }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.slots.table().remove(self.id);
    }
}

impl RequestCounter {
    /// Counts a request until the returned guard is dropped.
    pub(super) fn begin(&self) -> RequestInProgress {
        if let Some(connection) = self.slots.table().connections.get_mut(&self.id) {
            connection.requests += 1;
            connection.since = Instant::now();
        }
        RequestInProgress(self.clone())
    }
}

impl Drop for RequestInProgress {
    fn drop(&mut self) {
        if let Some(connection) = self.0.slots.table().connections.get_mut(&self.0.id) {
            connection.requests = connection.requests.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn other(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn held(slots: &ConnectionSlots) -> Vec<u64> {
        let mut held: Vec<u64> = slots.table().connections.keys().copied().collect();
        held.sort_unstable();
        held
    }

    #[test]
    fn the_connection_that_waits_longest_for_its_caller_goes() {
        let slots = ConnectionSlots::default();
        let before = Instant::now().checked_sub(2 * GRACE).unwrap();
        let mut all: Vec<ConnectionSlot> = (0..ALL)
            .map(|number| slots.acquire_at(HERE, before + Duration::from_micros(number as u64)))
            .collect();
        // The oldest has a request in progress, the second has just had one.
        let _in_progress = all[0].requests().begin();
        drop(all[1].requests().begin());
        let new = slots.acquire(HERE);
        assert_eq!(held(&slots).len(), ALL);
        assert!(held(&slots).contains(&0) && held(&slots).contains(&1) && !held(&slots).contains(&2));
        drop(new);
        assert_eq!(held(&slots).len(), ALL - 1);
        // Dropping an evicted slot does not free another one.
        drop(all.remove(2));
        assert_eq!(held(&slots).len(), ALL - 1);
    }

    #[test]
    fn other_machines_never_push_out_one_of_this_machine() {
        let slots = ConnectionSlots::default();
        let here = slots.acquire(HERE);
        let _others: Vec<ConnectionSlot> =
            (0..3 * ALL).map(|n| slots.acquire(other((n % 200) as u8))).collect();
        assert_eq!(held(&slots).len(), OTHERS + 1);
        assert!(held(&slots).contains(&here.id));
        let _kept: Vec<ConnectionSlot> = (0..ALL - OTHERS - 1).map(|_| slots.acquire(HERE)).collect();
        assert_eq!((held(&slots).len(), slots.table().others), (ALL, OTHERS));
    }

    #[test]
    fn a_caller_with_many_connections_loses_its_own() {
        let slots = ConnectionSlots::default();
        let probe = slots.acquire(other(1));
        let _many: Vec<ConnectionSlot> = (0..3 * OTHERS).map(|_| slots.acquire(other(2))).collect();
        assert!(held(&slots).contains(&probe.id));
        assert_eq!(held(&slots).len(), OTHERS);
    }

    #[test]
    fn a_newcomer_does_not_evict_the_one_before() {
        let slots = ConnectionSlots::default();
        let all: Vec<ConnectionSlot> = (0..ALL).map(|_| slots.acquire(HERE)).collect();
        // Bodies that never end, and clients that ask again and again.
        let _in_progress: Vec<RequestInProgress> =
            all.iter().map(|connection| connection.requests().begin()).collect();
        let probe = slots.acquire(HERE);
        let _others: Vec<ConnectionSlot> = (0..ALL - 1).map(|_| slots.acquire(HERE)).collect();
        assert!(held(&slots).contains(&probe.id));
    }

    #[test]
    fn with_nothing_but_requests_under_way_the_oldest_goes() {
        let slots = ConnectionSlots::default();
        let all: Vec<ConnectionSlot> = (0..ALL).map(|_| slots.acquire(HERE)).collect();
        let _in_progress: Vec<RequestInProgress> =
            all.iter().map(|connection| connection.requests().begin()).collect();
        let _new = slots.acquire(HERE);
        assert!(!held(&slots).contains(&all[0].id));
        slots.evict_one();
        assert_eq!(held(&slots).len(), ALL - 1);
    }
}

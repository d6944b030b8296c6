//! Who has a connection, and who loses it when there are too many.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Connections of other machines at once, at most.
const OTHERS: usize = 256;
/// Connections at once, at most: the places beyond [`OTHERS`] are kept for callers of this machine.
const ALL: usize = OTHERS + 128;
/// Time that a caller has for its next request before its connection counts as idle. A probe that is about to ask is not idle.
const GRACE: Duration = Duration::from_secs(1);

/// The places of a server's connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    places: HashMap<u64, Occupied>,
    others: usize,
}

#[derive(Debug)]
struct Occupied {
    peer: IpAddr,
    opened: Instant,
    /// When the connection was opened, or last had a request.
    since: Instant,
    /// Requests whose headers have come and that have no answer yet.
    requests: usize,
    lost: Arc<Notify>,
}

/// The place of one connection; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    id: u64,
    places: Places,
    lost: Arc<Notify>,
}

/// Tells a place about its requests.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    id: u64,
    places: Places,
}

/// A request is being worked on as long as this exists.
#[derive(Debug)]
pub(super) struct Answering(Requests);

impl Places {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a connection from `peer`, another's if there is none left.
    pub(super) fn take(&self, peer: IpAddr) -> Place {
        self.take_at(peer, Instant::now())
    }

    fn take_at(&self, peer: IpAddr, now: Instant) -> Place {
        let mut taken = self.taken();
        let is_other = !peer.is_loopback();
        // Other machines compete with each other only, so that they cannot push out a caller of this one.
        if is_other && taken.others >= OTHERS {
            taken.free(now, |place| !place.peer.is_loopback());
        } else if taken.places.len() >= ALL {
            taken.free(now, |_| true);
        }
        let id = taken.next;
        taken.next += 1;
        taken.others += usize::from(is_other);
        let lost = Arc::new(Notify::new());
        let place = Occupied { peer, opened: now, since: now, requests: 0, lost: Arc::clone(&lost) };
        taken.places.insert(id, place);
        Place { id, places: self.clone(), lost }
    }

    /// Frees a place of any connection.
    pub(super) fn free_one(&self) {
        self.taken().free(Instant::now(), |_| true);
    }
}

impl Taken {
    /// Ends a connection: of the idle ones the one that has been so for longest; if there is none, the oldest.
    /// A caller with many connections loses one of them before others lose their only one.
    ///
    /// A request under way may be half a body that never ends, so such a connection must not outlive a new one: with all
    /// places taken by them, each newcomer would take the place of the newcomer before it, a probe's too.
    fn free(&mut self, now: Instant, may_go: impl Fn(&Occupied) -> bool) {
        let mut of_peer: HashMap<IpAddr, usize> = HashMap::new();
        for place in self.places.values().filter(|place| may_go(place)) {
            *of_peer.entry(place.peer).or_default() += 1;
        }
        let most = of_peer.values().copied().max().unwrap_or_default();
        // With half as many as the greediest one is greedy, too.
        let is_greedy = |place: &Occupied| of_peer.get(&place.peer).is_some_and(|count| count * 2 >= most);
        let order = |(_, place): &(&u64, &Occupied)| {
            let is_idle = place.requests == 0 && now.saturating_duration_since(place.since) >= GRACE;
            (!is_greedy(place), !is_idle, if is_idle { place.since } else { place.opened })
        };
        let found = self.places.iter().filter(|(_, place)| may_go(place)).min_by_key(order);
        if let Some(id) = found.map(|(id, _)| *id) {
            self.remove(id);
        }
    }

    fn remove(&mut self, id: u64) {
        if let Some(place) = self.places.remove(&id) {
            self.others -= usize::from(!place.peer.is_loopback());
            place.lost.notify_one();
        }
    }
}

impl Place {
    /// Returns when the place was given to another connection.
    pub(super) async fn lost(&self) {
        self.lost.notified().await;
    }

    /// What tells this place about requests.
    pub(super) fn requests(&self) -> Requests {
        Requests { id: self.id, places: self.places.clone() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().remove(self.id);
    }
}

impl Requests {
    /// A request has come.
    pub(super) fn begin(&self) -> Answering {
        if let Some(place) = self.places.taken().places.get_mut(&self.id) {
            place.requests += 1;
            place.since = Instant::now();
        }
        Answering(self.clone())
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if let Some(place) = self.0.places.taken().places.get_mut(&self.0.id) {
            place.requests = place.requests.saturating_sub(1);
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

    fn held(places: &Places) -> Vec<u64> {
        let mut held: Vec<u64> = places.taken().places.keys().copied().collect();
        held.sort_unstable();
        held
    }

    #[test]
    fn the_connection_that_waits_longest_for_its_caller_goes() {
        let places = Places::default();
        let before = Instant::now().checked_sub(2 * GRACE).unwrap();
        let mut all: Vec<Place> = (0..ALL)
            .map(|number| places.take_at(HERE, before + Duration::from_micros(number as u64)))
            .collect();
        // The oldest is being answered, the second has just asked.
        let _answering = all[0].requests().begin();
        drop(all[1].requests().begin());
        let new = places.take(HERE);
        assert_eq!(held(&places).len(), ALL);
        assert!(held(&places).contains(&0) && held(&places).contains(&1) && !held(&places).contains(&2));
        drop(new);
        assert_eq!(held(&places).len(), ALL - 1);
        // A place that was lost is given back once.
        drop(all.remove(2));
        assert_eq!(held(&places).len(), ALL - 1);
    }

    #[test]
    fn other_machines_never_push_out_one_of_this_machine() {
        let places = Places::default();
        let here = places.take(HERE);
        let _others: Vec<Place> = (0..3 * ALL).map(|n| places.take(other((n % 200) as u8))).collect();
        assert_eq!(held(&places).len(), OTHERS + 1);
        assert!(held(&places).contains(&here.id));
        let _kept: Vec<Place> = (0..ALL - OTHERS - 1).map(|_| places.take(HERE)).collect();
        assert_eq!((held(&places).len(), places.taken().others), (ALL, OTHERS));
    }

    #[test]
    fn a_caller_with_many_connections_loses_its_own() {
        let places = Places::default();
        let probe = places.take(other(1));
        let _greedy: Vec<Place> = (0..3 * OTHERS).map(|_| places.take(other(2))).collect();
        assert!(held(&places).contains(&probe.id));
        assert_eq!(held(&places).len(), OTHERS);
    }

    #[test]
    fn a_newcomer_does_not_take_the_place_of_the_one_before() {
        let places = Places::default();
        let all: Vec<Place> = (0..ALL).map(|_| places.take(HERE)).collect();
        // Bodies that never end, and callers that ask again and again.
        let _answering: Vec<Answering> = all.iter().map(|place| place.requests().begin()).collect();
        let probe = places.take(HERE);
        let _others: Vec<Place> = (0..ALL - 1).map(|_| places.take(HERE)).collect();
        assert!(held(&places).contains(&probe.id));
    }

    #[test]
    fn with_nothing_but_requests_under_way_the_oldest_goes() {
        let places = Places::default();
        let all: Vec<Place> = (0..ALL).map(|_| places.take(HERE)).collect();
        let _answering: Vec<Answering> = all.iter().map(|place| place.requests().begin()).collect();
        let _new = places.take(HERE);
        assert!(!held(&places).contains(&all[0].id));
        places.free_one();
        assert_eq!(held(&places).len(), ALL - 1);
    }
}

//! Processes that are killed, started, stopped and suspended, and a foreign one in another group.

use std::time::Duration;

use crate::bed::Bed;
use crate::crew::{Crew, Deployment, Seen};
use crate::drill::Drill;

/// Kills of each deployment. Three deployments make more than fifty.
const KILLS: usize = 17;
/// A time longer than the crews' session timeout.
const PAST_THE_SESSION: Duration = Duration::from_millis(4500);

#[test]
fn killed_at_random_moments() {
    let Some(turn) = Bed::turn() else { return };
    let mut all = Seen::default();
    for deployment in Deployment::ALL {
        let mut drill = Drill::new(&turn, "kills", deployment, |crew| crew);
        drill.produce();
        for kill in 0..KILLS {
            drill.work(50..600);
            let running = drill.crew.running();
            let place = running[drill.random.usize(..running.len())];
            if kill % 3 == 0 {
                // Not every kill comes during the start.
                drill
                    .crew
                    .wait("it works", |crew| crew.service(place).metric("turnmill_batches_total") >= 1.0);
            }
            drill.crew.kill(place);
            // A static member takes its old place in the group, which does not wait for the session
            // timeout.
            drill.crew.start_one(place);
        }
        let took = drill.crew.recovers();
        eprintln!("{deployment:?}: {took:?} from the last start to a commit");
        let seen = drill.finish();
        assert_eq!(seen.kills, KILLS);
        assert!(seen.kills_at_work >= KILLS / 3 && seen.assigned > 3.0, "{seen:?}");
        assert!(deployment.keyed() || seen.replays > 0.0, "{seen:?}");
        all += seen;
    }
    assert!(all.kills >= 50);
}

#[test]
fn workers_come_and_go() {
    let Some(turn) = Bed::turn() else { return };
    for deployment in [Deployment::Keyed, Deployment::Unkeyed] {
        let mut drill = Drill::new(&turn, "comings", deployment, Crew::without_names);
        drill.produce();
        let most = deployment.processes() + 1;
        for _ in 0..10 {
            drill.work(50..500);
            let running = drill.crew.running();
            let join = running.len() == 1 || running.len() < most && drill.random.bool();
            if join {
                let place = (0..most).find(|place| !running.contains(place)).unwrap();
                drill.crew.start_one(place);
            } else {
                let place = running[drill.random.usize(..running.len())];
                drill.crew.stop_one(place);
            }
        }
        let seen = drill.finish();
        assert!(seen.revoked >= 1.0, "{seen:?}");
        assert!(seen.assigned > deployment.processes() as f64, "{seen:?}");
    }
}

#[test]
fn suspended_past_the_session_and_awake_again() {
    let Some(turn) = Bed::turn() else { return };
    let mut all = Seen::default();
    for deployment in [Deployment::Keyed, Deployment::Unkeyed] {
        let names = deployment.keyed();
        let set_up = |crew: Crew| if names { crew } else { crew.without_names() };
        let mut drill = Drill::new(&turn, "zombies", deployment, set_up);
        // Commits are slow, so one is in progress when a process is suspended: it keeps its locks
        // in PostgreSQL while Kafka gives its partitions to others.
        drill.psql(
            "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END $$;
             CREATE TRIGGER dawdle AFTER INSERT ON rasa_event FOR EACH STATEMENT EXECUTE FUNCTION dawdle()",
        );
        drill.produce();
        for place in 0..2 {
            drill.work(100..600);
            drill.crew.service(place).signal("STOP");
            std::thread::sleep(PAST_THE_SESSION);
            drill.crew.service(place).signal("CONT");
            let took = drill.crew.recovers();
            eprintln!("{deployment:?}: {took:?} from waking up to a commit");
        }
        let seen = drill.finish();
        assert!(seen.lost + seen.revoked >= 1.0, "{seen:?}");
        all += seen;
    }
    assert!(all.fences + all.retries + all.dropped as f64 >= 1.0, "{all:?}");
}

#[test]
fn started_twice_by_mistake() {
    let Some(turn) = Bed::turn() else { return };
    for deployment in [Deployment::Keyed, Deployment::Threads] {
        let mut drill = Drill::new(&turn, "doubles", deployment, |crew| crew);
        drill.produce();
        drill.crew.start_rival();
        drill.work(3000..4000);
        let seen = drill.finish();
        assert!(seen.fences >= 3.0, "{seen:?}");
    }
}

//! PostgreSQL is unavailable, restarted, blocked and full.

use std::time::Duration;

use crate::bed::Bed;
use crate::crew::Deployment;
use crate::drill::Drill;

#[test]
fn postgres_is_stopped_killed_and_its_connections_are_terminated() {
    let Some(turn) = Bed::turn() else { return };
    for deployment in Deployment::ALL {
        let mut drill = Drill::new(&turn, "outages", deployment, |crew| crew);
        drill.produce();
        for round in 0..4 {
            drill.work(100..600);
            if round % 2 == 0 {
                turn.bed.postgres.stop();
            } else {
                turn.bed.postgres.kill();
            }
            drill.work(0..1500);
            turn.bed.postgres.start_again();
            let took = drill.crew.recovers();
            eprintln!("{deployment:?}: {took:?} from PostgreSQL's start to a commit");
        }
        for _ in 0..15 {
            drill.work(20..200);
            let others = format!("datname = '{}' AND pid <> pg_backend_pid()", drill.name);
            drill.psql(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"));
        }
        let took = drill.crew.recovers();
        eprintln!("{deployment:?}: {took:?} from the last termination to a commit");
        let seen = drill.finish();
        assert!(seen.retries >= 4.0, "{seen:?}");
        assert!(deployment.keyed() || seen.replays > 0.0, "{seen:?}");
    }
}

#[test]
fn a_lock_is_held_for_longer_than_statements_may_take() {
    let Some(turn) = Bed::turn() else { return };
    for deployment in [Deployment::Keyed, Deployment::Unkeyed] {
        // First the statement times out, then the wait for the lock.
        let lock_timeout = if deployment.keyed() { "0" } else { "1" };
        let mut drill = Drill::new(&turn, "locks", deployment, |mut crew| {
            crew.set("TURNMILL_DB_LOCK_TIMEOUT_SECS", lock_timeout);
            crew
        });
        drill.produce();
        for table in ["rasa_event", "rasa_session"] {
            drill.psql(&format!("BEGIN; LOCK TABLE {table}; SELECT pg_sleep(3.5); COMMIT"));
            let took = drill.crew.recovers();
            eprintln!("{deployment:?}: {took:?} from the release of {table} to a commit");
        }
        let seen = drill.finish();
        assert!(seen.retries >= 2.0, "{seen:?}");
    }
}

#[test]
fn the_disk_is_full_for_a_while() {
    let Some(turn) = Bed::turn() else { return };
    for deployment in [Deployment::Keyed, Deployment::Unkeyed] {
        let mut drill = Drill::new(&turn, "disks", deployment, |crew| crew);
        drill.psql(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$",
        );
        drill.produce();
        for table in ["rasa_event", "rasa_sender", "rasa_turn"] {
            drill.psql(&format!(
                "CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION full_disk()"
            ));
            std::thread::sleep(Duration::from_millis(1500));
            drill.psql(&format!("DROP TRIGGER full_disk ON {table}"));
            let took = drill.crew.recovers();
            eprintln!("{deployment:?}: {took:?} from the end of the shortage to a commit");
        }
        let seen = drill.finish();
        assert!(seen.retries >= 3.0, "{seen:?}");
    }
}

//! All faults in random order, for a given time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::bed::Bed;
use crate::crew::Deployment;
use crate::drill::Drill;

/// Default duration, which `TURNMILL_SOAK_SECS` overrides: half with keys, half without.
const SECONDS: u64 = 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Kill,
    Stop,
    Join,
    Suspend,
    KillBroker,
    StopBroker,
    KillPostgres,
    StopPostgres,
    Terminate,
    Lock,
    FullDisk,
}

/// Each fault is as likely as its number of entries here.
const FAULTS: [Fault; 18] = [
    Fault::Kill,
    Fault::Kill,
    Fault::Kill,
    Fault::Kill,
    Fault::Kill,
    Fault::Stop,
    Fault::Stop,
    Fault::Join,
    Fault::Join,
    Fault::Suspend,
    Fault::KillBroker,
    Fault::StopBroker,
    Fault::KillPostgres,
    Fault::StopPostgres,
    Fault::Terminate,
    Fault::Terminate,
    Fault::Lock,
    Fault::FullDisk,
];

#[test]
fn all_at_random() {
    let Some(turn) = Bed::turn() else { return };
    let seconds = std::env::var("TURNMILL_SOAK_SECS").ok().filter(|text| !text.is_empty());
    let seconds = seconds.map_or(SECONDS, |text| text.parse().expect("TURNMILL_SOAK_SECS is a number"));
    for deployment in [Deployment::Unkeyed, Deployment::Keyed] {
        let mut drill = Drill::new(&turn, "soak", deployment, |crew| crew);
        drill.psql(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$",
        );
        drill.produce();
        // Only this fault needs a wait to be certain.
        drill.crew.start_rival();
        let end = Instant::now() + Duration::from_secs(seconds) / 2;
        let mut happened: BTreeMap<Fault, usize> = BTreeMap::new();
        while Instant::now() < end {
            drill.work(50..700);
            let fault = FAULTS[drill.random.usize(..FAULTS.len())];
            if befall(fault, &mut drill) {
                *happened.entry(fault).or_default() += 1;
            }
        }
        for place in 0..deployment.processes() {
            if !drill.crew.running().contains(&place) {
                drill.crew.start_one(place);
            }
        }
        eprintln!("{deployment:?}: {happened:?}");
        let seen = drill.finish();
        assert!(seen.fences >= 1.0 && seen.assigned > deployment.processes() as f64, "{seen:?}");
        assert!(deployment.keyed() || seen.replays > 0.0, "{seen:?}");
    }
}

/// Causes the fault, if it is possible now.
fn befall(fault: Fault, drill: &mut Drill<'_>) -> bool {
    let bed = drill.turn.bed;
    let running = drill.crew.running();
    let most = drill.crew.deployment.processes();
    let any = |random: &mut fastrand::Rng| running[random.usize(..running.len())];
    match fault {
        Fault::Kill => {
            let place = any(&mut drill.random);
            drill.crew.kill(place);
            drill.crew.start_one(place);
        }
        Fault::Stop if running.len() > 1 => {
            let place = any(&mut drill.random);
            drill.crew.stop_one(place);
        }
        Fault::Join => match (0..=most).find(|place| !running.contains(place)) {
            Some(place) => drill.crew.start_one(place),
            None => return false,
        },
        Fault::Stop => return false,
        Fault::Suspend => {
            let place = any(&mut drill.random);
            drill.crew.service(place).signal("STOP");
            drill.work(500..3500);
            drill.crew.service(place).signal("CONT");
        }
        Fault::KillBroker => {
            bed.broker.kill();
            bed.broker.start_again();
        }
        Fault::StopBroker => {
            bed.broker.stop();
            drill.work(0..1000);
            bed.broker.start_again();
        }
        Fault::KillPostgres => {
            bed.postgres.kill();
            drill.work(0..500);
            bed.postgres.start_again();
        }
        Fault::StopPostgres => {
            bed.postgres.stop();
            drill.work(0..1500);
            bed.postgres.start_again();
        }
        Fault::Terminate => {
            let others = format!("datname = '{}' AND pid <> pg_backend_pid()", drill.name);
            drill.psql(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"));
        }
        Fault::Lock => {
            drill.psql("BEGIN; LOCK TABLE rasa_event; SELECT pg_sleep(2.5); COMMIT");
        }
        Fault::FullDisk => {
            let table = ["rasa_event", "rasa_session", "rasa_sender"][drill.random.usize(..3)];
            drill.psql(&format!(
                "CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION full_disk()"
            ));
            drill.work(200..1500);
            drill.psql(&format!("DROP TRIGGER full_disk ON {table}"));
        }
    }
    true
}

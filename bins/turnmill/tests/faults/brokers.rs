//! The broker is unavailable.

use crate::bed::Bed;
use crate::crew::Deployment;
use crate::drill::Drill;

#[test]
fn the_broker_is_stopped_and_killed() {
    let Some(turn) = Bed::turn() else { return };
    for deployment in [Deployment::Keyed, Deployment::Unkeyed] {
        let mut drill = Drill::new(&turn, "brokers", deployment, |crew| crew);
        drill.produce();
        for kill in [false, true] {
            drill.work(300..900);
            if kill {
                turn.bed.broker.kill();
            } else {
                turn.bed.broker.stop();
            }
            drill.work(0..1000);
            turn.bed.broker.start_again();
            let took = drill.crew.recovers();
            eprintln!("{deployment:?}: {took:?} from the broker's start to a commit");
        }
        let seen = drill.finish();
        assert!(seen.kafka_errors >= 1.0, "{seen:?}");
    }
}

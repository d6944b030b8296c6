//! Memory of the service while nothing can be written and records keep coming.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::bed::Bed;
use crate::crew::{Crew, Deployment};
use crate::drill::equals_a_replay;
use crate::stream::{Events, topic};

/// Records produced while PostgreSQL is unavailable: several times the read-ahead.
const RECORDS: usize = 16_000;
/// Maximum growth of the process meanwhile, in MiB.
const GROWTH: u64 = 40;

/// Returns a memory figure of a process, in MiB.
fn memory(pid: u32, figure: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(figure)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
}

#[test]
fn memory_stays_bounded_while_postgres_is_away() {
    let Some(turn) = Bed::turn() else { return };
    let (name, store) = turn.fresh("memory");
    let mut topic = topic(&turn.bed.broker.bootstrap(), &name);
    let mut events = Events::new(false, 1);
    let mut crew = Crew::new(&topic, &store, Deployment::Threads);
    crew.set("TURNMILL_BUFFER_BYTES", "2097152");
    crew.set("TURNMILL_CACHE_BYTES", "4194304");
    crew.set("TURNMILL_BATCH_RECORDS", "1000");
    // Prevents a rebalance meanwhile.
    crew.set("KAFKA_CONSUMER_SESSION_TIMEOUT_MS", "45000");
    crew.set("KAFKA_CONSUMER_MAX_POLL_INTERVAL_MS", "60000");
    crew.start();
    // A new assignment waits for the store before anything is read, so the three consumers share
    // the partitions first.
    crew.wait("all have partitions", |crew| {
        let messages = crew.service(0).messages();
        let assigned = messages.iter().filter(|line| line["message"] == "partitions assigned");
        assigned.map(|line| line["consumer"].as_u64()).collect::<BTreeSet<_>>().len() == 3
    });
    topic.produce(&events.take(2000));
    crew.wait_until_read(&topic);
    let pid = crew.service(0).pid();
    let before = memory(pid, "VmHWM");

    turn.bed.postgres.stop();
    let began = Instant::now();
    let mut bytes = 0;
    for _ in 0..RECORDS / 2000 {
        let records = events.take(2000);
        bytes += records.iter().map(|record| record.value.len()).sum::<usize>();
        topic.produce(&records);
    }
    // Time to fill the read-ahead.
    std::thread::sleep(Duration::from_secs(4).saturating_sub(began.elapsed()) + Duration::from_secs(1));
    let ahead = crew.service(0).metric("turnmill_buffer_bytes");
    let away = memory(pid, "VmHWM");
    eprintln!(
        "{} MiB produced; peak {before} MiB before, {away} MiB with PostgreSQL away; {ahead} bytes read ahead",
        bytes >> 20
    );
    assert!(bytes > 8 << 20, "{bytes}");
    assert!(ahead > 0.0 && ahead < 3e6, "{ahead}");
    // What is not fetched is lag as well.
    crew.wait("all that waits is lag, and reading is paused", |crew| {
        let service = crew.service(0);
        service.metric("turnmill_lag_events{") as usize == RECORDS
            && service.metric("turnmill_paused_partitions") > 0.0
    });
    assert!(away < before + GROWTH, "{away} MiB, and {before} before");

    turn.bed.postgres.start_again();
    crew.wait_until_read(&topic);
    let after = memory(pid, "VmHWM");
    eprintln!("peak {after} MiB after all was caught up with");
    assert!(after < before + GROWTH, "{after} MiB, and {before} before");
    crew.stop();
    equals_a_replay(&topic, &store);
}

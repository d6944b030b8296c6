//! Tests of a signal while a database keeps connections open and sends nothing.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use turnmill_testbed::postgres;
use turnmill_testbed::proxy::Proxy;

use crate::support::{Service, Topic, capture, turnmill, variables, verify, wait_until_read};

/// Time after its limit that a program may still run on a busy machine.
const GRACE: Duration = Duration::from_secs(20);

#[test]
fn a_signal_ends_the_service_within_its_limit_while_the_database_is_silent() {
    let (Some(url), Some(mut topic)) = (postgres::database(), Topic::fresh(2)) else { return };
    let proxy = Proxy::before(&url);
    let records = capture("partition-by-sender-true.jsonl.gz");
    topic.produce(&records[..100]);
    let mut variables = variables(&topic, proxy.url());
    variables.push(("TURNMILL_SHUTDOWN_SECS".into(), "2".into()));
    let mut service = Service::start(&variables);
    wait_until_read(&url, &topic, &mut service);

    let end = |service: &mut Service| {
        let asked = Instant::now();
        service.signal("TERM");
        let status = service.ended();
        assert!(asked.elapsed() < Duration::from_secs(2) + GRACE, "{:?}", asked.elapsed());
        assert_eq!(status.code(), Some(1), "{}", service.log());
        assert!(service.said("shutdown exceeded 2 s (TURNMILL_SHUTDOWN_SECS)"), "{}", service.log());
    };
    proxy.freeze(true);
    topic.produce(&records[100..200]);
    std::thread::sleep(Duration::from_secs(1));
    end(&mut service);
    // The signal comes while it opens the store.
    let mut service = Service::start(&variables);
    std::thread::sleep(Duration::from_secs(1));
    end(&mut service);

    proxy.freeze(false);
    let mut service = Service::start(&variables);
    wait_until_read(&url, &topic, &mut service);
    service.stop();
    assert_eq!(verify(&url)["tables"], topic.expected());
}

/// Sends SIGTERM to process `id`, and returns how `child` ended.
#[track_caller]
fn terminated(id: u32, mut child: Child) -> ExitStatus {
    let asked = Instant::now();
    assert!(Command::new("kill").args(["-s", "TERM", &id.to_string()]).status().unwrap().success());
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if asked.elapsed() > GRACE {
            let _ = Command::new("kill").args(["-s", "KILL", &id.to_string()]).status();
            panic!("it does not end: {:?}", child.wait_with_output().unwrap());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_signal_ends_every_tool_at_once_while_the_database_is_silent() {
    let Some(url) = postgres::database() else { return };
    let proxy = Proxy::before(&url);
    proxy.freeze(true);
    let folder = tempfile::tempdir().unwrap();
    let markers = folder.path().join("markers.yml");
    std::fs::write(&markers, "a: {intent: greet}\n").unwrap();
    let (url, markers) = (proxy.url(), markers.to_str().unwrap());
    for arguments in [
        &["verify", url][..],
        &["positions", "list", url],
        &["dead-letters", "list", url],
        &["rebuild", url],
        &["foreign-keys", "none", url],
        &["markers", "preview", markers, "--on", url],
        &["check", "--connect", "--database-url", url],
    ] {
        let mut command = turnmill(arguments);
        command.env("KAFKA_BROKER_ADDRESS", "127.0.0.1:1").stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(500));
        let status = terminated(child.id(), child);
        assert_eq!(status.signal(), Some(15), "{arguments:?}: {status}");
    }
}

/// Returns `program` as the first process of a container.
fn alone(program: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--fork", "--pid", program]).stderr(Stdio::null());
    command
}

/// No signal without a handler ends the first process of a container.
#[test]
fn a_signal_ends_a_tool_that_is_the_first_process() {
    let Some(url) = postgres::database() else { return };
    let possible = alone("true").status().is_ok_and(|status| status.success());
    if !possible {
        turnmill_testbed::skip(
            "a process cannot be the first one of its own: `unshare --pid` needs privileges",
        );
        return;
    }
    let proxy = Proxy::before(&url);
    proxy.freeze(true);
    let mut command = alone(env!("CARGO_BIN_EXE_turnmill"));
    command.args(["verify", proxy.url()]).env_clear();
    let parent = command.spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let children = format!("/proc/{0}/task/{0}/children", parent.id());
    let id = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
    assert_eq!(terminated(id, parent).code(), Some(130));
}

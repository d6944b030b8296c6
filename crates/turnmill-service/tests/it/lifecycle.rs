//! Tests of stopping, with real signals where they matter.

use std::time::Duration;

use turnmill_service::{Health, Lifecycle, Phase, ShutdownOutcome};

/// Runs a lifecycle to its end.
fn run(lifecycle: Lifecycle, health: &Health) -> ShutdownOutcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(lifecycle.run(health))
}

fn failed(component: &str, reason: &str) -> ShutdownOutcome {
    ShutdownOutcome::Failed { component: component.into(), reason: reason.into() }
}

#[test]
fn a_component_that_dies_takes_the_others_along() {
    type Death = fn(turnmill_service::Component);
    let deaths: [(Death, &str); 3] = [
        (|component| drop(component), "ended unexpectedly"),
        (|component| component.fail("wrong password"), "wrong password"),
        (
            |component| {
                let _component = component;
                std::panic::panic_any("on purpose");
            },
            "panicked",
        ),
    ];
    for (death, reason) in deaths {
        for awaited in [true, false] {
            let lifecycle = Lifecycle::new(Duration::from_secs(60));
            let victim = if awaited { lifecycle.component("victim") } else { lifecycle.background("victim") };
            let other = lifecycle.component("other");
            let stop = lifecycle.shutdown().stop().clone();
            let victim = std::thread::spawn(move || death(victim));
            let other = std::thread::spawn(move || {
                while !stop.is_set() {
                    stop.wait(Duration::from_secs(60));
                }
                other.finish();
            });
            let health = Health::default();
            assert_eq!(run(lifecycle, &health), failed("victim", reason));
            assert_eq!(health.report().phase, Phase::Failed(format!("victim: {reason}")));
            let _ = victim.join();
            other.join().unwrap();
        }
    }
}

#[test]
fn when_all_have_finished_it_is_over() {
    let lifecycle = Lifecycle::new(Duration::from_secs(60));
    let _background = lifecycle.background("http");
    let (one, two) = (lifecycle.component("one"), lifecycle.component("two"));
    one.finish();
    let thread = std::thread::spawn(move || two.finish());
    assert_eq!(run(lifecycle, &Health::default()), ShutdownOutcome::Clean);
    thread.join().unwrap();
}

#[test]
fn a_request_stops_everything_and_a_failure_meanwhile_counts() {
    let lifecycle = Lifecycle::new(Duration::from_secs(60));
    let (quiet, loud) = (lifecycle.component("quiet"), lifecycle.component("loud"));
    let shutdown = lifecycle.shutdown();
    let thread = std::thread::spawn(move || {
        shutdown.request();
        while !shutdown.stop().is_set() {}
        drop(quiet); // asked to, so that is no death
        loud.fail("the last commit failed");
    });
    assert_eq!(run(lifecycle, &Health::default()), failed("loud", "the last commit failed"));
    thread.join().unwrap();
}

#[test]
fn exit_codes() {
    let code = |ended: ShutdownOutcome| format!("{:?}", ended.exit_code());
    let number = |number: u8| format!("{:?}", std::process::ExitCode::from(number));
    assert_eq!(code(ShutdownOutcome::Clean), number(0));
    assert_eq!(code(failed("a", "b")), number(1));
    assert_eq!(code(ShutdownOutcome::OverBudget(vec![])), number(1));
    assert_eq!(code(ShutdownOutcome::Forced), number(130));
}

#[cfg(unix)]
mod signals {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    use super::*;

    const ROLE: &str = "TURNMILL_TEST_LIFECYCLE";

    /// Not a test of its own: the child process of the tests below.
    #[test]
    fn child() {
        let Ok(role) = std::env::var(ROLE) else { return };
        let budget = if role == "slow" { Duration::from_millis(200) } else { Duration::from_secs(60) };
        let lifecycle = Lifecycle::new(budget);
        let worker = lifecycle.component("worker");
        let shutdown = lifecycle.shutdown();
        let stop = shutdown.stop().clone();
        std::thread::spawn(move || {
            while !stop.is_set() {
                stop.wait(Duration::from_secs(60));
            }
            if role != "willing" {
                std::thread::sleep(Duration::from_secs(600));
            }
            worker.finish();
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let health = Health::default();
        let ended = runtime.block_on(async {
            // On this runtime a task starts only once `run` waits, that is, listens.
            tokio::spawn(async move {
                println!("\nready");
                shutdown.requested().await;
                println!("stopping");
            });
            lifecycle.run(&health).await
        });
        println!("{ended:?} {}", health.report().phase.as_str());
    }

    struct Process {
        child: Child,
        lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    }

    impl Process {
        fn start(role: &str) -> Self {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "lifecycle::signals::child", "--nocapture"])
                .env(ROLE, role)
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let mut process = Self { child, lines };
            process.wait_for("ready");
            process
        }

        fn wait_for(&mut self, text: &str) {
            assert!(self.lines.any(|line| line.unwrap() == text), "the child never said {text}");
        }

        fn signal(&self, name: &str) {
            let status = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
            assert!(status.success());
        }

        /// Returns the last line that turnmill wrote.
        fn end(mut self) -> String {
            let last = self
                .lines
                .by_ref()
                .map(Result::unwrap)
                .find(|line| line.contains("stopping") && line.len() > 8);
            assert!(self.child.wait().unwrap().success());
            last.unwrap()
        }
    }

    #[test]
    fn one_signal_stops_the_willing() {
        for signal in ["-TERM", "-INT"] {
            let process = Process::start("willing");
            process.signal(signal);
            assert_eq!(process.end(), "Clean stopping");
        }
    }

    #[test]
    fn who_is_too_slow_is_left_behind() {
        let process = Process::start("slow");
        process.signal("-TERM");
        assert_eq!(process.end(), r#"OverBudget(["worker"]) stopping"#);
    }

    #[test]
    fn a_second_signal_ends_it_at_once() {
        let mut process = Process::start("stuck");
        process.signal("-TERM");
        process.wait_for("stopping");
        process.signal("-INT");
        assert_eq!(process.end(), "Forced stopping");
    }
}

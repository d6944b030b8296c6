//! Server processes that do not outlive this one.
//!
//! A destructor is not enough, because it does not run if this process is killed. Therefore each
//! server has a shell, which reads orders from a pipe:
//!
//! ```text
//! this process                       shell (supervisor.sh)             server
//! order "start"       ---- pipe ---> starts the server           ---> runs
//! report "started 77" <--- pipe ----
//! order "signal TERM" ---- pipe ---> kill -s TERM 77             ---> ends
//! report "exited 0"   <--- pipe ----
//! (killed)            ---- EOF ----> kills the server, deletes the folder
//! ```
//!
//! The kernel closes the pipe in every case, so the shell always gets the last order.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Unavailable;

/// Timeout of a simple action of the shell, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server, its folder, and the shell that stops the server and deletes the folder. It does so
/// when this value is dropped, and when this process panics or is killed.
#[derive(Debug)]
pub(crate) struct Supervisor {
    name: &'static str,
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    shell: Child,
    /// The pipe of orders. The shell stops the server when it is closed.
    orders: Option<ChildStdin>,
    reports: Receiver<Report>,
    /// The server's process id while it runs.
    pid: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
enum Report {
    Started(u32),
    Exited,
}

impl Supervisor {
    /// Takes over `folder` for the server that `command` runs, without starting it.
    ///
    /// The server's output goes to the file `log` in the folder. `last` is the signal that ends the
    /// server at once.
    pub(crate) fn new<S: AsRef<OsStr>>(
        name: &'static str,
        folder: TempDir,
        last: &str,
        command: &[S],
    ) -> Result<Self, Unavailable> {
        let failed = |error| Unavailable::failed(name, format!("starting its supervisor: {error}"));
        let mut shell = Command::new("sh")
            .args(["-c", include_str!("supervisor.sh"), "turnmill-testbed"])
            .arg(folder.path())
            .arg(last)
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // In its own process group, the shell survives Ctrl-C and stops the server afterwards.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let (orders, output) = (shell.stdin.take(), shell.stdout.take());
        let (sender, reports) = channel();
        std::thread::spawn(move || {
            for line in
                output.into_iter().flat_map(|output| BufReader::new(output).lines().map_while(Result::ok))
            {
                let report = match line.split_once(' ') {
                    Some(("started", pid)) => pid.parse().ok().map(Report::Started),
                    Some(("exited", _)) => Some(Report::Exited),
                    _ => None,
                };
                if report.is_some_and(|report| sender.send(report).is_err()) {
                    break;
                }
            }
        });
        let state = Mutex::new(State { shell, orders, reports, pid: None });
        Ok(Self { name, folder: folder.keep(), state })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts the server's process. It may not answer yet.
    pub(crate) fn start(&self) -> Result<u32, Unavailable> {
        let mut state = self.lock();
        if let Some(pid) = state.running() {
            return Ok(pid);
        }
        state.order("start");
        if !state.wait(PATIENCE, |pid| pid.is_some()) {
            return Err(self.failed("it did not start"));
        }
        state.pid.ok_or_else(|| self.failed("it ended at once"))
    }

    /// Returns the server's process id while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.lock().running()
    }

    /// Sends a signal and waits for the end. Kills the server if that takes too long.
    pub(crate) fn end(&self, signal: &str) {
        let mut state = self.lock();
        for signal in [signal, "KILL"] {
            if state.running().is_none() {
                return;
            }
            state.order(&format!("signal {signal}"));
            if state.wait(PATIENCE, |pid| pid.is_none()) {
                return;
            }
        }
        panic!("{} cannot be ended", self.name);
    }

    /// Waits until `ready` returns true, which means that the server answers.
    pub(crate) fn wait_until(&self, mut ready: impl FnMut() -> bool) -> Result<(), Unavailable> {
        let start = Instant::now();
        while !ready() {
            if self.pid().is_none() {
                return Err(self.failed("it ended while starting"));
            }
            if start.elapsed() > 4 * PATIENCE {
                return Err(self.failed("it does not answer"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Returns the server's output.
    pub(crate) fn log(&self) -> String {
        let bytes = std::fs::read(self.folder.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Returns an error with the end of the log.
    pub(crate) fn failed(&self, what: &str) -> Unavailable {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let end = lines[lines.len().saturating_sub(30)..].join("\n  ");
        Unavailable::failed(self.name, format!("{what}; its log ends with\n  {end}"))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let mut state = self.lock();
        state.orders = None;
        // The shell would finish alone. Wait all the same, so that a test finds nothing left after
        // a drop.
        let start = Instant::now();
        while matches!(state.shell.try_wait(), Ok(None)) && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl State {
    fn order(&mut self, order: &str) {
        // If the shell is gone, its reports end, which `wait` notices.
        if let Some(orders) = &mut self.orders {
            let _ = writeln!(orders, "{order}");
        }
    }

    fn running(&mut self) -> Option<u32> {
        while let Ok(report) = self.reports.try_recv() {
            self.note(report);
        }
        self.pid
    }

    /// Waits for a report after which `wanted` holds. Returns false on timeout.
    fn wait(&mut self, patience: Duration, wanted: impl Fn(Option<u32>) -> bool) -> bool {
        let end = Instant::now() + patience;
        while !wanted(self.pid) {
            match self.reports.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(report) => self.note(report),
                Err(RecvTimeoutError::Timeout) => return false,
                Err(RecvTimeoutError::Disconnected) => {
                    self.pid = None;
                    return wanted(None);
                }
            }
        }
        true
    }

    fn note(&mut self, report: Report) {
        self.pid = match report {
            Report::Started(pid) => Some(pid),
            Report::Exited => None,
        };
    }
}

//! Shutdown of all components of a process: on a signal, on request, or after a failure, within a
//! time limit.
//!
//! A service must not keep running with some of its threads and tasks gone. Each of them registers
//! as a component. If one ends before a stop was requested (an error, a panic or a bug), all others
//! are stopped and the exit code is 1.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};
use turnmill_pipeline::Stop;

use crate::health::{Health, Phase};

/// Exit code of a process that ends before it has stopped cleanly, as shells report SIGINT.
pub const INTERRUPTED: u8 = 130;

/// Ends the process at once, with the exit code [`INTERRUPTED`].
///
/// It waits for nothing, because threads may be blocked by a database that does not respond. That
/// is safe: rows and positions commit together.
#[expect(clippy::exit, reason = "the main thread may be blocked by a database that does not respond")]
pub fn end_at_once() -> ! {
    std::process::exit(INTERRUPTED.into());
}

/// How a service ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All components stopped on request.
    Clean,
    /// A component failed.
    Failed {
        /// Name of the component.
        component: String,
        /// Error message of the component.
        reason: String,
    },
    /// These components were still busy at the time limit. Their work is not committed, which is
    /// safe.
    OverBudget(Vec<String>),
    /// A second signal arrived.
    Forced,
}

impl Ended {
    /// Returns the exit code of the process: 0 for a clean end, 130 after a second signal,
    /// otherwise 1.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Clean => ExitCode::SUCCESS,
            Self::Failed { .. } | Self::OverBudget(_) => ExitCode::FAILURE,
            Self::Forced => ExitCode::from(INTERRUPTED),
        }
    }
}

/// Requests a stop, and waits for a request. Clones share the request.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    stop: Stop,
    is_requested: Arc<watch::Sender<bool>>,
}

impl Shutdown {
    /// Returns the request in the form that threads poll.
    #[must_use]
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Requests that all components stop.
    pub fn request(&self) {
        self.stop.set();
        self.is_requested.send_replace(true);
    }

    /// Returns as soon as a stop was requested.
    pub async fn requested(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.is_requested.subscribe().wait_for(|is_requested| *is_requested).await;
    }
}

/// Registers the components of a process, and stops all of them together.
///
/// ```
/// # async fn service() -> std::process::ExitCode {
/// use std::time::Duration;
/// use turnmill_service::{Health, Lifecycle};
///
/// let lifecycle = Lifecycle::new(Duration::from_secs(20));
/// let component = lifecycle.component("consumer");
/// let stop = lifecycle.shutdown().stop().clone();
/// std::thread::spawn(move || {
///     while !stop.is_set() {
///         stop.wait(Duration::from_millis(100));
///     }
///     component.finish();
/// });
/// let ended = lifecycle.run(&Health::default()).await;
/// // Return this from `main`. Threads that are still busy end with the process.
/// ended.exit_code()
/// # }
/// ```
#[derive(Debug)]
pub struct Lifecycle {
    budget: Duration,
    shutdown: Shutdown,
    registry: Registry,
    exits: mpsc::UnboundedReceiver<ComponentExit>,
}

#[derive(Clone, Debug)]
struct Registry {
    running: Arc<Mutex<RunningComponents>>,
    exits: mpsc::UnboundedSender<ComponentExit>,
}

#[derive(Debug, Default)]
struct RunningComponents {
    next: u64,
    /// Names of the components that a stop waits for.
    components: BTreeMap<u64, String>,
}

#[derive(Debug)]
struct ComponentExit {
    component: String,
    /// Why the component failed, or `None` if it ended as it should.
    reason: Option<String>,
}

impl Registry {
    fn running(&self) -> MutexGuard<'_, RunningComponents> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lifecycle {
    /// Creates a lifecycle whose shutdown may take as long as `budget`.
    #[must_use]
    pub fn new(budget: Duration) -> Self {
        let (sender, exits) = mpsc::unbounded_channel();
        let registry = Registry { running: Arc::default(), exits: sender };
        Self { budget, shutdown: Shutdown::default(), registry, exits }
    }

    /// Returns a handle that requests a stop or waits for a request.
    #[must_use]
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Registers a component that a stop waits for.
    #[must_use]
    pub fn component(&self, name: impl Into<String>) -> Component {
        self.register(name.into(), true)
    }

    /// Registers a component that runs until the process exits, such as the server that answers
    /// probes. A stop does not wait for it.
    #[must_use]
    pub fn background(&self, name: impl Into<String>) -> Component {
        self.register(name.into(), false)
    }

    fn register(&self, name: String, awaited: bool) -> Component {
        let mut running = self.registry.running();
        running.next += 1;
        let id = running.next;
        if awaited {
            running.components.insert(id, name.clone());
        }
        drop(running);
        Component {
            id,
            name,
            registry: self.registry.clone(),
            shutdown: self.shutdown.clone(),
            has_reported: false,
        }
    }

    /// Waits for a signal (`SIGTERM`, `SIGINT`), a request, the end of all components or the
    /// failure of one. Then stops all components.
    pub async fn run(mut self, health: &Health) -> Ended {
        let mut signals = Signals::new();
        let failure = loop {
            tokio::select! {
                biased;
                exit = self.exits.recv() => {
                    let Some(ComponentExit { component, reason }) = exit else { break None };
                    if let Some(reason) = reason {
                        break Some((component, reason));
                    }
                    if self.registry.running().components.is_empty() {
                        break None;
                    }
                }
                name = signals.next() => {
                    tracing::info!(signal = name, "signal received, stopping");
                    break None;
                }
                () = self.shutdown.requested() => break None,
            }
        };
        match &failure {
            Some((component, reason)) => {
                tracing::error!(component, "component failed, stopping: {reason}");
                health.enter(Phase::Failed(format!("{component}: {reason}")));
            }
            None => health.enter(Phase::Stopping),
        }
        self.shutdown.request();
        let first = failure.as_ref().map(|(_, reason)| reason.clone());
        let stopped = self.wait(&mut signals, first.as_deref()).await;
        match (failure, stopped) {
            (Some((component, reason)), _) | (None, Err(Ended::Failed { component, reason })) => {
                Ended::Failed { component, reason }
            }
            (None, Ok(())) => Ended::Clean,
            (None, Err(ended)) => ended,
        }
    }

    /// Waits until all components have ended, a second signal arrives, or the time limit is
    /// reached. `first` is the failure that caused the stop.
    async fn wait(&mut self, signals: &mut Signals, first: Option<&str>) -> Result<(), Ended> {
        let deadline = Instant::now() + self.budget;
        let mut failure = None;
        loop {
            let left: Vec<String> = self.registry.running().components.values().cloned().collect();
            while let Ok(exit) = self.exits.try_recv() {
                let ended = exit.failure(first);
                failure = failure.or(ended);
            }
            if left.is_empty() {
                return failure.map_or(Ok(()), Err);
            }
            let next = async {
                tokio::select! {
                    exit = self.exits.recv() => Ok(exit),
                    name = signals.next() => Err(name),
                }
            };
            match timeout_at(deadline, next).await {
                Ok(Ok(exit)) => {
                    let ended = exit.and_then(|exit| exit.failure(first));
                    failure = failure.or(ended);
                }
                Ok(Err(signal)) => {
                    tracing::warn!(
                        signal,
                        components = left.join(", "),
                        "second signal received, exiting at once"
                    );
                    return Err(Ended::Forced);
                }
                Err(_) => {
                    tracing::warn!(
                        components = left.join(", "),
                        "shutdown exceeded {} s (TURNMILL_SHUTDOWN_SECS), exiting; no data is lost",
                        self.budget.as_secs()
                    );
                    return Err(Ended::OverBudget(left));
                }
            }
        }
    }
}

impl ComponentExit {
    /// Logs a failure and returns it. A failure that several components share, such as a full disk
    /// of the database, is logged as an error once.
    fn failure(self, first: Option<&str>) -> Option<Ended> {
        let Self { component, reason } = self;
        let reason = reason?;
        if first == Some(reason.as_str()) {
            tracing::debug!(component, "component failed for the same reason");
        } else {
            tracing::error!(component, "component failed during shutdown: {reason}");
        }
        Some(Ended::Failed { component, reason })
    }
}

/// Guard of a running component. Dropping it before a stop was requested counts as a failure.
#[derive(Debug)]
pub struct Component {
    id: u64,
    name: String,
    registry: Registry,
    shutdown: Shutdown,
    has_reported: bool,
}

impl Component {
    /// Reports that the component has finished its work.
    pub fn finish(mut self) {
        self.report(None);
    }

    /// Reports that the component failed. All others are stopped, and the process fails.
    pub fn fail(mut self, reason: impl Into<String>) {
        self.report(Some(reason.into()));
    }

    fn report(&mut self, reason: Option<String>) {
        self.has_reported = true;
        // Sends under the lock: a reader that finds no running component can receive every exit.
        let mut running = self.registry.running();
        // Fails only if the lifecycle has ended, and then the exit is of no interest.
        let _ = self.registry.exits.send(ComponentExit { component: self.name.clone(), reason });
        running.components.remove(&self.id);
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        if self.has_reported {
            return;
        }
        let reason = if std::thread::panicking() {
            Some("panicked".to_owned())
        } else if self.shutdown.stop.is_set() {
            None
        } else {
            Some("ended unexpectedly".to_owned())
        };
        self.report(reason);
    }
}

/// The signals that request a stop.
#[derive(Debug)]
struct Signals {
    #[cfg(unix)]
    terminate: Option<tokio::signal::unix::Signal>,
    #[cfg(unix)]
    interrupt: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind, name| match signal(kind) {
            Ok(signal) => Some(signal),
            Err(error) => {
                tracing::warn!("cannot listen for {name}: {error}");
                None
            }
        };
        Self {
            terminate: listen(SignalKind::terminate(), "SIGTERM"),
            interrupt: listen(SignalKind::interrupt(), "SIGINT"),
        }
    }

    /// Waits for the next signal and returns its name.
    async fn next(&mut self) -> &'static str {
        async fn one(signal: &mut Option<tokio::signal::unix::Signal>) {
            let received = match signal {
                Some(signal) => signal.recv().await,
                None => None,
            };
            if received.is_none() {
                std::future::pending::<()>().await;
            }
        }
        tokio::select! {
            () = one(&mut self.terminate) => "SIGTERM",
            () = one(&mut self.interrupt) => "SIGINT",
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    fn new() -> Self {
        Self {}
    }

    /// Waits for the next signal and returns its name.
    async fn next(&mut self) -> &'static str {
        match tokio::signal::ctrl_c().await {
            Ok(()) => "Ctrl-C",
            Err(_) => std::future::pending().await,
        }
    }
}

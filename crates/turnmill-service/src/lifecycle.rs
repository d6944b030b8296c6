//! Stopping: by signal, by request, or because something died; all of it or nothing, within a budget.
//!
//! A service of several threads and tasks must not live on as half of itself. Each registers as a component; one that ends
//! before stopping was asked for, by an error, a panic or a bug, makes the others stop, and the exit code says so.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};
use turnmill_pipeline::Stop;

use crate::health::{Health, Phase};

/// How a service ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything stopped as asked.
    Clean,
    /// A component could not go on.
    Failed {
        /// Its name.
        component: String,
        /// What it said.
        reason: String,
    },
    /// These components were still busy when the budget was spent. What they were at is not committed, which is safe.
    OverBudget(Vec<String>),
    /// A second signal came.
    Forced,
}

impl Ended {
    /// What the process should say to whoever started it: 0 for a clean end, 130 after a second signal, else 1.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Clean => ExitCode::SUCCESS,
            Self::Failed { .. } | Self::OverBudget(_) => ExitCode::FAILURE,
            Self::Forced => ExitCode::from(130),
        }
    }
}

/// Asks for a stop, and waits for one being asked for.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    stop: Stop,
    asked: Arc<watch::Sender<bool>>,
}

impl Shutdown {
    /// The request as threads want it.
    #[must_use]
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Asks everything to stop.
    pub fn request(&self) {
        self.stop.set();
        self.asked.send_replace(true);
    }

    /// Returns as soon as stopping was asked for.
    pub async fn requested(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.asked.subscribe().wait_for(|asked| *asked).await;
    }
}

/// Starts with the process and ends with it.
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
/// // Return from `main` with this; threads that are still busy end with the process.
/// ended.exit_code()
/// # }
/// ```
#[derive(Debug)]
pub struct Lifecycle {
    budget: Duration,
    shutdown: Shutdown,
    registry: Registry,
    departures: mpsc::UnboundedReceiver<Departure>,
}

#[derive(Clone, Debug)]
struct Registry {
    alive: Arc<Mutex<Alive>>,
    departed: mpsc::UnboundedSender<Departure>,
}

#[derive(Debug, Default)]
struct Alive {
    next: u64,
    /// Those that a stop waits for.
    components: BTreeMap<u64, String>,
}

#[derive(Debug)]
struct Departure {
    component: String,
    /// None if it was right to end.
    reason: Option<String>,
}

impl Registry {
    fn alive(&self) -> MutexGuard<'_, Alive> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lifecycle {
    /// A lifecycle in which stopping may take as long as `budget`.
    #[must_use]
    pub fn new(budget: Duration) -> Self {
        let (departed, departures) = mpsc::unbounded_channel();
        let registry = Registry { alive: Arc::default(), departed };
        Self { budget, shutdown: Shutdown::default(), registry, departures }
    }

    /// The means to ask for a stop and to hear of one.
    #[must_use]
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Registers a component that a stop waits for.
    #[must_use]
    pub fn component(&self, name: impl Into<String>) -> Component {
        self.register(name.into(), true)
    }

    /// Registers a component that goes on to the very end, such as the one that answers probes: a stop does not wait for it.
    #[must_use]
    pub fn background(&self, name: impl Into<String>) -> Component {
        self.register(name.into(), false)
    }

    fn register(&self, name: String, awaited: bool) -> Component {
        let mut alive = self.registry.alive();
        alive.next += 1;
        let id = alive.next;
        if awaited {
            alive.components.insert(id, name.clone());
        }
        drop(alive);
        Component { id, name, registry: self.registry.clone(), shutdown: self.shutdown.clone(), told: false }
    }

    /// Waits for a signal (`SIGTERM`, `SIGINT`), a request, the end of all components or the death of one; then stops
    /// everything.
    pub async fn run(mut self, health: &Health) -> Ended {
        let mut signals = Signals::new();
        let failure = loop {
            tokio::select! {
                biased;
                departure = self.departures.recv() => {
                    let Some(Departure { component, reason }) = departure else { break None };
                    if let Some(reason) = reason {
                        break Some((component, reason));
                    }
                    if self.registry.alive().components.is_empty() {
                        break None;
                    }
                }
                name = signals.next() => {
                    tracing::info!(signal = name, "stopping");
                    break None;
                }
                () = self.shutdown.requested() => break None,
            }
        };
        match &failure {
            Some((component, reason)) => {
                tracing::error!(component, "cannot go on: {reason}");
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

    /// Waits until all components are gone, a second signal comes, or the budget is spent. `first` is the failure that all
    /// are stopped for.
    async fn wait(&mut self, signals: &mut Signals, first: Option<&str>) -> Result<(), Ended> {
        let deadline = Instant::now() + self.budget;
        let mut failure = None;
        loop {
            let left: Vec<String> = self.registry.alive().components.values().cloned().collect();
            while let Ok(departure) = self.departures.try_recv() {
                let ended = departure.failure(first);
                failure = failure.or(ended);
            }
            if left.is_empty() {
                return failure.map_or(Ok(()), Err);
            }
            let next = async {
                tokio::select! {
                    departure = self.departures.recv() => Ok(departure),
                    name = signals.next() => Err(name),
                }
            };
            match timeout_at(deadline, next).await {
                Ok(Ok(departure)) => {
                    let ended = departure.and_then(|departure| departure.failure(first));
                    failure = failure.or(ended);
                }
                Ok(Err(signal)) => {
                    tracing::warn!(signal, components = left.join(", "), "a second signal: ending at once");
                    return Err(Ended::Forced);
                }
                Err(_) => {
                    tracing::warn!(
                        components = left.join(", "),
                        "stopping took longer than {} s (TURNMILL_SHUTDOWN_SECS): ending as it is, which loses nothing",
                        self.budget.as_secs()
                    );
                    return Err(Ended::OverBudget(left));
                }
            }
        }
    }
}

impl Departure {
    /// The end that this means for the service, if it was not right. What ends several components at once, such as a
    /// database that is full, is one error in the log.
    fn failure(self, first: Option<&str>) -> Option<Ended> {
        let Self { component, reason } = self;
        let reason = reason?;
        if first == Some(reason.as_str()) {
            tracing::debug!(component, "ended by the same failure");
        } else {
            tracing::error!(component, "failed while stopping: {reason}");
        }
        Some(Ended::Failed { component, reason })
    }
}

/// A component's membership. Dropping it before a stop was asked for means that the component died.
#[derive(Debug)]
pub struct Component {
    id: u64,
    name: String,
    registry: Registry,
    shutdown: Shutdown,
    told: bool,
}

impl Component {
    /// The component has done all there was to do.
    pub fn finish(mut self) {
        self.depart(None);
    }

    /// The component cannot go on: everything stops, and the process fails.
    pub fn fail(mut self, reason: impl Into<String>) {
        self.depart(Some(reason.into()));
    }

    fn depart(&mut self, reason: Option<String>) {
        self.told = true;
        // Under the lock, so that whoever finds nobody left has heard from all of them.
        let mut alive = self.registry.alive();
        // Nobody listens any more once the lifecycle is over.
        let _ = self.registry.departed.send(Departure { component: self.name.clone(), reason });
        alive.components.remove(&self.id);
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        if self.told {
            return;
        }
        let reason = if std::thread::panicking() {
            Some("it panicked".to_owned())
        } else if self.shutdown.stop.is_set() {
            None
        } else {
            Some("it ended unexpectedly".to_owned())
        };
        self.depart(reason);
    }
}

/// The signals that ask for a stop.
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

    /// The name of the next one.
    async fn next(&mut self) -> &'static str {
        async fn one(signal: &mut Option<tokio::signal::unix::Signal>) {
            let heard = match signal {
                Some(signal) => signal.recv().await,
                None => None,
            };
            if heard.is_none() {
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

    /// The name of the next one.
    async fn next(&mut self) -> &'static str {
        match tokio::signal::ctrl_c().await {
            Ok(()) => "Ctrl-C",
            Err(_) => std::future::pending().await,
        }
    }
}

//! A sink beside a pipeline, in the same process.

use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use turnmill_sink::Sink;
use turnmill_sink::outbox::Outbox;

use super::{OutboxError, OutboxRunner, SinkEvent};
use crate::stop::Stop;

/// Interval between checks whether the runner has ended.
const CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// The work of a [`SinkThread`], for the function that runs it. Its result is whether the sink has
/// everything.
pub type SinkWork<'w> = Pin<Box<dyn Future<Output = Result<bool, OutboxError>> + Send + 'w>>;

/// A sink that receives the changes of a store on a thread of its own, beside the pipeline that
/// fills the store.
///
/// The pipeline never waits for the sink, and the sink may block. The store of the runner needs a
/// connection of its own.
///
/// - **Start**: [`start`](Self::start) returns once the sink is in the store. What is committed
///   later reaches the sink, however it starts.
/// - **End**: [`finish`](Self::finish) waits until the sink has everything that is committed.
///   [`stop`](Self::stop) ends between two batches. Dropping does the same. What the sink does not
///   have yet stays in the outbox, and the next run continues there.
/// - **Errors**: while store or sink fail for a time, the thread retries without limit. A refused
///   change or a fatal error ends the thread, not the pipeline: `finish` and `stop` return it, and
///   [`is_running`](Self::is_running) is `false`. The outbox keeps later changes up to the bound of
///   the sink.
///
/// ```
/// use std::time::Duration;
/// use turnmill_model::Settings;
/// use turnmill_pipeline::{OutboxRunner, SinkThread, Stop};
/// use turnmill_sink::MemoryStore;
/// use turnmill_sink::outbox::{ChangeBatch, SinkSpec};
///
/// let store = MemoryStore::default();
/// let print = |batch: &ChangeBatch| {
///     batch.rows().for_each(|row| println!("{row:?}"));
///     Ok(())
/// };
/// let (settings, spec) = (Settings::default(), SinkSpec::new("print"));
/// let runner = OutboxRunner::new(store.clone(), &settings, spec, print, Stop::default());
/// // A store in PostgreSQL needs tokio: `move |work| runtime_handle.block_on(work)`.
/// let sink = SinkThread::start(runner, pollster::block_on, |_| {})?;
/// // Here a pipeline fills `store`.
/// assert!(sink.finish(Duration::from_secs(30))?, "the sink has everything");
/// # Ok::<(), turnmill_pipeline::OutboxError>(())
/// ```
#[derive(Debug)]
pub struct SinkThread {
    name: String,
    /// Ends the runner between two batches.
    stop: Stop,
    /// Ends it once the sink has everything.
    last: Stop,
    thread: Option<JoinHandle<Result<bool, OutboxError>>>,
}

impl SinkThread {
    /// Starts a thread for `runner`, and waits until the sink is in the store. The thread runs its
    /// work with `block_on`, and tells `observe` what happens.
    ///
    /// # Errors
    ///
    /// Returns [`OutboxError::Store`] if the store cannot be opened, and [`OutboxError::Thread`] if
    /// there is no thread.
    pub fn start<S: Outbox + 'static, K: Sink + 'static>(
        mut runner: OutboxRunner<S, K>,
        block_on: impl FnOnce(SinkWork<'_>) -> Result<bool, OutboxError> + Send + 'static,
        mut observe: impl FnMut(&SinkEvent<'_>) + Send + 'static,
    ) -> Result<Self, OutboxError> {
        let name = runner.spec.name.clone();
        let (stop, last) = (runner.stop.clone(), runner.last.clone());
        let (tell, added) = mpsc::channel();
        let work = move || {
            block_on(Box::pin(async move {
                runner.add().await?;
                // The receiver waits.
                let _ = tell.send(());
                runner.feed(false, &mut observe).await
            }))
        };
        let failed = |source| OutboxError::Thread { sink: name.clone(), source };
        let thread = std::thread::Builder::new().name(format!("sink-{name}")).spawn(work).map_err(failed)?;
        let mut sink = Self { name, stop, last, thread: Some(thread) };
        if added.recv().is_err() {
            // The thread has ended before.
            sink.join()?;
            return Err(sink.failed("the work was not run"));
        }
        Ok(sink)
    }

    /// Returns the name of the sink.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether the thread runs. It ends early after an error.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Waits until the sink has all changes that are committed now, for at most `within`, and ends
    /// the thread. Blocks. Returns whether the sink has everything.
    ///
    /// # Errors
    ///
    /// Returns the error that ended the runner, now or before.
    pub fn finish(mut self, within: Duration) -> Result<bool, OutboxError> {
        self.last.set();
        let began = Instant::now();
        while self.is_running() && began.elapsed() < within {
            std::thread::sleep(CHECK_INTERVAL);
        }
        self.stop.set();
        self.join()
    }

    /// Ends the thread between two batches, and waits until it has ended.
    ///
    /// # Errors
    ///
    /// Returns the error that ended the runner, now or before.
    pub fn stop(mut self) -> Result<(), OutboxError> {
        self.stop.set();
        self.join().map(drop)
    }

    /// Waits until the thread has ended. Returns whether the sink has everything.
    fn join(&mut self) -> Result<bool, OutboxError> {
        let Some(thread) = self.thread.take() else { return Ok(false) };
        thread.join().unwrap_or_else(|_| Err(self.failed("the sink panicked")))
    }

    fn failed(&self, detail: &str) -> OutboxError {
        OutboxError::Thread { sink: self.name.clone(), source: std::io::Error::other(detail) }
    }
}

impl Drop for SinkThread {
    fn drop(&mut self) {
        self.stop.set();
        // Its error has no receiver.
        let _ = self.join();
    }
}

//! Answers the dashboard's questions from a store.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::runtime::Handle;
use turnmill_analytics::{
    Answer, AskError, Ending, Metric, Question, ReadQueries, Release, Row, StoreNames, conversation,
    conversations, event_ids, metric, releases,
};
use turnmill_dashboard::{AnswerFuture, Answers, Filter, Refusal, Subject};
use turnmill_formats::shipped;
use turnmill_ingest::{Ingest, RowRules};
use turnmill_markers::{FileFormat, MarkerSet, SourceFile};
use turnmill_model::{Event, SessionId};
use turnmill_pipeline::{PatternEvent, PatternTools, Stop, explain};
use turnmill_sink::{Inspect, LedgerEntry, Store, StoreError};
use turnmill_stores::{AnyInterrupt, AnyReader, AnyStore};

use crate::markers::preview_json as markers_json;

/// Number of values that a filter offers.
const VALUES: usize = 500;
/// Message for a question whose caller has gone.
const GIVEN_UP: &str = "the question was given up";

/// How long the list of releases is kept: it takes a pass over all sessions.
const RELEASES_KEPT: Duration = Duration::from_secs(60);
/// Maximum number of examples of each marker in a preview.
const SAMPLES: usize = 5;

/// Makes a store that is read-only and not opened yet.
type MakeStore = dyn Fn() -> Result<AnyStore, StoreError> + Send + Sync;
/// Returns what only a running service knows.
type ReadLive = dyn Fn() -> LiveFacts + Send + Sync;

/// What only a running service knows about its store.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LiveFacts {
    /// Whether the store is open, so that its schema is up to date.
    pub(crate) is_open: bool,
    /// Lag in seconds of the partition that has most, if it is known.
    pub(crate) lag: Option<f64>,
}

/// Answers questions from a store, with a connection for each question in progress.
///
/// The connections are its own and read-only, so a question never waits for a writer of the store,
/// nor a writer for a question.
#[derive(Clone)]
pub(crate) struct StoreAnswers(Arc<Shared>);

struct Shared {
    /// Location of the store, without its password.
    name: String,
    make: Box<MakeStore>,
    limit: Duration,
    is_demo: bool,
    live: Option<Box<ReadLive>>,
    /// A store that is open for administration: it reads the ledger.
    opened: tokio::sync::Mutex<Option<AnyStore>>,
    /// Connections that answer no question at the moment.
    idle: Mutex<Vec<AnyReader>>,
    releases: Mutex<Option<(Instant, Vec<Release>)>>,
}

impl StoreAnswers {
    /// Answers from the stores that `make` makes, all at one location: read-only, and not opened
    /// yet. The store ends a question after `limit`.
    pub(crate) fn new(
        make: impl Fn() -> Result<AnyStore, StoreError> + Send + Sync + 'static,
        name: String,
        limit: Duration,
    ) -> Self {
        Self(Arc::new(Shared {
            name,
            make: Box::new(make),
            limit,
            is_demo: false,
            live: None,
            opened: tokio::sync::Mutex::new(None),
            idle: Mutex::new(Vec::new()),
            releases: Mutex::new(None),
        }))
    }

    /// Sets what only a running service knows. The pages then refresh themselves.
    #[cfg(feature = "kafka")]
    pub(crate) fn of_service(self, live: impl Fn() -> LiveFacts + Send + Sync + 'static) -> Self {
        self.with(|shared| shared.live = Some(Box::new(live)))
    }

    /// Says on every page that the conversations are those of the demo.
    pub(crate) fn of_demo(self) -> Self {
        self.with(|shared| shared.is_demo = true)
    }

    fn with(mut self, set: impl FnOnce(&mut Shared)) -> Self {
        // There is no clone before the first question.
        Arc::get_mut(&mut self.0).map(set);
        self
    }

    /// Returns the location of the store, without its password.
    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }
}

/// Ends a question when it is dropped, because its caller has gone.
#[derive(Default)]
struct EndWhenDropped(Arc<Mutex<Progress>>);

/// How far a question is.
#[derive(Default)]
enum Progress {
    /// It has no connection yet.
    #[default]
    Waiting,
    /// It is asked on a connection, which this interrupts.
    Asked(AnyInterrupt),
    /// Its caller has gone.
    Dropped,
}

impl Drop for EndWhenDropped {
    fn drop(&mut self) {
        let mut progress = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Progress::Asked(interrupt) = std::mem::replace(&mut *progress, Progress::Dropped) {
            interrupt.interrupt();
        }
    }
}

/// Says that a question is asked on this connection, or is no longer. Returns whether its caller
/// still waits.
fn advance(progress: &Mutex<Progress>, to: Progress) -> bool {
    let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
    if matches!(*progress, Progress::Dropped) {
        return false;
    }
    *progress = to;
    true
}

impl Answers for StoreAnswers {
    fn answer(&self, subject: Subject) -> AnswerFuture<'_> {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            let runtime = Handle::current();
            let end = EndWhenDropped::default();
            let progress = Arc::clone(&end.0);
            // SQLite blocks the thread that reads it.
            let work =
                tokio::task::spawn_blocking(move || runtime.block_on(shared.answer(subject, &progress)));
            work.await.unwrap_or_else(|_| Err(Refusal::Unavailable { message: GIVEN_UP.into() }))
        })
    }
}

impl Shared {
    async fn answer(&self, subject: Subject, progress: &Mutex<Progress>) -> Result<String, Refusal> {
        if self.live.as_ref().is_some_and(|live| !live().is_open) {
            return Err(Refusal::Unavailable { message: "the service has not opened its store yet".into() });
        }
        let started = Instant::now();
        if let Subject::Preview { markers } = subject {
            return self.preview(&markers).await.unwrap_or_else(|error| Err(self.refusal(started, &error)));
        }
        let mut reader = match self.taken() {
            Some(reader) => reader,
            None => self.connected().map_err(|error| self.refusal(started, &error))?,
        };
        let given_up = || Refusal::Unavailable { message: GIVEN_UP.into() };
        if !advance(progress, Progress::Asked(reader.interrupt_handle())) {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
            return Err(given_up());
        }
        let answer = self.answer_with(&mut reader, subject).await;
        // A reader that was interrupted is not used again.
        if !advance(progress, Progress::Waiting) {
            return Err(given_up());
        }
        let result = answer.map_err(|error| match error {
            AskError::Store(error) => self.refusal(started, &error),
            AskError::NoFacts => Refusal::NotSetUp {
                message: "The store has no facts of its sessions yet. A rebuild makes them, once.".into(),
                command: Some(format!("turnmill rebuild {}", self.name)),
            },
            AskError::Buckets(error) => {
                Refusal::Invalid { parameter: "by".into(), message: error.to_string() }
            }
        });
        // A connection that failed may be broken.
        if result.is_ok() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
        }
        result?
    }

    fn taken(&self) -> Option<AnyReader> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn connected(&self) -> Result<AnyReader, StoreError> {
        (self.make)()?.reader(self.limit)
    }

    fn refusal(&self, started: Instant, error: &StoreError) -> Refusal {
        if started.elapsed() >= self.limit {
            return Refusal::TimedOut { limit: self.limit };
        }
        Refusal::Unavailable { message: explain(error) }
    }

    async fn answer_with(
        &self,
        reader: &mut AnyReader,
        subject: Subject,
    ) -> Result<Result<String, Refusal>, AskError<StoreError>> {
        Ok(match subject {
            Subject::Store => Ok(self.about(reader).await?.to_string()),
            Subject::Metric { metric, question } => match ask(reader, metric, &question).await? {
                Some(answer) => written(&answer),
                None => Err(unknown("answer")),
            },
            Subject::Values { filter } => Ok(json!({ "values": values(reader, filter).await? }).to_string()),
            Subject::Conversations { question, filters, page } => {
                written(&conversations(reader, &question, &filters, page).await?)
            }
            Subject::Events { session } => self.events(reader, &session).await?,
            Subject::Conversation { session } => match conversation(reader, &session).await? {
                Some(conversation) => written(&conversation),
                None => Err(unknown(&format!("conversation {session}"))),
            },
            _ => Err(unknown("such question")),
        })
    }

    /// Describes the store: its location, the times of its events, and its counts.
    async fn about(&self, reader: &mut AnyReader) -> Result<Value, AskError<StoreError>> {
        let queries = StoreNames::queries(reader.dialect());
        let names = StoreNames::read(&reader.read(&queries).await.map_err(AskError::Store)?);
        let ledger = self.ledger().await.map_err(AskError::Store)?;
        let releases = self.releases(reader).await?;
        let sum = |count: fn(&turnmill_sink::Counts) -> i64| -> i64 {
            ledger.iter().map(|entry| count(&entry.counts)).sum()
        };
        let live = self.live.as_ref().map(|live| live());
        Ok(json!({
            "name": self.name,
            "version": env!("CARGO_PKG_VERSION"),
            "is_demo": self.is_demo,
            "is_live": live.is_some(),
            "lag_seconds": live.and_then(|live| live.lag),
            "first": names.extent.map(|extent| extent.first.to_string()),
            "newest": names.extent.map(|extent| extent.newest.to_string()),
            "events": sum(|counts| counts.events),
            "duplicates": sum(|counts| counts.duplicates),
            "dead_letters": sum(|counts| counts.dead_letters),
            "releases": releases,
        }))
    }

    async fn ledger(&self) -> Result<Vec<LedgerEntry>, StoreError> {
        let mut opened = self.opened.lock().await;
        let mut store = match opened.take() {
            Some(store) => store,
            None => {
                let mut store = (self.make)()?;
                store.open_as_it_is().await?;
                store
            }
        };
        // A store that failed may be disconnected, so the next question opens another one.
        let ledger = store.ledger().await?;
        *opened = Some(store);
        Ok(ledger)
    }

    async fn releases(&self, reader: &mut AnyReader) -> Result<Vec<Release>, AskError<StoreError>> {
        let kept = || self.releases.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |(read, _): &&(Instant, Vec<Release>)| read.elapsed() < RELEASES_KEPT;
        if let Some((_, known)) = kept().as_ref().filter(is_recent) {
            return Ok(known.clone());
        }
        let found = releases(reader).await?;
        *kept() = Some((Instant::now(), found.clone()));
        Ok(found)
    }

    /// Returns the events of a session as the history has them, up to the time limit.
    async fn events(
        &self,
        reader: &mut AnyReader,
        session: &str,
    ) -> Result<Result<String, Refusal>, AskError<StoreError>> {
        let started = Instant::now();
        let ids: HashSet<String> = event_ids(reader, session).await?.into_iter().collect();
        let Some(id) = session.parse().ok().filter(|_| !ids.is_empty()) else {
            return Ok(Err(unknown(&format!("conversation {session}"))));
        };
        let mut store = (self.make)().map_err(AskError::Store)?;
        let settings = store.open_as_it_is().await.map_err(AskError::Store)?;
        store.open(&settings).await.map_err(AskError::Store)?;
        let rules = RowRules::new(&settings, shipped);
        let ingest = Ingest::new(&rules, 0);
        let mut events = Vec::new();
        let mut show = |event: &Event<'_>, bytes: &[u8]| {
            let id = event.id.to_string();
            if ids.contains(&id) {
                let kind = event.event_type.to_string();
                events.push(json!({"event_id": id, "type": kind, "raw": String::from_utf8_lossy(bytes)}));
            }
            let is_done = events.len() == ids.len() || started.elapsed() > self.limit;
            if is_done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        if let Some(sender) =
            ingest.session_owner(&mut store, SessionId(id)).await.map_err(AskError::Store)?
        {
            ingest.show_events(&mut store, sender, &mut show).await.map_err(AskError::Store)?;
        }
        let complete = events.len() == ids.len();
        Ok(Ok(json!({ "events": events, "complete": complete }).to_string()))
    }

    /// Returns what markers of a file in YAML would find in the history, up to the time limit.
    async fn preview(&self, text: &str) -> Result<Result<String, Refusal>, StoreError> {
        let file =
            SourceFile { name: "markers".into(), bytes: text.as_bytes().into(), format: FileFormat::Yaml };
        let markers = match MarkerSet::parse(&[file]) {
            Ok((markers, _)) => markers,
            Err(errors) => {
                let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
                return Ok(Err(Refusal::Invalid { parameter: "markers".into(), message: all.join("\n") }));
            }
        };
        let mut store = (self.make)()?;
        let settings = store.open_as_it_is().await?;
        store.open(&settings).await?;
        let stop = Stop::default();
        let at_limit = stop.clone();
        let limit = self.limit;
        let timer = tokio::spawn(async move {
            tokio::time::sleep(limit).await;
            at_limit.set();
        });
        let rules = RowRules::new(&settings, shipped);
        let ingest = Ingest::new(&rules, 0);
        let mut ignore = |_: PatternEvent<'_>| {};
        let preview =
            PatternTools::new(&mut store, stop, &mut ignore).preview(&ingest, &markers, SAMPLES).await;
        timer.abort();
        Ok(Ok(markers_json(&preview?).to_string()))
    }
}

async fn ask(
    reader: &mut AnyReader,
    metric: &'static Metric,
    question: &Question,
) -> Result<Option<Answer>, AskError<StoreError>> {
    Ok(turnmill_analytics::answer(reader, &[metric], question).await?.pop())
}

/// Returns the values that a filter can have in the whole store, the most frequent first.
///
/// They are lists of metrics, so a filter of which no metric has a list offers nothing.
async fn values(reader: &mut AnyReader, filter: Filter) -> Result<Vec<Value>, AskError<StoreError>> {
    let (id, table, name, count) = match filter {
        Filter::Channel => ("R4_channels", "by_channel", "channel", "sessions"),
        Filter::Intent => ("R6_top_intents", "by_intent", "intent", "messages"),
        Filter::Model => ("R7_response_time", "by_model", "model", "answered"),
        Filter::Marker => ("X29_markers", "markers", "marker", "sessions"),
        Filter::Environment => ("X31_env", "environments", "environment", "sessions"),
        Filter::Ending => return endings(reader).await,
        _ => return Ok(Vec::new()),
    };
    let Some(metric) = metric(id) else { return Ok(Vec::new()) };
    let question = Question { top: VALUES, ..Question::default() };
    let answer = ask(reader, metric, &question).await?;
    let list = answer.as_ref().and_then(|answer| answer.table(table));
    let column = |column| list.and_then(|list| list.columns.iter().position(|known| *known == column));
    let (Some(list), Some(name), Some(count)) = (list, column(name), column(count)) else {
        return Ok(Vec::new());
    };
    let value = |row: &Row| json!({ "value": row.get(name), "count": row.get(count) });
    Ok(list.rows.iter().map(value).collect())
}

async fn endings(reader: &mut AnyReader) -> Result<Vec<Value>, AskError<StoreError>> {
    let Some(metric) = metric("three_ways_to_end") else { return Ok(Vec::new()) };
    let answer = ask(reader, metric, &Question::default()).await?;
    let count = |ending: &Ending| {
        let measure = answer.as_ref().and_then(|answer| answer.value(ending.name()));
        json!({ "value": ending.name(), "count": measure.and_then(|measure| measure.value()) })
    };
    Ok(Ending::ALL.iter().map(count).collect())
}

/// Writes an answer with its fields in their order.
fn written(answer: &impl serde::Serialize) -> Result<String, Refusal> {
    serde_json::to_string(answer).map_err(|error| Refusal::Unavailable { message: error.to_string() })
}

fn unknown(what: &str) -> Refusal {
    Refusal::NotFound { name: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use turnmill_model::Settings;
    use turnmill_sink_sqlite::SqliteStore;

    /// Time after which the test fails. It is far more than a slow machine needs.
    const PATIENCE: Duration = Duration::from_secs(180);

    #[test]
    fn a_question_whose_caller_has_gone_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("endless.sqlite");
        pollster::block_on(SqliteStore::file(&path).open(&Settings::default())).unwrap();
        // A question about turns never ends by itself.
        let endless = "DROP TABLE ext_turn;
            CREATE VIEW ext_turn AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
            SELECT 'greet' AS intent, 'utter_greet' AS first_template, 1.0 AS weight FROM n";
        rusqlite::Connection::open(&path).unwrap().execute_batch(endless).unwrap();
        let store = move || Ok(AnyStore::Sqlite(SqliteStore::file(&path).read_only()));
        let answers = StoreAnswers::new(store, "endless".into(), Duration::from_secs(100_000));
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let metric = metric("R6_top_intents").unwrap();
            let asked = answers.answer(Subject::Metric { metric, question: Box::default() });
            let answer = tokio::time::timeout(Duration::from_millis(500), asked).await;
            assert!(answer.is_err(), "the question has ended: {answer:?}");
        });
        // Dropping the runtime waits for the thread that asks.
        let end = std::thread::spawn(move || drop(runtime));
        let start = Instant::now();
        while !end.is_finished() {
            assert!(start.elapsed() < PATIENCE, "the question goes on after its caller has gone");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

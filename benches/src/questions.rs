//! Asks the metrics of the dashboard's overview, and transcripts, of a large store.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use turnmill_analytics::{
    Bucket, Compare, Last, Metric, Over, Parts, Query, Question, ReadQueries, When, answer, conversation,
    metric,
};
use turnmill_sink::StoreError;
use turnmill_sink_postgres::{PostgresSettings, PostgresStore};
use turnmill_sink_sqlite::SqliteStore;
use turnmill_testbed::postgres;

use crate::measure::{Failure, Figures, process_cpu, seconds};
use crate::stream::Shape;

/// Time limit of a question.
const LIMIT: Duration = Duration::from_secs(600);
/// The query to compare with: one pass over the rows of all turns.
const PASS: &str = "SELECT channel, count(*) FROM ext_turn GROUP BY channel";
/// Transcripts of one run.
const TRANSCRIPTS: usize = 20;

/// A card of the overview: its metric, whether it has a series, and the lists that it draws. `None`
/// are all.
type Card = (&'static str, bool, Option<&'static [&'static str]>);

/// The cards of the overview that ask a metric. The list of conversations is none.
const CARDS: [Card; 15] = [
    ("R1_conversations", true, Some(&[])),
    ("R2_users", true, Some(&[])),
    ("R8_containment", true, Some(&[])),
    ("R9_abandonment", true, Some(&[])),
    ("R10_escalation", true, Some(&[])),
    ("X24_fallback", true, Some(&[])),
    ("R7_response_time", true, Some(&[])),
    ("R4_channels", true, Some(&[])),
    ("three_ways_to_end", false, Some(&[])),
    ("R6_top_intents", false, None),
    ("L19_paths", false, Some(&["links", "most_frequent"])),
    ("R4_channels", false, None),
    ("L17_heat_sessions", false, None),
    ("X45_changes", false, None),
    ("X25_unhandled", false, None),
];

/// The stores that are asked. Without a location they are made.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Number of events of a store that is made.
    #[arg(long, default_value_t = 10_000_000)]
    events: u64,
    /// Days over which they are spread.
    #[arg(long, default_value_t = 90.0)]
    days: f64,
    /// Path of `turnmill-replay`, which fills a store that is made.
    #[arg(long)]
    replay: PathBuf,
    /// File of a SQLite store that exists.
    #[arg(long)]
    sqlite: Option<PathBuf>,
    /// Location of a PostgreSQL store that exists, as a superuser of a server on this machine.
    #[arg(long)]
    postgres: Option<String>,
    /// Number of runs of each question.
    #[arg(long, default_value_t = 5)]
    runs: usize,
}

/// Makes the stores that are not given and prints the times of both. If one is given, only that one
/// is asked.
pub(crate) fn measure(args: &Args) -> Result<(), Failure> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let both = args.sqlite.is_none() && args.postgres.is_none();
    let folder = tempfile::tempdir()?;
    if let Some(path) = args.sqlite.clone().or_else(|| both.then(|| folder.path().join("store.sqlite"))) {
        if both {
            fill(args, &format!("sqlite:{}", path.display()))?;
        }
        let mut reader = SqliteStore::file(&path).reader(LIMIT)?;
        println!("SQLite, {}", path.display());
        report(&mut reader, &runtime, args.runs, || Ok(0.0))?;
    }
    drop(folder);
    let options = postgres::Options { durable: true, ..Default::default() };
    let server = if both { Some(postgres::Server::start(&options)?) } else { None };
    let url = args.postgres.clone().or_else(|| server.as_ref().map(postgres::Server::url));
    if let Some(url) = url {
        if both {
            fill(args, &url)?;
        }
        let mut reader = PostgresStore::new(url.parse::<PostgresSettings>()?).reader(LIMIT);
        if let Some(server) = &server {
            // Restores the state of a server that has been running for some time.
            server.psql("postgres", "VACUUM ANALYZE");
        }
        let sql = "SELECT CAST(split_part(pg_read_file('postmaster.pid'), chr(10), 1) AS bigint)";
        let rows = runtime.block_on(reader.read(&[Query::new("process", sql.into())]))?;
        let process = rows[0][0][0].integer();
        println!("PostgreSQL");
        report(&mut reader, &runtime, args.runs, || process_cpu(u32::try_from(process)?))?;
    }
    Ok(())
}

/// Fills a store with the stream, as a user does.
fn fill(args: &Args, store: &str) -> Result<(), Failure> {
    let shape = Shape { days: args.days, ..Shape::new(crate::body::Mix::Capture, args.events, 1) };
    let mut child =
        Command::new(&args.replay).args(["-", "--to", store, "--quiet"]).stdin(Stdio::piped()).spawn()?;
    if let Some(pipe) = child.stdin.take() {
        shape.write(&mut std::io::BufWriter::with_capacity(1 << 20, pipe))?;
    }
    if child.wait()?.success() { Ok(()) } else { Err(format!("cannot fill {store}").into()) }
}

/// Wall-clock and processor seconds of several runs.
#[derive(Default)]
struct Times {
    wall: Figures,
    processors: Figures,
}

/// Runs `work` several times. `server` are the processor seconds of the database's processes. The
/// first run is a warm-up.
fn times(
    runs: usize,
    server: &impl Fn() -> Result<f64, Failure>,
    mut work: impl FnMut() -> Result<(), Failure>,
) -> Result<Times, Failure> {
    let mut times = Times::default();
    for run in 0..=runs {
        let before = server()?;
        let ((), own) = seconds(&mut work)?;
        if run > 0 {
            times.wall.push(own.wall);
            times.processors.push(own.cpu + server()? - before);
        }
    }
    Ok(times)
}

fn report<S: ReadQueries<Error = StoreError>>(
    reader: &mut S,
    runtime: &Runtime,
    runs: usize,
    server: impl Fn() -> Result<f64, Failure>,
) -> Result<(), Failure> {
    let mut read = |reader: &mut S, sql: &str| -> Result<Vec<turnmill_analytics::Row>, Failure> {
        let mut rows = runtime.block_on(reader.read(&[Query::new("rows", sql.into())]))?;
        Ok(rows.pop().unwrap_or_default())
    };
    let counts = "SELECT (SELECT count(*) FROM ext_session), (SELECT count(*) FROM ext_turn), \
                  (SELECT count(*) FROM rasa_event), (SELECT min(started_at) FROM ext_session), \
                  (SELECT max(started_at) FROM ext_session)";
    println!("  sessions, turns, events, first and last session: {:?}", read(reader, counts)?);
    let pass = times(runs, &server, || read(reader, PASS).map(drop))?;
    println!(
        "  seconds, median (least to greatest); {PASS}: {} wall, {} processors",
        pass.wall, pass.processors
    );
    println!("  metric | wall | processors | of these / one pass");
    let whole = Question { when: When::default(), ..Question::default() };
    let last: Last = "28d".parse()?;
    let recent = Question { when: When::Last(last), compare: Some(Compare::Previous), ..Question::default() };
    for (title, base, all) in [
        ("cards, the whole store", &whole, false),
        ("cards, the last 28 days and the 28 before", &recent, false),
        ("all numbers and lists, the whole store", &whole, true),
    ] {
        println!("  {title}");
        for (id, has_series, lists) in CARDS {
            let metric: &'static Metric = metric(id).ok_or("no such metric")?;
            let parts = match lists {
                Some(lists) if !all => Parts::Named(lists.iter().map(|list| (*list).to_owned()).collect()),
                _ => Parts::All,
            };
            let over = if has_series { Over::Buckets(Bucket::Day) } else { Over::Nothing };
            let question = Question { parts, over, ..base.clone() };
            let asked = times(runs, &server, || {
                runtime.block_on(answer(reader, &[metric], &question))?;
                Ok(())
            })?;
            let ratio = asked.processors.median() / pass.processors.median();
            let series = if has_series { " by day" } else { "" };
            println!("  {id}{series} | {} | {} | {ratio:.1}", asked.wall, asked.processors);
        }
    }
    transcripts(reader, runtime, &mut read)
}

/// Prints the time of transcripts of sessions in equal distances.
fn transcripts<S: ReadQueries<Error = StoreError>>(
    reader: &mut S,
    runtime: &Runtime,
    read: &mut impl FnMut(&mut S, &str) -> Result<Vec<turnmill_analytics::Row>, Failure>,
) -> Result<(), Failure> {
    let sql = format!(
        "SELECT session_id FROM (SELECT session_id, row_number() OVER (ORDER BY session_id) AS number, \
         count(*) OVER () AS total FROM ext_session) s WHERE number % (1 + total / {TRANSCRIPTS}) = 1"
    );
    let mut wall = Figures::default();
    for row in read(reader, &sql)? {
        let Some(session) = row.first().and_then(turnmill_analytics::Value::text) else { continue };
        let start = Instant::now();
        runtime.block_on(conversation(reader, session))?.ok_or("a session is not there")?;
        wall.push(1000.0 * start.elapsed().as_secs_f64());
    }
    println!("  transcripts, milliseconds: {wall}");
    Ok(())
}

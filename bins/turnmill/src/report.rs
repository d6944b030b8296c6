//! `turnmill report`.

mod csv;
mod json;
mod markdown;
mod numbers;
mod table;

use std::io::{IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use turnmill_analytics::{
    Answer, AskError, Bucket, Business, BusinessLine, Cohort, Compare, Definitions, Ending, Examples,
    Filters, Funnel, Last, METRICS, MOST_STEPS, Metric, Over, PathOptions, Property, Question, Return, Span,
    Step, When, Zone, answer, metric, parse_time,
};

use crate::failure::Failure;
use crate::store_args::StoreOptions;

/// Metrics of the overview, which are reported unless others are named.
const OVERVIEW: [&str; 12] = [
    "R1_conversations",
    "R2_users",
    "R3_sessions",
    "R4_channels",
    "R5_user_sessions",
    "R6_top_intents",
    "R7_response_time",
    "R8_containment",
    "R9_abandonment",
    "R10_escalation",
    "three_ways_to_end",
    "X24_fallback",
];

/// Arguments of `turnmill report`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Store and metrics: `sqlite:PATH` or `postgresql://USER@HOST:PORT/DATABASE` if not
    /// the configured store, then ids of metrics
    #[arg(value_name = "STORE|METRIC")]
    names: Vec<String>,
    #[command(flatten)]
    store: StoreOptions,
    #[command(flatten)]
    range: RangeArgs,
    #[command(flatten)]
    filters: FilterArgs,
    #[command(flatten)]
    definitions: DefinitionArgs,
    /// Form of the output
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    funnel: FunnelArgs,
    /// Intent around which A13 shows what users say [default: the most frequent]
    #[arg(long, value_name = "INTENT")]
    anchor: Option<String>,
    /// Maximum number of rows of a list
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,
    /// Leave messages without an intent out of R6
    #[arg(long)]
    hide_none: bool,
    /// Intent or entity that lists of paths and of values (A13, L20) leave out
    #[arg(long, value_name = "NAME")]
    exclude: Vec<String>,
    /// Break A12 and A13 down by channel, model, environment or assistant
    #[arg(long, value_name = "PROPERTY")]
    breakdown: Option<String>,
    /// Text that X39 searches for
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// Training data in Rasa's YAML, whose examples L22 leaves out
    #[arg(long, value_name = "FILE")]
    training: Vec<PathBuf>,
    #[command(flatten)]
    paths: PathArgs,
    #[command(flatten)]
    business: BusinessArgs,
    /// Print this list of a metric instead of its numbers, in CSV
    #[arg(long, value_name = "NAME")]
    list: Option<String>,
    /// Seconds after which the database ends a question
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    time_limit: u64,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Range")]
struct RangeArgs {
    /// First day or time: 2026-11-21, 2026-11-21 13:45, 2026-11-21T13:45:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// First day or time after the range
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// The last hours, days, weeks or months of the store: 24h, 28d, 4w, 6m
    #[arg(long, value_name = "LENGTH", conflicts_with_all = ["since", "until"])]
    last: Option<String>,
    /// Judge at this time whether sessions are over [default: the newest event]
    #[arg(long, value_name = "TIME")]
    as_of: Option<String>,
    /// Numbers for each of these: 1min, 5min, 1h, 2h, 6h, day, week, month or auto
    #[arg(long, value_name = "BUCKET")]
    by: Option<String>,
    /// Time zone of days and hours, for example Europe/Berlin
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    tz: String,
    /// Compare with another period: prev, week, month or year
    #[arg(long, value_name = "PERIOD")]
    compare: Option<String>,
    /// Compare with another model in the same period; repeat for several together, '' is none
    #[arg(long, value_name = "ID", conflicts_with = "compare")]
    against_model: Vec<String>,
}

/// Several values of one filter are alternatives. The empty value is NULL.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Filters (repeat for alternatives; '' is none)")]
struct FilterArgs {
    /// Assistant
    #[arg(long, value_name = "NAME")]
    assistant: Vec<String>,
    /// Channel
    #[arg(long, value_name = "NAME")]
    channel: Vec<String>,
    /// Model
    #[arg(long, value_name = "ID")]
    model: Vec<String>,
    /// Environment
    #[arg(long, value_name = "NAME")]
    environment: Vec<String>,
    /// Intent
    #[arg(long, value_name = "NAME")]
    intent: Vec<String>,
    /// escalated, abandoned, finished, open or unused
    #[arg(long, value_name = "ENDING")]
    ending: Vec<String>,
    /// Marker of which the session has a row
    #[arg(long, value_name = "NAME")]
    marker: Vec<String>,
    /// Language and region
    #[arg(long, value_name = "NAME")]
    locale: Vec<String>,
    /// Kind of the source
    #[arg(long, value_name = "NAME")]
    source_system: Vec<String>,
    /// Senders of which only these count: a file with a key on each line
    #[arg(long, value_name = "FILE")]
    cohort: Vec<PathBuf>,
    /// Sessions that start in the range, or that are active in it
    #[arg(long, value_name = "started|active", default_value = "started")]
    during: String,
    /// Leave out sessions that are tests
    #[arg(long)]
    exclude_tests: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Funnel (A12)")]
struct FunnelArgs {
    /// Step, in order: intent:NAME, action:NAME, response:NAME, slot:NAME, flow:NAME:STATUS or
    /// marker:NAME
    #[arg(long, value_name = "STEP")]
    step: Vec<String>,
    /// Steps may be in several sessions of one sender
    #[arg(long)]
    across_sessions: bool,
    /// Seconds from the first step within which the others have to come
    #[arg(long, value_name = "SECONDS")]
    window: Option<u32>,
}

/// Paths through sessions, and what brings users back.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Paths and retention (L19, A32)")]
struct PathArgs {
    /// First intent of the paths
    #[arg(long, value_name = "NAME")]
    path_start: Option<String>,
    /// Last intent of the paths
    #[arg(long, value_name = "NAME")]
    path_end: Option<String>,
    /// Steps that are unrolled, at most 8
    #[arg(long, value_name = "N", default_value_t = 4)]
    path_steps: usize,
    /// Make paths of the dialogs that are done, not of intents
    #[arg(long)]
    completed: bool,
    /// What puts a user into a cohort, as a step of a funnel [default: the start of a session]
    #[arg(long, value_name = "STEP")]
    first: Option<String>,
    /// What counts as a return, as a step of a funnel [default: the start of a session]
    #[arg(long, value_name = "STEP")]
    back: Option<String>,
}

/// Times and costs that no event tells.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Business (X6, X7, X10)")]
struct BusinessArgs {
    /// Minutes that an agent needs for a conversation
    #[arg(long, value_name = "MINUTES")]
    agent_minutes: Option<f64>,
    /// Cost of a minute of an agent
    #[arg(long, value_name = "COST")]
    agent_minute_cost: Option<f64>,
    /// Cost of a session with the assistant
    #[arg(long, value_name = "COST")]
    session_cost: Option<f64>,
    /// Line of business with its intents: NAME=INTENT,INTENT
    #[arg(long, value_name = "LINE")]
    line: Vec<String>,
    /// Slot that holds the user's rating
    #[arg(long, value_name = "SLOT")]
    rating_slot: Option<String>,
}

/// Lists that say what metrics mean; commas between names, `*` for any text.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Definitions (commas between names; `*` is any text)")]
struct DefinitionArgs {
    /// Intents with which users ask for a human
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    handover_intents: Option<Vec<String>>,
    /// Actions that hand over to a human
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    handover_actions: Option<Vec<String>>,
    /// Intents that say that the assistant did not understand
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    fallback_intents: Option<Vec<String>>,
    /// Responses that say that the assistant did not understand
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    fallback_responses: Option<Vec<String>>,
    /// Responses after which a silent user has abandoned the session
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    abandon_responses: Option<Vec<String>>,
    /// Intents that alone do not make a session engaged
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    greetings: Option<Vec<String>>,
    /// Responses that report an error
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    error_responses: Option<Vec<String>>,
    /// Markers whose rows complete a session
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    goal_markers: Option<Vec<String>>,
    /// Markers whose rows escalate a session
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    escalation_markers: Option<Vec<String>>,
    /// Minutes of silence after which a session is over
    #[arg(long, value_name = "MINUTES")]
    idle_timeout: Option<u32>,
    /// Confidence below which a message counts as doubtful (X22) [default: 0.7]
    #[arg(long, value_name = "CONFIDENCE")]
    low_confidence: Option<f64>,
}

/// Form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a terminal
    Table,
    /// One row for each number, or for each number and bucket
    Csv,
    /// One object a line for each metric
    Json,
    /// Tables of Markdown
    Markdown,
}

/// Asks the store and prints the answers.
pub(crate) async fn run(args: &Args) -> Result<bool, Failure> {
    let (url, metrics) = split(&args.names)?;
    let question = question(args).map_err(Failure::Question)?;
    let choice = args.store.choice(url);
    // Waits while the database is unavailable, and checks that it is a store.
    choice.for_reading().await?;
    let mut reader = choice.store()?.reader(Duration::from_secs(args.time_limit))?;
    let answers = answer(&mut reader, &metrics, &question).await.map_err(|error| match error {
        AskError::Store(error) => choice.gave_up(error),
        error => Failure::Metrics(error.to_string()),
    })?;
    let mut out = std::io::stdout().lock();
    if let Some(list) = &args.list {
        for answer in &answers {
            let table = answer.table(list).ok_or_else(|| no_list(answer, list))?;
            csv::list(&mut out, table)?;
        }
        return Ok(true);
    }
    match args.format {
        Format::Table => table::write(&mut out, &answers, std::io::stdout().is_terminal())?,
        Format::Csv => csv::write(&mut out, &answers)?,
        Format::Json => json::write(&mut out, &answers)?,
        Format::Markdown => markdown::write(&mut out, &answers)?,
    }
    out.flush()?;
    Ok(true)
}

/// Splits arguments into an optional store and metrics. Ids of metrics have neither `:` nor `.`.
fn split(names: &[String]) -> Result<(Option<&str>, Vec<&'static Metric>), Failure> {
    let is_store = |name: &&String| name.contains([':', '.', '/']);
    let store = names.first().filter(is_store).map(String::as_str);
    let ids: Vec<&str> = names.iter().skip(usize::from(store.is_some())).map(String::as_str).collect();
    let ids = if ids.is_empty() { OVERVIEW.to_vec() } else { ids };
    let known = |id: &str| {
        metric(id).ok_or_else(|| {
            let all: Vec<&str> = METRICS.iter().map(|metric| metric.id).collect();
            Failure::Question(format!("`{id}` is no metric: use {}", all.join(", ")))
        })
    };
    Ok((store, ids.into_iter().map(known).collect::<Result<_, _>>()?))
}

fn no_list(answer: &Answer, list: &str) -> Failure {
    let names: Vec<&str> = answer.tables.iter().map(|table| table.name).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Failure::Question(format!("{} has no list `{list}`: it has {names}", answer.metric.id))
}

fn question(args: &Args) -> Result<Question, String> {
    let zone: Zone = args.range.tz.parse().map_err(text)?;
    let time = |text: &Option<String>| {
        text.as_deref().map(|text| parse_time(text, zone)).transpose().map_err(|error| error.to_string())
    };
    let range = &args.range;
    let when = match &range.last {
        Some(last) => When::Last(last.parse::<Last>().map_err(text)?),
        None => When::Span(Span { from: time(&range.since)?, to: time(&range.until)? }),
    };
    let over = match range.by.as_deref() {
        None => Over::Nothing,
        Some("auto") => Over::Finest,
        Some(bucket) => Over::Buckets(bucket.parse::<Bucket>().map_err(text)?),
    };
    Ok(Question {
        when,
        zone,
        filters: filters(&args.filters)?,
        over,
        compare: range.compare.as_deref().map(str::parse::<Compare>).transpose().map_err(text)?,
        against_models: nullable(&range.against_model),
        hide_null: args.hide_none,
        exclude: args.exclude.clone(),
        breakdown: args.breakdown.as_deref().map(str::parse::<Property>).transpose().map_err(text)?,
        text: args.text.clone(),
        examples: examples(&args.training)?,
        business: business(&args.business)?,
        as_of: time(&range.as_of)?,
        top: args.top,
        funnel: funnel(&args.funnel)?,
        paths: paths(&args.paths),
        retention: retention(&args.paths)?,
        anchor: args.anchor.clone(),
        definitions: definitions(&args.definitions),
    })
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Returns the values of a filter, of which the empty one is NULL.
fn nullable(values: &[String]) -> Vec<Option<String>> {
    values.iter().map(|value| (!value.is_empty()).then(|| value.clone())).collect()
}

fn paths(args: &PathArgs) -> PathOptions {
    PathOptions {
        start: args.path_start.clone(),
        end: args.path_end.clone(),
        steps: args.path_steps,
        completed: args.completed,
    }
}

fn retention(args: &PathArgs) -> Result<Return, String> {
    let step =
        |text: &Option<String>| text.as_deref().map(str::parse::<Step>).transpose().map_err(self::text);
    Ok(Return { first: step(&args.first)?, back: step(&args.back)? })
}

fn examples(files: &[PathBuf]) -> Result<Examples, String> {
    let mut examples = Examples::default();
    for path in files {
        examples.add_training_data(&read(path)?);
    }
    Ok(examples)
}

fn business(args: &BusinessArgs) -> Result<Business, String> {
    let lines: Result<Vec<BusinessLine>, _> = args.line.iter().map(|line| line.parse()).collect();
    Ok(Business {
        agent_minutes: args.agent_minutes,
        agent_minute_cost: args.agent_minute_cost,
        session_cost: args.session_cost,
        lines: lines.map_err(text)?,
        rating_slot: args.rating_slot.clone(),
    })
}

fn filters(args: &FilterArgs) -> Result<Filters, String> {
    let list = nullable;
    let endings: Result<Vec<Ending>, _> = args.ending.iter().map(|ending| ending.parse()).collect();
    Ok(Filters {
        assistants: list(&args.assistant),
        channels: list(&args.channel),
        environments: list(&args.environment),
        models: list(&args.model),
        intents: list(&args.intent),
        endings: endings.map_err(text)?,
        markers: args.marker.clone(),
        locales: list(&args.locale),
        source_systems: list(&args.source_system),
        cohorts: args.cohort.iter().map(|path| cohort(path)).collect::<Result<_, _>>()?,
        during: args.during.parse().map_err(text)?,
        exclude_tests: args.exclude_tests,
    })
}

/// Reads the senders of a cohort. Its name is that of the file.
fn cohort(path: &Path) -> Result<Cohort, String> {
    let senders = read(path)?.lines().filter(|line| !line.is_empty()).map(ToOwned::to_owned).collect();
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Cohort { name, senders })
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

fn funnel(args: &FunnelArgs) -> Result<Funnel, String> {
    if args.step.len() > MOST_STEPS {
        return Err(format!("a funnel has at most {MOST_STEPS} steps"));
    }
    let steps: Result<Vec<Step>, _> = args.step.iter().map(|step| step.parse()).collect();
    Ok(Funnel {
        steps: steps.map_err(text)?,
        across_sessions: args.across_sessions,
        window_seconds: args.window,
    })
}

fn definitions(args: &DefinitionArgs) -> Definitions {
    let mut definitions = Definitions::default();
    let set = |list: &mut Vec<String>, given: &Option<Vec<String>>| {
        if let Some(given) = given {
            list.clone_from(given);
        }
    };
    definitions.handover_intents.clone_from(&args.handover_intents);
    set(&mut definitions.handover_actions, &args.handover_actions);
    set(&mut definitions.fallback_intents, &args.fallback_intents);
    set(&mut definitions.fallback_responses, &args.fallback_responses);
    set(&mut definitions.abandon_responses, &args.abandon_responses);
    set(&mut definitions.greetings, &args.greetings);
    set(&mut definitions.error_responses, &args.error_responses);
    set(&mut definitions.goal_markers, &args.goal_markers);
    set(&mut definitions.escalation_markers, &args.escalation_markers);
    definitions.idle_minutes = args.idle_timeout.unwrap_or(definitions.idle_minutes);
    definitions.low_confidence = args.low_confidence.unwrap_or(definitions.low_confidence);
    definitions
}

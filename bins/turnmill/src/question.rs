//! Options that say what is asked: range, filters, definitions.
//!
//! Each of them is an `Args` of its own, so that a command has those that mean something for it.
//! What the command line leaves out comes from `[analytics]` of the configuration.

use std::path::{Path, PathBuf};

use turnmill_analytics::{
    Bucket, Business, BusinessLine, Cohort, Compare, Definitions, Ending, Examples, Filters, Funnel, Last,
    MOST_STEPS, Over, PathOptions, Property, Question, Return, Span, Step, When, Zone, parse_time,
};
use turnmill_service::settings::AnalyticsSettings;

use crate::failure::Failure;

/// The range of time, and the zone of its days.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Range")]
pub(crate) struct RangeArgs {
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
    /// Time zone of days and hours, for example Europe/Berlin [default: that of the configuration,
    /// or UTC]
    #[arg(long, value_name = "ZONE")]
    tz: Option<String>,
}

/// Several values of one filter are alternatives. The empty value is NULL.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Filters (repeat for alternatives; '' is none)")]
pub(crate) struct FilterArgs {
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

/// Lists that say what metrics mean; commas between names, `*` for any text.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Definitions (commas between names; `*` is any text)")]
pub(crate) struct DefinitionArgs {
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

/// Buckets and comparison of a metric, and what single metrics are asked with.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Numbers")]
pub(crate) struct MetricArgs {
    /// Numbers for each of these: 1min, 5min, 1h, 2h, 6h, day, week, month or auto
    #[arg(long, value_name = "BUCKET")]
    by: Option<String>,
    /// Compare with another period: prev, week, month or year
    #[arg(long, value_name = "PERIOD")]
    compare: Option<String>,
    /// Compare with another model in the same period; repeat for several together, '' is none
    #[arg(long, value_name = "ID", conflicts_with = "compare")]
    against_model: Vec<String>,
    /// Maximum number of rows of a list
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,
    /// Intent around which A13 shows what users say [default: the most frequent]
    #[arg(long, value_name = "INTENT")]
    anchor: Option<String>,
    /// Step of the funnel A12, in order: intent:NAME, action:NAME, response:NAME, slot:NAME,
    /// flow:NAME:STATUS or marker:NAME
    #[arg(long, value_name = "STEP")]
    step: Vec<String>,
    /// Steps may be in several sessions of one sender
    #[arg(long)]
    across_sessions: bool,
    /// Seconds from the first step within which the others have to come
    #[arg(long, value_name = "SECONDS")]
    window: Option<u32>,
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
}

/// Everything that says which rows are asked about.
#[derive(Debug, clap::Args)]
pub(crate) struct SelectionArgs {
    #[command(flatten)]
    range: RangeArgs,
    #[command(flatten)]
    filters: FilterArgs,
    #[command(flatten)]
    definitions: DefinitionArgs,
}

impl SelectionArgs {
    /// Returns the question, with `configured` for what the command line leaves out.
    pub(crate) fn question(&self, configured: AnalyticsSettings) -> Result<Question, Failure> {
        self.read(configured).map_err(Failure::Question)
    }

    fn read(&self, configured: AnalyticsSettings) -> Result<Question, String> {
        let range = &self.range;
        let zone: Zone = match &range.tz {
            Some(zone) => zone.parse().map_err(text)?,
            None => configured.zone,
        };
        let time = |given: &Option<String>| {
            given.as_deref().map(|given| parse_time(given, zone)).transpose().map_err(text)
        };
        let when = match &range.last {
            Some(last) => When::Last(last.parse::<Last>().map_err(text)?),
            None => When::Span(Span { from: time(&range.since)?, to: time(&range.until)? }),
        };
        Ok(Question {
            when,
            zone,
            filters: filters(&self.filters)?,
            as_of: time(&range.as_of)?,
            definitions: definitions(&self.definitions, configured.definitions),
            ..Question::default()
        })
    }
}

impl MetricArgs {
    /// Adds what metrics are asked with to a question.
    pub(crate) fn of(&self, question: Question) -> Result<Question, Failure> {
        self.read(question).map_err(Failure::Question)
    }

    fn read(&self, question: Question) -> Result<Question, String> {
        let over = match self.by.as_deref() {
            None => Over::Nothing,
            Some("auto") => Over::Finest,
            Some(bucket) => Over::Buckets(bucket.parse::<Bucket>().map_err(text)?),
        };
        if self.step.len() > MOST_STEPS {
            return Err(format!("a funnel has at most {MOST_STEPS} steps"));
        }
        let steps: Result<Vec<Step>, _> = self.step.iter().map(|step| step.parse()).collect();
        Ok(Question {
            over,
            compare: self.compare.as_deref().map(str::parse::<Compare>).transpose().map_err(text)?,
            against_models: nullable(&self.against_model),
            hide_null: self.hide_none,
            exclude: self.exclude.clone(),
            breakdown: self.breakdown.as_deref().map(str::parse::<Property>).transpose().map_err(text)?,
            text: self.text.clone(),
            examples: examples(&self.training)?,
            business: business(&self.business)?,
            top: self.top,
            funnel: Funnel {
                steps: steps.map_err(text)?,
                across_sessions: self.across_sessions,
                window_seconds: self.window,
            },
            paths: paths(&self.paths),
            retention: retention(&self.paths)?,
            anchor: self.anchor.clone(),
            ..question
        })
    }
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
    let step = |given: &Option<String>| given.as_deref().map(str::parse::<Step>).transpose().map_err(text);
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

/// Reads the senders of a cohort. Its name is that of the file.
fn cohort(path: &Path) -> Result<Cohort, String> {
    let senders = read(path)?.lines().filter(|line| !line.is_empty()).map(ToOwned::to_owned).collect();
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Cohort { name, senders })
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
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

fn definitions(args: &DefinitionArgs, configured: Definitions) -> Definitions {
    let mut definitions = configured;
    let set = |list: &mut Vec<String>, given: &Option<Vec<String>>| {
        if let Some(given) = given {
            list.clone_from(given);
        }
    };
    if args.handover_intents.is_some() {
        definitions.handover_intents.clone_from(&args.handover_intents);
    }
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

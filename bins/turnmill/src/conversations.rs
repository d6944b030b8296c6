//! `turnmill conversations`.

use std::io::{IsTerminal as _, Write};
use std::time::Duration;

use clap::ValueEnum;
use turnmill_analytics::{ConversationList, DayBlock, ListFilters, ListOrder, ListPage, Listed, Row, Value};

use crate::failure::Failure;
use crate::output::{csv, grid, json_line};
use crate::question::SelectionArgs;
use crate::store_args::StoreArgs;

/// Conversations of a table, unless a number is given.
const OF_A_TABLE: u32 = 50;
/// Columns of a list.
const COLUMNS: [&str; 11] = [
    "session_id",
    "sender_key",
    "started_at",
    "duration_seconds",
    "channel",
    "environment",
    "model_id",
    "turns",
    "ending",
    "first_intent",
    "first_text",
];
/// Weekdays, Sunday first.
const WEEKDAYS: [Weekday; 7] =
    [Weekday::Sun, Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat];

/// Arguments of `turnmill conversations`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    selection: SelectionArgs,
    #[command(flatten)]
    list: ListArgs,
    /// Form of the output
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Order of the conversations
    #[arg(long, value_enum, default_value_t = Order::Newest)]
    order: Order,
    /// Maximum number of conversations [default: 50 in a table, all in CSV and JSON]
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// Leave out this many at the beginning
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: u32,
    /// Seconds after which the database ends the question
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    time_limit: u64,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Filters of conversations")]
struct ListArgs {
    /// A part of the text of a user message, in any case
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// Conversation id, as the assistant wrote it
    #[arg(long, value_name = "KEY")]
    sender: Option<String>,
    /// Slot that has a value at the end
    #[arg(long, value_name = "NAME")]
    slot: Option<String>,
    /// Value of a slot at the end
    #[arg(long, value_name = "VALUE")]
    value: Option<String>,
    /// Minimum number of turns
    #[arg(long, value_name = "N")]
    min_turns: Option<i64>,
    /// Maximum number of turns
    #[arg(long, value_name = "N")]
    max_turns: Option<i64>,
    /// Minimum seconds of the slowest response
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    slower: Option<f64>,
    /// Only with a message that the assistant did not understand
    #[arg(long)]
    missed: bool,
    /// Only with this message that the assistant did not understand, in any case and spacing
    #[arg(long, value_name = "TEXT")]
    missed_text: Option<String>,
    /// Weekday of the start
    #[arg(long, value_enum, requires = "hour")]
    weekday: Option<Weekday>,
    /// Hour of the start, 0 to 23; the two hours of its block count
    #[arg(long, value_name = "HOUR", requires = "weekday", value_parser = clap::value_parser!(u32).range(0..24))]
    hour: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Weekday {
    Sun,
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Order {
    /// The newest first
    Newest,
    /// The oldest first
    Oldest,
    /// Those with most turns first
    Turns,
    /// The longest first
    Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a terminal
    Table,
    /// One row for each conversation
    Csv,
    /// One object with the conversations and the SQL, as the dashboard's API gives it
    Json,
}

/// Reads a number of seconds.
fn seconds(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| (0.0..=1e9).contains(number));
    number.ok_or_else(|| "expected a number of seconds".to_owned())
}

/// Asks the store and prints the conversations.
pub(crate) async fn run(args: &Args) -> Result<bool, Failure> {
    let question = args.selection.question(args.store.options().analytics()?)?;
    let most = if args.format == Format::Table { OF_A_TABLE } else { u32::MAX };
    let page =
        ListPage { order: args.order.of_list(), offset: args.offset, limit: args.limit.unwrap_or(most) };
    let choice = args.store.choice();
    let mut reader = choice.reader(Duration::from_secs(args.time_limit)).await?;
    let list = turnmill_analytics::conversations(&mut reader, &question, &args.list.filters(), page)
        .await
        .map_err(|error| choice.not_answered(error))?;
    let mut out = std::io::stdout().lock();
    let terminal = std::io::stdout().is_terminal();
    match args.format {
        Format::Table => table(&mut out, &list)?,
        Format::Csv => {
            csv::row(&mut out, terminal, COLUMNS.map(csv::text))?;
            for conversation in &list.conversations {
                csv::row(&mut out, terminal, row(conversation).iter().map(csv::cell))?;
            }
        }
        Format::Json => json_line(&mut out, &list)?,
    }
    out.flush()?;
    Ok(true)
}

impl ListArgs {
    fn filters(&self) -> ListFilters {
        let weekday = WEEKDAYS.into_iter().position(|day| Some(day) == self.weekday);
        let weekday = weekday.and_then(|weekday| u32::try_from(weekday).ok());
        ListFilters {
            text: self.text.clone(),
            sender: self.sender.clone(),
            slot: self.slot.clone(),
            value: self.value.clone(),
            min_turns: self.min_turns,
            max_turns: self.max_turns,
            slower: self.slower,
            is_missed: self.missed,
            missed_text: self.missed_text.clone(),
            block: weekday.zip(self.hour).map(|(weekday, hour)| DayBlock { weekday, hour }),
        }
    }
}

impl Order {
    fn of_list(self) -> ListOrder {
        match self {
            Self::Newest => ListOrder::Newest,
            Self::Oldest => ListOrder::Oldest,
            Self::Turns => ListOrder::Turns,
            Self::Duration => ListOrder::Duration,
        }
    }
}

/// Returns the cells of [`COLUMNS`].
fn row(listed: &Listed) -> Row {
    vec![
        listed.session_id.clone(),
        listed.sender_key.clone(),
        listed.started_at.clone(),
        listed.duration.map_or(Value::Null, Value::Float),
        listed.channel.clone(),
        listed.environment.clone(),
        listed.model.clone(),
        Value::Integer(listed.turns),
        listed.ending.clone(),
        listed.first_intent.clone(),
        listed.first_text.clone(),
    ]
}

/// Writes the columns that fit a terminal.
fn table(out: &mut impl Write, list: &ConversationList) -> std::io::Result<()> {
    let shown = list.conversations.len();
    writeln!(
        out,
        "{} conversations{}",
        list.total,
        if shown < usize::try_from(list.total).unwrap_or(0) {
            format!(", {shown} of them here (--limit, --offset)")
        } else {
            String::new()
        }
    )?;
    if shown == 0 {
        return Ok(());
    }
    let columns = ["session", "sender", "started", "seconds", "channel", "turns", "ending", "first message"];
    let rows: Vec<Row> = list
        .conversations
        .iter()
        .map(|listed| {
            vec![
                listed.session_id.clone(),
                listed.sender_key.clone(),
                listed.started_at.clone(),
                listed.duration.map_or(Value::Null, Value::Float),
                listed.channel.clone(),
                Value::Integer(listed.turns),
                listed.ending.clone(),
                listed.first_text.clone(),
            ]
        })
        .collect();
    grid(out, "  ", &columns, &rows)
}

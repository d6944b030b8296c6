//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use turnmill_model::{AssistantNameBuf, SessionIdMode, Settings, SourceFactsBuf, TimeUnit};
use turnmill_source::Format;

/// Reads conversation events from files, tracker stores and Kafka into an analytics store, or publishes them to a topic.
///
/// The same command again continues where it stopped, or finds nothing new; after a crash, too. Events that the store has are
/// recognised, whatever input they come from.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
pub(crate) struct Args {
    /// Files of events, trackers, Kafka records or table rows (see docs/formats.md; also gzip and Zstandard), folders of them, SQLite
    /// tracker stores and event brokers, `-` for standard input, `postgresql://USER@HOST/DATABASE` for those in
    /// PostgreSQL, `kafka:TOPIC` or `kafka:TOPIC/PARTITION`.
    #[arg(required_unless_present_any = ["from", "endpoints"], value_name = "INPUT")]
    inputs: Vec<PathBuf>,

    /// The same as INPUT.
    #[arg(long, value_name = "INPUT")]
    from: Vec<PathBuf>,

    /// Read the tracker store of an assistant's endpoints.yml, as `rasa export` does: one in SQLite or PostgreSQL.
    #[arg(long, value_name = "FILE")]
    pub(crate) endpoints: Option<PathBuf>,

    /// Where it goes: `sqlite:PATH` (or a path that ends in .sqlite, .sqlite3 or .db), `postgresql://USER@HOST/DATABASE` or `kafka:TOPIC`.
    /// The password of a database is taken from `TURNMILL_DB_PASSWORD`, `PGPASSWORD` or the file `PGPASSFILE`.
    #[arg(long, value_name = "STORE", required_unless_present_any = ["dry_run", "dump"])]
    pub(crate) to: Option<String>,

    /// Write the records of Kafka inputs (topics, or dumps of them) into this new file, `-` for standard output, as lines of
    /// the format `kafka`.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["to", "dry_run", "follow", "shift"])]
    pub(crate) dump: Option<PathBuf>,

    /// Format of file inputs: rasa, kafka, kcat, tracker-store, sql-broker, tracker, rabbitmq, console, csv or pg-dump. Told
    /// from the content unless given.
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,

    /// Name of the source in positions and in the ledger. Topics go by the id of their cluster instead.
    #[arg(long, value_name = "NAME", default_value = "file")]
    pub(crate) source: String,

    /// Add so many whole seconds to every event's timestamp, for example to undo those of a shifted export.
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub(crate) shift: Option<i64>,

    /// Wait for more at the end of the inputs, until interrupted.
    #[arg(long)]
    pub(crate) follow: bool,

    /// Seconds to wait for a database that is away; with --follow it is waited for without end.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) wait: u64,

    /// Seconds that stopping may take after SIGINT or SIGTERM. Then it ends as it is, which loses nothing; a second signal ends
    /// it at once.
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    pub(crate) shutdown_secs: u64,

    /// Only read and decode, and say what would come of it; no store is touched.
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Load whatever there is. Otherwise an input whose first 100 records hold no event is refused, and reading stops once more
    /// than 1,000 records in a row, or half of the last 10,000, cannot be decoded.
    #[arg(long)]
    pub(crate) no_dead_letter_limits: bool,

    /// Print the summary as JSON.
    #[arg(long)]
    pub(crate) json: bool,

    /// Print nothing but errors (and the JSON summary, if asked for).
    #[arg(long, short)]
    pub(crate) quiet: bool,

    /// End with the row counts and metrics of the whole store, too. They take time that grows with the store. A run that fills a
    /// new store ends with them anyway.
    #[arg(long, conflicts_with_all = ["dump", "dry_run"])]
    pub(crate) totals: bool,

    /// Memory for senders' states, in MiB. More than that many open conversations are loaded from the store when they go on.
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    pub(crate) cache: usize,

    /// Records of a transaction at most.
    #[arg(long, value_name = "RECORDS", default_value_t = 10_000)]
    pub(crate) batch: usize,

    #[command(flatten)]
    pub(crate) facts: FactsArgs,

    /// Which `metadata.session_id` values name a session: uuid (canonical UUIDs), any (any text) or off.
    #[arg(long, value_name = "MODE", default_value = "uuid", value_parser = session_id_mode)]
    session_id: SessionIdMode,

    /// Store slot values that are strings without quotes.
    #[arg(long)]
    bare_slot_strings: bool,

    /// Do not write dialogue stack frames for `stack` events.
    #[arg(long)]
    no_stack_events: bool,

    /// Schema of a store in PostgreSQL; `TURNMILL_DB_SCHEMA`, or else `public`, unless given.
    #[arg(long, value_name = "NAME", help_heading = "Stores")]
    pub(crate) schema: Option<String>,

    /// Foreign keys of a new store; `auto` unless given. Those that PostgreSQL checks triple its work.
    #[arg(long, value_name = "HOW", help_heading = "Stores")]
    pub(crate) foreign_keys: Option<ForeignKeys>,

    #[cfg(feature = "kafka")]
    #[command(flatten)]
    pub(crate) kafka: crate::kafka::Topics,
}

/// Whether foreign keys are declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ForeignKeys {
    /// From PostgreSQL 18 on declared and not enforced, before not declared; declared in SQLite, which does not check them.
    Auto,
    /// They are, and PostgreSQL checks them.
    Declared,
    /// They are not.
    None,
}

const EXIT_CODES: &str = "Exit codes: 0 everything landed (also if some of it as dead letters, or without files of a folder that hold no \
events, which are reported); 1 failed, or nothing that can be read; \
2 wrong usage; 130 interrupted, in order or cut short by --shutdown-secs: what was committed stays and the same command goes on.";

impl Args {
    /// All inputs.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = &PathBuf> {
        self.inputs.iter().chain(&self.from)
    }

    /// The settings that change rows or ids.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            session_id: self.session_id,
            bare_slot_strings: self.bare_slot_strings,
            stack_events: !self.no_stack_events,
        }
    }
}

/// What the inputs do not say about their events themselves.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Events")]
pub(crate) struct FactsArgs {
    /// Name of the assistant whose conversations these are: part of every sender's identity, so that one store can hold
    /// several. Without it, senders of two assistants that have the same key become one sender.
    #[arg(long, value_name = "NAME")]
    assistant: Option<String>,

    /// Take the name of the assistant from each event's `metadata.assistant_id`.
    #[arg(long, conflicts_with = "assistant")]
    assistant_from_metadata: bool,

    /// Unit of the timestamps: s, ms or us (microseconds).
    #[arg(long, value_name = "UNIT", default_value_t = TimeUnit::Seconds)]
    pub(crate) time_unit: TimeUnit,

    /// All events are anonymised copies, those without `anonymized_at` too: they take the place of plain copies.
    #[arg(long)]
    anonymised: bool,
}

impl FactsArgs {
    pub(crate) fn of_source(&self) -> SourceFactsBuf {
        let given = self.assistant.clone().filter(|name| !name.is_empty());
        let assistant = match given.map(AssistantNameBuf::Given) {
            Some(given) => given,
            None if self.assistant_from_metadata => AssistantNameBuf::FromMetadata,
            None => AssistantNameBuf::None,
        };
        SourceFactsBuf { assistant, time_unit: self.time_unit, anonymised: self.anonymised }
    }
}

fn session_id_mode(text: &str) -> Result<SessionIdMode, String> {
    match text {
        "uuid" => Ok(SessionIdMode::Uuid),
        "any" => Ok(SessionIdMode::Any),
        "off" => Ok(SessionIdMode::Off),
        _ => Err("expected uuid, any or off".into()),
    }
}

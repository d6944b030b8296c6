//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use turnmill_model::{SessionIdMode, Settings};
use turnmill_source::Format;

/// Reads conversation events from files, tracker stores and Kafka into an analytics store, or publishes them to a topic.
///
/// The same command again continues where it stopped, or finds nothing new; after a crash, too. Events that the store has are
/// recognised, whatever input they come from.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
pub(crate) struct Args {
    /// Files (plain, gzip or Zstandard JSON lines), SQLite tracker stores and event brokers, `-` for standard input,
    /// `postgresql://USER:PASSWORD@HOST/DATABASE` for those in PostgreSQL, `kafka:TOPIC` or `kafka:TOPIC/PARTITION`.
    #[arg(required_unless_present = "from", value_name = "INPUT")]
    inputs: Vec<PathBuf>,

    /// The same as INPUT.
    #[arg(long, value_name = "INPUT")]
    from: Vec<PathBuf>,

    /// Where it goes: `sqlite:PATH`, `postgresql://USER:PASSWORD@HOST/DATABASE` or `kafka:TOPIC`.
    #[arg(long, value_name = "STORE", required_unless_present_any = ["dry_run", "dump"])]
    pub(crate) to: Option<String>,

    /// Write the records of Kafka inputs (topics, or dumps of them) into this new file, `-` for standard output, as lines of
    /// the format `kafka`.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["to", "dry_run", "follow", "shift"])]
    pub(crate) dump: Option<PathBuf>,

    /// Format of file inputs: rasa, kafka, kcat, tracker-store, sql-broker or tracker. Told from the content unless given.
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

    /// Only read and decode, and say what would come of it; no store is touched.
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Print the summary as JSON.
    #[arg(long)]
    pub(crate) json: bool,

    /// Print nothing but errors (and the JSON summary, if asked for).
    #[arg(long, short)]
    pub(crate) quiet: bool,

    /// Memory for senders' states, in MiB. More than that many open conversations are loaded from the store when they go on.
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    pub(crate) cache: usize,

    /// Records of a transaction at most.
    #[arg(long, value_name = "RECORDS", default_value_t = 10_000)]
    pub(crate) batch: usize,

    /// Name of the assistant, where one store keeps several apart: part of every sender's identity.
    #[arg(long, value_name = "NAME")]
    assistant: Option<String>,

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

    /// Whether a new store declares foreign keys. In PostgreSQL they slow loading down several times.
    #[arg(long, value_name = "HOW", help_heading = "Stores")]
    pub(crate) foreign_keys: Option<ForeignKeys>,

    #[cfg(feature = "kafka")]
    #[command(flatten)]
    pub(crate) kafka: crate::kafka::Topics,
}

/// Whether foreign keys are declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ForeignKeys {
    /// They are.
    Declared,
    /// They are not.
    None,
}

const EXIT_CODES: &str = "Exit codes: 0 everything landed (also if some of it as dead letters, which are reported); 1 failed; \
2 wrong usage; 130 interrupted, what was committed stays and the same command goes on.";

impl Args {
    /// All inputs.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = &PathBuf> {
        self.inputs.iter().chain(&self.from)
    }

    /// The settings that change rows or ids.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            assistant: self.assistant.clone(),
            session_id: self.session_id,
            bare_slot_strings: self.bare_slot_strings,
            stack_events: !self.no_stack_events,
        }
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

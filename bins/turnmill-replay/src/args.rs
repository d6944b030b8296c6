//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use turnmill_model::{AssistantNameBuf, LexSettings, SessionIdMode, Settings, SourceFactsBuf, TimeUnit};
use turnmill_source::Container;

/// Loads conversation events from files, tracker stores and Kafka into an analytics store, or
/// publishes them to a topic.
///
/// The same command resumes where it stopped, even after a crash. Events that the store already
/// contains are recognised, from any input.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
pub(crate) struct Args {
    /// Inputs: files of events, trackers, Kafka records or table rows (see docs/formats.md), also
    /// gzip or Zstandard; directories of such files; tracker stores and event brokers in SQLite, or
    /// in PostgreSQL as `postgresql://USER@HOST/DATABASE`; `kafka:TOPIC` or
    /// `kafka:TOPIC/PARTITION`; `-` for standard input.
    #[arg(required_unless_present_any = ["from", "endpoints"], value_name = "INPUT")]
    inputs: Vec<PathBuf>,

    /// Same as INPUT.
    #[arg(long, value_name = "INPUT")]
    from: Vec<PathBuf>,

    /// Read the tracker store (SQLite or PostgreSQL) of an assistant's endpoints.yml, as `rasa
    /// export` does.
    #[arg(long, value_name = "FILE")]
    pub(crate) endpoints: Option<PathBuf>,

    /// Target: `sqlite:PATH` (or a path that ends in .sqlite, .sqlite3 or .db),
    /// `postgresql://USER@HOST/DATABASE`, `parquet:DIR`, `csv:DIR` or `jsonl:DIR` (files of every
    /// table, with a SQLite file beside them), or `kafka:TOPIC`. Database passwords come from
    /// `TURNMILL_DB_PASSWORD`, `PGPASSWORD` or the file `PGPASSFILE`.
    #[arg(long, value_name = "STORE", required_unless_present_any = ["dry_run", "dump"])]
    pub(crate) to: Option<String>,

    /// Write the records of Kafka inputs (topics, or dumps of them) to this new file, as lines of
    /// the format `kafka`; `-` for standard output.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["to", "dry_run", "follow", "shift"])]
    pub(crate) dump: Option<PathBuf>,

    /// Format of file inputs: rasa, kafka, kcat, tracker-store, sql-broker, tracker, rabbitmq,
    /// console, csv or pg-dump [default: detected from the content].
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<Container>,

    /// Name of the source in positions and ledger. For topics, the id of their cluster is used
    /// instead.
    #[arg(long, value_name = "NAME", default_value = "file")]
    pub(crate) source: String,

    /// Add this number of seconds to every event's timestamp, for example to reverse the shift of
    /// an export.
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub(crate) shift: Option<i64>,

    /// Wait for more data at the end of the inputs, until interrupted.
    #[arg(long)]
    pub(crate) follow: bool,

    /// Seconds to retry while the database is unavailable; no limit with --follow.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) wait: u64,

    /// Seconds allowed for stopping after SIGINT or SIGTERM. Then the process exits, which is safe;
    /// a second signal ends it at once.
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    pub(crate) shutdown_secs: u64,

    /// Only read and decode, and report what would be loaded.
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Load everything, even if most records become dead letters. By default, an input without an
    /// event in its first 100 records is refused, and loading stops after more than 1,000
    /// consecutive dead letters, or if more than half of the last 10,000 records are dead letters.
    #[arg(long)]
    pub(crate) no_dead_letter_limits: bool,

    /// Print the summary as JSON.
    #[arg(long)]
    pub(crate) json: bool,

    /// Print only errors, and the JSON summary if requested.
    #[arg(long, short)]
    pub(crate) quiet: bool,

    /// End with the row counts and metrics of the whole store too. They take time that grows with
    /// the store. A run that fills a new store reports them anyway.
    #[arg(long, conflicts_with_all = ["dump", "dry_run"])]
    pub(crate) totals: bool,

    /// Memory for cached sender states, in MiB. Other states are loaded from the store when their
    /// conversations continue.
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    pub(crate) cache: usize,

    /// Maximum number of records in one transaction.
    #[arg(long, value_name = "RECORDS", default_value_t = 10_000)]
    pub(crate) batch: usize,

    #[command(flatten)]
    pub(crate) facts: FactsArgs,

    /// Accepted `metadata.session_id` values: canonical UUIDs (uuid), any text (any), or none
    /// (off).
    #[arg(long, value_name = "MODE", default_value_t = SessionIdMode::Uuid)]
    session_id: SessionIdMode,

    /// Store string slot values without quotes.
    #[arg(long)]
    bare_slot_strings: bool,

    /// Do not write dialogue stack frames for `stack` events.
    #[arg(long)]
    no_stack_events: bool,

    /// PostgreSQL schema of the store [default: `TURNMILL_DB_SCHEMA`, or `public`].
    #[arg(long, value_name = "NAME", help_heading = "Stores")]
    pub(crate) schema: Option<String>,

    /// Foreign keys of a new store [default: auto]. PostgreSQL's work triples if it enforces them.
    #[arg(long, value_name = "HOW", help_heading = "Stores")]
    pub(crate) foreign_keys: Option<ForeignKeys>,

    #[command(flatten)]
    lex: LexArgs,

    #[cfg(feature = "kafka")]
    #[command(flatten)]
    pub(crate) kafka: crate::kafka::KafkaArgs,
}

/// Foreign keys of a new store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ForeignKeys {
    /// PostgreSQL 18 and newer: declared but not enforced; older versions: not declared; SQLite:
    /// declared but not enforced.
    Auto,
    /// Declared, and enforced by PostgreSQL.
    Declared,
    /// Not declared.
    None,
}

const EXIT_CODES: &str = "Exit codes: 0 success (dead letters and skipped files of directories are reported); \
1 failure, or no readable input; 2 invalid usage; 130 interrupted, in order or after --shutdown-secs \
(committed batches stay, and the same command resumes).";

impl Args {
    /// Returns all inputs.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = &PathBuf> {
        self.inputs.iter().chain(&self.from)
    }

    /// Returns the settings that change rows or ids.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            session_id: self.session_id,
            bare_slot_strings: self.bare_slot_strings,
            stack_events: !self.no_stack_events,
            lex: self.lex.settings(),
        }
    }
}

/// Settings of conversation logs of Amazon Lex that change rows.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Amazon Lex")]
struct LexArgs {
    /// Longest silence in seconds inside a session whose records name no first request.
    #[arg(long, value_name = "SECONDS", default_value_t = LexSettings::default().session_gap)]
    lex_session_gap: u32,

    /// Session or request attribute that names the end user.
    #[arg(long, value_name = "NAME")]
    lex_user_attribute: Option<String>,

    /// Session attribute that hands the conversation over to a person: NAME, or NAME=VALUE.
    #[arg(long, value_name = "NAME")]
    lex_handover_attribute: Option<String>,

    /// Channel of records that name none.
    #[arg(long, value_name = "NAME")]
    lex_channel: Option<String>,

    /// Keys of attributes whose values are secret, separated by commas; `*` stands for any text
    /// [default: *jwt,*token,authorization,*secret,*password].
    #[arg(long, value_name = "PATTERNS", value_delimiter = ',')]
    lex_blanked_keys: Option<Vec<String>>,
}

impl LexArgs {
    fn settings(&self) -> LexSettings {
        LexSettings {
            session_gap: self.lex_session_gap,
            user_attribute: self.lex_user_attribute.clone(),
            handover_attribute: self.lex_handover_attribute.clone(),
            channel: self.lex_channel.clone(),
            secret_keys: self.lex_blanked_keys.clone().unwrap_or_else(|| LexSettings::default().secret_keys),
        }
    }
}

/// Facts about the inputs that their events do not contain.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Events")]
pub(crate) struct FactsArgs {
    /// Name of the assistant. It becomes part of each sender's identity, so one store can hold
    /// several assistants. Without it, senders of two assistants with the same key are merged.
    #[arg(long, value_name = "NAME")]
    assistant: Option<String>,

    /// Format of the events: rasa, or lex for conversation logs of Amazon Lex V2 [default: lex if
    /// the content is certainly one, else rasa].
    #[arg(long, value_name = "NAME")]
    pub(crate) decoder: Option<String>,

    /// Take the assistant's name from `metadata.assistant_id` of each event.
    #[arg(long, conflicts_with = "assistant")]
    assistant_from_metadata: bool,

    /// Unit of event timestamps: s, ms or us (microseconds).
    #[arg(long, value_name = "UNIT", default_value_t = TimeUnit::Seconds)]
    pub(crate) time_unit: TimeUnit,

    /// All events are anonymised copies, even without `anonymized_at`: they replace plain copies.
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
        let decoder = self.decoder.clone();
        SourceFactsBuf { assistant, time_unit: self.time_unit, anonymised: self.anonymised, decoder }
    }
}

//! `turnmill positions`.

use std::io::Write;

use serde_json::{Value, json};
use turnmill_model::PartitionId;
use turnmill_sink::{Advance, Claim, Class, Inspect, Store, StoredPosition, Transaction};
use turnmill_source::Position;
use turnmill_text::escaped;

use crate::console;
use crate::failure::Failure;
use crate::store_args::{StoreArgs, StoreOptions};

/// Subcommands of `turnmill positions`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the stored positions: the next offset of each partition, the next byte of each file.
    List {
        #[command(flatten)]
        store: StoreArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Set the position from which a partition is read, for example to read records again.
    ///
    /// Records that are read again count again, as duplicates; no row changes. A running service is
    /// fenced at its next commit, and resumes from the new position.
    Set {
        /// Store (by default the configured one); source as printed by `list`, for Kafka the
        /// cluster id; partition as printed by `list`, such as `topic/3`; offset to read next, or
        /// `earliest`.
        #[arg(required = true, num_args = 3..=4, value_names = ["[STORE] SOURCE", "PARTITION", "POSITION"])]
        arguments: Vec<String>,
        #[command(flatten)]
        options: StoreOptions,
        /// Add a position that the store does not have yet.
        #[arg(long)]
        new: bool,
    },
}

/// Parses the POSITION argument.
fn parse_position(text: &str) -> Option<Position> {
    if text == "earliest" { Some(Position::at(0)) } else { text.parse().ok() }
}

/// Formats a stored position for display. For Kafka this is the next offset only, without the last
/// record.
fn display_position(stored: &str) -> String {
    match stored.parse::<Position>() {
        Ok(Position { offset, last: Some(_), .. }) => offset.to_string(),
        _ => stored.to_owned(),
    }
}

/// Returns offset and time of the last committed record, if the stored position contains it.
fn last_read(stored: &str) -> Option<Value> {
    let last = stored.parse::<Position>().ok()?.last?;
    Some(json!({"offset": last.offset, "timestamp_ms": last.millis}))
}

/// Runs a subcommand.
pub(crate) async fn run(command: &Command) -> Result<bool, Failure> {
    let mut out = std::io::stdout().lock();
    match command {
        Command::List { store, json } => {
            let (mut store, _) = store.choice().for_reading().await?;
            let positions = store.positions().await?;
            if *json {
                let all: Vec<_> = positions
                    .iter()
                    .map(|StoredPosition { key, position }| {
                        json!({
                            "source": key.source, "partition": key.partition, "position": display_position(position),
                            "last_read": last_read(position),
                        })
                    })
                    .collect();
                writeln!(out, "{}", json!(all))?;
                return Ok(true);
            }
            writeln!(out, "{:<24}  {:<40}  position", "source", "partition")?;
            for StoredPosition { key, position } in &positions {
                let (source, partition) = (escaped(&key.source), escaped(&key.partition));
                let position = display_position(position);
                writeln!(out, "{source:<24}  {partition:<40}  {}", escaped(&position))?;
            }
        }
        Command::Set { arguments, options, new } => {
            let (url, rest) = match arguments.as_slice() {
                [store, rest @ ..] if rest.len() == 3 => (Some(store.as_str()), rest),
                rest => (None, rest),
            };
            let [source, partition, position] = rest else {
                return Err(Failure::NoPosition(arguments.join(" ")));
            };
            let position = parse_position(position).ok_or_else(|| Failure::NoPosition(position.clone()))?;
            let (mut store, _) = options.choice(url).for_writing(None).await?;
            let positions = store.positions().await?;
            let key = PartitionId { source: source.clone(), partition: partition.clone() };
            let from = StoredPosition::find(&positions, &key).map(str::to_owned);
            if from.is_none() && !new {
                let known =
                    positions.iter().map(|stored| stored.key.to_string()).collect::<Vec<_>>().join("; ");
                return Err(Failure::NoSuchPosition { key, known });
            }
            let to = position.to_string();
            let claim = Claim {
                advances: vec![Advance { key: key.clone(), from: from.clone(), to: to.clone() }],
                ..Claim::default()
            };
            let moved = match store.begin(&claim).await {
                Ok(transaction) => transaction.commit().await,
                Err(error) => Err(error),
            };
            match moved {
                Err(error) if error.class() == Class::Fenced => return Err(Failure::PositionChanged(error)),
                result => result?,
            }
            store.finish()?;
            let from = from.as_deref().map_or_else(|| "(none)".into(), display_position);
            writeln!(out, "{}: {} -> {to}", escaped(&key.to_string()), escaped(&from))?;
            console::message(
                "a running service resumes from this position at its next commit; records that it reads again count as \
                 duplicates",
            );
        }
    }
    Ok(true)
}

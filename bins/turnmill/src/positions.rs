//! `turnmill positions`.

use std::io::Write;

use serde_json::{Value, json};
use turnmill_model::PartitionId;
use turnmill_sink::{Advance, Claim, Class, Inspect, Store, Transaction};
use turnmill_source::Position;
use turnmill_text::escaped;

use crate::Failure;
use crate::store_args::{StoreArgs, StoreOptions, say};

/// Subcommands of `turnmill positions`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List where each source stands: the next offset of each partition, the byte of each file.
    List {
        #[command(flatten)]
        store: StoreArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Set where a source goes on, e.g. to read records again.
    ///
    /// What is read again counts again, as duplicates; no row changes. A running service is fenced with its next records, and goes on from there.
    Set {
        /// The store (without it the configured one); the source's name as `list` prints it, for Kafka the cluster's id; the
        /// partition as `list` prints it: `topic/3`; the offset to read next, or `earliest`.
        #[arg(required = true, num_args = 3..=4, value_names = ["[STORE] SOURCE", "PARTITION", "POSITION"])]
        arguments: Vec<String>,
        #[command(flatten)]
        options: StoreOptions,
        /// Set it also if there is none yet.
        #[arg(long)]
        new: bool,
    },
}

/// Where to go on.
fn wanted(text: &str) -> Option<Position> {
    if text == "earliest" { Some(Position::at(0)) } else { text.parse().ok() }
}

/// A stored position as people write it: of a log the next offset, without what the source keeps beside it.
fn shown(stored: &str) -> String {
    match stored.parse::<Position>() {
        Ok(Position { offset, last: Some(_), .. }) => offset.to_string(),
        _ => stored.to_owned(),
    }
}

/// Offset and time of the record that was read last, where the source keeps them.
fn last_read(stored: &str) -> Option<Value> {
    let last = stored.parse::<Position>().ok()?.last?;
    Some(json!({"offset": last.offset, "timestamp_ms": last.millis}))
}

/// Does what the command line says.
pub(crate) async fn run(command: &Command) -> Result<bool, Failure> {
    let mut out = std::io::stdout().lock();
    match command {
        Command::List { store, json } => {
            let (mut store, _) = store.choice().for_reading().await?;
            let positions = store.positions().await?;
            if *json {
                let all: Vec<_> = positions
                    .iter()
                    .map(|(key, position)| {
                        json!({
                            "source": key.source, "partition": key.partition, "position": shown(position),
                            "last_read": last_read(position),
                        })
                    })
                    .collect();
                writeln!(out, "{}", json!(all))?;
                return Ok(true);
            }
            writeln!(out, "{:<24}  {:<40}  position", "source", "partition")?;
            for (PartitionId { source, partition }, position) in &positions {
                let (source, partition) = (escaped(source), escaped(partition));
                let position = shown(position);
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
            let position = wanted(position).ok_or_else(|| Failure::NoPosition(position.clone()))?;
            let (mut store, _) = options.choice(url).for_writing(None).await?;
            let positions = store.positions().await?;
            let key = PartitionId { source: source.clone(), partition: partition.clone() };
            let from = positions.iter().find(|(stored, _)| *stored == key).map(|(_, from)| from.clone());
            if from.is_none() && !new {
                let known = positions.iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>().join("; ");
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
                Err(error) if error.class() == Class::Fenced => return Err(Failure::Moving(error)),
                result => result?,
            }
            store.finish()?;
            let from = from.as_deref().map_or_else(|| "(none)".into(), shown);
            writeln!(out, "{}: {} -> {to}", escaped(&key.to_string()), escaped(&from))?;
            say(
                "a running service is fenced with its next records, and goes on from there; what it reads again counts again, as duplicates",
            );
        }
    }
    Ok(true)
}

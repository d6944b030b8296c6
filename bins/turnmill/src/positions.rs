//! `turnmill positions`.

use std::io::Write;

use serde_json::json;
use turnmill_sink::{Advance, Claim, Class, Inspect, PositionKey, Store, Transaction};
use turnmill_source::Position;
use turnmill_text::escaped;

use crate::{Failure, StoreArgs};

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
        #[command(flatten)]
        store: StoreArgs,
        /// Name of the source, as `list` prints it; for Kafka the cluster's id.
        source: String,
        /// Partition, as `list` prints it: `topic/3`.
        partition: String,
        /// The offset to read next, or `earliest`.
        position: Wanted,
        /// Set it also if there is none yet.
        #[arg(long)]
        new: bool,
    },
}

/// Where to go on.
#[derive(Clone, Debug)]
pub(crate) struct Wanted(Position);

impl std::str::FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "earliest" {
            return Ok(Self(Position::at(0)));
        }
        text.parse().map(Self).map_err(|_| "expected an offset, or `earliest`".into())
    }
}

/// Does what the command line says.
pub(crate) async fn run(command: &Command) -> Result<bool, Failure> {
    let mut out = std::io::stdout().lock();
    match command {
        Command::List { store, json } => {
            let mut store = store.store()?.read_only();
            store.open_as_it_is().await?;
            let positions = store.positions().await?;
            if *json {
                let all: Vec<_> = positions
                    .iter()
                    .map(|(key, position)| json!({"source": key.source, "partition": key.partition, "position": position}))
                    .collect();
                writeln!(out, "{}", json!(all))?;
                return Ok(true);
            }
            writeln!(out, "{:<24}  {:<40}  position", "source", "partition")?;
            for (PositionKey { source, partition }, position) in &positions {
                let (source, partition, position) = (escaped(source), escaped(partition), escaped(position));
                writeln!(out, "{source:<24}  {partition:<40}  {position}")?;
            }
        }
        Command::Set { store, source, partition, position, new } => {
            let settings = store.store()?.read_only().open_as_it_is().await?;
            let mut store = store.store()?;
            let opened = store.open(&settings).await?;
            let key = PositionKey { source: source.clone(), partition: partition.clone() };
            let from = opened.position(&key).map(ToOwned::to_owned);
            if from.is_none() && !new {
                let known =
                    opened.positions.iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>().join("; ");
                return Err(Failure::NoSuchPosition { key, known });
            }
            let to = position.0.to_string();
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
            let from = from.as_deref().unwrap_or("(none)");
            writeln!(out, "{}: {} -> {to}", escaped(&key.to_string()), escaped(from))?;
            // With standard error gone there is nobody left to tell.
            let _ = writeln!(
                std::io::stderr(),
                "turnmill: a running service is fenced with its next records, and goes on from there; what it reads again counts again, as duplicates"
            );
        }
    }
    Ok(true)
}

//! `turnmill sinks`.

use std::io::Write;

use serde_json::{Value, json};
use turnmill_sink::outbox::{Outbox, SinkState};
use turnmill_text::escaped;

use crate::console;
use crate::failure::{Failure, or_none};
use crate::store_args::{StoreArgs, StoreOptions};

/// Subcommands of `turnmill sinks`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the sinks of the store: name, scope, position, lag, skipped changes, owner and error.
    List {
        #[command(flatten)]
        store: StoreArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove a sink, and the changes that only it needs.
    ///
    /// A runner of the sink ends. If it starts again, the sink is new and starts with a snapshot.
    Remove {
        #[command(flatten)]
        sink: SinkArgs,
    },
    /// Let a sink start again with a snapshot of the stored rows.
    ///
    /// Changes that it does not have yet are dropped, because the snapshot has them. A runner of
    /// the sink continues there within 10 seconds.
    Reset {
        #[command(flatten)]
        sink: SinkArgs,
    },
}

/// A sink of a store.
#[derive(Debug, clap::Args)]
pub(crate) struct SinkArgs {
    /// Store (by default the configured one); name as printed by `list`.
    #[arg(required = true, num_args = 1..=2, value_names = ["[STORE] NAME"])]
    arguments: Vec<String>,
    #[command(flatten)]
    options: StoreOptions,
}

impl SinkArgs {
    /// Returns the store, if it is given, and the name.
    fn split(&self) -> (Option<&str>, &str) {
        match self.arguments.as_slice() {
            [store, name] => (Some(store), name),
            [name] => (None, name),
            // The number of arguments is checked by the parser.
            _ => (None, ""),
        }
    }
}

fn as_json(sink: &SinkState) -> Value {
    json!({
        "name": sink.name, "scope": sink.scope.as_str(), "position": sink.position.number,
        "snapshot": sink.position.snapshot.as_ref().map(ToString::to_string),
        "lag_entries": sink.lag(), "lag_bytes": sink.lag_bytes, "max_bytes": sink.max_bytes,
        "skipped": sink.skipped, "owner": sink.owner, "error": sink.error,
    })
}

fn print(out: &mut impl Write, sinks: &[SinkState]) -> std::io::Result<()> {
    writeln!(
        out,
        "{:<32}  {:<12}  {:>12}  {:>10}  {:>12}  {:>8}  {:<24}  error",
        "name", "scope", "position", "lag", "lag (bytes)", "skipped", "owner"
    )?;
    for sink in sinks {
        let position = match sink.position.snapshot {
            Some(_) => "snapshot".to_owned(),
            None => sink.position.number.to_string(),
        };
        writeln!(
            out,
            "{:<32}  {:<12}  {position:>12}  {:>10}  {:>12}  {:>8}  {:<24}  {}",
            escaped(&sink.name),
            sink.scope.as_str(),
            sink.lag(),
            sink.lag_bytes,
            sink.skipped,
            escaped(sink.owner.as_deref().unwrap_or("-")),
            escaped(sink.error.as_deref().unwrap_or("-")),
        )?;
    }
    Ok(())
}

/// Runs a subcommand.
pub(crate) async fn run(command: &Command) -> Result<bool, Failure> {
    let mut out = std::io::stdout().lock();
    match command {
        Command::List { store, json } => {
            let (mut store, _) = store.choice().for_reading().await?;
            let sinks = store.sinks().await?;
            if *json {
                writeln!(out, "{}", json!(sinks.iter().map(as_json).collect::<Vec<_>>()))?;
            } else {
                print(&mut out, &sinks)?;
            }
        }
        Command::Remove { sink } => {
            change(sink, async |store, name| store.remove_sink(name).await).await?;
            writeln!(out, "{}: removed", escaped(sink.split().1))?;
            console::message("a service with this sink in its settings adds it again when it starts");
        }
        Command::Reset { sink } => {
            change(sink, async |store, name| store.reset_sink(name).await).await?;
            writeln!(out, "{}: starts again with a snapshot", escaped(sink.split().1))?;
        }
    }
    Ok(true)
}

/// Changes a sink, which must exist.
async fn change(
    sink: &SinkArgs,
    work: impl AsyncFnOnce(&mut turnmill_stores::AnyStore, &str) -> Result<bool, turnmill_sink::StoreError>,
) -> Result<(), Failure> {
    let (url, name) = sink.split();
    let (mut store, _) = sink.options.choice(url).for_writing(None).await?;
    if !work(&mut store, name).await? {
        let known: Vec<String> = store.sinks().await?.into_iter().map(|sink| sink.name).collect();
        return Err(Failure::NoSuchSink { name: name.to_owned(), known: or_none(&known.join("; ")) });
    }
    Ok(store.finish()?)
}

//! `turnmill verify`.

use std::io::Write;

use serde_json::{Map, Value, json};
use turnmill_sink::Inspect;
use turnmill_text::escaped;

use crate::{Failure, StoreArgs};

/// Arguments of `turnmill verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    store: StoreArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints digests and ledger; false if the ledger does not add up.
pub(crate) async fn run(args: &Args) -> Result<bool, Failure> {
    let (mut store, _) = args.store.choice().for_reading().await?;
    let digests = store.digests().await?;
    let ledger = store.ledger().await?;
    let sound = ledger.iter().all(|(_, counts)| counts.adds_up());

    let mut out = std::io::stdout().lock();
    if args.json {
        let tables: Map<_, _> = digests
            .tables
            .iter()
            .map(|(name, table)| {
                ((*name).to_owned(), json!({"rows": table.rows, "digest": table.to_string()}))
            })
            .collect();
        let ledger: Vec<Value> = ledger
            .iter()
            .map(|(source, counts)| {
                json!({
                    "source": source,
                    "records": counts.records,
                    "events": counts.events,
                    "duplicates": counts.duplicates,
                    "dead_letters": counts.dead_letters,
                    "skipped": counts.skipped,
                })
            })
            .collect();
        writeln!(out, "{}", json!({"digest": digests.to_string(), "tables": tables, "ledger": ledger}))?;
        return Ok(sound);
    }
    writeln!(out, "{:<28} {:>12}  digest", "table", "rows")?;
    for (name, table) in &digests.tables {
        writeln!(out, "{name:<28} {:>12}  {table}", table.rows)?;
    }
    writeln!(out, "\ndigest of all tables: {digests}\n")?;
    writeln!(
        out,
        "{:<20} {:>12} {:>12} {:>12} {:>12} {:>12}",
        "source", "records", "events", "duplicates", "dead letters", "skipped"
    )?;
    for (source, counts) in &ledger {
        writeln!(
            out,
            "{:<20} {:>12} {:>12} {:>12} {:>12} {:>12}{}",
            escaped(source),
            counts.records,
            counts.events,
            counts.duplicates,
            counts.dead_letters,
            counts.skipped,
            if counts.adds_up() { "" } else { "  does not add up" },
        )?;
    }
    if !sound {
        writeln!(out, "\nthe ledger does not add up: records are missing or counted twice")?;
    }
    Ok(sound)
}

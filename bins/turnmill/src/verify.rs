//! `turnmill verify`.

use std::io::Write;

use serde_json::{Map, Value, json};
use turnmill_ingest::examine;
use turnmill_sink::{Inspect, LedgerEntry};
use turnmill_text::escaped;

use crate::failure::Failure;
use crate::store_args::StoreArgs;

/// Arguments of `turnmill verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    store: StoreArgs,
    /// Check indexes even if the store is large, with SQLite's integrity check or PostgreSQL's
    /// amcheck.
    #[arg(long)]
    thorough: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints digests, ledger and the result of all checks. Returns `false` if a check failed.
pub(crate) async fn run(args: &Args) -> Result<bool, Failure> {
    let (mut store, _) = args.store.choice().for_reading().await?;
    let examined = examine(&mut store, args.thorough).await?;
    let digests = match store.digests().await {
        Ok(digests) => digests,
        Err(error) => {
            // A closed standard error is no reason to fail.
            for finding in &examined.findings {
                let _ = writeln!(std::io::stderr(), "damaged: {}", escaped(finding));
            }
            return Err(error.into());
        }
    };
    let ledger = store.ledger().await?;
    let adds_up = ledger.iter().all(|entry| entry.counts.adds_up());
    let sound = adds_up && examined.findings.is_empty();

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
            .map(|LedgerEntry { source, counts }| {
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
        let report = json!({
            "digest": digests.to_string(),
            "tables": tables,
            "ledger": ledger,
            "sound": sound,
            "looked_at": examined.looked_at,
            "left_out": examined.left_out,
            "findings": examined.findings,
        });
        writeln!(out, "{report}")?;
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
    for LedgerEntry { source, counts } in &ledger {
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
    writeln!(out, "\nchecked: {}", examined.looked_at.join("; "))?;
    if !examined.left_out.is_empty() {
        writeln!(out, "not checked: {}", examined.left_out.join("; "))?;
    }
    if !adds_up {
        writeln!(out, "\nthe ledger does not add up: records are missing or counted twice")?;
    }
    if !examined.findings.is_empty() {
        writeln!(out)?;
        for finding in &examined.findings {
            writeln!(out, "damaged: {}", escaped(finding))?;
        }
        writeln!(
            out,
            "damaged rows are restored by `turnmill rebuild`, from the history; for a damaged file or index restore a backup, \
             or fill a new store from the events"
        )?;
    }
    Ok(sound)
}

//! `turnmill verify`.

use std::io::Write;

use serde_json::{Map, Value, json};
use turnmill_ingest::examine;
use turnmill_sink::Inspect;
use turnmill_text::escaped;

use crate::{Failure, StoreArgs};

/// Arguments of `turnmill verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    store: StoreArgs,
    /// Look at indexes also if the store is large: SQLite's integrity check, or PostgreSQL's amcheck.
    #[arg(long)]
    thorough: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints digests, ledger, and what was looked at; false if something is wrong.
pub(crate) async fn run(args: &Args) -> Result<bool, Failure> {
    let (mut store, _) = args.store.choice().for_reading().await?;
    let examined = examine(&mut store, args.thorough).await?;
    let digests = match store.digests().await {
        Ok(digests) => digests,
        Err(error) => {
            // With standard error gone there is nobody left to tell.
            for finding in &examined.findings {
                let _ = writeln!(std::io::stderr(), "damaged: {}", escaped(finding));
            }
            return Err(error.into());
        }
    };
    let ledger = store.ledger().await?;
    let adds_up = ledger.iter().all(|(_, counts)| counts.adds_up());
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
        let said = json!({
            "digest": digests.to_string(),
            "tables": tables,
            "ledger": ledger,
            "sound": sound,
            "looked_at": examined.looked_at,
            "left_out": examined.left_out,
            "findings": examined.findings,
        });
        writeln!(out, "{said}")?;
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
    writeln!(out, "\nlooked at: {}", examined.looked_at.join("; "))?;
    if !examined.left_out.is_empty() {
        writeln!(out, "not looked at: {}", examined.left_out.join("; "))?;
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
            "rows are made again from the history by `turnmill rebuild`; a damaged file or index needs its backup, or a new \
             store that is filled from the events"
        )?;
    }
    Ok(sound)
}

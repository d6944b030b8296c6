//! `turnmill foreign-keys`.

use std::io::Write;

use turnmill_stores::AnyStore;

use crate::console;
use crate::failure::Failure;
use crate::store_args::StoreArgs;

/// Arguments of `turnmill foreign-keys`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// declared: enforced for every row. none: not declared. auto: declared but not enforced on
    /// PostgreSQL 18 and newer, not declared on older versions.
    #[arg(value_name = "auto|declared|none", value_parser = ["auto", "declared", "none"])]
    mode: String,
    #[command(flatten)]
    store: StoreArgs,
}

/// Changes indexes and foreign keys, and prints each step.
pub(crate) async fn run(args: &Args) -> Result<bool, Failure> {
    let store = args.store.choice().store()?.with_notices(console::message);
    let mut out = std::io::stdout().lock();
    let AnyStore::Postgres(store) = store else {
        writeln!(out, "nothing to do: SQLite declares foreign keys without enforcing them")?;
        return Ok(true);
    };
    let foreign_keys = args.mode.parse().map_err(turnmill_stores::UnknownStore::from)?;
    let done = store.with_foreign_keys(foreign_keys).arrange().await?;
    if done.is_empty() {
        writeln!(out, "nothing to do: indexes and foreign keys are as requested")?;
    }
    for line in done {
        writeln!(out, "done: {line}")?;
    }
    Ok(true)
}

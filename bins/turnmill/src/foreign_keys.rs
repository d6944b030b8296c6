//! `turnmill foreign-keys`.

use std::io::Write;

use turnmill_stores::AnyStore;

use crate::Failure;
use crate::store_args::{StoreArgs, say};

/// Arguments of `turnmill foreign-keys`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// From PostgreSQL 18 on declared and not enforced, before not declared (auto); checked with every row (declared); or not
    /// declared (none).
    #[arg(value_name = "auto|declared|none", value_parser = ["auto", "declared", "none"])]
    how: String,
    #[command(flatten)]
    store: StoreArgs,
}

/// Makes indexes and foreign keys so, and says what it does.
pub(crate) async fn run(args: &Args) -> Result<bool, Failure> {
    let store = args.store.choice().store()?.with_notices(say);
    let mut out = std::io::stdout().lock();
    let AnyStore::Postgres(store) = store else {
        writeln!(out, "SQLite declares foreign keys and does not check them; there is nothing to do")?;
        return Ok(true);
    };
    let foreign_keys = args.how.parse().map_err(turnmill_stores::UnknownStore::from)?;
    let done = store.with_foreign_keys(foreign_keys).arrange().await?;
    if done.is_empty() {
        writeln!(out, "indexes and foreign keys are so already")?;
    }
    for line in done {
        writeln!(out, "done: {line}")?;
    }
    Ok(true)
}

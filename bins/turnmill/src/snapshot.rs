//! `turnmill snapshot`.

use std::io::Write as _;

use turnmill_sink_file::{FileAddress, MANIFEST, write_snapshot};

use crate::failure::Failure;
use crate::store_args::StoreArgs;

/// Arguments of `turnmill snapshot`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    store: StoreArgs,
    /// Folder of the files: `parquet:DIR`, `csv:DIR` or `jsonl:DIR`.
    #[arg(long, value_name = "FORMAT:DIR")]
    to: FileAddress,
}

/// Writes the files.
pub(crate) async fn run(args: &Args) -> Result<bool, Failure> {
    let (mut store, _) = args.store.choice().for_reading().await?;
    let manifest = write_snapshot(&mut store, &args.to).await?;
    let mut out = std::io::stdout().lock();
    for (table, files) in &manifest.tables {
        let rows: u64 = files.iter().map(|file| file.rows).sum();
        writeln!(out, "{table:<28}  {rows:>12}")?;
    }
    let path = args.to.folder.join(MANIFEST);
    writeln!(out, "\n{} names the files", turnmill_text::escaped(&path.display().to_string()))?;
    Ok(true)
}

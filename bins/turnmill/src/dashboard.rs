//! `turnmill dashboard`.

mod answers;

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use turnmill_service::Shutdown;
use turnmill_service::http::{HttpAccess, Server, guarded};

use self::answers::StoreAnswers;
use crate::failure::Failure;
use crate::store_args::StoreArgs;

/// Arguments of `turnmill dashboard`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    store: StoreArgs,
    /// Address of the pages. Port 0 selects a free port.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8733")]
    listen: SocketAddr,
    /// Time limit of one question in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=25))]
    limit: u64,
}

/// Serves the pages until the process ends.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    if !args.listen.ip().is_loopback() {
        return Err(Failure::NotLoopback(args.listen));
    }
    // Reading a SQLite file blocks its thread; pages are served meanwhile.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    runtime.block_on(serve(args))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(args: &Args) -> Result<(), Failure> {
    // A store that cannot be read is reported here and not on a page.
    let (opened, _) = args.store.choice().for_reading().await?;
    let store = args.store.choice().store()?.read_only();
    let answers = StoreAnswers::new(store, opened, Duration::from_secs(args.limit));
    let server = Server::bind(args.listen).await?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "dashboard of {} at http://{}/", answers.name(), server.address())?;
    out.flush()?;
    drop(out);
    let site = guarded(HttpAccess::new(None), turnmill_dashboard::router(Arc::new(answers)));
    server.run(site, Shutdown::default()).await;
    Ok(())
}

//! `turnmill dashboard`, and the pages of `turnmill run`.

mod answers;
mod demo;

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use turnmill_pipeline::explain;
use turnmill_service::Shutdown;
use turnmill_service::http::{HttpAccess, Server, guarded};
use turnmill_service::settings::{MIN_TOKEN, Secret};
use turnmill_sink::StoreError;

#[cfg(feature = "kafka")]
pub(crate) use self::answers::LiveFacts;
pub(crate) use self::answers::StoreAnswers;
use self::demo::DemoStore;
use crate::failure::Failure;
use crate::store_args::StoreArgs;

/// Variable with the token, as of the service.
const TOKEN: &str = "TURNMILL_API_TOKEN";

/// Arguments of `turnmill dashboard`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    store: StoreArgs,
    /// Shows conversations of an invented assistant instead of a store: eight weeks about parcels.
    /// They are kept in a temporary store.
    #[arg(long, conflicts_with_all = ["store", "schema", "config"])]
    demo: bool,
    /// Address of the pages. Port 0 selects a free port. Other machines can only open them if
    /// `TURNMILL_API_TOKEN` is set; then every browser has to give that token.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8733")]
    listen: SocketAddr,
    /// Time limit of one question in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=25))]
    limit: u64,
}

/// Serves the pages until the process ends.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let token = std::env::var(TOKEN).ok().filter(|token| !token.trim().is_empty()).map(Secret::new);
    match &token {
        Some(token) if token.expose().trim().len() < MIN_TOKEN => return Err(Failure::ShortToken(MIN_TOKEN)),
        None if !args.listen.ip().is_loopback() => return Err(Failure::NotLoopback(args.listen)),
        _ => {}
    }
    // Reading a SQLite file blocks its thread; pages are served meanwhile.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    runtime.block_on(serve(args, token.as_ref()))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(args: &Args, token: Option<&Secret>) -> Result<(), Failure> {
    let limit = Duration::from_secs(args.limit);
    let answers = if args.demo {
        let demo = DemoStore::make().await?;
        StoreAnswers::new(move || Ok(demo.store().read_only()), "demo".to_owned(), limit).of_demo()
    } else {
        // A store that cannot be read is reported here and not on a page.
        drop(args.store.choice().for_reading().await?);
        let name = args.store.choice().store()?.to_string();
        let store = args.store.clone();
        let make = move || match store.choice().store() {
            Ok(store) => Ok(store.read_only()),
            Err(failure) => Err(StoreError::Unusable { detail: explain(&failure), source: None }),
        };
        StoreAnswers::new(make, name, limit)
    };
    let server = Server::bind(args.listen).await?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "dashboard of {} at http://{}/", answers.name(), server.address())?;
    out.flush()?;
    drop(out);
    let site = turnmill_dashboard::site(Arc::new(answers), turnmill_dashboard::QUESTIONS);
    server.run(guarded(HttpAccess::new(token), site), Shutdown::default()).await;
    Ok(())
}

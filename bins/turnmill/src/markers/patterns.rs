//! `turnmill markers upload`, `list`, `remove` and `backfill`.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::{Value, json};
use turnmill_markers::MarkerSet;
use turnmill_model::rasa::RasaDecoder;
use turnmill_pipeline::{PatternChange, PatternTools, Stop, Swept};
use turnmill_sink::ingest::Ingest;
use turnmill_sink::{PatternSet, Store, StoredPattern};
use turnmill_text::escaped;
use uuid::Uuid;

use super::tools::{Display, close, open};
use super::{Definitions, Failure, OnStore, OnStoreOrService, Place, now, show};

/// Arguments of `turnmill markers upload`.
#[derive(Debug, clap::Args)]
pub(crate) struct Upload {
    /// Marker files, or folders with such; together they are the set.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    on: OnStoreOrService,
    /// Make the store if it is not there yet, so that the markers hold from its first event on.
    #[arg(long)]
    new: bool,
    /// Print the patterns as JSON.
    #[arg(long)]
    json: bool,
}

/// Arguments of `turnmill markers list`.
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    on: OnStoreOrService,
    /// Only active ones.
    #[arg(long)]
    active: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Arguments of `turnmill markers remove`.
#[derive(Debug, clap::Args)]
pub(crate) struct Remove {
    /// The pattern's name.
    name: String,
    #[command(flatten)]
    on: OnStoreOrService,
}

/// Arguments of `turnmill markers backfill`.
#[derive(Debug, clap::Args)]
pub(crate) struct Backfill {
    /// Names of active patterns; all of them unless given.
    names: Vec<String>,
    #[command(flatten)]
    on: OnStore,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Print nothing but errors (and the JSON, if asked for).
    #[arg(long, short)]
    quiet: bool,
}

/// What to change.
enum Change<'c> {
    Upload(&'c MarkerSet),
    Remove(&'c str),
    Backfill(&'c [String]),
}

/// Changes the patterns of a store, and makes up for all rows that follow.
async fn change(
    place: Place<'_>,
    change: &Change<'_>,
    new: bool,
    quiet: bool,
) -> Result<(PatternChange, Swept), crate::Failure> {
    let (mut store, settings) = open(place, new).await?;
    let decoder = RasaDecoder::new(&settings);
    let mut ingest = Ingest::new(&settings, &decoder, 0);
    let display = Display::new(quiet);
    let mut tell = |event: turnmill_pipeline::PatternEvent<'_>| display.tell(&event);
    let mut tools = PatternTools::new(&mut store, Stop::default(), &mut tell);
    let changed = match change {
        Change::Upload(markers) => tools.upload(markers, now()).await?,
        Change::Remove(name) => {
            let set = tools.list().await?;
            let id = find(&set, name)?;
            tools.remove(id, now()).await?
        }
        Change::Backfill(names) => {
            let set = tools.list().await?;
            let ids = match names {
                [] => set.active().map(|pattern| pattern.id).collect(),
                names => names.iter().map(|name| find(&set, name)).collect::<Result<Vec<_>, _>>()?,
            };
            tools.backfill(&ids).await?
        }
    };
    let swept = tools.sweep(&mut ingest).await?;
    display.clear();
    close(store)?;
    Ok((changed, swept))
}

/// Id of the active pattern `name`.
fn find(set: &PatternSet, name: &str) -> Result<Uuid, Failure> {
    let known = || set.active().map(|pattern| pattern.name.as_str()).collect::<Vec<_>>().join(", ");
    let found = set.called(name).map(|pattern| pattern.id);
    found.ok_or_else(|| Failure::NoSuchPattern { name: name.into(), known: known() })
}

/// `turnmill markers upload`.
pub(super) async fn upload(args: &Upload) -> Result<bool, crate::Failure> {
    let markers = Definitions::needed(&args.files)?;
    let mut out = std::io::stdout().lock();
    if let Some(service) = args.on.service()? {
        let patterns = service.upload(&markers)?;
        if args.json {
            writeln!(out, "{patterns}")?;
        } else {
            writeln!(out, "{} markers are active", markers.markers().len())?;
        }
        return Ok(true);
    }
    let (changed, swept) = change(args.on.place(), &Change::Upload(&markers), args.new, false).await?;
    if args.json {
        writeln!(out, "{}", show::as_json(&changed.set, false))?;
        return Ok(true);
    }
    let active = changed.set.active().count();
    if changed.changed {
        let revision = changed.set.revision;
        let touched =
            |pattern: &&StoredPattern| pattern.scopes.last().is_some_and(|scope| scope.revision == revision);
        let (new, ended): (Vec<_>, Vec<_>) =
            changed.set.patterns.iter().filter(touched).partition(|p| p.is_active);
        writeln!(
            out,
            "{active} markers are active: {} new or changed, {} ended or replaced",
            new.len(),
            ended.len()
        )?;
    } else {
        writeln!(out, "{active} markers are active, nothing has changed")?;
    }
    told(&mut out, &swept)?;
    Ok(true)
}

fn told(out: &mut impl Write, swept: &Swept) -> std::io::Result<()> {
    if swept.caught_up > 0 {
        writeln!(out, "the rows of {} senders were made up for", swept.caught_up)?;
    }
    Ok(())
}

/// `turnmill markers list`.
pub(super) async fn list(args: &List) -> Result<bool, crate::Failure> {
    let patterns = match args.on.service()? {
        Some(service) => service.list(args.active)?,
        None => {
            let mut store = args.on.place().store()?.read_only();
            store.open_as_it_is().await?;
            show::as_json(&store.patterns().await?, args.active)
        }
    };
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{patterns}")?;
    } else {
        write!(out, "{}", show::as_text(&patterns))?;
    }
    Ok(true)
}

/// `turnmill markers remove`.
pub(super) async fn remove(args: &Remove) -> Result<bool, crate::Failure> {
    let mut out = std::io::stdout().lock();
    let Some(service) = args.on.service()? else {
        let (_, swept) = change(args.on.place(), &Change::Remove(&args.name), false, false).await?;
        writeln!(out, "`{}` is no longer active", escaped(&args.name))?;
        told(&mut out, &swept)?;
        return Ok(true);
    };
    let active = service.list(true)?;
    let of = |pattern: &Value, key: &str| pattern.get(key).and_then(Value::as_str).map(str::to_owned);
    let all: Vec<(String, String)> = active
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|pattern| Some((of(pattern, "name")?, of(pattern, "id")?)))
        .collect();
    let Some((_, id)) = all.iter().find(|(name, _)| *name == args.name) else {
        let known = all.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(Failure::NoSuchPattern { name: args.name.clone(), known }.into());
    };
    service.remove(id)?;
    writeln!(out, "`{}` is no longer active", escaped(&args.name))?;
    Ok(true)
}

/// `turnmill markers backfill`.
pub(super) async fn backfill(args: &Backfill) -> Result<bool, crate::Failure> {
    let began = Instant::now();
    let quiet = args.quiet || args.json;
    let (changed, swept) = change(args.on.place(), &Change::Backfill(&args.names), false, quiet).await?;
    let seconds = began.elapsed().as_secs_f64();
    let mut out = std::io::stdout().lock();
    if args.json {
        let said = json!({
            "changed": changed.changed, "senders": swept.senders, "caught_up": swept.caught_up, "seconds": seconds,
        });
        writeln!(out, "{said}")?;
    } else if !args.quiet {
        let active = changed.set.active().filter(|pattern| pattern.effective_from().is_none()).count();
        writeln!(
            out,
            "{active} markers hold for all history; the rows of {} senders were made up for in {seconds:.1} s",
            swept.caught_up
        )?;
    }
    Ok(true)
}

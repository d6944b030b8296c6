//! `turnmill markers upload`, `list`, `remove` and `backfill`.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::{Value, json};
use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::{Ingest, RowRules};
use turnmill_markers::MarkerSet;
use turnmill_pipeline::{PatternChange, PatternTools, Stop, Swept, counted, rounded};
use turnmill_sink::{PatternSet, Store as _, StoredPattern};
use turnmill_text::escaped;
use uuid::Uuid;

use super::tools::{Display, close, open};
use super::{Definitions, Failure, OnStore, OnStoreOrService, now, show};
use crate::store_args::StoreChoice;

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
    choice: StoreChoice<'_>,
    change: &Change<'_>,
    new: bool,
    quiet: bool,
) -> Result<(PatternChange, Swept), crate::Failure> {
    let (mut store, settings) = open(choice, new).await?;
    let rules = RowRules::new(&settings, RasaDecoder::new);
    let mut ingest = Ingest::new(&rules, 0);
    let display = Display::new(quiet);
    let mut tell = |event: turnmill_pipeline::PatternEvent<'_>| display.tell(&event);
    let mut tools = PatternTools::new(&mut store, Stop::default(), &mut tell).with_patience(choice.wait());
    let gave_up = |error| choice.gave_up(error);
    let changed = match change {
        Change::Upload(markers) => tools.upload(markers, now()).await.map_err(gave_up)?,
        Change::Remove(name) => {
            let set = tools.list().await.map_err(gave_up)?;
            let id = find(&set, name)?;
            tools.remove(id, now()).await.map_err(gave_up)?
        }
        Change::Backfill(names) => {
            let set = tools.list().await.map_err(gave_up)?;
            let ids = match names {
                [] => set.active().map(|pattern| pattern.id).collect(),
                names => names.iter().map(|name| find(&set, name)).collect::<Result<Vec<_>, _>>()?,
            };
            tools.backfill(&ids).await.map_err(gave_up)?
        }
    };
    let swept = tools.sweep(&mut ingest).await.map_err(gave_up)?;
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
            writeln!(out, "{}", active_markers(markers.markers().len()))?;
            later_only(
                &mut out,
                patterns.as_array().into_iter().flatten().filter(|p| is_later_only(p)).count(),
            )?;
        }
        return Ok(true);
    }
    let (changed, swept) = change(args.on.choice(), &Change::Upload(&markers), args.new, false).await?;
    if args.json {
        writeln!(out, "{}", show::as_json(&changed.set, false))?;
        return Ok(true);
    }
    let active = active_markers(changed.set.active().count());
    if changed.changed {
        let revision = changed.set.revision;
        let touched =
            |pattern: &&StoredPattern| pattern.scopes.last().is_some_and(|scope| scope.revision == revision);
        let (new, ended): (Vec<_>, Vec<_>) =
            changed.set.patterns.iter().filter(touched).partition(|p| p.is_active);
        writeln!(out, "{active}: {} new or changed, {} ended or replaced", new.len(), ended.len())?;
    } else {
        writeln!(out, "{active}, nothing has changed")?;
    }
    told(&mut out, &swept)?;
    let later = changed.set.active().filter(|pattern| pattern.effective_from().is_some()).count();
    later_only(&mut out, later)?;
    Ok(true)
}

fn active_markers(count: usize) -> String {
    let are = if count == 1 { "is" } else { "are" };
    format!("{} {are} active", counted(count as u64, "marker"))
}

/// Whether a pattern, as a service tells of it, is active and has no rows for what was before it.
fn is_later_only(pattern: &Value) -> bool {
    pattern.get("is_active").and_then(Value::as_bool) == Some(true)
        && pattern.get("effective_from").is_some_and(|from| !from.is_null())
}

/// Says what it takes to find markers in events that were there before them.
fn later_only(out: &mut impl Write, count: usize) -> std::io::Result<()> {
    if count > 0 {
        let (markers, hold) = (counted(count as u64, "marker"), if count == 1 { "holds" } else { "hold" });
        writeln!(
            out,
            "{markers} {hold} for new events only; `turnmill markers backfill` applies active markers to all stored history"
        )?;
    }
    Ok(())
}

fn told(out: &mut impl Write, swept: &Swept) -> std::io::Result<()> {
    if swept.caught_up > 0 {
        writeln!(out, "the rows of {} were made up for", counted(swept.caught_up, "sender"))?;
    }
    Ok(())
}

/// `turnmill markers list`.
pub(super) async fn list(args: &List) -> Result<bool, crate::Failure> {
    let patterns = match args.on.service()? {
        Some(service) => service.list(args.active)?,
        None => {
            let (mut store, _) = args.on.choice().for_reading().await?;
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
        let (_, swept) = change(args.on.choice(), &Change::Remove(&args.name), false, false).await?;
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
    let (changed, swept) = change(args.on.choice(), &Change::Backfill(&args.names), false, quiet).await?;
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
            "{} {} for all history; the rows of {} were made up for in {}",
            counted(active as u64, "marker"),
            if active == 1 { "holds" } else { "hold" },
            counted(swept.caught_up, "sender"),
            rounded(began.elapsed())
        )?;
    }
    Ok(true)
}

//! `turnmill markers upload`, `list`, `remove` and `backfill`.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::{Value, json};
use turnmill_formats::shipped;
use turnmill_ingest::{Ingest, RowRules};
use turnmill_markers::MarkerSet;
use turnmill_pipeline::{PatternChange, PatternTools, Stop, Swept, counted, rounded};
use turnmill_sink::{PatternSet, Store as _, StoredPattern};
use turnmill_text::escaped;
use uuid::Uuid;

use super::Failure;
use super::store_options::{OnStore, OnStoreOrService};
use super::tools::{Display, close, open, read_markers};
use crate::definitions::now;
use crate::pattern_list;
use crate::store_args::StoreChoice;

/// Arguments of `turnmill markers upload`.
#[derive(Debug, clap::Args)]
pub(crate) struct Upload {
    /// Marker files, or directories of marker files; together they form the set.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    on: OnStoreOrService,
    /// Create the store if it does not exist, so that the markers apply from its first event on.
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
    /// List active patterns only.
    #[arg(long)]
    active: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Arguments of `turnmill markers remove`.
#[derive(Debug, clap::Args)]
pub(crate) struct Remove {
    /// Name of the pattern.
    name: String,
    #[command(flatten)]
    on: OnStoreOrService,
}

/// Arguments of `turnmill markers backfill`.
#[derive(Debug, clap::Args)]
pub(crate) struct Backfill {
    /// Names of active patterns [default: all].
    names: Vec<String>,
    #[command(flatten)]
    on: OnStore,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Print only errors, and JSON if requested.
    #[arg(long, short)]
    quiet: bool,
}

/// A change of the patterns.
enum Change<'c> {
    Upload(&'c MarkerSet),
    Remove(&'c str),
    Backfill(&'c [String]),
}

/// Changes the patterns of a store, and writes all marker rows that follow from the change.
async fn change(
    choice: StoreChoice<'_>,
    change: &Change<'_>,
    new: bool,
    quiet: bool,
) -> Result<(PatternChange, Swept), Failure> {
    let (mut store, settings) = open(choice, new).await?;
    let rules = RowRules::new(&settings, shipped);
    let mut ingest = Ingest::new(&rules, 0);
    let display = Display::new(quiet);
    let mut observer = |event: turnmill_pipeline::PatternEvent<'_>| display.show(&event);
    let mut tools =
        PatternTools::new(&mut store, Stop::default(), &mut observer).with_patience(choice.wait());
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

/// Returns the id of the active pattern `name`.
fn find(set: &PatternSet, name: &str) -> Result<Uuid, Failure> {
    let known = || set.active().map(|pattern| pattern.name.as_str()).collect::<Vec<_>>().join(", ");
    let found = set.called(name).map(|pattern| pattern.id);
    found.ok_or_else(|| Failure::NoSuchPattern { name: name.into(), known: known() })
}

/// Runs `turnmill markers upload`.
pub(super) async fn upload(args: &Upload) -> Result<bool, Failure> {
    let markers = read_markers(&args.files)?;
    let mut out = std::io::stdout().lock();
    if let Some(service) = args.on.service()? {
        let patterns = service.upload(&markers)?;
        if args.json {
            writeln!(out, "{patterns}")?;
        } else {
            writeln!(out, "{}", active_markers(markers.markers().len()))?;
            let patterns = patterns.as_array().into_iter().flatten();
            print_new_events_only(&mut out, patterns.filter(|pattern| is_new_events_only(pattern)).count())?;
        }
        return Ok(true);
    }
    let (changed, swept) = change(args.on.choice(), &Change::Upload(&markers), args.new, false).await?;
    if args.json {
        writeln!(out, "{}", pattern_list::as_json(&changed.set, false))?;
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
        writeln!(out, "{active}, no change")?;
    }
    print_backfilled(&mut out, &swept)?;
    let count = changed.set.active().filter(|pattern| pattern.effective_from().is_some()).count();
    print_new_events_only(&mut out, count)?;
    Ok(true)
}

fn active_markers(count: usize) -> String {
    counted(count as u64, "active marker")
}

/// Returns whether a pattern from the HTTP API is active and applies to new events only.
fn is_new_events_only(pattern: &Value) -> bool {
    pattern.get("is_active").and_then(Value::as_bool) == Some(true)
        && pattern.get("effective_from").is_some_and(|from| !from.is_null())
}

/// Prints how many markers apply to new events only, and how to apply them to history.
fn print_new_events_only(out: &mut impl Write, count: usize) -> std::io::Result<()> {
    if count > 0 {
        let (markers, apply) =
            (counted(count as u64, "marker"), if count == 1 { "applies" } else { "apply" });
        writeln!(
            out,
            "{markers} {apply} to new events only; `turnmill markers backfill` adds the stored history"
        )?;
    }
    Ok(())
}

fn print_backfilled(out: &mut impl Write, swept: &Swept) -> std::io::Result<()> {
    if swept.caught_up > 0 {
        writeln!(out, "{} backfilled", counted(swept.caught_up, "sender"))?;
    }
    Ok(())
}

/// Runs `turnmill markers list`.
pub(super) async fn list(args: &List) -> Result<bool, Failure> {
    let patterns = match args.on.service()? {
        Some(service) => service.list(args.active)?,
        None => {
            let (mut store, _) = args.on.choice().for_reading().await?;
            pattern_list::as_json(&store.patterns().await?, args.active)
        }
    };
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{patterns}")?;
    } else {
        write!(out, "{}", pattern_list::as_text(&patterns))?;
    }
    Ok(true)
}

/// Runs `turnmill markers remove`.
pub(super) async fn remove(args: &Remove) -> Result<bool, Failure> {
    let mut out = std::io::stdout().lock();
    let Some(service) = args.on.service()? else {
        let (_, swept) = change(args.on.choice(), &Change::Remove(&args.name), false, false).await?;
        writeln!(out, "`{}` is no longer active", escaped(&args.name))?;
        print_backfilled(&mut out, &swept)?;
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
        return Err(Failure::NoSuchPattern { name: args.name.clone(), known });
    };
    service.remove(id)?;
    writeln!(out, "`{}` is no longer active", escaped(&args.name))?;
    Ok(true)
}

/// Runs `turnmill markers backfill`.
pub(super) async fn backfill(args: &Backfill) -> Result<bool, Failure> {
    let began = Instant::now();
    let quiet = args.quiet || args.json;
    let (changed, swept) = change(args.on.choice(), &Change::Backfill(&args.names), false, quiet).await?;
    let seconds = began.elapsed().as_secs_f64();
    let mut out = std::io::stdout().lock();
    if args.json {
        let report = json!({
            "changed": changed.changed, "senders": swept.senders, "caught_up": swept.caught_up, "seconds": seconds,
        });
        writeln!(out, "{report}")?;
    } else if !args.quiet {
        let active = changed.set.active().filter(|pattern| pattern.effective_from().is_none()).count();
        writeln!(
            out,
            "{} {} to all history; {} backfilled in {}",
            counted(active as u64, "marker"),
            if active == 1 { "applies" } else { "apply" },
            counted(swept.caught_up, "sender"),
            rounded(began.elapsed())
        )?;
    }
    Ok(true)
}

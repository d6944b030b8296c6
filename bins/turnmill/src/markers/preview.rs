//! `turnmill markers preview`.

use std::io::Write;
use std::path::PathBuf;

use serde_json::{Value, json};
use turnmill_formats::shipped;
use turnmill_ingest::{Ingest, RowRules};
use turnmill_pipeline::{PatternTools, Preview, Sample, Stop, counted};
use turnmill_text::escaped;

use super::Failure;
use super::store_options::OnStore;
use super::tools::{Display, close, open_for_reading, read_markers};
use crate::pattern_list;

/// Arguments of `turnmill markers preview`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Marker files, or directories of marker files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    on: OnStore,
    /// Maximum number of examples per marker, each from another session.
    #[arg(long, value_name = "NUMBER", default_value_t = 3)]
    samples: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Shows what markers would find in the stored history.
pub(super) async fn run(args: &Args) -> Result<bool, Failure> {
    let markers = read_markers(&args.files)?;
    let (mut store, settings) = open_for_reading(args.on.choice()).await?;
    let rules = RowRules::new(&settings, shipped);
    let ingest = Ingest::new(&rules, 0);
    let display = Display::new(args.json);
    let mut observer = |event: turnmill_pipeline::PatternEvent<'_>| display.show(&event);
    let mut tools =
        PatternTools::new(&mut store, Stop::default(), &mut observer).with_patience(args.on.choice().wait());
    let preview = tools
        .preview(&ingest, &markers, args.samples)
        .await
        .map_err(|error| args.on.choice().gave_up(error))?;
    display.clear();
    close(store)?;
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", as_json(&preview))?;
    } else {
        text(&mut out, &preview)?;
    }
    Ok(true)
}

/// Returns the preview as the command prints it, and the dashboard's API.
pub(crate) fn as_json(preview: &Preview) -> Value {
    let sample = |sample: &Sample| {
        json!({
            "sender_key": sample.sender_key,
            "session_id": sample.session_id,
            "event_id": sample.event_id,
            "timestamp": pattern_list::time(sample.timestamp),
            "num_preceding_user_turns": sample.num_preceding_user_turns,
        })
    };
    let markers: Vec<Value> = preview
        .markers
        .iter()
        .map(|marker| {
            json!({
                "name": marker.name,
                "results": marker.results,
                "sessions": marker.sessions,
                "senders": marker.senders,
                "samples": marker.samples.iter().map(sample).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "senders": preview.senders, "sessions": preview.sessions, "events": preview.events,
        "complete": preview.complete, "markers": markers,
    })
}

fn text(out: &mut impl Write, preview: &Preview) -> std::io::Result<()> {
    let Preview { senders, sessions, events, markers, .. } = preview;
    let (senders, sessions, events) =
        (counted(*senders, "sender"), counted(*sessions, "session"), counted(*events, "event"));
    writeln!(out, "{senders}, {sessions}, {events}")?;
    writeln!(out, "{:<28} {:>10} {:>10} {:>10}", "marker", "results", "sessions", "senders")?;
    for marker in markers {
        let (results, sessions, senders) = (marker.results, marker.sessions, marker.senders);
        writeln!(out, "{:<28} {results:>10} {sessions:>10} {senders:>10}", escaped(&marker.name))?;
    }
    for marker in markers.iter().filter(|marker| !marker.samples.is_empty()) {
        writeln!(out, "\n{}, for example", escaped(&marker.name))?;
        for sample in &marker.samples {
            writeln!(
                out,
                "  {} of {} at {} after {}",
                sample.session_id,
                escaped(&sample.sender_key),
                pattern_list::time(sample.timestamp),
                counted(sample.num_preceding_user_turns.unsigned_abs(), "user turn")
            )?;
        }
    }
    Ok(())
}

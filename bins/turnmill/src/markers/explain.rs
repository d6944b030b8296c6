//! `turnmill markers explain`.

use std::io::Write;
use std::path::PathBuf;

use serde_json::{Value, json};
use turnmill_formats::shipped;
use turnmill_ingest::{Ingest, RowRules};
use turnmill_markers::Node;
use turnmill_markers::explain::NodeExplanation;
use turnmill_model::SessionId;
use turnmill_pipeline::{ExplainedSession, PatternTools, Stop};
use turnmill_sink::{PatternSet, StoreError};
use turnmill_text::escaped;

use super::Failure;
use super::store_options::OnStore;
use super::tools::{Display, close, open_for_reading, read_markers};
use crate::pattern_list;

/// Arguments of `turnmill markers explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the marker.
    name: String,
    /// Id of the session, as in `rasa_session.id`.
    #[arg(long, value_name = "ID")]
    session: String,
    #[command(flatten)]
    on: OnStore,
    /// Read the marker from these files instead of the store's active patterns.
    #[arg(long, value_name = "FILE")]
    markers: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Explains a marker in a session.
pub(super) async fn run(args: &Args) -> Result<bool, Failure> {
    let id = args.session.parse().map_err(|_| Failure::NoSessionId(args.session.clone()))?;
    let of_files = match args.markers.as_slice() {
        [] => None,
        files => {
            let markers = read_markers(files)?;
            let found = markers.markers().iter().find(|marker| marker.name == args.name);
            Some(found.ok_or_else(|| Failure::NoSuchMarker(args.name.clone()))?.config.clone())
        }
    };
    let (mut store, settings) = open_for_reading(args.on.choice()).await?;
    let rules = RowRules::new(&settings, shipped);
    let ingest = Ingest::new(&rules, 0);
    let display = Display::new(args.json);
    let mut observer = |event: turnmill_pipeline::PatternEvent<'_>| display.show(&event);
    let mut tools =
        PatternTools::new(&mut store, Stop::default(), &mut observer).with_patience(args.on.choice().wait());
    let gave_up = |error| args.on.choice().gave_up(error);
    let set = tools.list().await.map_err(gave_up)?;
    let (config, scope) = match of_files {
        Some(config) => (config, None),
        None => stored(&set, &args.name)?,
    };
    let explained = tools.explain(&ingest, SessionId(id), &config).await.map_err(gave_up)?;
    close(store)?;
    let explained = explained.ok_or(Failure::NoSuchSession(id))?;
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", as_json(args, &config, &explained, scope.as_ref()))?;
    } else {
        text(&mut out, args, &config, &explained, scope.as_ref())?;
    }
    Ok(true)
}

/// Range of event times in which a stored pattern writes rows, in microseconds.
type Scope = std::ops::Range<i64>;

fn stored(set: &PatternSet, name: &str) -> Result<(Node, Option<Scope>), Failure> {
    let Some(pattern) = set.called(name) else {
        let known = set.active().map(|pattern| pattern.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(Failure::NoSuchPattern { name: name.into(), known });
    };
    let config = Node::parse(&pattern.config)
        .map_err(|error| StoreError::Damaged { detail: format!("pattern `{name}`: {error}") })?;
    let from = pattern.effective_from().map_or(i64::MIN, |from| from.0);
    let until = pattern.effective_until().map_or(i64::MAX, |until| until.0);
    Ok((config, Some(from..until)))
}

fn in_scope(scope: Option<&Scope>, time: i64) -> bool {
    scope.is_none_or(|scope| scope.contains(&time))
}

fn as_json(args: &Args, config: &Node, explained: &ExplainedSession, scope: Option<&Scope>) -> Value {
    let events = explained.events.iter().zip(&explained.explanation.events);
    let events: Vec<Value> = events
        .map(|(event, explanation)| {
            let mut value = serde_json::to_value(explanation).unwrap_or_default();
            if let Some(object) = value.as_object_mut() {
                object.insert("event_id".into(), json!(event.id));
                object.insert("event_type".into(), json!(event.event_type));
                object.insert("timestamp".into(), json!(pattern_list::time(event.timestamp)));
                object.insert("in_scope".into(), json!(in_scope(scope, event.timestamp.0)));
            }
            value
        })
        .collect();
    let config: Value = serde_json::from_str(&config.to_string()).unwrap_or_default();
    json!({
        "name": args.name, "config": config, "session_id": args.session, "sender_key": explained.sender_key,
        "events": events,
    })
}

fn text(
    out: &mut impl Write,
    args: &Args,
    config: &Node,
    explained: &ExplainedSession,
    scope: Option<&Scope>,
) -> std::io::Result<()> {
    writeln!(out, "{}: {}", escaped(&args.name), escaped(&config.to_string()))?;
    writeln!(out, "session {} of {}\n", args.session, escaped(&explained.sender_key))?;
    for (event, explanation) in explained.events.iter().zip(&explained.explanation.events) {
        let outside =
            if in_scope(scope, event.timestamp.0) { "" } else { ", out of the pattern's scope: no row" };
        writeln!(out, "{} {}{outside}", pattern_list::time(event.timestamp), escaped(&event.event_type))?;
        let mut explanation = explanation.clone();
        explanation.event = escaped(&explanation.event).to_string();
        escape(&mut explanation.node);
        write!(out, "{explanation}")?;
    }
    Ok(())
}

/// Escapes the conditions, which contain names of intents and slots from the data.
fn escape(node: &mut NodeExplanation) {
    node.text = node.text.take().map(|text| escaped(&text).to_string());
    node.sub_markers.iter_mut().for_each(escape);
}

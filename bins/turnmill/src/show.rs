//! `turnmill show`.

use std::io::{Result, Write};
use std::time::Duration;

use turnmill_analytics::{
    Conversation, EventKind, TranscriptEvent, Turn, Value, conversation, sessions_named,
};
use turnmill_text::escaped;

use crate::failure::Failure;
use crate::output::{cell, json_line};
use crate::store_args::StoreOptions;

/// Arguments of `turnmill show`.
#[derive(Debug, clap::Args)]
#[command(override_usage = "turnmill show [OPTIONS] [STORE] <SESSION|SENDER>")]
pub(crate) struct Args {
    /// Store, if not the configured one, then the id of a session or the key of a sender
    #[arg(value_name = "[STORE] SESSION|SENDER", num_args = 1..=2, required = true)]
    names: Vec<String>,
    #[command(flatten)]
    store: StoreOptions,
    /// Number of sessions of a sender, the newest ones
    #[arg(long, value_name = "N", default_value_t = 10)]
    sessions: usize,
    /// Print JSON with everything: one object a line for each session
    #[arg(long)]
    json: bool,
    /// Seconds after which the database ends a question
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    time_limit: u64,
}

/// Prints the transcripts of a session or of the sessions of a sender.
pub(crate) async fn run(args: &Args) -> std::result::Result<bool, Failure> {
    let (url, name) = match args.names.as_slice() {
        [store, name] => (Some(store.as_str()), name),
        [name] => (None, name),
        // clap has refused other numbers.
        _ => return Ok(false),
    };
    let choice = args.store.choice(url);
    let mut reader = choice.reader(Duration::from_secs(args.time_limit)).await?;
    let sessions = sessions_named(&mut reader, name).await.map_err(|error| choice.gave_up(error))?;
    if sessions.is_empty() {
        let hint = "; `turnmill conversations` lists what there is".to_owned();
        return Err(Failure::NoSuchThing { what: "session or sender", name: name.clone(), hint });
    }
    let older = sessions.len().saturating_sub(args.sessions);
    let mut out = std::io::stdout().lock();
    if older > 0 && !args.json {
        writeln!(out, "{older} older sessions of this sender are left out (--sessions)\n")?;
    }
    for (number, session) in sessions.iter().skip(older).enumerate() {
        let found = conversation(&mut reader, session).await.map_err(|error| choice.not_answered(error))?;
        // A rebuild may have changed the session meanwhile.
        let Some(conversation) = found else { continue };
        if args.json {
            json_line(&mut out, &conversation)?;
            continue;
        }
        if number > 0 {
            writeln!(out)?;
        }
        write(&mut out, &conversation)?;
    }
    out.flush()?;
    Ok(true)
}

/// Writes a transcript. Everything of the data is escaped.
fn write(out: &mut impl Write, conversation: &Conversation) -> Result<()> {
    let session = &conversation.session;
    writeln!(out, "session   {}", cell(&session.session_id))?;
    writeln!(out, "sender    {}", cell(&session.sender_key))?;
    let took = session.duration.map(|seconds| format!(", {seconds:.3} s")).unwrap_or_default();
    writeln!(out, "started   {} UTC{took}", cell(&session.started_at))?;
    for (name, value) in
        [("channel", &session.channel), ("model", &session.model), ("environ.", &session.environment)]
    {
        if !value.is_null() {
            writeln!(out, "{name:<9} {}", cell(value))?;
        }
    }
    writeln!(out, "events    {}, in {} turns", conversation.events, session.turns)?;
    writeln!(out, "began     {}", escaped(&conversation.began))?;
    writeln!(out, "ended     {} ({})", escaped(&conversation.ended), cell(&session.ending))?;
    let mut number = 0;
    for turn in &conversation.turns {
        if turn.event_id.is_some() {
            number += 1;
        }
        write_turn(out, turn, number)?;
    }
    if !conversation.slots.is_empty() {
        writeln!(out, "\nslots at the end")?;
        for slot in &conversation.slots {
            writeln!(out, "  {} = {}", cell(&slot.name), cell(&slot.value))?;
        }
    }
    if !conversation.markers.is_empty() {
        writeln!(out, "\nmarkers")?;
        for marker in &conversation.markers {
            let turns: Vec<String> = marker.turns.iter().map(ToString::to_string).collect();
            writeln!(out, "  {} in turn {}", escaped(&marker.name), turns.join(", "))?;
        }
    }
    if let Value::Text(next) = &conversation.next {
        writeln!(out, "\nnext session {}", escaped(next))?;
    }
    Ok(())
}

fn write_turn(out: &mut impl Write, turn: &Turn, number: usize) -> Result<()> {
    if turn.event_id.is_none() {
        writeln!(out, "\n{}  before the first message", turn.at)?;
    } else {
        let intent = turn.intent.as_deref().map(|intent| {
            let confidence =
                turn.confidence.map(|confidence| format!(" {confidence:.2}")).unwrap_or_default();
            format!("  [{}{confidence}]", escaped(intent))
        });
        let mut notes = Vec::new();
        notes.extend(turn.response.map(|seconds| format!("answered after {seconds:.3} s")));
        if turn.is_missed {
            notes.push("not understood".to_owned());
        }
        if let Some(form) = &turn.form {
            notes.push(match turn.form_took {
                Some(true) => format!("taken by {}", escaped(form)),
                Some(false) => format!("refused by {}", escaped(form)),
                None => format!("while {} was active", escaped(form)),
            });
        }
        let notes = if notes.is_empty() { String::new() } else { format!("  ({})", notes.join(", ")) };
        writeln!(out, "\n{}  turn {number}{}{notes}", turn.at, intent.unwrap_or_default())?;
        writeln!(out, "  user   {}", escaped(turn.text.as_deref().unwrap_or("(no text)")))?;
    }
    turn.events.iter().try_for_each(|event| writeln!(out, "  {}", line(event)))
}

fn line(event: &TranscriptEvent) -> String {
    let of = |text: &Option<String>| escaped(text.as_deref().unwrap_or_default()).to_string();
    let noted = |note: &Option<String>| match note {
        Some(_) => format!("  [{}]", of(note)),
        None => String::new(),
    };
    match event.kind {
        EventKind::Bot => {
            format!(
                "bot    {}{}",
                escaped(event.text.as_deref().unwrap_or("(no text)")),
                noted(&event.template)
            )
        }
        EventKind::Slot => format!("slot   {} = {}", of(&event.name), of(&event.value)),
        EventKind::Action => format!("action {}{}", of(&event.name), noted(&event.policy)),
        EventKind::Marker => format!("marker {}", of(&event.name)),
        EventKind::FormRejected => format!("form   {} refused the message", of(&event.name)),
    }
}

//! The runs of flows, patterns, skills and agents of one sender, the calls of tools, and who filled
//! slots.

use turnmill_model::text::{SHORT, cut};
use turnmill_model::{AgentStatus, Body, Event, FlowStatus, Micros, SessionId};
use uuid::Uuid;

use crate::sessions::Placement;
use crate::value::{OwnedValue, Tables};

/// One run. `number` is its index among all runs of the sender.
#[derive(Clone)]
struct Run {
    number: usize,
    id: Uuid,
    session: SessionId,
    name: String,
    /// `flow`, `skill`, `pattern` or `agent`.
    kind: &'static str,
    /// Of an agent: the flow that called it.
    caller: Option<String>,
    started: i64,
    frame: Option<String>,
    entered_by: Option<String>,
    parent: Option<Uuid>,
    turns: i64,
    reason: Option<String>,
    status: Option<&'static str>,
    ended: Option<i64>,
}

impl Run {
    fn is_flow(&self) -> bool {
        self.kind == "flow" || self.kind == "skill"
    }

    fn end(&mut self, status: &'static str, at: i64) {
        if self.status.is_none() {
            self.status = Some(status);
            self.ended = Some(at);
        }
    }

    fn row(self) -> Vec<OwnedValue> {
        let turns = (self.kind != "pattern").then_some(self.turns);
        vec![
            self.id.into(),
            self.session.into(),
            self.frame.into(),
            self.name.into(),
            self.kind.into(),
            self.status.into(),
            Micros(self.started).into(),
            self.ended.map(Micros).into(),
            OwnedValue::Null,
            turns.into(),
            self.parent.into(),
            self.entered_by.into(),
            self.reason.into(),
            1.0.into(),
        ]
    }
}

/// Returns whether a flow or skill of this name is one of Rasa's own.
pub(crate) fn is_own(name: &str) -> bool {
    let skills = [
        "completed",
        "continue_interrupted",
        "customer_satisfaction",
        "session_start",
        "silence_timeout",
        "silence_timeout_hangup",
        "unsupported_request_handler",
    ];
    name.starts_with("pattern_") || skills.iter().any(|skill| name == format!("default_{skill}"))
}

fn short(text: Option<&str>) -> Option<String> {
    text.map(|text| cut(text, SHORT).to_owned())
}

/// Writes the rows of `ext_dialog_run`, `ext_call` and `ext_slot`.
pub(crate) fn write(
    events: &[Event<'_>],
    placement: &Placement,
    session_ids: &[SessionId],
    tables: &mut Tables,
) {
    // Runs that are no longer on the stack, and the stack.
    let (mut gone, mut stack): (Vec<Run>, Vec<Run>) = (Vec::new(), Vec::new());
    let mut opened = 0;
    for (position, event) in events.iter().enumerate() {
        let session = session_ids[placement.session_of[position]];
        step(event, session, &mut opened, &mut stack, &mut gone);
        single(event, session, || turn_of(events, placement, position), tables);
    }
    gone.extend(stack);
    gone.sort_by_key(|run| run.number);
    tables.entry("ext_dialog_run").or_default().extend(gone.into_iter().map(Run::row));
}

/// Returns the turn that the event at `position` is in.
fn turn_of(events: &[Event<'_>], placement: &Placement, position: usize) -> Option<Uuid> {
    let session = placement.session_of[position];
    let before = (0..position).rev().filter(|other| placement.session_of[*other] == session);
    for event in before.map(|other| &events[other]) {
        match &event.body {
            Body::User(_) => return Some(event.id.turn()),
            Body::SessionEnded => return None,
            _ => {}
        }
    }
    None
}

fn single(event: &Event<'_>, session: SessionId, turn: impl Fn() -> Option<Uuid>, tables: &mut Tables) {
    let details = event.details.as_deref().cloned().unwrap_or_default();
    let call = |kind: &str, name: Option<&str>, source: Option<&str>, is_error: Option<bool>| {
        let (name, source) = (short(name), short(source));
        vec![
            event.id.into(),
            session.into(),
            turn().into(),
            kind.into(),
            name.into(),
            source.into(),
            is_error.into(),
        ]
    };
    let row = match &event.body {
        Body::Tool { name, source, is_error } => {
            Some(("ext_call", call("tool", name.as_deref(), source.as_deref(), *is_error)))
        }
        Body::Action { name, .. } if details.has_failed => {
            Some(("ext_call", call("action", name.as_deref(), None, Some(true))))
        }
        Body::Slot { name: Some(_), .. } => details.filled_by.map(|filled_by| {
            let filled_by = short(Some(&filled_by));
            let null = OwnedValue::Null;
            ("ext_slot", vec![event.id.into(), "slot".into(), null.clone(), null, filled_by.into()])
        }),
        _ => None,
    };
    if let Some((table, row)) = row {
        tables.entry(table).or_default().push(row);
    }
}

/// Follows one event.
fn step(
    event: &Event<'_>,
    session: SessionId,
    opened: &mut usize,
    stack: &mut Vec<Run>,
    gone: &mut Vec<Run>,
) {
    let details = event.details.as_deref().cloned().unwrap_or_default();
    let now = event.time.micros();
    let mut new = |name: &str, kind: &'static str, turns: i64| {
        *opened += 1;
        Run {
            number: *opened,
            id: event.id.0,
            session,
            name: name.to_owned(),
            kind,
            caller: None,
            started: now,
            frame: None,
            entered_by: None,
            parent: None,
            turns,
            reason: None,
            status: None,
            ended: None,
        }
    };
    let top_of =
        |stack: &[Run], name: &str| stack.iter().rposition(|run| run.name == name && run.kind != "agent");
    match &event.body {
        Body::User(_) => {
            // Cancelled flows leave.
            gone.extend(stack.extract_if(.., |run| run.status.is_some()));
            if let Some(run) = stack.iter_mut().rev().find(|run| run.is_flow()) {
                run.turns += 1;
            }
        }
        Body::Flow { status: FlowStatus::Started, flow_id: Some(name), .. } => {
            let name = cut(name, SHORT);
            let frame = short(details.frame_id.as_deref());
            if frame.is_some() && top_of(stack, name).is_some_and(|at| stack[at].frame == frame) {
                return;
            }
            let kind = match (is_own(name), details.is_skill) {
                (true, _) => "pattern",
                (false, true) => "skill",
                (false, false) => "flow",
            };
            let counts = |run: &&Run| run.is_flow() && (kind == "pattern" || run.status.is_none());
            let parent = stack.iter().rev().find(counts).map(|run| run.id);
            let (entered_by, reason) =
                (short(details.frame_type.as_deref()), short(details.reason.as_deref()));
            stack.push(Run { frame, entered_by, parent, reason, ..new(name, kind, 0) });
        }
        Body::Flow { status: FlowStatus::Resumed, flow_id: Some(name), .. } => {
            let Some(at) = top_of(stack, cut(name, SHORT)) else { return };
            let mut end = at + 1;
            while end < stack.len() {
                let run = &stack[end];
                let entered_by = run.entered_by.as_deref();
                if run.is_flow() && entered_by != Some("call") && entered_by != Some("link") {
                    break;
                }
                end += 1;
            }
            let moved: Vec<Run> = stack.drain(at..end).collect();
            stack.extend(moved);
        }
        Body::Flow { status, flow_id: Some(name), step_id } => {
            let Some(at) = top_of(stack, cut(name, SHORT)) else { return };
            match (status, details.is_skill) {
                (FlowStatus::Completed, true) => {
                    stack[at].end("done", now);
                    gone.push(stack.remove(at));
                }
                (FlowStatus::Cancelled, true) => {
                    stack[at].end("canceled", now);
                    gone.push(stack.remove(at));
                }
                (FlowStatus::Cancelled, false) => stack[at].end("canceled", now),
                (FlowStatus::Completed, false) => {
                    let cancelled = step_id.as_deref() == Some("NEXT:END");
                    stack[at].end(if cancelled { "canceled" } else { "done" }, now);
                    for run in &mut stack[at + 1..] {
                        if run.status.is_none() {
                            run.end("canceled", now);
                            run.reason = Some("dropped".to_owned());
                        }
                    }
                    gone.extend(stack.drain(at..));
                }
                _ => {}
            }
        }
        Body::Agent { status, agent_id: Some(agent), flow_id } => {
            let (agent, flow) = (cut(agent, SHORT), short(flow_id.as_deref()));
            let own = |run: &Run| run.kind == "agent" && run.name == agent && run.caller == flow;
            let place = stack.iter().rposition(own);
            match (status, place) {
                (AgentStatus::Called, Some(at)) => stack[at].turns += 1,
                (AgentStatus::Called, None) => {
                    let parent = flow.as_deref().and_then(|flow| top_of(stack, flow));
                    let parent = parent.map(|at| stack[at].id);
                    stack.push(Run { caller: flow, parent, ..new(agent, "agent", 1) });
                }
                (AgentStatus::Completed | AgentStatus::Cancelled, Some(at)) => {
                    let mut run = stack.remove(at);
                    run.end(if *status == AgentStatus::Completed { "done" } else { "canceled" }, now);
                    run.reason = short(details.reason.as_deref());
                    gone.push(run);
                }
                _ => {}
            }
        }
        Body::SessionStarted => empty(stack, gone, "session_started", now),
        Body::Restart => empty(stack, gone, "restart", now),
        Body::RoutingSessionEnded => empty(stack, gone, "routing_session_ended", now),
        Body::Action { name: Some(name), .. } if name == "action_session_start" => {
            empty(stack, gone, "session_started", now);
        }
        _ => {}
    }
    if stack.len() > 100 {
        gone.push(stack.remove(0));
    }
}

/// The dialogue stack is emptied, and so is that of runs.
fn empty(stack: &mut Vec<Run>, gone: &mut Vec<Run>, why: &str, now: i64) {
    let done = if why == "routing_session_ended" {
        stack.iter().rposition(|run| run.is_flow() && run.status.is_none())
    } else {
        let last = stack.len().wrapping_sub(1);
        let names = ["pattern_restart", "pattern_session_start"];
        stack.get(last).filter(|run| names.contains(&run.name.as_str())).map(|_| last)
    };
    for (at, run) in stack.iter_mut().enumerate() {
        if run.status.is_none() {
            run.end(if Some(at) == done { "done" } else { "abandoned" }, now);
            run.reason.get_or_insert_with(|| why.to_owned());
        }
    }
    gone.append(stack);
}

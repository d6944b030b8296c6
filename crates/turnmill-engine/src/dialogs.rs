//! Follows the runs of flows, patterns, skills and sub agents, and writes their rows.
//!
//! The open runs of a sender are a stack, the topmost one last. They belong to the sender and not
//! to a session: a run may outlive the session in which it opened. Each event does constant work,
//! but for looking through the stack, which has a bound.
//!
//! ```text
//! flow_started book        [book]
//! flow_started pattern_x   [book, pattern_x]     `pattern_x` hangs on `book`
//! user                     [book, pattern_x]     a turn of `book`, the topmost flow
//! flow_completed book      []                    `book` is done, `pattern_x` was dropped
//! ```
//!
//! A run's row is written when the run leaves the stack, or else when the batch ends, so once a
//! batch. It is a function of the run's state, which the sender keeps while the run is on the
//! stack.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use turnmill_model::tables::{DialogRunRow, Texts};
use turnmill_model::text::{SHORT, cut};
use turnmill_model::{AgentStatus, Body, Changes, Details, Event, EventId, FlowStatus, Micros, SessionId};

use crate::placement;

/// Number of runs that a sender has on the stack at most. Beyond it the lowest one leaves it, open.
const RUNS: usize = 100;

/// Skills that Mantle itself has: its counterparts of CALM's flows `pattern_…`. They serve the
/// assistant's own, and count as no flow of it.
///
/// ```
/// assert!(turnmill_engine::OWN_SKILLS.contains(&"default_completed"));
/// ```
pub const OWN_SKILLS: [&str; 7] = [
    "default_completed",
    "default_continue_interrupted",
    "default_customer_satisfaction",
    "default_session_start",
    "default_silence_timeout",
    "default_silence_timeout_hangup",
    "default_unsupported_request_handler",
];

/// Step to which a flow goes that is cancelled.
const CANCELLED_STEP: &str = "NEXT:END";

/// Returns whether a flow or skill of this name is one of Rasa's own, which serve the others.
pub(crate) fn is_set_apart(name: &str) -> bool {
    name.starts_with("pattern_") || OWN_SKILLS.contains(&name)
}

/// The open runs of a sender, the topmost last, and cancelled flows that have not completed yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Dialogs(Vec<Run>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Run {
    /// The event that opened it.
    id: EventId,
    session: SessionId,
    name: Box<str>,
    kind: Kind,
    started_at: i64,
    frame_id: Option<Box<str>>,
    entered_by: Option<Box<str>>,
    parent: Option<EventId>,
    turns: u32,
    reason: Option<Box<str>>,
    end: Option<RunEnd>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Kind {
    Flow,
    Skill,
    Pattern,
    /// A sub agent, with the flow that called it.
    Agent(Option<Box<str>>),
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct RunEnd {
    at: i64,
    status: Status,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Status {
    Done,
    Canceled,
    Abandoned,
}

/// Runs whose rows are not as they are in the store, because this batch opened or changed them.
#[derive(Debug, Default)]
pub(crate) struct UnwrittenRuns(HashMap<EventId, Unwritten>);

#[derive(Clone, Copy, Debug)]
enum Unwritten {
    /// The store has no row.
    New,
    /// The stored row has changed.
    Changed,
}

impl UnwrittenRuns {
    /// Notes all runs of `dialogs`, so that a replay writes their rows whether they change or not.
    pub(crate) fn all(dialogs: &Dialogs) -> Self {
        Self(dialogs.0.iter().map(|run| (run.id, Unwritten::Changed)).collect())
    }

    fn change(&mut self, id: EventId) {
        self.0.entry(id).or_insert(Unwritten::Changed);
    }
}

fn short(text: &str) -> Box<str> {
    cut(text, SHORT).into()
}

impl Run {
    fn is_flow(&self) -> bool {
        matches!(self.kind, Kind::Flow | Kind::Skill)
    }

    fn is_open(&self) -> bool {
        self.end.is_none()
    }

    /// Ends the run, if it is open. `reason` replaces its own.
    fn end(&mut self, at: i64, status: Status, reason: Option<&str>) -> bool {
        if !self.is_open() {
            return false;
        }
        self.end = Some(RunEnd { at, status });
        if let Some(reason) = reason {
            self.reason = Some(short(reason));
        }
        true
    }

    fn row(&self, texts: &mut Texts) -> DialogRunRow {
        let add = |texts: &mut Texts, text: &Option<Box<str>>| text.as_ref().map(|text| texts.add(text));
        let kind = match self.kind {
            Kind::Flow => "flow",
            Kind::Skill => "skill",
            Kind::Pattern => "pattern",
            Kind::Agent(_) => "agent",
        };
        let status = self.end.map(|end| match end.status {
            Status::Done => "done",
            Status::Canceled => "canceled",
            Status::Abandoned => "abandoned",
        });
        DialogRunRow {
            id: self.id.0,
            session_id: self.session,
            instance_id: add(texts, &self.frame_id),
            dialog_id: texts.add(&self.name),
            kind: texts.add(kind),
            status: status.map(|status| texts.add(status)),
            started_at: Micros(self.started_at),
            ended_at: self.end.map(|end| Micros(end.at)),
            steps: None,
            turns: (self.kind != Kind::Pattern).then_some(i64::from(self.turns)),
            parent_id: self.parent.map(|parent| parent.0),
            entered_by: add(texts, &self.entered_by),
            reason: add(texts, &self.reason),
            weight: 1.0,
        }
    }
}

/// What a step through the stack changes besides the stack.
pub(crate) struct Rows<'o> {
    pub(crate) out: &'o mut Changes,
    pub(crate) unwritten: &'o mut UnwrittenRuns,
}

impl Rows<'_> {
    /// Writes the row of a run that leaves the stack.
    fn leave(&mut self, run: &Run) {
        let Changes { texts, dialog_runs, .. } = &mut *self.out;
        match self.unwritten.0.remove(&run.id) {
            Some(Unwritten::New) => dialog_runs.inserts.push(run.row(texts)),
            Some(Unwritten::Changed) => dialog_runs.updates.push(run.row(texts)),
            None => {}
        }
    }
}

impl Dialogs {
    /// Follows an event of `session`.
    pub(crate) fn follow(&mut self, event: &Event<'_>, session: SessionId, rows: &mut Rows<'_>) {
        let details = event.details.as_deref();
        let time = event.time.micros();
        match &event.body {
            Body::User(_) => self.ask(rows),
            Body::Flow { status, flow_id: Some(name), step_id } => {
                let name = cut(name, SHORT);
                match status {
                    FlowStatus::Started => self.start(event, session, name, details, rows),
                    FlowStatus::Resumed => self.resume(name),
                    FlowStatus::Interrupted => {}
                    FlowStatus::Completed if details.is_some_and(|details| details.is_skill) => {
                        self.end_alone(self.topmost(name), time, (Status::Done, None), rows);
                    }
                    FlowStatus::Completed => {
                        let is_cancelled = step_id.as_deref() == Some(CANCELLED_STEP);
                        let status = if is_cancelled { Status::Canceled } else { Status::Done };
                        self.complete(name, time, status, rows);
                    }
                    FlowStatus::Cancelled if details.is_some_and(|details| details.is_skill) => {
                        self.end_alone(self.topmost(name), time, (Status::Canceled, None), rows);
                    }
                    FlowStatus::Cancelled => self.cancel(name, time, rows),
                }
            }
            Body::Agent { status, agent_id: Some(agent), flow_id } => {
                let (agent, flow) = (cut(agent, SHORT), flow_id.as_deref().map(|flow| cut(flow, SHORT)));
                let reason = details.and_then(|details| details.reason.as_deref());
                let place = self.agent(agent, flow);
                match status {
                    AgentStatus::Called => self.call(event, session, (agent, flow), rows),
                    AgentStatus::Completed => self.end_alone(place, time, (Status::Done, reason), rows),
                    AgentStatus::Cancelled => self.end_alone(place, time, (Status::Canceled, reason), rows),
                }
            }
            Body::SessionStarted => self.abandon("session_started", time, rows),
            Body::Restart => self.abandon("restart", time, rows),
            Body::RoutingSessionEnded => self.abandon("routing_session_ended", time, rows),
            Body::Action { .. } if placement::is_session_start(event) => {
                self.abandon("session_started", time, rows);
            }
            _ => {}
        }
    }

    /// Returns the place of the topmost run of a flow or skill.
    fn topmost(&self, name: &str) -> Option<usize> {
        self.0.iter().rposition(|run| *run.name == *name && !matches!(run.kind, Kind::Agent(_)))
    }

    fn agent(&self, agent: &str, flow: Option<&str>) -> Option<usize> {
        self.0.iter().rposition(|run| match &run.kind {
            Kind::Agent(of) => *run.name == *agent && of.as_deref() == flow,
            _ => false,
        })
    }

    fn push(&mut self, run: Run, rows: &mut Rows<'_>) {
        rows.unwritten.0.insert(run.id, Unwritten::New);
        self.0.push(run);
        if self.0.len() > RUNS {
            let lowest = self.0.remove(0);
            rows.leave(&lowest);
        }
    }

    /// Opens a run, unless it goes on in the frame of the topmost run of its name: up to Rasa Pro
    /// 3.11 a pattern starts once an answer.
    fn start(
        &mut self,
        event: &Event<'_>,
        session: SessionId,
        name: &str,
        details: Option<&Details<'_>>,
        rows: &mut Rows<'_>,
    ) {
        let field = |field: fn(&Details<'_>) -> Option<Box<str>>| details.and_then(field);
        let frame_id = field(|details| details.frame_id.as_deref().map(short));
        let before = self.topmost(name).and_then(|place| self.0.get(place));
        if frame_id.is_some() && before.is_some_and(|run| run.frame_id == frame_id) {
            return;
        }
        let kind = match details {
            _ if is_set_apart(name) => Kind::Pattern,
            Some(details) if details.is_skill => Kind::Skill,
            _ => Kind::Flow,
        };
        // A pattern may be about a flow that was cancelled and is still there.
        let below = |run: &&Run| run.is_flow() && (run.is_open() || kind == Kind::Pattern);
        let parent = self.0.iter().rev().find(below).map(|run| run.id);
        let run = Run {
            id: event.id,
            session,
            name: name.into(),
            kind,
            started_at: event.time.micros(),
            frame_id,
            entered_by: field(|details| details.frame_type.as_deref().map(short)),
            parent,
            turns: 0,
            reason: field(|details| details.reason.as_deref().map(short)),
            end: None,
        };
        self.push(run, rows);
    }

    /// Opens the run of an agent, or counts a further turn of it.
    fn call(
        &mut self,
        event: &Event<'_>,
        session: SessionId,
        (agent, flow): (&str, Option<&str>),
        rows: &mut Rows<'_>,
    ) {
        if let Some(run) = self.agent(agent, flow).and_then(|place| self.0.get_mut(place)) {
            run.turns = run.turns.saturating_add(1);
            rows.unwritten.change(run.id);
            return;
        }
        let parent = flow.and_then(|flow| self.topmost(flow)).and_then(|place| self.0.get(place));
        let run = Run {
            id: event.id,
            session,
            name: agent.into(),
            kind: Kind::Agent(flow.map(Into::into)),
            started_at: event.time.micros(),
            frame_id: None,
            entered_by: None,
            parent: parent.map(|run| run.id),
            turns: 1,
            reason: None,
            end: None,
        };
        self.push(run, rows);
    }

    /// Counts a message for the topmost open flow. Cancelled flows that did not complete by now
    /// will not.
    fn ask(&mut self, rows: &mut Rows<'_>) {
        self.0.retain(|run| {
            if !run.is_open() {
                rows.leave(run);
            }
            run.is_open()
        });
        if let Some(run) = self.0.iter_mut().rev().find(|run| run.is_flow()) {
            run.turns = run.turns.saturating_add(1);
            rows.unwritten.change(run.id);
        }
    }

    /// Puts a run on top, with what belongs to it: what is above it up to the next flow that was
    /// entered in another way than by a call or a link.
    ///
    /// ```text
    /// [a, pattern, b by call, c]    a resumes  ->  [c, a, pattern, b by call]
    /// ```
    fn resume(&mut self, name: &str) {
        let Some(start) = self.topmost(name) else { return };
        let above = self.0.get(start + 1..).unwrap_or_default();
        let belongs =
            |run: &Run| !run.is_flow() || matches!(run.entered_by.as_deref(), Some("call" | "link"));
        let count = above.iter().take_while(|run| belongs(run)).count();
        if let Some(runs) = self.0.get_mut(start..) {
            runs.rotate_left(count + 1);
        }
    }

    /// Ends a flow or pattern and drops what is above it.
    fn complete(&mut self, name: &str, time: i64, status: Status, rows: &mut Rows<'_>) {
        let Some(start) = self.topmost(name) else { return };
        for (place, mut run) in self.0.drain(start..).enumerate() {
            let ended = match place {
                0 => run.end(time, status, None),
                _ => run.end(time, Status::Canceled, Some("dropped")),
            };
            if ended {
                rows.unwritten.change(run.id);
            }
            rows.leave(&run);
        }
    }

    /// Notes that a flow is cancelled. It stays until it completes, which it does as well.
    fn cancel(&mut self, name: &str, time: i64, rows: &mut Rows<'_>) {
        if let Some(run) = self.topmost(name).and_then(|place| self.0.get_mut(place))
            && run.end(time, Status::Canceled, None)
        {
            rows.unwritten.change(run.id);
        }
    }

    /// Ends the run at `place`, which leaves the stack alone.
    fn end_alone(
        &mut self,
        place: Option<usize>,
        time: i64,
        (status, reason): (Status, Option<&str>),
        rows: &mut Rows<'_>,
    ) {
        let Some(place) = place.filter(|place| *place < self.0.len()) else { return };
        let mut run = self.0.remove(place);
        if run.end(time, status, reason) {
            rows.unwritten.change(run.id);
        }
        rows.leave(&run);
    }

    /// Ends all runs, because the dialogue stack is emptied. A run that emptied it has done its
    /// work, the others are abandoned.
    fn abandon(&mut self, event: &str, time: i64, rows: &mut Rows<'_>) {
        let emptied = if event == "routing_session_ended" {
            self.0.iter().rposition(|run| run.is_flow() && run.is_open())
        } else {
            let starts = |run: &Run| matches!(&*run.name, "pattern_restart" | "pattern_session_start");
            self.0.last().filter(|run| starts(run)).map(|_| self.0.len() - 1)
        };
        for (place, mut run) in self.0.drain(..).enumerate() {
            let status = if Some(place) == emptied { Status::Done } else { Status::Abandoned };
            let reason = run.reason.is_none().then_some(event);
            if run.end(time, status, reason) {
                rows.unwritten.change(run.id);
            }
            rows.leave(&run);
        }
    }

    /// Gives runs that opened in a session the session's other id. Their rows are renamed with
    /// those of other tables, as far as they are written.
    pub(crate) fn rename_session(&mut self, old: SessionId, new: SessionId) {
        for run in self.0.iter_mut().filter(|run| run.session == old) {
            run.session = new;
        }
    }

    /// Writes the rows of the runs that are still on the stack.
    pub(crate) fn write(&self, rows: &mut Rows<'_>) {
        for run in &self.0 {
            rows.leave(run);
        }
    }

    pub(crate) fn memory(&self) -> usize {
        let texts = |run: &Run| {
            let optional = [&run.frame_id, &run.entered_by, &run.reason];
            run.name.len() + optional.into_iter().flatten().map(|text| text.len()).sum::<usize>()
        };
        self.0.iter().map(|run| texts(run) + size_of::<Run>()).sum()
    }
}

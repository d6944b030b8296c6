//! Follows the runs of intents, and of the slots that they ask for.
//!
//! A run is a stretch of records of one session. How it ended shows only when the next one begins,
//! so the row of the latest run is written again when that is known.
//!
//! ```text
//! u1: Book, asks city       run of Book, and one of its slot city, which is not done yet
//! u1: Book, asks date       city has a value: its run is done
//! u1: Pay                   Book is switched, and so is its slot date
//! u1: Pay, closed           Pay is done or failed, by its state
//! ```

use serde::{Deserialize, Serialize};
use turnmill_model::tables::DialogRunRow;
use turnmill_model::text::{SHORT, cut};
use turnmill_model::{Changes, Event, Exchange, Micros, NextStep, SessionId};
use uuid::Uuid;

use crate::facts::FactsRow;

/// The latest run of an intent in a session, and that of the slot it asks for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct IntentRuns {
    intent: Option<IntentRun>,
    slot: Option<SlotRun>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct IntentRun {
    id: Uuid,
    intent: Box<str>,
    steps: u32,
    started_at: i64,
    last_at: i64,
    status: RunStatus,
    /// Whether no record after the last one belongs to it.
    closed: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SlotRun {
    id: Uuid,
    parent: Uuid,
    intent: Box<str>,
    slot: Box<str>,
    steps: u32,
    started_at: i64,
    ended_at: i64,
    status: RunStatus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RunStatus {
    Done,
    Failed,
    Switched,
    Abandoned,
}

impl RunStatus {
    fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Switched => "switched",
            Self::Abandoned => "abandoned",
        }
    }
}

/// Where the rows of runs go, and where those of the latest ones stand.
pub(crate) struct RunRows<'r> {
    pub(crate) out: &'r mut Changes,
    pub(crate) session: SessionId,
    pub(crate) source: &'r str,
    pub(crate) intent: &'r mut FactsRow,
    pub(crate) slot: &'r mut FactsRow,
}

impl IntentRuns {
    /// Returns the slot that the latest run asks for.
    pub(crate) fn slot_asked(&self) -> Option<&str> {
        self.slot.as_ref().map(|run| &*run.slot)
    }

    /// Returns how the session ended, by its latest run.
    pub(crate) fn outcome(&self) -> Option<&'static str> {
        self.intent.as_ref().map(|run| match run.status {
            RunStatus::Done => "success",
            RunStatus::Failed => "failed",
            RunStatus::Switched | RunStatus::Abandoned => "dropped",
        })
    }

    /// Takes in the next record of the session, which has the intent `intent`. `filled` tells
    /// whether the slot that was asked for has a value now.
    pub(crate) fn follow(
        &mut self,
        record: &Event<'_>,
        exchange: &Exchange<'_>,
        intent: &str,
        filled: bool,
        rows: &mut RunRows<'_>,
    ) {
        let time = record.time.micros();
        let asked = exchange.slot_asked.as_deref().filter(|_| exchange.next_step == NextStep::AskSlot);
        let goes_on = self.intent.as_ref().is_some_and(|run| !run.closed && *run.intent == *intent);
        if goes_on {
            if let Some(run) = &mut self.intent {
                run.steps = run.steps.saturating_add(1);
                run.last_at = time;
            }
            match self.slot.as_mut() {
                Some(slot) if asked == Some(&*slot.slot) => {
                    slot.steps = slot.steps.saturating_add(1);
                    slot.ended_at = time;
                    rows.slot.touch();
                }
                Some(slot) => {
                    slot.ended_at = time;
                    slot.status = if filled { RunStatus::Done } else { RunStatus::Failed };
                    rows.slot.touch();
                    self.write_slot(rows);
                    self.slot = None;
                }
                None => {}
            }
        } else {
            self.leave(exchange, rows);
            let id = record.id.dialog_run("intent run");
            self.intent = Some(IntentRun {
                id,
                intent: intent.into(),
                steps: 1,
                started_at: time,
                last_at: time,
                status: if exchange.is_fallback { RunStatus::Failed } else { RunStatus::Abandoned },
                closed: false,
            });
            *rows.intent = FactsRow::New;
        }
        let Some(run) = &mut self.intent else { return };
        if let (None, Some(slot)) = (&self.slot, asked) {
            self.slot = Some(SlotRun {
                id: record.id.dialog_run("slot run"),
                parent: run.id,
                intent: intent.into(),
                slot: slot.into(),
                steps: 1,
                started_at: time,
                ended_at: time,
                status: RunStatus::Abandoned,
            });
            *rows.slot = FactsRow::New;
        }
        if exchange.next_step == NextStep::Close {
            run.closed = true;
            run.status = match exchange.facts.intent_state.as_deref() {
                _ if exchange.is_fallback => RunStatus::Failed,
                Some("Failed") => RunStatus::Failed,
                Some("Fulfilled" | "ReadyForFulfillment") => RunStatus::Done,
                _ => RunStatus::Abandoned,
            };
        }
        rows.intent.touch();
    }

    /// Ends the latest runs, because one of another intent, or another one of the same, begins.
    fn leave(&mut self, exchange: &Exchange<'_>, rows: &mut RunRows<'_>) {
        let status = if exchange.is_fallback { RunStatus::Failed } else { RunStatus::Switched };
        if let Some(run) = self.intent.as_mut().filter(|run| !run.closed && run.status != RunStatus::Failed) {
            run.status = status;
            rows.intent.touch();
        }
        if let Some(slot) = &mut self.slot {
            slot.status = status;
            rows.slot.touch();
        }
        self.write(rows);
        (self.intent, self.slot) = (None, None);
    }

    /// Writes the rows of the latest runs, if they are not written as they are.
    pub(crate) fn write(&self, rows: &mut RunRows<'_>) {
        if let Some(run) = &self.intent {
            let Changes { texts, dialog_runs, .. } = &mut *rows.out;
            let (session_id, source) = (rows.session, rows.source);
            rows.intent.flush(dialog_runs, || DialogRunRow {
                id: run.id,
                session_id,
                instance_id: None,
                dialog_id: texts.add(cut(&run.intent, SHORT)),
                kind: texts.add(&format!("{source}_intent")),
                status: Some(texts.add(run.status.as_str())),
                started_at: Micros(run.started_at),
                ended_at: Some(Micros(run.last_at)),
                steps: Some(i64::from(run.steps)),
                turns: None,
                parent_id: None,
                entered_by: None,
                reason: None,
                weight: 1.0,
            });
        }
        self.write_slot(rows);
    }

    fn write_slot(&self, rows: &mut RunRows<'_>) {
        let Some(run) = &self.slot else { return };
        let Changes { texts, dialog_runs, .. } = &mut *rows.out;
        let (session_id, source) = (rows.session, rows.source);
        rows.slot.flush(dialog_runs, || DialogRunRow {
            id: run.id,
            session_id,
            instance_id: None,
            dialog_id: texts.add(cut(&format!("{}/{}", run.intent, run.slot), SHORT)),
            kind: texts.add(&format!("{source}_slot")),
            status: Some(texts.add(run.status.as_str())),
            started_at: Micros(run.started_at),
            ended_at: Some(Micros(run.ended_at)),
            steps: Some(i64::from(run.steps)),
            turns: None,
            parent_id: Some(run.parent),
            entered_by: None,
            reason: None,
            weight: 1.0,
        });
    }
}

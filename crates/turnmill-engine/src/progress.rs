//! Keeps what a run remembers besides the timeline.

use std::sync::Arc;

use turnmill_model::{Changes, End, EventId, EventTime, Rows, SessionId, UserId};
use uuid::Uuid;

use crate::dialogs::{Dialogs, UnwrittenRuns};
use crate::facts::FactsRow;
use crate::patterns::Selected;
use crate::rows;
use crate::state::{Session, Totals};
use crate::timeline::{Checkpoint, Timeline};

/// Keeps what a run remembers besides the timeline: mainly the indexes of rows that it may change.
#[derive(Debug)]
pub(crate) struct Progress {
    /// The sender's facts when the run began.
    pub(crate) before: Totals,
    pub(crate) live: LiveRows,
    /// Sessions that this run has left, with their rows.
    pub(crate) left: Vec<LeftSession>,
    /// The state before the newest event, if that is a metadata slot that may belong to the next
    /// session.
    pub(crate) held: Option<Box<HeldSlot>>,
    /// Runs of flows, skills and agents whose rows are not written yet.
    pub(crate) dialogs: UnwrittenRuns,
    /// Index of this run's first slot state.
    pub(crate) slot_states: usize,
    pub(crate) users: Vec<(UserId, usize)>,
    /// Whether the run looks for rows that were made with patterns of an older revision.
    pub(crate) catches_up: bool,
    /// The compiled patterns that served last.
    pub(crate) program: Option<Arc<Selected>>,
    pub(crate) finished: Finished,
}

/// Result of a run besides its row changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Finished {
    /// Checkpoints to keep with the history.
    pub checkpoints: Vec<Checkpoint>,
    /// The events that were placed by their session id. All senders' runs name such events here. A
    /// session id belongs to the sender whose event arrived first.
    pub named_sessions: Vec<NamedSession>,
}

/// Pairs an event with the session id that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedSession {
    /// The event.
    pub event: EventId,
    /// The session id that it names.
    pub session: Uuid,
}

impl Progress {
    pub(crate) fn new(timeline: &Timeline, out: &Changes) -> Self {
        Self {
            before: timeline.totals.clone(),
            live: LiveRows::default(),
            left: Vec::new(),
            held: None,
            dialogs: UnwrittenRuns::default(),
            slot_states: out.slot_states.inserts.len(),
            users: Vec::new(),
            catches_up: true,
            program: None,
            finished: Finished::default(),
        }
    }

    /// Returns the indexes of the current session, its turn and its frame among the inserts of this
    /// run, each if it is one of them.
    pub(crate) fn open_rows(&self) -> [Option<usize>; 3] {
        [self.live.session, self.live.turn, self.live.frame].map(|written| match written {
            Written::Insert(index) => Some(index),
            Written::Stored | Written::Changed | Written::End(_) => None,
        })
    }

    /// Returns the ids by which the sessions that this run has left are known.
    pub(crate) fn left_keys(&self) -> impl Iterator<Item = Uuid> {
        self.left.iter().map(|left| left.key)
    }

    /// Makes the progress of a replay, which is compared with another one from the same checkpoint.
    ///
    /// The ends and facts of the current session, turn and frame, and the rows of the open runs,
    /// are written even if no event changes them.
    /// Without that, an end that only one of the two replays moves could not be compared.
    pub(crate) fn of_replay(before: Totals, dialogs: &Dialogs) -> Self {
        let changed = Written::Changed;
        let live = LiveRows {
            session: changed,
            turn: changed,
            frame: changed,
            session_facts: FactsRow::Changed,
            turn_facts: FactsRow::Changed,
            message: None,
            intent_run: FactsRow::Changed,
            slot_run: FactsRow::Changed,
            leading: None,
        };
        Self {
            before,
            live,
            left: Vec::new(),
            held: None,
            dialogs: UnwrittenRuns::all(dialogs),
            slot_states: 0,
            users: Vec::new(),
            catches_up: false,
            program: None,
            finished: Finished::default(),
        }
    }
}

/// Locates the rows of a session, its turn and its frame in the changes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LiveRows {
    pub(crate) session: Written,
    pub(crate) turn: Written,
    pub(crate) frame: Written,
    pub(crate) session_facts: FactsRow,
    pub(crate) turn_facts: FactsRow,
    /// The message of the open turn, if this run wrote its row of facts.
    pub(crate) message: Option<EventId>,
    pub(crate) intent_run: FactsRow,
    pub(crate) slot_run: FactsRow,
    /// Extent of the changes when this run created the session; `None` once the session has begun.
    pub(crate) leading: Option<rows::Extent>,
}

/// Locates the rows of a session that is kept by id and that the run has left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeftSession {
    pub(crate) key: Uuid,
    pub(crate) id: SessionId,
    pub(crate) live: LiveRows,
}

/// Tells how far the end of a row has been written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Written {
    /// The stored row is still right.
    #[default]
    Stored,
    /// The stored row's end has changed.
    Changed,
    /// The row is this insert.
    Insert(usize),
    /// The stored row gets this end.
    End(usize),
}

impl Written {
    /// Notes that the row has a new end, which is not written yet.
    pub(crate) fn touch(&mut self) {
        if matches!(self, Self::Stored) {
            *self = Self::Changed;
        }
    }

    /// Writes the row's end: into the insert that the row is, or as an entry of its own, which
    /// later ends overwrite.
    pub(crate) fn flush<R>(&mut self, rows: &mut Rows<R>, id: Uuid, end: i64, set: impl Fn(&mut R, i64)) {
        match *self {
            Self::Stored => {}
            Self::Changed => {
                rows.ends.push(End { id, end_sequence_number: end });
                *self = Self::End(rows.ends.len() - 1);
            }
            Self::Insert(index) => {
                if let Some(row) = rows.inserts.get_mut(index) {
                    set(row, end);
                }
            }
            Self::End(index) => {
                if let Some(entry) = rows.ends.get_mut(index) {
                    entry.end_sequence_number = end;
                }
            }
        }
    }
}

/// The newest event, a metadata slot, with the state before it.
///
/// ```text
/// u1: start, hi, meta         -> held; `meta` is in the current session
/// u1: ..., start              -> the state before `meta` is the end of the first session
/// u1: ..., slot               -> not held any more; `meta` stays
/// ```
#[derive(Debug)]
pub(crate) struct HeldSlot {
    pub(crate) session: Session,
    pub(crate) live: LiveRows,
    pub(crate) extent: rows::Extent,
    pub(crate) id: EventId,
    pub(crate) time: EventTime,
    /// Whether the slot got a value.
    pub(crate) is_set: bool,
    pub(crate) sequence_number: i64,
}

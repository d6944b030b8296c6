//! Settles rows that both replays of late events have, so that their memory is that of the
//! differences.
//!
//! ```text
//! stored:   hi  hello  bye  ciao  …         rows of `old`:  hi  hello  bye  ciao  …
//! late:              slot                   rows of `new`:  hi  hello  slot  bye  ciao  …
//! ```
//!
//! Once both replays are past `ciao`, no later event changes the rows of `hi`, `hello`, `bye` and
//! `ciao`. Those that are the same in both are forgotten. Of a row that differs, such as the turn
//! that `slot` extends, one update stays instead of two rows.
//! [`difference`](crate::diff::difference) of what is left finds the rest: the rows of `slot`.

use std::collections::{HashMap, HashSet};

use turnmill_model::tables::{Row, Texts, Value};
use turnmill_model::{Changes, EventId, Key, Rows, SessionId};
use uuid::Uuid;

use crate::diff::BothTexts;
use crate::facts::FactsRow;
use crate::progress::{LiveRows, Progress, Written};
use crate::rows;

/// One replay's rows, and the indexes of those that it may still change.
pub(crate) struct Rewritten<'r> {
    pub(crate) out: &'r mut Changes,
    pub(crate) progress: &'r mut Progress,
    /// The session that the replay is in.
    pub(crate) session: Option<SessionId>,
}

/// Which rows of a table stay with the replays, one flag a row.
struct Kept {
    old: Vec<bool>,
    new: Vec<bool>,
}

/// Removes from both replays the rows that are in both and final in both, and adds an update to
/// `found` for each that differs.
///
/// Does nothing while rows may still move to another session, because such a move refers to them by
/// their indexes.
pub(crate) fn settle<'r>(old: &mut Rewritten<'r>, new: &mut Rewritten<'r>, found: &mut Changes) {
    if old.may_move() || new.may_move() {
        return;
    }
    // Of a slot only the last state counts, as at a run's end.
    rows::last_slot_states(old.out, 0);
    rows::last_slot_states(new.out, 0);
    let texts = BothTexts { old: &old.out.texts, new: &new.out.texts };
    macro_rules! kept {
        ($table:ident) => {
            Kept::unpaired(&old.out.$table, &new.out.$table, texts)
        };
    }
    let [mut turns, mut frames, mut sessions] = [kept!(turns), kept!(frames), kept!(sessions)];
    let [mut turn_facts, mut session_facts] = [kept!(turn_facts), kept!(session_facts)];
    let mut dialog_runs = kept!(dialog_runs);
    old.keep_open(&mut sessions.old, &mut turns.old, &mut frames.old);
    new.keep_open(&mut sessions.new, &mut turns.new, &mut frames.new);
    old.keep_open_facts(&mut session_facts.old, &mut turn_facts.old);
    new.keep_open_facts(&mut session_facts.new, &mut turn_facts.new);
    old.keep_open_runs(&mut dialog_runs.old);
    new.keep_open_runs(&mut dialog_runs.new);
    // A session that is open, or to which an id may lead back, gets further states of its slots.
    let open: HashSet<SessionId> = old.open_sessions().chain(new.open_sessions()).collect();
    let slot_states = kept_slot_states(old.out, new.out, &open);
    // `difference` looks at the row of a slot state's session to decide whether the state is
    // deleted.
    let mut needed = open;
    for (changes, kept) in [(&*old.out, &slot_states.old), (&*new.out, &slot_states.new)] {
        let rows = changes.slot_states.inserts.iter().zip(kept);
        needed.extend(rows.filter(|(_, kept)| **kept).map(|(row, _)| row.session_id));
    }
    for (changes, kept) in [(&*old.out, &mut sessions.old), (&*new.out, &mut sessions.new)] {
        for (row, kept) in changes.sessions.inserts.iter().zip(kept) {
            *kept |= needed.contains(&row.id);
        }
    }
    // `difference` would take a row that only one replay keeps for an insert or a delete.
    sessions.keep_in_both(&old.out.sessions, &new.out.sessions, texts);
    turns.keep_in_both(&old.out.turns, &new.out.turns, texts);
    frames.keep_in_both(&old.out.frames, &new.out.frames, texts);
    turn_facts.keep_in_both(&old.out.turn_facts, &new.out.turn_facts, texts);
    session_facts.keep_in_both(&old.out.session_facts, &new.out.session_facts, texts);
    dialog_runs.keep_in_both(&old.out.dialog_runs, &new.out.dialog_runs, texts);
    let (events, bot_messages, user_messages) = (kept!(events), kept!(bot_messages), kept!(user_messages));
    let (actions, slots, markers) = (kept!(actions), kept!(slots), kept!(markers));
    let (commands, flow_statuses, errors) = (kept!(commands), kept!(flow_statuses), kept!(event_errors));
    let (mut message_facts, slot_facts) = (kept!(message_facts), kept!(slot_facts));
    old.keep_open_messages(&mut message_facts.old);
    new.keep_open_messages(&mut message_facts.new);
    message_facts.keep_in_both(&old.out.message_facts, &new.out.message_facts, texts);
    let calls = kept!(calls);
    macro_rules! updates {
        ($($table:ident: $kept:expr),*) => {$(
            $kept.updates(&old.out.$table, &new.out.$table, texts, &mut found.$table, &mut found.texts);
        )*};
    }
    updates!(
        sessions: sessions, turns: turns, events: events, bot_messages: bot_messages, user_messages: user_messages,
        actions: actions, slots: slots, markers: markers, frames: frames, commands: commands,
        flow_statuses: flow_statuses, session_facts: session_facts, turn_facts: turn_facts,
        message_facts: message_facts, dialog_runs: dialog_runs, slot_facts: slot_facts, calls: calls,
        event_errors: errors
    );
    for (side, live) in [(old, false), (new, true)] {
        let of = |kept: &Kept| if live { kept.new.clone() } else { kept.old.clone() };
        side.progress.each_live(|live| {
            live.session.follow(&of(&sessions));
            live.turn.follow(&of(&turns));
            live.frame.follow(&of(&frames));
            live.session_facts.follow(&of(&session_facts));
            live.turn_facts.follow(&of(&turn_facts));
            live.intent_run.follow(&of(&dialog_runs));
            live.slot_run.follow(&of(&dialog_runs));
        });
        let mut texts = Texts::default();
        let from = std::mem::take(&mut side.out.texts);
        macro_rules! retain {
            ($($table:ident: $kept:expr),*) => {$( retain(&mut side.out.$table, $kept, &from, &mut texts); )*};
        }
        retain!(
            users: None, senders: None, sessions: Some(of(&sessions)), turns: Some(of(&turns)),
            events: Some(of(&events)), bot_messages: Some(of(&bot_messages)),
            user_messages: Some(of(&user_messages)), actions: Some(of(&actions)), slots: Some(of(&slots)),
            slot_states: Some(of(&slot_states)), markers: Some(of(&markers)), frames: Some(of(&frames)),
            commands: Some(of(&commands)), flow_statuses: Some(of(&flow_statuses)),
            session_facts: Some(of(&session_facts)), turn_facts: Some(of(&turn_facts)),
            message_facts: Some(of(&message_facts)), dialog_runs: Some(of(&dialog_runs)),
            slot_facts: Some(of(&slot_facts)), calls: Some(of(&calls)),
            event_errors: Some(of(&errors))
        );
        side.out.texts = texts;
    }
}

impl Rewritten<'_> {
    /// Returns whether an [`Extent`](rows::Extent) refers to rows by how far the tables had grown.
    pub(crate) fn may_move(&self) -> bool {
        let Progress { live, left, held, .. } = &*self.progress;
        held.is_some() || live.leading.is_some() || left.iter().any(|left| left.live.leading.is_some())
    }

    /// Returns the sessions whose rows later events may change.
    fn open_sessions(&self) -> impl Iterator<Item = SessionId> {
        self.session.into_iter().chain(self.progress.left.iter().map(|left| left.id))
    }

    /// Keeps the rows that the run refers to by their index.
    fn keep_open(&self, sessions: &mut [bool], turns: &mut [bool], frames: &mut [bool]) {
        let left = self.progress.left.iter().map(|left| &left.live);
        for live in left.chain([&self.progress.live]) {
            for (written, kept) in
                [(live.session, &mut *sessions), (live.turn, &mut *turns), (live.frame, &mut *frames)]
            {
                if let Written::Insert(index) = written
                    && let Some(kept) = kept.get_mut(index)
                {
                    *kept = true;
                }
            }
        }
    }
}

impl Rewritten<'_> {
    /// Keeps the rows of facts that the run refers to by their index.
    fn keep_open_facts(&self, sessions: &mut [bool], turns: &mut [bool]) {
        let left = self.progress.left.iter().map(|left| &left.live);
        for live in left.chain([&self.progress.live]) {
            for (row, kept) in [(live.session_facts, &mut *sessions), (live.turn_facts, &mut *turns)] {
                if let FactsRow::Insert(index) = row
                    && let Some(kept) = kept.get_mut(index)
                {
                    *kept = true;
                }
            }
        }
    }
}

impl Rewritten<'_> {
    /// Keeps the rows of the messages of open turns.
    fn keep_open_messages(&self, messages: &mut [bool]) {
        let left = self.progress.left.iter().map(|left| &left.live);
        let open: HashSet<EventId> =
            left.chain([&self.progress.live]).filter_map(|live| live.message).collect();
        for (row, kept) in self.out.message_facts.inserts.iter().zip(messages) {
            *kept |= open.contains(&row.event_id);
        }
    }
}

impl Rewritten<'_> {
    /// Keeps the rows of dialog runs that the run refers to by their index.
    fn keep_open_runs(&self, runs: &mut [bool]) {
        let left = self.progress.left.iter().map(|left| &left.live);
        for live in left.chain([&self.progress.live]) {
            for row in [live.intent_run, live.slot_run] {
                if let FactsRow::Insert(index) = row
                    && let Some(kept) = runs.get_mut(index)
                {
                    *kept = true;
                }
            }
        }
    }
}

impl FactsRow {
    /// Follows its row, which is kept, to its new index. Updates are all kept.
    fn follow(&mut self, kept: &[bool]) {
        if let Self::Insert(index) = self {
            *index = kept.iter().take(*index).filter(|kept| **kept).count();
        }
    }
}

impl Progress {
    /// Calls `visit` with the indexes of all rows that the run may still change.
    fn each_live(&mut self, mut visit: impl FnMut(&mut LiveRows)) {
        visit(&mut self.live);
        self.left.iter_mut().for_each(|left| visit(&mut left.live));
    }
}

impl Written {
    /// Follows its row, which is kept, to its new index.
    fn follow(&mut self, kept: &[bool]) {
        if let Self::Insert(index) = self {
            *index = kept.iter().take(*index).filter(|kept| **kept).count();
        }
    }
}

/// Returns the row's id, of tables whose ids are UUIDs.
fn id<R: Row>(row: &R, texts: &Texts) -> Option<Uuid> {
    match row.value(0, texts) {
        Value::Id(id) => Some(id),
        _ => None,
    }
}

/// A row and its index among the inserts of its replay.
type Numbered<'r, R> = (usize, &'r R);

/// Returns the rows that both replays have, the old one and the new one, paired by id.
fn pairs<'r, R: Row>(
    old: &'r Rows<R>,
    new: &'r Rows<R>,
    texts: BothTexts<'_>,
) -> Vec<(Numbered<'r, R>, Numbered<'r, R>)> {
    let numbered = old.inserts.iter().enumerate();
    let places: HashMap<Uuid, Numbered<'_, R>> =
        numbered.filter_map(|(place, row)| Some((id(row, texts.old)?, (place, row)))).collect();
    let of = |(place, row)| Some((*places.get(&id(row, texts.new)?)?, (place, row)));
    new.inserts.iter().enumerate().filter_map(of).collect()
}

impl Kept {
    /// Keeps the rows that only one replay has.
    fn unpaired<R: Row>(old: &Rows<R>, new: &Rows<R>, texts: BothTexts<'_>) -> Self {
        let mut kept = Self { old: vec![true; old.inserts.len()], new: vec![true; new.inserts.len()] };
        for ((old, _), (new, _)) in pairs(old, new, texts) {
            if let (Some(old), Some(new)) = (kept.old.get_mut(old), kept.new.get_mut(new)) {
                (*old, *new) = (false, false);
            }
        }
        kept
    }

    /// Adds an update to `found` for each row that does not stay and differs.
    fn updates<R: Row>(
        &self,
        old: &Rows<R>,
        new: &Rows<R>,
        texts: BothTexts<'_>,
        found: &mut Rows<R>,
        found_texts: &mut Texts,
    ) {
        for ((_, before), (place, row)) in pairs(old, new, texts) {
            if self.new.get(place) == Some(&false) && !texts.same(before, row) {
                found.updates.push(row.rebase(texts.new, found_texts));
            }
        }
    }

    /// Keeps a row in both replays if one of them keeps it.
    fn keep_in_both<R: Row>(&mut self, old: &Rows<R>, new: &Rows<R>, texts: BothTexts<'_>) {
        for ((old, _), (new, _)) in pairs(old, new, texts) {
            if let (Some(old), Some(new)) = (self.old.get_mut(old), self.new.get_mut(new)) {
                let kept = *old || *new;
                (*old, *new) = (kept, kept);
            }
        }
    }
}

/// Keeps the slot states that are not the same in both, and those of `open` sessions.
fn kept_slot_states(old: &Changes, new: &Changes, open: &HashSet<SessionId>) -> Kept {
    let texts = BothTexts { old: &old.texts, new: &new.texts };
    let (old_rows, new_rows) = (&old.slot_states.inserts, &new.slot_states.inserts);
    let mut kept = Kept { old: vec![true; old_rows.len()], new: vec![true; new_rows.len()] };
    let places = old_rows.iter().enumerate().map(|(place, row)| (old.texts.get(row.id), place));
    let places: HashMap<&str, usize> = places.collect();
    for (row, new_kept) in new_rows.iter().zip(&mut kept.new) {
        if !open.contains(&row.session_id)
            && let Some(place) = places.get(new.texts.get(row.id))
            && let (Some(before), Some(old_kept)) = (old_rows.get(*place), kept.old.get_mut(*place))
            && texts.same(before, row)
        {
            (*old_kept, *new_kept) = (false, false);
        }
    }
    kept
}

/// Keeps the inserts whose flag is set, or all without flags, and moves the texts of all rows.
fn retain<R: Row>(rows: &mut Rows<R>, kept: Option<Vec<bool>>, from: &Texts, to: &mut Texts) {
    if let Some(kept) = kept {
        let mut kept = kept.into_iter();
        rows.inserts.retain(|_| kept.next().unwrap_or(true));
        rows.inserts.shrink_to(rows.inserts.len() * 2);
    }
    for row in rows.inserts.iter_mut().chain(&mut rows.updates) {
        *row = row.rebase(from, to);
    }
    for key in &mut rows.deletes {
        if let Key::Path(path) = key {
            *path = to.add(from.get(*path));
        }
    }
}

//! Compares the rows of a replay with late events to those of the replay of what is stored.
//!
//! Both replays start from one checkpoint. The rows of the old one are those in the store.
//!
//! ```text
//! u1: start, hi, bye | late: slot (after hi)
//!
//! only in new           the event and slot rows of `slot`           -> inserts
//! only in old           none                                        -> deletes
//! in both, differing    the turn of `hi`, which now ends at `slot`  -> updates
//!                       if it began before the checkpoint           -> ends, and updates of facts
//! in both, equal        the event rows of start, hi, bye            -> nothing
//! ```

use std::collections::HashMap;
use std::hash::Hash;

use turnmill_model::tables::{Row, SlotStateRow, Texts, Value};
use turnmill_model::{Changes, Key, Rows, SessionId};

/// Error of two replays that cannot be compared.
///
/// ```text
/// u1: start, slot a=1 | checkpoint | slot a=2 | late: start (before `slot a=2`)
///
/// old: slot a=2 is in the first session, whose state of `a` becomes 2
/// new: slot a=2 is in the second session; the state of `a` in the first one has to be 1 again
/// ```
///
/// The new replay no longer touches a row that began before the checkpoint. The value that the row
/// had there is not known here. Replays from an earlier checkpoint know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooShort;

/// Adds to `out` the entries that turn the rows of `old` into those of `new`, both replays from one
/// checkpoint.
///
/// # Errors
///
/// [`TooShort`] if the replays have to start at an earlier checkpoint; then `out` is unchanged.
pub(crate) fn difference(old: &Changes, new: &Changes, out: &mut Changes) -> Result<(), TooShort> {
    let mark = out.mark();
    let result = differences(old, new, out);
    if result.is_err() {
        out.rollback(mark);
    }
    result
}

fn differences(old: &Changes, new: &Changes, out: &mut Changes) -> Result<(), TooShort> {
    let texts = BothTexts { old: &old.texts, new: &new.texts };
    macro_rules! tables {
        ($($table:ident),*) => {$( compare(&old.$table, &new.$table, &mut out.$table, &mut out.texts, texts)?; )*};
    }
    tables!(
        sessions,
        turns,
        events,
        bot_messages,
        user_messages,
        actions,
        slots,
        markers,
        frames,
        commands,
        flow_statuses,
        session_facts,
        turn_facts,
        message_facts,
        dialog_runs,
        slot_facts,
        calls,
        event_errors
    );
    slot_states(old, new, out)?;
    // Rows of users only ever widen, so they are written as they are. The new replay writes the
    // sender's row only if its facts have changed.
    for row in &new.users.inserts {
        out.users.inserts.push(row.rebase(&new.texts, &mut out.texts));
    }
    for row in &new.senders.inserts {
        out.senders.inserts.push(row.rebase(&new.texts, &mut out.texts));
    }
    for row in &new.senders.updates {
        out.senders.updates.push(row.rebase(&new.texts, &mut out.texts));
    }
    Ok(())
}

/// The texts of both replays.
#[derive(Clone, Copy)]
pub(crate) struct BothTexts<'t> {
    pub(crate) old: &'t Texts,
    pub(crate) new: &'t Texts,
}

impl BothTexts<'_> {
    pub(crate) fn same<R: Row>(self, old: &R, new: &R) -> bool {
        (0..R::TABLE.columns.len()).all(|column| self.same_value(old, new, column))
    }

    fn same_but_end<R: Row>(self, old: &Rows<R>, i: Option<usize>, new: &Rows<R>, j: Option<usize>) -> bool {
        let end = R::TABLE.column("end_sequence_number");
        match (i.and_then(|i| old.inserts.get(i)), j.and_then(|j| new.inserts.get(j))) {
            (None, None) => true,
            (Some(old), Some(new)) => (0..R::TABLE.columns.len())
                .filter(|column| Some(*column) != end)
                .all(|column| self.same_value(old, new, column)),
            _ => false,
        }
    }

    fn same_value<R: Row>(self, old: &R, new: &R, column: usize) -> bool {
        match (old.value(column, self.old), new.value(column, self.new)) {
            (Value::Float(old), Value::Float(new)) => old.to_bits() == new.to_bits(),
            (old, new) => old == new,
        }
    }
}

/// Adds the entries that turn the rows of `old` into those of `new`, for a table with UUIDs as
/// keys.
fn compare<R: Row>(
    old: &Rows<R>,
    new: &Rows<R>,
    out: &mut Rows<R>,
    out_texts: &mut Texts,
    texts: BothTexts<'_>,
) -> Result<(), TooShort> {
    let key = |row: &R, texts: &Texts| match row.value(0, texts) {
        Value::Id(id) => Some(id),
        _ => None,
    };
    let mut stored: HashMap<_, _> =
        old.inserts.iter().filter_map(|row| Some((key(row, texts.old)?, row))).collect();
    for row in &new.inserts {
        match key(row, texts.new).and_then(|id| stored.remove(&id)) {
            None => out.inserts.push(row.rebase(texts.new, out_texts)),
            Some(before) if texts.same(before, row) => {}
            Some(_) => out.updates.push(row.rebase(texts.new, out_texts)),
        }
    }
    // What is left was written before and has no row in the new replay.
    out.deletes.extend(stored.into_keys().map(Key::Id));
    let mut ends: HashMap<_, _> = old.ends.iter().map(|end| (end.id, end.end_sequence_number)).collect();
    for end in &new.ends {
        if ends.remove(&end.id) != Some(end.end_sequence_number) {
            out.ends.push(*end);
        }
    }
    // Rows of facts that began before the checkpoint are written as a whole.
    let mut updated: HashMap<_, _> =
        old.updates.iter().filter_map(|row| Some((key(row, texts.old)?, row))).collect();
    for row in &new.updates {
        let before = key(row, texts.new).and_then(|id| updated.remove(&id));
        if !before.is_some_and(|before| texts.same(before, row)) {
            out.updates.push(row.rebase(texts.new, out_texts));
        }
    }
    // Only the old replay writes these. What they were at the checkpoint is not known here.
    if ends.is_empty() && updated.is_empty() { Ok(()) } else { Err(TooShort) }
}

/// Does the same as [`compare`] for slot states, whose keys are slot paths.
///
/// A state that the new replay does not write had another value before the checkpoint, which is not
/// known here. If its session began after the checkpoint, it had none, and is deleted.
fn slot_states(old: &Changes, new: &Changes, out: &mut Changes) -> Result<(), TooShort> {
    let texts = BothTexts { old: &old.texts, new: &new.texts };
    let mut stored = index(&old.slot_states.inserts, |row| old.texts.get(row.id));
    for row in &new.slot_states.inserts {
        let before = stored.remove(new.texts.get(row.id));
        if !before.is_some_and(|before| texts.same(before, row)) {
            out.slot_states.inserts.push(row.rebase(&new.texts, &mut out.texts));
        }
    }
    let young = index(&old.sessions.inserts, |row| row.id);
    for (path, row) in stored {
        if !young.contains_key(&row.session_id) {
            return Err(TooShort);
        }
        let path = out.texts.add(path);
        out.slot_states.deletes.push(Key::Path(path));
    }
    Ok(())
}

/// Returns whether two replays in the same state wrote the same rows of the current session, its
/// turn, its frame and its slots.
///
/// The indexes are those of session, turn and frame among the inserts. Ends are still open and do
/// not count.
pub(crate) fn open_rows_agree(
    (old, old_rows): (&Changes, [Option<usize>; 3]),
    (new, new_rows): (&Changes, [Option<usize>; 3]),
    session: Option<SessionId>,
) -> bool {
    let texts = BothTexts { old: &old.texts, new: &new.texts };
    texts.same_but_end(&old.sessions, old_rows[0], &new.sessions, new_rows[0])
        && texts.same_but_end(&old.turns, old_rows[1], &new.turns, new_rows[1])
        && texts.same_but_end(&old.frames, old_rows[2], &new.frames, new_rows[2])
        && session.is_none_or(|session| {
            let of_session = |changes: &Changes| -> Vec<SlotStateRow> {
                changes.slot_states.inserts.iter().filter(|row| row.session_id == session).copied().collect()
            };
            let (old_states, new_states) = (of_session(old), of_session(new));
            // Later entries of a slot replace earlier ones.
            let old_states = index(&old_states, |row| old.texts.get(row.id));
            let new_states = index(&new_states, |row| new.texts.get(row.id));
            old_states.len() == new_states.len()
                && new_states
                    .iter()
                    .all(|(path, row)| old_states.get(path).is_some_and(|old| texts.same(*old, *row)))
        })
}

fn index<R, K: Eq + Hash>(rows: &[R], key: impl Fn(&R) -> K) -> HashMap<K, &R> {
    rows.iter().map(|row| (key(row), row)).collect()
}

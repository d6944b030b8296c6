//! One event.
//!
//! A pattern is *settled* when an event that touches none of its conditions changes nothing in its state. Then its value
//! at such events is always the same, and is kept in a set of *steady* patterns; it is evaluated again only when one of its
//! names comes. A pattern whose state has just changed is unsettled, and evaluated at the next event whatever it is.

use crate::compile::{Field, Key, OpKind, Program};
use crate::event::MarkerEvent;
use crate::state::{ForeignState, Set, State};

/// A result: a pattern applied at the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The pattern's index in the program.
    pub pattern: usize,
    /// `user` events of the session before this event.
    pub num_preceding_user_turns: u32,
}

/// What of the event conditions ask for: ids of keys, 0 for none.
#[derive(Clone, Copy)]
struct Now {
    first: u32,
    second: u32,
}

/// Words of the set of patterns that look for a name.
fn touched_by(key: Option<&Key>) -> std::slice::Iter<'_, (u32, u64)> {
    key.map(|key| key.touched.iter()).unwrap_or_default()
}

impl Program {
    /// Takes the session's next event, and calls `hit` for each pattern that applies at it, in order of their indices.
    ///
    /// # Errors
    ///
    /// The state is another program's; it stays as it was.
    #[inline]
    pub fn step(
        &self,
        state: &mut State,
        event: MarkerEvent<'_>,
        mut hit: impl FnMut(Hit),
    ) -> Result<(), ForeignState> {
        self.check(state)?;
        let num_preceding_user_turns = state.user_turns;
        let (mut first, mut second) = (None, None);
        // A slot's bit is shared by all patterns, so its change is told to each of them.
        let mut slot_changed = false;
        match event {
            MarkerEvent::Action { name } => first = self.actions.get(name),
            MarkerEvent::User { intent, full_retrieval_intent } => {
                state.user_turns = state.user_turns.saturating_add(1);
                first = intent.and_then(|intent| self.intents.get(intent));
                second = full_retrieval_intent.and_then(|intent| self.intents.get(intent));
            }
            MarkerEvent::Slot { name, is_set } => {
                first = self.slots.get(name);
                if let Some(key) = first {
                    slot_changed = state.get(key.slot) != u64::from(is_set);
                    state.put(key.slot, is_set);
                }
            }
            MarkerEvent::Other => {}
        }
        let now = Now { first: first.map_or(0, |key| key.id), second: second.map_or(0, |key| key.id) };
        let (mut first, mut second) = (touched_by(first).peekable(), touched_by(second).peekable());
        for word in 0..self.set_words {
            let mut touched = 0;
            for list in [&mut first, &mut second] {
                if let Some((_, bits)) = list.next_if(|(at, _)| *at as usize == word) {
                    touched |= bits;
                }
            }
            let set = |set: Set| state.words.get(set.word(self) + word).copied().unwrap_or_default();
            let evaluate = set(Set::Unsettled) | touched;
            let mut live = evaluate | set(Set::Steady);
            while live != 0 {
                let bit = live.trailing_zeros() as usize;
                live &= live - 1;
                let pattern = word * 64 + bit;
                let applies = evaluate >> bit & 1 == 0
                    || self.evaluate(state, pattern, now, touched >> bit & 1 == 1, slot_changed);
                if applies {
                    hit(Hit { pattern, num_preceding_user_turns });
                }
            }
        }
        Ok(())
    }

    /// Evaluates a pattern; whether the event is one of its results.
    fn evaluate(&self, state: &mut State, index: usize, now: Now, touched: bool, slot_changed: bool) -> bool {
        let Some(pattern) = self.patterns.get(index) else { return false };
        let done = Set::Done.bit(self, index);
        if pattern.ends && state.get(done) == 1 {
            return false;
        }
        let mut changed = touched && slot_changed;
        let mut value = self.value(state, pattern.root, now, &mut changed);
        if pattern.first_only && value {
            value = state.get(done) == 0;
            changed |= value;
            state.put(done, true);
        }
        if pattern.ends && state.get(done) == 1 {
            state.put(Set::Unsettled.bit(self, index), false);
            state.put(Set::Steady.bit(self, index), false);
        } else if changed {
            state.put(Set::Unsettled.bit(self, index), true);
        } else if !touched {
            state.put(Set::Unsettled.bit(self, index), false);
            state.put(Set::Steady.bit(self, index), value);
        }
        value
    }

    /// A node's value at the event. Nodes without a state of their own are left out where they do not matter.
    fn value(&self, state: &mut State, node: u32, now: Now, changed: &mut bool) -> bool {
        let Some(op) = self.nodes.get(node as usize) else { return false };
        let value = match op.kind {
            OpKind::Now { key } => key == now.first || key == now.second,
            OpKind::Slot { bit } => state.get(bit) == 1,
            OpKind::All { from, to } => self.combined(state, (from, to), false, now, changed),
            OpKind::Any { from, to } => self.combined(state, (from, to), true, now, changed),
            OpKind::Seq { from, to, progress } => self.sequence(state, (from, to), progress, now, changed),
            OpKind::Once { sub, seen } => {
                let before = state.get(seen) == 1;
                let skip = before && !self.stateful(sub);
                let value = skip || self.value(state, sub, now, changed) || before;
                if value && !before {
                    state.put(seen, true);
                    *changed = true;
                }
                value
            }
        };
        value != op.negated
    }

    /// Whether one (`decides` is true) or all of the nodes are true.
    fn combined(
        &self,
        state: &mut State,
        (from, to): (u32, u32),
        decides: bool,
        now: Now,
        changed: &mut bool,
    ) -> bool {
        let mut decided = false;
        for sub in from..to {
            if (!decided || self.stateful(sub)) && self.value(state, sub, now, changed) == decides {
                decided = true;
            }
        }
        decided == decides
    }

    fn sequence(
        &self,
        state: &mut State,
        (from, to): (u32, u32),
        progress: Field,
        now: Now,
        changed: &mut bool,
    ) -> bool {
        let matched = state.get(progress);
        let mut advances = false;
        for (place, sub) in (0..).zip(from..to) {
            if (place == matched || self.stateful(sub)) && self.value(state, sub, now, changed) && place == matched {
                advances = true;
            }
        }
        if !advances {
            return false;
        }
        let completes = matched + 1 >= u64::from(to - from);
        state.set(progress, if completes { 0 } else { matched + 1 });
        *changed = true;
        completes
    }

    #[inline]
    fn stateful(&self, node: u32) -> bool {
        self.nodes.get(node as usize).is_some_and(|op| op.stateful)
    }
}

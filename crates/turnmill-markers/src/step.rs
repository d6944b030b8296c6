//! One event.
//!
//! A pattern is *settled* when an event that touches none of its conditions changes nothing in its state. Then its value
//! at such events is always the same, and is kept in a set of *steady* patterns; it is evaluated again only when one of its
//! names comes. A pattern whose state has just changed is unsettled, and evaluated at the next event whatever it is.

use std::iter::Peekable;
use std::ops::Range;

use crate::compile::{Field, Key, Op, OpKind, Program};
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

type Touched<'p> = std::slice::Iter<'p, (u32, u64)>;

/// The first word in which one of the lists has patterns; beyond all words if there is none.
fn next_word(first: &mut Peekable<Touched<'_>>, second: &mut Peekable<Touched<'_>>) -> usize {
    let next = |list: &mut Peekable<Touched<'_>>| list.peek().map_or(usize::MAX, |(at, _)| *at as usize);
    next(first).min(next(second))
}

/// Words of the set of patterns that look for a name.
fn touched_by(key: Option<&Key>) -> Touched<'_> {
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
        let mut next_touched = next_word(&mut first, &mut second);
        for word in 0..self.set_words {
            let set = |set: Set| state.words.get(set.word(self) + word).copied().unwrap_or_default();
            let (unsettled, steady) = (set(Set::Unsettled), set(Set::Steady));
            let mut touched = 0;
            if word == next_touched {
                for list in [&mut first, &mut second] {
                    touched |= list.next_if(|(at, _)| *at as usize == word).map_or(0, |(_, bits)| *bits);
                }
                next_touched = next_word(&mut first, &mut second);
            }
            let evaluate = unsettled | touched;
            let mut live = evaluate | steady;
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

    /// Evaluates a pattern at an event that does not touch it; whether something changed but for its being settled.
    pub(crate) fn try_untouched(&self, state: &mut State, index: usize) -> bool {
        let unsettled = Set::Unsettled.bit(self, index);
        self.evaluate(state, index, Now { first: 0, second: 0 }, false, false);
        state.get(unsettled) == 1 || state.get(Set::Done.bit(self, index)) == 1
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
        let (word, bit) = (index / 64, 1_u64 << (index % 64));
        let ended = pattern.ends && state.get(done) == 1;
        if ended || changed || !touched {
            let mut set = |set: Set, value: bool| {
                if let Some(word) = state.words.get_mut(set.word(self) + word) {
                    *word = if value { *word | bit } else { *word & !bit };
                }
            };
            set(Set::Unsettled, changed && !ended);
            // Of an unsettled pattern it does not matter.
            set(Set::Steady, value && !changed && !ended);
        }
        value
    }

    /// A node's value at the event. Nodes without a state of their own are left out where they do not matter.
    // Most nodes are conditions: those are read in place, which is a third of the time of many markers.
    #[inline(always)]
    fn value(&self, state: &mut State, node: u32, now: Now, changed: &mut bool) -> bool {
        let Some(op) = self.nodes.get(node as usize) else { return false };
        let value = match op.kind {
            OpKind::Now { key } => key == now.first || key == now.second,
            OpKind::Slot { bit } => state.get(bit) == 1,
            OpKind::All { .. } | OpKind::Any { .. } | OpKind::Seq { .. } | OpKind::Once { .. } => {
                self.operator(state, op, now, changed)
            }
        };
        value != op.negated
    }

    /// An operator's value, before it is negated.
    fn operator(&self, state: &mut State, op: &Op, now: Now, changed: &mut bool) -> bool {
        match op.kind {
            OpKind::All { from, to } => !self.any(state, from..to, false, op.stateful, now, changed),
            OpKind::Any { from, to } => self.any(state, from..to, true, op.stateful, now, changed),
            OpKind::Seq { from, to, progress } => self.sequence(state, from..to, progress, now, changed),
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
            OpKind::Now { .. } | OpKind::Slot { .. } => false,
        }
    }

    /// Whether one of the nodes has this value. All are evaluated where one of them has a state.
    #[inline]
    fn any(
        &self,
        state: &mut State,
        nodes: Range<u32>,
        wanted: bool,
        stateful: bool,
        now: Now,
        changed: &mut bool,
    ) -> bool {
        let mut found = false;
        for sub in nodes {
            if (!found || self.stateful(sub)) && self.value(state, sub, now, changed) == wanted {
                found = true;
                if !stateful {
                    break;
                }
            }
        }
        found
    }

    fn sequence(
        &self,
        state: &mut State,
        nodes: Range<u32>,
        progress: Field,
        now: Now,
        changed: &mut bool,
    ) -> bool {
        let matched = state.get(progress);
        let mut advances = false;
        for (place, sub) in (0..).zip(nodes.clone()) {
            if place == matched {
                advances = self.value(state, sub, now, changed);
            } else if self.stateful(sub) {
                self.value(state, sub, now, changed);
            }
        }
        if !advances {
            return false;
        }
        let completes = matched + 1 >= u64::from(nodes.end - nodes.start);
        state.set(progress, if completes { 0 } else { matched + 1 });
        *changed = true;
        completes
    }

    #[inline]
    fn stateful(&self, node: u32) -> bool {
        self.nodes.get(node as usize).is_some_and(|op| op.stateful)
    }
}

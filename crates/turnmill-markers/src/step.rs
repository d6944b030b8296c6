//! Evaluation of one event.
//!
//! Most events touch few patterns, so a step must not evaluate all of them. A pattern is *touched*
//! by an event whose name one of its conditions has. A pattern is *settled* when an event that does
//! not touch it would change nothing in its state.
//!
//! - A settled pattern is evaluated only at events that touch it. At all others its value is known:
//!   a bit in the set of *steady* patterns holds it.
//! - A pattern whose state has just changed is *unsettled*. It is evaluated at the next event in
//!   any case, because its value may differ without a change: after `seq` completes, it is false.
//!
//! Example: `{or: [{slot_was_set: size}, {intent: stop}]}`.
//!
//! ```text
//! event             evaluated      result    afterwards
//! slot size set     touched        applies   unsettled: a slot changed
//! other             unsettled      applies   settled, steady
//! other             not at all     applies   settled, steady
//! slot size unset   touched        false     unsettled
//! other             unsettled      false     settled, not steady
//! other             not at all     false     settled, not steady
//! ```

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
    /// Number of `user` events of the session before this event.
    pub num_preceding_user_turns: u32,
}

/// The names of the event that conditions compare with, as ids of keys. 0 means none.
#[derive(Clone, Copy)]
struct EventKeys {
    first: u32,
    second: u32,
}

type Touched<'p> = std::slice::Iter<'p, (u32, u64)>;

/// Returns the first word in which one of the lists has patterns, or `usize::MAX` if there is none.
fn next_word(first: &mut Peekable<Touched<'_>>, second: &mut Peekable<Touched<'_>>) -> usize {
    let next = |list: &mut Peekable<Touched<'_>>| list.peek().map_or(usize::MAX, |(at, _)| *at as usize);
    next(first).min(next(second))
}

/// Returns the words of the set of patterns with a condition on this name.
fn touched_by(key: Option<&Key>) -> Touched<'_> {
    key.map(|key| key.touched.iter()).unwrap_or_default()
}

impl Program {
    /// Takes the session's next event and calls `hit` for each pattern that applies, in the order
    /// of their indices.
    ///
    /// # Errors
    ///
    /// [`ForeignState`] if the state is another program's. It is not changed.
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
        // All patterns share a slot's bit, so each pattern it touches must see the change as its
        // own.
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
        let event_keys =
            EventKeys { first: first.map_or(0, |key| key.id), second: second.map_or(0, |key| key.id) };
        let (mut first, mut second) = (touched_by(first).peekable(), touched_by(second).peekable());
        let mut next_touched = next_word(&mut first, &mut second);
        // Walk the sets word by word, 64 patterns at a time. A pattern that is neither touched nor
        // unsettled nor steady costs nothing.
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
                    || self.evaluate(state, pattern, event_keys, touched >> bit & 1 == 1, slot_changed);
                if applies {
                    hit(Hit { pattern, num_preceding_user_turns });
                }
            }
        }
        Ok(())
    }

    /// Evaluates a pattern at an event that does not touch it. Returns whether its state changed.
    pub(crate) fn try_untouched(&self, state: &mut State, index: usize) -> bool {
        let unsettled = Set::Unsettled.bit(self, index);
        self.evaluate(state, index, EventKeys { first: 0, second: 0 }, false, false);
        state.get(unsettled) == 1 || state.get(Set::Done.bit(self, index)) == 1
    }

    /// Evaluates a pattern and returns whether the event is one of its results.
    fn evaluate(
        &self,
        state: &mut State,
        index: usize,
        event_keys: EventKeys,
        touched: bool,
        slot_changed: bool,
    ) -> bool {
        let Some(pattern) = self.patterns.get(index) else { return false };
        let done = Set::Done.bit(self, index);
        if pattern.ends && state.get(done) == 1 {
            return false;
        }
        let mut changed = touched && slot_changed;
        let mut value = self.value(state, pattern.root, event_keys, &mut changed);
        if pattern.first_only && value {
            value = state.get(done) == 0;
            changed |= value;
            state.put(done, true);
        }
        let (word, bit) = (index / 64, 1_u64 << (index % 64));
        let ended = pattern.ends && state.get(done) == 1;
        // A touched evaluation without a change says nothing about untouched events: keep both
        // bits.
        if ended || changed || !touched {
            let mut set = |set: Set, value: bool| {
                if let Some(word) = state.words.get_mut(set.word(self) + word) {
                    *word = if value { *word | bit } else { *word & !bit };
                }
            };
            set(Set::Unsettled, changed && !ended);
            // The steady bit of an unsettled pattern is not used.
            set(Set::Steady, value && !changed && !ended);
        }
        value
    }

    /// Returns a node's value at the event. A node without state may be skipped if its value does
    /// not matter.
    ///
    /// Most nodes are conditions. Inlining them saves a third of the time with many markers.
    #[inline(always)]
    fn value(&self, state: &mut State, node: u32, event_keys: EventKeys, changed: &mut bool) -> bool {
        let Some(op) = self.nodes.get(node as usize) else { return false };
        let value = match op.kind {
            OpKind::EventName { key } => key == event_keys.first || key == event_keys.second,
            OpKind::Slot { bit } => state.get(bit) == 1,
            OpKind::All { .. } | OpKind::Any { .. } | OpKind::Seq { .. } | OpKind::Once { .. } => {
                self.operator(state, op, event_keys, changed)
            }
        };
        value != op.negated
    }

    /// Returns an operator's value before negation.
    fn operator(&self, state: &mut State, op: &Op, event_keys: EventKeys, changed: &mut bool) -> bool {
        match op.kind {
            OpKind::All { from, to } => !self.any(state, from..to, false, op.stateful, event_keys, changed),
            OpKind::Any { from, to } => self.any(state, from..to, true, op.stateful, event_keys, changed),
            OpKind::Seq { from, to, progress } => {
                self.sequence(state, from..to, progress, event_keys, changed)
            }
            OpKind::Once { sub, seen } => {
                let before = state.get(seen) == 1;
                let skip = before && !self.stateful(sub);
                let value = skip || self.value(state, sub, event_keys, changed) || before;
                if value && !before {
                    state.put(seen, true);
                    *changed = true;
                }
                value
            }
            OpKind::EventName { .. } | OpKind::Slot { .. } => false,
        }
    }

    /// Returns whether one of the nodes has the value `wanted`. If a node has state, all are
    /// evaluated, because skipping one would lose its progress.
    #[inline]
    fn any(
        &self,
        state: &mut State,
        nodes: Range<u32>,
        wanted: bool,
        stateful: bool,
        event_keys: EventKeys,
        changed: &mut bool,
    ) -> bool {
        let mut found = false;
        for sub in nodes {
            if (!found || self.stateful(sub)) && self.value(state, sub, event_keys, changed) == wanted {
                found = true;
                if !stateful {
                    break;
                }
            }
        }
        found
    }

    /// Evaluates a sequence. Returns whether its last step is done at this event.
    ///
    /// At most one step is done per event: `{seq: [{intent: x}, {intent: x}]}` needs two events.
    /// Other steps with state, such as an inner sequence, advance at every event too.
    fn sequence(
        &self,
        state: &mut State,
        nodes: Range<u32>,
        progress: Field,
        event_keys: EventKeys,
        changed: &mut bool,
    ) -> bool {
        let matched = state.get(progress);
        let mut advances = false;
        for (step, sub) in (0..).zip(nodes.clone()) {
            if step == matched {
                advances = self.value(state, sub, event_keys, changed);
            } else if self.stateful(sub) {
                self.value(state, sub, event_keys, changed);
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

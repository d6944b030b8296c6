//! The state of a session.

use serde::{Deserialize, Serialize};

use crate::compile::{Compatibility, Field, Program};

/// What a program keeps of one session: some bits for each pattern, and the number of user turns.
///
/// Equal events give equal states. [`Program::start`] makes a state and [`Program::step`] changes
/// it. A state from outside, such as a store, is rejected if it is another program's. Its content
/// is never trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct State {
    pub(crate) program: u64,
    pub(crate) user_turns: u32,
    /// Three sets of patterns, see [`Set`], then the bits of slots, sequences and `at_least_once`.
    pub(crate) words: Box<[u64]>,
}

/// The state belongs to another program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the marker state belongs to other markers (program {found:016x}, not {expected:016x})")]
pub struct ForeignState {
    /// The program's fingerprint.
    pub expected: u64,
    /// The state's fingerprint.
    pub found: u64,
}

/// A session's state after the markers have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// The state. Patterns of both programs keep their state; others are at a session's start.
    pub state: State,
    /// Indices of the patterns that the former program did not have.
    ///
    /// They are at a session's start. To catch up, step a program of [`only`](Program::only) these
    /// patterns over the session's past events, and [`absorb`](Program::absorb) its state.
    pub missing: Vec<usize>,
}

impl State {
    /// Returns the number of `user` events so far.
    #[must_use]
    pub fn user_turns(&self) -> u32 {
        self.user_turns
    }

    /// Returns the state at a session's start. Patterns that are settled there are marked so, and a
    /// session's first event costs no more than others.
    pub(crate) fn blank(program: &Program, words: usize) -> Self {
        let mut state =
            State { program: fingerprint(program), user_turns: 0, words: vec![0; words].into_boxed_slice() };
        for (index, pattern) in program.patterns.iter().enumerate() {
            if program.try_untouched(&mut state, index) {
                for field in pattern.fields.iter().copied().chain([Set::Done.bit(program, index)]) {
                    state.set(field, 0);
                }
                state.put(Set::Unsettled.bit(program, index), true);
            }
        }
        state
    }

    /// Returns the size in memory, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.words)
    }

    #[inline]
    pub(crate) fn get(&self, field: Field) -> u64 {
        let word = self.words.get(field.word as usize).copied().unwrap_or_default();
        word >> field.shift & mask(field)
    }

    #[inline]
    pub(crate) fn set(&mut self, field: Field, value: u64) {
        if let Some(word) = self.words.get_mut(field.word as usize) {
            *word = *word & !(mask(field) << field.shift) | (value & mask(field)) << field.shift;
        }
    }

    pub(crate) fn put(&mut self, bit: Field, value: bool) {
        self.set(bit, u64::from(value));
    }
}

#[inline]
fn mask(field: Field) -> u64 {
    // A field has at most 32 bits.
    (1 << field.width) - 1
}

/// The sets of patterns in a state. See [`step`](crate::step) for the terms.
#[derive(Clone, Copy)]
pub(crate) enum Set {
    /// Patterns to be evaluated at the next event in any case.
    Unsettled,
    /// Patterns that apply at events that do not touch them.
    Steady,
    /// Patterns that have had their only result of the session.
    Done,
}

impl Set {
    /// Returns the index of the set's first word.
    pub(crate) fn word(self, program: &Program) -> usize {
        self as usize * program.set_words
    }

    pub(crate) fn bit(self, program: &Program, pattern: usize) -> Field {
        let word = (self.word(program) + pattern / 64) as u32;
        Field { word, shift: (pattern % 64) as u8, width: 1, is_progress: false }
    }
}

impl Program {
    /// Returns the state before a session's first event.
    #[must_use]
    pub fn start(&self) -> State {
        self.initial.clone()
    }

    /// Returns whether the state is this program's.
    #[must_use]
    pub fn fits(&self, state: &State) -> bool {
        state.program == self.initial.program && state.words.len() == self.initial.words.len()
    }

    pub(crate) fn check(&self, state: &State) -> Result<(), ForeignState> {
        if self.fits(state) {
            return Ok(());
        }
        Err(ForeignState { expected: self.initial.program, found: state.program })
    }

    /// Ends a session and begins the next. Only [`Compatibility::Rasa36`] keeps something: the
    /// progress of sequences.
    ///
    /// # Errors
    ///
    /// [`ForeignState`] if the state is another program's.
    pub fn next_session(&self, state: &mut State) -> Result<(), ForeignState> {
        self.check(state)?;
        let ended = std::mem::replace(state, self.start());
        if self.compatibility == Compatibility::Rasa36 {
            for (index, pattern) in self.patterns.iter().enumerate() {
                for field in
                    pattern.fields.iter().filter(|field| field.is_progress && ended.get(**field) != 0)
                {
                    state.set(*field, ended.get(*field));
                    state.put(Set::Unsettled.bit(self, index), true);
                }
            }
        }
        Ok(())
    }

    /// Converts a session's state from the program that made it, after the markers have changed.
    ///
    /// Ids identify patterns. Those that this program does not have are dropped.
    ///
    /// # Errors
    ///
    /// [`ForeignState`] if the state is not `former`'s.
    pub fn adopt(&self, former: &Program, state: &State) -> Result<Adopted, ForeignState> {
        former.check(state)?;
        let mut adopted = Adopted { state: self.start(), missing: Vec::new() };
        adopted.state.user_turns = state.user_turns;
        let known: std::collections::HashMap<_, _> = former.ids().zip(0..).collect();
        for (index, id) in self.ids().enumerate() {
            match known.get(&id) {
                Some(&other) if self.copy(index, &mut adopted.state, former, other, state) => {}
                _ => adopted.missing.push(index),
            }
        }
        Ok(adopted)
    }

    /// Copies the state of those patterns that `other` has too. `theirs` must have seen the same
    /// events.
    ///
    /// # Errors
    ///
    /// [`ForeignState`] if one of the states is not its program's.
    pub fn absorb(&self, state: &mut State, other: &Program, theirs: &State) -> Result<(), ForeignState> {
        self.check(state)?;
        other.check(theirs)?;
        let known: std::collections::HashMap<_, _> = self.ids().zip(0..).collect();
        for (from, id) in other.ids().enumerate() {
            if let Some(&index) = known.get(&id) {
                self.copy(index, state, other, from, theirs);
            }
        }
        Ok(())
    }

    /// Copies one pattern's state. Returns false if the id has another configuration in the other
    /// program.
    fn copy(&self, index: usize, state: &mut State, other: &Program, from: usize, theirs: &State) -> bool {
        let same = self.compatibility == other.compatibility
            && self.sources.get(index).map(|(_, config)| config)
                == other.sources.get(from).map(|(_, config)| config);
        let (Some(ours), Some(theirs_compiled), true) =
            (self.patterns.get(index), other.patterns.get(from), same)
        else {
            return false;
        };
        for set in [Set::Unsettled, Set::Steady, Set::Done] {
            state.set(set.bit(self, index), theirs.get(set.bit(other, from)));
        }
        // Equal configurations have equal fields in the same order, at other offsets.
        let fields = ours.fields.iter().zip(&theirs_compiled.fields);
        for (to, from) in fields.chain(ours.slots.iter().zip(&theirs_compiled.slots)) {
            state.set(*to, theirs.get(*from));
        }
        true
    }
}

/// FNV-1a, 64 bit: equal in every process and version.
fn fingerprint(program: &Program) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    add(&[1, u8::from(program.compatibility == Compatibility::Rasa36)]);
    for (id, config) in &program.sources {
        add(&id.0);
        add(config.to_string().as_bytes());
        add(&[0]);
    }
    hash
}

//! Compilation of markers to a program.
//!
//! The nodes of all patterns are in one vector, and the children of a node are adjacent. So a node
//! refers to its children by a range. `{a: {seq: [{intent: x}, {or: [{action: y}, {slot_was_set:
//! z}]}]}}` becomes:
//!
//! ```text
//! 0 Seq 1..3   1 EventName x   2 Any 3..5   3 EventName y   4 Slot z
//! ```
//!
//! A state begins with three sets of patterns (one bit each), followed by the fields: bits of
//! slots, progress of `seq`, and one bit for each inner `at_least_once`.

use rustc_hash::FxHashMap;

use crate::load::MarkerSet;
use crate::node::Node;
use crate::state::State;
use crate::tag::Tag;

/// The semantics of markers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compatibility {
    /// As Rasa's documentation describes it.
    #[default]
    Documented,
    /// As Rasa Open Source 3.6.21 evaluates markers.
    ///
    /// Negated tags (`not_action`, `not_intent`, `slot_was_not_set`, `never`, `at_least_one_not`)
    /// mean the same as their positive forms. The progress of `seq` survives the end of a session
    /// and continues in the next session of a run, even if it is another sender's.
    Rasa36,
}

impl Compatibility {
    /// Returns a tag's positive form, and whether that is negated.
    pub(crate) fn meaning(self, tag: Tag) -> (Tag, bool) {
        let positive = tag.positive();
        (positive, positive != tag && self == Compatibility::Documented)
    }
}

/// Identifies a pattern across programs. Equal ids must mean equal configurations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PatternId(pub [u8; 16]);

/// A marker to be compiled.
#[derive(Clone, Copy, Debug)]
pub struct Pattern<'a> {
    /// The marker's id.
    pub id: PatternId,
    /// The condition.
    pub config: &'a Node,
}

/// Compiled markers. A hit names its pattern by the index in the given order.
#[derive(Clone, Debug)]
pub struct Program {
    pub(crate) compatibility: Compatibility,
    pub(crate) sources: Vec<(PatternId, Node)>,
    pub(crate) patterns: Vec<Compiled>,
    pub(crate) nodes: Vec<Op>,
    // Only authors of markers choose these names, so a hash without protection against chosen keys
    // is enough.
    pub(crate) actions: FxHashMap<Box<str>, Key>,
    pub(crate) intents: FxHashMap<Box<str>, Key>,
    pub(crate) slots: FxHashMap<Box<str>, Key>,
    /// The state at a session's start.
    pub(crate) initial: State,
    /// Number of words that one set of patterns takes in a state. There are three such sets.
    pub(crate) set_words: usize,
}

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(crate) struct Compiled {
    pub(crate) root: u32,
    /// Only the first result of a session counts.
    pub(crate) first_only: bool,
    /// Nothing remains to be evaluated after that result.
    pub(crate) ends: bool,
    /// Fields of each `seq` and inner `at_least_once`, so that an event may change the result of
    /// others.
    pub(crate) fields: Vec<Field>,
    /// The distinct slots, as bits of the state.
    pub(crate) slots: Vec<Field>,
}

/// A range of bits in one word of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) word: u32,
    pub(crate) shift: u8,
    pub(crate) width: u8,
    /// Progress of a `seq`, which Rasa 3.6 keeps across sessions.
    pub(crate) is_progress: bool,
}

/// A name in conditions.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) id: u32,
    /// The slot's bit, if the name is a slot's.
    pub(crate) slot: Field,
    /// Patterns with a condition on the name: sparse words of a bit set, ascending.
    pub(crate) touched: Vec<(u32, u64)>,
}

/// A node of a marker.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub(crate) kind: OpKind,
    pub(crate) negated: bool,
    /// Evaluating the node may change the state, so it is never skipped.
    pub(crate) stateful: bool,
}

/// The operation of a node. Children are adjacent.
#[derive(Clone, Debug)]
pub(crate) enum OpKind {
    /// The event has this name.
    EventName {
        key: u32,
    },
    /// The slot is set.
    Slot {
        bit: Field,
    },
    All {
        from: u32,
        to: u32,
    },
    Any {
        from: u32,
        to: u32,
    },
    Seq {
        from: u32,
        to: u32,
        progress: Field,
    },
    Once {
        sub: u32,
        seen: Field,
    },
}

/// A field without bits, for a name that is not a slot's.
const NO_FIELD: Field = Field { word: 0, shift: 0, width: 0, is_progress: false };

impl Program {
    /// Compiles patterns. Hits name them by their index here.
    ///
    /// The ids are the caller's. They matter only where a state moves from one program to another.
    #[must_use]
    pub fn compile(patterns: &[Pattern<'_>], compatibility: Compatibility) -> Self {
        let set_words = patterns.len().div_ceil(64);
        let mut compiler = Compiler {
            program: Program {
                compatibility,
                sources: patterns.iter().map(|pattern| (pattern.id, pattern.config.clone())).collect(),
                patterns: Vec::with_capacity(patterns.len()),
                nodes: Vec::new(),
                actions: FxHashMap::default(),
                intents: FxHashMap::default(),
                slots: FxHashMap::default(),
                initial: State::default(),
                set_words,
            },
            // Three sets of patterns precede the fields.
            bits: 3 * set_words * 64,
            keys: 0,
        };
        for (index, pattern) in patterns.iter().enumerate() {
            compiler.pattern(index, pattern.config);
        }
        let mut program = compiler.program;
        program.initial = State::blank(&program, compiler.bits.div_ceil(64));
        program
    }

    /// Compiles a set of markers. A pattern's index is the marker's, and its id is derived from the
    /// index.
    #[must_use]
    pub fn of_set(set: &MarkerSet, compatibility: Compatibility) -> Self {
        let id = |index: usize| PatternId(u128::to_be_bytes(index as u128));
        let patterns: Vec<_> = set
            .markers()
            .iter()
            .enumerate()
            .map(|(index, marker)| Pattern { id: id(index), config: &marker.config })
            .collect();
        Program::compile(&patterns, compatibility)
    }

    /// Returns a program of the patterns with these indices. Their order gives the new indices.
    #[must_use]
    pub fn only(&self, indices: &[usize]) -> Self {
        let sources = indices.iter().filter_map(|index| self.sources.get(*index));
        let patterns: Vec<_> = sources.map(|(id, config)| Pattern { id: *id, config }).collect();
        Program::compile(&patterns, self.compatibility)
    }

    /// Returns the number of patterns.
    #[must_use]
    pub fn len(&self) -> usize {
        self.patterns.len()
    }

    /// Returns whether there is no pattern.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Returns the number of nodes of all patterns.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Returns the ids of the patterns, by index.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = PatternId> + '_ {
        self.sources.iter().map(|(id, _)| *id)
    }

    /// Returns a digest of ids, configurations and compatibility, the same in all processes.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.initial.program
    }
}

struct Compiler {
    program: Program,
    bits: usize,
    keys: u32,
}

impl Compiler {
    fn pattern(&mut self, index: usize, config: &Node) {
        let (tag, _) = self.program.compatibility.meaning(config.tag());
        let first_only = tag == Tag::AtLeastOnce;
        let mut compiled = Compiled {
            root: index_of(self.program.nodes.len()),
            first_only,
            ends: first_only,
            fields: Vec::new(),
            slots: Vec::new(),
        };
        self.program.nodes.push(PLACEHOLDER);
        let root = self.program.nodes.len() - 1;
        self.node(root, index, config, &mut compiled);
        // Progress that continues in the next session must be counted to the end of this one.
        if self.program.compatibility == Compatibility::Rasa36
            && compiled.fields.iter().any(|field| field.is_progress)
        {
            compiled.ends = false;
        }
        self.program.patterns.push(compiled);
    }

    /// Compiles a node into the slot `at`, which its parent has reserved.
    ///
    /// Children are reserved as one range before they are compiled, so that they are adjacent.
    /// Fields are allocated in the order of the walk, so equal configurations have the same fields
    /// in the same order. `State` relies on that when it copies a pattern to another program.
    fn node(&mut self, at: usize, pattern: usize, node: &Node, compiled: &mut Compiled) {
        let (tag, negated) = self.program.compatibility.meaning(node.tag());
        let text = node.text().unwrap_or_default();
        let subs = node.sub_markers();
        let from = index_of(self.program.nodes.len());
        self.program.nodes.resize(self.program.nodes.len() + subs.len(), PLACEHOLDER);
        let to = index_of(self.program.nodes.len());
        for (offset, sub) in subs.iter().enumerate() {
            self.node(from as usize + offset, pattern, sub, compiled);
        }
        let mut stateful = self
            .program
            .nodes
            .get(from as usize..to as usize)
            .is_some_and(|subs| subs.iter().any(|op| op.stateful));
        let kind = match tag {
            Tag::SlotWasSet => {
                let bit = self.touch(tag, text, pattern).slot;
                if !compiled.slots.contains(&bit) {
                    compiled.slots.push(bit);
                }
                OpKind::Slot { bit }
            }
            Tag::Action | Tag::Intent => OpKind::EventName { key: self.touch(tag, text, pattern).id },
            // A sequence of one step is that step.
            Tag::And | Tag::Not => OpKind::All { from, to },
            Tag::Seq if subs.len() == 1 => OpKind::All { from, to },
            Tag::Or => OpKind::Any { from, to },
            Tag::Seq => {
                stateful = true;
                let width = usize::BITS - (subs.len() - 1).leading_zeros();
                let progress = self.field(width, true);
                compiled.fields.push(progress);
                OpKind::Seq { from, to, progress }
            }
            _ => {
                stateful = true;
                let seen = self.field(1, false);
                compiled.fields.push(seen);
                OpKind::Once { sub: from, seen }
            }
        };
        let negated = negated || tag == Tag::Not;
        if let Some(op) = self.program.nodes.get_mut(at) {
            *op = Op { kind, negated, stateful };
        }
    }

    /// Registers that events with this name touch the pattern.
    fn touch(&mut self, tag: Tag, name: &str, pattern: usize) -> Key {
        let slot = if tag == Tag::SlotWasSet && !self.program.slots.contains_key(name) {
            self.field(1, false)
        } else {
            NO_FIELD
        };
        let names = match tag {
            Tag::Action => &mut self.program.actions,
            Tag::Intent => &mut self.program.intents,
            _ => &mut self.program.slots,
        };
        let key = names.entry(name.into()).or_insert_with(|| {
            self.keys += 1;
            Key { id: self.keys, slot, touched: Vec::new() }
        });
        let (word, mask) = (index_of(pattern / 64), 1 << (pattern % 64));
        match key.touched.last_mut() {
            Some((last, bits)) if *last == word => *bits |= mask,
            _ => key.touched.push((word, mask)),
        }
        key.clone()
    }

    /// Allocates the next free bits. A field never crosses a word's end.
    fn field(&mut self, width: u32, is_progress: bool) -> Field {
        let width = width as usize;
        if self.bits % 64 + width > 64 {
            self.bits = self.bits.next_multiple_of(64);
        }
        let (word, shift) = (index_of(self.bits / 64), (self.bits % 64) as u8);
        self.bits += width;
        Field { word, shift, width: width as u8, is_progress }
    }
}

/// Reserves the slot of a node that is not compiled yet.
const PLACEHOLDER: Op = Op { kind: OpKind::All { from: 0, to: 0 }, negated: false, stateful: false };

/// Converts an index. Patterns, nodes and words are far fewer than 2^32: each takes more than a
/// byte.
fn index_of(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

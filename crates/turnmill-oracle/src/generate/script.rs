//! Scripts: conversations as lists of small steps, so that failures shrink well.

use proptest::prelude::*;

use super::Options;
use super::random::Random;

/// The steps of one conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The sender. Scripts of one sender continue one conversation.
    pub sender: u8,
    /// How its records are wrapped: sender in the body or in the envelope, record times.
    pub style: u8,
    /// The steps.
    pub steps: Vec<Step>,
}

/// One step: a few events that occur together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The kind of step.
    pub kind: Kind,
    /// Seed of the details.
    pub detail: u64,
}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $kind:ident: $weight:expr,)*) => {
        /// The kind of step. The first ones are the simplest.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind { $($(#[doc = $doc])* $kind,)* }

        impl Kind {
            const ALL: &'static [Kind] = &[$(Kind::$kind),*];

            fn weight(self, options: &Options) -> u32 {
                match self { $(Kind::$kind => { let weight: fn(&Options) -> u32 = $weight; weight(options) })* }
            }
        }
    };
}

kinds! {
    /// A message and its answers, up to `action_listen`.
    Message: |_| 12,
    /// A session start as Rasa writes it, with all its variants.
    Start: |_| 8,
    /// Slots are set, including `session_started_metadata` outside of a start.
    Slot: |_| 4,
    /// A `user` event alone, as in a paused conversation.
    Bare: |_| 2,
    /// `/restart`.
    Restart: |_| 2,
    /// A form asks, fills slots, and is interrupted.
    Form: |_| 2,
    /// One event of any of the other types of Rasa Open Source.
    Misc: |_| 4,
    /// One bare `session_started`, `action_session_start` or `action_listen`.
    Boundary: |_| 2,
    /// Time passes: from minutes to days.
    Pause: |_| 2,
    /// The next event is backdated.
    Late: |options| options.late,
    /// The next event is at a whole second.
    WholeSecond: |options| options.late,
    /// The next event has the timestamp of the last.
    Tie: |options| if options.ties { 4 } else { 0 },
    /// An event of a flow, a skill or an agent, with its frame.
    Dialog: |options| options.calm * 4,
    /// An event of a tool, a timed one, or another that tells how a turn was worked on.
    Work: |options| options.calm * 2,
    /// Later events come in Mantle's shape, or no longer do.
    Mantle: |options| options.calm,
    /// A flow event.
    Flow: |options| options.calm,
    /// A `stack` event that applies.
    Stack: |options| options.calm * 2,
    /// A `stack` event that may not apply.
    BadStack: |options| options.calm,
    /// A message with commands.
    Commands: |options| options.calm,
    /// `session_ended`, or another of the CALM types.
    End: |options| options.calm,
    /// Later events carry a new session id.
    NewId: |options| options.session_ids * 2,
    /// Later events carry a session id that was used before.
    OldId: |options| options.session_ids,
    /// Later events carry no session id.
    NoId: |options| options.session_ids,
    /// A message with its own session id.
    ForeignId: |options| options.session_ids,
    /// A start whose leading slot has another id than the rest.
    TwoIdStart: |options| options.session_ids,
    /// One event with an invalid session id, or one that is valid only in mode `any`.
    OddId: |options| options.session_ids,
    /// Later events carry an id that other senders use too.
    ClaimedId: |options| if options.claimed_ids { options.session_ids.max(1) } else { 0 },
    /// Later events carry this `user_id`, or none.
    EndUser: |_| 2,
    /// The environment changes.
    Environment: |_| 1,
    /// An event with fields of wrong types, or without fields.
    WrongTypes: |options| options.hostile,
    /// Texts and values that are hard to parse.
    OddTexts: |options| options.hostile,
    /// Texts, names and keys that exceed the width of their columns.
    LongTexts: |options| options.hostile,
    /// An unknown type.
    Unknown: |options| options.hostile,
    /// An event without a usable timestamp, in a record that has a time.
    Unplaced: |options| options.hostile,
    /// An earlier event again.
    Copy: |options| options.copies,
    /// An earlier event again, anonymised.
    Anonymised: |options| if options.anonymised { options.copies.max(1) } else { 0 },
    /// A record that is not an event.
    NoEvent: |options| options.no_events,
}

impl Kind {
    /// Returns the kind at `point` on the scale of all weights.
    fn at(options: &Options, point: u32) -> Self {
        let mut rest = point;
        for kind in Self::ALL {
            let weight = kind.weight(options);
            if rest < weight {
                return *kind;
            }
            rest -= weight;
        }
        Self::Message
    }

    fn total(options: &Options) -> u32 {
        Self::ALL.iter().map(|kind| kind.weight(options)).sum()
    }
}

/// Generates scripts from a seed.
pub(crate) fn seeded(options: &Options, seed: u64) -> Vec<Script> {
    let mut random = Random::new(seed);
    let total = Kind::total(options) as usize;
    let mut scripts = Vec::new();
    for _ in 0..1 + random.below(options.scripts) {
        let (sender, style) = (random.below(options.senders) as u8, random.below(4) as u8);
        let mut steps = Vec::new();
        for _ in 0..1 + random.below(options.steps) {
            let kind = Kind::at(options, random.below(total) as u32);
            steps.push(Step { kind, detail: random.next() });
        }
        scripts.push(Script { sender, style, steps });
    }
    scripts
}

/// Generates scripts as a strategy of proptest. It shrinks by removing scripts and steps, and to
/// simpler steps.
pub fn scripts(options: &Options) -> impl Strategy<Value = Vec<Script>> + use<> {
    let options = options.clone();
    let (most_scripts, most_steps) = (options.scripts.max(1), options.steps.max(1));
    let senders = options.senders.clamp(1, 255) as u8;
    let step = (0..Kind::total(&options), any::<u64>())
        .prop_map(move |(point, detail)| Step { kind: Kind::at(&options, point), detail });
    let script = (0..senders, 0..4_u8, prop::collection::vec(step, 1..=most_steps))
        .prop_map(|(sender, style, steps)| Script { sender, style, steps });
    prop::collection::vec(script, 1..=most_scripts)
}

//! Holds the patterns with which markers are evaluated, and the times for which they hold.
//!
//! Patterns change while events arrive. Each change has a number, the *revision*. Marker rows are
//! made as of a revision, and each pattern has a scope in time as of that revision:
//!
//! ```text
//! revision 1: pattern P from 100 on
//! revision 2: pattern P from 100 until 200, pattern Q from 200 on
//!
//! u1: hi at 150, hi at 250, rows as of 2  -> P may apply at 150, Q at 250
//! u1: late slot at 180, rows as of 2      -> P may apply at 180, although Q replaced it
//! ```
//!
//! A session's state serves only patterns that have seen all of the session's events. If an event
//! needs a pattern that has not, a replay from the session's first event is needed.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use turnmill_markers::{Compatibility, Node, PatternId, Program, State};
use turnmill_model::Micros;
use uuid::Uuid;

/// Combines a condition with the times for which it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    /// Its id: `rasa_patterns.id`.
    pub id: Uuid,
    /// The condition.
    pub config: Node,
    /// The scopes that it was given, by ascending revision. The last one counts.
    pub scopes: Vec<Scope>,
}

/// Limits a pattern to events from `from` on and before `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The revision of the patterns from which on this scope counts.
    pub revision: u64,
    /// The first time; `None` for all history.
    pub from: Option<Micros>,
    /// The time before which it ends; `None` if it goes on.
    pub until: Option<Micros>,
}

impl Scope {
    fn holds(&self, time: i64) -> bool {
        self.from.is_none_or(|from| from.0 <= time) && self.goes_on(time)
    }

    fn goes_on(&self, time: i64) -> bool {
        self.until.is_none_or(|until| time < until.0)
    }
}

impl Pattern {
    /// Returns its scope as of a revision, or `None` before it was uploaded.
    fn scope(&self, revision: u64) -> Option<&Scope> {
        self.scopes.iter().rev().find(|scope| scope.revision <= revision)
    }
}

/// Holds all patterns that ever held, as of a revision.
///
/// Marker rows are a function of the events and these patterns. A pattern that was replaced or
/// removed still holds for the events of its time, so that late events among them are treated
/// alike.
///
/// A sender's timeline holds the revision with which its marker rows were made. If that is an older
/// one, the rows that differ are replaced when the sender's next event comes. A caller may do it
/// earlier with a [`Replay`](crate::Replay).
///
/// ```
/// use turnmill_engine::Patterns;
/// assert_eq!(Patterns::default().revision(), 0);
/// ```
#[derive(Default)]
pub struct Patterns {
    revision: u64,
    patterns: Vec<Pattern>,
    programs: Mutex<HashMap<Selection, Arc<Selected>>>,
}

impl fmt::Debug for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patterns")
            .field("revision", &self.revision)
            .field("patterns", &self.patterns)
            .finish()
    }
}

/// Selects the patterns of a session's state: those that exist as of one revision and that, as of
/// another one, go on in a span of time.
///
/// The ends of patterns cut time into spans. Inside a span the selection does not change, so one
/// program serves all events of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Selection {
    /// The pattern exists as of this revision.
    pub(crate) known: u64,
    /// The pattern goes on as of this revision.
    rows: u64,
    /// The number of ends of patterns, as of the revision `rows`, before the span.
    span: u32,
}

/// Holds a selection in compiled form.
#[derive(Debug)]
pub(crate) struct Selected {
    selection: Selection,
    /// The span, in microseconds.
    from: i64,
    to: i64,
    pub(crate) program: Program,
    /// The program's patterns, as indexes into all patterns.
    pub(crate) patterns: Vec<usize>,
}

/// Holds the state of the patterns in a session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Markers {
    /// Which patterns have seen all of the session's events.
    pub(crate) selection: Selection,
    pub(crate) state: State,
}

impl Patterns {
    /// Makes the patterns as of `revision`.
    #[must_use]
    pub fn new(revision: u64, patterns: Vec<Pattern>) -> Self {
        Self { revision, patterns, programs: Mutex::default() }
    }

    /// Returns the number of changes so far; 0 if there never was a pattern.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Returns the patterns.
    #[must_use]
    pub fn all(&self) -> &[Pattern] {
        &self.patterns
    }

    /// Returns the least event time for which these patterns hold differently than they did as of
    /// `revision`. Rows of senders without an event from there on are the same.
    ///
    /// Returns `None` if there is no such time, and the least possible time if all history differs.
    #[must_use]
    pub fn differ_since(&self, revision: u64) -> Option<Micros> {
        self.differ_from(revision, self.revision).map(Micros)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Returns the least event time for which the patterns as of the two revisions hold
    /// differently: `None` if there is no such time, `i64::MIN` if all history differs.
    pub(crate) fn differ_from(&self, old: u64, new: u64) -> Option<i64> {
        let least = |time: Option<Micros>| time.map_or(i64::MIN, |time| time.0);
        let most = |time: Option<Micros>| time.map_or(i64::MAX, |time| time.0);
        let differs = |pattern: &Pattern| match (pattern.scope(old), pattern.scope(new)) {
            (Some(old), Some(new)) if least(old.from) != least(new.from) => {
                Some(least(old.from).min(least(new.from)))
            }
            (Some(old), Some(new)) if old.until != new.until => Some(most(old.until).min(most(new.until))),
            (None, Some(scope)) | (Some(scope), None) => Some(least(scope.from)),
            (Some(_), Some(_)) | (None, None) => None,
        };
        self.patterns.iter().filter_map(differs).min()
    }

    /// Returns whether an event at `time` needs patterns that the session's state does not have, if
    /// rows are made as of the revision `rows`.
    ///
    /// `current` is the program that served last; if it is the state's own, none is looked up.
    ///
    /// ```text
    /// u1: start 10, hi 20 | Q holds from 30 on | bye 40     -> lacks Q, which has not seen `hi`
    /// u1: start 10, hi 20 | Q holds from 30 on | start 40   -> a new session, which knows Q
    /// ```
    pub(crate) fn lacks(
        &self,
        current: Option<&Selected>,
        markers: Option<&Markers>,
        rows: u64,
        time: i64,
    ) -> bool {
        let known = markers.map_or(0, |markers| markers.selection.known);
        let unseen = |pattern: &Pattern| {
            pattern.scope(known).is_none() && pattern.scope(rows).is_some_and(|scope| scope.holds(time))
        };
        (known < rows && self.patterns.iter().any(unseen))
            || markers.is_some_and(|markers| match current {
                Some(current) if current.selection == markers.selection => !current.fits(markers),
                _ => !self.selected(markers.selection).fits(markers),
            })
    }

    /// Returns the state of a new session, if rows are made as of the revision `rows`.
    pub(crate) fn start(&self, rows: u64, time: i64) -> Option<Box<Markers>> {
        (!self.is_empty()).then(|| self.start_knowing(rows, rows, time))
    }

    /// Returns the state of a session that began before there were patterns: it knows none.
    pub(crate) fn start_without(&self, rows: u64, time: i64) -> Box<Markers> {
        self.start_knowing(0, rows, time)
    }

    fn start_knowing(&self, known: u64, rows: u64, time: i64) -> Box<Markers> {
        let selection = self.select(known, rows, time);
        Box::new(Markers { selection, state: self.selected(selection).program.start() })
    }

    /// Returns the program for an event at `time`, and converts `markers` to it. `current` is the
    /// program that served last, and serves again while neither patterns nor span change.
    pub(crate) fn program<'c>(
        &self,
        current: &'c mut Option<Arc<Selected>>,
        markers: &mut Markers,
        rows: u64,
        time: i64,
    ) -> &'c Selected {
        let known = markers.selection.known;
        let serves = |selected: &Arc<Selected>| {
            let Selection { known: its, rows: of, .. } = selected.selection;
            its == known && of == rows && selected.from <= time && time < selected.to
        };
        let found = current.take().filter(serves);
        let selected = current.insert(found.unwrap_or_else(|| self.selected(self.select(known, rows, time))));
        if markers.selection != selected.selection {
            *markers = self.bring(markers, selected);
        }
        selected
    }

    /// Converts the state to a selection of fewer patterns, or of the same ones.
    fn bring(&self, markers: &Markers, to: &Selected) -> Markers {
        let former = self.selected(markers.selection);
        // The error is not reached: `lacks` has found that the state fits its program.
        let state = match to.program.adopt(&former.program, &markers.state) {
            Ok(adopted) => adopted.state,
            Err(_) => to.program.start(),
        };
        Markers { selection: to.selection, state }
    }

    /// Returns the id of a pattern, if it holds for events at `time` as of the revision `rows`.
    pub(crate) fn holds(&self, pattern: usize, rows: u64, time: i64) -> Option<Uuid> {
        let pattern = self.patterns.get(pattern)?;
        pattern.scope(rows).is_some_and(|scope| scope.holds(time)).then_some(pattern.id)
    }

    /// Returns whether two states of a session at `time` make no difference for what follows.
    ///
    /// They do not if they agree in the patterns that both know and that still go on. A pattern
    /// that one of them does not know was not needed by any later event of that session.
    pub(crate) fn agree(&self, one: Option<&Markers>, other: Option<&Markers>, time: i64) -> bool {
        // A session that was evaluated before there were patterns knows none.
        let (Some(one), Some(other)) = (one, other) else { return true };
        if one == other {
            return true;
        }
        if !self.selected(one.selection).fits(one) || !self.selected(other.selection).fits(other) {
            return false;
        }
        let known = one.selection.known.min(other.selection.known);
        let common = self.selected(self.select(known, self.revision, time));
        self.bring(one, &common).state == self.bring(other, &common).state
    }

    fn select(&self, known: u64, rows: u64, time: i64) -> Selection {
        let span = self.ends(rows).partition_point(|end| *end <= time);
        Selection { known, rows, span: u32::try_from(span).unwrap_or(u32::MAX) }
    }

    /// Returns the times at which patterns end, as of the revision `rows`, ascending and distinct.
    fn ends(&self, rows: u64) -> Vec<i64> {
        let end = |pattern: &Pattern| Some(pattern.scope(rows)?.until?.0);
        let mut ends: Vec<i64> = self.patterns.iter().filter_map(end).collect();
        ends.sort_unstable();
        ends.dedup();
        ends
    }

    fn selected(&self, selection: Selection) -> Arc<Selected> {
        let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        let selected = programs.entry(selection).or_insert_with(|| Arc::new(self.compile(selection)));
        Arc::clone(selected)
    }

    /// Compiles the patterns of a selection, and finds the span for which they serve.
    ///
    /// ```text
    /// ends 200, 300:   span 0 is before 200, span 1 is 200 to 299, span 2 is 300 and later
    /// ```
    fn compile(&self, selection: Selection) -> Selected {
        let Selection { known, rows, span } = selection;
        let (ends, span) = (self.ends(rows), span as usize);
        let from = span.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(i64::MIN);
        let to = ends.get(span).copied().unwrap_or(i64::MAX);
        let wanted = |pattern: &Pattern| {
            pattern.scope(known).is_some() && pattern.scope(rows).is_some_and(|scope| scope.goes_on(from))
        };
        let patterns: Vec<usize> =
            self.patterns.iter().enumerate().filter(|(_, pattern)| wanted(pattern)).map(|(i, _)| i).collect();
        let sources: Vec<_> = patterns
            .iter()
            .filter_map(|index| self.patterns.get(*index))
            .map(|pattern| turnmill_markers::Pattern {
                id: PatternId(*pattern.id.as_bytes()),
                config: &pattern.config,
            })
            .collect();
        let program = Program::compile(&sources, Compatibility::Documented);
        Selected { selection, from, to, program, patterns }
    }
}

impl Selected {
    fn fits(&self, markers: &Markers) -> bool {
        self.program.fits(&markers.state)
    }
}

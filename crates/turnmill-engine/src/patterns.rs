//! The patterns that markers are evaluated with, and the times for which they hold.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use turnmill_markers::{Compatibility, Node, PatternId, Program, State};
use turnmill_model::Micros;
use uuid::Uuid;

/// A pattern: a condition with the times for which it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    /// Its id: `rasa_patterns.id`.
    pub id: Uuid,
    /// The condition.
    pub config: Node,
    /// The scopes that it was given, by ascending revision; the last one counts.
    pub scopes: Vec<Scope>,
}

/// The times for which a pattern holds: events from `from` on and before `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The revision of the patterns from which on this is so.
    pub revision: u64,
    /// The first time; none: all history.
    pub from: Option<Micros>,
    /// The time before which it ends; none: it goes on.
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
    /// Its scope as of a revision; none before it was uploaded.
    fn scope(&self, revision: u64) -> Option<&Scope> {
        self.scopes.iter().rev().find(|scope| scope.revision <= revision)
    }
}

/// All patterns that ever held, as of a revision.
///
/// Marker rows are a function of the events and these. A pattern that was replaced or removed still holds for the events of its
/// time, so that late ones among them are treated alike. A sender's timeline says with which revision its rows were made; if
/// that is an older one, the rows that differ are made up for when the sender's next event comes, or by whoever asks for it.
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

/// Which patterns a session's state is about: those that there were as of one revision and that, as of another one, go on in
/// a span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Selection {
    /// There was the pattern as of this revision.
    pub(crate) known: u64,
    /// It goes on as of this revision.
    rows: u64,
    /// Number of ends of patterns, as of the revision `rows`, before the span.
    span: u32,
}

/// A selection, compiled.
#[derive(Debug)]
pub(crate) struct Selected {
    selection: Selection,
    /// The span, in microseconds.
    from: i64,
    to: i64,
    pub(crate) program: Program,
    /// The program's patterns.
    pub(crate) patterns: Vec<usize>,
}

/// Where the patterns stand in a session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Markers {
    /// Which patterns have seen all of the session's events.
    pub(crate) selection: Selection,
    pub(crate) state: State,
}

impl Patterns {
    /// The patterns as of `revision`.
    #[must_use]
    pub fn new(revision: u64, patterns: Vec<Pattern>) -> Self {
        Self { revision, patterns, programs: Mutex::default() }
    }

    /// Number of changes so far; 0 if there never was a pattern.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The patterns.
    #[must_use]
    pub fn all(&self) -> &[Pattern] {
        &self.patterns
    }

    /// The least event time for which these patterns hold differently than they did as of `revision`; none if there is no
    /// such time, the least possible time if that is all history. Rows of senders without an event from there on are the same.
    #[must_use]
    pub fn differ_since(&self, revision: u64) -> Option<Micros> {
        self.differ_from(revision, self.revision).map(Micros)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The least event time for which the patterns as of the two revisions hold differently; none if there is no such time,
    /// `i64::MIN` if that is all history.
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

    /// Whether an event at `time` needs patterns that the session's state does not have, if rows are made as of the revision
    /// `rows`.
    /// `current` is the program that served last, which saves looking for the state's.
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

    /// The state of a new session, if rows are made as of the revision `rows`.
    pub(crate) fn start(&self, rows: u64, time: i64) -> Option<Box<Markers>> {
        (!self.is_empty()).then(|| self.start_knowing(rows, rows, time))
    }

    /// The state of a session that began before there were patterns: it knows none.
    pub(crate) fn start_without(&self, rows: u64, time: i64) -> Box<Markers> {
        self.start_knowing(0, rows, time)
    }

    fn start_knowing(&self, known: u64, rows: u64, time: i64) -> Box<Markers> {
        let selection = self.select(known, rows, time);
        Box::new(Markers { selection, state: self.selected(selection).program.start() })
    }

    /// The program for an event at `time`, to which `markers` is brought. `current` is the one that served last.
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

    /// The state for a selection of fewer patterns, or the same ones.
    fn bring(&self, markers: &Markers, to: &Selected) -> Markers {
        let former = self.selected(markers.selection);
        // The state fits: see `lacks`.
        let state = match to.program.adopt(&former.program, &markers.state) {
            Ok(adopted) => adopted.state,
            Err(_) => to.program.start(),
        };
        Markers { selection: to.selection, state }
    }

    /// Id of a pattern, if it holds for events at `time` as of the revision `rows`.
    pub(crate) fn holds(&self, pattern: usize, rows: u64, time: i64) -> Option<Uuid> {
        let pattern = self.patterns.get(pattern)?;
        pattern.scope(rows).is_some_and(|scope| scope.holds(time)).then_some(pattern.id)
    }

    /// Whether two states of a session at `time` make no difference for what follows: they agree in the patterns that both
    /// know and that still go on. What one of them does not know, no later event of that session has asked for.
    pub(crate) fn agree(&self, one: Option<&Markers>, other: Option<&Markers>, time: i64) -> bool {
        // What was evaluated before there were patterns knows none.
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

    /// When patterns end, as of the revision `rows`.
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

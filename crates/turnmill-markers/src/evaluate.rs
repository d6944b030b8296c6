//! The batch evaluator: the work of `rasa evaluate markers` over whole conversations, and its
//! files.
//!
//! A session begins at each `action_session_start`. Events before the first one are in no session,
//! but count for the indices of events. Conversations come in the caller's order; Rasa sorts them
//! by sender id.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::ops::Range;

use crate::compile::Program;
use crate::event::MarkerEvent;
use crate::state::{ForeignState, State};

/// Results of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionResults {
    /// The session's index in its conversation, from 0.
    pub session_idx: usize,
    /// Sorted by marker, then by event.
    pub results: Vec<MarkerResult>,
}

/// One application of a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MarkerResult {
    /// The marker's index in the program.
    pub marker: usize,
    /// The event's index in the whole conversation, from 0.
    pub event_idx: usize,
    /// Number of `user` events of the session before it.
    pub num_preceding_user_turns: u32,
}

/// Returns the sessions of a conversation as ranges of its events. A conversation without events
/// has none.
#[must_use]
pub fn sessions(events: &[MarkerEvent<'_>]) -> Vec<Range<usize>> {
    let is_start = |event: &MarkerEvent<'_>| *event == MarkerEvent::Action { name: "action_session_start" };
    let mut starts: Vec<usize> = (0..).zip(events).filter(|(_, e)| is_start(e)).map(|(at, _)| at).collect();
    if starts.is_empty() && !events.is_empty() {
        starts.push(0);
    }
    let ends = starts.iter().skip(1).copied().chain([events.len()]);
    starts.iter().zip(ends).map(|(start, end)| *start..end).collect()
}

/// An evaluation of several conversations.
///
/// It keeps its state between them, because Rasa 3.6.21 continues sequences in the next
/// conversation.
#[derive(Clone, Debug)]
pub struct Evaluator<'p> {
    program: &'p Program,
    state: State,
    results: SessionResults,
}

impl<'p> Evaluator<'p> {
    /// Starts an evaluation.
    #[must_use]
    pub fn new(program: &'p Program) -> Self {
        Evaluator { program, state: program.start(), results: SessionResults::default() }
    }

    /// Evaluates the next conversation. Calls `each` for every session, also for those without
    /// results.
    ///
    /// # Errors
    ///
    /// Errors that `each` returns. There are no others, because the state is the program's.
    pub fn conversation<E: From<ForeignState>>(
        &mut self,
        events: &[MarkerEvent<'_>],
        mut each: impl FnMut(&SessionResults) -> Result<(), E>,
    ) -> Result<(), E> {
        for (session_idx, range) in sessions(events).into_iter().enumerate() {
            self.program.next_session(&mut self.state)?;
            let SessionResults { session_idx: number, results } = &mut self.results;
            *number = session_idx;
            results.clear();
            for (event_idx, event) in range.clone().zip(events.get(range).unwrap_or_default()) {
                self.program.step(&mut self.state, *event, |hit| {
                    let (marker, num_preceding_user_turns) = (hit.pattern, hit.num_preceding_user_turns);
                    results.push(MarkerResult { marker, event_idx, num_preceding_user_turns });
                })?;
            }
            results.sort_unstable();
            each(&self.results)?;
        }
        Ok(())
    }
}

/// First line of the extraction file.
pub const EXTRACTION_HEADER: &str = "sender_id,session_idx,marker,event_idx,num_preceding_user_turns\r\n";

/// First line of both files of statistics.
const STATISTICS_HEADER: &str = "sender_id,session_idx,marker,statistic,value\r\n";

/// Appends a session's rows of the extraction file. `names` has the markers' names by index.
pub fn write_extraction<N: AsRef<str>>(
    out: &mut String,
    sender_id: &str,
    names: &[N],
    session: &SessionResults,
) {
    for result in &session.results {
        let Some(name) = names.get(result.marker) else { continue };
        field(out, sender_id);
        number(out, session.session_idx);
        out.push(',');
        field(out, name.as_ref());
        number(out, result.event_idx);
        number(out, result.num_preceding_user_turns);
        out.push_str("\r\n");
    }
}

fn number(out: &mut String, number: impl Display) {
    // Writing to a string does not fail.
    let _ = write!(out, ",{number}");
}

/// Quotes a field only if necessary, as Python's `csv` does by default.
fn field(out: &mut String, text: &str) {
    if text.contains(['"', ',', '\r', '\n']) {
        out.push('"');
        out.push_str(&text.replace('"', "\"\""));
        out.push('"');
    } else {
        out.push_str(text);
    }
}

/// Numbers of preceding user turns, for count, mean, median, minimum and maximum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Turns {
    /// How often each number occurred.
    found: BTreeMap<u32, u64>,
}

impl Turns {
    fn count(&self) -> u64 {
        self.found.values().sum()
    }

    fn nth(&self, nth: u64) -> u32 {
        let mut passed = 0;
        let reaches = |(_, times): &(&u32, &u64)| {
            passed += **times;
            passed > nth
        };
        self.found.iter().find(reaches).map_or(0, |(number, _)| *number)
    }

    /// Returns all statistics with their names.
    fn all(&self) -> [(&'static str, String); 5] {
        let count = self.count();
        let Some((least, greatest)) = self.found.keys().next().zip(self.found.keys().next_back()) else {
            let nan = || "nan".to_owned();
            return [
                ("count", "0".to_owned()),
                ("mean", nan()),
                ("median", nan()),
                ("min", nan()),
                ("max", nan()),
            ];
        };
        let sum: u64 = self.found.iter().map(|(number, times)| u64::from(*number) * times).sum();
        let median = f64::midpoint(f64::from(self.nth((count - 1) / 2)), f64::from(self.nth(count / 2)));
        [
            ("count", count.to_string()),
            ("mean", rounded(sum as f64 / count as f64)),
            ("median", rounded(median)),
            ("min", least.to_string()),
            ("max", greatest.to_string()),
        ]
    }
}

/// Rounds to three decimals as NumPy does, and formats as Python prints.
fn rounded(value: f64) -> String {
    format!("{:?}", (value * 1000.0).round_ties_even() / 1000.0)
}

/// Rasa's statistics over the sessions of an evaluation.
#[derive(Clone, Debug, Default)]
pub struct Statistics {
    names: Vec<String>,
    sessions: Vec<(String, usize)>,
    per_session: Vec<Vec<Turns>>,
    overall: Vec<Turns>,
    applied: Vec<usize>,
}

impl Statistics {
    /// Starts counting. `names` has the markers' names by index.
    pub fn new<N: AsRef<str>>(names: &[N]) -> Self {
        let names: Vec<_> = names.iter().map(|name| name.as_ref().to_owned()).collect();
        Statistics {
            overall: vec![Turns::default(); names.len()],
            per_session: vec![Vec::new(); names.len()],
            applied: vec![0; names.len()],
            names,
            sessions: Vec::new(),
        }
    }

    /// Adds a session.
    pub fn add(&mut self, sender_id: &str, session: &SessionResults) {
        self.sessions.push((sender_id.to_owned(), session.session_idx));
        let mut results = session.results.as_slice();
        let each = self.overall.iter_mut().zip(&mut self.per_session).zip(&mut self.applied);
        for (marker, ((overall, per_session), applied)) in each.enumerate() {
            let own = results.iter().take_while(|result| result.marker == marker).count();
            let (now, later) = results.split_at(own);
            results = later;
            let mut turns = Turns::default();
            for result in now {
                *turns.found.entry(result.num_preceding_user_turns).or_default() += 1;
                *overall.found.entry(result.num_preceding_user_turns).or_default() += 1;
            }
            *applied += usize::from(!now.is_empty());
            per_session.push(turns);
        }
    }

    /// Returns the number of sessions so far.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Returns the markers sorted by name, as in both files; none before the first session.
    fn sorted(&self) -> Vec<usize> {
        let mut order: Vec<usize> =
            if self.sessions.is_empty() { Vec::new() } else { (0..self.names.len()).collect() };
        order.sort_by_key(|marker| self.names.get(*marker));
        order
    }

    /// Returns the file of statistics over all sessions.
    #[must_use]
    pub fn overall_csv(&self) -> String {
        let mut out = STATISTICS_HEADER.to_owned();
        let mut row = |marker: &str, statistic: &str, value: &str| {
            out.push_str("all,nan,");
            field(&mut out, marker);
            let _ = write!(out, ",{statistic},{value}\r\n");
        };
        row("-", "total_number_of_sessions", &self.sessions.len().to_string());
        let order = self.sorted();
        let named = || {
            let parts = |marker: &usize| {
                Some((self.names.get(*marker)?, self.applied.get(*marker)?, self.overall.get(*marker)?))
            };
            order.iter().filter_map(parts)
        };
        for (name, applied, _) in named() {
            row(name, "number_of_sessions_where_marker_applied_at_least_once", &applied.to_string());
            let share = rounded(*applied as f64 / self.sessions.len() as f64 * 100.0);
            row(name, "percentage_of_sessions_where_marker_applied_at_least_once", &share);
        }
        for (name, _, overall) in named() {
            for (statistic, value) in overall.all() {
                row(name, &format!("{statistic}(number of preceding user turns)"), &value);
            }
        }
        out
    }

    /// Returns the file of statistics by session.
    #[must_use]
    pub fn per_session_csv(&self) -> String {
        let mut out = STATISTICS_HEADER.to_owned();
        for marker in self.sorted() {
            let Some((name, sessions)) = self.names.get(marker).zip(self.per_session.get(marker)) else {
                continue;
            };
            let values: Vec<_> = sessions.iter().map(Turns::all).collect();
            // Rasa writes them in this order here, and in another one over all sessions.
            for statistic in ["count", "max", "mean", "median", "min"] {
                for ((sender_id, session_idx), values) in self.sessions.iter().zip(&values) {
                    let Some((_, value)) = values.iter().find(|(name, _)| *name == statistic) else {
                        continue;
                    };
                    field(&mut out, sender_id);
                    number(&mut out, session_idx);
                    out.push(',');
                    field(&mut out, name);
                    let _ = write!(out, ",{statistic}(number of preceding user turns),{value}\r\n");
                }
            }
        }
        out
    }
}

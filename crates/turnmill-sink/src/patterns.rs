//! The patterns of a store: what was uploaded, when, and for which event times it holds.
//!
//! All changes are functions from one [`PatternSet`] to the next. A store only keeps the result. A
//! pattern is never removed: it still holds for the events of its time.

use std::collections::BTreeSet;

use turnmill_engine::{Pattern, Patterns, Scope};
use turnmill_markers::{MarkerSet, Node};
use turnmill_model::{IdentityDigest, Micros};
use uuid::Uuid;

use crate::StoreError;

/// All patterns of a store, as of one revision.
///
/// ```
/// use turnmill_markers::{MarkerSet, SourceFile};
/// use turnmill_model::Micros;
/// use turnmill_sink::PatternSet;
///
/// let file = SourceFile::new("markers.yml", &b"greeted: {intent: greet}"[..]);
/// let (markers, _) = MarkerSet::parse(&[file]).map_err(|mut errors| errors.remove(0))?;
/// let set = PatternSet::default().upload(&markers, Micros(1_700_000_000_000_000), true).unwrap();
/// assert_eq!((set.revision, set.active().count()), (1, 1));
/// assert_eq!(set.upload(&markers, Micros(1_800_000_000_000_000), true), None, "nothing has changed");
/// # Ok::<(), turnmill_markers::Diagnostic>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PatternSet {
    /// Number of changes so far.
    pub revision: u64,
    /// The patterns, in the order in which they were uploaded.
    pub patterns: Vec<StoredPattern>,
}

/// One pattern: a row of `rasa_patterns`, and its scopes.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredPattern {
    /// Primary key.
    pub id: Uuid,
    /// The marker's name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The condition, as compact JSON.
    pub config: String,
    /// Whether it is in force: neither replaced nor removed.
    pub is_active: bool,
    /// Wall-clock time of the upload.
    pub created_at: Micros,
    /// Wall-clock time of the last change.
    pub updated_at: Micros,
    /// Its scopes, by ascending revision.
    pub scopes: Vec<Scope>,
}

impl StoredPattern {
    fn scope(&self) -> Option<&Scope> {
        self.scopes.last()
    }

    /// Returns the event time from which on it holds; `None`: all history.
    #[must_use]
    pub fn effective_from(&self) -> Option<Micros> {
        self.scope()?.from
    }

    /// Returns the event time at which it ends; `None`: it does not end.
    #[must_use]
    pub fn effective_until(&self) -> Option<Micros> {
        self.scope()?.until
    }

    fn end(&mut self, revision: u64, at: Micros) {
        let from = self.effective_from();
        self.is_active = false;
        self.updated_at = at;
        self.scopes.push(Scope { revision, from, until: Some(at) });
    }
}

impl PatternSet {
    /// Returns the active patterns.
    pub fn active(&self) -> impl Iterator<Item = &StoredPattern> {
        self.patterns.iter().filter(|pattern| pattern.is_active)
    }

    /// Returns the active pattern called `name`.
    #[must_use]
    pub fn called(&self, name: &str) -> Option<&StoredPattern> {
        self.active().find(|pattern| pattern.name == name)
    }

    /// Returns the set after an upload of `markers` at the time `at`, or `None` if nothing changes.
    /// From then on, they are the only active patterns. New and changed ones hold from `at` on; in
    /// an empty store (`has_events` is false) they hold for all history.
    ///
    /// ```text
    /// active:   a, b          upload: b (other condition), c
    /// result:   a and the old b end at `at`; the new b and c begin there
    /// ```
    #[must_use]
    pub fn upload(&self, markers: &MarkerSet, at: Micros, has_events: bool) -> Option<Self> {
        let mut next = self.clone();
        next.revision += 1;
        let revision = next.revision;
        let mut changed = false;
        let wanted: BTreeSet<&str> = markers.markers().iter().map(|marker| marker.name.as_str()).collect();
        for pattern in next.patterns.iter_mut().filter(|pattern| pattern.is_active) {
            if !wanted.contains(pattern.name.as_str()) {
                pattern.end(revision, at);
                changed = true;
            }
        }
        for marker in markers.markers() {
            let config = marker.config.to_string();
            let present =
                next.patterns.iter_mut().find(|pattern| pattern.is_active && pattern.name == marker.name);
            match present {
                Some(present) if present.config == config && present.description == marker.description => {
                    continue;
                }
                Some(present) if present.config == config => {
                    present.description.clone_from(&marker.description);
                    present.updated_at = at;
                    changed = true;
                    continue;
                }
                Some(present) => present.end(revision, at),
                None => {}
            }
            changed = true;
            let before = next.patterns.iter().filter(|pattern| pattern.name == marker.name).count();
            let id = IdentityDigest::new("pattern").text(&marker.name).text(&config).number(before as u64);
            next.patterns.push(StoredPattern {
                id: id.uuid(None),
                name: marker.name.clone(),
                description: marker.description.clone(),
                config,
                is_active: true,
                created_at: at,
                updated_at: at,
                scopes: vec![Scope { revision, from: has_events.then_some(at), until: None }],
            });
        }
        changed.then_some(next)
    }

    /// Returns the set after the pattern `id` was removed at the time `at`, or `None` if it is not
    /// active.
    #[must_use]
    pub fn remove(&self, id: Uuid, at: Micros) -> Option<Self> {
        let mut next = self.clone();
        next.revision += 1;
        let revision = next.revision;
        let pattern = next.patterns.iter_mut().find(|pattern| pattern.is_active && pattern.id == id)?;
        pattern.end(revision, at);
        Some(next)
    }

    /// Returns the set with the active patterns `ids` holding for all history, or `None` if they do
    /// already.
    #[must_use]
    pub fn backfill(&self, ids: &[Uuid]) -> Option<Self> {
        let mut next = self.clone();
        next.revision += 1;
        let revision = next.revision;
        let mut changed = false;
        for pattern in &mut next.patterns {
            if pattern.is_active && ids.contains(&pattern.id) && pattern.effective_from().is_some() {
                pattern.scopes.push(Scope { revision, from: None, until: pattern.effective_until() });
                changed = true;
            }
        }
        changed.then_some(next)
    }

    /// Returns the patterns, ready for evaluation.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::Damaged`] if a stored configuration cannot be read.
    pub fn compile(&self) -> Result<Patterns, StoreError> {
        let compile = |pattern: &StoredPattern| {
            let config = Node::parse(&pattern.config).map_err(|error| StoreError::Damaged {
                detail: format!("the configuration of pattern {} (`{}`): {error}", pattern.id, pattern.name),
            })?;
            Ok(Pattern { id: pattern.id, config, scopes: pattern.scopes.clone() })
        };
        Ok(Patterns::new(
            self.revision,
            self.patterns.iter().map(compile).collect::<Result<_, StoreError>>()?,
        ))
    }
}

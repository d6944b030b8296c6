//! Builds the SQL of one query: the rows that the filters keep, cut into slices of time.
//!
//! Values are bound, never spliced. What several metrics mean alike is written here once: the time
//! and the filters of each counted kind, the endings of sessions, a missed turn.

use std::fmt::Write as _;

use turnmill_engine::OWN_SKILLS;
use turnmill_model::Micros;
use turnmill_sql::Dialect;

use crate::bucket::Bucket;
use turnmill_sql::views::LAST_RUN_DONE;

use crate::definitions::{HANDOVER_COMMAND, HANDOVER_FLOW, HANDOVER_PARTS};
use crate::question::{Cohort, During};
use crate::range::{Range, Span};
use crate::scope::{Scope, Slices};
use crate::value::{Query, Sum, Value};

/// Condition that `ext_session s` is a test: the source says it, or its bot is a draft.
pub(crate) const IS_TEST: &str = "(s.is_test OR coalesce(s.model_id, '') = 'DRAFT' \
     OR coalesce(substr(s.model_id, length(s.model_id) - 5), '') = ':DRAFT')";
/// Condition that `ext_session s` comes from an emulator of a channel.
pub(crate) const IS_EMULATED: &str = "(coalesce(s.channel, '') IN ('emulator', 'chatdown'))";

/// Source of the buckets in front of other tables. SQLite takes the tables of a CROSS JOIN in the
/// order written: first the few buckets, then the rows of each through an index.
const BUCKETS: &str = "bucket b CROSS JOIN ";
/// Names of counted columns inside of a query.
const NAMES: [&str; 4] = ["c1", "c2", "c3", "c4"];

/// The rows that a query counts.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    /// Expression of the slice's number, the first column of the query.
    pub(crate) slice: &'static str,
    /// Tables, with the buckets in front where there are any.
    pub(crate) from: String,
    /// Conditions of time and filters.
    pub(crate) kept: String,
}

impl Rows {
    /// Keeps only the rows for which a further condition holds.
    pub(crate) fn and(self, condition: &str) -> Self {
        Self { kept: format!("{}\n  AND {condition}", self.kept), ..self }
    }

    /// Joins further tables, unless `join` is empty.
    pub(crate) fn joined(self, join: &str) -> Self {
        let line = if join.is_empty() { "" } else { "\n" };
        Self { from: format!("{}{line}{join}", self.from), ..self }
    }
}

/// A query under construction.
#[derive(Debug)]
pub(crate) struct Draft<'s> {
    scope: &'s Scope,
    values: Vec<Value>,
    with: Vec<(&'static str, String)>,
}

impl<'s> Draft<'s> {
    pub(crate) fn new(scope: &'s Scope) -> Self {
        Self { scope, values: Vec::new(), with: Vec::new() }
    }

    /// Returns the dialect of the query.
    pub(crate) fn dialect(&self) -> Dialect {
        self.scope.dialect
    }

    /// Binds a value and returns its placeholder. In a template, returns the value as a literal.
    pub(crate) fn bind(&mut self, value: impl Into<Value>) -> String {
        let value = value.into();
        if self.scope.template.is_some() {
            return literal(&value);
        }
        self.values.push(value);
        self.scope.dialect.placeholder(self.values.len())
    }

    /// Returns a list of placeholders for `IN`. SQL has no empty lists; nothing equals NULL.
    pub(crate) fn list<'n>(&mut self, names: impl IntoIterator<Item = &'n String>) -> String {
        let bound: Vec<String> = names.into_iter().map(|name| self.bind(name.as_str())).collect();
        if bound.is_empty() { "(NULL)".into() } else { format!("({})", bound.join(", ")) }
    }

    /// Returns the condition that a column has one of these names, in which `*` is any text. Unlike
    /// names that are looked up in the store, this needs no list of the names that there are.
    fn fits_any(&mut self, column: &str, patterns: &[String]) -> String {
        let (patterns, names): (Vec<&String>, Vec<&String>) =
            patterns.iter().partition(|pattern| pattern.contains('*'));
        let mut either = vec![format!("{column} IN {}", self.list(names))];
        for pattern in patterns {
            let (operator, pattern) = match self.scope.dialect {
                Dialect::Sqlite => ("GLOB", pattern.replace('[', "[[]").replace('?', "[?]")),
                Dialect::Postgres => {
                    let escaped = pattern.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_");
                    ("LIKE", escaped.replace('*', "%"))
                }
            };
            either.push(format!("{column} {operator} {}", self.bind(pattern.as_str())));
        }
        format!("({})", either.join(" OR "))
    }

    /// Returns a list of the intents with which users ask for a human, for `IN`.
    pub(crate) fn handover_intents(&mut self) -> String {
        let Scope { template: Some(_), definitions, .. } = self.scope else {
            return self.list(&self.scope.handover_intents);
        };
        // A template knows no store, so the query looks the names up.
        let Some(patterns) = &definitions.handover_intents else {
            let plain = "lower(replace(replace(intent, '_', ''), '-', ''))";
            let parts = HANDOVER_PARTS.iter().map(|part| format!("{plain} LIKE '%{part}%'"));
            return format!("(SELECT intent FROM ext_turn WHERE {})", parts.collect::<Vec<_>>().join(" OR "));
        };
        names_like("ext_turn", "intent", patterns)
    }

    /// Returns a list of the responses of a fallback, for `IN`.
    fn fallback_responses(&mut self) -> String {
        match self.scope.template {
            Some(_) => names_like("ext_turn", "first_template", &self.scope.definitions.fallback_responses),
            None => self.list(&self.scope.fallback_responses),
        }
    }

    /// Returns the condition that a column has one of the channels asked for.
    fn channel(&mut self, column: &str) -> Option<String> {
        match self.scope.template {
            Some(template) => Some((template.channel)(column)),
            None => self.one_of(column, &self.scope.filters.channels),
        }
    }

    /// Returns the condition that a column has one of the values of a filter, where `None` is NULL.
    /// Empty if there is no filter.
    fn one_of(&mut self, column: &str, values: &[Option<String>]) -> Option<String> {
        if values.is_empty() {
            return None;
        }
        let names: Vec<&String> = values.iter().flatten().collect();
        let mut either = Vec::new();
        if !names.is_empty() {
            either.push(format!("{column} IN {}", self.list(names)));
        }
        if values.iter().any(Option::is_none) {
            either.push(format!("{column} IS NULL"));
        }
        Some(format!("({})", either.join(" OR ")))
    }

    /// Adds a common table expression, once.
    fn with(&mut self, name: &'static str, make: impl FnOnce(&mut Self) -> String) {
        if !self.with.iter().any(|(known, _)| *known == name) {
            let sql = make(self);
            self.with.push((name, sql));
        }
    }

    /// Returns the condition that a time is in the slice.
    pub(crate) fn in_slice(&mut self, time: &str) -> String {
        match &self.scope.slices {
            Slices::Buckets(_) | Slices::Table => format!("{time} >= b.lo AND {time} < b.hi"),
            Slices::Whole(span) => {
                let from = span.from.map(|from| format!("{time} >= {}", self.bind(from)));
                let to = span.to.map(|to| format!("{time} < {}", self.bind(to)));
                all(from.into_iter().chain(to))
            }
        }
    }

    /// Returns the slice's number, and the source of the buckets with a join, if there are any.
    fn slices(&mut self) -> (&'static str, &'static str) {
        match &self.scope.slices {
            Slices::Whole(_) => return ("0", ""),
            Slices::Buckets(ranges) => {
                let list = json_list(ranges);
                self.with("bucket", |draft| draft.recordset(list));
            }
            Slices::Table => {}
        }
        ("b.i", BUCKETS)
    }

    /// Returns the sessions, as `s`, in buckets `b` of a width that the metric chooses. `None` of a
    /// range without events.
    pub(crate) fn sessions_by(&mut self, bucket: Bucket) -> Option<Rows> {
        let scope = self.scope;
        let covered = scope.covered()?;
        let span = Span { from: Some(covered.from), to: Some(covered.to) };
        let list = bucket.list(span, scope.extent?, scope.zone).ok()?;
        let mut rows = self.sessions_in(&list);
        if scope.filters.during == During::Active {
            let time = "s.started_at < b.hi AND s.last_event_at >= b.lo".to_owned();
            rows.kept = all([time].into_iter().chain(self.session_filters()));
        }
        Some(rows)
    }

    /// Returns the messages with their turns, as `t`, in buckets as [`Self::sessions_by`] does.
    pub(crate) fn turns_by(&mut self, bucket: Bucket) -> Option<Rows> {
        let scope = self.scope;
        let covered = scope.covered()?;
        let span = Span { from: Some(covered.from), to: Some(covered.to) };
        let list = json_list(&bucket.list(span, scope.extent?, scope.zone).ok()?);
        self.with("bucket", |draft| draft.recordset(list));
        let time = "t.asked_at >= b.lo AND t.asked_at < b.hi".to_owned();
        let kept = all([time].into_iter().chain(self.turn_filters()));
        Some(Rows { slice: "b.i", from: "bucket b CROSS JOIN ext_turn t".into(), kept })
    }

    /// Returns the sessions, as `s`, that start in these ranges, which are `b`.
    pub(crate) fn sessions_in(&mut self, list: &[Range]) -> Rows {
        let list = json_list(list);
        self.with("bucket", |draft| draft.recordset(list));
        let time = "s.started_at >= b.lo AND s.started_at < b.hi".to_owned();
        let kept = all([time].into_iter().chain(self.session_filters()));
        Rows { slice: "b.i", from: "bucket b CROSS JOIN ext_session s".into(), kept }
    }

    /// Adds the last bot message of each session, as `last_message`.
    pub(crate) fn with_last_messages(&mut self) {
        self.with("last_message", |_| {
            // Found through the index of each session's messages: numbering all of them takes ten
            // times as long.
            "SELECT b.session_id, b.template_name, b.timestamp FROM ext_session s \
             JOIN rasa_bot_message b ON b.session_id = s.session_id AND b.sequence_number = (\
             SELECT max(m.sequence_number) FROM rasa_bot_message m WHERE m.session_id = s.session_id)"
                .into()
        });
    }

    /// Returns a query of the objects of a JSON list with a number `i` and the times `lo` and `hi`.
    fn recordset(&mut self, list: String) -> String {
        let list = self.bind(Value::Text(list));
        match self.scope.dialect {
            Dialect::Sqlite => format!(
                "SELECT value ->> 'i' AS i, value ->> 'lo' AS lo, value ->> 'hi' AS hi FROM json_each({list})"
            ),
            Dialect::Postgres => format!(
                "SELECT i, lo, hi FROM jsonb_to_recordset(CAST({list} AS jsonb)) \
                 AS l(i bigint, lo timestamp, hi timestamp)"
            ),
        }
    }

    /// Returns the sessions, as `s`, by their start.
    pub(crate) fn sessions(&mut self) -> Rows {
        let (slice, buckets) = self.slices();
        let time = self.session_in_slice();
        let kept = all([time].into_iter().chain(self.session_filters()));
        Rows { slice, from: format!("{buckets}ext_session s"), kept }
    }

    /// Returns the condition that `ext_session s` starts in the slice, or is active in it, as the
    /// filters say.
    fn session_in_slice(&mut self) -> String {
        if self.scope.filters.during == During::Started {
            return self.in_slice("s.started_at");
        }
        match &self.scope.slices {
            Slices::Buckets(_) | Slices::Table => "s.started_at < b.hi AND s.last_event_at >= b.lo".into(),
            Slices::Whole(span) => {
                let to = span.to.map(|to| format!("s.started_at < {}", self.bind(to)));
                let from = span.from.map(|from| format!("s.last_event_at >= {}", self.bind(from)));
                all(to.into_iter().chain(from))
            }
        }
    }

    /// Returns the sessions, as `s`, that begin before a time and are active at it.
    pub(crate) fn sessions_across(&mut self, time: Micros) -> Rows {
        let time = self.bind(time);
        let across = format!("s.started_at < {time} AND s.last_event_at >= {time}");
        let kept = all([across].into_iter().chain(self.session_filters()));
        Rows { slice: "-1", from: "ext_session s".into(), kept }
    }

    /// Returns the messages with their turns, as `t`, by the time of the message.
    pub(crate) fn turns(&mut self) -> Rows {
        let (slice, buckets) = self.slices();
        let time = self.in_slice("t.asked_at");
        let kept = all([time].into_iter().chain(self.turn_filters()));
        Rows { slice, from: format!("{buckets}ext_turn t"), kept }
    }

    /// Returns rows of another table, as `r`, by their own time.
    pub(crate) fn rows(&mut self, table: &str, time: &str) -> Rows {
        let (slice, buckets) = self.slices();
        let time = self.in_slice(time);
        let kept = all([time].into_iter().chain(self.session_of("r.session_id")));
        Rows { slice, from: format!("{buckets}{table} r"), kept }
    }

    /// Returns rows of a query, as `r`, by their own time, with the buckets after them: without an
    /// index each row has to be made once and not once for each bucket.
    pub(crate) fn rows_before_buckets(&mut self, query: &str, time: &str) -> Rows {
        let Rows { slice, from, kept } = self.rows(query, time);
        let from = match from.strip_prefix(BUCKETS) {
            Some(from) => format!("{from} CROSS JOIN bucket b"),
            None => from,
        };
        Rows { slice, from, kept }
    }

    /// Returns the senders, as `r`, by the time at which each was first seen. Filters keep those
    /// with a session that they keep.
    pub(crate) fn senders(&mut self) -> Rows {
        let (slice, buckets) = self.slices();
        let time = self.in_slice("r.first_seen");
        let filters = self.session_filters();
        let session = (!filters.is_empty())
            .then(|| format!("r.id IN (SELECT s.sender_id FROM ext_session s WHERE {})", all(filters)));
        let kept = all([time].into_iter().chain(session));
        Rows { slice, from: format!("{buckets}rasa_sender r"), kept }
    }

    /// Returns the condition that the filters keep a row's session, if there are filters.
    pub(crate) fn session_of(&mut self, column: &str) -> Option<String> {
        let filters = self.session_filters();
        (!filters.is_empty())
            .then(|| format!("{column} IN (SELECT s.session_id FROM ext_session s WHERE {})", all(filters)))
    }

    /// Returns the conditions of all filters on `ext_session s`, but for the time.
    fn session_filters(&mut self) -> Vec<String> {
        let filters = &self.scope.filters;
        let mut conditions: Vec<String> = [
            self.channel("s.channel"),
            self.one_of("s.environment", &filters.environments),
            self.one_of("s.model_id", &filters.models),
        ]
        .into_iter()
        .flatten()
        .collect();
        if let Some(intent) = self.one_of("i.intent", &filters.intents) {
            conditions.push(format!(
                "EXISTS (SELECT 1 FROM ext_turn i WHERE i.session_id = s.session_id AND {intent})"
            ));
        }
        conditions.extend(self.session_alone_filters());
        conditions
    }

    /// Returns the conditions on `ext_session s` of the filters that every kind takes from its
    /// session.
    fn session_alone_filters(&mut self) -> Vec<String> {
        let filters = &self.scope.filters;
        let mut conditions: Vec<String> = [
            self.one_of("s.assistant", &filters.assistants),
            self.one_of("s.locale", &filters.locales),
            self.one_of("s.source_system", &filters.source_systems),
        ]
        .into_iter()
        .flatten()
        .collect();
        if filters.exclude_tests {
            conditions.push(format!("NOT {IS_TEST} AND NOT {IS_EMULATED}"));
        }
        if !filters.cohorts.is_empty() {
            conditions.push(self.of_cohorts(&filters.cohorts));
        }
        if !filters.markers.is_empty() {
            let names = self.list(&filters.markers);
            conditions.push(format!(
                "s.session_id IN (SELECT m.session_id FROM rasa_markers m \
                 JOIN rasa_patterns p ON p.id = m.pattern_id WHERE p.name IN {names})"
            ));
        }
        if !filters.endings.is_empty() {
            let ending = self.ending();
            let names: Vec<String> = filters.endings.iter().map(|ending| ending.name().to_owned()).collect();
            conditions.push(format!("{ending} IN {}", self.list(&names)));
        }
        conditions
    }

    /// Returns the condition that the sender of `ext_session s` is in one of the sets. They may be
    /// large, so their keys are one bound JSON list.
    fn of_cohorts(&mut self, cohorts: &[Cohort]) -> String {
        let keys: Vec<&String> = cohorts.iter().flat_map(|cohort| &cohort.senders).collect();
        // Serialising a list of texts cannot fail.
        let keys = self.bind(Value::Text(serde_json::to_string(&keys).unwrap_or_default()));
        let keys = match self.scope.dialect {
            Dialect::Sqlite => format!("SELECT value FROM json_each({keys})"),
            Dialect::Postgres => format!("SELECT jsonb_array_elements_text(CAST({keys} AS jsonb))"),
        };
        format!("s.sender_id IN (SELECT c.id FROM rasa_sender c WHERE c.sender_key IN ({keys}))")
    }

    /// Returns the conditions of all filters on `ext_turn t`, but for the time.
    fn turn_filters(&mut self) -> Vec<String> {
        let filters = &self.scope.filters;
        let mut conditions: Vec<String> = [
            self.channel("t.channel"),
            self.one_of("t.environment", &filters.environments),
            self.one_of("t.model_id", &filters.models),
            self.one_of("t.intent", &filters.intents),
        ]
        .into_iter()
        .flatten()
        .collect();
        let session = self.session_alone_filters();
        if !session.is_empty() {
            conditions.push(format!(
                "t.session_id IN (SELECT s.session_id FROM ext_session s WHERE {})",
                all(session)
            ));
        }
        conditions
    }

    /// Returns the expression that counts the turns `t` of a group for which a condition holds,
    /// each as often as its row stands for turns of the source.
    pub(crate) fn count_turns(&self, condition: Option<&str>) -> String {
        self.counted("t.weight", condition)
    }

    /// Returns the expression that counts the bot messages `r` of a group, with their weights of
    /// [`Self::weights_of_messages`].
    pub(crate) fn count_messages(&self) -> String {
        self.counted("coalesce(w.weight, 1)", None)
    }

    /// Returns the join of the weights `w` of the messages `r`. Empty where nothing is sampled.
    pub(crate) fn weights_of_messages(&self) -> &'static str {
        if self.scope.is_sampled { "\nLEFT JOIN ext_message w ON w.event_id = r.id" } else { "" }
    }

    /// Returns the expression of a sum over turns `t`, weighed, as a whole number.
    pub(crate) fn sum_of_turns(&self, value: &str) -> String {
        if self.scope.is_sampled {
            self.whole(&format!("sum(t.weight * {value})"))
        } else {
            format!("CAST(sum({value}) AS bigint)")
        }
    }

    /// Returns the weight of a turn `t`, or 1 where nothing is sampled.
    pub(crate) fn weight_of_turn(&self) -> &'static str {
        if self.scope.is_sampled { "t.weight" } else { "1" }
    }

    fn counted(&self, weight: &str, condition: Option<&str>) -> String {
        match (self.scope.is_sampled, condition) {
            (false, None) => "count(*)".into(),
            (false, Some(condition)) => format!("count(CASE WHEN {condition} THEN 1 END)"),
            (true, None) => self.whole(&format!("sum({weight})")),
            (true, Some(condition)) => self.whole(&format!("sum(CASE WHEN {condition} THEN {weight} END)")),
        }
    }

    /// Returns the expression of a float rounded to a whole number, halves away from 0, and of 0
    /// for NULL. A rate of 1 in 3 has weights that are no whole numbers.
    fn whole(&self, float: &str) -> String {
        match self.scope.dialect {
            Dialect::Sqlite => format!("CAST(round(coalesce({float}, 0)) AS bigint)"),
            Dialect::Postgres => format!("CAST(round(CAST(coalesce({float}, 0) AS numeric)) AS bigint)"),
        }
    }

    /// Returns the condition that `ext_session s` is escalated.
    pub(crate) fn escalated(&mut self) -> &'static str {
        self.with("escalated", |draft| {
            let scope = draft.scope;
            let intents = draft.handover_intents();
            let mut parts = vec![format!("SELECT session_id FROM ext_turn WHERE intent IN {intents}")];
            parts.push(format!(
                "SELECT session_id FROM rasa_llm_command WHERE command = '{HANDOVER_COMMAND}'"
            ));
            parts.push(format!(
                "SELECT session_id FROM rasa_flow_status \
                 WHERE flow_identifier = '{HANDOVER_FLOW}' AND flow_status = 'started'"
            ));
            if !scope.definitions.handover_actions.is_empty() {
                let actions = draft.list(&scope.definitions.handover_actions);
                parts.push(format!("SELECT session_id FROM rasa_action WHERE name IN {actions}"));
            }
            if !scope.definitions.escalation_markers.is_empty() {
                let markers = draft.list(&scope.definitions.escalation_markers);
                parts.push(format!(
                    "SELECT m.session_id FROM rasa_markers m \
                     JOIN rasa_patterns p ON p.id = m.pattern_id WHERE p.name IN {markers}"
                ));
            }
            parts.join("\n  UNION ALL ")
        });
        "(s.is_handed_over OR s.session_id IN (SELECT session_id FROM escalated))"
    }

    /// Returns the condition that `ext_session s` is completed.
    pub(crate) fn completed(&mut self) -> &'static str {
        self.with("completed", |draft| {
            let scope = draft.scope;
            let mut sql = LAST_RUN_DONE.to_owned();
            if !scope.definitions.goal_markers.is_empty() {
                let markers = draft.list(&scope.definitions.goal_markers);
                sql.push_str(&format!(
                    "\n  UNION SELECT m.session_id FROM rasa_markers m \
                     JOIN rasa_patterns p ON p.id = m.pattern_id WHERE p.name IN {markers}"
                ));
            }
            sql
        });
        "(s.ended_by = 'explicit' OR coalesce(s.outcome, '') = 'success' \
          OR s.session_id IN (SELECT session_id FROM completed))"
    }

    /// Returns the condition that `ext_session s` is over.
    pub(crate) fn over(&mut self) -> String {
        let definitions = &self.scope.definitions;
        let idle_since = match self.scope.template {
            Some(_) => format!(
                "(SELECT max(last_seen) - interval '{} minutes' FROM rasa_sender)",
                definitions.idle_minutes
            ),
            None => self.bind(definitions.idle_since(self.scope.as_of)),
        };
        format!("(s.ended_by <> 'open' OR s.last_event_at <= {idle_since})")
    }

    /// Returns the expression of the ending of `ext_session s`.
    pub(crate) fn ending(&mut self) -> String {
        let over = self.over();
        let escalated = self.escalated();
        let completed = self.completed();
        let asked = self.fits_any("s.last_template", &self.scope.definitions.abandon_responses);
        format!(
            "CASE WHEN s.turns = 0 THEN 'unused' WHEN NOT {over} THEN 'open' \
             WHEN {escalated} THEN 'escalated' WHEN {completed} THEN 'finished' \
             WHEN {asked} OR s.open_loop IS NOT NULL OR s.outcome = 'dropped' \
             THEN 'abandoned' ELSE 'finished' END"
        )
    }

    /// Returns the condition that `ext_session s` is engaged.
    pub(crate) fn engaged(&mut self) -> String {
        let escalated = self.escalated();
        let greetings = self.list(&self.scope.definitions.greetings);
        let flow = flow_of_assistant("f.flow_identifier");
        // Most sessions need no look at their turns: their first intent is no greeting.
        format!(
            "({escalated} OR coalesce(s.first_intent NOT IN {greetings}, FALSE) OR EXISTS (SELECT 1 FROM ext_turn e WHERE e.session_id = s.session_id \
             AND (e.intent IS NULL OR e.intent NOT IN {greetings})) \
             OR s.session_id IN (SELECT f.session_id FROM rasa_flow_status f WHERE {flow}))"
        )
    }

    /// Returns the condition that the turn `t` is missed.
    pub(crate) fn missed(&mut self) -> String {
        let responses = self.fallback_responses();
        self.with("missed_message", |_| {
            "SELECT rt.id AS turn_id FROM ext_message e JOIN rasa_user_message m ON m.id = e.event_id \
             JOIN rasa_turn rt ON rt.session_id = m.session_id \
             AND rt.start_sequence_number = m.sequence_number WHERE e.is_missed"
                .into()
        });
        format!(
            "(t.default_fallback OR coalesce(t.first_template IN {responses}, FALSE) \
             OR t.turn_id IN (SELECT turn_id FROM missed_message))"
        )
    }

    /// Finishes a query that counts the rows of each slice: the number of the slice, then columns
    /// that are whole numbers or texts.
    pub(crate) fn totals(self, name: &'static str, rows: &Rows, columns: &[&str]) -> Query {
        let Rows { slice, from, kept } = rows;
        let (listed, count) = (columns.join(", "), columns.len());
        let sql = match (from.strip_prefix(BUCKETS), self.scope.dialect) {
            (None, _) => format!("SELECT {slice}, {listed}\nFROM {from}\nWHERE {kept}"),
            (Some(from), Dialect::Sqlite) => each_bucket(
                count,
                &format!("SELECT json_array(json_array({listed})) FROM {from}\nWHERE {kept}"),
            ),
            (Some(_), Dialect::Postgres) => {
                format!("SELECT {slice}, {listed}\nFROM {from}\nWHERE {kept}\nGROUP BY 1")
            }
        };
        self.per_slice(name, &sql)
    }

    /// Finishes a query that counts the rows of each slice by a group: the number of the slice, the
    /// group, then columns that are whole numbers.
    pub(crate) fn totals_by(self, name: &'static str, rows: &Rows, group: &str, columns: &[&str]) -> Query {
        let Rows { slice, from, kept } = rows;
        let listed = columns.join(", ");
        let sql = match (from.strip_prefix(BUCKETS), self.scope.dialect) {
            (Some(from), Dialect::Sqlite) => {
                let named: String =
                    columns.iter().zip(NAMES).map(|(column, name)| format!(", {column} AS {name}")).collect();
                let names: String = columns.iter().zip(NAMES).map(|(_, name)| format!(", {name}")).collect();
                each_bucket(
                    columns.len() + 1,
                    &format!(
                        "SELECT json_group_array(json_array(name{names})) FROM (\n\
                         SELECT {group} AS name{named} FROM {from}\nWHERE {kept}\nGROUP BY 1)"
                    ),
                )
            }
            _ => format!("SELECT {slice}, {group}, {listed}\nFROM {from}\nWHERE {kept}\nGROUP BY 1, 2"),
        };
        self.per_slice(name, &sql)
    }

    /// Finishes a query whose first column is the number of the slice.
    pub(crate) fn per_slice(self, name: &'static str, sql: &str) -> Query {
        self.finish(name, sql, true)
    }

    /// Finishes a query over the whole range.
    pub(crate) fn once(self, name: &'static str, sql: &str) -> Query {
        self.finish(name, sql, false)
    }

    /// Returns the hint of SQLite that makes the list of buckets once, where it is not the first
    /// table. Its JSON would be read for each row.
    fn hint(&self, with: &str) -> &'static str {
        if with == "bucket" && self.scope.dialect == Dialect::Sqlite { "MATERIALIZED " } else { "" }
    }

    fn finish(self, name: &'static str, sql: &str, per_slice: bool) -> Query {
        let mut text = String::new();
        for (number, (with, query)) in self.with.iter().enumerate() {
            let begin = if number == 0 { "WITH" } else { ",\n" };
            // Writing to a text cannot fail.
            let _ = write!(text, "{begin} {with} AS {}(\n  {query}\n)", self.hint(with));
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(sql);
        Query { name, sql: text, values: self.values, per_slice, parts: Vec::new(), sum: None }
    }

    /// Returns the source of the sums and percentiles of a whole number over rows. PostgreSQL makes
    /// them, SQLite gives the values as a JSON list and this crate does. `groups` are further
    /// columns.
    pub(crate) fn distribution(
        self,
        name: &'static str,
        rows: &Rows,
        groups: &[&str],
        value: &str,
        condition: &str,
    ) -> Query {
        let Rows { slice, from, kept } = rows;
        let columns: String = groups.iter().map(|group| format!("{group} AS {}, ", alias(group))).collect();
        let names: String = groups.iter().map(|group| format!(", {}", alias(group))).collect();
        let sql = match self.scope.dialect {
            Dialect::Sqlite if groups.is_empty() => {
                let list = format!("json_group_array({value})");
                let kept = format!("{kept}\n  AND {condition} AND {value} IS NOT NULL");
                let sql = match from.strip_prefix(BUCKETS) {
                    Some(from) => {
                        format!("SELECT b.i, (SELECT {list} FROM {from}\nWHERE {kept})\nFROM bucket b")
                    }
                    None => format!("SELECT {slice}, {list}\nFROM {from}\nWHERE {kept}"),
                };
                // Nothing is lost by taking percentiles of all lists together.
                return Query { sum: Some(Sum::Values), ..self.per_slice(name, &sql) };
            }
            Dialect::Sqlite => format!(
                "SELECT slice{names}, json_group_array(value) FROM (\n\
                 SELECT {slice} AS slice, {columns}{value} AS value FROM {from}\n\
                 WHERE {kept} AND {condition}) v\nWHERE value IS NOT NULL GROUP BY slice{names}"
            ),
            Dialect::Postgres => format!(
                "SELECT slice{names}, n, total, p[1], p[2], p[3], p[4] FROM (\n\
                 SELECT slice{names}, count(value) AS n, CAST(sum(value) AS bigint) AS total,\n\
                 percentile_cont(ARRAY[0.5, 0.9, 0.95, 0.99]) WITHIN GROUP (ORDER BY value) AS p FROM (\n\
                 SELECT {slice} AS slice, {columns}{value} AS value FROM {from}\n\
                 WHERE {kept} AND {condition}) v\nWHERE value IS NOT NULL GROUP BY slice{names}) q"
            ),
        };
        self.per_slice(name, &sql)
    }

    /// Returns a histogram of a whole number: the number of rows in each bin between `bounds`, as
    /// (slice, bin, count). Each row counts as often as its weight says.
    pub(crate) fn histogram(
        self,
        name: &'static str,
        rows: &Rows,
        value: &str,
        weight: &str,
        condition: &str,
        bounds: &[i64],
    ) -> Query {
        let Rows { slice, from, kept } = rows;
        let mut bin = String::from("CASE");
        for (number, bound) in bounds.iter().enumerate() {
            // Writing to a text cannot fail.
            let _ = write!(bin, " WHEN value < {bound} THEN {number}");
        }
        let (column, count) = match weight {
            "1" => (String::new(), "count(*)".to_owned()),
            weight => (format!(", {weight} AS weight"), self.whole("sum(weight)")),
        };
        let sql = format!(
            "SELECT slice, {bin} ELSE {last} END AS bin, {count} FROM (\n\
             SELECT {slice} AS slice, {value} AS value{column} FROM {from}\nWHERE {kept} AND {condition}) v\n\
             WHERE value IS NOT NULL GROUP BY 1, 2",
            last = bounds.len()
        );
        self.per_slice(name, &sql)
    }

    /// Returns the expression of the microseconds between two times.
    pub(crate) fn micros_between(&self, from: &str, to: &str) -> String {
        self.scope.dialect.micros_between(from, to)
    }

    /// Returns the expression of a time a whole number of days later.
    pub(crate) fn days_later(&self, time: &str, days: u32) -> String {
        match self.scope.dialect {
            Dialect::Sqlite => format!("(date(substr({time}, 1, 10), '+{days} days') || substr({time}, 11))"),
            Dialect::Postgres => format!("({time} + interval '{days} days')"),
        }
    }

    /// Returns the month of a time in UTC, as `YYYY-MM`.
    pub(crate) fn month(&self, time: &str) -> String {
        match self.scope.dialect {
            Dialect::Sqlite => format!("substr({time}, 1, 7)"),
            Dialect::Postgres => format!("to_char({time}, 'YYYY-MM')"),
        }
    }

    /// Returns a time of the scope, bound.
    pub(crate) fn bind_time(&mut self, time: Micros) -> String {
        self.bind(time)
    }
}

/// Joins the user message `m` of each turn `t`.
pub(crate) const MESSAGE_OF_TURN: &str = "\nJOIN rasa_turn rt ON rt.id = t.turn_id\n\
     JOIN rasa_user_message m ON m.session_id = rt.session_id AND m.sequence_number = rt.start_sequence_number";

/// Returns the query of SQLite that runs `counted` for each bucket and takes its JSON lists of
/// `count` columns apart.
///
/// One query with GROUP BY would sort all rows by the number of their bucket, because SQLite cannot
/// know that they come in this order. That takes ten times as long as counting them.
fn each_bucket(count: usize, counted: &str) -> String {
    let columns: String = (0..count).map(|number| format!(", e.value ->> {number}")).collect();
    format!("SELECT b.i{columns}\nFROM bucket b, json_each((\n{counted})) e")
}

/// Returns a value as text in PostgreSQL's dialect.
fn literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".into(),
        Value::Text(text) => quoted_text(text),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => format!("CAST({number:?} AS double precision)"),
        Value::Boolean(truth) => truth.to_string(),
        Value::Time(time) => format!("CAST('{time}' AS timestamp)"),
    }
}

fn quoted_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Returns the names in a column that fit a pattern, as a list for `IN`. `*` is any text.
fn names_like(table: &str, column: &str, patterns: &[String]) -> String {
    let like = |pattern: &String| {
        let escaped = pattern.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        format!("{column} LIKE {}", quoted_text(&escaped.replace('*', "%")))
    };
    let any: Vec<String> = patterns.iter().map(like).collect();
    let any = if any.is_empty() { "FALSE".into() } else { any.join(" OR ") };
    format!("(SELECT {column} FROM {table} WHERE {any})")
}

/// Returns ranges as a JSON list for [`Draft::recordset`].
fn json_list(ranges: &[Range]) -> String {
    let objects = ranges
        .iter()
        .enumerate()
        .map(|(number, range)| format!(r#"{{"i":{number},"lo":"{}","hi":"{}"}}"#, range.from, range.to));
    format!("[{}]", objects.collect::<Vec<_>>().join(","))
}

/// Joins conditions. No conditions are true.
pub(crate) fn all(conditions: impl IntoIterator<Item = String>) -> String {
    let conditions: Vec<String> = conditions.into_iter().filter(|condition| !condition.is_empty()).collect();
    if conditions.is_empty() { "TRUE".into() } else { conditions.join("\n  AND ") }
}

/// Returns the condition that a flow is one of the assistant's own, not a pattern.
pub(crate) fn flow_of_assistant(column: &str) -> String {
    let own: Vec<String> = OWN_SKILLS.iter().map(|name| format!("'{name}'")).collect();
    format!("substr({column}, 1, 8) <> 'pattern_' AND {column} NOT IN ({})", own.join(", "))
}

/// Returns the name of a column without its table.
fn alias(column: &str) -> &str {
    column.rsplit_once('.').map_or(column, |(_, name)| name)
}

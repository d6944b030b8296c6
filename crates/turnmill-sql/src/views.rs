//! The views `turnmill_*` for people and their tools: sessions, turns, messages, slots and markers
//! with times that have a zone, durations in seconds, and names instead of ids.
//!
//! They show the tables and add nothing. What depends on lists that a user may choose (which
//! intents ask for a human, after which responses a session counts as abandoned) has the default
//! lists here. Metrics can be asked with others.
//!
//! ```
//! use turnmill_sql::{Dialect, views};
//! let session = &views::ALL[0];
//! assert_eq!(session.name, "turnmill_session");
//! assert!(session.create(Dialect::Sqlite).contains(" AS \"ending\""));
//! ```

use std::fmt::Write as _;

use crate::Dialect;
use crate::dialect::quoted;

/// Parts of the names of intents with which users ask for a human. Names are compared without case,
/// `_` and `-`.
pub const HANDOVER_PARTS: [&str; 6] =
    ["handoff", "handover", "tohuman", "humanagent", "liveagent", "toagent"];
/// The command of an assistant with flows that hands over to a human.
pub const HANDOVER_COMMAND: &str = "human handoff";
/// The flow that hands over to a human.
pub const HANDOVER_FLOW: &str = "pattern_human_handoff";
/// Intents that say that the assistant did not understand, with commas between them. The last one
/// is the intent without a name.
pub const FALLBACK_INTENTS: &str = "nlu_fallback,out_of_scope,FallbackIntent,AMAZON.FallbackIntent,None,";
/// Patterns of responses that say that the assistant did not understand, with commas between them.
/// `*` is any text.
pub const FALLBACK_RESPONSES: &str = "utter_default,utter_out_of_scope,utter_*rephrase*";
/// Patterns of responses after which a silent user has abandoned the session, with commas between
/// them.
pub const ABANDON_RESPONSES: &str = "utter_ask_*";
/// The sessions whose last run that hangs on no other is done.
pub const LAST_RUN_DONE: &str = "SELECT session_id FROM (SELECT session_id, status, row_number() OVER \
     (PARTITION BY session_id ORDER BY started_at DESC, id DESC) AS place FROM ext_dialog_run \
     WHERE kind IN ('flow', 'skill') AND parent_id IS NULL) run WHERE place = 1 AND status = 'done'";
/// Minutes of silence after which a session is over.
pub const IDLE_MINUTES: u32 = 60;

/// A view.
#[derive(Debug)]
pub struct View {
    /// Its name.
    pub name: &'static str,
    /// What a row is.
    pub doc: &'static str,
    /// Its columns.
    pub columns: &'static [ViewColumn],
    /// The tables, joined.
    from: &'static str,
    /// Further joins of SQLite's form.
    sqlite_joins: fn() -> String,
}

/// A column of a view.
#[derive(Debug)]
pub struct ViewColumn {
    /// Its name.
    pub name: &'static str,
    /// What it holds, with its unit.
    pub doc: &'static str,
    expression: Expression,
}

/// How a column is made from the tables.
#[derive(Clone, Copy, Debug)]
enum Expression {
    /// A column as it is.
    Plain(&'static str),
    /// A time, which gets the zone UTC. SQLite has no such type and keeps the text.
    Time(&'static str),
    /// Seconds between two times.
    Seconds { from: &'static str, to: &'static str },
    /// Seconds of a number of microseconds.
    Micros(&'static str),
    /// JSON without the quotes of a text; NULL for `null`.
    WithoutQuotes(&'static str),
    /// The ending of a session, for the default lists.
    Ending,
    /// Whether a turn is missed, for the default lists.
    Missed,
}

/// Pattern of a JSON text as slot values are spelled.
const JSON_TEXT: &str = r#"^"([^"\\\u0001-\u001f]|\\["\\bfnrt]|\\u00(0[1-9a-f]|1[0-9a-f]))*"$"#;

use Expression::{Ending, Micros, Missed, Plain, Seconds, Time, WithoutQuotes};

const fn column(name: &'static str, doc: &'static str, expression: Expression) -> ViewColumn {
    ViewColumn { name, doc, expression }
}

/// All views.
pub static ALL: [&View; 6] = [&SESSION, &TURN, &USER_MESSAGE, &BOT_MESSAGE, &SLOT, &MARKER];

static SESSION: View = View {
    name: "turnmill_session",
    doc: "One session with its conversation, duration and ending.",
    columns: &[
        column("session_id", "Id of the session.", Plain("s.session_id")),
        column("sender_id", "Id of the sender.", Plain("s.sender_id")),
        column("sender_key", "Conversation id, as the assistant wrote it.", Plain("r.sender_key")),
        column("assistant", "The assistant, where the source names it.", Plain("s.assistant")),
        column("started_at", "Time of its first event.", Time("s.started_at")),
        column("ended_at", "Time of its last event so far.", Time("s.last_event_at")),
        column(
            "duration_seconds",
            "Seconds from its first to its last event.",
            Seconds { from: "s.started_at", to: "s.last_event_at" },
        ),
        column("channel", "Channel of its first message that has one.", Plain("s.channel")),
        column("environment", "Environment of the assistant.", Plain("s.environment")),
        column("model_id", "Model of the assistant.", Plain("s.model_id")),
        column("locale", "Language and region, where the source says it.", Plain("s.locale")),
        column("source_system", "Kind of the source: `rasa`.", Plain("s.source_system")),
        column("user_messages", "Number of its user messages.", Plain("s.user_messages")),
        column("bot_messages", "Number of its bot messages.", Plain("s.bot_messages")),
        column("turns", "Number of its turns.", Plain("s.turns")),
        column("answered_turns", "Number of its turns with a bot message.", Plain("s.answered_turns")),
        column("first_intent", "Intent of its first message that has one.", Plain("s.first_intent")),
        column("last_intent", "Intent of its last message that has one.", Plain("s.last_intent")),
        column(
            "last_template",
            "Response with which the assistant had the last word.",
            Plain("s.last_template"),
        ),
        column("open_loop", "Form or flow that is active at its end.", Plain("s.open_loop")),
        column("is_handed_over", "Whether it has a `pause`.", Plain("s.is_handed_over")),
        column("is_test", "Whether the source marked it as a test.", Plain("s.is_test")),
        column("outcome", "`success`, `failed` or `dropped`, where the source says it.", Plain("s.outcome")),
        column("ended_by", "What ended it, `open` if nothing has.", Plain("s.ended_by")),
        column(
            "ending",
            "`escalated`, `abandoned`, `finished`, `open` or `unused`, as of the newest event.",
            Ending,
        ),
    ],
    from: "ext_session s JOIN rasa_sender r ON r.id = s.sender_id",
    sqlite_joins: ending_joins,
};

static TURN: View = View {
    name: "turnmill_turn",
    doc: "One turn: a user message and what the assistant did until the next one.",
    columns: &[
        column("turn_id", "Id of the turn.", Plain("t.turn_id")),
        column("session_id", "Id of its session.", Plain("t.session_id")),
        column("sender_id", "Id of the sender.", Plain("t.sender_id")),
        column("sender_key", "Conversation id, as the assistant wrote it.", Plain("r.sender_key")),
        column("asked_at", "Time of the user message.", Time("t.asked_at")),
        column("intent", "Intent of the user message.", Plain("t.intent")),
        column("confidence", "Confidence of that intent, 0 to 1.", Plain("t.confidence")),
        column("channel", "Channel of the user message.", Plain("t.channel")),
        column("environment", "Environment of the assistant.", Plain("t.environment")),
        column("model_id", "Model of the assistant.", Plain("t.model_id")),
        column(
            "response_seconds",
            "Seconds from the user message to the first bot message; NULL without one.",
            Micros("t.response_us"),
        ),
        column("bot_messages", "Number of its bot messages.", Plain("t.bot_messages")),
        column("first_template", "Response of the first bot message.", Plain("t.first_template")),
        column("is_missed", "Whether the assistant answered by falling back.", Missed),
        column("form", "Form or flow that was active when the message came.", Plain("t.form")),
        column("form_took", "Whether that form took the message.", Plain("t.form_took")),
    ],
    from: "ext_turn t JOIN rasa_sender r ON r.id = t.sender_id",
    sqlite_joins: String::new,
};

static USER_MESSAGE: View = View {
    name: "turnmill_user_message",
    doc: "One message of a user.",
    columns: &[
        column("event_id", "Id of the event.", Plain("m.event_id")),
        column("session_id", "Id of its session.", Plain("m.session_id")),
        column("turn_id", "Id of the turn that it begins.", Plain("t.turn_id")),
        column("sender_id", "Id of the sender.", Plain("m.sender_id")),
        column("sender_key", "Conversation id, as the assistant wrote it.", Plain("r.sender_key")),
        column("sent_at", "Time of the message.", Time("m.timestamp")),
        column("channel", "Its channel.", Plain("t.channel")),
        column("intent", "Its intent.", Plain("m.intent")),
        column("confidence", "Confidence of that intent, 0 to 1.", Plain("m.confidence")),
        column("text", "Its text.", Plain("m.text")),
        column("model_id", "Model of the assistant.", Plain("m.model_id")),
    ],
    from: "rasa_user_message m JOIN rasa_sender r ON r.id = m.sender_id \
           LEFT JOIN rasa_turn u ON u.session_id = m.session_id AND u.start_sequence_number = m.sequence_number \
           LEFT JOIN ext_turn t ON t.turn_id = u.id",
    sqlite_joins: String::new,
};

static BOT_MESSAGE: View = View {
    name: "turnmill_bot_message",
    doc: "One message of the assistant.",
    columns: &[
        column("event_id", "Id of the event.", Plain("m.event_id")),
        column("session_id", "Id of its session.", Plain("m.session_id")),
        column("sender_id", "Id of the sender.", Plain("m.sender_id")),
        column("sender_key", "Conversation id, as the assistant wrote it.", Plain("r.sender_key")),
        column("sent_at", "Time of the message.", Time("m.timestamp")),
        column("channel", "Channel of its session.", Plain("s.channel")),
        column("template", "Name of the response; NULL for a text without one.", Plain("m.template_name")),
        column("text", "Its text.", Plain("m.text")),
        column("model_id", "Model of the assistant.", Plain("m.model_id")),
    ],
    from: "rasa_bot_message m JOIN rasa_sender r ON r.id = m.sender_id \
           LEFT JOIN ext_session s ON s.session_id = m.session_id",
    sqlite_joins: String::new,
};

static SLOT: View = View {
    name: "turnmill_slot",
    doc: "One change of a slot.",
    columns: &[
        column("event_id", "Id of the event.", Plain("v.event_id")),
        column("session_id", "Id of its session.", Plain("v.session_id")),
        column("sender_id", "Id of the sender.", Plain("v.sender_id")),
        column("sender_key", "Conversation id, as the assistant wrote it.", Plain("r.sender_key")),
        column("set_at", "Time of the change.", Time("v.timestamp")),
        column("name", "Name of the slot.", Plain("v.name")),
        column(
            "value",
            "The value: a text without quotes, anything else as JSON; NULL for an unset slot.",
            WithoutQuotes("v.value"),
        ),
    ],
    from: "rasa_slot v JOIN rasa_sender r ON r.id = v.sender_id",
    sqlite_joins: String::new,
};

static MARKER: View = View {
    name: "turnmill_marker",
    doc: "One event at which the pattern of a marker was met.",
    columns: &[
        column("marker_id", "Id of the row.", Plain("k.id")),
        column("name", "Name of the marker.", Plain("p.name")),
        column("session_id", "Id of its session.", Plain("k.session_id")),
        column("sender_id", "Id of the sender.", Plain("k.sender_id")),
        column("sender_key", "Conversation id, as the assistant wrote it.", Plain("r.sender_key")),
        column("event_id", "Id of the event.", Plain("k.event_id")),
        column("met_at", "Time of the event.", Time("e.timestamp")),
        column(
            "turn_number",
            "Number of user messages in the session up to the event.",
            Plain("k.num_preceding_user_turns"),
        ),
    ],
    from: "rasa_markers k JOIN rasa_patterns p ON p.id = k.pattern_id \
           JOIN rasa_sender r ON r.id = k.sender_id JOIN rasa_event e ON e.id = k.event_id",
    sqlite_joins: String::new,
};

impl ViewColumn {
    /// Returns whether it holds truth values. SQLite has no such type and gives 0 and 1.
    #[must_use]
    pub fn is_truth(&self) -> bool {
        self.name.starts_with("is_") || self.name == "form_took"
    }
}

impl View {
    /// Returns the statement that creates the view. In SQLite, which has no comments, its text has
    /// the documentation.
    #[must_use]
    pub fn create(&self, dialect: Dialect) -> String {
        let (create, remark) = match dialect {
            Dialect::Sqlite => ("CREATE VIEW IF NOT EXISTS", true),
            Dialect::Postgres => ("CREATE OR REPLACE VIEW", false),
        };
        let mut sql = format!("{create} {} AS SELECT", self.name);
        if remark {
            // Writing to a text cannot fail.
            let _ = write!(sql, " -- {}", self.doc);
        }
        for (number, column) in self.columns.iter().enumerate() {
            let comma = if number + 1 < self.columns.len() { "," } else { "" };
            let _ = write!(sql, "\n    {} AS {}{comma}", column.expression.sql(dialect), quoted(column.name));
            if remark {
                let _ = write!(sql, " -- {}", column.doc);
            }
        }
        let _ = write!(sql, "\nFROM {}", self.from);
        if dialect == Dialect::Sqlite {
            sql.push_str(&(self.sqlite_joins)());
        }
        sql
    }

    /// Returns the statements that create the view and describe it and its columns.
    #[must_use]
    pub fn statements(&self, dialect: Dialect) -> Vec<String> {
        let mut statements = vec![self.create(dialect)];
        if dialect == Dialect::Postgres {
            let literal = |doc: &str| format!("'{}'", doc.replace('\'', "''"));
            statements.push(format!("COMMENT ON VIEW {} IS {}", self.name, literal(self.doc)));
            statements.extend(self.columns.iter().map(|column| {
                let name = quoted(column.name);
                format!("COMMENT ON COLUMN {}.{name} IS {}", self.name, literal(column.doc))
            }));
        }
        statements
    }
}

impl Expression {
    fn sql(self, dialect: Dialect) -> String {
        use Dialect::{Postgres, Sqlite};
        match (self, dialect) {
            (Plain(column), _) | (Time(column), Sqlite) => column.to_owned(),
            (Time(column), Postgres) => format!("{column} AT TIME ZONE 'UTC'"),
            (Micros(column), Sqlite) => format!("{column} / 1000000.0"),
            (Micros(column), Postgres) => format!("CAST({column} AS double precision) / 1000000"),
            (Seconds { from, to }, Sqlite) => format!("{} / 1000000.0", dialect.micros_between(from, to)),
            (Seconds { from, to }, Postgres) => {
                format!("CAST(EXTRACT(EPOCH FROM {to} - {from}) AS double precision)")
            }
            (WithoutQuotes(column), Sqlite) => format!(
                "CASE WHEN {column} = 'null' THEN NULL WHEN {column} NOT LIKE '\"%' THEN {column} \
                 WHEN json_valid({column}) THEN json_extract({column}, '$') ELSE {column} END"
            ),
            // A truncated value is no JSON, and reading it as such would be an error.
            (WithoutQuotes(column), Postgres) => format!(
                "CASE WHEN {column} = 'null' THEN NULL WHEN {column} ~ '{JSON_TEXT}' \
                 THEN CAST({column} AS jsonb) #>> '{{}}' ELSE {column} END"
            ),
            (Ending, _) => ending(dialect),
            (Missed, _) => missed(dialect),
        }
    }
}

/// The sessions with a command or a flow that hands over to a human.
fn handed_over() -> String {
    format!(
        "SELECT session_id FROM rasa_llm_command WHERE command = '{HANDOVER_COMMAND}' \
         UNION SELECT session_id FROM rasa_flow_status \
         WHERE flow_identifier = '{HANDOVER_FLOW}' AND flow_status = 'started'"
    )
}

/// Joins what [`ending`] looks at besides the session. DuckDB, which can attach a file of SQLite,
/// writes `IN (SELECT ...)`, `LIKE` and `UNION` of a view in ways that SQLite does not read, so the
/// views of SQLite have none of them where DuckDB cannot run them itself.
fn ending_joins() -> String {
    format!(
        "\nLEFT JOIN (SELECT DISTINCT session_id FROM rasa_llm_command \
         WHERE command = '{HANDOVER_COMMAND}') c ON c.session_id = s.session_id\n\
         LEFT JOIN (SELECT DISTINCT session_id FROM rasa_flow_status \
         WHERE flow_identifier = '{HANDOVER_FLOW}' AND flow_status = 'started') h ON h.session_id = s.session_id\n\
         LEFT JOIN ({LAST_RUN_DONE}) d ON d.session_id = s.session_id"
    )
}

/// Returns the ending of `ext_session s`. Every session has exactly one.
fn ending(dialect: Dialect) -> String {
    let idle_since = match dialect {
        Dialect::Sqlite => format!(
            "(SELECT strftime('%Y-%m-%d %H:%M:%S', substr(max(last_seen), 1, 19), '-{IDLE_MINUTES} minutes') \
             || substr(max(last_seen), 20) FROM rasa_sender)"
        ),
        Dialect::Postgres => {
            format!("(SELECT max(last_seen) - interval '{IDLE_MINUTES} minutes' FROM rasa_sender)")
        }
    };
    let name = "lower(replace(replace(e.intent, '_', ''), '-', ''))";
    let asks = HANDOVER_PARTS.iter().map(|part| match dialect {
        Dialect::Sqlite => format!("instr({name}, '{part}') > 0"),
        Dialect::Postgres => format!("{name} LIKE '%{part}%'"),
    });
    let asks = asks.collect::<Vec<_>>().join(" OR ");
    let (handed_over, done) = match dialect {
        Dialect::Sqlite => (
            "c.session_id IS NOT NULL OR h.session_id IS NOT NULL".to_owned(),
            "d.session_id IS NOT NULL".to_owned(),
        ),
        Dialect::Postgres => {
            (format!("s.session_id IN ({})", handed_over()), format!("s.session_id IN ({LAST_RUN_DONE})"))
        }
    };
    let escalated = format!(
        "s.is_handed_over OR EXISTS (SELECT 1 FROM ext_turn e WHERE e.session_id = s.session_id AND ({asks})) \
         OR {handed_over}"
    );
    let completed = format!("s.ended_by = 'explicit' OR coalesce(s.outcome, '') = 'success' OR {done}");
    let abandoned = format!(
        "{} OR s.open_loop IS NOT NULL OR s.outcome = 'dropped'",
        is_one_of(dialect, "s.last_template", ABANDON_RESPONSES)
    );
    format!(
        "CASE WHEN s.turns = 0 THEN 'unused'\n        \
         WHEN s.ended_by = 'open' AND s.last_event_at > {idle_since} THEN 'open'\n        \
         WHEN {escalated} THEN 'escalated'\n        WHEN {completed} THEN 'finished'\n        \
         WHEN {abandoned} THEN 'abandoned' ELSE 'finished' END"
    )
}

/// Returns whether the turn `t` is missed.
fn missed(dialect: Dialect) -> String {
    format!(
        "(t.default_fallback OR coalesce({}, FALSE) \
         OR EXISTS (SELECT 1 FROM rasa_turn u JOIN rasa_user_message m ON m.session_id = u.session_id \
         AND m.sequence_number = u.start_sequence_number JOIN ext_message e ON e.event_id = m.event_id \
         WHERE u.id = t.turn_id AND e.is_missed))",
        is_one_of(dialect, "t.first_template", FALLBACK_RESPONSES)
    )
}

/// Returns whether one of the patterns fits the text of a column.
fn is_one_of(dialect: Dialect, column: &str, patterns: &str) -> String {
    let fits: Vec<String> = patterns.split(',').map(|pattern| fits(dialect, column, pattern)).collect();
    if fits.len() == 1 { fits.concat() } else { format!("({})", fits.join(" OR ")) }
}

/// Returns whether the text of a column is `pattern`, in which `*` is any text. Case matters.
fn fits(dialect: Dialect, column: &str, pattern: &str) -> String {
    let literal = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let parts: Vec<&str> = pattern.split('*').collect();
    match (parts.as_slice(), dialect) {
        ([whole], _) => format!("{column} = {}", literal(whole)),
        (_, Dialect::Postgres) => {
            let escape = |c| if matches!(c, '%' | '_' | '\\') { vec!['\\', c] } else { vec![c] };
            let parts: Vec<String> =
                parts.iter().map(|part| part.chars().flat_map(escape).collect()).collect();
            format!("{column} LIKE {}", literal(&parts.join("%")))
        }
        // LIKE compares without case in SQLite, and DuckDB, which reads these views, spells GLOB in
        // a way that SQLite does not know.
        ([begin, middle @ .., end], Dialect::Sqlite) => {
            let mut conditions = Vec::new();
            let mut rest = column.to_owned();
            if !begin.is_empty() {
                let length = begin.chars().count();
                conditions.push(format!("substr({column}, 1, {length}) = {}", literal(begin)));
                rest = format!("substr({column}, {})", length + 1);
            }
            // The first place at which a part is leaves most text for the next one.
            for part in middle.iter().filter(|part| !part.is_empty()) {
                conditions.push(format!("instr({rest}, {}) > 0", literal(part)));
                let length = part.chars().count();
                rest = format!("substr({rest}, instr({rest}, {}) + {length})", literal(part));
            }
            if !end.is_empty() {
                let length = end.chars().count();
                conditions.push(format!("length({rest}) >= {length}"));
                conditions.push(format!("substr({rest}, -{length}) = {}", literal(end)));
            }
            if conditions.is_empty() {
                return format!("{column} IS NOT NULL");
            }
            if conditions.len() == 1 {
                conditions.concat()
            } else {
                format!("({})", conditions.join(" AND "))
            }
        }
        ([], Dialect::Sqlite) => "FALSE".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_the_dialect() {
        use Dialect::{Postgres, Sqlite};
        for (pattern, dialect, sql) in [
            ("utter_default", Postgres, "c = 'utter_default'"),
            ("utter_ask_*", Postgres, r"c LIKE 'utter\_ask\_%'"),
            ("utter_ask_*", Sqlite, "substr(c, 1, 10) = 'utter_ask_'"),
            ("it's [50%]?*", Postgres, r"c LIKE 'it''s [50\%]?%'"),
            ("it's [50%]?*", Sqlite, "substr(c, 1, 11) = 'it''s [50%]?'"),
            ("a*b*", Sqlite, "(substr(c, 1, 1) = 'a' AND instr(substr(c, 2), 'b') > 0)"),
            ("*ü", Sqlite, "(length(c) >= 1 AND substr(c, -1) = 'ü')"),
            ("*", Sqlite, "c IS NOT NULL"),
        ] {
            assert_eq!(fits(dialect, "c", pattern), sql);
        }
    }

    #[test]
    fn names_are_unique_and_described() {
        let mut names: Vec<&str> = ALL.iter().map(|view| view.name).collect();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        for view in ALL {
            let mut columns: Vec<&str> = view.columns.iter().map(|column| column.name).collect();
            columns.sort_unstable();
            columns.dedup();
            assert_eq!(columns.len(), view.columns.len(), "{}", view.name);
            assert!(
                view.columns.iter().all(|column| column.doc.ends_with('.') && !column.doc.contains('\n'))
            );
        }
    }
}

//! The ten metrics of conversation analytics, as queries over the public tables.
//!
//! ```
//! use turnmill_analytics::metrics::{all, Options, Shape};
//! use turnmill_sql::Dialect;
//! let metrics = all(Dialect::Sqlite, &Options::default());
//! assert_eq!(metrics.len(), 10);
//! assert_eq!((metrics[2].name, metrics[2].shape), ("number of sessions", Shape::Count));
//! ```

use turnmill_sql::Dialect;

/// Parameters of the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Intents by which users ask for a human.
    pub handover_intents: Vec<String>,
    /// Commands by which an assistant hands over to a human.
    pub handover_commands: Vec<String>,
    /// Name of the response that marks a session as abandoned, if the session ends with it.
    pub abandonment_template: String,
    /// Maximum number of intents to list.
    pub intents: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            handover_intents: vec!["handoff_to_support".into(), "talk_to_human".into()],
            handover_commands: vec!["human handoff".into()],
            abandonment_template: "utter_ask_name".into(),
            intents: 5,
        }
    }
}

/// One metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its meaning, in one line.
    pub doc: &'static str,
    /// Form of the query's result.
    pub shape: Shape,
    /// The query.
    pub sql: String,
    /// Its parameters, all of them texts.
    pub parameters: Vec<String>,
}

/// Form of a query's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One row, one integer.
    Count,
    /// One row, one float: a mean. NULL if there are no values.
    Mean,
    /// One row, one float: a mean in seconds. NULL if there are no values.
    Seconds,
    /// One row, one float: a share from 0 to 100. NULL if there are no values.
    Percent,
    /// Rows of a text, which may be NULL, and an integer, greatest first.
    Groups,
}

/// The result of a metric.
#[derive(Clone, Debug, PartialEq)]
pub enum Measured {
    /// For [`Shape::Count`].
    Count(i64),
    /// For the shapes of one float, in the shape's unit.
    Number(Option<f64>),
    /// For [`Shape::Groups`].
    Groups(Vec<(Option<String>, i64)>),
}

/// All metrics with their results, in the order of [`all`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// The metrics.
    pub metrics: Vec<(Metric, Measured)>,
}

impl Summary {
    /// Returns the result of the metric called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Measured> {
        self.metrics.iter().find(|(metric, _)| metric.name == name).map(|(_, measured)| measured)
    }
}

/// Returns the ten metrics.
#[must_use]
pub fn all(dialect: Dialect, options: &Options) -> Vec<Metric> {
    let plain =
        |name, doc, shape, sql: &str| Metric { name, doc, shape, sql: sql.into(), parameters: Vec::new() };
    vec![
        plain(
            "number of conversations",
            "sessions in which the user said something",
            Shape::Count,
            "SELECT count(DISTINCT session_id) FROM rasa_turn",
        ),
        plain(
            "number of users",
            "end users, and senders that name none",
            Shape::Count,
            "SELECT (SELECT count(*) FROM rasa_user) \
             + (SELECT count(DISTINCT sender_key) FROM rasa_sender WHERE user_id IS NULL)",
        ),
        plain("number of sessions", "all sessions", Shape::Count, "SELECT count(*) FROM rasa_session"),
        plain(
            "channels used",
            "sessions by the channel of their sender",
            Shape::Groups,
            "SELECT r.channel, count(*) AS sessions FROM rasa_session s JOIN rasa_sender r ON r.id = s.sender_id \
             GROUP BY r.channel ORDER BY sessions DESC, r.channel ASC NULLS LAST",
        ),
        plain(
            "user session count",
            "sessions per sender, on average",
            Shape::Mean,
            "SELECT CAST((SELECT count(*) FROM rasa_session) AS double precision) \
             / NULLIF((SELECT count(*) FROM rasa_sender), 0)",
        ),
        top_intents(options),
        plain(
            "average response time",
            "seconds from a user's message to the first answer in its turn, over the turns that have one",
            Shape::Seconds,
            &response_time(dialect),
        ),
        handovers(
            dialect,
            options,
            "containment rate",
            "share of sessions that were not handed over to a human, in percent",
            "100.0 - 100.0 * ",
        ),
        abandonment(dialect, options),
        handovers(
            dialect,
            options,
            "escalation rate",
            "share of sessions that were handed over to a human, in percent",
            "100.0 * ",
        ),
    ]
}

fn top_intents(options: &Options) -> Metric {
    Metric {
        name: "top intents",
        doc: "the most frequent intents of user messages",
        shape: Shape::Groups,
        sql: format!(
            "SELECT intent, count(*) AS messages FROM rasa_user_message GROUP BY intent \
             ORDER BY messages DESC, intent ASC NULLS LAST LIMIT {}",
            options.intents
        ),
        parameters: Vec::new(),
    }
}

/// Returns the query for the mean response time: from a turn's `user` event, which begins the turn,
/// to the bot message with the least number in the turn's range.
fn response_time(dialect: Dialect) -> String {
    let seconds = match dialect {
        // SQLite's own functions know only milliseconds.
        Dialect::Sqlite => {
            "(strftime('%s', substr(answered, 1, 19)) - strftime('%s', substr(asked, 1, 19))) \
             + (substr(answered, 21) - substr(asked, 21)) / 1000000.0"
        }
        Dialect::Postgres => "CAST(EXTRACT(EPOCH FROM answered - asked) AS double precision)",
    };
    // Each turn looks its answer up in an index. Joining the messages of a session with its turns
    // would take the square of the session's length, and some sessions never end. The range ends at
    // the turn's end. So a turn without an answer is left out (its time is NULL) and does not take
    // the answer of the next turn.
    format!(
        "SELECT avg({seconds}) FROM (SELECT e.timestamp AS asked, (SELECT b.timestamp FROM rasa_bot_message b \
         WHERE b.session_id = t.session_id \
         AND b.sequence_number BETWEEN t.start_sequence_number AND t.end_sequence_number \
         ORDER BY b.sequence_number LIMIT 1) AS answered FROM rasa_turn t \
         JOIN rasa_event e ON e.session_id = t.session_id AND e.sequence_number = t.start_sequence_number) AS turns"
    )
}

/// Returns the query for hand-overs: a session is handed over by a `pause` event, or by an intent
/// or a command for that.
fn handovers(
    dialect: Dialect,
    options: &Options,
    name: &'static str,
    doc: &'static str,
    scale: &str,
) -> Metric {
    let mut parameters = Vec::new();
    let mut list = |texts: &[String]| {
        // SQL has no empty lists; nothing equals NULL.
        let mut placeholders = vec!["NULL".to_owned()];
        for text in texts {
            parameters.push(text.clone());
            placeholders.push(dialect.placeholder(parameters.len()));
        }
        placeholders.join(", ")
    };
    let sql = format!(
        "SELECT {scale}count(h.session_id) / NULLIF(count(*), 0) FROM rasa_session s LEFT JOIN (\
         SELECT session_id FROM rasa_event WHERE event_type = 'pause' \
         UNION SELECT session_id FROM rasa_user_message WHERE intent IN ({}) \
         UNION SELECT session_id FROM rasa_llm_command WHERE command IN ({})\
         ) AS h ON h.session_id = s.id",
        list(&options.handover_intents),
        list(&options.handover_commands),
    );
    Metric { name, doc, shape: Shape::Percent, sql: in_double_precision(&sql), parameters }
}

fn abandonment(dialect: Dialect, options: &Options) -> Metric {
    let template = dialect.placeholder(1);
    let sql = format!(
        "SELECT CASE WHEN EXISTS (SELECT 1 FROM rasa_bot_message WHERE template_name = {template}) THEN \
         100.0 * count(CASE WHEN template_name = {template} THEN 1 END) / NULLIF(count(*), 0) END FROM (\
         SELECT template_name, row_number() OVER (PARTITION BY session_id ORDER BY sequence_number DESC) AS place \
         FROM rasa_bot_message) AS messages WHERE place = 1"
    );
    Metric {
        name: "abandonment rate",
        doc: "share of the sessions with an answer whose last answer is the given response, in percent; \
              NULL if it was never sent",
        shape: Shape::Percent,
        sql: in_double_precision(&sql),
        parameters: vec![options.abandonment_template.clone()],
    }
}

/// Converts a result to a float: PostgreSQL calculates with decimals where SQLite does with floats.
fn in_double_precision(sql: &str) -> String {
    format!("SELECT CAST(({sql}) AS double precision)")
}

//! Totals of the whole store: rows of each table, and ten metrics.
//!
//! The metrics are those of `turnmill report`, asked without filters. Their names here are those of
//! Rasa's documentation.

use std::fmt::Display;
use std::time::Duration;

use serde_json::{Value, json};
use turnmill_analytics::{Answer, AskError, METRICS, Measure, Question, answer};
use turnmill_sink::StoreError;
use turnmill_stores::AnyStore;
use turnmill_text::escaped;

use crate::progress::grouped;

/// Time limit of the metrics: a day, because only the run itself waits for them.
const LIMIT: Duration = Duration::from_secs(86_400);
/// Number of groups of a list, more than any assistant has channels.
const GROUPS: usize = 1000;
/// Number of the most frequent intents.
const INTENTS: usize = 5;

/// Where a metric of the summary is found in an answer.
#[derive(Clone, Copy)]
enum Place {
    /// A number.
    Number(&'static str),
    /// A share, in percent; none while nothing counts.
    Configured(&'static str),
    /// The first columns of a list, and the maximum number of its rows.
    List(&'static str, usize),
}

/// The metrics: name in the summary, id, place.
const SUMMARY: [(&str, &str, Place); 10] = [
    ("number of conversations", "R1_conversations", Place::Number("conversations")),
    ("number of users", "R2_users", Place::Number("users")),
    ("number of sessions", "R3_sessions", Place::Number("sessions")),
    ("channels used", "R4_channels", Place::List("by_sender_channel", GROUPS)),
    ("user session count", "R5_user_sessions", Place::Number("per_sender")),
    ("top intents", "R6_top_intents", Place::List("by_intent", INTENTS)),
    ("average response time", "R7_response_time", Place::Number("mean")),
    ("containment rate", "R8_containment", Place::Number("containment")),
    ("abandonment rate", "R9_abandonment", Place::Configured("published")),
    ("escalation rate", "R10_escalation", Place::Number("escalation")),
];

/// Totals of the whole store.
pub(crate) struct Totals {
    tables: Vec<(&'static str, u64)>,
    /// One for each of [`SUMMARY`].
    answers: Vec<Answer>,
}

/// The value of a metric.
enum Found {
    Nothing,
    NotConfigured,
    Number { json: Value, shown: String },
    Groups(Vec<(Option<String>, i64)>),
}

impl Totals {
    /// Counts all rows and asks for the metrics.
    ///
    /// Both take time that grows with the store. So this is done on request, or when this run
    /// filled the store and has done as much work already.
    pub(crate) async fn of(store: &mut AnyStore) -> Result<Self, StoreError> {
        let tables = store.row_counts().await?;
        let metrics: Vec<_> = SUMMARY
            .iter()
            .filter_map(|(_, id, _)| METRICS.iter().copied().find(|metric| metric.id == *id))
            .collect();
        let question = Question { top: GROUPS, ..Question::default() };
        let mut reader = store.reader(LIMIT)?;
        let answers = answer(&mut reader, &metrics, &question).await.map_err(|error| match error {
            AskError::Store(error) => error,
            error => StoreError::Unusable { detail: error.to_string(), source: None },
        })?;
        Ok(Self { tables, answers })
    }

    fn metrics(&self) -> impl Iterator<Item = (&'static str, Found)> + '_ {
        SUMMARY.iter().filter_map(|(name, id, place)| {
            let answer = self.answers.iter().find(|answer| answer.metric.id == *id)?;
            Some((*name, found(answer, *place)))
        })
    }

    /// Returns lines about the whole store.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec!["Rows in the store".into()];
        let filled = || self.tables.iter().filter(|(_, rows)| *rows > 0);
        lines.extend(filled().map(|(table, rows)| row(table, grouped(*rows))));
        if filled().count() == 0 {
            lines.push("  none".into());
            return lines;
        }
        lines.push("\nMetrics".into());
        for (name, found) in self.metrics() {
            match found {
                Found::Nothing => {}
                Found::NotConfigured => lines.push(row(name, "not configured")),
                Found::Number { shown, .. } => lines.push(row(name, shown)),
                Found::Groups(groups) if groups.is_empty() => {}
                Found::Groups(groups) => {
                    lines.push(format!("  {name}"));
                    for (group, count) in groups {
                        let group = escaped(group.as_deref().unwrap_or("(none)"));
                        let count = grouped(u64::try_from(count).unwrap_or_default());
                        lines.push(format!("    {group:<26} {count:>12}"));
                    }
                }
            }
        }
        lines
    }

    /// Returns the rows of each table as JSON.
    pub(crate) fn tables_json(&self) -> Value {
        let rows = |(table, rows): &(&str, u64)| ((*table).to_owned(), Value::from(*rows));
        Value::Object(self.tables.iter().map(rows).collect())
    }

    /// Returns the metrics as JSON, `null` where there is no value.
    pub(crate) fn metrics_json(&self) -> Value {
        let json = |found| match found {
            Found::Nothing | Found::NotConfigured => Value::Null,
            Found::Number { json, .. } => json,
            Found::Groups(groups) => {
                groups.iter().map(|(name, count)| json!({"name": name, "count": count})).collect()
            }
        };
        Value::Object(self.metrics().map(|(name, found)| (name.replace(' ', "_"), json(found))).collect())
    }
}

fn found(answer: &Answer, place: Place) -> Found {
    match place {
        Place::Number(name) => number(answer.value(name)),
        Place::Configured(name) => match answer.value(name) {
            // The response was never the last one, so it is probably none of this assistant's.
            Some(Measure::Share(share) | Measure::Ratio(share)) if share.n == 0 => Found::NotConfigured,
            Some(Measure::Share(share) | Measure::Ratio(share)) => {
                percent(100.0 * share.n as f64 / share.d as f64)
            }
            _ => Found::NotConfigured,
        },
        Place::List(name, most) => {
            let rows = answer.table(name).map(|table| table.rows.as_slice()).unwrap_or_default();
            let group = |row: &turnmill_analytics::Row| {
                let name = row.first()?.text().map(ToOwned::to_owned);
                Some((name, row.get(1)?.integer()))
            };
            Found::Groups(rows.iter().take(most).filter_map(group).collect())
        }
    }
}

fn number(measure: Option<Measure>) -> Found {
    let Some((measure, value)) = measure.and_then(|measure| Some((measure, measure.value()?))) else {
        return Found::Nothing;
    };
    match measure {
        Measure::Count(count) => {
            Found::Number { json: json!(count), shown: grouped(u64::try_from(count).unwrap_or_default()) }
        }
        Measure::Share(_) => percent(value),
        Measure::Mean { .. } => Found::Number { json: json!(value), shown: format!("{value:.3} s") },
        _ => Found::Number { json: json!(value), shown: format!("{value:.2}") },
    }
}

fn percent(value: f64) -> Found {
    Found::Number { json: json!(value), shown: format!("{value:.1} %") }
}

/// Returns a line with one number or word.
pub(crate) fn row(name: &str, value: impl Display) -> String {
    let value = value.to_string();
    format!("  {name:<28} {value:>12}")
}

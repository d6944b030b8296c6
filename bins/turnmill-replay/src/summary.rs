//! The summary at the end, for people and as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Map, Value, json};
use turnmill_model::Reason;
use turnmill_pipeline::Drained;
use turnmill_sql::metrics::{Measured, Shape, Summary};
use turnmill_text::escaped;

use crate::progress::grouped;

/// Everything the summary says.
pub(crate) struct Outcome {
    pub(crate) store: String,
    pub(crate) inputs: usize,
    pub(crate) drained: Drained,
    pub(crate) elapsed: Duration,
    pub(crate) tables: Vec<(&'static str, u64)>,
    pub(crate) metrics: Summary,
    /// Dead letters of the store by reason, all of them and not only this run's.
    pub(crate) dead_letters: Vec<(Reason, u64)>,
}

impl Outcome {
    fn rate(&self) -> u64 {
        let records = self.drained.counts.records as f64;
        (records / self.elapsed.as_secs_f64().max(0.001)) as u64
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let counts = &self.drained.counts;
        let number = |count: i64| grouped(u64::try_from(count).unwrap_or_default());
        let inputs = if self.inputs == 1 { "1 input".into() } else { format!("{} inputs", self.inputs) };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{} records from {inputs} into {}\n", number(counts.records), self.store);
        for (what, count) in [
            ("new events", counts.events),
            ("duplicates", counts.duplicates),
            ("dead letters", counts.dead_letters),
            ("skipped", counts.skipped),
        ] {
            let _ = writeln!(text, "  {what:<28} {:>12}", number(count));
        }
        let late = i64::try_from(self.drained.late).unwrap_or(i64::MAX);
        let _ = writeln!(text, "  {:<28} {:>12}", "of the events, late", number(late));
        let seconds = format!("{:.1} s", self.elapsed.as_secs_f64());
        let _ = writeln!(text, "  {:<28} {:>12}", "time", seconds);
        let _ = writeln!(text, "  {:<28} {:>12}", "records per second", grouped(self.rate()));

        let _ = writeln!(text, "\nRows in the store");
        for (table, rows) in &self.tables {
            let _ = writeln!(text, "  {table:<28} {:>12}", grouped(*rows));
        }
        let _ = writeln!(text, "\nMetrics");
        for (metric, measured) in &self.metrics.metrics {
            match measured {
                Measured::Count(count) => {
                    let _ = writeln!(text, "  {:<28} {:>12}", metric.name, number(*count));
                }
                Measured::Number(value) => {
                    let _ = writeln!(text, "  {:<28} {:>12}", metric.name, with_unit(*value, metric.shape));
                }
                Measured::Groups(groups) => {
                    let _ = writeln!(text, "  {}", metric.name);
                    for (name, count) in groups {
                        let name = name.as_deref().unwrap_or("(none)");
                        let _ = writeln!(text, "    {:<26} {:>12}", escaped(name), number(*count));
                    }
                }
            }
        }
        if !self.dead_letters.is_empty() {
            let _ = writeln!(text, "\nDead letters in the store");
            for (reason, count) in &self.dead_letters {
                let _ = writeln!(text, "  {:<28} {:>12}", reason.as_str(), grouped(*count));
            }
            let _ = writeln!(text, "  See them with: turnmill dead-letters list {}", self.store);
        }
        text
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let counts = &self.drained.counts;
        let tables: Map<_, _> =
            self.tables.iter().map(|(table, rows)| ((*table).to_owned(), Value::from(*rows))).collect();
        let metrics: Map<_, _> = self
            .metrics
            .metrics
            .iter()
            .map(|(metric, measured)| (metric.name.replace(' ', "_"), value(measured)))
            .collect();
        let dead_letters: Map<_, _> = self
            .dead_letters
            .iter()
            .map(|(reason, count)| (reason.to_string(), Value::from(*count)))
            .collect();
        json!({
            "store": self.store,
            "records": counts.records,
            "events": counts.events,
            "duplicates": counts.duplicates,
            "anonymised": counts.anonymised,
            "dead_letters": counts.dead_letters,
            "skipped": counts.skipped,
            "late": self.drained.late,
            "replays": self.drained.replays,
            "interrupted": self.drained.stopped,
            "seconds": self.elapsed.as_secs_f64(),
            "records_per_second": self.rate(),
            "tables": tables,
            "metrics": metrics,
            "dead_letters_by_reason": dead_letters,
        })
    }
}

fn with_unit(value: Option<f64>, shape: Shape) -> String {
    let Some(value) = value else { return "-".into() };
    match shape {
        Shape::Percent => format!("{value:.1} %"),
        Shape::Seconds => format!("{value:.3} s"),
        Shape::Count | Shape::Mean | Shape::Groups => format!("{value:.2}"),
    }
}

fn value(measured: &Measured) -> Value {
    match measured {
        Measured::Count(count) => (*count).into(),
        Measured::Number(number) => (*number).into(),
        Measured::Groups(groups) => {
            groups.iter().map(|(name, count)| json!({"name": name, "count": count})).collect()
        }
    }
}

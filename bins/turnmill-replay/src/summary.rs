//! The summary at the end, for people and as JSON.

use std::time::Duration;

use serde_json::{Map, Value, json};
use turnmill_analytics::metrics::{Measured, Shape, Summary};
use turnmill_model::Reason;
use turnmill_pipeline::Drained;
use turnmill_text::escaped;

use crate::progress::{counted, grouped};

/// The metric that needs a response of the assistant's own.
const ABANDONMENT: &str = "abandonment rate";

/// Everything the summary says.
pub(crate) struct Outcome {
    pub(crate) store: String,
    pub(crate) inputs: usize,
    /// Files of folders that were left out, and why.
    pub(crate) refused_files: Vec<String>,
    /// Trackers that had no events.
    pub(crate) without_events: u64,
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
        let counts = &self.drained.counts;
        let number = |count: i64| u64::try_from(count).unwrap_or_default();
        let mut lines = self.problems();
        if !lines.is_empty() {
            lines.push(String::new());
        }
        let (records, inputs) = (number(counts.records), self.inputs as u64);
        lines.push(format!(
            "{} from {} into {}\n",
            counted(records, "record"),
            counted(inputs, "input"),
            self.store
        ));
        let row = |name: &str, value: String| format!("  {name:<28} {value:>12}");
        for (what, count) in [
            ("new events", counts.events),
            ("duplicates", counts.duplicates),
            ("dead letters", counts.dead_letters),
            ("skipped", counts.skipped),
        ] {
            lines.push(row(what, grouped(number(count))));
        }
        if self.drained.late > 0 {
            lines.push(row("of the events, late", grouped(self.drained.late)));
        }
        lines.push(row("time", format!("{:.1} s", self.elapsed.as_secs_f64())));
        lines.push(row("records per second", grouped(self.rate())));

        lines.push("\nRows in the store".into());
        let filled = || self.tables.iter().filter(|(_, rows)| *rows > 0);
        lines.extend(filled().map(|(table, rows)| row(table, grouped(*rows))));
        if filled().count() == 0 {
            lines.push("  none; all tables are empty".into());
            return lines.join("\n") + "\n";
        }
        lines.push("\nMetrics".into());
        for (metric, measured) in &self.metrics.metrics {
            match measured {
                Measured::Number(None) if metric.name == ABANDONMENT => {
                    lines.push(row(metric.name, "not configured".into()));
                }
                Measured::Number(None) => {}
                Measured::Count(count) => lines.push(row(metric.name, grouped(number(*count)))),
                Measured::Number(Some(value)) => {
                    lines.push(row(metric.name, with_unit(*value, metric.shape)));
                }
                Measured::Groups(groups) if groups.is_empty() => {}
                Measured::Groups(groups) => {
                    lines.push(format!("  {}", metric.name));
                    for (name, count) in groups {
                        let name = name.as_deref().unwrap_or("(none)");
                        let name = escaped(name);
                        lines.push(format!("    {name:<26} {:>12}", grouped(number(*count))));
                    }
                }
            }
        }
        lines.join("\n") + "\n"
    }

    /// What went wrong.
    fn problems(&self) -> Vec<String> {
        let mut lines = complaints(&self.refused_files, self.without_events);
        let now = u64::try_from(self.drained.counts.dead_letters).unwrap_or_default();
        let all: u64 = self.dead_letters.iter().map(|(_, count)| count).sum();
        if all == 0 {
            return lines;
        }
        lines.push(if now == all {
            format!("{} cannot be decoded and became {}:", counted(now, "record"), dead_letters(now))
        } else if now == 0 {
            format!("{} of earlier inputs in the store:", counted(all, "dead letter"))
        } else {
            let of = counted(all, "dead letter");
            format!("{} cannot be decoded; the store holds {of}:", counted(now, "record"))
        });
        for (reason, count) in &self.dead_letters {
            lines.push(format!("  {:<28} {:>12}", reason.as_str(), grouped(*count)));
        }
        lines.push(format!("  see them with: turnmill dead-letters list {}", self.store));
        lines
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
            "trackers_without_events": self.without_events,
            "refused_files": self.refused_files,
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

/// Lines about files that were left out, and trackers that are empty.
pub(crate) fn complaints(refused_files: &[String], without_events: u64) -> Vec<String> {
    let mut lines = Vec::new();
    if !refused_files.is_empty() {
        let count = refused_files.len() as u64;
        let were = if count == 1 { "was" } else { "were" };
        lines.push(format!("{} {were} refused:", counted(count, "file")));
        lines.extend(refused_files.iter().map(|file| format!("  {file}")));
    }
    if without_events > 0 {
        let has = if without_events == 1 { "has" } else { "have" };
        lines.push(format!(
            "{} {has} no events: were they written with `include_events=NONE`?",
            counted(without_events, "tracker")
        ));
    }
    lines
}

/// What so many records are.
pub(crate) fn dead_letters(count: u64) -> &'static str {
    if count == 1 { "a dead letter" } else { "dead letters" }
}

fn with_unit(value: f64, shape: Shape) -> String {
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

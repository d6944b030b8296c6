//! The summary at the end, for people and as JSON.

use std::time::Duration;

use serde_json::{Map, Value, json};
use turnmill_ingest::RowCounts;
use turnmill_model::tables::PUBLIC;
use turnmill_pipeline::Drained;

use crate::progress::{counted, grouped};
use crate::totals::{Totals, row};

/// Contents of the summary.
pub(crate) struct Outcome {
    pub(crate) store: String,
    pub(crate) inputs: usize,
    /// Error messages of skipped files.
    pub(crate) refused_files: Vec<String>,
    /// Number of trackers without events.
    pub(crate) without_events: u64,
    pub(crate) drained: Drained,
    pub(crate) elapsed: Duration,
    /// Number of dead letters in the store before this run.
    pub(crate) dead_letters_before: u64,
    /// Totals of the whole store. `None` unless they were requested or this run filled the store.
    pub(crate) totals: Option<Totals>,
}

impl Outcome {
    fn rate(&self) -> u64 {
        let records = self.drained.report.counts.records as f64;
        (records / self.elapsed.as_secs_f64().max(0.001)) as u64
    }

    /// Returns the summary as text.
    pub(crate) fn text(&self) -> String {
        let counts = &self.drained.report.counts;
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
        for (what, count) in [
            ("new events", counts.events),
            ("duplicates", counts.duplicates),
            ("dead letters", counts.dead_letters),
            ("skipped", counts.skipped),
        ] {
            lines.push(row(what, grouped(number(count))));
        }
        let late = self.drained.report.late;
        if late > 0 {
            lines.push(row("of the events, late", grouped(late)));
        }
        lines.push(row("time", format!("{:.1} s", self.elapsed.as_secs_f64())));
        lines.push(row("records per second", grouped(self.rate())));

        lines.push(String::new());
        match &self.totals {
            // In a new store these are the rows of this run.
            Some(totals) => lines.extend(totals.lines()),
            None => lines.extend(self.written()),
        }
        lines.join("\n") + "\n"
    }

    /// Returns the rows of public tables that this run changed, in the order of the tables.
    fn rows(&self) -> impl Iterator<Item = &RowCounts> {
        let rows = &self.drained.report.rows;
        PUBLIC.iter().filter_map(|table| rows.iter().find(|rows| rows.table == table.name))
    }

    /// Returns lines about the rows that this run changed.
    fn written(&self) -> Vec<String> {
        let line =
            |name: &str, [one, two, three]: [&str; 3]| format!("{name:<30} {one:>12} {two:>12} {three:>12}");
        let mut lines = vec![line("Rows of this run", ["inserted", "updated", "deleted"])];
        for table in self.rows() {
            let [inserts, updates, deletes] = [table.inserts, table.updates, table.deletes].map(grouped);
            lines.push(line(&format!("  {}", table.table), [&inserts, &updates, &deletes]));
        }
        if lines.len() == 1 { vec!["No rows changed".into()] } else { lines }
    }

    /// Returns lines about problems.
    fn problems(&self) -> Vec<String> {
        let mut lines = complaints(&self.refused_files, self.without_events);
        let (now, before) = (number(self.drained.report.counts.dead_letters), self.dead_letters_before);
        if now + before == 0 {
            return lines;
        }
        if now == 0 {
            lines.push(format!("the store holds {} of earlier runs", counted(before, "dead letter")));
        } else {
            let became = dead_letters(now);
            let earlier = if before > 0 {
                format!(", in addition to {} of earlier runs", grouped(before))
            } else {
                String::new()
            };
            lines.push(format!("{} became {became}{earlier}:", counted(now, "record")));
        }
        for (reason, count) in &self.drained.report.dead_letters {
            lines.push(format!("  {:<28} {:>12}", reason.as_str(), grouped(*count)));
        }
        lines.push(format!("  to list them: turnmill dead-letters list {}", self.store));
        lines
    }

    /// Returns the summary as JSON.
    pub(crate) fn json(&self) -> Value {
        let report = &self.drained.report;
        let counts = &report.counts;
        let rows: Map<_, _> = self
            .rows()
            .map(|rows| {
                let RowCounts { table, inserts, updates, deletes } = rows;
                ((*table).to_owned(), json!({"inserted": inserts, "updated": updates, "deleted": deletes}))
            })
            .collect();
        let dead_letters: Map<_, _> = report
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
            "late": report.late,
            "replays": report.replays,
            "interrupted": self.drained.stopped,
            "seconds": self.elapsed.as_secs_f64(),
            "records_per_second": self.rate(),
            "rows": rows,
            "dead_letters_by_reason": dead_letters,
            "dead_letters_before": self.dead_letters_before,
            "tables": self.totals.as_ref().map(Totals::tables_json),
            "metrics": self.totals.as_ref().map(Totals::metrics_json),
        })
    }
}

/// Converts a count of the ledger, which is never negative in one run's sum.
fn number(count: i64) -> u64 {
    u64::try_from(count).unwrap_or_default()
}

/// Returns lines about skipped files and empty trackers.
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
            "{} {has} no events, probably because of `include_events=NONE` in the request that exported them",
            counted(without_events, "tracker")
        ));
    }
    lines
}

/// Returns the noun for a number of dead letters.
pub(crate) fn dead_letters(count: u64) -> &'static str {
    if count == 1 { "a dead letter" } else { "dead letters" }
}

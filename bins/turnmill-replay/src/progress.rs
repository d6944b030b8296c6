//! Shows progress: a bar on a terminal, nothing in a pipe.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use turnmill_pipeline::{Event, Observer, explain, rounded};
use turnmill_source::{Opened, RecordBatch, RecordOutcome};

use crate::inputs::Input;

/// The display of one input.
pub(crate) struct Display {
    bar: ProgressBar,
    records: u64,
    /// Number of trackers without events.
    pub(crate) without_events: u64,
    /// Whether positions can be compared with the size of the file.
    sized: bool,
    quiet: bool,
}

impl Display {
    pub(crate) fn new(input: &Input, quiet: bool) -> Self {
        let shown = !quiet && std::io::stderr().is_terminal();
        let bar = if shown { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        let plain = input.size.filter(|_| !input.name.ends_with(".gz") && !input.name.ends_with(".zst"));
        // Without a size to compare with (streams, compressed files) there is only a count.
        let template = if let Some(size) = plain {
            bar.set_length(size);
            "{prefix}  {wide_bar} {percent:>3} %  {msg}  {eta}"
        } else {
            "{prefix}  {spinner} {bytes}  {msg}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(input.name.clone());
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, records: 0, without_events: 0, sized: plain.is_some(), quiet }
    }

    /// Shows that the records of a batch have been processed.
    pub(crate) fn passed(&mut self, batch: &RecordBatch) {
        self.records += batch.len() as u64;
        self.without_events += without_events(batch);
        match batch.to().filter(|_| self.sized) {
            Some(position) => self.bar.set_position(position.offset),
            None => self.bar.inc(batch.bytes() as u64),
        }
        let rate = self.records as f64 / self.bar.elapsed().as_secs_f64().max(0.001);
        self.bar.set_message(format!("{}, {}/s", counted(self.records, "record"), grouped(rate as u64)));
    }

    fn message(&self, text: &str) {
        if !self.quiet {
            self.bar.suspend(|| crate::message(text));
        }
    }
}

impl Observer for Display {
    fn observe(&mut self, event: &Event<'_>) {
        match event {
            Event::Committed { batch, .. } => self.passed(batch),
            Event::Opened { partition, opened: Opened::Gap { missing } } => {
                let lost = counted(*missing, "record");
                self.message(&format!("{partition}: {lost} deleted by retention before they were read"));
            }
            Event::Opened { partition, .. } => {
                self.message(&format!("{partition} was replaced by another one; reading it from its start"));
            }
            Event::Retrying { error, pause } => {
                self.message(&format!("{}; retrying in {}", explain(*error), rounded(*pause)));
            }
            Event::Fenced { error } => {
                self.message(&format!("{}; resuming from the stored position", explain(*error)));
            }
            _ => {}
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Returns the number of trackers in a batch that have no events.
pub(crate) fn without_events(batch: &RecordBatch) -> u64 {
    let empty = batch.iter().filter(|record| {
        matches!(record.outcome, RecordOutcome::Skipped)
            && record.payload.trim_ascii_start().starts_with(b"{")
    });
    empty.count() as u64
}

/// Formats a count with its noun: `1 record`, `2,000 records`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    let end = if number == 1 { "" } else { "s" };
    format!("{} {noun}{end}", grouped(number))
}

/// Formats a number with commas between groups of three digits.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

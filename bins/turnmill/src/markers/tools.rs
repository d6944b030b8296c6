//! Functions that several subcommands of `turnmill markers` share.

use std::io::IsTerminal;
use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};
use turnmill_markers::MarkerSet;
use turnmill_model::Settings;
use turnmill_pipeline::{PatternEvent, counted, explain, rounded};
use turnmill_sink::{Class, Store as _, StoreError};
use turnmill_stores::AnyStore;

use super::Failure;
use crate::console;
use crate::definitions::Definitions;
use crate::store_args::StoreChoice;

/// Reads marker files, and prints warnings about them.
pub(super) fn read_markers(paths: &[PathBuf]) -> Result<MarkerSet, Failure> {
    let definitions = Definitions::read(paths).map_err(Failure::Definitions)?;
    for warning in &definitions.warnings {
        console::message(&format!("warning: {warning}"));
    }
    Ok(definitions.markers)
}

/// Opens the store with the settings it was filled with. `new` creates it if it does not exist.
pub(super) async fn open(choice: StoreChoice<'_>, new: bool) -> Result<(AnyStore, Settings), Failure> {
    Ok(choice.for_writing(new.then(Settings::default)).await?)
}

/// Opens an existing store for reading. A standby, or a user with read privileges only, is enough.
pub(super) async fn open_for_reading(choice: StoreChoice<'_>) -> Result<(AnyStore, Settings), Failure> {
    let (mut store, settings) = choice.for_reading().await?;
    store.open(&settings).await?;
    Ok((store, settings))
}

/// Closes the store.
pub(super) fn close(store: AnyStore) -> Result<(), StoreError> {
    match store.finish() {
        // Another program is using the store, which is allowed.
        Err(error) if matches!(error.class(), Class::Retryable { .. }) => Ok(()),
        result => result,
    }
}

/// Shows progress: a bar on a terminal, nothing in a pipe.
pub(super) struct Display {
    bar: ProgressBar,
    quiet: bool,
}

impl Display {
    pub(super) fn new(quiet: bool) -> Self {
        let shown = !quiet && std::io::stderr().is_terminal();
        let bar = if shown { ProgressBar::new(u64::from(u32::MAX)) } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {percent:>3} %  {msg}  {eta}") {
            bar.set_style(style);
        }
        Self { bar, quiet }
    }

    /// Shows progress and retries.
    pub(super) fn show(&self, event: &PatternEvent<'_>) {
        match event {
            PatternEvent::Reached { sender, senders } => {
                // Ids are spread evenly, so their first bits give the progress.
                self.bar.set_position((sender.0.as_u128() >> 96) as u64);
                self.bar.set_message(counted(*senders, "sender"));
            }
            PatternEvent::Retrying { error, pause } if !self.quiet => {
                let text = format!("{}; retrying in {}", explain(*error), rounded(*pause));
                self.bar.suspend(|| console::message(&text));
            }
            _ => {}
        }
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

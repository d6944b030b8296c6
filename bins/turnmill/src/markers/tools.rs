//! What the commands on stores have in common.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use turnmill_model::Settings;
use turnmill_pipeline::{PatternEvent, counted, explain, rounded};
use turnmill_sink::{Class, Store as _, StoreError};
use turnmill_stores::AnyStore;

use crate::store_args::StoreChoice;
pub(super) use crate::store_args::say;

/// Opens the store with the settings that it was filled with; `new` makes it if it is not there.
pub(super) async fn open(choice: StoreChoice<'_>, new: bool) -> Result<(AnyStore, Settings), crate::Failure> {
    choice.for_writing(new.then(Settings::default)).await
}

/// Opens a store that is there to look at it: nothing is written, and a standby or a user who may only read are enough.
pub(super) async fn open_to_look(choice: StoreChoice<'_>) -> Result<(AnyStore, Settings), crate::Failure> {
    let (mut store, settings) = choice.for_reading().await?;
    store.open(&settings).await?;
    Ok((store, settings))
}

/// Closes the store.
pub(super) fn close(store: AnyStore) -> Result<(), StoreError> {
    match store.finish() {
        // Somebody else is using it, which may be.
        Err(error) if matches!(error.class(), Class::Retryable { .. }) => Ok(()),
        result => result,
    }
}

/// A bar on a terminal, nothing in a pipe.
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

    /// Shows what is told.
    pub(super) fn tell(&self, event: &PatternEvent<'_>) {
        match event {
            PatternEvent::Reached { sender, senders } => {
                // Ids are spread evenly, so the first bits tell how much is done.
                self.bar.set_position((sender.0.as_u128() >> 96) as u64);
                self.bar.set_message(counted(*senders, "sender"));
            }
            PatternEvent::Retrying { error, pause } if !self.quiet => {
                let text = format!("{}; trying again in {}", explain(*error), rounded(*pause));
                self.bar.suspend(|| say(&text));
            }
            _ => {}
        }
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

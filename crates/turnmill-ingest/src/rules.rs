//! The rules that decide which rows a record gives.

use std::fmt;

use turnmill_engine::Engine;
use turnmill_model::{Decoder, Decoders, Settings};

/// Decides which rows a record gives: holds the settings, the decoders and the engine.
///
/// All of them have to agree with each other and with what the store remembers. So they are one
/// value, and every writer to a store is made from it: [`Ingest`](crate::Ingest) here, and
/// `Pipeline` in `turnmill-pipeline`. The decoders are made from the settings here, so that no
/// second copy of them can differ.
///
/// A store that holds senders of several formats needs the decoders of all of them, in every
/// program that writes to it: late events and rebuilds read its history.
///
/// Cheap to clone and to share between threads.
///
/// ```
/// use turnmill_formats::rasa::RasaDecoder;
/// use turnmill_ingest::RowRules;
/// use turnmill_model::{SessionIdMode, Settings};
///
/// let settings = Settings { session_id: SessionIdMode::Off, ..Settings::default() };
/// let rules = RowRules::new(&settings, turnmill_formats::shipped);
/// assert_eq!(rules.settings(), &settings);
/// assert_eq!(rules.decoders().default_decoder().name(), "rasa");
///
/// // A decoder with options of its own gets the settings all the same.
/// let rules = RowRules::new(&settings, |settings| RasaDecoder::new(settings).with_max_bytes(1 << 20));
/// ```
#[derive(Clone)]
pub struct RowRules {
    settings: Settings,
    decoders: Decoders,
    engine: Engine,
}

impl RowRules {
    /// Creates rules under `settings`, with the decoders that `decoders` makes from them: one
    /// decoder or several.
    pub fn new<D: Into<Decoders>>(settings: &Settings, decoders: impl FnOnce(&Settings) -> D) -> Self {
        Self {
            settings: settings.clone(),
            decoders: decoders(settings).into(),
            engine: Engine::new(settings),
        }
    }

    /// Adds the decoder that `decoder` makes from the settings. It takes the place of one with the
    /// same name.
    #[must_use]
    pub fn with_decoder<D: Decoder + 'static>(mut self, decoder: impl FnOnce(&Settings) -> D) -> Self {
        self.decoders = self.decoders.with(decoder(&self.settings));
        self
    }

    /// Sets the least number of events between two checkpoints of a sender's history. It changes
    /// the cost of a late event and the size of histories, but no row.
    #[must_use]
    pub fn with_checkpoint_every(mut self, events: u16) -> Self {
        self.engine = self.engine.checkpoint_every(events);
        self
    }

    /// Sets how many rows a replay of late events gathers before it compares them and keeps the
    /// differences only (16,384 unless set).
    ///
    /// It bounds the memory of a long replay and changes no row.
    #[must_use]
    pub fn with_gathered_changes(mut self, changes: usize) -> Self {
        self.engine = self.engine.gather(changes);
        self
    }

    /// Returns the settings, which are also those that a store has to be opened with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the decoders.
    #[must_use]
    pub fn decoders(&self) -> &Decoders {
        &self.decoders
    }

    /// Returns the engine, which knows no patterns yet.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }
}

impl fmt::Debug for RowRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowRules")
            .field("settings", &self.settings)
            .field("decoders", &self.decoders)
            .finish_non_exhaustive()
    }
}

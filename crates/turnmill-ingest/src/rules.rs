//! What decides about rows.

use std::fmt;
use std::sync::Arc;

use turnmill_engine::Engine;
use turnmill_model::{Decoder, Settings};

/// What decides which rows a record gives: the settings, the decoder and the engine.
///
/// All three have to agree, with each other and with what the store remembers. So they are one value, and whatever writes to a
/// store is made from it: [`Ingest`](crate::Ingest) here, and `Pipeline` in `turnmill-pipeline`. The decoder is made from the
/// settings while the value is made, so that there is no second copy of them that could differ.
///
/// Cheap to clone and to share between threads.
///
/// ```
/// use turnmill_formats::rasa::RasaDecoder;
/// use turnmill_ingest::RowRules;
/// use turnmill_model::{SessionIdMode, Settings};
///
/// let settings = Settings { session_id: SessionIdMode::Off, ..Settings::default() };
/// let rules = RowRules::new(&settings, RasaDecoder::new);
/// assert_eq!(rules.settings(), &settings);
/// assert_eq!(rules.decoder().name(), "rasa");
///
/// // A decoder with options of its own gets the settings all the same.
/// let rules = RowRules::new(&settings, |settings| RasaDecoder::new(settings).with_max_bytes(1 << 20));
/// ```
#[derive(Clone)]
pub struct RowRules {
    settings: Settings,
    decoder: Arc<dyn Decoder>,
    engine: Engine,
}

impl RowRules {
    /// Rules under `settings`, with the decoder that `decoder` makes from them.
    pub fn new<D: Decoder + 'static>(settings: &Settings, decoder: impl FnOnce(&Settings) -> D) -> Self {
        Self {
            settings: settings.clone(),
            decoder: Arc::new(decoder(settings)),
            engine: Engine::new(settings),
        }
    }

    /// Sets how many events a sender has at least between two checkpoints of its history. It changes what a late event costs
    /// and how large histories are, but no row.
    #[must_use]
    pub fn with_checkpoint_every(mut self, events: u16) -> Self {
        self.engine = self.engine.checkpoint_every(events);
        self
    }

    /// Sets how many rows a replay of late events gathers before it compares them and keeps the
    /// differences only (16,384 unless set). It bounds the memory of a long replay and changes no row.
    #[must_use]
    pub fn with_gathered_changes(mut self, changes: usize) -> Self {
        self.engine = self.engine.gather(changes);
        self
    }

    /// The settings, which are also what a store is to be opened with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The decoder.
    #[must_use]
    pub fn decoder(&self) -> &dyn Decoder {
        &*self.decoder
    }

    /// The engine, which knows no patterns yet.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }
}

impl fmt::Debug for RowRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowRules")
            .field("settings", &self.settings)
            .field("decoder", &self.decoder.name())
            .finish_non_exhaustive()
    }
}

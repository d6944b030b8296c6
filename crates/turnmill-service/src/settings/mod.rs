//! Settings: `turnmill.toml`, the environment, flags.
//!
//! One table ([`SETTINGS`]) describes them all; [`Loaded::of_process`] reads them. What is wrong is reported all at once, each
//! with the place where it stands; names that are nearly right get a suggestion. Values of secrets are in no message, no
//! `Debug`, and not in the printed configuration.

mod assemble;
mod database;
mod document;
mod effective;
mod endpoints;
mod environment;
mod file;
mod flags;
mod load;
mod origin;
mod problem;
mod properties;
mod suggest;
mod table;
mod tracker_store;
mod typed;
mod value;

pub use database::DatabaseTarget;
pub use document::{example, markdown};
pub use effective::{Effective, EffectiveValue};
pub use environment::Environment;
pub use flags::Flags;
pub use load::{Loaded, Needs, ReadFile};
pub use origin::Origin;
pub use problem::{Note, Problem, SettingsError, Severity};
pub use table::{Id, Kind, Places, SETTINGS, Setting, Use};
pub use tracker_store::TrackerStore;
pub use turnmill_text::Secret;
pub use typed::{
    DatabaseSettings, DeadLetterSettings, HttpSettings, KafkaSettings, LogLevel, LogSettings,
    SecurityProtocol, ServiceSettings, WorkSettings,
};

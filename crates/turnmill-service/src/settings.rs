//! Settings: `turnmill.toml`, environment variables, flags.
//!
//! One table ([`SETTINGS`]) describes all settings, and [`Loaded::of_process`] reads them. All
//! problems are reported at once, each with the file and line, variable or flag that causes it. A
//! misspelled name gets a suggestion. Secrets appear in no message, no `Debug` output, and not in
//! the printed configuration.

mod analytics;
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

pub use analytics::AnalyticsSettings;
pub use assemble::MIN_TOKEN;
pub use database::DatabaseTarget;
pub use document::{example, markdown};
pub use effective::{Effective, EffectiveValue};
pub use environment::Environment;
pub use flags::Flags;
pub use load::{Loaded, ReadFile, RequiredSettings};
pub use origin::Origin;
pub use problem::{Note, Problem, SettingsError, Severity};
pub use table::{AllowedIn, Kind, SETTINGS, Setting, SettingId, Support};
pub use tracker_store::TrackerStore;
pub use turnmill_text::Secret;
pub use typed::{
    DatabaseSettings, DeadLetterSettings, HttpSettings, KafkaSettings, LogLevel, LogSettings,
    RowTopicSettings, SecurityProtocol, ServiceSettings, WorkSettings,
};

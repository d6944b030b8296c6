//! What all threads of the service share.

use tokio::runtime::Handle;
use turnmill_markers::MarkerSet;
use turnmill_pipeline::{Stop, explain};
use turnmill_service::Health;
use turnmill_service::metrics::ServiceMetrics;
use turnmill_service::settings::ServiceSettings;
use turnmill_sink::StoreError;

use super::patterns::PatternsApi;
use super::state::SharedState;
use crate::connect::{self, Target};

/// What all threads of the service share.
pub(super) struct Service {
    pub(super) settings: ServiceSettings,
    pub(super) target: Target,
    pub(super) metrics: ServiceMetrics,
    pub(super) health: Health,
    pub(super) state: SharedState,
    pub(super) stop: Stop,
    pub(super) patterns: PatternsApi,
    /// Markers to upload before reading starts.
    pub(super) markers: Option<MarkerSet>,
    pub(super) runtime: Handle,
}

/// Returns how operators tell this process from others: host, if it is known, and process id.
pub(super) fn process_name() -> String {
    let id = std::process::id();
    match std::env::var("HOSTNAME") {
        Ok(host) if !host.is_empty() => format!("{host}-{id}"),
        _ => id.to_string(),
    }
}

/// Returns the message of an error, with the setting to check.
pub(super) fn error_with_setting(error: &StoreError) -> String {
    let text = explain(error);
    match connect::setting_of(error) {
        Some(setting) if !text.contains("TURNMILL_") && !text.contains("RASA_") && !text.contains("_DB_") => {
            format!("{text} ({setting})")
        }
        _ => text,
    }
}

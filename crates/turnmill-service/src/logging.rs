//! Logging: text or JSON lines on standard error.

use std::fmt::Debug;
use std::io::IsTerminal;
use std::str::FromStr;

use tracing::field::Field;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Registry, fmt};
use turnmill_text::{escaped, escaped_message};

use crate::settings::{Loaded, LogLevel, LogSettings, Severity};

/// Error of setting up logging.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoggingError {
    /// `TURNMILL_LOG` cannot be parsed.
    #[error("TURNMILL_LOG: expected levels by module, such as info,turnmill_pipeline=debug")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// Logging was set up before.
    #[error("logging is set up already")]
    Twice(#[source] TryInitError),
}

/// Returns the filter of log messages. Libraries log at the configured level too, but never below
/// `INFO`.
///
/// # Errors
///
/// [`LoggingError::Filter`].
pub fn filter(settings: &LogSettings) -> Result<Targets, LoggingError> {
    if let Some(text) = &settings.filter {
        return Targets::from_str(text).map_err(LoggingError::Filter);
    }
    let (ours, theirs) = match settings.level {
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::INFO),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::INFO),
        LogLevel::Warning => (LevelFilter::WARN, LevelFilter::WARN),
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
    };
    Ok(Targets::new().with_default(theirs).with_target("turnmill", ours))
}

/// Writes a field of a text line.
///
/// Control characters are escaped and lines after the first are indented, so that no text of the
/// data can look like a log line.
fn field(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> std::fmt::Result {
    let text = format!("{value:?}");
    if field.name() == "message" {
        return writer.write_str(&escaped_message(&text));
    }
    if field.name().starts_with("log.") {
        // The origin of a record of the `log` crate, which the target contains as well.
        return Ok(());
    }
    // The message comes first. Field names come from our code, so they need no escaping.
    write!(writer, " {}={}", field.name(), escaped(&text))
}

/// Sets up logging for the whole process, including records of the `log` crate.
///
/// # Errors
///
/// [`LoggingError::Filter`], and [`LoggingError::Twice`] at a second call.
pub fn init(settings: &LogSettings) -> Result<(), LoggingError> {
    let filter = filter(settings)?;
    let output = if settings.json {
        fmt::layer().json().flatten_event(true).with_writer(std::io::stderr).boxed()
    } else {
        fmt::layer()
            .fmt_fields(debug_fn(field))
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr)
            .boxed()
    };
    Registry::default().with(output.with_filter(filter)).try_init().map_err(LoggingError::Twice)
}

/// Logs the effective configuration and the notes about it. The service calls it once, at start.
pub fn announce(loaded: &Loaded) {
    if loaded.settings.log.json {
        tracing::info!(settings = %loaded.effective.json(), "effective configuration");
    } else {
        tracing::info!("effective configuration:\n{}", loaded.effective);
    }
    for note in &loaded.notes {
        match note.severity {
            Severity::Info => tracing::info!("{note}"),
            Severity::Warning => tracing::warn!("{note}"),
        }
    }
}

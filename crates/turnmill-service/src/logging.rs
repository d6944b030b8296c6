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

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoggingError {
    /// `TURNMILL_LOG` cannot be read.
    #[error("TURNMILL_LOG: expected levels by module such as info,turnmill_pipeline=debug")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// The process logs already.
    #[error("logging is set up already")]
    Twice(#[source] TryInitError),
}

/// Which messages are logged: ours from the level on, those of libraries too, but not in more detail than `INFO`.
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

/// Writes a field of a line of text. What a terminal obeys is escaped, and a line after the first is indented: no text of the data
/// can be taken for a line of the log.
fn field(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> std::fmt::Result {
    let text = format!("{value:?}");
    if field.name() == "message" {
        return writer.write_str(&escaped_message(&text));
    }
    if field.name().starts_with("log.") {
        // Where a record of the `log` crate came from; the target says it already.
        return Ok(());
    }
    // The message comes first. A name of a field is ours.
    write!(writer, " {}={}", field.name(), escaped(&text))
}

/// Logs from here on, for the whole process; records of the `log` crate too.
///
/// # Errors
///
/// A filter that cannot be read, and a second call.
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

/// Logs the effective configuration, and what there is to say about it: once, at start.
pub fn announce(loaded: &Loaded) {
    if loaded.settings.log.json {
        tracing::info!(settings = %loaded.effective.json(), "effective configuration");
    } else {
        tracing::info!("effective configuration:\n{}", loaded.effective);
    }
    for note in &loaded.notes {
        match note.severity {
            Severity::Info => tracing::info!(setting = note.setting, "{}", note.text),
            Severity::Warning => tracing::warn!(setting = note.setting, "{}", note.text),
        }
    }
}

//! Records that own their content.

use std::fmt;

use turnmill_model::{Record, SourceFactsBuf};

/// A [`Record`] that owns its content. Its `Debug` form shows the payload as text.
#[derive(Clone, Default, PartialEq)]
pub struct OwnedRecord {
    /// The body.
    pub payload: Vec<u8>,
    /// The sender, if the envelope names it.
    pub sender: Option<String>,
    /// The record's own time, Unix seconds.
    pub time: Option<f64>,
    /// The record's environment.
    pub environment: Option<String>,
    /// The record's number in a table that numbers its rows.
    pub row: Option<i64>,
    /// What the source says about all of its records.
    pub facts: SourceFactsBuf,
}

impl OwnedRecord {
    /// Creates a record of only a body.
    #[must_use]
    pub fn body(payload: impl Into<Vec<u8>>) -> Self {
        Self { payload: payload.into(), ..Self::default() }
    }

    /// Returns the record as a decoder takes it.
    #[must_use]
    pub fn as_record(&self) -> Record<'_> {
        Record {
            payload: &self.payload,
            sender: self.sender.as_deref(),
            time: self.time,
            environment: self.environment.as_deref(),
            row: self.row,
            facts: self.facts.borrow(),
            kept: None,
        }
    }
}

impl fmt::Debug for OwnedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let payload = String::from_utf8_lossy(&self.payload);
        f.write_str(turnmill_model::text::cut(&payload, 600))?;
        if payload.len() > 600 {
            write!(f, "... ({} bytes)", self.payload.len())?;
        }
        if let Some(sender) = &self.sender {
            write!(f, " sender={sender:?}")?;
        }
        if let Some(time) = self.time {
            write!(f, " time={time:?}")?;
        }
        if let Some(environment) = &self.environment {
            write!(f, " environment={environment:?}")?;
        }
        if let Some(row) = self.row {
            write!(f, " row={row}")?;
        }
        if self.facts != SourceFactsBuf::default() {
            write!(f, " {:?}", self.facts)?;
        }
        Ok(())
    }
}

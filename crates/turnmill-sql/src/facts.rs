//! Encodes a source's facts about its records in one column of a dead letter: JSON, or NULL if
//! there are none.

use turnmill_model::SourceFactsBuf;
use turnmill_sink::StoreError;

/// Encodes facts. Returns `None` if all have their default values.
///
/// ```
/// use turnmill_model::SourceFactsBuf;
/// use turnmill_sql::facts::{read, write};
/// let facts = SourceFactsBuf { anonymised: true, ..SourceFactsBuf::default() };
/// assert_eq!(read(write(&facts).as_deref())?, facts);
/// assert_eq!(write(&SourceFactsBuf::default()), None);
/// # Ok::<(), turnmill_sink::StoreError>(())
/// ```
#[must_use]
pub fn write(facts: &SourceFactsBuf) -> Option<String> {
    // Serialising plain data cannot fail.
    (*facts != SourceFactsBuf::default()).then(|| serde_json::to_string(facts).unwrap_or_default())
}

/// Decodes facts.
///
/// # Errors
///
/// [`StoreError::Damaged`] if the text is not what [`write()`] writes.
pub fn read(text: Option<&str>) -> Result<SourceFactsBuf, StoreError> {
    let damaged = |error| StoreError::Damaged {
        detail: format!("what the source of a dead letter says cannot be read: {error}"),
    };
    text.map_or_else(|| Ok(SourceFactsBuf::default()), |text| serde_json::from_str(text).map_err(damaged))
}

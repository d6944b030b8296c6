//! How what a source says about its records is written into one column of a dead letter: JSON, or NULL if it says nothing.

use turnmill_model::SourceFactsBuf;
use turnmill_sink::StoreError;

/// Writes facts down; `None` for those of a source that says nothing.
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
    // Plain data cannot fail to serialise.
    (*facts != SourceFactsBuf::default()).then(|| serde_json::to_string(facts).unwrap_or_default())
}

/// Reads facts back.
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

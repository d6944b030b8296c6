//! Releases: when a store's models came into use.

use serde::Serialize;

use crate::run::{AskError, ReadQueries};
use crate::value::{Query, Row, Value};

/// A release: the first session of a model, where another model was used before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Release {
    /// Time of the session's first event: UTC, `YYYY-MM-DD HH:MM:SS.ffffff`.
    pub at: String,
    /// The model.
    pub name: String,
}

/// Returns the releases of a store, the oldest first. The earliest model is none.
///
/// # Errors
///
/// Those of the store.
pub async fn releases<S: ReadQueries>(store: &mut S) -> Result<Vec<Release>, AskError<S::Error>> {
    let sql = "SELECT model_id, min(started_at) FROM ext_session WHERE model_id IS NOT NULL\n\
               GROUP BY model_id ORDER BY 2, 1";
    let results = store.read(&[Query::new("releases", sql.into())]).await.map_err(AskError::Store)?;
    Ok(results.iter().flatten().skip(1).filter_map(read).collect())
}

fn read(row: &Row) -> Option<Release> {
    let name = row.first().and_then(Value::text)?.to_owned();
    Some(Release { at: row.get(1)?.time()?.to_string(), name })
}

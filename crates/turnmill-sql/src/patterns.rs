//! Encodes the patterns of a store.

use serde_json::Value;
use turnmill_engine::Scope;
use turnmill_model::Micros;
use turnmill_sink::StoreError;

use crate::Dialect;

/// Returns the query for all patterns in their order: the columns of `rasa_patterns`, times as
/// text, then their scopes.
#[must_use]
pub fn select(dialect: Dialect) -> String {
    let time = |column: &str| match dialect {
        Dialect::Sqlite => format!("pattern.\"{column}\""),
        Dialect::Postgres => format!("to_char(pattern.\"{column}\", 'YYYY-MM-DD HH24:MI:SS.US')"),
    };
    format!(
        "SELECT pattern.\"id\", pattern.\"name\", pattern.\"description\", pattern.\"config\", \
         pattern.\"is_active\", {}, {}, own.\"scopes\" FROM _turnmill_pattern AS own \
         JOIN rasa_patterns AS pattern ON pattern.\"id\" = own.\"id\" ORDER BY own.\"number\"",
        time("created_at"),
        time("updated_at")
    )
}

/// Encodes scopes: JSON lists of revision, beginning and end, in microseconds.
///
/// ```
/// use turnmill_engine::Scope;
/// use turnmill_model::Micros;
/// use turnmill_sql::patterns::{read_scopes, write_scopes};
/// let scopes = [Scope { revision: 3, from: Some(Micros(17)), until: None }];
/// assert_eq!(write_scopes(&scopes), "[[3,17,null]]");
/// assert_eq!(read_scopes("[[3,17,null]]")?, scopes);
/// # Ok::<(), turnmill_sink::StoreError>(())
/// ```
#[must_use]
pub fn write_scopes(scopes: &[Scope]) -> String {
    let time = |time: Option<Micros>| time.map_or(Value::Null, |time| time.0.into());
    let scope = |scope: &Scope| Value::from(vec![scope.revision.into(), time(scope.from), time(scope.until)]);
    Value::from_iter(scopes.iter().map(scope)).to_string()
}

/// Decodes what [`write_scopes`] encoded.
///
/// # Errors
///
/// [`StoreError::Damaged`] if it is something else.
pub fn read_scopes(text: &str) -> Result<Vec<Scope>, StoreError> {
    let read: Vec<(u64, Option<i64>, Option<i64>)> = serde_json::from_str(text).map_err(|error| {
        StoreError::Damaged { detail: format!("the scopes of a pattern cannot be read: {error}: {text}") }
    })?;
    let scope = |(revision, from, until): (u64, Option<i64>, Option<i64>)| Scope {
        revision,
        from: from.map(Micros),
        until: until.map(Micros),
    };
    Ok(read.into_iter().map(scope).collect())
}

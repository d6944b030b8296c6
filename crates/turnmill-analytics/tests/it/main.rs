//! Tests of ranges, statistics and queries, without a database.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod boards;
mod document;
mod ranges;
mod statistics;

use insta::assert_snapshot;
use turnmill_analytics::metrics::{self, Options};
use turnmill_sql::Dialect;

#[test]
fn metrics_queries() {
    for dialect in [Dialect::Sqlite, Dialect::Postgres] {
        let metrics = metrics::all(dialect, &Options::default());
        assert_eq!(metrics.len(), 10);
        let text = |metric: metrics::Metric| {
            let metrics::Metric { name, doc, shape, sql, parameters } = metric;
            format!("-- {name} ({shape:?}): {doc}\n-- {parameters:?}\n{sql};\n")
        };
        assert_snapshot!(format!("metrics_{dialect:?}"), metrics.into_iter().map(text).collect::<String>());
    }
}

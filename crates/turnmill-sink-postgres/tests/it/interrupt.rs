//! A question without a caller, and one that takes too long.

use std::time::{Duration, Instant};

use turnmill_analytics::{Query, ReadQueries as _};
use turnmill_sink_postgres::PostgresReader;

use crate::support::{Schemas, block_on, opened};

/// Time after which a test fails. It is far more than a slow machine needs.
const PATIENCE: Duration = Duration::from_secs(120);

async fn read(reader: &mut PostgresReader, sql: &[&str]) -> Result<i64, String> {
    let queries: Vec<Query> = sql.iter().map(|sql| Query::new("test", (*sql).into())).collect();
    let rows = reader.read(&queries).await;
    rows.map(|rows| rows[0][0][0].integer()).map_err(|error| error.to_string())
}

/// Waits until as many queries with this text run in the server.
async fn wait_until_running(reader: &mut PostgresReader, text: &str, count: i64) {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%{text}%' \
         AND pid <> pg_backend_pid()"
    );
    let start = Instant::now();
    loop {
        let running = read(reader, &[&sql]).await.unwrap();
        if running == count {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{running} queries run in the server, {count} expected");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn an_interrupted_query_ends_in_the_server_and_no_other_begins() {
    let Some(mut schemas) = Schemas::new() else { return };
    block_on(async {
        let store = opened(&mut schemas).await;
        let mut other = store.reader(PATIENCE);
        let mut reader = store.reader(Duration::from_secs(100_000));
        assert_eq!(read(&mut reader, &["SELECT 7"]).await, Ok(7));
        let interrupt = reader.interrupt_handle();
        // The two texts differ, so that the query that counts is not counted.
        let asked = tokio::spawn(async move {
            let error =
                read(&mut reader, &["SELECT 1 WHERE pg_sleep(100000) IS NOT NULL"]).await.unwrap_err();
            (error, read(&mut reader, &["SELECT 7"]).await.unwrap_err())
        });
        wait_until_running(&mut other, "pg_sleep(100000_", 1).await;
        interrupt.interrupt();
        let (error, later) = asked.await.unwrap();
        assert!(error.contains("was interrupted") && later.contains("was interrupted"), "{error}, {later}");
        wait_until_running(&mut other, "pg_sleep(100000_", 0).await;
    });
}

#[test]
fn the_time_limit_is_that_of_all_queries_together() {
    let Some(mut schemas) = Schemas::new() else { return };
    block_on(async {
        let store = opened(&mut schemas).await;
        let mut other = store.reader(PATIENCE);
        let mut reader = store.reader(Duration::from_secs(3));
        let started = Instant::now();
        let sleeps = ["SELECT 1 WHERE pg_sleep(2) IS NOT NULL"; 100];
        assert!(read(&mut reader, &sleeps).await.is_err());
        assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
        wait_until_running(&mut other, "pg_sleep(2_", 0).await;
        // The reader connects again.
        assert_eq!(read(&mut reader, &["SELECT 7"]).await, Ok(7));
    });
}

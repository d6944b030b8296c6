//! Reads pages of histories, for any number of senders in one round trip of three statements.

use futures_util::future::join3;
use tokio_postgres::{Error, Row};
use turnmill_engine::Checkpoint;
use turnmill_model::EventTime;
use turnmill_sink::{Chunk, HistoryPage, HistoryRequest, StoreError};
use turnmill_sql::SqlType;

use crate::connect::Connection;
use crate::failure::Failure;
use crate::transaction::query;
use crate::value::Array;

// Parameters are senders, times of interest, and the numbers of chunks to skip and to fetch. The
// first column is the number of the request, from 1 on. Each request is an ordered subquery, which
// the planner does not merge into a join: it is executed once per request, by an index.
//
// A late event at 10:01 of `u1` asks for three things: the newest checkpoint before 10:01
// (`BEFORE`), the chunks of a page of events from that checkpoint on (`CHUNKS`), and the
// checkpoints that lie in this page (`OF_PAGE`).

const BEFORE: &str = "SELECT asked.n, found.\"time\", found.\"state\" \
     FROM unnest($1::uuid[], $2::double precision[]) WITH ORDINALITY AS asked (sender, since, n) CROSS JOIN LATERAL (\
     SELECT \"time\", \"state\" FROM _turnmill_checkpoint \
     WHERE \"sender_id\" = asked.sender AND \"time\" <= asked.since ORDER BY \"time\" DESC LIMIT 1) AS found";
/// Reads the checkpoints of a page: from the least time of its first chunk (of the first page: from
/// the start) to that of the first chunk after it. `OFFSET 0` has the bounds computed once a
/// request.
const OF_PAGE: &str = "SELECT asked.n, found.\"time\", found.\"state\" \
     FROM unnest($1::uuid[], $2::double precision[], $3::bigint[], $4::bigint[]) \
     WITH ORDINALITY AS asked (sender, since, skipped, fetched, n) CROSS JOIN LATERAL (\
     SELECT coalesce(max(\"time\"), '-infinity') AS \"from\" FROM _turnmill_checkpoint \
     WHERE \"sender_id\" = asked.sender AND \"time\" <= asked.since) AS start CROSS JOIN LATERAL (\
     SELECT CASE WHEN asked.skipped = 0 THEN '-infinity' ELSE (\
     SELECT \"least\" FROM _turnmill_history \
     WHERE \"sender_id\" = asked.sender AND \"greatest\" >= start.\"from\" \
     ORDER BY \"least\", \"number\" LIMIT 1 OFFSET asked.skipped) END AS \"least\", coalesce((\
     SELECT \"least\" FROM _turnmill_history \
     WHERE \"sender_id\" = asked.sender AND \"greatest\" >= start.\"from\" \
     ORDER BY \"least\", \"number\" LIMIT 1 OFFSET asked.skipped + asked.fetched - 1), 'infinity') AS \"next\" \
     OFFSET 0) AS page CROSS JOIN LATERAL (\
     SELECT \"time\", \"state\" FROM _turnmill_checkpoint \
     WHERE \"sender_id\" = asked.sender AND \"time\" > asked.since \
     AND \"time\" >= page.\"least\" AND \"time\" < page.\"next\" ORDER BY \"time\") AS found";
/// Reads the chunks from the checkpoint that [`BEFORE`] finds. The key alone decides which
/// chunks.
const CHUNKS: &str = "SELECT asked.n, chunk.\"number\", chunk.\"least\", chunk.\"greatest\", chunk.\"bytes\" \
     FROM unnest($1::uuid[], $2::double precision[], $3::bigint[], $4::bigint[]) \
     WITH ORDINALITY AS asked (sender, since, skipped, fetched, n) CROSS JOIN LATERAL (\
     SELECT \"greatest\", \"least\", \"number\" FROM _turnmill_history \
     WHERE \"sender_id\" = asked.sender AND \"greatest\" >= coalesce((\
     SELECT max(\"time\") FROM _turnmill_checkpoint WHERE \"sender_id\" = asked.sender AND \"time\" <= asked.since), \
     '-infinity') ORDER BY \"least\", \"number\" LIMIT asked.fetched OFFSET asked.skipped) AS found \
     JOIN _turnmill_history AS chunk ON chunk.\"sender_id\" = asked.sender AND chunk.\"greatest\" = found.\"greatest\" \
     AND chunk.\"least\" = found.\"least\" AND chunk.\"number\" = found.\"number\"";

const READING: &str = "reading history";

/// The statements that [`pages`] executes.
pub(crate) const STATEMENTS: [&str; 3] = [BEFORE, CHUNKS, OF_PAGE];

/// Returns the pages of `requests`, in their order. Needs the statements to be prepared.
pub(crate) async fn pages(
    connection: &Connection,
    requests: &[HistoryRequest],
) -> Result<Vec<HistoryPage>, StoreError> {
    let columns = |time: fn(&HistoryRequest) -> f64| {
        vec![
            Array::of(SqlType::Uuid, requests.iter().map(|request| request.sender.0)),
            Array::of(SqlType::Float, requests.iter().map(time)),
        ]
    };
    let before = columns(since);
    let mut of_page = columns(since);
    of_page.push(Array::of(SqlType::Integer, requests.iter().map(|request| request.skip as u64)));
    // Fetches one chunk more than asked for, which says where the next page begins.
    let fetched = |request: &HistoryRequest| (request.limit as u64).saturating_add(1);
    of_page.push(Array::of(SqlType::Integer, requests.iter().map(fetched)));
    let (before, chunks, after) = join3(
        query(connection, BEFORE, &before),
        query(connection, CHUNKS, &of_page),
        query(connection, OF_PAGE, &of_page),
    )
    .await;
    let rows = |rows: Result<Result<Vec<Row>, Failure>, StoreError>| {
        rows?.map_err(|error| connection.fail(error, READING))
    };
    let mut pages: Vec<HistoryPage> = requests.iter().map(|_| HistoryPage::default()).collect();
    for row in rows(before)? {
        let (number, checkpoint) = checkpoint(connection, &row)?;
        if let Some(page) = pages.get_mut(number) {
            page.start = Some(checkpoint);
        }
    }
    for row in rows(after)? {
        let (number, checkpoint) = checkpoint(connection, &row)?;
        if let Some(page) = pages.get_mut(number) {
            page.checkpoints.push(checkpoint);
        }
    }
    for row in rows(chunks)? {
        let (number, chunk) = chunk(connection, &row)?;
        if let Some(page) = pages.get_mut(number) {
            page.chunks.push(chunk);
        }
    }
    for (page, request) in pages.iter_mut().zip(requests) {
        page.checkpoints.sort_by_key(|checkpoint| checkpoint.time);
        page.chunks.sort_by_key(|chunk| (chunk.least, chunk.number));
        if let Some(rest) = page.chunks.get(request.limit) {
            page.next = Some(rest.least);
            page.chunks.truncate(request.limit);
        }
    }
    Ok(pages)
}

fn since(request: &HistoryRequest) -> f64 {
    request.since.map_or(f64::NEG_INFINITY, EventTime::seconds)
}

/// Reads a checkpoint, and the index of its request.
fn checkpoint(connection: &Connection, row: &Row) -> Result<(usize, Checkpoint), StoreError> {
    let values =
        || -> Result<(i64, f64, Vec<u8>), Error> { Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)) };
    let (number, seconds, state) = values().map_err(|error| connection.fail(error, READING))?;
    Ok((index(number), Checkpoint { time: time(seconds)?, state }))
}

/// Reads a chunk, and the index of its request.
fn chunk(connection: &Connection, row: &Row) -> Result<(usize, Chunk), StoreError> {
    let values = || -> Result<(i64, i64, f64, f64, Vec<u8>), Error> {
        Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?, row.try_get(4)?))
    };
    let (asked, number, least, greatest, bytes) =
        values().map_err(|error| connection.fail(error, READING))?;
    let number = u64::try_from(number).unwrap_or_default();
    Ok((index(asked), Chunk { number, least: time(least)?, greatest: time(greatest)?, bytes }))
}

fn index(number: i64) -> usize {
    usize::try_from(number).unwrap_or_default().saturating_sub(1)
}

fn time(seconds: f64) -> Result<EventTime, StoreError> {
    let damaged = || StoreError::Damaged { detail: format!("a stored event time is {seconds}") };
    EventTime::from_seconds(seconds).ok_or_else(damaged)
}

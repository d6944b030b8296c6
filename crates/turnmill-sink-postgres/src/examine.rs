//! Looks for damage in a store.

use std::collections::HashMap;

use tokio_postgres::Row;
use turnmill_model::SenderId;
use turnmill_sink::{CountCheck, Examination, Examine, StoreError, StoredSender};
use turnmill_sql::examine::{EQUAL, dangling, equal_numbers};
use uuid::Uuid;

use crate::PostgresStore;
use crate::connect::{Connection, RollBack, quoted};
use crate::failure::Failure;

/// Bytes of tables and indexes up to which the indexes are checked by default.
const SMALL: i64 = 1 << 30;

const AMCHECK: &str = "SELECT n.nspname::text, (SELECT coalesce(sum(pg_relation_size(c.oid)), 0)::bigint \
     FROM pg_catalog.pg_class AS c WHERE c.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1)) \
     FROM pg_catalog.pg_extension AS e JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace \
     WHERE e.extname = 'amcheck'";
const TREES: &str = "SELECT i.oid, i.relname::text FROM pg_catalog.pg_index AS x \
     JOIN pg_catalog.pg_class AS i ON i.oid = x.indexrelid JOIN pg_catalog.pg_am AS a ON a.oid = i.relam \
     WHERE a.amname = 'btree' AND x.indisvalid \
     AND i.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1) ORDER BY 2";

// Executed again and again, so they find their rows by indexes, whatever the planner knows.
const STATES: &str = "SELECT sender_id, state FROM _turnmill_timeline WHERE sender_id > $1 AND version > 0 \
     ORDER BY sender_id LIMIT $2";
const CHUNKS: &str = "SELECT sender_id, bytes FROM _turnmill_history WHERE sender_id = ANY ($1::uuid[])";
const EVENTS: &str = "SELECT sender_id, count(*) FROM rasa_event WHERE session_id = ANY (\
     ARRAY(SELECT id FROM rasa_session WHERE sender_id = ANY ($1::text[]))) GROUP BY sender_id";
const ROWS: &str = "SELECT id FROM rasa_sender WHERE id = ANY ($1::text[])";

impl Examine for PostgresStore {
    async fn integrity(&mut self, thorough: bool) -> Result<Examination, StoreError> {
        let schema = self.settings.schema.clone();
        let connection = &*self.connected().await?;
        let fail = |error: Failure| connection.fail(error, "checking whether amcheck is installed");
        let mut examined = Examination::default();
        let found = connection.query(AMCHECK, &[&schema]).await.map_err(fail)?;
        let Some(row) = found.first() else {
            let how = "pages and indexes: run `CREATE EXTENSION amcheck` in this database to check indexes";
            examined.left_out.push(how.into());
            return Ok(examined);
        };
        let found = || -> Result<(String, i64), Failure> { Ok((row.try_get(0)?, row.try_get(1)?)) };
        let (place, size) = found().map_err(fail)?;
        if size > SMALL && !thorough {
            examined.left_out.push("indexes: the store is large; --thorough checks them by amcheck".into());
            return Ok(examined);
        }
        connection.set_session("statement_timeout", "0").await?;
        connection.set_unlimited(true);
        let checked = trees(connection, &schema, &place, &mut examined).await;
        connection.set_unlimited(false);
        checked?;
        connection.limit_statements().await?;
        Ok(examined)
    }

    async fn references(&mut self) -> Result<Examination, StoreError> {
        let connection = &*self.connected().await?;
        let _reading = RollBack::reading(connection).await?;
        let mut examined = Examination::default();
        let queries = dangling();
        for query in &queries {
            let rows = connection.query_one(query.sql.as_str(), &[]).await;
            let rows: i64 = rows.and_then(|row| Ok(row.try_get(0)?)).map_err(|error| {
                connection.fail(error, &format!("checking references of {}", query.table))
            })?;
            examined.findings.extend(query.finding(rows));
        }
        examined.looked_at.push(format!("{} references between tables", queries.len()));
        Ok(examined)
    }

    async fn equal_numbers(&mut self) -> Result<Vec<CountCheck>, StoreError> {
        let connection = &*self.connected().await?;
        let _reading = RollBack::reading(connection).await?;
        let fail = |error: Failure| connection.fail(error, "counting rows");
        let row = connection.query_one(equal_numbers().as_str(), &[]).await.map_err(fail)?;
        let pair =
            |(number, pair): (usize, &turnmill_sql::examine::EqualNumbers)| -> Result<CountCheck, Failure> {
                Ok(pair.counted(row.try_get(number * 2)?, row.try_get(number * 2 + 1)?))
            };
        EQUAL.iter().enumerate().map(pair).collect::<Result<_, _>>().map_err(fail)
    }

    async fn kept(
        &mut self,
        after: Option<SenderId>,
        limit: usize,
    ) -> Result<Vec<(SenderId, StoredSender)>, StoreError> {
        let connection = &*self.connected().await?;
        let fail = |error: Failure| connection.fail(error, "reading states and history");
        let _guard = RollBack::new(connection);
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        connection.batch_execute(begin).await.map_err(fail)?;
        kept(connection, after, limit).await.map_err(fail)
    }
}

async fn kept(
    connection: &Connection,
    after: Option<SenderId>,
    limit: usize,
) -> Result<Vec<(SenderId, StoredSender)>, Failure> {
    let after = after.map_or(Uuid::nil(), |after| after.0);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut senders: Vec<(SenderId, StoredSender)> = Vec::new();
    for row in connection.query(STATES, &[&after, &limit]).await? {
        let state = row.try_get(1)?;
        senders.push((SenderId(row.try_get(0)?), StoredSender { state, ..StoredSender::default() }));
    }
    let places: HashMap<Uuid, usize> = senders.iter().map(|(sender, _)| sender.0).zip(0..).collect();
    let ids: Vec<Uuid> = senders.iter().map(|(sender, _)| sender.0).collect();
    let texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let mut of = |id: Option<Uuid>, put: &mut dyn FnMut(&mut StoredSender)| {
        let place = id.and_then(|id| places.get(&id));
        if let Some((_, kept)) = place.and_then(|place| senders.get_mut(*place)) {
            put(kept);
        }
    };
    let text = |row: &Row| -> Result<Option<Uuid>, Failure> { Ok(Uuid::parse_str(row.try_get(0)?).ok()) };
    for row in connection.query(CHUNKS, &[&ids]).await? {
        let bytes: Vec<u8> = row.try_get(1)?;
        of(Some(row.try_get(0)?), &mut |kept| kept.chunks.push(bytes.clone()));
    }
    for row in connection.query(EVENTS, &[&texts]).await? {
        let events: i64 = row.try_get(1)?;
        of(text(&row)?, &mut |kept| kept.events = u64::try_from(events).unwrap_or_default());
    }
    for row in connection.query(ROWS, &[&texts]).await? {
        of(text(&row)?, &mut |kept| kept.has_row = true);
    }
    Ok(senders)
}

/// Checks each B-tree, and that every row is in it.
async fn trees(
    connection: &Connection,
    schema: &str,
    amcheck: &str,
    examined: &mut Examination,
) -> Result<(), StoreError> {
    let fail = |error: Failure| connection.fail(error, "listing indexes");
    let indexes = connection.query(TREES, &[&schema]).await.map_err(fail)?;
    let check = format!("SELECT {}.bt_index_check($1::oid::regclass, true)", quoted(amcheck));
    for row in &indexes {
        let index = || -> Result<(u32, String), Failure> { Ok((row.try_get(0)?, row.try_get(1)?)) };
        let (oid, name) = index().map_err(fail)?;
        match connection.query(check.as_str(), &[&oid]).await {
            Ok(_) => {}
            Err(Failure::Driver(error)) => match error.as_db_error() {
                Some(db) if db.code().code() == "42501" => {
                    let user = "indexes: amcheck is installed, but this user may not execute its functions";
                    examined.left_out.push(user.into());
                    return Ok(());
                }
                Some(db) => examined.findings.push(format!("index {name}: {}", db.message())),
                None => return Err(connection.fail(error, "checking an index")),
            },
            Err(silent) => return Err(connection.fail(silent, "checking an index")),
        }
    }
    examined.looked_at.push(format!("{} indexes, by amcheck", indexes.len()));
    Ok(())
}

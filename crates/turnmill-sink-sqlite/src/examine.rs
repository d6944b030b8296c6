//! Search for damage in a file.

use turnmill_model::SenderId;
use turnmill_sink::{CountCheck, Examination, Examine, StoreError, StoredSender};
use turnmill_sql::examine::{EQUAL, dangling, equal_numbers};
use uuid::Uuid;

use crate::SqliteStore;

/// Size up to which a file is examined completely by default, in bytes.
const SMALL: u64 = 1 << 30;
/// Maximum number of problems that SQLite reports.
const NAMED: usize = 10;

const STATES: &str =
    "SELECT sender_id, state FROM _turnmill_timeline WHERE sender_id > ?1 ORDER BY sender_id LIMIT ?2";
const CHUNKS: &str = "SELECT bytes FROM _turnmill_history WHERE sender_id = ?1";
const EVENTS: &str = "SELECT count(*) FROM rasa_session AS session CROSS JOIN rasa_event AS event \
     ON event.session_id = session.id WHERE session.sender_id = ?1";
const HAS_ROW: &str = "SELECT count(*) FROM rasa_sender WHERE id = ?1";

impl Examine for SqliteStore {
    async fn integrity(&mut self, thorough: bool) -> Result<Examination, StoreError> {
        let size = self.path().and_then(|path| std::fs::metadata(path).ok()).map_or(0, |file| file.len());
        let all = thorough || size <= SMALL;
        let check = if all { "integrity_check" } else { "quick_check" };
        let connection = self.connection()?;
        let mut query = connection
            .prepare(&format!("PRAGMA {check}({NAMED})"))
            .map_err(|error| self.error(error, "checking the file"))?;
        let rows = query.query_map([], |row| row.get::<_, String>(0)).and_then(Iterator::collect);
        let problems: Vec<String> = match rows {
            Ok(problems) => problems,
            // The file is too damaged to be checked.
            Err(error) => vec![self.error(error, "checking the file").to_string()],
        };
        let findings = problems.into_iter().filter(|line| line != "ok");
        let mut examined = Examination {
            findings: findings.map(|line| format!("SQLite: {line}")).collect(),
            ..Examination::default()
        };
        if all {
            examined.looked_at.push("the file's pages and indexes, by SQLite's integrity check".into());
        } else {
            examined.looked_at.push("the file's pages, by SQLite's quick check".into());
            examined.left_out.push("indexes: the file is large; --thorough checks them".into());
        }
        Ok(examined)
    }

    async fn references(&mut self) -> Result<Examination, StoreError> {
        let mut examined = Examination::default();
        let queries = dangling();
        for query in &queries {
            let rows: Result<i64, _> = self.connection()?.query_row(&query.sql, [], |row| row.get(0));
            let rows =
                rows.map_err(|error| self.error(error, &format!("checking references of {}", query.table)))?;
            examined.findings.extend(query.finding(rows));
        }
        examined.looked_at.push(format!("{} references between tables", queries.len()));
        Ok(examined)
    }

    async fn equal_numbers(&mut self) -> Result<Vec<CountCheck>, StoreError> {
        let numbers = self.connection()?.query_row(&equal_numbers(), [], |row| {
            let pair = |(number, pair): (usize, &turnmill_sql::examine::EqualNumbers)| {
                Ok(pair.counted(row.get(number * 2)?, row.get(number * 2 + 1)?))
            };
            EQUAL.iter().enumerate().map(pair).collect()
        });
        numbers.map_err(|error| self.error(error, "counting rows"))
    }

    async fn kept(
        &mut self,
        after: Option<SenderId>,
        limit: usize,
    ) -> Result<Vec<(SenderId, StoredSender)>, StoreError> {
        let after = after.map_or_else(Vec::new, |after| after.0.as_bytes().to_vec());
        self.at_one_moment(|connection| {
            let read = || {
                let mut states = connection.prepare_cached(STATES)?;
                let rows = states.query_map((&after, limit), |row| {
                    Ok((Uuid::from_bytes(row.get(0)?), row.get::<_, Vec<u8>>(1)?))
                })?;
                let mut kept = Vec::new();
                for row in rows {
                    let (sender, state) = row?;
                    let mut chunks = connection.prepare_cached(CHUNKS)?;
                    let chunks = chunks.query_map([sender.as_bytes()], |row| row.get(0))?;
                    let text = sender.to_string();
                    let count =
                        |sql| connection.prepare_cached(sql)?.query_row([&text], |row| row.get::<_, u64>(0));
                    kept.push((
                        SenderId(sender),
                        StoredSender {
                            state,
                            chunks: chunks.collect::<Result<_, _>>()?,
                            events: count(EVENTS)?,
                            has_row: count(HAS_ROW)? > 0,
                        },
                    ));
                }
                Ok(kept)
            };
            read().map_err(|error| self.error(error, "reading states and history"))
        })
    }
}

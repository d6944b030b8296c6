//! Statements for sinks and their outbox.

use crate::{Dialect, SqlType};

/// Reads the facts about sinks that a transaction needs when it begins: the first scope of all
/// sinks (`all` sorts before `dead_letters`), or NULL without sinks; and the number of sinks whose
/// lag exceeds their bound.
pub const FACTS: &str = "SELECT (SELECT min(\"scope\") FROM _turnmill_sink), \
     (SELECT count(*) FROM _turnmill_sink AS s CROSS JOIN _turnmill_outbox_head AS h \
     WHERE h.\"bytes\" - s.\"total\" > s.\"max_bytes\")";

/// Deletes the entries that every sink has.
pub const PRUNE: &str = "DELETE FROM _turnmill_outbox WHERE \"number\" <= \
     COALESCE((SELECT min(\"position\") FROM _turnmill_sink), 9223372036854775807)";

/// Inserts the row of the outbox's head, unless it exists.
pub const NEW_HEAD: &str = "INSERT INTO _turnmill_outbox_head (\"id\", \"number\", \"bytes\") VALUES (1, 0, 0) \
     ON CONFLICT (\"id\") DO NOTHING";

/// Statements with parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxSql {
    /// Takes the next number. Parameter: bytes of the entry. Other transactions wait from here
    /// until this one ends.
    pub take_number: String,
    /// Inserts the entry with that number. Parameter: the entry.
    pub insert: String,
    /// Sets sinks whose lag exceeds their bound back to a snapshot. Parameter: error for operators.
    pub drop_beyond: String,
    /// Deletes a sink that has another scope. Parameters: name, scope.
    pub forget_other_scope: String,
    /// Adds a sink, or changes its bound. Parameters: name, scope, snapshot's cursor, bound.
    pub put: String,
    /// Deletes a sink. Parameter: name.
    pub remove: String,
    /// Sets a sink back to a snapshot. Parameter: name.
    pub reset: String,
    /// Reads all sinks: name, scope, position, cursor, bound, head, lag in bytes, skipped, error,
    /// owner of the lease.
    pub states: String,
    /// Gives the lease. Parameters: name, owner, seconds.
    pub lease: String,
    /// Ends the lease. Parameters: name, owner.
    pub release: String,
    /// Moves the position. Parameters: name, owner, number and cursor before, number and cursor
    /// after, skipped, error.
    pub advance: String,
    /// Reads entries: number and bytes. Parameters: number before the first, limit, limit in bytes.
    pub entries: String,
}

impl OutboxSql {
    /// Returns the statements in a dialect. In PostgreSQL the parameters of the first three are
    /// arrays of one element.
    #[must_use]
    pub fn new(dialect: Dialect) -> Self {
        let (now, same) = match dialect {
            Dialect::Sqlite => ("(julianday('now') - 2440587.5) * 86400.0", "IS"),
            Dialect::Postgres => {
                ("extract(epoch FROM clock_timestamp())::double precision", "IS NOT DISTINCT FROM")
            }
        };
        let one = |ty| match dialect {
            Dialect::Sqlite => dialect.placeholder(1),
            Dialect::Postgres => format!("({}::{})[1]", dialect.placeholder(1), Dialect::array_type(ty)),
        };
        let p = |number| dialect.placeholder(number);
        let typed = |number, ty: SqlType| match dialect {
            Dialect::Sqlite => dialect.placeholder(number),
            Dialect::Postgres => format!("{}::{}", dialect.placeholder(number), dialect.type_name(ty)),
        };
        let text = |number| typed(number, SqlType::Text);
        let integer = |number| typed(number, SqlType::Integer);
        let (bytes, entry, remark) = (one(SqlType::Integer), one(SqlType::Bytes), one(SqlType::Text));
        Self {
            take_number: format!(
                "UPDATE _turnmill_outbox_head SET \"number\" = \"number\" + 1, \"bytes\" = \"bytes\" + {bytes} WHERE \"id\" = 1"
            ),
            insert: format!(
                "INSERT INTO _turnmill_outbox (\"number\", \"total\", \"entry\") \
                 SELECT \"number\", \"bytes\", {entry} FROM _turnmill_outbox_head WHERE \"id\" = 1"
            ),
            drop_beyond: format!(
                "UPDATE _turnmill_sink AS s SET \"position\" = h.\"number\", \"total\" = h.\"bytes\", \"snapshot\" = '', \
                 \"error\" = {remark} FROM _turnmill_outbox_head AS h WHERE h.\"bytes\" - s.\"total\" > s.\"max_bytes\""
            ),
            forget_other_scope: format!(
                "DELETE FROM _turnmill_sink WHERE \"name\" = {} AND \"scope\" <> {}",
                p(1),
                p(2)
            ),
            put: format!(
                "INSERT INTO _turnmill_sink (\"name\", \"scope\", \"position\", \"total\", \"snapshot\", \"max_bytes\", \"skipped\") \
                 SELECT {}, {}, \"number\", \"bytes\", {}, {}, 0 FROM _turnmill_outbox_head WHERE \"id\" = 1 \
                 ON CONFLICT (\"name\") DO UPDATE SET \"max_bytes\" = excluded.\"max_bytes\"",
                text(1),
                text(2),
                text(3),
                integer(4)
            ),
            remove: format!("DELETE FROM _turnmill_sink WHERE \"name\" = {}", p(1)),
            reset: format!(
                "UPDATE _turnmill_sink AS s SET \"position\" = h.\"number\", \"total\" = h.\"bytes\", \"snapshot\" = '', \
                 \"error\" = NULL FROM _turnmill_outbox_head AS h WHERE s.\"name\" = {}",
                p(1)
            ),
            states: format!(
                "SELECT s.\"name\", s.\"scope\", s.\"position\", s.\"snapshot\", s.\"max_bytes\", h.\"number\", \
                 h.\"bytes\" - s.\"total\", s.\"skipped\", s.\"error\", \
                 CASE WHEN s.\"lease_until\" > {now} THEN s.\"owner\" END \
                 FROM _turnmill_sink AS s CROSS JOIN _turnmill_outbox_head AS h ORDER BY s.\"name\""
            ),
            lease: format!(
                "UPDATE _turnmill_sink SET \"owner\" = {}, \"lease_until\" = {now} + {} WHERE \"name\" = {} \
                 AND (\"owner\" IS NULL OR \"owner\" = {} OR \"lease_until\" <= {now})",
                text(2),
                typed(3, SqlType::Float),
                text(1),
                text(2)
            ),
            release: format!(
                "UPDATE _turnmill_sink SET \"owner\" = NULL, \"lease_until\" = NULL WHERE \"name\" = {} AND \"owner\" = {}",
                p(1),
                p(2)
            ),
            advance: format!(
                "UPDATE _turnmill_sink SET \"position\" = {after}, \"snapshot\" = {}, \"skipped\" = \"skipped\" + {}, \"error\" = {}, \
                 \"total\" = COALESCE((SELECT o.\"total\" FROM _turnmill_outbox AS o WHERE o.\"number\" = {after}), \"total\") \
                 WHERE \"name\" = {} AND \"owner\" = {} AND \"position\" = {} AND \"snapshot\" {same} {}",
                text(6),
                integer(7),
                text(8),
                text(1),
                text(2),
                integer(3),
                text(4),
                after = integer(5),
            ),
            entries: format!(
                "SELECT \"number\", \"entry\" FROM _turnmill_outbox WHERE \"number\" > {after} \
                 AND \"total\" - length(\"entry\") < {} + COALESCE((SELECT o.\"total\" - length(o.\"entry\") FROM _turnmill_outbox AS o \
                 WHERE o.\"number\" > {after} ORDER BY o.\"number\" LIMIT 1), 0) ORDER BY \"number\" LIMIT {}",
                integer(3),
                integer(2),
                after = integer(1),
            ),
        }
    }
}

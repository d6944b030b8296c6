//! Describes the internal tables as data. They are turnmill's own: names and columns may change
//! with any schema version.

use crate::SqlType;

/// One internal table.
#[derive(Debug, PartialEq, Eq)]
pub struct InternalTable {
    /// Its name; begins with `_turnmill_`.
    pub name: &'static str,
    /// Meaning of one row.
    pub doc: &'static str,
    /// Its columns.
    pub columns: &'static [InternalColumn],
    /// The columns of its primary key.
    pub key: &'static [&'static str],
    /// Whether rows are often rewritten. PostgreSQL keeps room to update them in place.
    pub hot: bool,
    /// Whether SQLite keeps the rows in the primary key's own tree. That suits small rows, and rows
    /// whose keys come in order.
    pub clustered: bool,
}

/// One column of an internal table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InternalColumn {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub ty: SqlType,
    /// Whether it may be NULL.
    pub nullable: bool,
}

const fn column(name: &'static str, ty: SqlType) -> InternalColumn {
    InternalColumn { name, ty, nullable: false }
}

const fn nullable(name: &'static str, ty: SqlType) -> InternalColumn {
    InternalColumn { name, ty, nullable: true }
}

/// Facts about the whole store, see [`meta`](crate::meta).
pub static META: InternalTable = InternalTable {
    name: "_turnmill_meta",
    doc: "One fact about the whole store.",
    columns: &[column("name", SqlType::Text), column("value", SqlType::Text)],
    key: &["name"],
    hot: true,
    clustered: true,
};

/// The migrations that were applied.
pub static MIGRATIONS: InternalTable = InternalTable {
    name: "_turnmill_migrations",
    doc: "One migration that was applied.",
    columns: &[
        column("number", SqlType::Integer),
        column("name", SqlType::Text),
        column("applied_at", SqlType::DateTime),
    ],
    key: &["number"],
    hot: false,
    clustered: false,
};

/// Position of each source.
pub static POSITION: InternalTable = InternalTable {
    name: "_turnmill_position",
    doc: "How far one part of a source has been read.",
    columns: &[
        column("source", SqlType::Text),
        column("partition", SqlType::Text),
        column("position", SqlType::Text),
    ],
    key: &["source", "partition"],
    hot: true,
    clustered: true,
};

/// Counts of each source's records by their outcome.
pub static LEDGER: InternalTable = InternalTable {
    name: "_turnmill_ledger",
    doc: "What became of the records of one source.",
    columns: &[
        column("source", SqlType::Text),
        column("records", SqlType::Integer),
        column("events", SqlType::Integer),
        column("duplicates", SqlType::Integer),
        column("anonymised", SqlType::Integer),
        column("dead_letters", SqlType::Integer),
        column("skipped", SqlType::Integer),
        column("changed", SqlType::Integer),
        column("parts", SqlType::Integer),
    ],
    key: &["source"],
    hot: true,
    clustered: true,
};

/// Senders' newest states. Ids of senders come in no order, so a new sender's row belongs somewhere
/// in the middle of the key's tree. That tree has only the ids: states are ten times as long, and a
/// tree with them has ten times as many pages that are not in memory.
pub static TIMELINE: InternalTable = InternalTable {
    name: "_turnmill_timeline",
    doc: "The state of one sender after its newest event.",
    columns: &[
        column("sender_id", SqlType::Uuid),
        column("version", SqlType::Integer),
        column("state", SqlType::Bytes),
    ],
    key: &["sender_id"],
    hot: true,
    clustered: false,
};

/// Senders' events, as they were received. The key alone answers the search for a stretch of
/// history, so only the chunks of that stretch are read. A chunk that is rewritten keeps its key.
/// Times are the exact floats.
///
/// `number` alone would tell a sender's chunks apart. A key of sender and number beside an index of
/// times would be a second tree that each new sender touches at another place.
pub static HISTORY: InternalTable = InternalTable {
    name: "_turnmill_history",
    doc: "The events that one transaction added to one sender.",
    columns: &[
        column("sender_id", SqlType::Uuid),
        column("number", SqlType::Integer),
        column("least", SqlType::Float),
        column("greatest", SqlType::Float),
        column("bytes", SqlType::Bytes),
    ],
    key: &["sender_id", "greatest", "least", "number"],
    hot: false,
    clustered: false,
};

/// Senders' states at earlier times.
pub static CHECKPOINT: InternalTable = InternalTable {
    name: "_turnmill_checkpoint",
    doc: "The state of one sender before its events at or after a time.",
    columns: &[
        column("sender_id", SqlType::Uuid),
        column("time", SqlType::Float),
        column("state", SqlType::Bytes),
    ],
    key: &["sender_id", "time"],
    hot: true,
    clustered: true,
};

/// Records that could not become rows.
pub static DEAD_LETTER: InternalTable = InternalTable {
    name: "_turnmill_dead_letter",
    doc: "A record that could not become rows.",
    columns: &[
        column("id", SqlType::Serial),
        column("source", SqlType::Text),
        column("partition", SqlType::Text),
        column("place", SqlType::Text),
        column("reason", SqlType::Text),
        column("detail", SqlType::Text),
        column("payload", SqlType::Bytes),
        nullable("sender", SqlType::Text),
        nullable("time", SqlType::Float),
        nullable("environment", SqlType::Text),
        nullable("record_key", SqlType::Bytes),
        column("headers", SqlType::Text),
        nullable("record_row", SqlType::Integer),
        nullable("facts", SqlType::Text),
    ],
    key: &["id"],
    hot: false,
    clustered: false,
};

/// Times for which the patterns of `rasa_patterns` hold, and the order in which they were uploaded.
pub static PATTERN: InternalTable = InternalTable {
    name: "_turnmill_pattern",
    doc: "The times for which one pattern holds.",
    columns: &[
        column("id", SqlType::IdText),
        column("number", SqlType::Integer),
        column("scopes", SqlType::Text),
    ],
    key: &["id"],
    hot: true,
    clustered: true,
};

/// The changes of committed transactions, kept until every sink has them.
pub static OUTBOX: InternalTable = InternalTable {
    name: "_turnmill_outbox",
    doc: "The changes of one transaction, for the sinks.",
    columns: &[
        column("number", SqlType::Integer),
        // Bytes of all entries that there have been up to this one.
        column("total", SqlType::Integer),
        column("entry", SqlType::Bytes),
    ],
    key: &["number"],
    hot: false,
    clustered: false,
};

/// The number of the newest entry of the outbox. A transaction locks its only row last, so numbers
/// are in commit order.
pub static OUTBOX_HEAD: InternalTable = InternalTable {
    name: "_turnmill_outbox_head",
    doc: "The number of the newest entry of the outbox.",
    columns: &[
        column("id", SqlType::Integer),
        column("number", SqlType::Integer),
        column("bytes", SqlType::Integer),
    ],
    key: &["id"],
    hot: true,
    clustered: true,
};

/// The sinks, and how far each has come.
pub static SINK: InternalTable = InternalTable {
    name: "_turnmill_sink",
    doc: "One sink, and how far it has come.",
    columns: &[
        column("name", SqlType::Text),
        column("scope", SqlType::Text),
        column("position", SqlType::Integer),
        // That of the entry at its position.
        column("total", SqlType::Integer),
        nullable("snapshot", SqlType::Text),
        nullable("max_bytes", SqlType::Integer),
        nullable("owner", SqlType::Text),
        nullable("lease_until", SqlType::Float),
        column("skipped", SqlType::Integer),
        nullable("error", SqlType::Text),
    ],
    key: &["name"],
    hot: true,
    clustered: true,
};

/// The tables that came with sinks.
pub(crate) static OF_SINKS: [&InternalTable; 3] = [&OUTBOX, &OUTBOX_HEAD, &SINK];

/// All internal tables but [`EVENT_ERROR`](turnmill_model::tables::EVENT_ERROR), which is written
/// like a public one.
pub static ALL: [&InternalTable; 12] = [
    &META,
    &MIGRATIONS,
    &POSITION,
    &LEDGER,
    &TIMELINE,
    &HISTORY,
    &CHECKPOINT,
    &DEAD_LETTER,
    &PATTERN,
    &OUTBOX,
    &OUTBOX_HEAD,
    &SINK,
];

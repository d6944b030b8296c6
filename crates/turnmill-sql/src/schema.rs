//! The DDL.

use turnmill_model::tables::{EVENT_ERROR, Index, PUBLIC, Table};

use crate::dialect::{quoted, quoted_list};
use crate::internal::{self, InternalTable};
use crate::{Dialect, SqlType};

/// Indexes of which no two rows may have the same values.
const UNIQUE_SENDER: &str = "idx_rasa_sender_sender_key";
const UNIQUE_USER: &str = "idx_rasa_user_user_key";

/// What the tables of a new store are to be like.
///
/// ```
/// use turnmill_sql::{Dialect, Schema};
/// let schema = Schema::new(Dialect::Postgres).foreign_keys(false);
/// assert!(!schema.statements().concat().contains("REFERENCES"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    dialect: Dialect,
    foreign_keys: bool,
}

/// A column of either kind of table.
struct ColumnDdl {
    name: &'static str,
    ty: SqlType,
    nullable: bool,
    /// Filled with the time of writing.
    stamp: bool,
    references: Option<&'static str>,
}

impl Schema {
    /// Declared foreign keys.
    #[must_use]
    pub fn new(dialect: Dialect) -> Self {
        Self { dialect, foreign_keys: true }
    }

    /// Whether foreign keys are declared. A database that enforces them writes several times slower.
    #[must_use]
    pub fn foreign_keys(self, declared: bool) -> Self {
        Self { foreign_keys: declared, ..self }
    }

    /// The dialect.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// All of version 1: public tables with their indexes and views, then the internal ones. Nothing may be there yet.
    #[must_use]
    pub fn statements(&self) -> Vec<String> {
        let mut statements = Vec::new();
        for table in PUBLIC.into_iter().chain([&EVENT_ERROR]) {
            statements.extend(self.table(table));
        }
        for table in internal::ALL {
            statements.extend(self.internal_table(table));
        }
        statements
    }

    /// A table with its indexes and its view.
    #[must_use]
    pub fn table(&self, table: &Table) -> Vec<String> {
        let own = table.name.starts_with('_');
        let columns: Vec<ColumnDdl> = table
            .columns
            .iter()
            .map(|column| ColumnDdl {
                name: column.name,
                ty: SqlType::of(table, column),
                nullable: column.nullable,
                stamp: column.wall_clock,
                // Ids of internal tables have another type than those of public ones.
                references: column.references.filter(|_| self.foreign_keys && !own),
            })
            .collect();
        let key = table.columns.first().map(|column| column.name);
        // Rows whose ends move are updated in place if their page has room; ends are in no index.
        let moving = ["end_sequence_number", "last_seen"].iter().any(|name| table.column(name).is_some());
        let mut statements = vec![self.create(table.name, &columns, key.as_slice(), false, moving)];
        for index in table.indexes {
            if index.name == UNIQUE_SENDER {
                // Two assistants may have senders of the same key.
                statements.push(format!(
                    "CREATE UNIQUE INDEX {UNIQUE_SENDER} ON {} (coalesce(\"assistant\", ''), \"sender_key\")",
                    table.name
                ));
                continue;
            }
            statements.push(create_index(table.name, index, index.name == UNIQUE_USER));
        }
        if table.name == "rasa_patterns" {
            statements.push(
                "CREATE UNIQUE INDEX _turnmill_patterns_active_name ON rasa_patterns (\"name\") WHERE \"is_active\"".into(),
            );
        }
        if let Some(view) = table.view {
            let columns = quoted_list(table.columns.iter().map(|column| column.name));
            statements.push(format!("CREATE VIEW {view} AS SELECT {columns} FROM {}", table.name));
        }
        statements
    }

    /// An internal table with its indexes.
    #[must_use]
    pub fn internal_table(&self, table: &InternalTable) -> Vec<String> {
        let columns: Vec<ColumnDdl> = table
            .columns
            .iter()
            .map(|column| ColumnDdl {
                name: column.name,
                ty: column.ty,
                nullable: column.nullable,
                stamp: false,
                references: None,
            })
            .collect();
        let mut statements = vec![self.create(table.name, &columns, table.key, table.hot, table.hot)];
        statements.extend(table.indexes.iter().map(|index| create_index(table.name, index, false)));
        if (self.dialect, table.name) == (Dialect::Postgres, internal::HISTORY.name) {
            // Chunks are compressed already.
            statements
                .push(format!("ALTER TABLE {} ALTER COLUMN \"bytes\" SET STORAGE EXTERNAL", table.name));
        }
        statements
    }

    fn create(
        &self,
        name: &str,
        columns: &[ColumnDdl],
        key: &[&str],
        clustered: bool,
        moving: bool,
    ) -> String {
        let mut lines: Vec<String> = columns.iter().map(|column| self.column(column, key)).collect();
        if key.len() > 1 {
            lines.push(format!("PRIMARY KEY ({})", quoted_list(key.iter().copied())));
        }
        let options = match self.dialect {
            Dialect::Sqlite if clustered => " WITHOUT ROWID",
            Dialect::Postgres if moving => " WITH (fillfactor = 80)",
            Dialect::Sqlite | Dialect::Postgres => "",
        };
        format!("CREATE TABLE {name} (\n    {}\n){options}", lines.join(",\n    "))
    }

    fn column(&self, column: &ColumnDdl, key: &[&str]) -> String {
        let mut ddl = format!("{} {}", quoted(column.name), self.dialect.type_name(column.ty));
        if !column.nullable {
            ddl.push_str(" NOT NULL");
        }
        if column.stamp {
            ddl.push_str(&format!(" DEFAULT ({})", self.dialect.utc_now()));
        }
        if key == [column.name] {
            ddl.push_str(" PRIMARY KEY");
            if (self.dialect, column.ty) == (Dialect::Sqlite, SqlType::Serial) {
                // Without it the greatest id would be given again after its row is deleted.
                ddl.push_str(" AUTOINCREMENT");
            }
        }
        if let Some(table) = column.references {
            ddl.push_str(&format!(" REFERENCES {table} (\"id\")"));
        }
        ddl
    }
}

fn create_index(table: &str, index: &Index, unique: bool) -> String {
    let column = |column: &&str| match column.split_once(' ') {
        Some((name, order)) => format!("{} {order}", quoted(name)),
        None => quoted(column),
    };
    let columns: Vec<String> = index.columns.iter().map(column).collect();
    let unique = if unique { "UNIQUE " } else { "" };
    format!("CREATE {unique}INDEX {} ON {table} ({})", index.name, columns.join(", "))
}

//! Generates the DDL.

use turnmill_model::tables::{EVENT_ERROR, PUBLIC, Table};
use turnmill_model::text;

use crate::dialect::{quoted, quoted_list};
use crate::indexes::{self, TableIndex};
use crate::internal::{self, InternalTable};
use crate::{Dialect, SqlType, views};

/// How the database keeps the references between the public tables. References hold in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum References {
    /// Declares no references.
    None,
    /// Declares references for tools that read them, without checks. PostgreSQL 18 and newer have
    /// `NOT ENFORCED` for that; SQLite checks only with `PRAGMA foreign_keys`.
    Declared,
    /// Declares references and checks every row, which takes PostgreSQL about three times as long.
    /// Indexes every referring column.
    Checked,
}

/// Properties of the tables of a new store.
///
/// ```
/// use turnmill_sql::{Dialect, Schema};
/// use turnmill_sql::References;
/// let schema = Schema::new(Dialect::Postgres).references(References::None);
/// assert!(!schema.statements().concat().contains("REFERENCES"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    dialect: Dialect,
    references: References,
}

/// A column of a public or an internal table.
struct ColumnDdl {
    name: &'static str,
    ty: SqlType,
    nullable: bool,
    /// Whether the database fills it with the time of writing.
    stamp: bool,
    references: Option<&'static str>,
}

impl Schema {
    /// Returns a schema with references that are declared and not checked.
    #[must_use]
    pub fn new(dialect: Dialect) -> Self {
        Self { dialect, references: References::Declared }
    }

    /// Sets how references between tables are kept.
    #[must_use]
    pub fn references(self, references: References) -> Self {
        Self { references, ..self }
    }

    /// Returns the dialect.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Returns all statements of the current version: public tables with their indexes and views,
    /// then the internal ones. They fail if a table exists.
    #[must_use]
    pub fn statements(&self) -> Vec<String> {
        let mut statements = Vec::new();
        for table in PUBLIC.into_iter().chain([&EVENT_ERROR]) {
            statements.extend(self.table(table));
        }
        statements.extend(views::ALL.into_iter().flat_map(|view| view.statements(self.dialect)));
        for table in internal::ALL {
            statements.extend(self.internal_table(table));
        }
        statements
    }

    /// Returns the statements for a table, its indexes and its view.
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
                // Internal tables have another type of ids than public ones, so they cannot refer
                // to them.
                references: column.references.filter(|_| self.references != References::None && !own),
            })
            .collect();
        let key = table.columns.first().map(|column| column.name);
        // Rows that later batches update. Those whose ends move are updated in place if their page
        // has room, because no index has their ends.
        let moves = [
            "rasa_sender",
            "rasa_session",
            "rasa_turn",
            "rasa_dialogue_stack_frame",
            "rasa_user",
            "ext_session",
        ];
        let moving = moves.contains(&table.name);
        let mut statements = vec![self.create(table.name, &columns, key.as_slice(), false, moving)];
        statements
            .extend(self.indexes().filter(|index| index.table == table.name).map(|index| index.create()));
        if let Some(view) = table.view {
            let columns = quoted_list(table.columns.iter().map(|column| column.name));
            statements.push(format!("CREATE VIEW {view} AS SELECT {columns} FROM {}", table.name));
        }
        statements.extend(self.comments(table));
        statements
    }

    /// Returns the indexes of the public tables besides those of their primary keys.
    pub fn indexes(&self) -> impl Iterator<Item = TableIndex> {
        indexes::all(self.dialect, self.references).into_iter()
    }

    /// Returns the statements that add the columns that schema version 1 lacks. In PostgreSQL they
    /// may be executed again.
    #[must_use]
    pub fn new_columns(&self) -> Vec<String> {
        self.add_columns(&[
            ("rasa_sender", "assistant", SqlType::Varchar(text::SHORT), ""),
            (internal::LEDGER.name, "changed", SqlType::Integer, " NOT NULL DEFAULT 0"),
            (internal::DEAD_LETTER.name, "record_row", SqlType::Integer, ""),
            (internal::DEAD_LETTER.name, "facts", SqlType::Text, ""),
        ])
    }

    /// Returns the statements that replace the index of sender keys, which was unique, and add the
    /// ledger's count of events beside those that count. In PostgreSQL they may be executed again.
    #[must_use]
    pub fn for_formats(&self) -> Vec<String> {
        let parts = (internal::LEDGER.name, "parts", SqlType::Integer, " NOT NULL DEFAULT 0");
        let keys = self.indexes().find(|index| index.name == indexes::SENDER_KEY);
        [format!("DROP INDEX IF EXISTS {}", indexes::SENDER_KEY)]
            .into_iter()
            .chain(keys.map(|index| index.create()))
            .chain(self.add_columns(&[parts]))
            .collect()
    }

    fn add_columns(&self, added: &[(&str, &str, SqlType, &str)]) -> Vec<String> {
        let missing = match self.dialect {
            Dialect::Postgres => "IF NOT EXISTS ",
            Dialect::Sqlite => "",
        };
        let statement = |(table, column, ty, rest): &(&str, &str, SqlType, &str)| {
            let ty = self.dialect.type_name(*ty);
            format!("ALTER TABLE {table} ADD COLUMN {missing}{} {ty}{rest}", quoted(column))
        };
        added.iter().map(statement).collect()
    }

    /// Returns the statements for the tables of sinks and their outbox. In PostgreSQL they may be
    /// executed again.
    #[must_use]
    pub fn tables_of_sinks(&self) -> Vec<String> {
        let again = |sql: String| sql.replacen("CREATE TABLE ", "CREATE TABLE IF NOT EXISTS ", 1);
        internal::OF_SINKS.iter().flat_map(|table| self.internal_table(table)).map(again).collect()
    }

    /// Returns the statements for the tables of facts, the comments on all public tables and the
    /// views for people. They may be executed again.
    #[must_use]
    pub fn tables_of_facts(&self) -> Vec<String> {
        let again = |sql: String| {
            let sql = sql.replacen("CREATE TABLE ", "CREATE TABLE IF NOT EXISTS ", 1);
            sql.replacen("CREATE INDEX ", "CREATE INDEX IF NOT EXISTS ", 1)
        };
        let facts = PUBLIC.into_iter().filter(|table| table.is_extension());
        let documented = PUBLIC.into_iter().filter(|table| !table.is_extension());
        facts
            .flat_map(|table| self.table(table))
            .map(again)
            .chain(documented.flat_map(|table| self.comments(table)))
            .chain(views::ALL.into_iter().flat_map(|view| view.statements(self.dialect)))
            .collect()
    }

    /// Returns the statements for the comments on a public table and its columns, which tools show.
    /// SQLite has no comments.
    fn comments(&self, table: &Table) -> Vec<String> {
        if self.dialect == Dialect::Sqlite || table.name.starts_with('_') {
            return Vec::new();
        }
        let literal = |doc: &str| format!("'{}'", doc.trim().replace('\'', "''"));
        let mut statements = Vec::new();
        for (kind, name) in
            [Some(("TABLE", table.name)), table.view.map(|view| ("VIEW", view))].into_iter().flatten()
        {
            statements.push(format!("COMMENT ON {kind} {name} IS {}", literal(table.doc)));
            statements.extend(table.columns.iter().map(|column| {
                format!("COMMENT ON COLUMN {name}.{} IS {}", quoted(column.name), literal(column.doc))
            }));
        }
        statements
    }

    /// Returns the statements that give SQLite's tables of history and of states the present keys,
    /// by copying the rows to new tables, and drop an index that answers no question.
    #[must_use]
    pub fn copied_by_sender(&self) -> Vec<String> {
        let copy = |table: &InternalTable| {
            let (name, columns) = (table.name, quoted_list(table.columns.iter().map(|column| column.name)));
            let rename = format!("ALTER TABLE {name} RENAME TO {name}_before");
            let fill = format!("INSERT INTO {name} ({columns}) SELECT {columns} FROM {name}_before");
            let drop = format!("DROP TABLE {name}_before");
            [rename].into_iter().chain(self.internal_table(table)).chain([fill, drop])
        };
        // Otherwise SQLite would check all views when a table is renamed, those of users as well.
        let pragma = |on: &str| format!("PRAGMA legacy_alter_table = {on}");
        [pragma("on")]
            .into_iter()
            .chain([&internal::HISTORY, &internal::TIMELINE].into_iter().flat_map(copy))
            .chain([pragma("off"), format!("DROP INDEX IF EXISTS {}", indexes::FACTS_SENDER)])
            .collect()
    }

    /// Returns the statements for an internal table.
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
        let mut statements = vec![self.create(table.name, &columns, table.key, table.clustered, table.hot)];
        // These are compressed already, so PostgreSQL need not try.
        let packed = match table.name {
            name if name == internal::HISTORY.name => Some("bytes"),
            name if name == internal::OUTBOX.name => Some("entry"),
            _ => None,
        };
        if let (Dialect::Postgres, Some(column)) = (self.dialect, packed) {
            let column = quoted(column);
            statements.push(format!("ALTER TABLE {} ALTER COLUMN {column} SET STORAGE EXTERNAL", table.name));
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
        // Ids are searched in ranges of bytes, so texts that are ids compare as bytes.
        if self.dialect == Dialect::Postgres
            && key == [column.name]
            && matches!(column.ty, SqlType::Varchar(_))
        {
            ddl.push_str(" COLLATE \"C\"");
        }
        if !column.nullable {
            ddl.push_str(" NOT NULL");
        }
        if column.stamp {
            ddl.push_str(&format!(" DEFAULT ({})", self.dialect.utc_now()));
        }
        if key == [column.name] {
            ddl.push_str(" PRIMARY KEY");
            if (self.dialect, column.ty) == (Dialect::Sqlite, SqlType::Serial) {
                // Without it SQLite would assign the greatest id again after its row is deleted.
                ddl.push_str(" AUTOINCREMENT");
            }
        }
        if let Some(table) = column.references {
            ddl.push_str(&format!(" REFERENCES {table} (\"id\")"));
            if (self.dialect, self.references) == (Dialect::Postgres, References::Declared) {
                ddl.push_str(" NOT ENFORCED");
            }
        }
        ddl
    }
}

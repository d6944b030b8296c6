//! Generates the statements that write rows, for any table.
//!
//! Parameters come in column order, row after row; so does the key of a delete.
//!
//! ```
//! use turnmill_model::tables::RASA_USER;
//! use turnmill_sql::statements::{Input, OnConflict, Target};
//! use turnmill_sql::Dialect;
//! let users = Target::from(&RASA_USER);
//! let sql = users.insert(Dialect::Sqlite, Input::Rows(1), OnConflict::Fail);
//! assert_eq!(sql, r#"INSERT INTO rasa_user ("id", "user_key", "first_seen", "last_seen") VALUES (?1, ?2, ?3, ?4)"#);
//! ```

use turnmill_model::tables::Table;

use crate::dialect::{quoted, quoted_list};
use crate::internal::InternalTable;
use crate::{Dialect, SqlType};

/// A table to write to, with the columns that are written and its key.
#[derive(Clone, Debug)]
pub struct Target {
    name: &'static str,
    columns: Vec<(&'static str, SqlType)>,
    key: Vec<&'static str>,
}

/// Form of a statement's parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// One parameter per value, for this number of rows.
    Rows(usize),
    /// One array parameter per column, for any number of rows. PostgreSQL only; elsewhere the same
    /// as one row.
    Arrays,
}

/// What an insert does with a row whose key exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnConflict {
    /// Fails: turnmill derives the key, so another writer was faster.
    Fail,
    /// Replaces the stored row.
    Replace,
    /// Widens the stored row: takes the least `first_seen` and the greatest `last_seen`, keeps all
    /// else.
    Widen,
    /// Adds the numbers to those of the stored row.
    Add,
}

impl From<&'static Table> for Target {
    /// Leaves out columns of wall-clock time: the database fills them when a row is inserted.
    fn from(table: &'static Table) -> Self {
        let mut target = Self::with_stamps(table);
        target.columns.retain(|(name, _)| {
            !table.columns.iter().any(|column| column.name == *name && column.wall_clock)
        });
        target
    }
}

impl From<&'static InternalTable> for Target {
    /// Leaves out columns that the database assigns itself.
    fn from(table: &'static InternalTable) -> Self {
        let columns = table.columns.iter().map(|column| (column.name, column.ty));
        Self {
            name: table.name,
            columns: columns.filter(|(_, ty)| *ty != SqlType::Serial).collect(),
            key: table.key.to_vec(),
        }
    }
}

impl Target {
    /// Takes all columns of `table`, those of wall-clock time as well.
    #[must_use]
    pub fn with_stamps(table: &'static Table) -> Self {
        Self {
            name: table.name,
            columns: table.columns.iter().map(|column| (column.name, SqlType::of(table, column))).collect(),
            key: table.columns.first().map(|column| column.name).into_iter().collect(),
        }
    }

    /// All columns of an internal table, those that the database otherwise assigns as well.
    #[must_use]
    pub fn numbered(table: &'static InternalTable) -> Self {
        Self {
            name: table.name,
            columns: table.columns.iter().map(|column| (column.name, column.ty)).collect(),
            key: table.key.to_vec(),
        }
    }

    /// Returns the table's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the columns that are written.
    #[must_use]
    pub fn columns(&self) -> &[(&'static str, SqlType)] {
        &self.columns
    }

    /// Returns the statement that inserts rows.
    ///
    /// ```
    /// use turnmill_model::tables::RASA_USER;
    /// use turnmill_sql::statements::{Input, OnConflict, Target};
    /// use turnmill_sql::Dialect;
    /// let users = Target::from(&RASA_USER);
    /// let sql = users.insert(Dialect::Postgres, Input::Arrays, OnConflict::Widen);
    /// // Two senders of one user may be in the same batch, so their rows are merged first.
    /// assert!(sql.contains(r#"min("first_seen")"#));
    /// assert!(sql.contains(r#"GROUP BY "id" ORDER BY "id""#));
    /// // The user may be stored already, with other times.
    /// assert!(sql.contains(r#"least(rasa_user."first_seen", excluded."first_seen")"#));
    /// ```
    #[must_use]
    pub fn insert(&self, dialect: Dialect, input: Input, conflict: OnConflict) -> String {
        let names = quoted_list(self.names());
        let rows = match (dialect, input) {
            (Dialect::Postgres, Input::Arrays) => self.select_arrays(conflict),
            (_, Input::Rows(count)) => self.values(dialect, count),
            (Dialect::Sqlite, Input::Arrays) => self.values(dialect, 1),
        };
        format!("INSERT INTO {} ({names}) {rows}{}", self.name, self.on_conflict(dialect, conflict))
    }

    /// Returns the statement that updates all columns of the row with the key. Parameters are those
    /// of an insert. Several rows per statement need arrays.
    #[must_use]
    pub fn update(&self, dialect: Dialect, input: Input) -> String {
        let columns: Vec<&str> = self.names().filter(|name| !self.key.contains(name)).collect();
        self.update_columns(dialect, input, &columns)
    }

    /// Returns the statement that updates some columns of the row with the key. Parameters are the
    /// key's columns, then `columns`.
    #[must_use]
    pub fn update_columns(&self, dialect: Dialect, input: Input, columns: &[&str]) -> String {
        let given: Vec<&(&str, SqlType)> = self
            .columns
            .iter()
            .filter(|(name, _)| self.key.contains(name) || columns.contains(name))
            .collect();
        let set = |value: &dyn Fn(usize, &str) -> String| {
            let assignments = given.iter().enumerate().filter(|(_, (name, _))| !self.key.contains(name));
            assignments
                .map(|(n, (name, _))| format!("{} = {}", quoted(name), value(n, name)))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let with_key = |value: &dyn Fn(usize, &str) -> String| {
            let keys = given.iter().enumerate().filter(|(_, (name, _))| self.key.contains(name));
            let column = |name: &str| match input {
                Input::Arrays if dialect == Dialect::Postgres => format!("{}.{}", self.name, quoted(name)),
                Input::Arrays | Input::Rows(_) => quoted(name),
            };
            keys.map(|(n, (name, _))| format!("{} = {}", column(name), value(n, name)))
                .collect::<Vec<_>>()
                .join(" AND ")
        };
        if (dialect, input) == (Dialect::Postgres, Input::Arrays) {
            let new = |_: usize, name: &str| format!("new.{}", quoted(name));
            let source = unnest(given.iter().copied());
            return format!("UPDATE {} SET {} FROM {source} WHERE {}", self.name, set(&new), with_key(&new));
        }
        let parameter = |number: usize, _: &str| dialect.placeholder(number + 1);
        format!("UPDATE {} SET {} WHERE {}", self.name, set(&parameter), with_key(&parameter))
    }

    /// Returns the statement that deletes the row with the key.
    #[must_use]
    pub fn delete(&self, dialect: Dialect, input: Input) -> String {
        let keys = self.columns.iter().filter(|(name, _)| self.key.contains(name));
        if (dialect, input) == (Dialect::Postgres, Input::Arrays) {
            let keys: Vec<_> = keys.collect();
            let equal: Vec<String> = keys
                .iter()
                .map(|(name, _)| format!("{}.{name} = new.{name}", self.name, name = quoted(name)))
                .collect();
            return format!("DELETE FROM {} USING {} WHERE {}", self.name, unnest(keys), equal.join(" AND "));
        }
        // A key that the database assigns is not among the columns written.
        let equal: Vec<String> = self
            .key
            .iter()
            .enumerate()
            .map(|(number, name)| format!("{} = {}", quoted(name), dialect.placeholder(number + 1)))
            .collect();
        format!("DELETE FROM {} WHERE {}", self.name, equal.join(" AND "))
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.columns.iter().map(|(name, _)| *name)
    }

    fn values(&self, dialect: Dialect, rows: usize) -> String {
        let width = self.columns.len();
        let row = |row: usize| {
            let values: Vec<String> =
                (1..=width).map(|column| dialect.placeholder(row * width + column)).collect();
            format!("({})", values.join(", "))
        };
        format!("VALUES {}", (0..rows.max(1)).map(row).collect::<Vec<_>>().join(", "))
    }

    /// Returns the query that turns arrays into rows.
    ///
    /// Senders share the rows of some tables: two senders may have the same user, and all of a
    /// source share its row of the ledger. For these tables two rules hold:
    ///
    /// - Rows of one key are merged first, since one statement may touch a row only once. A batch
    ///   with `u1: hi(10:00)` and `u2: hi(10:05)` of one user gives one row, first seen at 10:00
    ///   and last seen at 10:05. Rows that replace a stored one have distinct keys already.
    /// - Rows are sorted by key, so that two writers lock them in the same order and do not
    ///   deadlock.
    fn select_arrays(&self, conflict: OnConflict) -> String {
        let source = unnest(&self.columns);
        let key = quoted_list(self.key.iter().copied());
        match conflict {
            OnConflict::Fail => format!("SELECT * FROM {source}"),
            OnConflict::Replace => format!("SELECT * FROM {source} ORDER BY {key}"),
            OnConflict::Widen | OnConflict::Add => {
                let merged = |&(name, ty): &(&'static str, SqlType)| {
                    let column = quoted(name);
                    match (conflict, ty) {
                        (OnConflict::Widen, _) if name == "first_seen" => format!("min({column})"),
                        (OnConflict::Widen, _) if name == "last_seen" => format!("max({column})"),
                        (OnConflict::Add, SqlType::Integer) => format!("sum({column})"),
                        _ if self.key.contains(&name) => column,
                        _ => format!("min({column})"),
                    }
                };
                let columns: Vec<String> = self.columns.iter().map(merged).collect();
                format!("SELECT {} FROM {source} GROUP BY {key} ORDER BY {key}", columns.join(", "))
            }
        }
    }

    fn on_conflict(&self, dialect: Dialect, conflict: OnConflict) -> String {
        let assignment = |name: &str, ty: SqlType| {
            let (column, table) = (quoted(name), self.name);
            match conflict {
                OnConflict::Fail => None,
                OnConflict::Replace => Some(format!("{column} = excluded.{column}")),
                OnConflict::Widen => {
                    let function = match name {
                        "first_seen" => dialect.least(),
                        "last_seen" => dialect.greatest(),
                        _ => return None,
                    };
                    Some(format!("{column} = {function}({table}.{column}, excluded.{column})"))
                }
                OnConflict::Add => (ty == SqlType::Integer)
                    .then(|| format!("{column} = {table}.{column} + excluded.{column}")),
            }
        };
        let others = self.columns.iter().filter(|(name, _)| !self.key.contains(name));
        let assignments: Vec<String> = others.filter_map(|(name, ty)| assignment(name, *ty)).collect();
        if assignments.is_empty() {
            return String::new();
        }
        let key = quoted_list(self.key.iter().copied());
        format!(" ON CONFLICT ({key}) DO UPDATE SET {}", assignments.join(", "))
    }
}

/// Returns the expression for a table `new` made of array parameters.
fn unnest<'c>(columns: impl IntoIterator<Item = &'c (&'static str, SqlType)>) -> String {
    let (mut arrays, mut names) = (Vec::new(), Vec::new());
    for (number, (name, ty)) in columns.into_iter().enumerate() {
        arrays.push(format!("{}::{}", Dialect::Postgres.placeholder(number + 1), Dialect::array_type(*ty)));
        names.push(quoted(name));
    }
    format!("unnest({}) AS new ({})", arrays.join(", "), names.join(", "))
}

//! The macros that declare a table as data and, from the same lines, its row type.

/// Describes a column: its documentation, then name, type and properties.
macro_rules! column {
    ($doc:expr; $name:literal $ty:expr) => { column!(@ $doc, $name, $ty, false, None, false) };
    ($doc:expr; $name:literal $ty:expr, null) => { column!(@ $doc, $name, $ty, true, None, false) };
    ($doc:expr; $name:literal $ty:expr, wall_clock) => { column!(@ $doc, $name, $ty, false, None, true) };
    ($doc:expr; $name:literal $ty:expr, references $table:literal) => {
        column!(@ $doc, $name, $ty, false, Some($table), false)
    };
    ($doc:expr; $name:literal $ty:expr, null references $table:literal) => {
        column!(@ $doc, $name, $ty, true, Some($table), false)
    };
    (@ $doc:expr, $name:literal, $ty:expr, $null:literal, $references:expr, $wall_clock:literal) => {
        Column {
            name: $name,
            doc: $doc,
            ty: $ty,
            nullable: $null,
            references: $references,
            wall_clock: $wall_clock,
        }
    };
}

/// The other name of a table, if there is one.
macro_rules! view {
    () => {
        None
    };
    ($name:literal) => {
        Some($name)
    };
}

/// Declares a table with its row type. The first doc comment is the table's description as well.
/// `stamps` are columns after the others that the store fills with the time of writing.
macro_rules! table {
    (
        $(#[doc = $doc:literal])* $konst:ident, $row:ident, $name:literal
        { $($(#[doc = $column_doc:literal])* $field:ident: $rust:ty = [$($column:tt)*],)* }
        $(stamps: [$($stamp:literal),*])?
        indexes: [$(($index:literal, [$($index_column:literal),*])),*]
        $(view: $view:literal)?
    ) => {
        $(#[doc = $doc])*
        pub static $konst: Table = Table {
            name: $name,
            doc: concat!($($doc),*),
            columns: &[
                $(column!(concat!($($column_doc),*); $($column)*)),*
                $($(, column!(" Time at which the row was written."; $stamp DateTime, wall_clock))*)?
            ],
            indexes: &[$(Index { name: $index, columns: &[$($index_column),*] }),*],
            view: view!($($view)?),
        };

        #[doc = concat!("A row of `", $name, "`.")]
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $row { $($(#[doc = $column_doc])* pub $field: $rust,)* }

        impl Row for $row {
            const TABLE: &'static Table = &$konst;

            fn value<'t>(&self, column: usize, texts: &'t Texts) -> Value<'t> {
                let mut index = 0;
                $(
                    if column == index {
                        return self.$field.field(texts);
                    }
                    index += 1;
                )*
                let _ = index;
                Value::Null
            }

            fn rebase(&self, from: &Texts, to: &mut Texts) -> Self {
                Self { $($field: Field::rebase(&self.$field, from, to),)* }
            }
        }
    };
}

/// Declares a table of a source to come, which has no rows and so no row type.
macro_rules! table_to_come {
    (
        $(#[doc = $doc:literal])* $konst:ident, $name:literal
        { $($(#[doc = $column_doc:literal])* [$($column:tt)*],)* }
    ) => {
        $(#[doc = $doc])*
        pub static $konst: Table = Table {
            name: $name,
            doc: concat!($($doc),*),
            columns: &[$(column!(concat!($($column_doc),*); $($column)*)),*],
            indexes: &[],
            view: None,
        };
    };
}

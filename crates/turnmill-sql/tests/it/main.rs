//! Snapshots of all SQL, and what has to hold for any of it.

use insta::assert_snapshot;
use turnmill_model::tables::{
    EVENT_ERROR, PUBLIC, RASA_EVENT, RASA_SESSION, RASA_SESSION_SLOT_STATE, RASA_USER,
};
use turnmill_sql::statements::{Input, OnConflict, Target};
use turnmill_sql::{Dialect, References, Schema, indexes, internal, upkeep, views};

const DIALECTS: [Dialect; 2] = [Dialect::Sqlite, Dialect::Postgres];

fn script(statements: impl IntoIterator<Item = String>) -> String {
    statements.into_iter().map(|sql| sql + ";\n").collect()
}

#[test]
fn ddl() {
    for dialect in DIALECTS {
        assert_snapshot!(format!("ddl_{dialect:?}"), script(Schema::new(dialect).statements()));
    }
}

/// Checks the columns of the views in `docs/tables.md`. With `TURNMILL_TEST_UPDATE` set, writes
/// them.
#[test]
fn views_are_documented() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/tables.md");
    let document = std::fs::read_to_string(path).unwrap();
    let (front, rest) = document.split_once("user message.\n\n").unwrap();
    let (_, back) = rest.split_once("## What each event writes").unwrap();
    let mut tables = String::new();
    for view in views::ALL {
        tables += &format!("### {}\n\n{}\n\n| column | |\n| --- | --- |\n", view.name, view.doc);
        for column in view.columns {
            tables += &format!("| {} | {} |\n", column.name, column.doc);
        }
        tables.push('\n');
    }
    let expected = format!("{front}user message.\n\n{tables}## What each event writes{back}");
    if std::env::var_os("TURNMILL_TEST_UPDATE").is_some() {
        std::fs::write(path, &expected).unwrap();
    }
    let document = std::fs::read_to_string(path).unwrap();
    assert_eq!(document, expected, "TURNMILL_TEST_UPDATE=1 writes it");
}

#[test]
fn ddl_options_change_only_what_they_name() {
    for dialect in DIALECTS {
        let plain = Schema::new(dialect).statements();
        let of = |references| Schema::new(dialect).references(references).statements();
        let stripped: Vec<String> = plain.iter().map(|sql| strip_references(sql)).collect();
        assert_eq!(of(References::None), stripped);
        // Checked references are the same but for the indexes that they need.
        let checked: Vec<String> =
            of(References::Checked).into_iter().filter(|sql| !sql.contains("_turnmill_ref_")).collect();
        let declared: Vec<String> = plain.iter().map(|sql| sql.replace(" NOT ENFORCED", "")).collect();
        assert_eq!(checked, declared);
    }
}

fn strip_references(sql: &str) -> String {
    let lines = sql.lines().map(|line| match line.split_once(" REFERENCES") {
        Some((column, rest)) => format!("{column}{}", if rest.ends_with(',') { "," } else { "" }),
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_column_is_written_once_by_every_insert() {
    for dialect in DIALECTS {
        for table in PUBLIC.into_iter().chain([&EVENT_ERROR]) {
            let target = Target::from(table);
            // The database itself says when a row was written.
            let written: Vec<_> = table.columns.iter().filter(|column| !column.wall_clock).collect();
            let width = written.len();
            let sql = target.insert(dialect, Input::Rows(3), OnConflict::Fail);
            let sign = if dialect == Dialect::Sqlite { '?' } else { '$' };
            assert_eq!(sql.matches(sign).count(), width * 3, "{sql}");
            assert!(sql.contains(&dialect.placeholder(width * 3)), "{sql}");
            for column in table.columns {
                assert_eq!(sql.contains(&format!("\"{}\"", column.name)), !column.wall_clock, "{sql}");
            }
        }
    }
}

#[test]
fn statements() {
    for dialect in DIALECTS {
        let mut all = Vec::new();
        let inputs: &[Input] = match dialect {
            Dialect::Postgres => &[Input::Rows(2), Input::Arrays],
            Dialect::Sqlite => &[Input::Rows(2)],
        };
        for &input in inputs {
            let one = if input == Input::Arrays { input } else { Input::Rows(1) };
            all.push(Target::from(&RASA_EVENT).insert(dialect, input, OnConflict::Fail));
            all.push(Target::from(&EVENT_ERROR).insert(dialect, input, OnConflict::Fail));
            all.push(Target::from(&RASA_SESSION_SLOT_STATE).insert(dialect, input, OnConflict::Replace));
            all.push(Target::from(&RASA_USER).insert(dialect, input, OnConflict::Widen));
            all.push(Target::from(&internal::LEDGER).insert(dialect, input, OnConflict::Add));
            all.push(Target::from(&internal::TIMELINE).insert(dialect, input, OnConflict::Replace));
            all.push(Target::from(&internal::DEAD_LETTER).insert(dialect, one, OnConflict::Fail));
            all.push(Target::from(&RASA_SESSION).update(dialect, one));
            all.push(Target::from(&RASA_SESSION).update_columns(dialect, one, &["end_sequence_number"]));
            all.push(Target::from(&internal::HISTORY).update(dialect, one));
            all.push(Target::from(&RASA_SESSION).delete(dialect, one));
        }
        all.push(Target::from(&internal::DEAD_LETTER).delete(dialect, Input::Rows(1)));
        assert_snapshot!(format!("statements_{dialect:?}"), script(all));
    }
}

#[test]
fn every_index_is_documented() {
    let document = include_str!("../../../../docs/tables.md");
    let (_, section) = document.split_once("## Indexes").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let written: Vec<Vec<&str>> = section
        .lines()
        .filter(|line| line.starts_with("| idx_") || line.starts_with("| _turnmill_"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).take(3).collect())
        .collect();
    let there = indexes::all(Dialect::Postgres, References::None);
    let there: Vec<Vec<String>> = there
        .into_iter()
        .map(|index| vec![index.name, index.table.to_owned(), index.columns.join(", ")])
        .collect();
    assert_eq!(written, there);
}

#[test]
fn removals() {
    for dialect in DIALECTS {
        let all = upkeep::clear(dialect).into_iter().chain(upkeep::forget(dialect));
        assert_snapshot!(format!("removals_{dialect:?}"), script(all.map(|removal| removal.sql)));
    }
}

//! Tests that `docs/tables.md` names the tables and columns that exist.

use std::collections::BTreeMap;

use turnmill_model::tables::{Column, ColumnType, PUBLIC};

const DOCUMENT: &str = include_str!("../../../../docs/tables.md");

/// Returns the cells of each table row under each `## ` heading, without header rows.
fn rows_by_heading() -> BTreeMap<&'static str, Vec<Vec<&'static str>>> {
    let mut rows: BTreeMap<_, Vec<Vec<&str>>> = BTreeMap::new();
    let mut heading = "";
    let mut inside = false;
    for line in DOCUMENT.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            heading = name;
        }
        let row = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |"));
        match row {
            Some(row) if inside => {
                rows.entry(heading)
                    .or_default()
                    .push(row.split(" | ").map(|cell| cell.trim_matches(['|', ' '])).collect());
            }
            // The line of dashes ends the header.
            Some(row) if row.starts_with("---") => inside = true,
            Some(_) => {}
            None => inside = false,
        }
    }
    rows
}

fn type_name(ty: ColumnType) -> String {
    match ty {
        ColumnType::Id => "varchar(36)".into(),
        ColumnType::Varchar(width) => format!("varchar({width})"),
        ColumnType::Text => "text".into(),
        ColumnType::Integer => "integer".into(),
        ColumnType::Float => "float".into(),
        ColumnType::DateTime => "datetime".into(),
        ColumnType::Boolean => "boolean".into(),
    }
}

fn documented(column: &Column) -> [String; 3] {
    let null = if column.nullable { "yes" } else { "no" };
    [column.name.into(), type_name(column.ty), null.into()]
}

#[test]
fn every_public_table_is_documented_column_by_column() {
    let rows = rows_by_heading();
    for table in PUBLIC {
        let rows = rows.get(table.name).unwrap_or_else(|| panic!("{} is missing", table.name));
        let written: Vec<[String; 3]> =
            rows.iter().map(|row| [row[0].into(), row[1].into(), row[2].into()]).collect();
        let there: Vec<[String; 3]> = table.columns.iter().map(documented).collect();
        assert_eq!(written, there, "{}", table.name);
        for (row, column) in rows.iter().zip(table.columns) {
            let reference = column.references.map(|table| format!("refers to `{table}`"));
            let source = row.get(3).copied().unwrap_or_default();
            assert_eq!(
                source.contains("refers to"),
                reference.is_some(),
                "{}.{}: {source}",
                table.name,
                column.name
            );
            assert!(
                source.contains(&reference.unwrap_or_default()),
                "{}.{}: {source}",
                table.name,
                column.name
            );
        }
    }
}

#[test]
fn no_table_is_documented_that_does_not_exist() {
    let headings = DOCUMENT.lines().filter_map(|line| line.strip_prefix("## "));
    let headings = headings.filter(|name| name.starts_with("rasa_") || name.starts_with("ext_"));
    let mut written: Vec<&str> = headings.collect();
    let mut there: Vec<&str> = PUBLIC.iter().map(|table| table.name).collect();
    written.sort_unstable();
    there.sort_unstable();
    assert_eq!(written, there);
}

#[test]
fn views_are_documented() {
    for table in PUBLIC {
        if let Some(view) = table.view {
            assert!(DOCUMENT.contains(&format!("`{view}`")), "{view}");
        }
    }
}

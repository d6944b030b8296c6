//! Runs the queries of `docs/recipes.md` on the capture, in both kinds of store, and compares the
//! answers with those in the document. With `TURNMILL_TEST_UPDATE` set, writes them there.

use std::path::Path;

use postgres::{Client, NoTls, SimpleQueryMessage};
use rusqlite::types::ValueRef;

use crate::support::{capture, json, replay, run, turnmill, url};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/recipes.md");
const MARKERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/markers.yml");

/// A block of the document.
#[derive(Debug)]
enum Block {
    Prose(String),
    /// Language and database, and the query.
    Query(String, String),
    /// The answer to the queries since the last one.
    Answer,
}

fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else {
            blocks.push(Block::Prose(line.to_owned()));
            continue;
        };
        let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let text = text.join("\n");
        match info {
            "text" => blocks.push(Block::Answer),
            info if info.starts_with("sql") => blocks.push(Block::Query(info.to_owned(), text)),
            _ => blocks.push(Block::Prose(format!("{line}\n{text}\n```"))),
        }
    }
    blocks
}

/// Loads the capture and its markers.
pub(crate) fn load(store: &str) {
    let file = capture("parcel/file-broker.jsonl.gz");
    json(replay(&[file.to_str().unwrap(), "--to", store, "--json"]), 0);
    run(turnmill(&["markers", "upload", MARKERS, "--on", store]), 0);
    run(turnmill(&["markers", "backfill", "--on", store]), 0);
}

fn of_sqlite(file: &Path, sql: &str) -> String {
    let connection = rusqlite::Connection::open(file).unwrap();
    let mut statement = connection.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let names: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
    let mut rows = statement.query([]).unwrap();
    let mut found = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let cell = |at| match row.get_ref_unwrap(at) {
            ValueRef::Null => None,
            ValueRef::Integer(number) => Some(number.to_string()),
            ValueRef::Real(number) => Some(format!("{number:?}")),
            ValueRef::Text(text) | ValueRef::Blob(text) => Some(String::from_utf8(text.to_vec()).unwrap()),
        };
        found.push((0..names.len()).map(cell).collect());
    }
    shown(&names, found)
}

fn of_postgres(url: &str, sql: &str) -> String {
    let mut client = Client::connect(url, NoTls).unwrap();
    let (mut names, mut found) = (Vec::new(), Vec::new());
    for message in client.simple_query(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}")) {
        if let SimpleQueryMessage::Row(row) = message {
            names = row.columns().iter().map(|column| column.name().to_owned()).collect();
            found.push((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect());
        }
    }
    shown(&names, found)
}

/// Returns rows as the document shows them. Numbers have no zeros at their end.
fn shown(names: &[String], rows: Vec<Vec<Option<String>>>) -> String {
    let cell = |cell: Option<String>| {
        let text = cell.unwrap_or_else(|| "NULL".into());
        match text.parse::<f64>() {
            Ok(number) if text.contains('.') => number.to_string(),
            _ => text.replace('\n', " "),
        }
    };
    let mut lines = vec![names.join(" | ")];
    lines.extend(rows.into_iter().map(|row| row.into_iter().map(cell).collect::<Vec<_>>().join(" | ")));
    lines.join("\n")
}

/// Returns the document with the answers of one database. Queries of the other one are shown
/// without theirs.
fn answered(blocks: &[Block], database: &str, ask: impl Fn(&str) -> String) -> String {
    let mut text = String::new();
    let mut answer = None;
    let mut recipes = 0;
    for block in blocks {
        match block {
            Block::Prose(line) => {
                if line.starts_with("## ") {
                    recipes += 1;
                    if let Some(answer) = answer.take() {
                        text += &format!("```text\n{answer}\n```\n\n");
                    }
                }
                text += &format!("{line}\n");
            }
            Block::Query(info, sql) => {
                if info == "sql" || info.ends_with(database) {
                    answer = Some(ask(sql));
                }
                text += &format!("```{info}\n{sql}\n```\n");
            }
            Block::Answer => {}
        }
    }
    text += &format!("\n```text\n{}\n```\n", answer.unwrap());
    assert_eq!(recipes, 20);
    // An answer that was there leaves its empty line.
    while text.contains("\n\n\n") {
        text = text.replace("\n\n\n", "\n\n");
    }
    text
}

#[test]
fn recipes_give_the_answers_of_the_document() {
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    let blocks = blocks(&document);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("parcel.sqlite");
    load(&url(&file));
    let from_sqlite = answered(&blocks, "sqlite", |sql| of_sqlite(&file, sql));
    if std::env::var_os("TURNMILL_TEST_UPDATE").is_some() {
        std::fs::write(DOCUMENT, &from_sqlite).unwrap();
    }
    assert_eq!(std::fs::read_to_string(DOCUMENT).unwrap(), from_sqlite);

    let Some(store) = turnmill_testbed::postgres::database() else { return };
    load(&store);
    let from_postgres = answered(&blocks, "postgresql", |sql| of_postgres(&store, sql));
    assert_eq!(from_postgres, from_sqlite);
}

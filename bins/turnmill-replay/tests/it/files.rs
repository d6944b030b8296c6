//! Tests of tables as files.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Field;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use turnmill_model::tables::{ColumnType, PUBLIC};
use turnmill_sink_file::{Format, Manifest};

use crate::support::{capture, json, lines, replay, run, turnmill};

/// A table: each row by its key, as columns and texts. NULL is `None`.
type Rows = BTreeMap<String, Vec<(String, Option<String>)>>;

/// Reads a table of the SQLite file, without the columns that digests leave out.
fn of_sqlite(store: &Path, table: &str) -> Rows {
    let connection = Connection::open(store).unwrap();
    let mut statement = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
    let is_truth = |name: &str| column_type(table, name) == ColumnType::Boolean;
    let columns: Vec<String> = statement.column_names().into_iter().map(ToOwned::to_owned).collect();
    let wall_clock = |name: &str| table == "rasa_markers" && name == "created_at";
    let mut rows = statement.query([]).unwrap();
    let mut all = Rows::new();
    while let Some(row) = rows.next().unwrap() {
        let values = columns.iter().enumerate().filter(|(_, name)| !wall_clock(name));
        let values = values.map(|(index, name)| {
            let text = match row.get_ref(index).unwrap() {
                ValueRef::Null => None,
                ValueRef::Integer(number) if is_truth(name) => Some((number != 0).to_string()),
                ValueRef::Integer(number) => Some(number.to_string()),
                ValueRef::Real(number) => Some(number.to_string()),
                ValueRef::Text(text) => Some(String::from_utf8(text.to_vec()).unwrap()),
                ValueRef::Blob(_) => panic!("no public table has blobs"),
            };
            (name.clone(), text)
        });
        insert(&mut all, values.collect());
    }
    all
}

fn column_type(table: &str, name: &str) -> ColumnType {
    let described = PUBLIC.iter().find(|described| described.name == table).unwrap();
    described.columns.iter().find(|column| column.name == name).unwrap().ty
}

fn insert(rows: &mut Rows, values: Vec<(String, Option<String>)>) {
    let key = values[0].1.clone().unwrap();
    assert_eq!(rows.insert(key, values), None, "a key twice");
}

/// Reads the files of a table that the manifest names.
fn of_files(folder: &Path, table: &str) -> Rows {
    let manifest = Manifest::read(folder).unwrap().unwrap();
    let mut rows = Rows::new();
    for file in &manifest.tables[table] {
        let path = folder.join(&file.path);
        let before = rows.len();
        match manifest.format {
            Format::Jsonl => json_lines(&path, &mut rows),
            Format::Csv => csv(&path, table, &mut rows),
            Format::Parquet => parquet(&path, &mut rows),
        }
        assert_eq!((rows.len() - before) as u64, file.rows, "{table}");
        assert_eq!(fs::metadata(&path).unwrap().len(), file.bytes, "{table}");
    }
    rows
}

fn json_lines(path: &Path, rows: &mut Rows) {
    for line in fs::read_to_string(path).unwrap().lines() {
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
        let text = |value: serde_json::Value| match value {
            serde_json::Value::Null => None,
            serde_json::Value::String(text) => Some(text),
            serde_json::Value::Number(number) if number.is_f64() => {
                Some(number.as_f64().unwrap().to_string())
            }
            other => Some(other.to_string()),
        };
        // The key is the first column of its table, and all but one are called `id`.
        let mut values: Vec<_> = object.into_iter().map(|(name, value)| (name, text(value))).collect();
        let key = line[2..].split('"').next().unwrap();
        let at = values.iter().position(|(name, _)| name == key).unwrap();
        values.swap(0, at);
        insert(rows, values);
    }
}

/// Reads CSV by the rules of RFC 4180.
fn csv(path: &Path, table: &str, rows: &mut Rows) {
    let text = fs::read_to_string(path).unwrap();
    let mut records: Vec<Vec<Option<String>>> = vec![Vec::new()];
    let (mut field, mut quoted, mut in_quotes) = (String::new(), false, false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if in_quotes && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' => (in_quotes, quoted) = (!in_quotes, true),
            ',' | '\n' if !in_quotes => {
                let value = (quoted || !field.is_empty()).then(|| std::mem::take(&mut field));
                records.last_mut().unwrap().push(value);
                quoted = false;
                if character == '\n' {
                    records.push(Vec::new());
                }
            }
            other => field.push(other),
        }
    }
    let header: Vec<String> = records.remove(0).into_iter().map(Option::unwrap).collect();
    for record in records.into_iter().filter(|record| !record.is_empty()) {
        assert_eq!(record.len(), header.len());
        let value = |(name, value): (&String, Option<String>)| {
            let spelled = |text: String| match column_type(table, name) {
                ColumnType::Float => text.parse::<f64>().unwrap().to_string(),
                _ => text,
            };
            (name.clone(), value.map(spelled))
        };
        insert(rows, header.iter().zip(record).map(value).collect());
    }
}

fn parquet(path: &Path, rows: &mut Rows) {
    let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    for row in reader.get_row_iter(None).unwrap() {
        let row = row.unwrap();
        let text = |field: &Field| match field {
            Field::Null => None,
            Field::Str(text) => Some(text.clone()),
            Field::Long(number) => Some(number.to_string()),
            Field::Double(number) => Some(number.to_string()),
            Field::Bool(truth) => Some(truth.to_string()),
            Field::TimestampMicros(micros) => Some(turnmill_model::Micros(*micros).to_string()),
            other => panic!("{other:?}"),
        };
        insert(rows, row.get_column_iter().map(|(name, field)| (name.clone(), text(field))).collect());
    }
}

/// Asserts that the files hold what the SQLite file beside them holds.
#[track_caller]
fn assert_equal(folder: &Path, store: &Path) -> u64 {
    let mut rows = 0;
    for table in PUBLIC {
        let (mut expected, mut found) = (of_sqlite(store, table.name), of_files(folder, table.name));
        for row in expected.values_mut().chain(found.values_mut()) {
            row.sort();
        }
        assert_eq!(found, expected, "{}", table.name);
        rows += found.len() as u64;
    }
    rows
}

#[test]
fn tables_as_files_equal_those_of_sqlite_and_a_second_run_continues() {
    let all = lines("parcel/file-broker.jsonl.gz");
    for format in Format::ALL {
        let folder = tempfile::tempdir().unwrap();
        let tables = folder.path().join("tables");
        let to = format!("{format}:{}", tables.display());
        let store = tables.join("turnmill.sqlite");
        let mut rows = 0;
        for (name, lines) in [("first", &all[..9000]), ("second", &all[5000..])] {
            let input = folder.path().join(name);
            fs::write(&input, lines.join("\n")).unwrap();
            let input = input.to_str().unwrap();
            let said = json(replay(&[input, "--to", &to, "--json"]), 0);
            assert_eq!(said["store"], to);
            let before = std::mem::replace(&mut rows, assert_equal(&tables, &store));
            assert!(rows > before, "{format}");
        }
        // Files that the manifest does not name are gone.
        let files = fs::read_dir(tables.join("rasa_event")).unwrap().count();
        assert_eq!(files, 1, "{format}");
        // Another format, and a folder of something else, are refused by name.
        let other = format!("{}:{}", if format == Format::Csv { "jsonl" } else { "csv" }, tables.display());
        let output =
            run(replay(&[capture("parcel/file-broker.jsonl.gz").to_str().unwrap(), "--to", &other]), 1);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("name another folder"), "{text}");
        let foreign = format!("{format}:{}", folder.path().display());
        let output =
            run(replay(&[capture("parcel/file-broker.jsonl.gz").to_str().unwrap(), "--to", &foreign]), 1);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("no manifest"), "{text}");
    }
}

#[test]
fn a_snapshot_killed_at_any_moment_leaves_a_complete_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("parcel.sqlite");
    let url = crate::support::url(&store);
    run(replay(&[capture("parcel/file-broker.jsonl.gz").to_str().unwrap(), "--to", &url, "-q"]), 0);
    for format in Format::ALL {
        let tables = folder.path().join(format.extension());
        let to = format!("{format}:{}", tables.display());
        for milliseconds in [0, 5, 20, 50, 100, 200, 400] {
            let mut command = turnmill(&["snapshot", &url, "--to", &to]);
            let mut child = command.stdout(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(milliseconds));
            child.kill().unwrap();
            child.wait().unwrap();
            if Manifest::read(&tables).unwrap().is_some() {
                assert_equal(&tables, &store);
            }
        }
        run(turnmill(&["snapshot", &url, "--to", &to]), 0);
        assert_equal(&tables, &store);
        assert_eq!(fs::read_dir(tables.join("rasa_event")).unwrap().count(), 1, "{format}");
    }
}

//! Checks the boards with their tools' own schemas, and runs the statements of `docs/bi.md` in
//! DuckDB. With `TURNMILL_TEST_UPDATE` set, writes the answers there.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use turnmill_testbed::skip;

use crate::recipes::load;
use crate::support::url;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/bi.md");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the command `scripts/bi`, or skips the test if its tools cannot be had.
fn tools() -> Option<impl Fn(&[&str]) -> Command> {
    let command = |arguments: &[&str]| {
        let mut command = Command::new(root().join("scripts/bi"));
        command.args(arguments);
        command
    };
    let output = command(&["tools"]).output().unwrap();
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        let error = error.trim().lines().next_back().unwrap_or_default();
        skip(&format!("scripts/bi cannot install its tools from PyPI and npm: {error}"));
        return None;
    }
    Some(command)
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_board_for_grafana_is_as_its_schemas_say() {
    let Some(command) = tools() else { return };
    let board = root().join("deploy/grafana/conversations.json");
    let output = command(&["grafana", board.to_str().unwrap()]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    // The check sees a field that Grafana does not know.
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("wrong.json");
    let text = std::fs::read_to_string(&board).unwrap().replace("\"gridPos\"", "\"gridPosition\"");
    std::fs::write(&wrong, text).unwrap();
    let output = command(&["grafana", wrong.to_str().unwrap()]).output().unwrap();
    assert!(!output.status.success() && said(&output).contains("gridPosition"), "{}", said(&output));
}

#[test]
fn the_board_for_metabase_is_as_its_schemas_say() {
    let Some(command) = tools() else { return };
    let output = command(&["metabase", root().join("deploy/metabase").to_str().unwrap()]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let files = std::fs::read_dir(root().join("deploy/metabase/collections/main/turnmill")).unwrap().count();
    assert!(said(&output).contains(&format!("{} passed, 0 failed", files + 1)), "{}", said(&output));
    // The check sees a form of drawing that Metabase does not have.
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("collections/main");
    std::fs::create_dir_all(&wrong).unwrap();
    let card = root().join("deploy/metabase/collections/main/turnmill/users.yaml");
    let text = std::fs::read_to_string(card).unwrap().replace("display: scalar", "display: speedometer");
    std::fs::write(wrong.join("users.yaml"), text).unwrap();
    let output = command(&["metabase", folder.path().to_str().unwrap()]).output().unwrap();
    assert!(!output.status.success(), "{}", said(&output));
}

/// Returns the document with what DuckDB prints after each block of statements.
fn answered(document: &str, printed: &str) -> String {
    let mut answers = printed.split("\n\n").map(str::trim).filter(|answer| !answer.is_empty());
    let mut text = String::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        text += &format!("{line}\n");
        if line == "```text" {
            text += &format!("{}\n```\n", answers.next().unwrap());
            for old in lines.by_ref() {
                if old == "```" {
                    break;
                }
            }
        }
    }
    assert_eq!(answers.next(), None, "an answer without a block");
    text
}

#[test]
fn duckdb_gives_the_answers_of_the_document() {
    let Some(command) = tools() else { return };
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    let folder = tempfile::tempdir().unwrap();
    load(&url(&folder.path().join("parcel.sqlite")));
    let mut statements = String::new();
    for block in document.split("```sql duckdb\n").skip(1) {
        statements += block.split_once("```").unwrap().0;
    }
    // What tools ask a database that they see for the first time.
    statements += "SELECT count(*) >= 30 AS listed FROM information_schema.tables\n\
                   WHERE table_catalog = 'store';\n";
    let mut process = command(&["duckdb", folder.path().to_str().unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    process.stdin.take().unwrap().write_all(statements.as_bytes()).unwrap();
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let printed = String::from_utf8(output.stdout).unwrap();
    let (printed, listed) = printed.trim_end().rsplit_once("\n\n").unwrap();
    assert_eq!(listed, "listed\nTrue");
    let expected = answered(&document, printed);
    if std::env::var_os("TURNMILL_TEST_UPDATE").is_some() {
        std::fs::write(DOCUMENT, &expected).unwrap();
    }
    assert_eq!(std::fs::read_to_string(DOCUMENT).unwrap(), expected);
}

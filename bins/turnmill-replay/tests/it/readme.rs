//! Runs the README's commands, and compares their output with what it shows.
//!
//! Its Rust is tested with the documentation of `turnmill-ingest`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use turnmill_testbed::documents::{Snippet, assert_shown, snippets};

use crate::support;

const README: &str = include_str!("../../../../README.md");

/// Replaces what differs from run to run.
fn stable(line: &str) -> String {
    let word = |name: &str| line.trim_start().starts_with(name) && line.starts_with("  ");
    if word("time ") || word("records per second ") {
        line.split_whitespace().next().unwrap().into()
    } else if let Some((before, _)) = line.split_once("http://127.0.0.1:") {
        // Tests use a free port.
        before.into()
    } else {
        line.trim_end().into()
    }
}

/// Checks `printed` against what the README shows.
fn check(snippet: &Snippet, printed: &str) {
    let Some(output) = &snippet.output else { return };
    assert_shown(&format!("README.md, line {},", snippet.line), output, printed, stable);
}

fn executable(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A folder like a clone of the repository. There `cargo run` with `turnmill-replay` runs the
/// binary under test, and an installation only checks that its package exists. A command that
/// follows a file is interrupted after a while, and the demo once it has printed its address.
fn playground(folder: &Path) -> PathBuf {
    let repository = fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")).unwrap();
    symlink(repository.join("fixtures"), folder.join("fixtures")).unwrap();
    let bin = folder.join(".bin");
    let root = repository.display();
    executable(
        &bin.join("cargo"),
        &format!(
            r#"#!/usr/bin/env bash
            set -eu
            case "$*" in
                "run --release -p "*" --no-default-features -- "*) program=$4; shift 6; exec "$program" "$@" ;;
                "run --release -p turnmill -- dashboard --demo")
                    turnmill dashboard --demo --listen 127.0.0.1:0 > demo.log &
                    for _ in {{1..600}}; do
                        sleep 0.2
                        ! grep -q http: demo.log || break
                    done
                    kill -INT $!
                    wait $! || [ $? = 130 ]
                    grep http: demo.log
                    ;;
                "install --locked --path "*) test -f "{root}/$4/src/main.rs" ;;
                *) echo "the test does not know: cargo $*" >&2; exit 1 ;;
            esac
            "#
        ),
    );
    let replay = support::replay(&[]);
    executable(
        &bin.join("turnmill-replay"),
        &format!(
            r#"#!/usr/bin/env bash
            program={program:?}
            [[ " $* " == *" --follow "* ]] || exec "$program" "$@"
            "$program" "$@" &
            for _ in {{1..150}}; do
                sleep 0.2
                kill -INT $! 2> /dev/null || break
            done
            wait $!
            [ $? = 130 ]
            "#,
            program = replay.get_program()
        ),
    );
    symlink(support::turnmill(&[]).get_program(), bin.join("turnmill")).unwrap();
    // Running all tests from one of them would never end.
    executable(
        &folder.join("scripts/test"),
        &format!("#!/usr/bin/env bash\ntest -x '{root}/scripts/test'\n"),
    );
    bin
}

fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

/// Stands in for `sqlite3 FILE "QUERY"` where that is not installed.
fn query(folder: &Path, command: &str) -> String {
    let mut words = command.splitn(3, ' ').skip(1);
    let (file, sql) = (words.next().unwrap(), words.next().unwrap().trim_matches('"'));
    let connection = rusqlite::Connection::open(folder.join(file)).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    let row = |row: &rusqlite::Row<'_>| {
        let values = (0..columns).map(|column| match row.get_ref(column)? {
            rusqlite::types::ValueRef::Null => Ok(String::new()),
            rusqlite::types::ValueRef::Integer(number) => Ok(number.to_string()),
            rusqlite::types::ValueRef::Real(number) => Ok(number.to_string()),
            rusqlite::types::ValueRef::Text(text) | rusqlite::types::ValueRef::Blob(text) => {
                Ok(String::from_utf8_lossy(text).into_owned())
            }
        });
        Ok(values.collect::<rusqlite::Result<Vec<_>>>()?.join("|"))
    };
    let rows: rusqlite::Result<Vec<String>> = statement.query_map([], row).unwrap().collect();
    rows.unwrap().join("\n")
}

#[test]
fn every_command_works_and_prints_what_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let bin = playground(folder.path());
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let snippets = snippets(README);
    assert!(snippets.len() > 8 && snippets.iter().filter(|snippet| snippet.output.is_some()).count() >= 3);
    for snippet in snippets {
        if snippet.commands.starts_with("sqlite3 ") && !on_path("sqlite3") {
            check(&snippet, &query(folder.path(), &snippet.commands));
            continue;
        }
        let place = format!("README.md, line {}", snippet.line);
        let printed = snippet.run(&place, folder.path(), &path);
        check(&snippet, &printed);
    }
}

#[test]
fn a_query_is_answered_as_sqlite3_does() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        query(folder.path(), r#"sqlite3 t.sqlite "SELECT 1, NULL, 'a' UNION SELECT 2, 0.5, 'b'""#),
        "1||a\n2|0.5|b"
    );
}

#[test]
fn links_lead_somewhere() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut documents = vec![repository.join("README.md")];
    for name in ["ARCHITECTURE.md", "CHANGELOG.md", "COMPARE.md", "CONTRIBUTING.md", "examples/README.md"] {
        documents.push(repository.join(name));
    }
    for folder in ["docs", "docs/design"] {
        let entries = fs::read_dir(repository.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        documents.extend(entries.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    let anchors = |text: &str| -> Vec<String> {
        let kept = |letter: &char| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_');
        let anchor =
            |heading: &str| heading.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-");
        text.lines()
            .filter(|line| line.starts_with('#'))
            .map(|line| anchor(line.trim_start_matches('#').trim()))
            .collect()
    };
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        let targets =
            text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
        for target in targets.filter(|target| !target.starts_with("http")) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { document.clone() } else { document.parent().unwrap().join(file) };
            assert!(path.exists(), "{}: {target}", document.display());
            if !anchor.is_empty() {
                let anchors = anchors(&fs::read_to_string(&path).unwrap());
                assert!(anchors.iter().any(|known| known == anchor), "{}: {target}", document.display());
            }
        }
    }
}

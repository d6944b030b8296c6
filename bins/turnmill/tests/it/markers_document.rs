//! Checks that `docs/markers.md` shows what the commands print, and that its examples work.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use turnmill_testbed::documents::{assert_shown, snippets};

use crate::markers::parcel;
use crate::markers_store::replay;
use crate::support::{ran, turnmill};

const DOCUMENT: &str = include_str!("../../../../docs/markers.md");

fn repository() -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")).unwrap()
}

/// Replaces what differs from run to run.
fn stable(line: &str) -> String {
    let kept = line.split_once(" backfilled in ").map_or(line, |(kept, _)| kept);
    kept.trim_end().into()
}

#[test]
fn every_command_works_and_prints_what_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["fixtures", "examples"] {
        symlink(repository().join(name), folder.path().join(name)).unwrap();
    }
    let bin = folder.path().join(".bin");
    fs::create_dir(&bin).unwrap();
    symlink(turnmill(&[]).get_program(), bin.join("turnmill")).unwrap();
    symlink(replay(&[], "").get_program(), bin.join("turnmill-replay")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let snippets = snippets(DOCUMENT);
    for command in ["check", "preview", "upload", "backfill", "explain", "evaluate"] {
        let shown = |command: &str| {
            snippets.iter().any(|snippet| snippet.output.is_some() && snippet.commands.contains(command))
        };
        assert!(shown(&format!("turnmill markers {command} ")), "{command} is not shown");
    }
    for snippet in snippets {
        let place = format!("docs/markers.md, line {},", snippet.line);
        let printed = snippet.run(&place, folder.path(), &path);
        if let Some(shown) = &snippet.output {
            assert_shown(&place, shown, &printed, stable);
        }
    }
}

#[test]
fn its_marker_files_have_nothing_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let blocks: Vec<&str> =
        DOCUMENT.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!blocks.is_empty());
    for (number, block) in blocks.iter().enumerate() {
        let file = folder.path().join(format!("{number}.yml"));
        fs::write(&file, block).unwrap();
        let output = ran(turnmill(&["markers", "check", file.to_str().unwrap()]), 0);
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Returns the number of results of each of `markers` in the capture, as `evaluate` counts them.
fn results(folder: &TempDir, markers: &Path, more: &[&str]) -> impl Fn(&str) -> usize + use<> {
    let out = folder.path().join("results.csv");
    let mut command = turnmill(&["markers", "evaluate"]);
    command.arg(parcel("tracker-store.jsonl.gz")).arg("--markers").arg(markers);
    command.arg("--out").arg(&out).args(more);
    ran(command, 0);
    let rows = fs::read_to_string(&out).unwrap();
    move |name| rows.lines().filter(|row| row.split(',').rev().nth(2) == Some(name)).count()
}

#[test]
fn its_numbers_of_results_as_shipped_and_as_documented_are_so() {
    let folder = tempfile::tempdir().unwrap();
    let markers = parcel("markers.yml");
    let shipped = results(&folder, &markers, &["--rasa-3.6-compatible"]);
    let documented = results(&folder, &markers, &[]);
    let mut differing = 0;
    for row in DOCUMENT.lines().filter(|line| line.starts_with("| `") && line.contains(": {")) {
        let mut cells = row.split('|').map(str::trim).skip(1);
        let name = cells.next().unwrap().trim_start_matches('`').split(':').next().unwrap();
        let mut number = || cells.next().unwrap().replace(',', "").parse::<usize>().unwrap();
        let shown = (number(), number());
        assert_eq!((shipped(name), documented(name)), shown, "{name}");
        differing += 1;
    }
    let output = ran(turnmill(&["markers", "check", markers.to_str().unwrap()]), 0);
    assert_eq!((differing, output.stdout.as_slice()), (4, b"11 markers, no errors\n".as_slice()));
}

#[test]
fn each_of_the_example_markers_is_found_in_the_capture() {
    let folder = tempfile::tempdir().unwrap();
    let file = repository().join("examples/markers.yml");
    let path = file.to_str().unwrap();
    let output = ran(turnmill(&["markers", "check", path]), 0);
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));

    let store = format!("sqlite:{}", folder.path().join("rasa.sqlite").display());
    ran(replay(&[&parcel("file-broker.jsonl.gz")], &store), 0);
    let preview = ran(turnmill(&["markers", "preview", path, "--on", &store, "--json"]), 0);
    let preview: Value = serde_json::from_slice(&preview.stdout).unwrap();
    let evaluated = results(&folder, &file, &[]);
    let markers = preview["markers"].as_array().unwrap();
    assert!(markers.len() > 5);
    for marker in markers {
        let (name, results) = (marker["name"].as_str().unwrap(), marker["results"].as_u64().unwrap());
        assert!(results > 0, "{name}");
        // The sessions of this capture are the same by both rules.
        assert_eq!(results, evaluated(name) as u64, "{name}");
    }
}

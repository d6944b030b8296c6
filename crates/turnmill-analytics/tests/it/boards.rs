//! Compares the boards under `deploy` with the descriptions. `TURNMILL_TEST_UPDATE=1` writes them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use turnmill_analytics::boards;

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(path)
}

/// Compares a file, or writes it.
fn check(path: &Path, expected: &str) {
    if std::env::var_os("TURNMILL_TEST_UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, expected).unwrap();
    }
    let text = std::fs::read_to_string(path).unwrap_or_default();
    assert!(text == expected, "{} is out of date: run this test with TURNMILL_TEST_UPDATE=1", path.display());
}

#[test]
fn the_board_for_grafana_is_made_from_the_metrics() {
    check(&deploy("grafana/conversations.json"), &boards::grafana());
}

#[test]
fn the_board_for_metabase_is_made_from_the_metrics() {
    let files = boards::metabase();
    for file in &files {
        check(&deploy("metabase").join(&file.path), &file.text);
    }
    let paths: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths.len(), files.len(), "two files with one path");
    // Metabase imports every file of the folder, also one of a card that is no more.
    let folder = deploy("metabase/collections/main/turnmill");
    let there: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let made: BTreeSet<String> = files
        .iter()
        .filter_map(|file| file.path.strip_prefix("collections/main/turnmill/"))
        .map(str::to_owned)
        .collect();
    assert_eq!(there, made);
}

//! Rules of the repository.

use std::fs;
use std::path::{Path, PathBuf};

/// Number of lines at which a file must be split.
const MAX_LINES: usize = 1000;

fn root() -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")).unwrap()
}

/// Returns every text file of the repository with its path from the root, except for built,
/// captured and generated files.
pub(super) fn files() -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
            let last = name.rsplit('/').next().unwrap();
            let left_out =
                matches!(last, "target" | ".git" | "corpus" | "artifacts" | "coverage" | "fixtures");
            // Other files in the root folder are not part of the repository.
            let paper = !last.contains('.') || [".md", ".toml"].iter().any(|end| last.ends_with(end));
            if path.is_dir() && !left_out {
                folders.push(path);
            } else if path.is_file()
                && (name.contains('/') || paper)
                && let Ok(text) = fs::read_to_string(&path)
            {
                files.push((name, text));
            }
        }
    }
    assert!(files.len() > 100, "the repository is elsewhere");
    files
}

/// Returns the files with this ending.
fn ending(end: &str) -> Vec<(String, String)> {
    let files: Vec<_> = files().into_iter().filter(|(name, _)| name.ends_with(end)).collect();
    assert!(!files.is_empty(), "no file ends with {end}");
    files
}

pub(super) fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn no_source_file_is_too_long() {
    let long = |(name, text): &(String, String)| {
        let lines = text.lines().count();
        (lines > MAX_LINES).then(|| format!("{name}: {lines} lines"))
    };
    assert_none("files to split", &ending(".rs").iter().filter_map(long).collect::<Vec<_>>());
}

#[test]
fn every_source_file_says_what_it_is() {
    let mute = |(name, text): &(String, String)| (!text.starts_with("//!")).then(|| name.clone());
    assert_none(
        "files that do not start with //!",
        &ending(".rs").iter().filter_map(mute).collect::<Vec<_>>(),
    );
}

#[test]
fn every_crate_page_says_what_is_absent() {
    let pages = ending("/src/lib.rs").into_iter().filter(|(name, _)| name.starts_with("crates/"));
    // What the crate is for, then what is absent from it.
    let second = |text: &str| {
        text.split("\n//!\n").nth(1).is_some_and(|second| second.starts_with("//! What is absent here:"))
    };
    let found: Vec<String> = pages.filter(|(_, text)| !second(text)).map(|(name, _)| name).collect();
    assert_none("crate pages whose second paragraph does not say that", &found);
}

#[test]
fn every_crate_has_the_lints_of_the_workspace() {
    let lint_free = |(name, text): &(String, String)| {
        let member = ["crates/", "bins/", "benches/"].iter().any(|group| name.starts_with(group));
        (member && !text.contains("[lints]\nworkspace = true")).then(|| name.clone())
    };
    assert_none(
        "manifests without [lints] workspace = true",
        &ending("Cargo.toml").iter().filter_map(lint_free).collect::<Vec<_>>(),
    );
}

#[test]
fn every_version_stands_in_the_root_manifest() {
    let mut found = Vec::new();
    for (name, text) in ending("/Cargo.toml").iter().filter(|(name, _)| !name.starts_with("fuzz/")) {
        let manifest = text.lines().enumerate().filter(|(_, line)| !line.starts_with("version.workspace"));
        for (number, line) in manifest {
            if line.contains("version = \"") {
                found.push(format!("{name}:{}: {line}", number + 1));
            }
        }
    }
    assert_none("versions", &found);
}

#[test]
fn pure_crates_are_pure() {
    let impure = [
        "std::fs",
        "std::net",
        "std::thread",
        "std::time",
        "std::env",
        "std::process",
        "async ",
        ".await",
        "rand::",
    ];
    let mut found = Vec::new();
    for (name, text) in ending(".rs") {
        let pure = ["model", "formats", "markers", "engine"]
            .map(|name| format!("crates/turnmill-{name}/src/"))
            .iter()
            .any(|pure| name.starts_with(pure));
        // It needs the feature `files`.
        if !pure || name == "crates/turnmill-markers/src/files.rs" {
            continue;
        }
        // Comments may mention what is absent.
        let code = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
        for (number, line) in code {
            if impure.iter().any(|word| line.contains(word)) {
                found.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert_none("I/O, clocks, threads or async in a pure crate", &found);
}

/// A crate may depend only on crates of the workspace that are above it in `ARCHITECTURE.md`.
#[test]
fn crates_depend_only_on_those_above_them_on_the_map() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let headings: Vec<&str> = map.lines().filter(|line| line.starts_with("### `")).collect();
    let rank = |name: &str| {
        headings.iter().position(|heading| {
            heading.contains(&format!("`{name}`")) || heading.contains(&format!("/{name}`"))
        })
    };
    let mut found = Vec::new();
    for crate_name in headings.iter().flat_map(|heading| heading.split('`').skip(1).step_by(2)) {
        let folder =
            if crate_name.contains('/') { crate_name.to_owned() } else { format!("crates/{crate_name}") };
        if !root().join(&folder).join("Cargo.toml").is_file() {
            found.push(format!("{crate_name} is on the map and not in {folder}"));
        }
    }
    for (path, text) in ending("/Cargo.toml") {
        let folder = path.trim_end_matches("/Cargo.toml");
        let Some((_, name)) = folder.split_once('/').filter(|(group, _)| matches!(*group, "crates" | "bins"))
        else {
            continue;
        };
        let Some(own) = rank(name) else {
            found.push(format!("{name} is not on the map"));
            continue;
        };
        let dependencies = text.split("[dependencies]").nth(1).unwrap_or_default();
        let dependencies = dependencies.lines().take_while(|line| !line.starts_with('['));
        for other in dependencies
            .filter_map(|line| line.split(['.', ' ', '=']).next())
            .filter(|name| name.starts_with("turnmill-"))
        {
            if rank(other).is_none_or(|rank| rank >= own) {
                found.push(format!("{name} depends on {other}"));
            }
        }
    }
    assert_none("the map", &found);
}

#[test]
fn nothing_names_a_place_outside_of_the_repository() {
    // Split, so that this file does not contain them.
    let outside =
        [["/wo", "rk/"].concat(), ["sha", "red/"].concat(), ["/ro", "ot/"].concat(), ["/ho", "me/"].concat()];
    let mut found = Vec::new();
    for (name, text) in files().iter().filter(|(name, _)| !name.ends_with(".lock")) {
        for (number, line) in text.lines().enumerate() {
            if outside.iter().any(|path| line.contains(path.as_str())) {
                found.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert_none("paths of one machine", &found);
}

#[cfg(unix)]
#[test]
fn scripts_can_be_executed() {
    use std::os::unix::fs::PermissionsExt as _;
    for script in ["scripts/test", ".ci/run"] {
        let mode = fs::metadata(root().join(script)).unwrap().permissions().mode();
        assert!(mode & 0o111 == 0o111, "{script} has mode {mode:o}");
    }
}

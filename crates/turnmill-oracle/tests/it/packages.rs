//! Tests that every published crate can be packaged.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The crates that are not published.
const UNPUBLISHED: [&str; 4] = ["turnmill-bench", "turnmill-examples", "turnmill-oracle", "turnmill-testbed"];

/// A crate of the workspace, from `cargo metadata`.
struct Package {
    name: String,
    folder: PathBuf,
    published: bool,
    described: Value,
}

impl Package {
    /// The workspace's crates among its dependencies with a version, which are in its package.
    ///
    /// Cargo drops a development dependency without a version, and refuses any other.
    fn needs(&self) -> impl Iterator<Item = &str> {
        self.named().filter(|(_, dependency)| dependency["req"] != "*").map(|(name, _)| name)
    }

    /// The workspace's crates among its dependencies, except for itself.
    fn named(&self) -> impl Iterator<Item = (&str, &Value)> {
        let dependencies = self.described["dependencies"].as_array().unwrap();
        let local = dependencies.iter().filter(|dependency| dependency["path"].is_string());
        local
            .map(|dependency| (dependency["name"].as_str().unwrap(), dependency))
            .filter(|(name, _)| *name != self.name)
    }
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
    // The build of this test has fetched everything that packaging needs from the index.
    command.args(arguments).arg("--offline");
    command
}

fn packages() -> Vec<Package> {
    let output = cargo(&["metadata", "--no-deps", "--format-version", "1"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let package = |described: &Value| Package {
        name: described["name"].as_str().unwrap().to_owned(),
        folder: Path::new(described["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned(),
        published: described["publish"].is_null(),
        described: described.clone(),
    };
    metadata["packages"].as_array().unwrap().iter().map(package).collect()
}

fn published() -> Vec<Package> {
    packages().into_iter().filter(|package| package.published).collect()
}

#[test]
fn what_is_for_tests_stays_here() {
    let packages = packages();
    let unpublished: BTreeSet<&str> =
        packages.iter().filter(|package| !package.published).map(|package| package.name.as_str()).collect();
    assert_eq!(unpublished, BTreeSet::from(UNPUBLISHED));
    assert!(packages.len() > 20);
}

#[test]
fn every_package_says_what_it_is() {
    let mut missing = Vec::new();
    for package in published() {
        let has = |key: &str| package.described[key].as_str().is_some_and(|text| !text.trim().is_empty());
        let mut lacks = |what: &str, lacks: bool| {
            if lacks {
                missing.push(format!("{}: {what}", package.name));
            }
        };
        for key in ["description", "license", "repository", "rust_version"] {
            lacks(key, !has(key));
        }
        for key in ["keywords", "categories"] {
            // The registry accepts at most five.
            lacks(key, !(1..6).contains(&package.described[key].as_array().unwrap().len()));
        }
        let targets = package.described["targets"].as_array().unwrap();
        let is_library = targets.iter().any(|target| target["kind"][0] == "lib");
        let documented = &package.described["metadata"]["docs"]["rs"];
        lacks("[package.metadata.docs.rs]", is_library && !documented.is_object());
        let readme = package.described["readme"].as_str().unwrap_or("README.md");
        let readme = std::fs::read_to_string(package.folder.join(readme)).unwrap_or_default();
        let title = if is_library { package.name.as_str() } else { "turnmill" };
        lacks("a README with its name", !readme.starts_with(&format!("# {title}\n")));
    }
    assert!(missing.is_empty(), "missing:\n{}", missing.join("\n"));
}

#[test]
fn packages_can_be_published_one_after_the_other() {
    let packages = published();
    let mut waiting: BTreeMap<&str, BTreeSet<&str>> =
        packages.iter().map(|package| (package.name.as_str(), package.needs().collect())).collect();
    let names: BTreeSet<&str> = waiting.keys().copied().collect();
    for package in &packages {
        let missing: Vec<_> = package.needs().filter(|name| !names.contains(name)).collect();
        assert!(missing.is_empty(), "{} needs {missing:?}, which are not published", package.name);
        for (name, dependency) in package.named().filter(|(_, dependency)| dependency["req"] == "*") {
            assert_eq!(dependency["kind"], "dev", "{} needs a version of {name}", package.name);
        }
    }
    // Next are the crates that depend on published ones only.
    while !waiting.is_empty() {
        let next: Vec<&str> =
            waiting.iter().filter(|(_, needs)| needs.is_empty()).map(|(name, _)| *name).collect();
        assert!(!next.is_empty(), "crates that need each other: {waiting:?}");
        waiting.retain(|name, _| !next.contains(name));
        for needs in waiting.values_mut() {
            needs.retain(|name| !next.contains(name));
        }
    }
}

/// Skips the build of each package, which takes as long as the build of the workspace.
#[test]
fn cargo_packages_them_all() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = cargo(&["package", "--workspace", "--no-verify", "--allow-dirty", "--quiet"]);
    command.arg("--target-dir").arg(folder.path());
    for name in UNPUBLISHED {
        command.args(["--exclude", name]);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    for package in published() {
        let file = format!("{}-{}.crate", package.name, package.described["version"].as_str().unwrap());
        let file = std::fs::File::open(folder.path().join("package").join(&file)).unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(file), &mut bytes).unwrap();
        // Names are stored uncompressed in a tar file.
        let holds = |name: &str| {
            let name =
                format!("{}-{}/{name}\0", package.name, package.described["version"].as_str().unwrap());
            bytes.windows(name.len()).any(|window| window == name.as_bytes())
        };
        for name in ["Cargo.toml", "LICENSE", "README.md"] {
            assert!(holds(name), "the package of {} lacks {name}", package.name);
        }
        assert!(!holds("tests/it/main.rs"), "the package of {} holds tests", package.name);
    }
}

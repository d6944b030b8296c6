//! Runs the binaries, and computes the expected results.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;
use turnmill_model::{Record, Settings};
use turnmill_oracle::Oracle;

/// A capture written by a real Rasa Open Source 3.6.21 server.
pub(crate) fn capture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/rasa-oss-3.6").join(name)
}

/// Returns the lines of a gzipped capture.
pub(crate) fn lines(name: &str) -> Vec<String> {
    let file = std::fs::File::open(capture(name)).unwrap();
    BufReader::new(flate2::read::GzDecoder::new(file)).lines().map(Result::unwrap).collect()
}

/// Returns the command `turnmill-replay` with `arguments`.
pub(crate) fn replay(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_turnmill-replay"));
    command.args(arguments);
    command
}

/// Returns the command `turnmill` with `arguments`. It belongs to another package, so it is built
/// if it is missing.
pub(crate) fn turnmill(arguments: &[&str]) -> Command {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let path = BUILT.get_or_init(|| {
        let path = Path::new(env!("CARGO_BIN_EXE_turnmill-replay")).with_file_name("turnmill");
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "turnmill", "--bin", "turnmill"]);
        if path.parent().is_some_and(|folder| folder.ends_with("release")) {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "turnmill does not build");
        path
    });
    let mut command = Command::new(path);
    command.args(arguments);
    command
}

/// Runs the command and checks its exit code.
pub(crate) fn run(mut command: Command, code: i32) -> Output {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{command:?}: {error}");
    output
}

/// Runs the command and reads its JSON.
pub(crate) fn json(command: Command, code: i32) -> Value {
    serde_json::from_slice(&run(command, code).stdout).unwrap()
}

/// Returns the argument that names the store.
pub(crate) fn url(store: &Path) -> String {
    format!("sqlite:{}", store.display())
}

/// Replays `inputs` into `store`.
pub(crate) fn replayed(inputs: &[&Path], store: &Path, more: &[&str]) -> Value {
    let url = url(store);
    let mut arguments: Vec<&str> = inputs.iter().map(|input| input.to_str().unwrap()).collect();
    arguments.extend(["--to", &url, "--json"]);
    arguments.extend(more);
    json(replay(&arguments), 0)
}

/// Returns the output of `turnmill verify` for `store`.
pub(crate) fn verified(store: &Path) -> Value {
    json(turnmill(&["verify", &url(store), "--json"]), 0)
}

/// Returns the digest of all tables that the oracle computes from bodies of events.
pub(crate) fn expected<'a>(bodies: impl IntoIterator<Item = &'a str>) -> String {
    let records: Vec<Record<'_>> =
        bodies.into_iter().map(|body| Record { payload: body.as_bytes(), ..Record::default() }).collect();
    digest(&turnmill_oracle::tables(&Settings::default(), &records))
}

/// Returns the digest of the oracle's tables.
pub(crate) fn digest(oracle: &Oracle) -> String {
    turnmill_oracle::laws::digests(oracle).to_string()
}

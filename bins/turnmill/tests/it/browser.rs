//! `turnmill dashboard`, opened in a real browser.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use turnmill_testbed::{postgres, skip};

use crate::markers::parcel;
use crate::markers_store::replay;
use crate::support::{ran, turnmill};

/// A running `turnmill dashboard`, which ends when this is dropped.
struct Dashboard {
    process: Child,
    address: String,
}

impl Dashboard {
    fn start(store: &str) -> Self {
        let mut command = turnmill(&["dashboard", store, "--listen", "127.0.0.1:0"]);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (_, address) = line.trim_end().split_once(" at ").unwrap_or_else(|| panic!("no address: {line}"));
        Self { process, address: address.trim_end_matches('/').to_owned() }
    }
}

impl Dashboard {
    /// Returns status and body of the response.
    fn get(&self, path: &str, host: Option<&str>) -> (u16, String) {
        let request = ureq::get(format!("{}{path}", self.address));
        let mut request = request.config().http_status_as_error(false).build();
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let mut response = request.call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }

    /// Returns an answer without its SQL, which differs between databases.
    fn answer(&self, path: &str) -> Value {
        let (status, body) = self.get(path, None);
        assert_eq!(status, 200, "{path}: {body}");
        let mut answer: Value = serde_json::from_str(&body).unwrap();
        assert!(answer.get("error").is_none(), "{path}: {body}");
        if let Some(fields) = answer.as_object_mut() {
            fields.remove("sql");
        }
        answer
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn web() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/turnmill-dashboard/web")
}

/// Returns the path of a program in `PATH`.
fn program(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Returns Chromium and the folder of Playwright's library, or skips the test.
fn browser() -> Option<(PathBuf, String)> {
    let chromium =
        std::env::var_os("TURNMILL_TEST_CHROMIUM").map(PathBuf::from).or_else(|| program("chromium"));
    let (Some(chromium), Some(_)) = (chromium, program("npm")) else {
        skip("chromium or npm is not installed");
        return None;
    };
    let script = web().join("../../../scripts/dashboard");
    let packages = Command::new(script).arg("packages").stderr(Stdio::piped()).output().unwrap();
    if !packages.status.success() {
        let error = String::from_utf8_lossy(&packages.stderr);
        skip(&format!("npm cannot fetch the packages: {error}"));
        return None;
    }
    Some((chromium, String::from_utf8(packages.stdout).unwrap().trim().to_owned()))
}

#[test]
fn the_pages_show_what_the_api_answers() {
    let Some((chromium, packages)) = browser() else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("parcel.sqlite").display());
    ran(replay(&[&parcel("file-broker.jsonl.gz")], &store), 0);
    let dashboard = Dashboard::start(&store);

    let mut command = Command::new("node");
    command.arg(web().join("tests/browser.mjs")).arg(&dashboard.address).arg(chromium);
    command.env("TURNMILL_PACKAGES", packages);
    ran(command, 0);
}

#[test]
fn only_this_machine_can_open_the_pages() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("parcel.sqlite").display());
    ran(replay(&[&parcel("file-broker.jsonl.gz")], &store), 0);
    let output = ran(turnmill(&["dashboard", &store, "--listen", "0.0.0.0:0"]), 1);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("is not an address of this machine alone"), "{error}");
    let mut short = turnmill(&["dashboard", &store, "--listen", "0.0.0.0:0"]);
    short.env("TURNMILL_API_TOKEN", "short");
    let error = String::from_utf8(ran(short, 1).stderr).unwrap();
    assert!(error.contains("too short") && !error.contains("`short`"), "{error}");
    // A store that is not there is reported before a page is served.
    let missing = format!("sqlite:{}", folder.path().join("missing.sqlite").display());
    ran(turnmill(&["dashboard", &missing]), 1);

    let dashboard = Dashboard::start(&store);
    let get = |path: &str, host: Option<&str>| dashboard.get(path, host);
    let (status, page) = get("/overview", None);
    assert!(status == 200 && page.contains("/assets/js/main.js"), "{status} {page}");
    assert_eq!(get("/", Some("evil.example")).0, 403);
    assert_eq!(get("/api/v1/metrics/R99", None).0, 404);
    let (status, answer) = get("/api/v1/store", None);
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((status, &answer["events"]), (200, &serde_json::json!(15161)), "{answer}");
}

/// Returns whether two answers are the same. Databases add floats in different orders, so these may
/// differ by one in 10⁹.
fn are_close(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            let (Some(one), Some(other)) = (one.as_f64(), other.as_f64()) else { return false };
            (one - other).abs() <= 1e-9 * one.abs().max(other.abs())
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| are_close(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, one)| other.get(name).is_some_and(|other| are_close(one, other)))
        }
        _ => one == other,
    }
}

#[test]
fn both_stores_give_the_same_answers() {
    let Some(database) = postgres::database() else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("parcel.sqlite").display());
    ran(replay(&[&parcel("file-broker.jsonl.gz")], &store), 0);
    ran(replay(&[&parcel("file-broker.jsonl.gz")], &database), 0);
    let (sqlite, postgres) = (Dashboard::start(&store), Dashboard::start(&database));

    let metrics = sqlite.answer("/api/v1/metrics");
    let ids: Vec<&str> =
        metrics["metrics"].as_array().unwrap().iter().map(|metric| metric["id"].as_str().unwrap()).collect();
    assert!(ids.len() > 20, "{ids:?}");
    let metrics = ids.iter().map(|id| format!("metrics/{id}?last=27h&vs=prev&by=1h&tz=Asia/Kolkata"));
    let values =
        ["channel", "model", "intent", "ending", "marker", "env"].map(|name| format!("values/{name}"));
    let lists = [
        "",
        "channel=web&order=turns&limit=7&offset=3",
        "order=duration&min_turns=3&max_turns=6",
        "text=PARCEL&order=oldest",
        "ending=abandoned&intent=report_issue",
        "slot=size&value=small",
        "slower=1.5",
        "fallback=yes&during=active&last=27h",
        "missed_text=order%20A%20%20pizza",
        "weekday=Sat&hour=1",
    ]
    .map(|query| format!("conversations?{query}"));
    let mut differing = Vec::new();
    for path in metrics.chain(values).chain(lists) {
        let path = format!("/api/v1/{path}");
        let (one, other) = (sqlite.answer(&path), postgres.answer(&path));
        if path.contains("/conversations") {
            assert!(one["total"].as_i64().unwrap() > 0, "{path}: {one}");
        }
        if !are_close(&one, &other) {
            differing.push(format!("{path}:\n{one}\n{other}"));
        }
    }
    for row in
        sqlite.answer("/api/v1/conversations?order=turns&limit=20")["conversations"].as_array().unwrap()
    {
        let path = format!("/api/v1/conversations/{}", row["session_id"].as_str().unwrap());
        let (one, other) = (sqlite.answer(&path), postgres.answer(&path));
        assert_eq!(one["session"]["turns"], row["turns"], "{path}");
        if !are_close(&one, &other) {
            differing.push(format!("{path}:\n{one}\n{other}"));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

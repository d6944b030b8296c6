//! Tests of `turnmill markers` on files, and of the patterns of a running service.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{Service, ran, turnmill};

/// Returns a file of the capture that Rasa's own evaluation was run over.
pub(crate) fn parcel(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/rasa-oss-3.6/parcel").join(name)
}

fn gunzip(path: &Path) -> String {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

/// Kind of error, content of the file, name, line and column.
const WRONG: [(&str, &str, Option<&str>, u64, u64); 14] = [
    ("file_not_a_mapping", "- intent: greet\n", None, 1, 1),
    ("duplicate_key_in_yaml", "a: {intent: b}\na: {intent: c}\n", None, 2, 1),
    ("marker_name_is_a_tag", "intent: greet\n", Some("intent"), 1, 1),
    ("marker_config_not_a_mapping", "a: greet\n", Some("a"), 1, 4),
    ("unknown_tag", "a:\n  intnet: greet\n", Some("a"), 2, 3),
    ("operator_needs_list", "a: {seq: {intent: b}}\n", Some("a"), 1, 10),
    ("condition_needs_text", "a: {intent: 3}\n", Some("a"), 1, 13),
    ("wrong_number_of_sub_markers", "a: {not: [{intent: b}, {intent: c}]}\n", Some("a"), 1, 10),
    ("invalid_yaml", "a: {intent: b\n", None, 2, 1),
    ("reserved_marker_name", "<any_marker>: {intent: b}\n", Some("<any_marker>"), 1, 1),
    ("description_not_text", "a: {intent: b, description: 3}\n", Some("a"), 1, 29),
    ("path_not_found", "", None, 1, 1),
    ("wrong_file_ending", "a: {intent: b}\n", None, 1, 1),
    ("no_yaml_files", "", None, 1, 1),
];

#[test]
fn check_names_what_is_wrong_and_where() {
    let folder = tempfile::tempdir().unwrap();
    for (kind, text, name, line, column) in WRONG {
        let path = match kind {
            "path_not_found" => folder.path().join("missing.yml"),
            "wrong_file_ending" => folder.path().join("markers.txt"),
            "no_yaml_files" => folder.path().join("empty"),
            _ => folder.path().join("markers.yml"),
        };
        match kind {
            "path_not_found" => {}
            "no_yaml_files" => fs::create_dir(&path).unwrap(),
            _ => fs::write(&path, text).unwrap(),
        }
        let path = path.to_str().unwrap();
        let found: Value =
            serde_json::from_slice(&ran(turnmill(&["markers", "check", path, "--json"]), 1).stdout).unwrap();
        let found = found.as_array().unwrap();
        assert_eq!(found.len(), 1, "{kind}: {found:?}");
        let mut keys: Vec<&String> = found[0].as_object().unwrap().keys().collect();
        keys.sort();
        assert_eq!(keys, ["column", "file", "kind", "line", "message", "name"]);
        assert!(!found[0]["message"].as_str().unwrap().is_empty());
        let mut expected = json!({"kind": kind, "name": name, "file": path, "line": line, "column": column});
        expected["message"] = found[0]["message"].clone();
        assert_eq!(found[0], expected);
        let said = String::from_utf8(ran(turnmill(&["markers", "check", path]), 1).stdout).unwrap();
        assert!(said.starts_with(&format!("{path}:{line}:{column}: ")) && said.contains(kind), "{said}");
    }
}

#[test]
fn check_takes_all_files_as_one_set_and_warnings_are_no_errors() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one.yml"), folder.path().join("two.yml"));
    fs::write(&one, "a: {intent: b}\nb: {intent: c, action: d}\n").unwrap();
    fs::write(&two, "c: {sloot_was_set: x}\na: {intent: c}\n").unwrap();
    let (one, two) = (one.to_str().unwrap(), two.to_str().unwrap());
    let output = ran(turnmill(&["markers", "check", one, "--json"]), 0);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "[]\n");
    assert!(String::from_utf8(output.stderr).unwrap().contains("`action` is ignored"));
    for arguments in [vec![one, two], vec![folder.path().to_str().unwrap()]] {
        let all = [vec!["markers", "check", "--json"], arguments].concat();
        let found: Value = serde_json::from_slice(&ran(turnmill(&all), 1).stdout).unwrap();
        let kinds: Vec<&str> =
            found.as_array().unwrap().iter().map(|error| error["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["unknown_tag", "marker_name_not_unique"]);
        assert!(found[0]["message"].as_str().unwrap().contains("did you mean `slot_was_set`"), "{found}");
    }
}

#[test]
fn evaluate_writes_what_rasa_writes() {
    let folder = tempfile::tempdir().unwrap();
    let (out, stats) = (folder.path().join("results.csv"), folder.path().join("stats"));
    let (markers, input) = (parcel("markers.yml"), parcel("tracker-store.jsonl.gz"));
    let evaluate = |input: &Path, more: &[&str]| {
        let mut command = turnmill(&["markers", "evaluate"]);
        command.arg(input).arg("--markers").arg(&markers).arg("--out").arg(&out).args(more);
        ran(command, 0);
        fs::read_to_string(&out).unwrap()
    };
    let expected = gunzip(&parcel("rasa-markers.csv.gz"));
    let compatible = ["--rasa-3.6-compatible", "--stats-prefix", stats.to_str().unwrap()];
    assert!(evaluate(&input, &compatible) == expected, "every byte is Rasa's");
    let overall = fs::read_to_string(folder.path().join("stats-overall.csv")).unwrap();
    assert_eq!(overall, fs::read_to_string(parcel("rasa-markers-overall.csv")).unwrap());
    let per_session = fs::read_to_string(folder.path().join("stats-per-session.csv")).unwrap();
    assert_eq!(per_session.matches("(number of preceding user turns),").count(), 11 * 5 * 553);

    // The same store as a database.
    let database = folder.path().join("rasa.db");
    tracker_store(&database, &gunzip(&input));
    assert!(evaluate(&database, &compatible) == expected, "of a SQLite tracker store, too");
    assert!(evaluate(&database, &[]) != expected, "as documented, not as shipped");
}

/// Creates a tracker store with these rows, as `SQLTrackerStore` does.
fn tracker_store(path: &Path, rows: &str) {
    let mut connection = rusqlite::Connection::open(path).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE events (id INTEGER PRIMARY KEY, sender_id VARCHAR(255) NOT NULL, type_name VARCHAR(255) NOT NULL, \
             timestamp FLOAT, intent_name VARCHAR(255), action_name VARCHAR(255), data TEXT)",
        )
        .unwrap();
    let writing = connection.transaction().unwrap();
    for row in rows.lines() {
        let row: Value = serde_json::from_str(row).unwrap();
        let text = |key: &str| row[key].as_str().map(str::to_owned);
        let insert = "INSERT INTO events (sender_id, type_name, timestamp, data) VALUES (?1, ?2, ?3, ?4)";
        let values = (text("sender_id"), text("type_name"), row["timestamp"].as_f64(), text("data"));
        writing.execute(insert, values).unwrap();
    }
    writing.commit().unwrap();
}

#[test]
fn a_service_takes_markers_from_a_file_and_by_http() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("markers.yml");
    fs::write(&file, "greeted: {intent: greet}\n").unwrap();
    let store = format!("sqlite:{}", folder.path().join("rasa.sqlite").display());
    // No broker is running, and none is needed here.
    let mut settings: Vec<(String, String)> = [
        ("KAFKA_BROKER_ADDRESS", "127.0.0.1:1"),
        ("RASA_ANALYTICS_DB_URL", &store),
        ("TURNMILL_MARKERS", file.to_str().unwrap()),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    let mut service = Service::start(&settings);
    let path = "/api/v1/patterns";
    service.wait("the markers are uploaded", |service| service.get(path).unwrap().0 == 200);
    let list = |service: &Service, query: &str| -> Vec<Value> {
        let (code, body) = service.get(&format!("{path}{query}")).unwrap();
        assert_eq!(code, 200);
        serde_json::from_str(&body).unwrap()
    };
    let first = list(&service, "");
    assert_eq!((first.len(), &first[0]["name"]), (1, &json!("greeted")));
    assert_eq!(first[0]["config"], json!({"intent": "greet"}));
    assert_eq!(first[0]["effective_from"], Value::Null, "the store has no events yet");

    let put = |service: &Service, kind: &str, body: &str| {
        service.request("PUT", path, &[("Content-Type", kind)], body).unwrap()
    };
    let (code, body) = put(&service, "application/json", r#"{"a": {"intnet": "x"}, "b": {"intent": 3}}"#);
    let errors: Vec<Value> = serde_json::from_str(&body).unwrap();
    let kinds: Vec<_> = errors.iter().map(|error| (&error["name"], &error["kind"])).collect();
    assert_eq!(code, 422);
    assert_eq!(kinds, [(&json!("a"), &json!("unknown_tag")), (&json!("b"), &json!("condition_needs_text"))]);
    assert!(errors[0]["message"].as_str().unwrap().contains("did you mean `intent`"));
    assert_eq!(put(&service, "application/json", "a: {intent: yaml}").0, 422);
    assert_eq!(put(&service, "text/plain", "a: {intent: yaml}").0, 415);
    assert_eq!(list(&service, ""), first, "no change on an error");

    let (code, body) = put(&service, "application/yaml", "greeted: {intent: greet}\nb: {intent: x}\n");
    assert_eq!(code, 200, "{body}");
    let both = list(&service, "?active=true");
    assert_eq!(serde_json::from_str::<Vec<Value>>(&body).unwrap(), both);
    assert_eq!(both[0], first[0], "what is the same keeps its row");
    let id = both[1]["id"].as_str().unwrap();
    let remove =
        |service: &Service, id: &str| service.request("DELETE", &format!("{path}/{id}"), &[], "").unwrap().0;
    assert_eq!(remove(&service, "00000000-0000-0000-0000-000000000000"), 404);
    assert_eq!(remove(&service, "b"), 404);
    assert_eq!(remove(&service, id), 200);
    assert_eq!((list(&service, "?active=true").len(), list(&service, "").len()), (1, 2));

    // The tools send requests to it as well.
    let url = format!("http://{}", service.address());
    let on = |arguments: &[&str]| {
        let all = [&["markers"], arguments, &["--on", &url]].concat();
        String::from_utf8(ran(turnmill(&all), 0).stdout).unwrap()
    };
    fs::write(&file, "c: {description: a c, intent: x}\nd: {seq: [{intent: x}, {action: y}]}\n").unwrap();
    assert!(on(&["upload", file.to_str().unwrap()]).contains("2 active markers"));
    assert!(on(&["list", "--active"]).contains(r#"{"seq":[{"intent":"x"},{"action":"y"}]}"#));
    on(&["remove", "d"]);
    let left: Vec<Value> = serde_json::from_str(&on(&["list", "--active", "--json"])).unwrap();
    assert_eq!((left.len(), &left[0]["description"]), (1, &json!("a c")));
    fs::write(&file, "c: {intnet: x}\n").unwrap();
    let refused = turnmill(&["markers", "upload", file.to_str().unwrap(), "--on", &url]);
    assert!(String::from_utf8(ran(refused, 1).stderr).unwrap().contains("unknown_tag"));

    // A proxy's requests are allowed only with the token.
    let foreign = [("X-Forwarded-For", "10.0.0.9")];
    assert_eq!(service.request("GET", path, &foreign, "").unwrap().0, 403);
    service.stop();
    let problem = {
        let mut command = turnmill(&["run"]);
        command.envs(settings.iter().cloned()).env("TURNMILL_HTTP_ADDRESS", "127.0.0.1:0");
        String::from_utf8(ran(command, 1).stderr).unwrap()
    };
    assert!(problem.contains("TURNMILL_MARKERS") && problem.contains("unknown_tag"), "{problem}");
    settings.retain(|(name, _)| name != "TURNMILL_MARKERS");
    settings.push(("TURNMILL_API_TOKEN".into(), "a-token-of-some-length".into()));
    let mut service = Service::start(&settings);
    let with = [foreign[0], ("Authorization", "Bearer a-token-of-some-length")];
    let get = |service: &Service| service.request("GET", &format!("{path}?active=true"), &with, "").unwrap();
    service.wait("the store is open", |service| get(service).0 == 200);
    for (method, path) in [("GET", path), ("PUT", path), ("DELETE", "/api/v1/patterns/x")] {
        assert_eq!(service.request(method, path, &foreign, "{}").unwrap().0, 401);
        assert_eq!(service.request(method, path, &[], "{}").unwrap().0, 401, "of this machine");
    }
    let left: Vec<Value> = serde_json::from_str(&get(&service).1).unwrap();
    assert_eq!(left.len(), 1, "what was uploaded is still there");
    // The tools take the token from the environment.
    let url = format!("http://{}", service.address());
    ran(turnmill(&["markers", "list", "--on", &url]), 1);
    let mut command = turnmill(&["markers", "list", "--on", &url]);
    command.env("TURNMILL_API_TOKEN", "a-token-of-some-length");
    ran(command, 0);
    service.stop();
}

//! The dashboard's pages in the service, and the demo.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use turnmill_testbed::postgres;

use crate::support::{Service, Topic, capture, turnmill, variables, verify, wait_until_read};

const TOKEN: &str = "a-token-of-some-length";

/// Returns status, the header `Location`, the header `Set-Cookie` and the body of the response.
fn get(address: &str, path: &str, headers: &[(&str, &str)]) -> (u16, [String; 2], String) {
    let mut request = ureq::get(format!("http://{address}{path}"))
        .config()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .build();
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    answer(request.call().unwrap())
}

fn answer(mut response: ureq::http::Response<ureq::Body>) -> (u16, [String; 2], String) {
    let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let headers = ["location", "set-cookie"].map(|name| header(name).unwrap_or_default());
    (response.status().as_u16(), headers, response.body_mut().read_to_string().unwrap())
}

/// Gives the token on the log-in page. Returns the cookie.
fn log_in(address: &str, next: &str) -> String {
    let request = ureq::post(format!("http://{address}/login"))
        .config()
        .max_redirects(0)
        .max_redirects_will_error(false)
        .build()
        .header("origin", format!("http://{address}"));
    let (status, [location, cookie], _) =
        answer(request.send_form([("token", TOKEN), ("next", next)]).unwrap());
    assert_eq!((status, location.as_str()), (303, next));
    cookie.split(';').next().unwrap().to_owned()
}

/// Reads a topic into `store` while pages ask all the time. Questions change nothing, and each of
/// them is answered.
fn the_service_serves_pages_while_it_writes(topic: &mut Topic, store: &str) {
    let records = capture("partition-by-sender-false.jsonl.gz");
    let mut settings = variables(topic, store);
    settings.push(("TURNMILL_API_TOKEN".into(), TOKEN.into()));
    // A service that waits for its database has pages as well, which say so.
    let mut service = Service::start(&settings);
    let address = service.address().to_owned();
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("authorization", bearer.as_str())];

    // The token is needed everywhere, and a browser is led to the page that takes it.
    for path in ["/overview", "/assets/js/main.js", "/api/v1/store", "/api/v1/metrics"] {
        assert_eq!(get(&address, path, &[("accept", "*/*")]).0, 401, "{path}");
    }
    let (status, [location, _], _) = get(&address, "/overview?v=1", &[("accept", "text/html")]);
    assert_eq!((status, location.as_str()), (303, "/login?next=/overview%3Fv%3D1"));
    let cookie = log_in(&address, "/overview?v=1");
    let (status, _, page) = get(&address, "/overview?v=1", &[("cookie", &cookie)]);
    assert!(status == 200 && page.contains("/assets/js/main.js"), "{status} {page}");
    assert_eq!(
        get(&address, "/api/v1/store", &[("cookie", &cookie), ("sec-fetch-site", "cross-site")]).0,
        401
    );

    service.wait("the store is open", |_| get(&address, "/api/v1/store", &headers).0 == 200);
    let (is_done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for metric in ["R1_conversations", "R7_response_time", "L19_paths"] {
            let (address, is_done, asked) = (&address, &is_done, &asked);
            scope.spawn(move || {
                while !is_done.load(Ordering::Relaxed) {
                    let path = format!("/api/v1/metrics/{metric}?by=day");
                    let (status, _, body) = get(address, &path, &headers);
                    // A slow machine may reach a limit; nothing else may fail.
                    let is_limit = (status == 503 && body.contains("busy")) || status == 504;
                    assert!(status == 200 || is_limit, "{path}: {status} {body}");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        topic.produce(&records);
        wait_until_read(store, topic, &mut service);
        is_done.store(true, Ordering::Relaxed);
    });
    assert!(asked.into_inner() >= 3);

    let (status, _, about) = get(&address, "/api/v1/store", &headers);
    let about: Value = serde_json::from_str(&about).unwrap();
    assert_eq!((status, &about["is_live"], &about["is_demo"]), (200, &json!(true), &json!(false)));
    assert_eq!(about["events"], verify(store)["tables"]["rasa_event"]["rows"]);
    service.stop();
    assert_eq!(verify(store)["tables"], topic.expected());
}

#[test]
fn the_service_serves_pages_while_it_writes_to_sqlite() {
    let Some(mut topic) = Topic::fresh(2) else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("rasa.sqlite").display());
    the_service_serves_pages_while_it_writes(&mut topic, &store);
}

#[test]
fn the_service_serves_pages_while_it_writes_to_postgres() {
    let Some(store) = postgres::database() else { return };
    let Some(mut topic) = Topic::fresh(2) else { return };
    the_service_serves_pages_while_it_writes(&mut topic, &store);
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the events of each sender in the order of their times, without what the demo changes.
fn events(path: &str) -> BTreeMap<String, Vec<Value>> {
    let lines = BufReader::new(flate2::read::GzDecoder::new(File::open(root().join(path)).unwrap())).lines();
    let mut senders: BTreeMap<String, Vec<(f64, Value)>> = BTreeMap::new();
    for line in lines {
        let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let kept = ["event", "name", "text", "value", "policy", "input_channel", "message_id"];
        let rest: Vec<&Value> = kept.iter().map(|name| &event[*name]).collect();
        let rest = json!([rest, event["parse_data"]["intent"]["name"], event["parse_data"]["entities"]]);
        let time = event["timestamp"].as_f64().unwrap();
        senders.entry(event["sender_id"].as_str().unwrap().to_owned()).or_default().push((time, rest));
    }
    let in_order = |(sender, mut events): (String, Vec<(f64, Value)>)| {
        events.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        (sender, events.into_iter().map(|(_, event)| event).collect())
    };
    senders.into_iter().map(in_order).collect()
}

#[test]
fn the_demo_is_the_capture_at_other_times() {
    let demo = events("bins/turnmill/demo/parcel.jsonl.gz");
    assert_eq!(demo.values().map(Vec::len).sum::<usize>(), 15_161);
    assert_eq!(demo, events("fixtures/rasa-oss-3.6/parcel/file-broker.jsonl.gz"));
}

#[test]
fn one_command_shows_the_demo_and_leaves_nothing() {
    // The command and the picture at the top of the README.
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let start: String = readme.lines().take(15).collect::<Vec<_>>().join("\n");
    assert!(
        start.contains("-p turnmill -- dashboard --demo\n") && start.contains("(docs/dashboard.png)"),
        "{start}"
    );
    let picture = std::fs::read(root().join("docs/dashboard.png")).unwrap();
    assert!(picture.starts_with(b"\x89PNG") && picture.len() < 300_000, "{} bytes", picture.len());

    let folder = tempfile::tempdir().unwrap();
    let mut command = turnmill(&["dashboard", "--demo", "--listen", "127.0.0.1:0"]);
    let mut process = command.env("TMPDIR", folder.path()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim_end().strip_prefix("dashboard of demo at http://").unwrap().trim_end_matches('/');
    let (status, _, about) = get(address, "/api/v1/store", &[]);
    let about: Value = serde_json::from_str(&about).unwrap();
    assert_eq!((status, &about["events"], &about["is_demo"]), (200, &json!(15_161), &json!(true)));
    assert_eq!(about["releases"].as_array().unwrap().len(), 1, "{about}");
    let (_, _, markers) = get(address, "/api/v1/metrics/X29_markers", &[]);
    assert!(markers.contains("issue_registered"), "{markers}");

    let sent = std::process::Command::new("kill").arg(process.id().to_string()).status().unwrap();
    assert!(sent.success());
    process.wait().unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the demo leaves no file");
}

//! Checks that tools that only read a store need only read privileges: on a hot standby, and for a
//! user who may only read.

use std::time::{Duration, Instant};

use serde_json::Value;
use turnmill_testbed::postgres::{Options, PASSWORD, Server};

use crate::markers::parcel;
use crate::markers_store::replay;
use crate::support::{ran, turnmill};

/// Returns what a tool prints as JSON: all values, since some tools print one a line.
#[track_caller]
fn looked(arguments: &[&str], more: &[&str], url: &str) -> Value {
    let mut all = arguments.to_vec();
    all.extend(more);
    all.extend([url, "--schema", "mill", "--json"]);
    let printed = ran(turnmill(&all), 0).stdout;
    let values: Vec<Value> =
        serde_json::Deserializer::from_slice(&printed).into_iter().collect::<Result<_, _>>().unwrap();
    if let [value] = values.as_slice() { value.clone() } else { Value::Array(values) }
}

#[test]
fn looking_works_on_a_standby_and_for_a_reader() {
    let started = Server::start(&Options::default());
    let Some(primary) = turnmill_testbed::or_skip(started) else { return };
    let Some(standby) = turnmill_testbed::or_skip(primary.standby()) else { return };
    let own = primary.create_database("own");
    let mut load = replay(&[&parcel("file-broker.jsonl.gz")], &own);
    ran(std::mem::replace(load.args(["--schema", "mill"]), turnmill(&[])), 0);
    primary.psql(
        "own",
        &format!(
            "CREATE USER reader PASSWORD '{PASSWORD}'; GRANT USAGE ON SCHEMA mill TO reader; \
             GRANT SELECT ON ALL TABLES IN SCHEMA mill TO reader"
        ),
    );
    primary.wait_for(&standby);
    let as_reader = |url: String| url.replace("//postgres:", "//reader:");
    let copy = standby.url_of("own");
    let others = [as_reader(own.clone()), copy.clone(), as_reader(copy.clone())];

    let markers = parcel("markers.yml");
    let markers = markers.to_str().unwrap();
    let preview = looked(&["markers", "preview", markers], &["--on"], &own);
    let found = |marker: &&Value| marker["results"].as_u64().unwrap() > 0;
    let marker = preview["markers"].as_array().unwrap().iter().find(found).unwrap();
    let (name, session) =
        (marker["name"].as_str().unwrap(), marker["samples"][0]["session_id"].as_str().unwrap());
    let explain = ["markers", "explain", name, "--session", session, "--markers", markers];
    let explained = looked(&explain, &["--on"], &own);
    assert!(explained.to_string().contains("\"applies\""), "{explained}");
    let verified = looked(&["verify"], &[], &own);
    for url in &others {
        assert_eq!(looked(&["markers", "preview", markers], &["--on"], url), preview, "{url}");
        assert_eq!(looked(&explain, &["--on"], url), explained, "{url}");
        let again = looked(&["verify"], &[], url);
        assert_eq!((&again["digest"], &again["ledger"]), (&verified["digest"], &verified["ledger"]), "{url}");
        assert_eq!(looked(&["positions", "list"], &[], url), looked(&["positions", "list"], &[], &own));
        assert_eq!(looked(&["dead-letters", "list"], &[], url), looked(&["dead-letters", "list"], &[], &own));
        assert_eq!(
            looked(&["markers", "list"], &["--on"], url),
            looked(&["markers", "list"], &["--on"], &own)
        );
        // A tool that writes reports at once why it cannot: that is the transaction's first error.
        for arguments in [&["markers", "upload", markers, "--on", url][..], &["rebuild", url]] {
            let begun = Instant::now();
            let output = turnmill(arguments).args(["--schema", "mill", "--wait", "1"]).output().unwrap();
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
            assert!(begun.elapsed() < Duration::from_secs(60), "{arguments:?}: {text}");
            let is_standby = url != &others[0];
            assert!(text.contains(if is_standby { "25006" } else { "42501" }), "{arguments:?}: {text}");
            assert!(!text.contains("25P02") && !text.contains("db error"), "{arguments:?}: {text}");
        }
    }
    assert_eq!(looked(&["verify"], &[], &own), verified, "nothing was written");
}

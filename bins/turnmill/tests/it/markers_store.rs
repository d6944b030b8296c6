//! Tests of `turnmill markers` on stores: backfills are complete, whatever happens meanwhile.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::markers::parcel;
use crate::support::{PATIENCE, ran, turnmill, verify};

/// Returns the command `turnmill-replay`. It belongs to another package, so it is built if it is
/// missing.
pub(crate) fn replay(inputs: &[&Path], store: &str) -> Command {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let path = BUILT.get_or_init(|| {
        let path = Path::new(env!("CARGO_BIN_EXE_turnmill")).with_file_name("turnmill-replay");
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "turnmill-replay", "--bin", "turnmill-replay"]);
        if path.parent().is_some_and(|folder| folder.ends_with("release")) {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "turnmill-replay does not build");
        path
    });
    let mut command = Command::new(path);
    command.args(inputs).args(["--to", store, "--quiet"]).env_clear();
    command
}

/// Returns a folder, and a store in it that does not exist yet.
fn fresh() -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("rasa.sqlite").display());
    (folder, store)
}

fn said(arguments: &[&str], code: i32) -> String {
    let output = ran(turnmill(&[&["markers"], arguments].concat()), code);
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn said_json(arguments: &[&str]) -> Value {
    let output = ran(turnmill(&[&["markers"], arguments, &["--json"]].concat()), 0);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Loads the capture with markers that exist from its first event on.
fn from_the_start() -> Value {
    let (_folder, store) = fresh();
    let markers = parcel("markers.yml");
    said(&["upload", markers.to_str().unwrap(), "--on", &store, "--new"], 0);
    ran(replay(&[&parcel("file-broker.jsonl.gz")], &store), 0);
    verify(&store)["tables"].clone()
}

#[test]
fn patterns_come_and_go_and_hold_for_their_times() {
    let (folder, store) = fresh();
    let file = folder.path().join("markers.yml");
    fs::write(&file, "greeted: {intent: greet}\nthanked: {intent: thank}\n").unwrap();
    let file = file.to_str().unwrap();
    assert!(said(&["upload", file, "--on", &store], 1).contains("does not exist"));
    assert!(said(&["upload", file, "--on", &store, "--new"], 0).contains("2 active markers: 2 new"));
    assert!(said(&["upload", file, "--on", &store], 0).contains("no change"));
    ran(replay(&[&parcel("file-broker.jsonl.gz")], &store), 0);
    let rows = || verify(&store)["tables"]["rasa_markers"]["rows"].as_u64().unwrap();
    let before = rows();
    assert!(before > 100, "{before}");
    assert!(said(&["list", "--on", &store], 0).contains("all history"));

    // The capture is in the past: a pattern that ends or begins now does not change its rows.
    assert!(said(&["remove", "thanked", "--on", &store], 0).contains("no longer active"));
    assert!(
        said(&["remove", "thanked", "--on", &store], 1)
            .contains("no active pattern is named `thanked`; active patterns: greeted")
    );
    fs::write(file, "greeted: {description: hi, intent: greet}\nfaq: {intent: faq}\n").unwrap();
    assert!(said(&["upload", file, "--on", &store], 0).contains("2 active markers"));
    assert_eq!(rows(), before);
    let all = said_json(&["list", "--on", &store]);
    let all: Vec<_> =
        all.as_array().unwrap().iter().map(|p| (p["name"].as_str().unwrap(), &p["is_active"])).collect();
    assert_eq!(all, [("greeted", &json!(true)), ("thanked", &json!(false)), ("faq", &json!(true))]);

    let preview = said_json(&["preview", file, "--on", &store, "--samples", "2"]);
    assert_eq!(rows(), before, "a preview writes nothing");
    let faq = &preview["markers"][1];
    assert_eq!((&faq["name"], faq["samples"].as_array().unwrap().len()), (&json!("faq"), 2));
    assert!(said(&["preview", file, "--on", &store], 0).contains("faq, for example"));

    let session = faq["samples"][0]["session_id"].as_str().unwrap();
    let explain = ["explain", "faq", "--session", session, "--on", &store];
    let explained = said_json(&explain);
    let events = explained["events"].as_array().unwrap();
    let applies: Vec<&Value> = events.iter().filter(|event| event["outcome"] == "applies").collect();
    assert_eq!(applies[0]["event_id"], faq["samples"][0]["event_id"]);
    assert_eq!(applies[0]["num_preceding_user_turns"], faq["samples"][0]["num_preceding_user_turns"]);
    assert_eq!(applies[0]["in_scope"], false, "it holds from now on");
    assert!(events.len() > applies.len());
    let text = said(&explain, 0);
    assert!(text.contains("applies") && text.contains("out of the pattern's scope"), "{text}");
    assert!(
        said(&["explain", "faq", "--session", "x", "--on", &store], 1).contains("`x` is not a session id")
    );
    let nobodys = "00000000-0000-0000-0000-000000000000";
    assert!(said(&["explain", "faq", "--session", nobodys, "--on", &store], 1).contains("does not exist"));

    assert!(said(&["backfill", "nothing", "--on", &store], 1).contains("active patterns: greeted, faq"));
    let filled = said_json(&["backfill", "faq", "--on", &store]);
    assert_eq!(filled["caught_up"], preview["senders"], "every sender's events are older");
    assert_eq!(rows(), before + faq["results"].as_u64().unwrap(), "as previewed");
    let again = said_json(&["backfill", "--on", &store]);
    assert_eq!((&again["changed"], &again["senders"]), (&json!(false), &json!(0)));
}

/// Ends its process when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_backfill_that_is_killed_while_events_arrive_gives_the_rows_of_patterns_from_the_start() {
    let expected = from_the_start();
    let (folder, store) = fresh();
    // Two of three events come first. The others are late, in the opposite order.
    let file = fs::File::open(parcel("file-broker.jsonl.gz")).unwrap();
    let lines: Vec<String> =
        std::io::BufRead::lines(std::io::BufReader::new(flate2::read::GzDecoder::new(file)))
            .map(Result::unwrap)
            .collect();
    let (first, late) = (folder.path().join("first.jsonl"), folder.path().join("late.jsonl"));
    let write = |path: &Path, lines: &mut dyn Iterator<Item = &String>| {
        let mut file = fs::File::create(path).unwrap();
        lines.for_each(|line| writeln!(file, "{line}").unwrap());
    };
    let kept = |index: usize| !index.is_multiple_of(3);
    write(&first, &mut lines.iter().enumerate().filter(|(index, _)| kept(*index)).map(|(_, line)| line));
    write(
        &late,
        &mut lines.iter().enumerate().rev().filter(|(index, _)| !kept(*index)).map(|(_, line)| line),
    );
    ran(replay(&[&first], &store), 0);
    let markers = parcel("markers.yml");
    said(&["upload", markers.to_str().unwrap(), "--on", &store], 0);
    // The capture has a few events that are dated years ahead.
    let ahead = verify(&store)["tables"]["rasa_markers"]["rows"].as_u64().unwrap();
    assert!(ahead < 50, "it holds from now on: {ahead}");

    let complaints = folder.path().join("complaints");
    let mut feeding = replay(&[&late], &store);
    feeding.args(["--batch", "300"]).stdin(Stdio::null()).stderr(fs::File::create(&complaints).unwrap());
    let mut feeding = Running(feeding.spawn().unwrap());
    let end = Instant::now() + PATIENCE * 3;
    let (mut kills, mut fed) = (0_u64, false);
    while kills < 24 || !fed {
        assert!(Instant::now() < end, "it takes too long");
        let mut command = turnmill(&["markers", "backfill", "--quiet", "--on", &store]);
        let mut backfill = Running(command.stderr(Stdio::null()).spawn().unwrap());
        // Kills at moments from before the store is open until far into the work.
        let pause = 10 + kills * 37 % 90;
        std::thread::sleep(Duration::from_millis(pause));
        backfill.0.kill().unwrap();
        let ended = backfill.0.wait().unwrap();
        kills += u64::from(!ended.success());
        if let Some(status) = feeding.0.try_wait().unwrap() {
            assert!(status.success(), "{status}: {}", fs::read_to_string(&complaints).unwrap());
            fed = true;
            if ended.success() {
                break;
            }
        }
    }
    assert!(kills >= 10, "only {kills} were killed before it was done");
    assert!(feeding.0.wait().unwrap().success());
    said(&["backfill", "--on", &store], 0);
    assert_eq!(verify(&store)["tables"], expected);
    let again = said_json(&["backfill", "--on", &store]);
    assert_eq!(again["senders"], 0, "nothing is left to do");
}

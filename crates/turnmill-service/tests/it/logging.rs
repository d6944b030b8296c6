//! Tests of the log as seen from outside the process.

use std::process::Command;

use turnmill_service::logging::{announce, init};
use turnmill_service::settings::SettingId;

use crate::support::Case;

const ROLE: &str = "TURNMILL_TEST_LOGGING";

/// Not a test of its own: the child process of the tests below.
#[test]
fn child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let (json, level) = role.split_once(' ').unwrap();
    let loaded = Case::minimal()
        .flag(SettingId::JsonLogging, json)
        .flag(SettingId::LogLevel, level)
        .variable("MAX_MESSAGES_TO_FETCH", "10")
        .variable("AWS_DEFAULT_REGION", "eu-central-1")
        .variable("RASA_ANALYTICS_DB_URL", "postgresql://rasa:QZsecretZQ@db/analytics")
        .load()
        .unwrap();
    init(&loaded.settings.log).unwrap();
    assert!(init(&loaded.settings.log).is_err(), "twice");
    announce(&loaded);
    tracing::debug!(target: "turnmill_pipeline", "ours in detail");
    tracing::debug!(target: "hyper", "theirs in detail");
    tracing::error!(target: "hyper", "theirs");
    let hostile = "\u{1b}[31m\u{9b}1m\u{202e}\nERROR fake";
    tracing::error!(error = %hostile, text = hostile, "hostile {hostile}");
}

fn log(role: &str) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "logging::child", "--nocapture"])
        .env(ROLE, role)
        .output()
        .unwrap();
    assert!(output.status.success());
    // The test harness writes to standard output.
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!text.contains("QZsecretZQ"), "{text}");
    text
}

#[test]
fn text() {
    let text = log("false INFO");
    assert!(text.contains("effective configuration"), "{text}");
    assert!(
        text.contains("RASA_ANALYTICS_DB_URL = postgresql://rasa:***@db/analytics  (environment)"),
        "{text}"
    );
    assert!(text.contains("WARN") && text.contains("AWS IAM authentication is not supported"), "{text}");
    assert!(text.contains("theirs") && !text.contains("in detail") && !text.contains('\u{1b}'), "{text}");
    assert!(log("false DEBUG").contains("ours in detail"));
    assert!(!log("false DEBUG").contains("theirs in detail"));
    let quiet = log("false CRITICAL");
    // The message of the data's lines is one of two lines.
    assert_eq!(quiet.lines().count(), 3, "{quiet}");
    assert!(
        quiet.contains("hostile \\u{1b}[31m\\u{9b}1m\\u{202e}\n  ERROR fake error=\\u{1b}[31m"),
        "{quiet}"
    );
    let obeyed = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!quiet.contains(obeyed) && !quiet.lines().any(|line| line.starts_with("ERROR")), "{quiet:?}");
}

#[test]
fn json_lines() {
    let text = log("true WARNING");
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert_eq!(lines[0]["level"], "WARN");
    assert!(lines[0]["message"].as_str().unwrap().starts_with("AWS_DEFAULT_REGION: ignored"), "{text}");
    assert_eq!(lines[1]["message"], "theirs");
    let text = log("true INFO");
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let settings: serde_json::Value = serde_json::from_str(first["settings"].as_str().unwrap()).unwrap();
    assert_eq!(settings["KAFKA_BROKER_ADDRESS"], "kafka:9092");
}

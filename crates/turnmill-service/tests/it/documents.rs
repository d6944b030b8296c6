//! Checks that documentation, example, dashboard and alert rules match the code.
//!
//! `TURNMILL_TEST_UPDATE=1` regenerates them.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use saphyr::{LoadableYamlNode, Yaml};
use turnmill_model::Reason;
use turnmill_service::metrics::names::{self, Metric, MetricType};
use turnmill_service::metrics::{
    BatchCommitted, Operation, PartitionProgress, PositionReset, Rebalance, ServiceMetrics,
};
use turnmill_service::settings::{SETTINGS, example, markdown};
use turnmill_service::{Health, Phase};

use crate::support::Case;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Compares a file with the expected text, or writes that text.
fn check(name: &str, expected: &str) {
    if std::env::var_os("TURNMILL_TEST_UPDATE").is_some() {
        fs::write(path(name), expected).unwrap();
    }
    assert!(read(name) == expected, "{name} is out of date: run this test with TURNMILL_TEST_UPDATE=1");
}

/// Returns the text with everything between the two comments replaced.
fn with_part(text: &str, part: &str, generated: &str) -> String {
    let (begin, end) = (format!("<!-- {part}: generated -->\n"), format!("<!-- {part}: end -->"));
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("there is no {begin}"));
    let (_, after) = rest.split_once(&end).unwrap();
    format!("{before}{begin}\n{generated}\n{end}{after}")
}

#[test]
fn the_settings_are_documented() {
    let name = "docs/configuration.md";
    check(name, &with_part(&read(name), "settings", &markdown()));
}

#[test]
fn the_example_file_is_valid_and_says_the_defaults() {
    check("examples/turnmill.toml", &example());
    let uncommented: String = example()
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(setting) if setting.split_once(" = ").is_some_and(|(name, _)| !name.contains(' ')) => {
                setting
            }
            _ => line,
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let assignments = uncommented.lines().filter(|line| !line.starts_with(['#', '[']) && !line.is_empty());
    assert_eq!(assignments.count(), SETTINGS.iter().filter(|setting| setting.allowed_in.file).count());
    let plain = Case::minimal().load().unwrap().settings;
    let mut filled = Case::minimal()
        .file("turnmill.toml", &uncommented)
        // These have no default, and an empty text has a meaning.
        .variable("RASA_ANALYTICS_DLQ", "rasa-analytics-dlq")
        .variable("TURNMILL_ROW_TOPIC", "rasa-rows")
        .load()
        .unwrap()
        .settings;
    assert_eq!(filled.kafka.properties.len(), 1);
    filled.kafka.properties.clear();
    filled.dead_letters.topic = plain.dead_letters.topic.clone();
    filled.row_topic.topic = plain.row_topic.topic.clone();
    assert_eq!(filled, plain);
}

/// Returns the table of requests in the code's documentation, which a unit test checks row by row.
#[test]
fn who_comes_in_is_documented() {
    let code = include_str!("../../src/http/access.rs");
    let rows: Vec<&str> = code.lines().filter_map(|line| line.strip_prefix("/// |")).collect();
    assert_eq!(rows.len(), 9, "{rows:?}");
    let operations = read("docs/operations.md");
    for row in rows {
        assert!(operations.contains(&format!("\n|{row}\n")), "docs/operations.md lacks |{row}");
    }
}

fn metrics_table() -> String {
    let mut text = "| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n".to_owned();
    for Metric { name, kind, labels, help } in names::ALL {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let kind = format!("{kind:?}").to_lowercase();
        text.push_str(&format!("| `{name}` | {kind} | {} | {help} |\n", labels.join(", ")));
    }
    text
}

#[test]
fn the_metrics_are_documented() {
    let name = "docs/operations.md";
    check(name, &with_part(&read(name), "metrics", &metrics_table()));
}

/// Names of metrics in a text.
fn mentioned(text: &str) -> Vec<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c: char| !is_name(c));
    words.filter(|word| word.starts_with("turnmill_") || *word == "process_start_time_seconds").collect()
}

fn assert_known(file: &str, text: &str) {
    let names = mentioned(text);
    assert!(!names.is_empty(), "{file} mentions no metric");
    for name in names {
        let known = names::ALL.iter().any(|metric| {
            let parts = ["_bucket", "_sum", "_count"];
            let part = parts.iter().any(|part| name.strip_suffix(part) == Some(metric.name));
            if metric.kind == MetricType::Histogram {
                part || name == metric.name
            } else {
                name == metric.name
            }
        });
        assert!(known, "{file} mentions {name}, which is no metric");
    }
}

#[test]
fn the_dashboard_shows_metrics_that_exist_and_all_of_them() {
    let name = "deploy/grafana/turnmill.json";
    let text = read(name);
    assert_known(name, &text);
    for metric in names::ALL {
        assert!(text.contains(metric.name), "the dashboard does not show {}", metric.name);
    }
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids: Vec<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), panels.len(), "ids are unique");
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert!(!panel["description"].as_str().unwrap().is_empty());
        for target in panel["targets"].as_array().unwrap() {
            assert!(!mentioned(target["expr"].as_str().unwrap()).is_empty(), "{panel}");
        }
    }
}

#[test]
fn the_alerts_are_about_metrics_that_exist_and_are_explained() {
    let name = "deploy/prometheus/turnmill.rules.yml";
    let text = read(name);
    assert_known(name, &text);
    let operations = read("docs/operations.md");
    let documents = Yaml::load_from_str(&text).unwrap();
    let rules = documents[0]["groups"][0]["rules"].as_sequence().unwrap();
    assert!(rules.len() >= 5);
    for rule in rules {
        let alert = rule["alert"].as_str().unwrap();
        assert!(operations.contains(&format!("`{alert}`")), "docs/operations.md does not explain {alert}");
        assert!(!rule["expr"].as_str().unwrap().is_empty());
        assert!(matches!(rule["labels"]["severity"].as_str().unwrap(), "warning" | "critical"), "{alert}");
        assert!(!rule["annotations"]["summary"].as_str().unwrap().is_empty());
    }
}

#[test]
fn every_metric_is_exposed_under_its_name_with_its_labels_and_nothing_else_is() {
    let metrics = ServiceMetrics::new(Health::default());
    metrics.health().enter(Phase::Running);
    let batch = BatchCommitted {
        source: "kafka",
        events: 10,
        repeated: 3,
        anonymised: 1,
        changed: 1,
        dead_letters: &[(Reason::NotJson, 2)],
        skipped: 4,
        late: 1,
        replays: 1,
        bytes: 999,
        rows: &[("rasa_event", Operation::Insert, 10), ("rasa_session", Operation::Update, 2)],
        took: Duration::from_millis(30),
        commit: Duration::from_millis(20),
    };
    metrics.committed(&batch);
    metrics.committed(&batch);
    metrics.retrying("unavailable");
    metrics.fenced();
    metrics.rebalanced(Rebalance::Assigned);
    metrics.position_reset(PositionReset::BeforeStart);
    metrics.source_failed("transport");
    metrics.mirrored(2, 0);
    metrics.set_dead_letters_waiting(4);
    metrics.set_sink("dead-letter-topic:dlq", 7, 2, 300);
    metrics.sink_delivered("dead-letter-topic:dlq", 2);
    metrics.sink_failed("dead-letter-topic:dlq", "retryable");
    metrics.set_cache(7, 7000);
    metrics.set_buffer(5, 500, 1);
    metrics.partition(
        "rasa",
        0,
        &PartitionProgress { position: Some(5), end: Some(9), event_time: Some(1e9) },
    );
    let text = metrics.encode();
    for Metric { name, kind, labels, .. } in names::ALL {
        let kind = format!("{kind:?}").to_lowercase();
        assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name} {kind}\n{text}");
        let sample = if kind == "histogram" { format!("{name}_sum") } else { (*name).to_owned() };
        let line = text.lines().find(|line| line.starts_with(&sample) && !line.starts_with('#')).unwrap();
        for label in *labels {
            assert!(line.contains(&format!("{label}=\"")), "{line} has no {label}");
        }
    }
    let types = text.lines().filter(|line| line.starts_with("# TYPE ")).count();
    assert_eq!(types, names::ALL.len());
    for line in [
        r#"turnmill_records_total{source="kafka",outcome="events"} 20"#,
        r#"turnmill_records_total{source="kafka",outcome="duplicates"} 10"#,
        r#"turnmill_records_total{source="kafka",outcome="dead_letters"} 4"#,
        r#"turnmill_records_total{source="kafka",outcome="skipped"} 8"#,
        r#"turnmill_duplicates_total{source="kafka",kind="anonymised"} 2"#,
        r#"turnmill_duplicates_total{source="kafka",kind="changed"} 2"#,
        r#"turnmill_dead_letters_total{source="kafka",reason="not_json"} 4"#,
        r#"turnmill_rows_total{table="rasa_event",operation="insert"} 20"#,
        "turnmill_batch_records_sum 42.0",
        "turnmill_batch_records_count 2",
        r#"turnmill_lag_events{topic="rasa",partition="0"} 4"#,
        "turnmill_healthy 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
    }
    assert!(metrics.encode_open().ends_with("# EOF\n"));
}

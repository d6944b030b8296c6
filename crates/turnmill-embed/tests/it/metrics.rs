//! Every metric on captures, in both databases, against values that an independent evaluation of
//! the raw records gave. `fixtures/metrics/README.md` says where these come from.

mod shape;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value as Json;
use turnmill_analytics::{
    Answer, Bucket, Filters, METRICS, Measure, Metric, Over, Question, ReadQueries, Span, When, answer,
    metric, parse_time,
};

/// Relative difference that floats may have.
const CLOSE: f64 = 1e-9;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

fn expected(name: &str) -> Json {
    serde_json::from_slice(&std::fs::read(fixture(name)).unwrap()).unwrap()
}

/// Returns how many rows of a list the evaluation has.
fn top(id: &str) -> usize {
    match id {
        "X25_unhandled" => 20,
        // The evaluation cuts long values and then counts.
        "X28_slot_values" => usize::MAX,
        _ => 10,
    }
}

/// Returns the question that the options of a case make.
fn question(args: &Json) -> Question {
    let mut question = Question::default();
    let mut span = Span::default();
    let list = |value: &Json| vec![value.as_str().map(ToOwned::to_owned)];
    for (name, value) in args.as_object().unwrap() {
        let text = value.as_str().unwrap_or_default();
        let Filters { channels, environments, models, intents, endings, .. } = &mut question.filters;
        match name.as_str() {
            "channel" => *channels = list(value),
            "environment" => *environments = list(value),
            "model" => *models = list(value),
            "intent" => *intents = list(value),
            "outcome" => *endings = vec![text.parse().unwrap()],
            "since" => span.from = Some(parse_time(text, question.zone).unwrap()),
            "until" => span.to = Some(parse_time(text, question.zone).unwrap()),
            "tz" => question.zone = text.parse().unwrap(),
            "by" => question.over = Over::Buckets(text.parse().unwrap()),
            other => panic!("unknown option {other}"),
        }
    }
    question.when = When::Span(span);
    question
}

/// Compares what the evaluation has with what an answer has. An answer may have more.
fn differences(path: &str, expected: &Json, found: &Json, out: &mut Vec<String>) {
    match (expected, found) {
        (Json::Object(expected), Json::Object(_)) => {
            for (name, expected) in expected {
                let found = found.get(name).unwrap_or(&Json::Null);
                differences(&format!("{path}.{name}"), expected, found, out);
            }
        }
        (Json::Array(expected), Json::Array(found)) if expected.len() == found.len() => {
            for (number, (expected, found)) in expected.iter().zip(found).enumerate() {
                differences(&format!("{path}[{number}]"), expected, found, out);
            }
        }
        (Json::Number(expected), Json::Number(found)) => {
            let (expected, found) = (expected.as_f64().unwrap(), found.as_f64().unwrap());
            if (expected - found).abs() > CLOSE * expected.abs().max(1e-3) {
                out.push(format!("{path}: {expected} expected, {found} found"));
            }
        }
        (expected, found) if expected == found => {}
        _ => {
            let short = |json: &Json| json.to_string().chars().take(300).collect::<String>();
            out.push(format!("{path}: {} expected, {} found", short(expected), short(found)));
        }
    }
}

/// Asks for everything that the evaluation has, and returns the differences.
async fn compare<S: ReadQueries>(store: &mut S, expected: &Json, absent: &[&str]) -> Vec<String>
where
    S::Error: std::fmt::Debug,
{
    let mut out = Vec::new();
    let known = |id: &str| {
        let id = id.strip_suffix(".engaged").unwrap_or(id);
        METRICS.iter().copied().find(|metric| metric.id == id)
    };
    for (id, value) in expected["all"].as_object().unwrap() {
        if absent.contains(&id.as_str()) {
            continue;
        }
        let Some(metric) = known(id) else {
            println!("absent: {id}");
            continue;
        };
        let question = Question { top: top(id), ..Question::default() };
        let answers = answer(store, &[metric], &question).await.unwrap();
        differences(id, value, &shape::shape(id, &answers[0]), &mut out);
    }
    for case in expected["cases"].as_array().unwrap() {
        let question = question(&case["args"]);
        let args = case["args"].to_string();
        let wanted: Vec<(&'static Metric, &Json)> = case["values"]
            .as_object()
            .unwrap()
            .iter()
            .filter(|(id, _)| !absent.contains(&id.as_str()))
            .filter_map(|(id, value)| Some((known(id)?, value)))
            .collect();
        let metrics: Vec<&'static Metric> = wanted.iter().map(|(metric, _)| *metric).collect();
        let answers = answer(store, &metrics, &question).await.unwrap();
        for ((metric, value), answer) in wanted.into_iter().zip(&answers) {
            let path = format!("{args} {}", metric.id);
            if question.over == Over::Nothing {
                differences(&path, value, &shape::shape(answer.metric.id, answer), &mut out);
            } else {
                buckets(&path, answer, value, &case["buckets"], &mut out);
            }
        }
    }
    out
}

/// Compares the buckets of a series. The evaluation leaves out those in which nothing is counted.
fn buckets(path: &str, answer: &Answer, expected: &Json, count: &Json, out: &mut Vec<String>) {
    let expected = expected.as_array().unwrap();
    let whole: Vec<_> = answer.series.iter().filter(|series| series.group.is_none()).collect();
    let points = &whole[0].points;
    if count.as_u64() != Some(points.len() as u64) {
        out.push(format!("{path}: {count} buckets expected, {} found", points.len()));
    }
    let mut met = 0;
    for (number, (range, _)) in points.iter().enumerate() {
        let measures: Vec<(&str, Measure)> =
            whole.iter().map(|series| (series.name, series.points[number].1)).collect();
        let start = range.from.to_string();
        match expected.iter().find(|pair| pair[0] == start.as_str()) {
            Some(pair) => {
                met += 1;
                let found = shape::point(answer.metric.id, &measures);
                differences(&format!("{path} {start}"), &pair[1], &found, out);
            }
            None if measures[0].1.value().unwrap_or_default() == 0.0 => {}
            None => out.push(format!("{path}: nothing expected at {start}, {measures:?} found")),
        }
    }
    if met != expected.len() {
        out.push(format!("{path}: {} buckets expected, {met} found", expected.len()));
    }
}

#[test]
fn dev() {
    let Ok(path) = std::env::var("TURNMILL_DEV_DB") else { return };
    let report = |differences: Vec<String>| {
        println!("{}\n{}", differences.len(), differences[..differences.len().min(60)].join("\n"));
    };
    if path.starts_with("postgres") {
        let settings: turnmill_embed::postgres::PostgresSettings = path.parse().unwrap();
        let mut reader =
            turnmill_embed::postgres::PostgresStore::new(settings).reader(Duration::from_secs(60));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        report(runtime.block_on(compare(&mut reader, &expected("metrics/parcel.json"), &[])));
    } else {
        let store = turnmill_embed::sqlite::SqliteStore::file(path);
        let mut reader = store.reader(Duration::from_secs(60)).unwrap();
        report(pollster::block_on(compare(&mut reader, &expected("metrics/parcel.json"), &[])));
    }
    let _ = (metric("R1"), Bucket::Day);
}

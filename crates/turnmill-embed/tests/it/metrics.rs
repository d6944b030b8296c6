//! Every metric on captures, in both databases, against values that an independent evaluation of
//! the raw records gave. `fixtures/metrics/README.md` says where these come from.

mod filters;
mod lists;
mod naive;
mod shape;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value as Json;
use turnmill_analytics::statistics::{Share, benjamini_hochberg, difference_interval, pooled_p};
use turnmill_analytics::{
    Answer, Bucket, Compare, Ending, Filters, Funnel, METRICS, Measure, Metric, Over, Parts, Query, Question,
    ReadQueries, Row, Span, When, answer, metric, parse_time,
};
use turnmill_embed::Loader;
use turnmill_embed::sqlite::SqliteStore;

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
async fn compare<S: ReadQueries>(store: &mut S, expected: &Json) -> Vec<String>
where
    S::Error: std::fmt::Debug,
{
    let mut out = Vec::new();
    let known = |id: &str| {
        let id = id.strip_suffix(".engaged").unwrap_or(id);
        METRICS.iter().copied().find(|metric| metric.id == id)
    };
    for (id, value) in expected["all"].as_object().unwrap() {
        let Some(metric) = known(id) else { continue };
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

/// Returns the values of the evaluation with the number of duplicates: the ledger does not tell
/// records that were delivered again from those that were exported again.
fn evaluated(name: &str) -> Json {
    let mut expected = expected(name);
    let quality = &mut expected["all"]["X38_quality"];
    let kinds = quality["duplicates"].as_object().unwrap();
    let sum: i64 = kinds.values().map(|count| count.as_i64().unwrap()).sum();
    quality["anonymised"] = kinds["anonymised"].clone();
    quality["duplicates"] = sum.into();
    expected
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

/// Returns a SQLite store that holds a capture.
fn loaded(folder: &Path, capture: &str) -> SqliteStore {
    let path = folder.join("store.sqlite");
    let mut loader = Loader::new(SqliteStore::file(&path));
    loader.load_file(fixture(capture)).unwrap();
    drop(loader);
    SqliteStore::file(path)
}

fn assert_none(differences: &[String]) {
    let shown = &differences[..differences.len().min(40)];
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), shown.join("\n"));
}

const PARCEL: &str = "rasa-oss-3.6/parcel/file-broker.jsonl.gz";
const CALM: &str = "calm/stream.jsonl.gz";
const MANTLE: &str = "calm/mantle.jsonl.gz";
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn sqlite_has_the_values_of_the_evaluation() {
    let folder = tempfile::tempdir().unwrap();
    let mut reader = loaded(folder.path(), PARCEL).reader(LIMIT).unwrap();
    let expected = evaluated("metrics/parcel.json");
    assert_none(&pollster::block_on(compare(&mut reader, &expected)));
}

#[test]
fn sqlite_has_the_values_of_an_assistant_with_flows() {
    for (capture, values) in [(CALM, "metrics/calm.json"), (MANTLE, "metrics/mantle.json")] {
        let folder = tempfile::tempdir().unwrap();
        let mut reader = loaded(folder.path(), capture).reader(LIMIT).unwrap();
        let expected = evaluated(values);
        assert_none(&pollster::block_on(compare(&mut reader, &expected)));
    }
}

#[cfg(feature = "postgres")]
#[test]
fn postgres_has_the_values_of_the_evaluation() {
    use turnmill_embed::postgres::{PostgresSettings, PostgresStore};
    let captures =
        [(PARCEL, "metrics/parcel.json"), (CALM, "metrics/calm.json"), (MANTLE, "metrics/mantle.json")];
    for (capture, values) in captures {
        let Some(url) = turnmill_testbed::postgres::database() else { return };
        let settings: PostgresSettings = url.parse().unwrap();
        Loader::new(PostgresStore::new(settings.clone())).load_file(fixture(capture)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let expected = evaluated(values);
        let differences = runtime.block_on(async {
            let mut reader = PostgresStore::new(settings).reader(LIMIT);
            compare(&mut reader, &expected).await
        });
        assert_none(&differences);
    }
}

/// Checks every metric of the store: what a part of an answer says is what the whole one says, and
/// a whole one with buckets what it says without.
async fn check_parts<S: ReadQueries>(store: &mut S, is_exact: bool)
where
    S::Error: std::fmt::Debug,
{
    let steps = ["intent:report_issue", "response:utter_ask_parcel_id"].map(|step| step.parse().unwrap());
    let funnel = Funnel { steps: steps.to_vec(), ..Funnel::default() };
    let plain = Question { funnel, top: 1000, ..Question::default() };
    let zone = "Asia/Kathmandu".parse().unwrap();
    let sliced = Question { over: Over::Buckets(Bucket::FiveMinutes), zone, ..plain.clone() };
    let plain = Question { zone, ..plain };
    let close = |one: Option<f64>, other: Option<f64>| match (one, other) {
        (Some(one), Some(other)) => (one - other).abs() <= CLOSE * other.abs(),
        (one, other) => one == other,
    };
    for metric in METRICS {
        let whole = answer(store, &[metric], &plain).await.unwrap().remove(0);
        let full = answer(store, &[metric], &sliced).await.unwrap().remove(0);
        assert_eq!(full.queries.len(), whole.queries.len(), "{}", metric.id);
        for (one, other) in full.values.iter().zip(&whole.values) {
            assert_eq!(one.name, other.name);
            assert!(
                close(one.measure.value(), other.measure.value()),
                "{} {}: {one:?} {other:?}",
                metric.id,
                one.name
            );
        }
        let sorted = |answer: &Answer| -> Vec<String> {
            let rows = answer.tables.iter().flat_map(|table| table.rows.iter().map(|row| (table.name, row)));
            let mut rows: Vec<String> = rows.map(|row| format!("{row:?}")).collect();
            rows.sort();
            rows
        };
        // PostgreSQL adds floats in any order, which shows in their last digits only.
        if is_exact {
            assert_eq!(sorted(&full), sorted(&whole), "{}", metric.id);
        }
        let none = Question { parts: Parts::Named(Vec::new()), ..sliced.clone() };
        let none = answer(store, &[metric], &none).await.unwrap().remove(0);
        assert!(none.tables.is_empty());
        assert_eq!(none.values.first().map(|value| value.name), full.values.first().map(|value| value.name));
        for value in &none.values {
            assert!(close(value.measure.value(), full.value(value.name).unwrap().value()), "{}", metric.id);
        }
        let named = |answer: &Answer| -> Vec<String> {
            answer.series.iter().map(|series| format!("{} {:?}", series.name, series.group)).collect()
        };
        let all = named(&full);
        assert!(named(&none).iter().all(|name| all.contains(name)), "{}", metric.id);
        let tables = full.tables.iter().map(|table| table.name);
        for name in tables.chain(full.values.iter().map(|value| value.name)) {
            let parts = Parts::Named(vec![name.to_owned()]);
            let part =
                answer(store, &[metric], &Question { parts, ..plain.clone() }).await.unwrap().remove(0);
            assert!(part.tables.iter().all(|table| table.name == name), "{} {name}", metric.id);
            let rows = |answer: &Answer| answer.table(name).map_or(0, |table| table.rows.len());
            assert_eq!(rows(&part), rows(&whole), "{} {name}", metric.id);
            let value = |answer: &Answer| answer.value(name).and_then(|measure| measure.value());
            assert!(close(value(&part), value(&whole)), "{} {name}", metric.id);
        }
    }
}

#[test]
fn a_part_of_an_answer_says_what_the_whole_says() {
    let folder = tempfile::tempdir().unwrap();
    let mut reader = loaded(folder.path(), PARCEL).reader(LIMIT).unwrap();
    pollster::block_on(check_parts(&mut reader, true));
}

#[cfg(feature = "postgres")]
#[test]
fn a_part_of_an_answer_of_postgresql_says_what_the_whole_says() {
    use turnmill_embed::postgres::{PostgresSettings, PostgresStore};
    let Some(url) = turnmill_testbed::postgres::database() else { return };
    let settings: PostgresSettings = url.parse().unwrap();
    Loader::new(PostgresStore::new(settings.clone())).load_file(fixture(PARCEL)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(check_parts(&mut PostgresStore::new(settings).reader(LIMIT), false));
}

/// Asks one metric.
fn ask<S: ReadQueries>(store: &mut S, id: &str, question: &Question) -> Answer
where
    S::Error: std::fmt::Debug,
{
    pollster::block_on(answer(store, &[metric(id).unwrap()], question)).unwrap().remove(0)
}

fn of_channel(channel: &str) -> Question {
    let filters = Filters { channels: vec![Some(channel.to_owned())], ..Filters::default() };
    Question { filters, ..Question::default() }
}

#[test]
fn what_holds_between_answers() {
    let folder = tempfile::tempdir().unwrap();
    let mut reader = loaded(folder.path(), PARCEL).reader(LIMIT).unwrap();
    let counts = [("R3", "sessions"), ("R6", "messages"), ("X2", "bot"), ("L7", "missed"), ("X38", "events")];
    // Counts of rows add up over the buckets, whatever their width and zone.
    for (bucket, zone) in
        [(Bucket::FiveMinutes, "UTC"), (Bucket::Hour, "Asia/Kathmandu"), (Bucket::Week, "Pacific/Chatham")]
    {
        for (id, name) in counts {
            let over = Over::Buckets(bucket);
            let answer =
                ask(&mut reader, id, &Question { over, zone: zone.parse().unwrap(), ..Question::default() });
            let series = answer.series.iter().find(|series| series.name == name && series.group.is_none());
            let sum: f64 = series.unwrap().points.iter().map(|point| point.1.value().unwrap()).sum();
            assert_eq!(Some(sum), answer.value(name).unwrap().value(), "{id} by {bucket} in {zone}");
            // So do the groups of a split.
            let groups = answer.series.iter().filter(|series| series.group.is_some());
            let sum: f64 =
                groups.flat_map(|series| &series.points).map(|point| point.1.value().unwrap()).sum();
            let split = answer.series.iter().any(|series| series.group.is_some());
            assert!(!split || Some(sum) == answer.value(name).unwrap().value(), "groups of {id}");
        }
    }
    // A filter never raises a count, and a second one never that of the first.
    let all = Question::default();
    let web = of_channel("web");
    let mut both = web.clone();
    both.filters.intents = vec![Some("inform".into())];
    for (id, name) in counts {
        let [all, web, both] =
            [&all, &web, &both].map(|question| ask(&mut reader, id, question).value(name).unwrap().value());
        assert!(all > web && web > both && both > Some(0.0), "{id}: {all:?} {web:?} {both:?}");
    }
    // The five endings are all sessions, and each is what its filter keeps.
    let endings = ask(&mut reader, "three_ways_to_end", &all);
    let sum: f64 = endings.values.iter().map(|value| value.measure.value().unwrap()).sum();
    assert_eq!(sum, 553.0);
    for ending in Ending::ALL {
        let filters = Filters { endings: vec![ending], ..Filters::default() };
        let sessions = ask(&mut reader, "R3", &Question { filters, ..Question::default() });
        assert_eq!(sessions.value("sessions"), endings.value(ending.name()), "{ending}");
    }
}

#[test]
fn a_comparison_is_the_answer_of_the_other_period() {
    let folder = tempfile::tempdir().unwrap();
    let store = loaded(folder.path(), PARCEL);
    // The capture changes little from minute to minute. In the later period one intent is renamed.
    rusqlite::Connection::open(store.path().unwrap())
        .unwrap()
        .execute(
            "UPDATE ext_turn SET intent = 'tell' WHERE intent = 'inform' AND asked_at >= '2026-11-21 01:45:57'",
            [],
        )
        .unwrap();
    let mut reader = store.reader(LIMIT).unwrap();
    let time = |text| Some(parse_time(text, turnmill_analytics::Zone::default()).unwrap());
    let span = |from, to| When::Span(Span { from: time(from), to: time(to) });
    let now = Question {
        when: span("2026-11-21 01:45:57Z", "2026-11-21 01:46:37Z"),
        compare: Some(Compare::Previous),
        ..Question::default()
    };
    let was = Question { when: span("2026-11-21 01:45:17Z", "2026-11-21 01:45:57Z"), ..Question::default() };
    for metric in METRICS {
        let (now, was) = (ask(&mut reader, metric.id, &now), ask(&mut reader, metric.id, &was));
        // These two compare by themselves.
        if metric.id == "X45_changes" || metric.id == "X34_drift" {
            continue;
        }
        for (value, other) in now.values.iter().zip(&was.values) {
            let (before, change) = value.compared.unwrap();
            assert_eq!(before, other.measure, "{} {}", metric.id, value.name);
            if let (Measure::Share(now), Measure::Share(was)) = (value.measure, before) {
                assert_eq!(change.value, now.percent().zip(was.percent()).map(|(now, was)| now - was));
                assert_eq!(change.interval, difference_interval(was, now));
            }
        }
    }
    // What changed has the same shares, each with its test.
    let changes = ask(&mut reader, "X45", &now);
    let rows = &changes.tables[0].rows;
    assert!(rows.len() > 20, "{} rows", rows.len());
    let endings = ask(&mut reader, "three_ways_to_end", &now);
    let channels = ask(&mut reader, "R3", &now);
    let mut tested = Vec::new();
    for row in rows {
        let number = |column: usize| row[column].integer();
        let (before, after) = (Share { n: number(2), d: number(3) }, Share { n: number(5), d: number(6) });
        match (row[0].text().unwrap(), row[1].text()) {
            ("ending", Some(name)) => assert_eq!(endings.value(name), Some(Measure::Count(after.n))),
            ("channel", _) => {
                assert_eq!(channels.value("sessions"), Some(Measure::Count(after.d)));
            }
            _ => {}
        }
        assert_eq!(row[8].float(), after.percent().zip(before.percent()).map(|(now, was)| now - was));
        let p = if before.d >= 10 && after.d >= 10 { pooled_p(before, after) } else { None };
        assert_eq!(row[11].float(), p);
        tested.extend(p.map(|p| (p, row[12].is_true())));
    }
    let marks = benjamini_hochberg(&tested.iter().map(|test| test.0).collect::<Vec<_>>(), 0.1);
    assert_eq!(tested.iter().map(|test| test.1).collect::<Vec<_>>(), marks);
    assert!(marks.iter().any(|mark| *mark) && !marks.iter().all(|mark| *mark), "{marks:?}");
    assert_eq!(changes.value("compared"), Some(Measure::Count(tested.len() as i64)));
    // Drift is between 0 and 1, and 0 where nothing moved.
    let drift = ask(&mut reader, "X34", &now).value("intents").unwrap().value().unwrap();
    assert!(drift > 0.0 && drift < 1.0, "{drift}");
}

#[test]
fn funnels_are_those_of_a_pass_over_the_events() {
    let folder = tempfile::tempdir().unwrap();
    let store = loaded(folder.path(), PARCEL);
    let mut reader = store.reader(LIMIT).unwrap();
    let steps =
        ["intent:report_issue", "response:utter_ask_parcel_id", "slot:parcel_id", "action:issue_form"];
    for (across_sessions, window_seconds) in [(false, None), (true, None), (false, Some(2))] {
        let funnel = Funnel {
            steps: steps.map(|step| step.parse().unwrap()).to_vec(),
            across_sessions,
            window_seconds,
        };
        let found = ask(&mut reader, "A12", &Question { funnel, ..Question::default() });
        let found: Vec<i64> = found.tables[0].rows.iter().map(|row| row[2].integer()).collect();
        let expected = naive_funnel(store.path().unwrap(), across_sessions, window_seconds);
        assert_eq!(found, expected, "across sessions: {across_sessions}, window: {window_seconds:?}");
        assert!(found[0] > found[3] && found[3] > 0, "{found:?}");
    }
}

/// Goes through the rows of each session or sender in order, and counts how far each comes.
fn naive_funnel(path: &Path, across_sessions: bool, window: Option<u32>) -> Vec<i64> {
    let connection = rusqlite::Connection::open(path).unwrap();
    let unit = if across_sessions { "sender_id" } else { "session_id" };
    let sql = format!(
        "SELECT {unit}, sequence_number, 0 FROM rasa_user_message WHERE intent = 'report_issue' \
         UNION ALL SELECT {unit}, sequence_number, 1 FROM rasa_bot_message WHERE template_name = 'utter_ask_parcel_id' \
         UNION ALL SELECT {unit}, sequence_number, 2 FROM rasa_slot WHERE name = 'parcel_id' AND value <> 'null' \
         UNION ALL SELECT {unit}, sequence_number, 3 FROM rasa_action WHERE name = 'issue_form' ORDER BY 1, 2"
    );
    let mut query = connection.prepare(&sql).unwrap();
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    let (mut reached, mut at) = (vec![0; 4], None::<(String, i64, usize)>);
    for row in rows {
        let (unit, time, step): (String, i64, usize) = row.unwrap();
        match &mut at {
            Some((current, start, next)) if *current == unit => {
                // Numbers in order are microseconds.
                let late = window.is_some_and(|window| time - *start > i64::from(window) * 1_000_000);
                if step == *next && !late {
                    reached[step] += 1;
                    *next += 1;
                }
            }
            _ if step == 0 => {
                reached[0] += 1;
                at = Some((unit, time, 1));
            }
            _ => {}
        }
    }
    reached
}

#[test]
fn markers_are_counted_by_the_session_of_their_event() {
    let folder = tempfile::tempdir().unwrap();
    let store = loaded(folder.path(), PARCEL);
    let connection = rusqlite::Connection::open(store.path().unwrap()).unwrap();
    // A marker at each restart: 25 sessions, one restart each, with as many turns before as there
    // are.
    connection
        .execute_batch(
            "INSERT INTO rasa_patterns (id, name, config, is_active) VALUES ('p', 'restarted', '{}', 1);
             INSERT INTO rasa_markers (id, pattern_id, sender_id, session_id, event_id, num_preceding_user_turns)
             SELECT 'm' || e.id, 'p', e.sender_id, e.session_id, e.id, 3 FROM rasa_event e
             WHERE e.event_type = 'restart';",
        )
        .unwrap();
    let of_store = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, f64>(0)).unwrap();
    let sessions = of_store("SELECT count(DISTINCT session_id) FROM rasa_event WHERE event_type = 'restart'");
    let micros = of_store(
        "SELECT avg(at - start) / 1e6 FROM (SELECT min(e.sequence_number) AS at, s.start_sequence_number AS start \
         FROM rasa_event e JOIN rasa_session s ON s.id = e.session_id WHERE e.event_type = 'restart' GROUP BY s.id)",
    );
    let mut reader = store.reader(LIMIT).unwrap();
    let answer = ask(&mut reader, "X29", &Question::default());
    let [row] = answer.tables[0].rows.as_slice() else { panic!("{:?}", answer.tables) };
    assert_eq!(row[0].text(), Some("restarted"));
    assert_eq!(row[1].float(), Some(sessions));
    assert_eq!(row[2].float(), Some(100.0 * sessions / 553.0));
    assert_eq!(row[3].float(), Some(3.0));
    assert!((row[4].float().unwrap() - micros).abs() < 1e-4, "{row:?}, {micros}");
    // As a filter, as a goal, as an escalation and as a step.
    let filters = Filters { markers: vec!["restarted".into()], ..Filters::default() };
    let filtered = ask(&mut reader, "R3", &Question { filters, ..Question::default() });
    assert_eq!(filtered.value("sessions").unwrap().value(), Some(sessions));
    let mut question = Question::default();
    question.definitions.escalation_markers = vec!["restarted".into()];
    let escalated = ask(&mut reader, "R10", &question).value("escalation").unwrap();
    assert!(matches!(escalated, Measure::Share(share) if share.n > 31), "{escalated:?}");
    let mut question = Question::default();
    question.definitions.goal_markers = vec!["restarted".into()];
    let resolved = ask(&mut reader, "X8", &question).value("resolution").unwrap();
    assert!(matches!(resolved, Measure::Share(share) if share.n > 0), "{resolved:?}");
}

#[test]
fn the_database_refuses_to_write_and_ends_what_takes_too_long() {
    let folder = tempfile::tempdir().unwrap();
    let store = loaded(folder.path(), CALM);
    let query = |sql: &str| Query::new("test", sql.to_owned());
    let mut reader = store.reader(Duration::from_millis(200)).unwrap();
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    check_limits(&mut reader, |reader, sql| pollster::block_on(reader.read(&[query(sql)])), endless);
}

#[cfg(feature = "postgres")]
#[test]
fn postgresql_refuses_to_write_and_ends_what_takes_too_long() {
    use turnmill_embed::postgres::{PostgresSettings, PostgresStore};
    let Some(url) = turnmill_testbed::postgres::database() else { return };
    let settings: PostgresSettings = url.parse().unwrap();
    Loader::new(PostgresStore::new(settings.clone())).load_file(fixture(CALM)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let query = |sql: &str| Query::new("test", sql.to_owned());
    let mut reader = PostgresStore::new(settings).reader(Duration::from_millis(200));
    check_limits(
        &mut reader,
        |reader, sql| runtime.block_on(reader.read(&[query(sql)])),
        "SELECT count(*), pg_sleep(600)",
    );
}

#[cfg(feature = "postgres")]
#[test]
fn a_reading_role_has_every_metric_without_the_ledger() {
    use turnmill_embed::postgres::{PostgresSettings, PostgresStore};
    let Some(url) = turnmill_testbed::postgres::database() else { return };
    let settings: PostgresSettings = url.parse().unwrap();
    Loader::new(PostgresStore::new(settings.clone())).load_file(fixture(CALM)).unwrap();
    let server = turnmill_testbed::postgres::shared().unwrap();
    let role = format!("metrics_{}", std::process::id());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/postgresql/grants.sql");
    server.execute(&url, &format!("CREATE ROLE {role} LOGIN PASSWORD 'reads-only'"));
    server.run_file(&url, script, &[("reader", &role)]);
    // A reader looks at the version of the store before it asks.
    server.execute(&url, &format!("GRANT SELECT ON _turnmill_meta, _turnmill_migrations TO {role}"));
    let (_, place) = url.split_once('@').unwrap();
    let own: PostgresSettings = format!("postgres://{role}:reads-only@{place}").parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let of = |settings: PostgresSettings| {
        let mut reader = PostgresStore::new(settings).reader(LIMIT);
        runtime.block_on(answer(&mut reader, METRICS, &Question::default())).unwrap()
    };
    let (all, read) = (of(settings), of(own));
    for (all, read) in all.iter().zip(&read) {
        let ledger = ["records", "duplicates", "anonymised", "changed", "dead_letters", "skipped"];
        for (all, read) in all.values.iter().zip(&read.values) {
            let is_hidden = ledger.contains(&all.name);
            assert_eq!(read.measure == all.measure, !is_hidden, "{all:?}, the role has {read:?}");
            assert!(!is_hidden || read.measure.value().is_none(), "{read:?}");
        }
    }
    server.execute(&url, &format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

fn check_limits<S: ReadQueries>(
    reader: &mut S,
    mut read: impl FnMut(&mut S, &str) -> Result<Vec<Vec<Row>>, S::Error>,
    endless: &str,
) where
    S::Error: std::fmt::Display + std::fmt::Debug,
{
    for sql in ["DELETE FROM rasa_event", "CREATE TABLE more (id bigint)", "DROP TABLE rasa_markers"] {
        assert!(read(reader, sql).is_err(), "{sql}");
    }
    let start = std::time::Instant::now();
    let error = read(reader, endless).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(60), "{error}");
    // The reader is usable after all of these, and nothing was changed.
    let rows = read(reader, "SELECT count(*) FROM rasa_event").unwrap();
    assert_eq!(rows[0][0][0].integer(), 2356);
}

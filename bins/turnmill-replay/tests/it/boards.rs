//! Runs every query of the boards for Grafana and Metabase on the capture in PostgreSQL, as the
//! reading role of `deploy/postgresql/grants.sql`, and compares the rows with `turnmill report`.
//!
//! The tools' own part is done here as they document it: Grafana puts texts in place of `$…`,
//! Metabase fills `{{…}}` and drops `[[…]]` where a variable has no value.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use postgres::{Client, NoTls, SimpleQueryMessage};
use serde_json::Value;

use crate::recipes::load;
use crate::support::{run, turnmill};

/// What a user of a board has chosen.
#[derive(Debug)]
struct Chosen {
    /// Begin and end of the range, `None` of the whole store.
    range: Option<(&'static str, &'static str)>,
    bucket: &'static str,
    /// Channels, none of which are all.
    channels: &'static [&'static str],
}

const CHOSEN: [Chosen; 3] = [
    Chosen { range: None, bucket: "day", channels: &[] },
    Chosen { range: Some(("2026-11-21 00:00:00", "2026-11-22 00:00:00")), bucket: "hour", channels: &[] },
    Chosen {
        range: Some(("2026-11-20 00:00:00", "2026-11-22 00:00:00")),
        bucket: "week",
        channels: &["rest"],
    },
];

/// The rows of a query, with the names of its columns.
#[derive(Debug)]
struct Rows {
    names: Vec<String>,
    rows: Vec<Vec<Option<String>>>,
}

/// A loaded store, a connection of the reading role, and what `turnmill report` says of it.
struct Store {
    client: Client,
    /// For each of [`CHOSEN`] the answers by the metric's id.
    reports: Vec<BTreeMap<String, Value>>,
}

impl Store {
    fn new() -> Option<Self> {
        let url = turnmill_testbed::postgres::database()?;
        load(&url);
        let role = reading_role(&url);
        let mut client = Client::connect(&url, NoTls).unwrap();
        // Boards do not depend on the zone of the connection.
        client.batch_execute(&format!("SET ROLE {role}; SET TimeZone TO 'Pacific/Kiritimati'")).unwrap();
        let reports = CHOSEN.iter().map(|chosen| report(&url, chosen)).collect();
        Some(Self { client, reports })
    }

    fn rows(&mut self, sql: &str) -> Rows {
        // Names are there also where no row is.
        let statement = self.client.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let names = statement.columns().iter().map(|column| column.name().to_owned()).collect();
        let mut rows = Vec::new();
        for message in self.client.simple_query(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}")) {
            if let SimpleQueryMessage::Row(row) = message {
                rows.push((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect());
            }
        }
        Rows { names, rows }
    }

    /// Runs a panel's query and compares its rows with the metric that its first line names.
    fn check(&mut self, sql: &str, number: usize) -> Rows {
        let chosen = &CHOSEN[number];
        let line = sql.lines().next().unwrap().strip_prefix("-- ").unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let rows = self.rows(sql);
        let answer = &self.reports[number][words[0]];
        let told = format!("{line}, {chosen:?}: {rows:?}");
        match (words.get(1).copied(), words.get(2)) {
            (None, None) if rows.names[0] == "time" => series(&rows, answer, &told),
            (None, None) => {
                assert_eq!((rows.names.len(), rows.rows.len()), (1, 1), "{told}");
                same(&rows.rows[0][0], &answer["values"][&rows.names[0]]["value"], &told);
            }
            (Some("by"), Some(group)) => groups(&rows, group, answer, &told),
            (Some("list"), Some(list)) => self::list(&rows, list, answer, &told),
            other => panic!("{other:?}: {told}"),
        }
        rows
    }
}

/// Returns the answers of `turnmill report` to all metrics of the boards, by id.
fn report(url: &str, chosen: &Chosen) -> BTreeMap<String, Value> {
    let board = std::fs::read_to_string(deploy("grafana/conversations.json")).unwrap();
    let board: Value = serde_json::from_str(&board).unwrap();
    let ids: BTreeSet<String> = board["panels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|panel| metric_of(panel["targets"][0]["rawSql"].as_str().unwrap()).to_owned())
        .collect();
    let bucket = if chosen.bucket == "hour" { "1h" } else { chosen.bucket };
    let mut arguments = vec!["report", url, "--by", bucket, "--format", "json"];
    arguments.extend(ids.iter().map(String::as_str));
    if let Some((from, to)) = chosen.range {
        arguments.extend(["--since", from, "--until", to]);
    }
    for channel in chosen.channels {
        arguments.extend(["--channel", channel]);
    }
    let answers = String::from_utf8(run(turnmill(&arguments), 0).stdout).unwrap();
    let answers = answers.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    answers.map(|answer| (answer["id"].as_str().unwrap().to_owned(), answer)).collect()
}

/// Returns the id of the metric that the first line of a panel's query names.
fn metric_of(sql: &str) -> &str {
    sql.strip_prefix("-- ").and_then(|rest| rest.split([' ', '\n']).next()).unwrap()
}

/// Makes a role that may read the tables of a database, and nothing else.
pub(crate) fn reading_role(url: &str) -> String {
    let server = turnmill_testbed::postgres::shared().unwrap();
    let (_, name) = url.rsplit_once('/').unwrap();
    let role = format!("reader_{}", name.replace(|c: char| !c.is_ascii_alphanumeric(), "_"));
    server.execute(url, &format!("CREATE ROLE {role}"));
    server.run_file(url, deploy("postgresql/grants.sql").to_str().unwrap(), &[("reader", &role)]);
    role
}

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(path)
}

/// Compares a value of the database with one of the report. A group without a name is `(none)`.
#[track_caller]
fn same(cell: &Option<String>, value: &Value, told: &str) {
    let equal = match (cell, value) {
        (None, Value::Null) => true,
        (Some(cell), Value::Null) => cell == "(none)",
        (Some(cell), Value::Number(number)) => {
            let (cell, number) = (cell.parse::<f64>().unwrap(), number.as_f64().unwrap());
            (cell - number).abs() <= 1e-9 * number.abs().max(1.0)
        }
        (Some(cell), Value::String(text)) => cell == text || is_time(cell, text),
        _ => false,
    };
    assert!(equal, "{cell:?} is not {value}: {told}");
}

/// Returns whether both are the same time. PostgreSQL leaves zeros at the end out.
fn is_time(cell: &str, text: &str) -> bool {
    let time = |text: &str| chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok();
    time(cell).is_some() && time(cell) == time(text)
}

/// Returns the points of a series of the report.
fn points<'a>(answer: &'a Value, name: &str, group: Option<&Value>) -> &'a [Value] {
    let all = answer["series"].as_array().unwrap();
    let found = all.iter().find(|series| series["name"] == name && series.get("group") == group);
    found.map_or(&[], |series| series["points"].as_array().unwrap())
}

fn series(rows: &Rows, answer: &Value, told: &str) {
    for (column, name) in rows.names.iter().enumerate().skip(1) {
        let points = points(answer, name, None);
        assert!(!points.is_empty(), "{name}: {told}");
        assert_eq!(rows.rows.len(), points.len(), "{name}: {told}");
        for (row, point) in rows.rows.iter().zip(points) {
            same(&row[0], &point["from"], told);
            same(&row[column], &point["value"], told);
        }
    }
}

fn groups(rows: &Rows, group: &str, answer: &Value, told: &str) {
    assert_eq!(rows.names[..2], ["time", group], "{told}");
    let mut left = rows.rows.len();
    for series in answer["series"].as_array().unwrap() {
        let Some(group) = series.get("group") else { continue };
        for point in series["points"].as_array().unwrap().iter().filter(|point| point["value"] != 0) {
            let name = group.as_str().unwrap_or("(none)");
            let row = rows.rows.iter().find(|row| {
                row[1].as_deref() == Some(name)
                    && is_time(row[0].as_deref().unwrap(), point["from"].as_str().unwrap())
            });
            let row = row.unwrap_or_else(|| panic!("no row of {name} at {}: {told}", point["from"]));
            same(&row[2], &point["value"], told);
            left -= 1;
        }
    }
    assert_eq!(left, 0, "rows that the report has not: {told}");
}

fn list(rows: &Rows, name: &str, answer: &Value, told: &str) {
    let tables = answer["tables"].as_array();
    let other = tables.into_iter().flatten().find(|table| table["name"] == name);
    let table = other.unwrap_or(answer);
    let columns: Vec<&str> =
        table["columns"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let expected = table["rows"].as_array().unwrap();
    assert!(!rows.rows.is_empty(), "{told}");
    assert_eq!(rows.rows.len(), expected.len().min(rows.rows.len().max(10)), "{told}");
    for (row, expected) in rows.rows.iter().zip(expected) {
        for (cell, column) in row.iter().zip(&rows.names) {
            let at = columns.iter().position(|name| name == column);
            let at = at.unwrap_or_else(|| panic!("the list has no {column}: {told}"));
            same(cell, &expected[at], told);
        }
    }
}

/// Returns the text that Grafana sends.
fn by_grafana(sql: &str, chosen: &Chosen, all: &[String]) -> String {
    // A board always has a range; this one holds the whole capture, from midnight to midnight.
    let (from, to) = chosen.range.unwrap_or(("2026-11-20 00:00:00", "2026-11-23 00:00:00"));
    let time = |time: &str| format!("'{}Z'", time.replace(' ', "T"));
    let channels: Vec<String> = match chosen.channels {
        [] => all.iter().map(|name| format!("'{name}'")).collect(),
        some => some.iter().map(|name| format!("'{name}'")).collect(),
    };
    let sql = sql
        .replace("$__timeFrom()", &time(from))
        .replace("$__timeTo()", &time(to))
        .replace("$bucket", chosen.bucket)
        .replace("${channel:sqlstring}", &channels.join(","));
    assert!(!sql.contains('$'), "{sql}");
    sql
}

/// Returns the text that Metabase sends.
fn by_metabase(sql: &str, chosen: &Chosen) -> String {
    // Its last day is part of the range.
    let dates = chosen.range.map(|(from, to)| {
        let last = chrono::NaiveDate::parse_from_str(&to[..10], "%Y-%m-%d").unwrap().pred_opt().unwrap();
        (from[..10].to_owned(), last.to_string())
    });
    let value = |name: &str| match name {
        "from" => dates.as_ref().map(|dates| format!("'{}'", dates.0)),
        "to" => dates.as_ref().map(|dates| format!("'{}'", dates.1)),
        "bucket" => Some(format!("'{}'", chosen.bucket)),
        "channel" => chosen.channels.first().map(|name| format!("'{name}'")),
        other => panic!("no variable {other}"),
    };
    let filled = |text: &str| {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").unwrap();
            out.push_str(before);
            out.push_str(&value(name)?);
            rest = after;
        }
        Some(out + rest)
    };
    let mut out = String::new();
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once("[[") {
        let (optional, after) = after.split_once("]]").unwrap();
        out.push_str(&filled(before).unwrap());
        out.push_str(&filled(optional).unwrap_or_default());
        rest = after;
    }
    out + &filled(rest).unwrap()
}

#[test]
fn boards_have_the_numbers_of_the_report() {
    let Some(mut store) = Store::new() else { return };
    panels_of_grafana(&mut store);
    cards_of_metabase(&mut store);
}

fn panels_of_grafana(store: &mut Store) {
    let board = std::fs::read_to_string(deploy("grafana/conversations.json")).unwrap();
    let board: Value = serde_json::from_str(&board).unwrap();
    let variables = board["templating"]["list"].as_array().unwrap();
    let channels = variables.iter().find(|variable| variable["name"] == "channel").unwrap();
    let all = store.rows(channels["query"].as_str().unwrap());
    let all: Vec<String> = all.rows.into_iter().map(|row| row[0].clone().unwrap()).collect();
    assert!(all.len() > 3, "{all:?}");
    let panels = board["panels"].as_array().unwrap();
    assert!(panels.len() >= 20);
    for panel in panels {
        let sql = panel["targets"][0]["rawSql"].as_str().unwrap();
        for (number, chosen) in CHOSEN.iter().enumerate() {
            let rows = store.check(&by_grafana(sql, chosen, &all), number);
            let has = |name: &Value| rows.names.iter().any(|column| name == column);
            let mut named: Vec<&Value> = panel["fieldConfig"]["overrides"]
                .as_array()
                .unwrap()
                .iter()
                .map(|over| &over["matcher"]["options"])
                .collect();
            named.extend(panel["options"].get("xField"));
            assert!(named.iter().all(|name| has(name)), "{named:?}: {:?}", rows.names);
        }
    }
}

fn cards_of_metabase(store: &mut Store) {
    let mut cards = 0;
    for entry in std::fs::read_dir(deploy("metabase/collections/main/turnmill")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let Some((_, rest)) = text.split_once("    native: |-\n") else { continue };
        let block: Vec<&str> = rest.lines().map_while(|line| line.strip_prefix("      ")).collect();
        let sql = block.join("\n");
        // Columns that the settings name: the rest of the file after its last key.
        let (_, settings) = text.split_once("\nvisualization_settings:").unwrap();
        let mut named = BTreeSet::new();
        let mut lists = false;
        for line in settings.lines().filter(|line| !line.is_empty()) {
            match line.strip_prefix("  - ") {
                Some(name) if lists => _ = named.insert(name.to_owned()),
                _ => lists = line.starts_with("  graph."),
            }
            named.extend(line.strip_prefix("  scalar.field: ").map(str::to_owned));
        }
        for (number, chosen) in CHOSEN.iter().enumerate() {
            let rows = store.check(&by_metabase(&sql, chosen), number);
            let names: BTreeSet<String> = rows.names.into_iter().collect();
            assert!(named.is_subset(&names), "{named:?}: {names:?}");
        }
        cards += 1;
    }
    assert!(cards >= 20, "{cards}");
}

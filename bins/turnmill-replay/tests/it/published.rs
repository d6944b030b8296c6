//! Tests of the metrics for which Rasa publishes queries, as turnmill's own queries on PostgreSQL.
//! The expected results are computed from the events' JSON, without any code of the store.
//!
//! The events arrive out of order and some of them twice, in a database that is not in UTC, and
//! every query runs in several time zones, as the role that `deploy/postgresql/grants.sql` lets
//! read.

mod calm;
mod nlu;
mod stream;

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime};
use postgres::{Client, NoTls, SimpleQueryMessage};
use serde_json::Value;

use crate::boards::reading_role;
use crate::support::{json, replay};

/// Events, and the database that they were loaded into.
#[derive(Debug)]
struct Loaded {
    events: Vec<Value>,
    url: String,
    /// The role as which the queries run: it may read the tables, and nothing else.
    reader: String,
}

impl Loaded {
    /// Loads `events` into the schema `public` of a fresh database. Returns `None` if no server can
    /// run.
    fn new(events: Vec<Value>) -> Option<Self> {
        let url = turnmill_testbed::postgres::database()?;
        let mut client = Client::connect(&url, NoTls).unwrap();
        client
            .batch_execute(
                "DO $$ BEGIN
                     EXECUTE format('ALTER DATABASE %I SET TimeZone TO ''Pacific/Kiritimati''', current_database());
                 END $$",
            )
            .unwrap();
        // The second half comes first, so the first one is late, and every fifth event comes again.
        let (first, second) = events.split_at(events.len() / 2);
        let again = events.iter().step_by(5);
        let lines: Vec<String> = second.iter().chain(first).chain(again).map(Value::to_string).collect();
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("events.jsonl");
        std::fs::write(&input, lines.join("\n")).unwrap();
        let said = json(replay(&[input.to_str().unwrap(), "--to", &url, "--batch", "500", "--json"]), 0);
        assert_eq!((&said["records"], &said["events"]), (&lines.len().into(), &events.len().into()));
        let reader = reading_role(&url);
        Some(Self { events, url, reader })
    }

    /// Runs the query; checks the columns' names and types, and the rows and their order.
    #[track_caller]
    fn check(&self, sql: &str, columns: &[(&str, &str)], expected: &[Vec<Cell>]) {
        for zone in ["UTC", "Pacific/Kiritimati", "Etc/GMT+12"] {
            let mut client = Client::connect(&self.url, NoTls).unwrap();
            let role = &self.reader;
            client.batch_execute(&format!("SET TimeZone TO '{zone}'; SET ROLE {role}")).unwrap();
            let rows = answer(&mut client, sql, columns);
            assert_eq!(rows.len(), expected.len(), "{zone}: {rows:?}, expected {expected:?}");
            for (row, expected) in rows.iter().zip(expected) {
                assert_eq!(row, expected, "{zone}: {sql}");
            }
        }
    }
}

/// Returns the rows of a query with these `columns`, names and types.
#[track_caller]
fn answer(client: &mut Client, sql: &str, columns: &[(&str, &str)]) -> Vec<Vec<Cell>> {
    let statement = client.prepare(sql).unwrap();
    let has: Vec<_> =
        statement.columns().iter().map(|column| (column.name(), column.type_().name())).collect();
    assert_eq!(has, columns, "{sql}");
    let messages = client.simple_query(sql).unwrap();
    let row = |message| match message {
        SimpleQueryMessage::Row(row) => {
            Some(columns.iter().enumerate().map(|(at, (_, kind))| Cell::read(kind, row.get(at))).collect())
        }
        _ => None,
    };
    messages.into_iter().filter_map(row).collect()
}

/// A value of a row.
#[derive(Clone, Debug)]
enum Cell {
    Null,
    Text(String),
    Integer(i64),
    Real(f64),
    Time(NaiveDateTime),
}

impl Cell {
    /// Parses PostgreSQL's text of a value of this type.
    fn read(kind: &str, text: Option<&str>) -> Self {
        let Some(text) = text else { return Self::Null };
        match kind {
            "varchar" => Self::Text(text.to_owned()),
            "int8" => Self::Integer(text.parse().unwrap()),
            "float8" | "numeric" => Self::Real(text.parse().unwrap()),
            "timestamp" => Self::Time(NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").unwrap()),
            other => panic!("{other}: {text}"),
        }
    }
}

impl PartialEq for Cell {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Text(one), Self::Text(other)) => one == other,
            (Self::Integer(one), Self::Integer(other)) => one == other,
            // A numeric has 16 digits or more.
            (Self::Real(one), Self::Real(other)) => (one - other).abs() < 1e-12 * other.abs().max(1.0),
            (Self::Time(one), Self::Time(other)) => one == other,
            _ => false,
        }
    }
}

impl From<Option<&str>> for Cell {
    fn from(text: Option<&str>) -> Self {
        text.map_or(Self::Null, |text| Self::Text(text.to_owned()))
    }
}

impl From<i64> for Cell {
    fn from(integer: i64) -> Self {
        Self::Integer(integer)
    }
}

impl From<f64> for Cell {
    fn from(real: f64) -> Self {
        Self::Real(real)
    }
}

impl From<NaiveDateTime> for Cell {
    fn from(time: NaiveDateTime) -> Self {
        Self::Time(time)
    }
}

/// The queries name the schema `public`, so the README's service writes there.
#[test]
fn the_service_of_the_readme_writes_where_the_queries_look() {
    let readme = include_str!("../../../../README.md");
    let (_, service) = readme.split_once("## Run the service").unwrap();
    let (service, _) = service.split_once("## ").unwrap();
    assert!(service.contains("export RASA_ANALYTICS_DB_URL=postgresql://"), "{service}");
    assert!(!service.contains("DB_SCHEMA"), "{service}");
    let defaults = include_str!("../../../../examples/turnmill.toml");
    assert!(defaults.contains("(TURNMILL_DB_SCHEMA)\n# schema = \"public\""));
}

/// Orders texts as PostgreSQL does, ascending and NULL last.
fn nulls_last(text: Option<&str>) -> (bool, Option<&str>) {
    (text.is_none(), text)
}

/// Returns a count as a float.
fn real(count: i64) -> f64 {
    i32::try_from(count).unwrap().into()
}

/// The events of a session, in order.
#[derive(Debug)]
struct Session<'a> {
    sender: &'a str,
    events: Vec<&'a Value>,
}

impl<'a> Session<'a> {
    fn new(sender: &'a str) -> Self {
        Self { sender, events: Vec::new() }
    }

    /// Returns its events of a type.
    fn of(&self, kind: &str) -> impl Iterator<Item = &'a Value> {
        self.events.iter().copied().filter(move |event| event["event"] == kind)
    }

    fn has_begun(&self) -> bool {
        self.events.iter().any(|event| event["event"] == "user" || starts_session(event))
    }
}

fn starts_session(event: &Value) -> bool {
    event["event"] == "action" && event["name"] == "action_session_start"
}

fn is_metadata_of_session(event: &Value) -> bool {
    event["event"] == "slot" && event["name"] == "session_started_metadata"
}

/// Returns the sessions of all senders. Each starts with Rasa's session start action, or with the
/// slot just before it that has the first message's metadata.
fn sessions(events: &[Value]) -> Vec<Session<'_>> {
    let mut senders: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for event in events {
        senders.entry(event["sender_id"].as_str().unwrap()).or_default().push(event);
    }
    let mut sessions = Vec::new();
    for (sender, mut events) in senders {
        events.sort_by(|one, other| seconds(one).total_cmp(&seconds(other)));
        let mut session = Session::new(sender);
        for event in events {
            if starts_session(event) && session.has_begun() {
                let mut next = Session::new(sender);
                next.events.extend(session.events.pop_if(|last| is_metadata_of_session(last)));
                sessions.push(std::mem::replace(&mut session, next));
            }
            session.events.push(event);
        }
        sessions.push(session);
    }
    sessions
}

fn seconds(event: &Value) -> f64 {
    event["timestamp"].as_f64().unwrap()
}

/// Returns the time of the event in UTC, to the nearest microsecond.
fn time(event: &Value) -> NaiveDateTime {
    let (whole, part) = (seconds(event).floor(), seconds(event).fract());
    let (whole, micros) = (whole as i64, (part * 1e6).round_ties_even() as i64);
    DateTime::from_timestamp_micros(whole * 1_000_000 + micros).unwrap().naive_utc()
}

/// Returns midnight of the first day of the event's month.
fn month(event: &Value) -> NaiveDateTime {
    first_of_month(time(event).year(), time(event).month())
}

/// Returns midnight of the first day of a month.
fn first_of_month(year: i32, month: u32) -> NaiveDateTime {
    NaiveDate::from_ymd_opt(year, month, 1).unwrap().and_time(NaiveTime::MIN)
}

/// Returns the sum of the events' weights in each month, divided by the number of sessions that
/// have an event with a weight in that month, even 0.
fn per_month<'a>(
    sessions: &[Session<'a>],
    weight: impl Fn(&'a Value) -> Option<i64>,
) -> BTreeMap<NaiveDateTime, f64> {
    let mut groups: BTreeMap<(NaiveDateTime, usize), i64> = BTreeMap::new();
    for (number, session) in sessions.iter().enumerate() {
        for event in &session.events {
            if let Some(weight) = weight(event) {
                *groups.entry((month(event), number)).or_default() += weight;
            }
        }
    }
    let mut months: BTreeMap<NaiveDateTime, (i64, i64)> = BTreeMap::new();
    for ((month, _), weight) in groups {
        let (sum, count) = months.entry(month).or_default();
        (*sum, *count) = (*sum + weight, *count + 1);
    }
    months.into_iter().map(|(month, (sum, count))| (month, real(sum) / real(count))).collect()
}

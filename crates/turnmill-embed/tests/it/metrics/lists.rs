//! Lists that are broken down, chosen or hidden: each against the question without it, or a plain
//! loop over the rows.

use std::collections::BTreeMap;

use rusqlite::Connection;
use turnmill_analytics::{
    Answer, Filters, Funnel, Measure, PathOptions, Property, Question, Return, Row, Span, TextStatus, Value,
    When, parse_time,
};
use turnmill_embed::sqlite::SqliteStore;

use super::filters::VARIED;
use super::{LIMIT, PARCEL, ask, loaded};

fn varied(folder: &std::path::Path) -> (SqliteStore, Connection) {
    let store = loaded(folder, PARCEL);
    let connection = Connection::open(store.path().unwrap()).unwrap();
    connection.execute_batch(VARIED).unwrap();
    (store, connection)
}

fn rows<'a>(answer: &'a Answer, table: &str) -> &'a [Row] {
    &answer.table(table).unwrap_or_else(|| panic!("no {table}")).rows
}

fn texts(row: &Row, columns: &[usize]) -> Vec<Option<String>> {
    columns.iter().map(|column| row[*column].text().map(ToOwned::to_owned)).collect()
}

fn funnel() -> Funnel {
    let steps = ["intent:report_issue", "response:utter_ask_parcel_id", "slot:parcel_id"];
    Funnel { steps: steps.map(|step| step.parse().unwrap()).to_vec(), ..Funnel::default() }
}

#[test]
fn a_funnel_is_broken_down_and_has_a_history() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = varied(folder.path());
    let mut reader = store.reader(LIMIT).unwrap();
    for property in Property::ALL {
        let question = Question { funnel: funnel(), breakdown: Some(property), ..Question::default() };
        let answer = ask(&mut reader, "A12", &question);
        // Each part is the funnel of the sessions with that value.
        let mut parts: BTreeMap<Option<String>, Vec<i64>> = BTreeMap::new();
        for row in rows(&answer, "breakdown") {
            parts.entry(row[0].text().map(ToOwned::to_owned)).or_default().push(row[3].integer());
        }
        assert!(parts.len() > 1, "{property:?}: {parts:?}");
        for (value, reached) in parts {
            let value = vec![value];
            let filters = match property {
                Property::Channel => Filters { channels: value, ..Filters::default() },
                Property::Model => Filters { models: value, ..Filters::default() },
                Property::Environment => Filters { environments: value, ..Filters::default() },
                Property::Assistant => Filters { assistants: value, ..Filters::default() },
            };
            let question = Question { funnel: funnel(), filters, ..Question::default() };
            let own = ask(&mut reader, "A12", &question);
            let own: Vec<i64> = rows(&own, "steps").iter().map(|row| row[2].integer()).collect();
            assert_eq!(reached, own, "{property:?}");
        }
    }
    // A day of the history is the funnel whose range is that day.
    let zone = "Asia/Kathmandu".parse().unwrap();
    let answer = ask(&mut reader, "A12", &Question { funnel: funnel(), zone, ..Question::default() });
    let history = rows(&answer, "history");
    assert_eq!(history.len(), 90);
    let mut days = 0;
    for pair in history.windows(2).chain([&history[89..]]) {
        let from = parse_time(pair[0][0].text().unwrap(), zone).unwrap();
        let to = pair.get(1).map(|next| parse_time(next[0].text().unwrap(), zone).unwrap());
        let when = When::Span(Span { from: Some(from), to });
        let day = ask(&mut reader, "A12", &Question { funnel: funnel(), zone, when, ..Question::default() });
        let Some(Measure::Share(share)) = day.value("conversion") else { panic!("{:?}", day.values) };
        assert_eq!((pair[0][1].integer(), pair[0][2].integer()), (share.d, share.n), "{:?}", pair[0]);
        assert_eq!(pair[0][3].float(), share.percent());
        days += i64::from(share.n > 0);
    }
    assert_eq!(days, 1, "the capture is of one day in Kathmandu");
    assert_eq!(answer.not_set_up, None);
    assert!(ask(&mut reader, "A12", &Question::default()).not_set_up.is_some());
}

#[test]
fn rates_by_model_are_those_of_the_filter() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = varied(folder.path());
    let mut reader = store.reader(LIMIT).unwrap();
    for (id, column, is_model) in [("X30", "models", true), ("X31", "environments", false)] {
        let all = ask(&mut reader, id, &Question::default());
        assert!(rows(&all, column).len() > 2);
        let mut before: BTreeMap<String, Measure> = BTreeMap::new();
        for row in rows(&all, "rates") {
            let value = vec![row[1].text().map(ToOwned::to_owned)];
            let mut filters = Filters::default();
            if is_model {
                filters.models = value;
            } else {
                filters.environments = value;
            }
            let rate = row[0].text().unwrap();
            let (metric, name) = match rate {
                "escalation" => ("R10", "escalation"),
                "abandonment" => ("R9", "abandonment"),
                "engagement" => ("X9", "engagement"),
                "resolution" => ("X8", "resolution"),
                "missed" => ("X24", "missed"),
                "without_answer" => ("X46", "without_answer"),
                other => panic!("{other}"),
            };
            let own = ask(&mut reader, metric, &Question { filters, ..Question::default() });
            let own = own.value(name).unwrap();
            let Measure::Share(share) = own else { panic!("{own:?}") };
            assert_eq!((row[2].integer(), row[3].integer()), (share.n, share.d), "{row:?}");
            assert_eq!(row[4].float(), share.percent());
            let was = before.insert(rate.to_owned(), own);
            let change = was.map(|was| own.change_from(&was));
            assert_eq!(row[6].float(), change.and_then(|change| change.value), "{row:?}");
            let interval = change.filter(|change| change.value.is_some()).and_then(|change| change.interval);
            assert_eq!(row[7].float().zip(row[8].float()), interval, "{row:?}");
        }
    }
}

#[test]
fn intents_can_be_hidden_and_excluded() {
    let folder = tempfile::tempdir().unwrap();
    let (store, connection) = varied(folder.path());
    connection.execute("UPDATE ext_turn SET intent = NULL WHERE substr(turn_id, 30, 1) < '4'", []).unwrap();
    let mut reader = store.reader(LIMIT).unwrap();
    let top = 100;
    let all = ask(&mut reader, "R6", &Question { top, ..Question::default() });
    let shown = ask(&mut reader, "R6", &Question { top, hide_null: true, ..Question::default() });
    let (all, shown) = (rows(&all, "by_intent"), rows(&shown, "by_intent"));
    let named: Vec<&Row> = all.iter().filter(|row| !row[0].is_null()).collect();
    assert_eq!(named.len() + 1, all.len());
    assert_eq!(named, shown.iter().collect::<Vec<_>>(), "shares stay those of all messages");
    // An excluded intent is in no list of values and on no way.
    let exclude = vec!["inform".to_owned()];
    let is_named = |row: &Row| row.iter().any(|cell| cell.text() == Some("inform"));
    for (id, table) in [("L20", "values"), ("A13", "links"), ("L19", "transitions")] {
        let with = ask(&mut reader, id, &Question { top, ..Question::default() });
        let without =
            ask(&mut reader, id, &Question { top, exclude: exclude.clone(), ..Question::default() });
        assert!(rows(&with, table).iter().any(is_named), "{id}");
        assert!(!rows(&without, table).is_empty() && !rows(&without, table).iter().any(is_named), "{id}");
    }
    // Ways by channel add up to all ways, but for what each channel shows as Others.
    let question = Question { breakdown: Some(Property::Channel), ..Question::default() };
    let ways = ask(&mut reader, "A13", &question);
    let sum = |rows: &[Row], at: usize, count: usize| -> i64 {
        rows.iter().filter(|row| row[at].integer() == 0).map(|row| row[count].integer()).sum()
    };
    assert_eq!(sum(rows(&ways, "links"), 0, 3), sum(rows(&ways, "breakdown"), 1, 4));
}

#[test]
fn paths_are_chosen_by_their_ends_or_made_of_dialogs() {
    let folder = tempfile::tempdir().unwrap();
    let (store, connection) = varied(folder.path());
    connection
        .execute_batch(
            "INSERT INTO ext_dialog_run (id, session_id, dialog_id, kind, status, started_at, ended_at, weight)
             SELECT id, session_id, CASE WHEN substr(id, 28, 1) < '8' THEN 'book' ELSE 'pay' END,
                 CASE WHEN substr(id, 27, 1) < '8' THEN 'flow' ELSE 'pattern' END,
                 CASE WHEN substr(id, 26, 1) < 'c' THEN 'done' ELSE 'canceled' END, timestamp, timestamp, 1
             FROM rasa_action;",
        )
        .unwrap();
    let paths = |sql: &str| -> Vec<Vec<String>> {
        let mut query = connection.prepare(sql).unwrap();
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
        let mut paths: Vec<(String, Vec<String>)> = Vec::new();
        for (session, name) in query.query_map([], read).unwrap().map(Result::unwrap) {
            if paths.last().is_none_or(|last| last.0 != session) {
                paths.push((session, Vec::new()));
            }
            let path = &mut paths.last_mut().unwrap().1;
            if path.last() != Some(&name) {
                path.push(name);
            }
        }
        paths.into_iter().map(|path| path.1).collect()
    };
    let intents = paths(
        "SELECT session_id, intent FROM ext_turn WHERE intent IS NOT NULL ORDER BY session_id, asked_at, turn_id",
    );
    let dialogs = paths(
        "SELECT session_id, dialog_id FROM ext_dialog_run WHERE kind = 'flow' AND status = 'done' \
         ORDER BY session_id, ended_at, id",
    );
    let mut reader = store.reader(LIMIT).unwrap();
    let mut asked =
        |options: PathOptions| ask(&mut reader, "L19", &Question { paths: options, ..Question::default() });
    let count = |paths: &[Vec<String>], keep: &dyn Fn(&Vec<String>) -> bool| -> Option<f64> {
        Some(paths.iter().filter(|path| keep(path)).count() as f64)
    };
    let default = PathOptions::default;
    let started = asked(PathOptions { start: Some("report_issue".into()), ..default() });
    let expected = count(&intents, &|path| path[0] == "report_issue");
    assert!(expected > Some(5.0));
    assert_eq!(started.value("sessions").unwrap().value(), expected);
    assert!(
        rows(&started, "links")
            .iter()
            .all(|row| row[0].integer() > 0 || row[2].text() == Some("report_issue"))
    );
    let ended = asked(PathOptions { end: Some("goodbye".into()), ..default() });
    let expected =
        count(&intents, &|path| path.iter().take(8).next_back().is_some_and(|last| last == "goodbye"));
    assert_eq!(ended.value("sessions").unwrap().value(), expected);
    let long = asked(PathOptions { steps: 8, ..default() });
    assert_eq!(rows(&long, "links").iter().map(|row| row[0].integer()).max(), Some(7));
    let done = asked(PathOptions { completed: true, ..default() });
    assert_eq!(done.value("sessions").unwrap().value(), count(&dialogs, &|_| true));
    let moved = |from: &str, to: &str| -> i64 {
        let pairs = dialogs.iter().flat_map(|path| path.windows(2));
        i64::try_from(pairs.filter(|pair| pair[0] == from && pair[1] == to).count()).unwrap()
    };
    for (from, to) in [("book", "pay"), ("pay", "book")] {
        let found = rows(&done, "transitions")
            .iter()
            .find(|row| texts(row, &[0, 1]) == [Some(from.into()), Some(to.into())]);
        assert!(moved(from, to) > 3, "{from} {to}");
        assert_eq!(found.unwrap()[2].integer(), moved(from, to));
    }
}

#[test]
fn retention_counts_what_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (store, connection) = varied(folder.path());
    let mut reader = store.reader(LIMIT).unwrap();
    let senders = |condition: &str| -> i64 {
        let sql = format!(
            "SELECT count(DISTINCT coalesce(r.user_id, r.id)) FROM rasa_sender r, ext_turn t \
             WHERE t.sender_id = r.id AND {condition}"
        );
        connection.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    let both = "t.intent = 'greet' AND coalesce(r.user_id, r.id) IN (SELECT coalesce(o.user_id, o.id) FROM \
                rasa_sender o, ext_turn b WHERE b.sender_id = o.id AND b.intent = 'goodbye')";
    let step = |text: &str| Some(text.parse().unwrap());
    let retention = Return { first: step("intent:greet"), back: step("intent:goodbye") };
    let answer = ask(&mut reader, "A32", &Question { retention, ..Question::default() });
    // The capture is of one week.
    let [row] = rows(&answer, "cohorts") else { panic!("{:?}", answer.tables) };
    assert!(senders(both) > 3);
    assert_eq!((row[1].integer(), row[3].integer()), (senders("t.intent = 'greet'"), senders(both)));
    let retention = Return { first: step("intent:greet"), back: None };
    let answer = ask(&mut reader, "A32", &Question { retention, ..Question::default() });
    assert_eq!(rows(&answer, "cohorts")[0][3].integer(), senders("t.intent = 'greet'"));
}

#[test]
fn missed_texts_are_hidden_where_they_are_settled() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = varied(folder.path());
    let mut reader = store.reader(LIMIT).unwrap();
    let mut question = Question { top: 1000, ..Question::default() };
    let all = ask(&mut reader, "L22", &question);
    let of = |answer: &Answer, text: &str| -> Option<Row> {
        rows(answer, "texts").iter().find(|row| row[0].text() == Some(text)).cloned()
    };
    let counts: Vec<i64> = rows(&all, "texts").iter().map(|row| row[1].integer()).collect();
    assert!(counts.is_sorted_by(|one, other| one >= other) && counts.len() > 5, "{counts:?}");
    let suggested = rows(&all, "texts").iter().filter(|row| !row[2].is_null()).count();
    assert!(suggested > 0 && rows(&all, "texts").iter().all(|row| row[2].text() != Some("nlu_fallback")));
    let [first, second] =
        [0, 1].map(|number: usize| rows(&all, "texts")[number][0].text().unwrap().to_owned());
    question.examples.add_training_data(&format!("examples: |\n  - {}\n", first.to_uppercase()));
    question.examples.add(&second, TextStatus::Ignored);
    let left = ask(&mut reader, "L22", &question);
    assert_eq!(of(&left, &first), None);
    assert_eq!(of(&left, &second).unwrap()[5], Value::from("ignored"));
    assert_eq!(of(&all, &second).unwrap()[5], Value::from("new"));
    assert_eq!(rows(&left, "texts").len() + 1, rows(&all, "texts").len());
}

#[test]
fn searches_do_not_mind_the_case() {
    let folder = tempfile::tempdir().unwrap();
    let (store, connection) = varied(folder.path());
    connection
        .execute(
            "UPDATE rasa_user_message SET text = 'Fünf ÄRGER_%! Pakete' WHERE id = (SELECT min(id) FROM rasa_user_message)",
            [],
        )
        .unwrap();
    let mut reader = store.reader(LIMIT).unwrap();
    for (text, expected) in [("FÜNF", 1), ("ärger", 1), ("ÄRGER", 1), ("_%!", 1), ("_%!x", 0), ("pAKETE", 1)]
    {
        let answer = ask(&mut reader, "X39", &Question { text: Some(text.into()), ..Question::default() });
        assert_eq!(answer.value("sessions").unwrap().value(), Some(f64::from(expected)), "{text}");
        assert_eq!(rows(&answer, "sessions").len(), expected as usize);
    }
}

#[test]
fn savings_are_those_of_the_lines() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = varied(folder.path());
    let mut reader = store.reader(LIMIT).unwrap();
    let mut question = Question::default();
    let answer = ask(&mut reader, "X6", &question);
    assert_eq!(answer.value("savings").unwrap().value(), None);
    assert!(answer.not_set_up.is_some());
    question.business.agent_minutes = Some(5.0);
    question.business.agent_minute_cost = Some(0.5);
    question.business.session_cost = Some(0.25);
    question.business.lines =
        ["issues=report_*,inform", "talk=greet,goodbye"].map(|line| line.parse().unwrap()).to_vec();
    let answer = ask(&mut reader, "X6", &question);
    assert_eq!(answer.not_set_up, None);
    let (mut contained, mut sessions, mut savings) = (0, 0, 0.0);
    for row in rows(&answer, "lines") {
        contained += row[1].integer();
        sessions += row[2].integer();
        savings += row[3].float().unwrap();
    }
    let names: Vec<Option<String>> =
        rows(&answer, "lines").iter().map(|row| texts(row, &[0])[0].clone()).collect();
    assert!(names.contains(&None) && names.contains(&Some("issues".into())) && names.len() == 3, "{names:?}");
    assert_eq!(answer.value("contained"), Some(Measure::Count(contained)));
    assert_eq!(answer.value("sessions"), Some(Measure::Count(sessions)));
    let total = answer.value("savings").unwrap().value().unwrap();
    assert!(
        (total - savings).abs() < 1e-6
            && (total - (2.5 * contained as f64 - 0.25 * sessions as f64)).abs() < 1e-6
    );
}

#[test]
fn the_ledger_by_source_adds_up_to_that_of_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = loaded(folder.path(), super::CALM);
    let mut reader = store.reader(LIMIT).unwrap();
    let answer = ask(&mut reader, "X38", &Question::default());
    let sources = rows(&answer, "sources");
    let sum = |column: usize| sources.iter().map(|row| row[column].integer()).sum::<i64>();
    let value = |name: &str| answer.value(name).and_then(|measure| measure.value()).unwrap() as i64;
    assert_eq!(sum(1), value("records"));
    assert_eq!(sum(3), value("duplicates"));
    assert_eq!(sum(1), sum(2) + sum(3) + sum(4) + sum(5));
    // Filters and ranges change nothing, and there is no series of it.
    let filters = Filters { channels: vec![Some("none".into())], ..Filters::default() };
    let over = turnmill_analytics::Over::Finest;
    let filtered = ask(&mut reader, "X38", &Question { filters, over, ..Question::default() });
    assert_eq!(filtered.value("records"), answer.value("records"));
    assert!(filtered.series.iter().all(|series| series.name != "records"));
}

//! Tests of the tools that answer questions: `conversations`, `show`, `export`, `sql`. Each on both
//! kinds of store, which give the same output.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use turnmill_embed::Loader;
use turnmill_model::tables::PUBLIC;
use turnmill_sql::views;
use turnmill_stores::AnyStore;
use turnmill_testbed::postgres;

use crate::support::{ran, turnmill, verify};

const PARCEL: &str = "rasa-oss-3.6/parcel/file-broker.jsonl.gz";
const HOSTILE: &str = "rasa-oss-3.6/hostile/file-broker.jsonl.gz";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

/// Returns stores of both kinds with a capture; only SQLite's if there is no PostgreSQL.
fn stores(capture: &str) -> (TempDir, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let mut stores = vec![format!("sqlite:{}", folder.path().join("rasa.sqlite").display())];
    stores.extend(postgres::database());
    for store in &stores {
        Loader::new(AnyStore::from_url(store).unwrap()).load_file(fixture(capture)).unwrap();
    }
    (folder, stores)
}

fn printed(command: Command) -> String {
    String::from_utf8(ran(command, 0).stdout).unwrap()
}

fn output(arguments: &[&str]) -> String {
    printed(turnmill(arguments))
}

fn json_of(arguments: &[&str]) -> Value {
    serde_json::from_str(output(arguments).trim()).unwrap()
}

fn error(arguments: &[&str], code: i32) -> String {
    String::from_utf8(ran(turnmill(arguments), code).stderr).unwrap()
}

/// Returns the outputs of all stores, after checking that they are equal.
#[track_caller]
fn same(stores: &[String], arguments: impl Fn(&str) -> Vec<String>) -> String {
    let outputs: Vec<String> = stores
        .iter()
        .map(|store| {
            let arguments = arguments(store);
            output(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
        })
        .collect();
    for other in &outputs[1..] {
        let differs = outputs[0].lines().zip(other.lines()).find(|(one, other)| one != other);
        assert!(*other == outputs[0], "{differs:?}");
    }
    outputs[0].clone()
}

fn words(text: &str) -> impl Fn(&str) -> Vec<String> {
    move |store| text.split_whitespace().map(|word| word.replace("STORE", store)).collect()
}

/// Returns the cells of CSV.
fn cells(csv: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let mut quoted = false;
    for c in csv.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                // Two quotes inside of a cell are one.
                if quoted && !cell.is_empty() {
                    cell.push('"');
                }
            }
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            c => cell.push(c),
        }
    }
    rows
}

/// Returns whether a text has a character that a terminal interprets, besides line feeds.
fn is_hostile(text: &str) -> bool {
    turnmill_text::escaped_lines(text).to_string() != text
}

#[test]
fn conversations_are_those_that_the_metrics_count() {
    let (_folder, stores) = stores(PARCEL);
    let csv = same(&stores, words("conversations STORE --format csv"));
    assert_eq!(
        csv.lines().next().unwrap(),
        "session_id,sender_key,started_at,duration_seconds,channel,environment,model_id,turns,ending,\
         first_intent,first_text"
    );
    let rows = cells(&csv);
    assert_eq!(rows.len(), 1 + 553, "one row for each conversation");
    assert!(rows.iter().all(|row| row.len() == 11));
    for store in &stores {
        for (options, count) in [
            ("--ending escalated", 31),
            ("--ending abandoned", 114),
            ("--ending escalated --ending unused", 48),
            ("--intent report_issue --since 2026-01-01 --tz Europe/Berlin", -1),
        ] {
            let ask = |command: &str| {
                let command = format!("{command} {options} --format json");
                json_of(&command.replace("STORE", store).split(' ').collect::<Vec<_>>())
            };
            let list = ask("conversations STORE");
            let metric = ask("report STORE R3");
            assert_eq!(list["total"], metric["values"]["sessions"]["value"], "{options}");
            assert_eq!(
                list["conversations"].as_array().map(Vec::len),
                list["total"].as_u64().map(|n| n as usize)
            );
            if count >= 0 {
                assert_eq!(list["total"], count, "{options}");
            }
            let sql = list["sql"][1]["sql"].as_str().unwrap();
            assert!(sql.contains("FROM ext_session"), "{sql}");
        }
    }
    // Filters of conversations, and the order.
    let turns = |text: &str| -> Vec<u64> {
        let csv = same(&stores, words(&format!("conversations STORE --format csv {text}")));
        cells(&csv).iter().skip(1).map(|row| row[7].parse().unwrap()).collect()
    };
    let longest = turns("--order turns --limit 20");
    assert!(longest.len() == 20 && longest.is_sorted_by(|a, b| a >= b), "{longest:?}");
    assert_eq!(turns("--order turns --limit 10 --offset 10"), longest[10..]);
    assert!(turns("--min-turns 3 --max-turns 4").iter().all(|turns| (3..=4).contains(turns)));
    assert!(turns("--missed").len() < 553 && !turns("--missed").is_empty());
    assert!(turns("--slower 2").len() < turns("--slower 0.5").len());
    assert!(turns("--text PARCEL").len() < 553 && !turns("--text PARCEL").is_empty());
    let table = same(&stores, words("conversations STORE --limit 2"));
    assert!(table.starts_with("553 conversations, 2 of them here (--limit, --offset)\n"), "{table}");
    assert_eq!(table.lines().count(), 4);
}

#[test]
fn a_transcript_has_everything_and_says_why_it_began_and_ended() {
    let (_folder, stores) = stores(PARCEL);
    let list =
        json_of(&["conversations", &stores[0], "--format", "json", "--order", "turns", "--limit", "1"]);
    let longest = &list["conversations"][0];
    let session = longest["session_id"].as_str().unwrap();
    let text = same(&stores, |store| ["show", store, session].map(Into::into).to_vec());
    let transcript: Value = serde_json::from_str(&same(&stores, |store| {
        ["show", store, session, "--json"].map(Into::into).to_vec()
    }))
    .unwrap();
    assert_eq!(transcript["session"], *longest);
    let turns = transcript["turns"].as_array().unwrap();
    let with_message: Vec<&Value> = turns.iter().filter(|turn| !turn["event_id"].is_null()).collect();
    assert_eq!(json!(with_message.len()), longest["turns"]);
    // The text has what the object has.
    assert!(text.contains(&format!("session   {session}\n")) && text.contains("\nbegan     "), "{text}");
    assert!(text.contains(&format!("ended     {}", transcript["ended"].as_str().unwrap())), "{text}");
    for turn in with_message {
        assert!(text.contains(turn["text"].as_str().unwrap()), "{turn}");
        if let Some(seconds) = turn["response"].as_f64() {
            assert!(text.contains(&format!("answered after {seconds:.3} s")), "{turn}");
        }
        for event in turn["events"].as_array().unwrap() {
            assert!(event["at"].as_str().is_some_and(|at| at >= turn["at"].as_str().unwrap()), "{event}");
            assert!(text.contains(event["name"].as_str().or(event["text"].as_str()).unwrap()), "{event}");
        }
    }
    // A sender has its sessions, oldest first.
    let sender = longest["sender_key"].as_str().unwrap();
    let of_sender = same(&stores, |store| ["show", store, sender, "--json"].map(Into::into).to_vec());
    let sessions: Vec<Value> = of_sender.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(sessions.len(), 1 + transcript["others"].as_array().unwrap().len());
    let starts: Vec<&str> =
        sessions.iter().map(|one| one["session"]["started_at"].as_str().unwrap()).collect();
    assert!(starts.is_sorted(), "{starts:?}");
    let newest =
        same(&stores, |store| ["show", store, sender, "--json", "--sessions", "1"].map(Into::into).to_vec());
    assert_eq!(serde_json::from_str::<Value>(&newest).unwrap(), *sessions.last().unwrap());
    let missing = error(&["show", &stores[0], "missing\u{1b}[31m"], 1);
    assert!(missing.contains("no session or sender `missing\\u{1b}[31m`"), "{missing}");
    assert!(!is_hostile(&missing));
}

#[test]
fn every_session_of_the_capture_began_by_a_rule() {
    let (_folder, stores) = stores(PARCEL);
    let mut reader =
        AnyStore::from_url(&stores[0]).unwrap().reader(std::time::Duration::from_secs(600)).unwrap();
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    pollster::block_on(async {
        let list = json_of(&["conversations", &stores[0], "--format", "json"]);
        for listed in list["conversations"].as_array().unwrap() {
            let session = listed["session_id"].as_str().unwrap();
            let conversation = turnmill_analytics::conversation(&mut reader, session).await.unwrap().unwrap();
            let reason = conversation.began.split([',', '.']).next().unwrap_or_default().to_owned();
            *reasons.entry(reason).or_default() += 1;
        }
    });
    // Rasa 3.6 writes no session ids, so every session begins at a boundary of Rasa's.
    let known = [
        "The assistant started a session (action_session_start)",
        "The sender has no event before it",
        "The user restarted the conversation (restart",
    ];
    assert!(reasons.keys().all(|reason| known.contains(&reason.as_str())), "{reasons:?}");
    assert!(known.iter().all(|reason| reasons.contains_key(*reason)), "{reasons:?}");
}

#[test]
fn exports_of_equal_stores_are_equal() {
    let (_folder, stores) = stores(PARCEL);
    let rows = verify(&stores[0]);
    for table in PUBLIC {
        let csv = same(&stores, words(&format!("export STORE {} --format csv", table.name)));
        let jsonl = output(&["export", &stores[0], table.name, "--format", "jsonl"]);
        let objects: Vec<Value> = jsonl.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(json!(objects.len()), rows["tables"][table.name]["rows"], "{}", table.name);
        let columns: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
        assert_eq!(csv.lines().next().unwrap(), columns.join(","), "{}", table.name);
        let ids: Vec<&str> = objects.iter().map(|object| object[columns[0]].as_str().unwrap()).collect();
        assert!(ids.is_sorted(), "{}", table.name);
        assert!(objects.iter().all(|object| object.as_object().unwrap().len() == columns.len()));
    }
    for view in views::ALL {
        let jsonl = same(&stores, words(&format!("export STORE {} --format jsonl", view.name)));
        for line in jsonl.lines().take(100) {
            let object: Value = serde_json::from_str(line).unwrap();
            for column in view.columns {
                let value = &object[column.name];
                assert!(value.is_null() || value.is_boolean() == column.is_truth(), "{} {line}", column.name);
            }
        }
    }
    // The name of a documented view over a table, and names that are none of these.
    assert!(output(&["export", &stores[0], "rasa_marker"]).starts_with("id,"));
    for name in ["_turnmill_history", "sqlite_master", "rasa_event; DROP TABLE rasa_event"] {
        let message = error(&["export", &stores[0], name], 1);
        assert!(message.contains("no table or view") && message.contains("turnmill_session"), "{message}");
    }
}

#[test]
fn statements_only_read_and_are_bounded() {
    let (folder, stores) = stores(PARCEL);
    let endings = "SELECT ending, count(*) AS sessions FROM turnmill_session GROUP BY 1 ORDER BY 2 DESC";
    let sql = |store: &str, sql: &str, options: &[&str]| {
        printed(turnmill(&[&["sql", store, sql], options].concat()))
    };
    for store in &stores {
        let csv = sql(store, endings, &["--format", "csv"]);
        assert_eq!(csv, "ending,sessions\nfinished,389\nabandoned,114\nescalated,31\nunused,17\nopen,2\n");
        let object: Value = serde_json::from_str(&sql(store, endings, &["--format", "json"])).unwrap();
        assert_eq!(object["columns"], json!(["ending", "sessions"]));
        assert_eq!((&object["rows"][0], &object["is_cut"]), (&json!(["finished", 389]), &json!(false)));
        // A bound, a remark and a semicolon at the end, two columns of one name.
        let cut = "SELECT id, id FROM rasa_event ORDER BY 1; -- all of them";
        let cut = ran(turnmill(&["sql", store, cut.trim_end_matches(" -- all of them"), "--limit", "3"]), 0);
        assert_eq!(String::from_utf8(cut.stdout).unwrap().lines().count(), 4);
        assert!(String::from_utf8(cut.stderr).unwrap().contains("more than these 3 rows (--limit)"));
        assert!(sql(store, "SELECT 1 AS one -- a remark", &["--format", "csv"]).starts_with("one\n1\n"));

        // The database refuses everything else.
        let before = verify(store);
        for statement in [
            "DELETE FROM rasa_event",
            "DELETE FROM rasa_event RETURNING id",
            "UPDATE rasa_event SET event_type = 'x'",
            "INSERT INTO rasa_user (id, user_id) VALUES ('a', 'a')",
            "WITH gone AS (DELETE FROM rasa_event RETURNING id) SELECT * FROM gone",
            "CREATE TABLE mine (a integer)",
            "DROP VIEW turnmill_session",
            "SELECT 1; DELETE FROM rasa_event",
            "SELECT 1) AS question (c0); DELETE FROM rasa_event; --",
            "SELECT nonsense FROM rasa_event",
            "BEGIN IMMEDIATE",
            "VACUUM FULL",
        ] {
            let message = error(&["sql", store, statement], 1);
            assert!(message.contains("the question is refused"), "{statement}: {message}");
        }
        assert_eq!(verify(store)["tables"], before["tables"]);
    }
    let file = folder.path().join("other.sqlite");
    for statement in [
        format!("ATTACH DATABASE '{}' AS other", file.display()),
        format!("VACUUM INTO '{}'", file.display()),
        "PRAGMA query_only = off".to_owned(),
        "PRAGMA journal_mode = delete".to_owned(),
        "PRAGMA wal_checkpoint(truncate)".to_owned(),
        "SELECT load_extension('other.so')".to_owned(),
    ] {
        let message = error(&["sql", &stores[0], &statement], 1);
        assert!(message.contains("the question is refused"), "{statement}: {message}");
    }
    assert!(!file.exists());
    assert!(output(&["sql", &stores[0], "PRAGMA table_info(rasa_event)"]).contains("event_type"));
    let endless = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT count(*) FROM n";
    let message = error(&["sql", &stores[0], endless, "--time-limit", "1"], 1);
    assert!(message.contains("took longer than 1 s"), "{message}");
    let Some(server) = stores.get(1) else { return };
    let message = error(&["sql", server, "SELECT pg_sleep(600) IS NULL AS slept", "--time-limit", "1"], 1);
    assert!(message.contains("took longer than 1 s"), "{message}");
    for statement in ["COPY (SELECT 1) TO PROGRAM 'cat'", "DO $$ BEGIN END $$", "SET TRANSACTION READ WRITE"]
    {
        let message = error(&["sql", server, statement], 1);
        assert!(message.contains("the question is refused"), "{statement}: {message}");
    }
    // Types that turnmill's tables do not have.
    let all = "SELECT 1.50::numeric AS a, ARRAY[1, 2] AS b, now() IS NULL AS c, '{\"k\": 1}'::jsonb AS d, \
               DATE '2026-12-01' AS e";
    assert_eq!(
        sql(server, all, &["--format", "csv"]),
        "a,b,c,d,e\n1.50,\"{1,2}\",false,\"{\"\"k\"\": 1}\",2026-12-01\n"
    );
    assert!(output(&["sql", server, "EXPLAIN SELECT 1"]).contains("Result"));
    assert!(output(&["sql", server, "SHOW server_version"]).contains("server_version"));
}

#[test]
fn the_sql_of_a_metric_has_its_values() {
    let (_folder, stores) = stores(PARCEL);
    for store in &stores {
        let text = output(&["sql", store, "R8", "--channel", "rest", "--since", "2026-01-01"]);
        assert!(text.starts_with("-- R8_containment: Containment rate\n"), "{text}");
        assert!(text.contains("\n-- value 1: \"") && text.contains("FROM ext_session"), "{text}");
        assert!(!text.contains("'rest'"), "values are bound: {text}");
        let answer = json_of(&[
            "report",
            store,
            "R8",
            "--channel",
            "rest",
            "--since",
            "2026-01-01",
            "--format",
            "json",
        ]);
        for query in answer["sql"].as_array().unwrap() {
            assert!(text.contains(query["sql"].as_str().unwrap()), "{query}");
        }
    }
    assert!(error(&["sql", &stores[0], "R99"], 2).contains("`R99` is no metric"));
}

#[test]
fn hostile_texts_are_texts() {
    let (_folder, stores) = stores(HOSTILE);
    let list = same(&stores, words("conversations STORE"));
    assert!(!is_hostile(&list));
    let csv = same(&stores, words("conversations STORE --format csv"));
    assert!(csv.contains("\"h-nl\nx\ty\""), "a pipe gets texts as they are");
    let mut shown = String::new();
    for store in &stores {
        for listed in
            json_of(&["conversations", store, "--format", "json"])["conversations"].as_array().unwrap()
        {
            let session = listed["session_id"].as_str().unwrap();
            let text = output(&["show", store, session]);
            assert!(!is_hostile(&text), "{session}");
            assert!(!is_hostile(&output(&["show", store, session, "--json"])));
            shown.push_str(&text);
        }
        assert!(!is_hostile(&output(&["export", store, "rasa_user_message", "--format", "jsonl"])));
        assert!(!is_hostile(&output(&["sql", store, "SELECT text FROM rasa_user_message ORDER BY 1"])));
        // A spreadsheet calculates no cell.
        let cells =
            output(&["sql", store, "SELECT '=1+2' AS a, '@x' AS b, '' AS c, NULL AS d", "--format", "csv"]);
        assert_eq!(cells, "a,b,c,d\n\"'=1+2\",\"'@x\",\"\",\n");
    }
    assert!(shown.contains("sender    h-nl\\nx\\ty\n"));
}

#[test]
fn a_store_that_is_not_there_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let missing = format!("sqlite:{}", folder.path().join("none.sqlite").display());
    let empty = folder.path().join("empty.sqlite");
    Loader::new(AnyStore::from_url(&format!("sqlite:{}", empty.display())).unwrap())
        .load_records("test", [""; 0])
        .unwrap();
    let empty = format!("sqlite:{}", empty.display());
    let unplugged = "postgresql://rasa@127.0.0.1:1/none";
    for arguments in [
        vec!["conversations"],
        vec!["show", "alice"],
        vec!["export", "rasa_event"],
        vec!["sql", "R8"],
        vec!["sql", "SELECT 1"],
    ] {
        let with = |store: &str, options: &[&str]| {
            let mut all = vec![arguments[0].to_owned(), store.to_owned()];
            all.extend(arguments[1..].iter().map(|argument| (*argument).to_owned()));
            all.extend(options.iter().map(|option| (*option).to_owned()));
            all
        };
        let run = |all: Vec<String>, code| error(&all.iter().map(String::as_str).collect::<Vec<_>>(), code);
        let message = run(with(&missing, &[]), 1);
        assert!(message.contains("does not exist"), "{arguments:?}: {message}");
        let message = run(with(unplugged, &["--wait", "0"]), 1);
        assert!(message.contains("database unavailable for 0"), "{arguments:?}: {message}");
        // Without a store and a configuration.
        let message = run(arguments.iter().map(|argument| (*argument).to_owned()).collect(), 1);
        assert!(message.contains("no store given"), "{arguments:?}: {message}");
        if arguments[0] != "show" {
            run(with(&empty, &[]), 0);
        }
    }
    assert!(!folder.path().join("none.sqlite").exists());
}

#[test]
fn the_configured_store_and_definitions_are_the_default() {
    let (folder, stores) = stores(PARCEL);
    let config = folder.path().join("turnmill.toml");
    let in_folder = |arguments: &[&str]| {
        let mut command = turnmill(arguments);
        command.current_dir(folder.path());
        command
    };
    let write = |analytics: &str| {
        let text = format!("[database]\nurl = {:?}\n[analytics]\n{analytics}", stores[0]);
        std::fs::write(&config, text).unwrap();
    };
    write("abandon_responses = []\ntime_zone = \"Asia/Kathmandu\"\n");
    // Abandoned are now only those with an open form.
    let abandoned = ["conversations", "--ending", "abandoned", "--format", "json"];
    let list: Value = serde_json::from_str(&printed(in_folder(&abandoned))).unwrap();
    assert_eq!(list["total"], 84);
    let answer: Value =
        serde_json::from_str(&printed(in_folder(&["report", "R3", "--by", "day", "--format", "json"])))
            .unwrap();
    assert_eq!(answer["filters"]["tz"], "Asia/Kathmandu");
    // Flags take precedence, and so does the environment over the file.
    let flags = [&abandoned[..], &["--abandon-responses", "utter_ask_*"]].concat();
    let list: Value = serde_json::from_str(&printed(in_folder(&flags))).unwrap();
    assert_eq!(list["total"], 114);
    let mut command = in_folder(&abandoned);
    command.env("TURNMILL_ANALYTICS_ABANDON_RESPONSES", "utter_ask_*");
    assert_eq!(serde_json::from_str::<Value>(&printed(command)).unwrap()["total"], 114);
    // A store on the command line is asked with the same definitions.
    let named = [&abandoned[..1], &[stores[0].as_str()], &abandoned[1..]].concat();
    assert_eq!(serde_json::from_str::<Value>(&printed(in_folder(&named))).unwrap()["total"], 84);
    write("abandon_response = []\n");
    let message = String::from_utf8(ran(in_folder(&["conversations"]), 1).stderr).unwrap();
    assert!(message.contains("turnmill.toml:4") && message.contains("abandon_responses"), "{message}");
}

#[test]
fn a_role_that_only_reads_the_public_tables_can_ask() {
    let Some(server) = postgres::shared() else { return };
    let Some(store) = postgres::database() else { return };
    Loader::new(AnyStore::from_url(&store).unwrap()).load_file(fixture(HOSTILE)).unwrap();
    let database = store.rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
    let role = format!("analyst_{}", database.replace(|c: char| !c.is_ascii_alphanumeric(), "_"));
    server.execute(&store, &format!("CREATE ROLE \"{role}\" LOGIN PASSWORD 'secret'"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/postgresql/grants.sql");
    let as_role = {
        let rest = store.split_once("//").unwrap().1;
        let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
        format!("postgresql://{role}:secret@{place}")
    };
    let denied = error(&["conversations", &as_role], 1);
    assert!(denied.contains("permission denied"), "{denied}");
    server.run_file(&store, script.to_str().unwrap(), &[("reader", &role)]);

    for arguments in [
        vec!["report"],
        vec!["conversations", "--format", "csv"],
        vec!["export", "rasa_event"],
        vec!["export", "turnmill_session", "--format", "jsonl"],
        vec!["sql", "SELECT count(*) FROM rasa_event"],
        vec!["sql", "R8"],
    ] {
        let with = |store: &str| {
            let mut all = vec![arguments[0], store];
            all.extend(&arguments[1..]);
            output(&all)
        };
        assert_eq!(with(&as_role), with(&store), "{arguments:?}");
    }
    let list = json_of(&["conversations", &as_role, "--format", "json", "--limit", "1"]);
    let session = list["conversations"][0]["session_id"].as_str().unwrap();
    assert_eq!(output(&["show", &as_role, session]), output(&["show", &store, session]));
    // The text of every event stays hidden.
    let message = error(&["sql", &as_role, "SELECT * FROM _turnmill_history"], 1);
    assert!(message.contains("permission denied"), "{message}");
    // A schema of another version is recognised by its columns.
    server.execute(&store, "ALTER TABLE ext_turn RENAME COLUMN response_us TO response");
    let message = error(&["report", &as_role], 1);
    assert!(message.contains("it lacks ext_turn.response_us"), "{message}");
    server.execute(&store, &format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\""));
}

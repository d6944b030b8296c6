//! Conversation logs of Amazon Lex from files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{json as answer, replay, run, turnmill};

fn bundled() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/lex-v2/bank.gz")
}

fn to(store: &Path) -> String {
    format!("sqlite:{}", store.display())
}

fn load(input: &Path, store: &Path, more: &[&str]) -> Command {
    let (input, to) = (input.to_str().unwrap(), to(store));
    replay(&[&[input, "--to", &to, "--json"], more].concat())
}

/// Returns the rows of a query.
fn query(store: &Path, sql: &str) -> Vec<Vec<Value>> {
    let connection = rusqlite::Connection::open(store).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    let value = |row: &rusqlite::Row<'_>, column| match row.get_unwrap::<_, rusqlite::types::Value>(column) {
        rusqlite::types::Value::Integer(number) => json!(number),
        rusqlite::types::Value::Real(number) => json!(number),
        rusqlite::types::Value::Text(text) => json!(text),
        _ => Value::Null,
    };
    let rows = statement.query_map([], |row| Ok((0..columns).map(|column| value(row, column)).collect()));
    rows.unwrap().map(Result::unwrap).collect()
}

#[test]
fn the_bundled_log_gives_what_its_generator_meant() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("lex.sqlite");
    let first = answer(load(&bundled(), &store, &[]), 0);
    assert_eq!(
        (&first["records"], &first["events"], &first["dead_letters"]),
        (&json!(109), &json!(109), &json!(0))
    );
    let rows = |sql: &str| json!(query(&store, sql));
    assert_eq!(rows("SELECT count(*) FROM rasa_session"), json!([[26]]));
    assert_eq!(rows("SELECT count(*) FROM rasa_sender"), json!([[23]]));
    assert_eq!(rows("SELECT count(*) FROM rasa_user_message"), json!([[109]]));
    assert_eq!(
        rows("SELECT outcome, count(*) FROM ext_session GROUP BY 1 ORDER BY 1"),
        json!([["dropped", 6], ["failed", 1], ["success", 19]])
    );
    assert_eq!(
        rows("SELECT intent, count(*) FROM rasa_user_message GROUP BY 1 ORDER BY 1"),
        json!([
            ["FallbackIntent", 10],
            ["Greet", 9],
            ["SendMoney", 44],
            ["ShowBalance", 32],
            ["TalkToAgent", 14]
        ])
    );
    assert_eq!(rows("SELECT count(*) FROM ext_message WHERE is_missed"), json!([[10]]));
    assert_eq!(rows("SELECT count(*) FROM ext_turn WHERE response_us IS NOT NULL"), json!([[0]]));
    assert_eq!(rows("SELECT DISTINCT locale FROM ext_session ORDER BY 1"), json!([["en-GB"], ["en-US"]]));

    let digest = |store: &Path| answer(turnmill(&["verify", &to(store), "--json"]), 0)["tables"].clone();
    let before = digest(&store);
    // Read again from its start, everything is known.
    let again = answer(load(&bundled(), &store, &["--source", "again"]), 0);
    assert_eq!((&again["events"], &again["duplicates"]), (&json!(0), &json!(109)));
    assert_eq!(digest(&store), before);
    // At its stored position there is nothing left.
    assert_eq!(answer(load(&bundled(), &store, &[]), 0)["records"], 0);
    // A rebuild from the history gives the same rows.
    run(turnmill(&["rebuild", &to(&store)]), 0);
    assert_eq!(digest(&store), before);
    run(turnmill(&["verify", &to(&store), "--thorough"]), 0);
}

const SECRET: &str = "bm90LWEtdG9rZW4";

#[test]
fn no_byte_of_a_store_has_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let (input, store) = (folder.path().join("log.jsonl"), folder.path().join("lex.sqlite"));
    let object = |attributes: Value| {
        json!({"timestamp": "2024-03-04T13:49:26.014Z", "sessionId": "s1", "requestId": "r1", "bot": {"id": "B"},
            "inputTranscript": "hi", "sessionState": {"sessionAttributes": attributes}})
        .to_string()
    };
    let token = format!("eyJ{SECRET}.{SECRET}.{SECRET}");
    let good = object(json!({"idtokenjwt": SECRET, "other": format!("Bearer {token}"), "username": "mira"}));
    let cut = &object(json!({"accesstoken": SECRET}))[..150];
    let lambda =
        json!({"invocationSource": "x", "sessionState": {"sessionAttributes": {"refreshtoken": SECRET}}});
    fs::write(&input, format!("{good}\n{cut}\n{lambda}\nnot JSON {token}\n")).unwrap();
    let output = run(load(&input, &store, &[]), 0);
    assert!(!String::from_utf8_lossy(&output.stdout).contains(SECRET));
    assert!(!String::from_utf8_lossy(&output.stderr).contains(SECRET));
    for file in fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()) {
        let bytes = fs::read(&file).unwrap();
        let found = bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
        assert_eq!(found, file == input, "{}", file.display());
    }
    let listed = run(turnmill(&["dead-letters", "show", &to(&store), "1", "2", "3", "--full"]), 0);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("[secret]"));
    let values = "SELECT value FROM rasa_session_slot_state ORDER BY name";
    assert_eq!(json!(query(&store, values)), json!([["\"[secret]\""], ["\"[secret]\""], ["\"mira\""]]));

    // Further patterns ask for a rebuild, which blanks what they match in the history.
    let keys = "*jwt,*token,username";
    let refused = run(load(&input, &store, &["--lex-blanked-keys", keys]), 1);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("lex_blanked_keys"), "{refused:?}");
    run(turnmill(&["rebuild", &to(&store), "--lex-blanked-keys", keys]), 0);
    assert_eq!(json!(query(&store, values)), json!([["\"[secret]\""], ["\"[secret]\""], ["\"[secret]\""]]));
    let again = answer(load(&input, &store, &["--lex-blanked-keys", keys, "--source", "again"]), 0);
    assert_eq!(
        (&again["events"], &again["duplicates"]),
        (&json!(0), &json!(1)),
        "its identity is the new one"
    );
}

#[test]
fn what_is_no_log_of_lex_v2_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content, says) in [
        ("event.json", r#"{"invocationSource": "DialogCodeHook", "sessionState": {}}"#, "Lambda event"),
        (
            "v1.jsonl",
            r#"{"messageVersion": "1.0", "botName": "b", "botAlias": "a", "userId": "u"}"#,
            "Lex V1",
        ),
        ("fields.csv", "@timestamp,sessionId\n2024-03-04 10:00:00.000,s1\n", "fields @timestamp, @message"),
    ] {
        let (input, store) = (folder.path().join(name), folder.path().join("lex.sqlite"));
        fs::write(&input, content).unwrap();
        let output = run(load(&input, &store, &[]), 1);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(says), "{name}: {text}");
        assert!(!store.exists());
    }
}

#[test]
fn a_file_that_ends_early_gives_its_whole_records_and_a_letter() {
    let folder = tempfile::tempdir().unwrap();
    let (input, store) = (folder.path().join("cut.gz"), folder.path().join("lex.sqlite"));
    let bytes = fs::read(bundled()).unwrap();
    fs::write(&input, &bytes[..bytes.len() - 300]).unwrap();
    let found = answer(load(&input, &store, &[]), 0);
    assert_eq!(found["dead_letters_by_reason"], json!({"truncated_gzip": 1}));
    assert!(found["events"].as_u64().unwrap() > 80, "{found}");
    assert_eq!(answer(load(&input, &store, &[]), 0)["records"], 0, "it is read once");
}

#[test]
fn a_decoder_may_be_named() {
    let folder = tempfile::tempdir().unwrap();
    let (input, store) = (folder.path().join("log.jsonl"), folder.path().join("lex.sqlite"));
    let object = r#"{"timestamp": "2024-03-04T13:49:26.014Z", "sessionId": "s1", "botId": "B"}"#;
    fs::write(&input, format!("text before it\n{object}\n")).unwrap();
    run(load(&input, &store, &[]), 1);
    let found = answer(load(&input, &store, &["--decoder", "lex"]), 0);
    assert_eq!((&found["events"], &found["dead_letters"]), (&json!(1), &json!(1)));
    let refused = run(load(&input, &store, &["--decoder", "lexx"]), 2);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("expected rasa or lex"), "{refused:?}");
}

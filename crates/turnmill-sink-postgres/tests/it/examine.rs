//! The examination finds damage.

use turnmill_ingest::examine;
use turnmill_sink_postgres::{ForeignKeys, PostgresStore};

use crate::arrange::filled;
use crate::support::{Schemas, block_on, execute, fatal, open};

#[test]
fn a_sound_store_is_sound_and_says_what_was_looked_at() {
    let Some(mut schemas) = Schemas::new() else { return };
    block_on(async {
        let mut store = filled(&mut schemas, 300, 1).await;
        let examined = examine(&mut store, false).await.unwrap();
        assert_eq!(examined.findings, Vec::<String>::new());
        assert!(examined.looked_at.iter().any(|part| part.contains("300 senders")), "{examined:?}");
        assert!(examined.left_out[0].contains("CREATE EXTENSION amcheck"), "{examined:?}");
        execute(&schemas.url, "CREATE EXTENSION amcheck SCHEMA public").unwrap();
        let examined = examine(&mut store, false).await.unwrap();
        assert_eq!((examined.findings.len(), examined.left_out.len()), (0, 0), "{examined:?}");
        assert!(examined.looked_at[0].contains("indexes, by amcheck"), "{examined:?}");
    });
}

#[test]
fn rows_that_somebody_has_removed_or_changed_are_missed() {
    let cases = [
        ("TRUNCATE rasa_event CASCADE", "events in the ledger: 75, but rows of rasa_event: 0"),
        ("DELETE FROM rasa_bot_message WHERE sequence_number % 2 = 0", "rows of rasa_bot_message"),
        ("DELETE FROM rasa_session", "rows of rasa_turn have a session_id that rasa_session lacks"),
        ("UPDATE rasa_slot SET event_id = 'x'", "rows of rasa_slot have a event_id that rasa_event lacks"),
        ("UPDATE _turnmill_timeline SET state = substr(state, 2)", "its state"),
        ("UPDATE _turnmill_history SET bytes = 'nonsense'", "a chunk of history cannot be read"),
        ("DELETE FROM _turnmill_history", "its history has events for 0 rows and rasa_event 25 rows"),
        ("DELETE FROM rasa_sender", "rasa_sender has no row of it"),
    ];
    for (damage, finding) in cases {
        let Some(schemas) = Schemas::new() else { return };
        let mut schemas = schemas.with_foreign_keys(ForeignKeys::None);
        block_on(async {
            let mut store = filled(&mut schemas, 3, 3).await;
            let schema = store.settings().schema().to_owned();
            schemas.execute(&schema, damage);
            let found = examine(&mut store, true).await.unwrap().findings.join("; ");
            assert!(found.contains(finding), "{damage}: {found}");
        });
    }
}

#[test]
fn what_the_service_cannot_work_with_is_said_before() {
    let Some(mut schemas) = Schemas::new() else { return };
    block_on(async {
        let settings = schemas.next();
        for schema in ["pg_mine", "information_schema", &"x".repeat(64), ""] {
            let message = fatal(PostgresStore::new(settings.clone().with_schema(schema)).survey().await);
            assert!(message.contains("TURNMILL_DB_SCHEMA"), "{message}");
        }
        assert!(PostgresStore::new(settings.clone()).survey().await.unwrap().problems.is_empty());
        let database = schemas.url.rsplit_once('/').unwrap().1.to_owned();
        execute(
            &schemas.url,
            &format!("ALTER DATABASE \"{database}\" SET default_transaction_read_only = on"),
        )
        .unwrap();
        let message = fatal(PostgresStore::new(settings.clone()).survey().await);
        assert!(message.contains("RESET default_transaction_read_only"), "{message}");
        fatal(open(&mut PostgresStore::new(settings)).await);
        let options = "TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'";
        let url = turnmill_testbed::postgres::database_with(options).unwrap();
        let problems = PostgresStore::new(url.parse().unwrap()).survey().await.unwrap().problems;
        assert!(problems[0].contains("LATIN1") && problems[0].contains("UTF8"), "{problems:?}");
    });
}

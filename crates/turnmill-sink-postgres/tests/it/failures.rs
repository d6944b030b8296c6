//! Failures of the server, and changes that others make to the tables.

use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::RowRules;
use turnmill_ingest::testkit::{Delivery, Driver, Fixture as _, OwnedRecord, conversation};
use turnmill_model::{Reason, SenderId, Settings};
use turnmill_sink::{Batch, Claim, Class, Inspect, SenderClaim, Store, Transaction};
use turnmill_sink_postgres::PostgresStore;
use turnmill_testbed::{or_skip, postgres};

use crate::contract::{senders, write};
use crate::support::{Schemas, block_on, execute, fatal, open, opened, retryable};

const OTHERS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
     WHERE application_name = 'turnmill' AND datname = current_database()";

#[test]
fn a_terminated_connection_is_made_again() {
    let Some(mut schemas) = Schemas::new() else { return };
    block_on(async {
        let mut store = opened(&mut schemas).await;
        let claim = Claim {
            senders: vec![SenderClaim { sender: SenderId::new(None, "a"), cached: None }],
            ..Claim::default()
        };
        // The server fails between transactions.
        execute(&schemas.url, OTHERS).unwrap();
        let mut tries = 0;
        while let Err(error) = write(&mut store, senders(1, 1, "a")).await {
            assert!(matches!(error.class(), Class::Retryable { .. }), "{error}");
            tries += 1;
            assert!(tries < 3, "one failure tells that the connection is gone: {error}");
        }
        // The server fails inside a transaction: before rows of either kind are written, and before
        // the commit.
        for count in [1, 500] {
            let mut tx = store.begin(&claim).await.unwrap();
            execute(&schemas.url, OTHERS).unwrap();
            retryable(tx.write(&senders(1000, count, "b")).await);
            drop(tx);
            let mut tx = store.begin(&claim).await.unwrap();
            tx.write(&senders(1000, count, "b")).await.unwrap();
            execute(&schemas.url, OTHERS).unwrap();
            retryable(tx.commit().await);
        }
        let rows = match store.digests().await {
            Ok(digests) => digests.tables["rasa_sender"].rows,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(rows, 1, "nothing of what failed is there");
    });
}

#[test]
fn a_server_that_crashes_and_comes_back_costs_nothing() {
    // Commits have to be on the disk before they are answered, as they are by default.
    let options = postgres::Options { durable: true, ..postgres::Options::default() };
    let Some(server) = or_skip(postgres::Server::start(&options)) else { return };
    block_on(async {
        let url = server.create_database("crash");
        let mut store = PostgresStore::new(url.parse().unwrap());
        open(&mut store).await.unwrap();
        write(&mut store, senders(1, 100, "a")).await.unwrap();
        let claim = Claim::default();
        let mut tx = store.begin(&claim).await.unwrap();
        tx.write(&senders(1000, 100, "b")).await.unwrap();
        server.kill();
        retryable(tx.commit().await);
        retryable(store.begin(&claim).await.map(drop));
        server.start_again();
        write(&mut store, senders(2000, 100, "c")).await.unwrap();
        assert_eq!(store.digests().await.unwrap().tables["rasa_sender"].rows, 200);
    });
}

#[test]
fn codes_have_their_classes() {
    let Some(mut schemas) = Schemas::new() else { return };
    block_on(async {
        let mut store = opened(&mut schemas).await;
        let schema = store.settings().schema().to_owned();
        schemas.execute(
            &schema,
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
               RAISE 'as told' USING ERRCODE = current_setting('test.code'); END $$; \
             CREATE TRIGGER refuse BEFORE INSERT ON rasa_sender FOR EACH ROW EXECUTE PROCEDURE refuse()",
        );
        let retry = Class::Retryable { after: None };
        for (code, class) in [
            ("53100", retry),
            ("53200", retry),
            ("40001", retry),
            ("40P01", retry),
            ("55P03", retry),
            ("57014", retry),
            ("25006", retry),
            ("08006", retry),
            ("23514", Class::Poison),
            ("23505", Class::Poison),
            ("22001", Class::Poison),
            ("P0001", Class::Poison),
            ("54000", Class::Poison),
            ("42501", Class::Fatal),
            ("42P01", Class::Fatal),
            ("XX000", Class::Fatal),
        ] {
            for count in [1, 100] {
                let database = schemas.url.rsplit_once('/').unwrap().1;
                execute(&schemas.url, &format!("ALTER DATABASE \"{database}\" SET test.code = '{code}'"))
                    .unwrap();
                open(&mut store).await.unwrap();
                let error = write(&mut store, senders(1, count, "a")).await.unwrap_err();
                assert_eq!(error.class(), class, "{code}: {error}");
                assert!(error.to_string().contains(code), "{error}");
            }
        }
        schemas.execute(&schema, "DROP TRIGGER refuse ON rasa_sender");
        write(&mut store, senders(1, 1, "a")).await.unwrap();
        schemas.execute(&schema, "DROP TABLE _turnmill_history");
        open(&mut store).await.unwrap();
        let chunk = turnmill_sink::Chunk {
            number: 1,
            least: turnmill_model::EventTime::from_seconds(1e9).unwrap(),
            greatest: turnmill_model::EventTime::from_seconds(1e9).unwrap(),
            bytes: Vec::new(),
        };
        let history =
            vec![turnmill_sink::HistoryWrite { sender: SenderId::new(None, "a"), chunk, replaces: false }];
        let message = fatal(write(&mut store, Batch { history, ..Batch::default() }).await);
        assert!(message.contains("TURNMILL_DB_SCHEMA"), "{message}");
    });
}

/// Delivers a conversation of which one message is refused, with a row of what refuses it.
fn one_is_refused(refusal: &str) {
    let Some(mut schemas) = Schemas::new() else { return };
    let lines = conversation("u1", 12, 1_656_382_549.5);
    let given: Vec<OwnedRecord> = lines.iter().map(|line| OwnedRecord::body(line.as_bytes())).collect();
    block_on(async {
        let rules = RowRules::new(&Settings::default(), RasaDecoder::new);
        let url = schemas.url.clone();
        let mut driver = Driver::new(&mut schemas, &rules, 1, 1 << 20).await;
        execute(&url, &format!("SET search_path TO \"Schema 1\"; {refusal}")).unwrap();
        let report =
            driver.deliver(&Delivery { records: given.iter().collect(), ..Delivery::default() }).await;
        assert_eq!((report.counts.dead_letters, report.counts.events), (1, lines.len() as i64 - 1));
        let letters = driver.store().dead_letters(0, 10).await.unwrap();
        assert_eq!(letters[0].reason, Reason::RefusedByStore);
        assert!(letters[0].payload.windows(9).any(|part| part == b"message 7"));
        assert_eq!(driver.digests().await.tables["rasa_user_message"].rows, 11);
    });
}

#[test]
fn a_check_refuses_one_record() {
    one_is_refused("ALTER TABLE rasa_user_message ADD CHECK (text <> 'message 7')");
}

#[test]
fn a_trigger_refuses_one_record() {
    one_is_refused(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$; \
         CREATE TRIGGER refuse BEFORE INSERT ON rasa_user_message FOR EACH ROW WHEN (NEW.text = 'message 7') \
         EXECUTE PROCEDURE refuse()",
    );
}

#[test]
fn a_constraint_that_is_deferred_to_the_commit_refuses_one_record() {
    one_is_refused(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$; \
         CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON rasa_user_message DEFERRABLE INITIALLY DEFERRED \
         FOR EACH ROW WHEN (NEW.text = 'message 7') EXECUTE PROCEDURE refuse()",
    );
}

#[test]
fn a_changed_table_is_no_reason_to_stop() {
    let Some(mut schemas) = Schemas::new() else { return };
    block_on(async {
        let mut store = opened(&mut schemas).await;
        let schema = store.settings().schema().to_owned();
        for round in 0..3 {
            write(&mut store, senders(1 + round, 1, &format!("a{round}"))).await.unwrap();
            schemas.execute(
                &schema,
                &format!("ALTER TABLE rasa_sender ADD COLUMN extra_{round} int; ANALYZE rasa_sender"),
            );
            store.digests().await.unwrap();
        }
        let mut again = schemas.connect(&store);
        open(&mut again).await.unwrap();
        assert_eq!(again.digests().await.unwrap(), store.digests().await.unwrap());
    });
}

//! Which databases can be opened, and the messages about the others.

use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::testkit::{Fixture as _, NoLetters, conversation};
use turnmill_ingest::{Accounting, Arrivals, Ingest, RowRules};
use turnmill_model::{SessionIdMode, Settings};
use turnmill_sink::{Batch, Claim, Inspect, Store, StoreError, Transaction};
use turnmill_sink_postgres::{PostgresSettings, PostgresStore};
use turnmill_sql::migrations::{MIGRATIONS, SCHEMA_VERSION};
use turnmill_sql::{Dialect, References};

use crate::support::{Schemas, block_on, execute, fatal, open, opened, retryable};

#[test]
fn making_a_store_connects_to_nothing() {
    block_on(async {
        let nowhere: PostgresSettings = "postgres://user@127.0.0.1:1/none".parse().unwrap();
        let mut store = PostgresStore::new(nowhere);
        assert!(fatal(store.digests().await).contains("is not open"));
        assert!(retryable(open(&mut store).await).contains("127.0.0.1:1"));
        let unknown: PostgresSettings = "postgres://user@no.such.host.invalid/none".parse().unwrap();
        retryable(open(&mut PostgresStore::new(unknown)).await);
    });
}

#[test]
fn opening_again_changes_nothing() {
    let Some(mut schemas) = Schemas::new() else { return };
    block_on(async {
        let store = opened(&mut schemas).await;
        let state = "SELECT sum(oid::bigint)::text || count(*) FROM pg_class; \
                     SELECT number || name || applied_at FROM _turnmill_migrations";
        let schema = store.settings().schema().to_owned();
        let before = schemas.execute(&schema, state);
        open(&mut schemas.connect(&store)).await.unwrap();
        // A user who may not touch the schema finds nothing missing either.
        let without = store.settings().clone().with_migrations(false);
        open(&mut PostgresStore::new(without)).await.unwrap();
        assert_eq!(schemas.execute(&schema, state), before);
        assert_eq!(before.len(), 1 + MIGRATIONS.len());
    });
}

#[test]
fn without_migrations_the_error_says_what_is_missing() {
    let Some(mut schemas) = Schemas::new() else { return };
    block_on(async {
        let settings = schemas.next().with_migrations(false);
        let message = fatal(open(&mut PostgresStore::new(settings.clone())).await);
        assert!(message.contains("no schema `Schema 1`"), "{message}");
        assert!(message.contains("RUN_ANALYTICS_DB_MIGRATIONS"), "{message}");
        execute(&schemas.url, "CREATE SCHEMA \"Schema 1\"").unwrap();
        let message = fatal(open(&mut PostgresStore::new(settings.clone())).await);
        assert!(message.contains("has no tables of turnmill"), "{message}");
        assert_eq!(
            schemas.execute("Schema 1", "SELECT relname FROM pg_class WHERE relname LIKE '%turnmill%'").len(),
            0
        );
        open(&mut PostgresStore::new(settings.clone().with_migrations(true))).await.unwrap();
        schemas.execute("Schema 1", "UPDATE _turnmill_meta SET value = '1' WHERE name = 'schema_version'");
        let message = fatal(open(&mut PostgresStore::new(settings)).await);
        assert!(
            message.contains(
                "lacks migration 2 (columns for assistants and sources), 3 (indexes and foreign keys), "
            ),
            "{message}"
        );
    });
}

#[test]
fn a_newer_store_is_refused_and_left_alone() {
    let Some(mut schemas) = Schemas::new() else { return };
    block_on(async {
        let store = opened(&mut schemas).await;
        let schema = store.settings().schema().to_owned();
        schemas.execute(
            &schema,
            &format!(
                "UPDATE _turnmill_meta SET value = '{}' WHERE name = 'schema_version'",
                SCHEMA_VERSION + 1
            ),
        );
        for settings in [
            store.settings().clone(),
            store.settings().clone().with_migrations(false),
            store.settings().clone().with_read_only(true),
        ] {
            let error = open(&mut PostgresStore::new(settings)).await.unwrap_err();
            let newer = |found: u32| found == SCHEMA_VERSION + 1;
            assert!(
                matches!(error, StoreError::Newer { found, known: SCHEMA_VERSION } if newer(found)),
                "{error}"
            );
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    });
}

#[test]
fn a_failed_migration_leaves_nothing() {
    let Some(mut schemas) = Schemas::new() else { return };
    block_on(async {
        let settings = schemas.next();
        // An index of turnmill's name on another table is found only when it is built.
        execute(
            &schemas.url,
            "CREATE SCHEMA \"Schema 1\"; CREATE TABLE \"Schema 1\".other (a int); \
             CREATE INDEX idx_rasa_session_sender_seq ON \"Schema 1\".other (a)",
        )
        .unwrap();
        let message = fatal(open(&mut PostgresStore::new(settings)).await);
        assert!(message.contains("creating the tables"), "{message}");
        let tables =
            "SELECT relname FROM pg_class WHERE relnamespace = '\"Schema 1\"'::regnamespace ORDER BY 1";
        assert_eq!(schemas.execute("Schema 1", tables), ["idx_rasa_session_sender_seq", "other"]);
    });
}

#[test]
fn several_that_start_at_once_wait_for_each_other() {
    let Some(mut schemas) = Schemas::new() else { return };
    for round in 0..3 {
        let settings = schemas.next();
        block_on(async {
            let starters = (0..4).map(|_| {
                let mut store = PostgresStore::new(settings.clone());
                tokio::spawn(async move { open(&mut store).await })
            });
            for starter in starters.collect::<Vec<_>>() {
                starter.await.unwrap().unwrap();
            }
        });
        let applied = schemas.execute(settings.schema(), "SELECT count(*) FROM _turnmill_migrations");
        assert_eq!(applied, [MIGRATIONS.len().to_string()], "round {round}");
    }
}

#[test]
fn tables_of_the_closed_product_are_recognised_and_left_alone() {
    let Some(mut schemas) = Schemas::new() else { return };
    block_on(async {
        for table in ["alembic_version", "_rasa_raw_event", "rasa_event", "rasa_something_new"] {
            let settings = schemas.next();
            let schema = settings.schema().to_owned();
            execute(
                &schemas.url,
                &format!("CREATE SCHEMA \"{schema}\"; CREATE TABLE \"{schema}\".{table} (id int)"),
            )
            .unwrap();
            for settings in [settings.clone(), settings.with_migrations(false)] {
                let message = fatal(open(&mut PostgresStore::new(settings)).await);
                for part in [table, "TURNMILL_DB_SCHEMA", "RASA_ANALYTICS_DB_URL", "replaying"] {
                    assert!(message.contains(part), "{message}");
                }
            }
            let found = schemas.execute(
                &schema,
                &format!("SELECT relname FROM pg_class WHERE relnamespace = '\"{schema}\"'::regnamespace"),
            );
            assert_eq!(found, [table]);
        }
        // Beside them there is room.
        open(&mut PostgresStore::new(schemas.next())).await.unwrap();
        // Tables of others are no obstacle, in `public` neither.
        execute(&schemas.url, "CREATE TABLE public.orders (id int)").unwrap();
        open(&mut PostgresStore::new(schemas.settings("public"))).await.unwrap();
    });
}

#[test]
fn other_settings_and_privileges_are_named() {
    let Some(mut schemas) = Schemas::new() else { return };
    block_on(async {
        let store = opened(&mut schemas).await;
        let other = Settings { session_id: SessionIdMode::Off, ..Settings::default() };
        assert!(fatal(schemas.connect(&store).open(&other).await).contains("session_id"));
        let url = &schemas.url;
        let database = url.rsplit_once('/').unwrap().1;
        let role = format!("weak_{}", database.replace('-', "_"));
        execute(url, &format!("CREATE ROLE {role} LOGIN PASSWORD 'weak'")).unwrap();
        let weak = url.replacen("postgres:turnmill-secret@", &format!("{role}:weak@"), 1);
        if weak != *url {
            let settings: PostgresSettings = weak.parse().unwrap();
            let message = fatal(open(&mut PostgresStore::new(settings.clone().with_schema("new one"))).await);
            assert!(message.contains("creating the schema") && message.contains("42501"), "{message}");
            let message = fatal(open(&mut PostgresStore::new(settings.with_schema("Schema 1"))).await);
            assert!(message.contains("grant"), "{message}");
            let wrong: PostgresSettings = weak.replace(":weak@", ":wrong@").parse().unwrap();
            let message = fatal(open(&mut PostgresStore::new(wrong)).await);
            assert!(message.contains("password") && message.contains("RASA_ANALYTICS_DB_URL"), "{message}");
            assert!(!message.contains("wrong@"), "{message}");
            let none: PostgresSettings = weak.replace(":weak@", "@").parse().unwrap();
            assert!(fatal(open(&mut PostgresStore::new(none)).await).contains("password"));
        }
        let absent: PostgresSettings = format!("{url}_absent").parse().unwrap();
        assert!(fatal(open(&mut PostgresStore::new(absent)).await).contains("create the database"));
        execute(url, &format!("DROP ROLE {role}")).unwrap();
    });
}

#[test]
fn the_documented_privileges_are_enough() {
    let Some(mut schemas) = Schemas::new() else { return };
    block_on(async {
        opened(&mut schemas).await;
        let url = schemas.url.clone();
        let role = format!("writer_{}", url.rsplit_once('/').unwrap().1);
        let weak = url.replacen("postgres:turnmill-secret@", &format!("{role}:word@"), 1);
        if weak == url {
            return turnmill_testbed::skip("the server has another superuser than the tests know");
        }
        execute(
            &url,
            &format!(
                "CREATE ROLE \"{role}\" LOGIN PASSWORD 'word'; GRANT USAGE ON SCHEMA \"Schema 1\" TO \"{role}\"; \
                 GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA \"Schema 1\" TO \"{role}\""
            ),
        )
        .unwrap();
        let settings: PostgresSettings = weak.parse().unwrap();
        let mut store = PostgresStore::new(settings.with_schema("Schema 1"));
        let settings = Settings::default();
        store.open(&settings).await.unwrap();
        let rules = RowRules::new(&settings, RasaDecoder::new);
        let lines = conversation("u1", 20, 1_656_382_549.5);
        let mut ingest = Ingest::new(&rules, 1 << 20);
        // On time, then late ones that delete and update rows, and what cannot be read.
        for part in [&lines[60..], &lines[..60], &["not JSON".to_owned()]] {
            let mut arrivals = Arrivals::default();
            for line in part {
                let record = turnmill_model::Record { payload: line.as_bytes(), ..Default::default() };
                arrivals.push(rules.decoders(), record);
            }
            let accounting = Accounting::Source("test");
            ingest.ingest(&mut store, &arrivals, &[], &accounting, &NoLetters).await.unwrap();
        }
        assert_eq!(store.ledger().await.unwrap()[0].counts.dead_letters, 1);
        assert_eq!(store.digests().await.unwrap().tables["rasa_event"].rows, lines.len() as u64);
        drop(store);
        execute(&url, &format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\"")).unwrap();
    });
}

#[test]
fn a_store_can_be_looked_at_without_knowing_its_settings() {
    let Some(mut schemas) = Schemas::new() else { return };
    block_on(async {
        let settings = Settings { bare_slot_strings: true, ..Settings::default() };
        let mut store = schemas.create();
        let mut looking = PostgresStore::new(store.settings().clone().with_read_only(true));
        assert!(fatal(looking.open_as_it_is().await).contains("no schema"));
        assert!(fatal(looking.open(&settings).await).contains("open it once for writing"));
        store.open(&settings).await.unwrap();
        assert_eq!(looking.open_as_it_is().await.unwrap(), settings);
        assert!(looking.positions().await.unwrap().is_empty());
        let claim = Claim::default();
        let mut tx = looking.begin(&claim).await.unwrap();
        assert!(fatal(tx.write(&Batch::default()).await).contains("for reading only"));
        drop(tx);
        store.open(&settings).await.unwrap();
    });
}

#[test]
fn the_tables_are_as_documented() {
    let Some(mut schemas) = Schemas::new() else { return };
    block_on(async {
        let store = opened(&mut schemas).await;
        let schema = store.settings().schema();
        for table in turnmill_model::tables::PUBLIC {
            let columns = schemas.execute(
                schema,
                &format!(
                    "SELECT column_name FROM information_schema.columns WHERE table_schema = '{schema}' \
                     AND table_name = '{}' ORDER BY ordinal_position",
                    table.name
                ),
            );
            let expected: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
            assert_eq!(columns, expected, "{}", table.name);
        }
        let indexes = schemas
            .execute(schema, &format!("SELECT indexname FROM pg_indexes WHERE schemaname = '{schema}'"));
        let public = indexes.iter().filter(|name| !name.ends_with("_pkey"));
        let mut found: Vec<&str> = public.map(String::as_str).collect();
        found.sort_unstable();
        let expected = turnmill_sql::indexes::all(Dialect::Postgres, References::None);
        let mut expected: Vec<&str> = expected.iter().map(|index| index.name.as_str()).collect();
        expected.sort_unstable();
        assert_eq!(found, expected);
    });
}

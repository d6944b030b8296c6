//! Indexes and foreign keys of stores that are in use.

use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::testkit::{Delivery, Driver, OwnedRecord, conversation};
use turnmill_ingest::{Ingest, RowRules};
use turnmill_model::tables::{EVENT_ERROR, PUBLIC};
use turnmill_model::{SessionIdMode, Settings};
use turnmill_sink::{Inspect, Upkeep};
use turnmill_sink_postgres::{ForeignKeys, PostgresStore, SchemaFound};
use turnmill_sql::internal;

use crate::support::{Schemas, block_on, fatal, open};

const INDEXES: &str = "SELECT replace(indexdef, schemaname, '') FROM pg_indexes \
     WHERE schemaname = current_schema() ORDER BY indexname";
const CONSTRAINTS: &str = "SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) \
     FROM pg_constraint WHERE connamespace = quote_ident(current_schema())::regnamespace ORDER BY 1";
const COLLATIONS: &str = "SELECT attrelid::regclass || ' ' || attname || ' ' || collname FROM pg_attribute \
     JOIN pg_collation AS l ON l.oid = attcollation JOIN pg_class AS c ON c.oid = attrelid \
     WHERE relkind = 'r' AND relnamespace = quote_ident(current_schema())::regnamespace ORDER BY 1";

/// A store with conversations of `senders` senders, `turns` turns each, in a schema of its own.
pub(crate) async fn filled(schemas: &mut Schemas, senders: u32, turns: usize) -> PostgresStore {
    filled_from(schemas, senders, turns, 0).await
}

/// The same without the first `skipped` events of each conversation.
pub(crate) async fn filled_from(
    schemas: &mut Schemas,
    senders: u32,
    turns: usize,
    skipped: usize,
) -> PostgresStore {
    let settings = Settings::default();
    let rules = RowRules::new(&settings, RasaDecoder::new).with_checkpoint_every(8);
    let conversations = (0..senders).map(|number| {
        let start = 1_656_382_549.5 + f64::from(number) * 0.003;
        conversation(&format!("u{number}"), turns, start).into_iter().skip(skipped)
    });
    let given: Vec<OwnedRecord> = conversations.flatten().map(OwnedRecord::body).collect();
    let mut driver = Driver::new(schemas, &rules, 1, 1 << 20).await;
    for part in given.chunks(2000) {
        driver.deliver(&Delivery { records: part.iter().collect(), ..Delivery::default() }).await;
    }
    drop(driver);
    let mut store = PostgresStore::new(schemas.settings(&schemas.made().last().unwrap()));
    open(&mut store).await.unwrap();
    store
}

/// A schema as version 1 had it, with the rows of `present`. Returns a store that is not open.
fn of_version_1(schemas: &mut Schemas, present: &PostgresStore) -> PostgresStore {
    let (from, settings) = (present.settings().schema(), schemas.next());
    let schema = settings.schema().to_owned();
    let mut script = format!("CREATE SCHEMA \"{schema}\"; SET search_path TO \"{schema}\";");
    script.push_str(include_str!("../data/version-1.sql"));
    // Version 5 added the tables of facts.
    let public = PUBLIC
        .into_iter()
        .filter(|table| !table.is_extension())
        .chain([&EVENT_ERROR])
        .map(|table| (table.name, table.columns.iter().map(|column| column.name).collect::<Vec<_>>()));
    // Version 4 added these.
    let of_version_1 = |table: &&&internal::InternalTable| {
        !table.name.starts_with("_turnmill_outbox") && table.name != "_turnmill_sink"
    };
    let own = internal::ALL
        .iter()
        .filter(of_version_1)
        .map(|table| (table.name, table.columns.iter().map(|column| column.name).collect()));
    for (table, mut columns) in public.chain(own) {
        // Versions 2 and 5 added these.
        columns.retain(|column| !["assistant", "changed", "record_row", "facts", "parts"].contains(column));
        let columns = columns.iter().map(|column| format!("\"{column}\"")).collect::<Vec<_>>().join(", ");
        script
            .push_str(&format!("INSERT INTO {table} ({columns}) SELECT {columns} FROM \"{from}\".{table};"));
    }
    script.push_str(
        "UPDATE _turnmill_meta SET value = '1' WHERE name = 'schema_version'; \
         DELETE FROM _turnmill_migrations WHERE number > 1",
    );
    schemas.execute("public", &script);
    PostgresStore::new(settings)
}

fn catalog(schemas: &Schemas, store: &PostgresStore) -> Vec<String> {
    let schema = store.settings().schema();
    let found = schemas.execute(schema, &format!("{INDEXES}; {CONSTRAINTS}; {COLLATIONS}"));
    found.into_iter().map(|line| line.replace(schema, "")).collect()
}

#[test]
fn a_store_of_version_1_becomes_like_a_new_one_and_keeps_its_rows() {
    for foreign_keys in [ForeignKeys::Auto, ForeignKeys::Declared, ForeignKeys::None] {
        let Some(schemas) = Schemas::english() else { return };
        let mut schemas = schemas.with_foreign_keys(foreign_keys);
        block_on(async {
            let mut present = filled(&mut schemas, 3, 20).await;
            let mut old = of_version_1(&mut schemas, &present);
            let SchemaFound::Store { pending, .. } = old.survey().await.unwrap().schema else { panic!() };
            assert_eq!(pending.len(), 6, "{pending:?}");
            assert!(pending[0].contains("2 (columns for assistants and sources)"), "{pending:?}");
            assert!(pending[1].contains("3 (indexes and foreign keys)"), "{pending:?}");
            assert!(pending[2].contains("4 (tables for sinks)"), "{pending:?}");
            assert!(pending[3].contains("5 (senders of several formats)"), "{pending:?}");
            assert!(pending[4].contains("6 (tables of facts)"), "{pending:?}");
            assert!(pending[5].contains("7 (keys of history and states): builds an index"), "{pending:?}");
            assert!(pending[1].contains("idx_rasa_event_session_seq"), "{pending:?}");
            assert!(pending[1].contains("idx_rasa_event_pattern_query"), "{pending:?}");
            let said = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
            let told = std::sync::Arc::clone(&said);
            old = old.with_notices(move |text| told.lock().unwrap().push(text.to_owned()));
            open(&mut old).await.unwrap();
            let said = said.lock().unwrap().join("; ");
            assert!(said.contains("building idx_rasa_event_session_seq on rasa_event"), "{said}");
            assert!(said.contains("dropping idx_rasa_event_stack_query"), "{said}");
            assert_eq!(catalog(&schemas, &old), catalog(&schemas, &present), "{foreign_keys:?}");
            let (migrated, expected) = (old.digests().await.unwrap(), present.digests().await.unwrap());
            for table in PUBLIC {
                let (migrated, expected) = (&migrated.tables[table.name], &expected.tables[table.name]);
                if table.is_extension() {
                    assert_eq!(migrated.rows, 0, "{}: a rebuild fills it", table.name);
                } else {
                    assert_eq!(migrated, expected, "{}", table.name);
                }
            }
            // Nothing is left of what other ids replace.
            let rows = old.digests().await.unwrap().tables["rasa_session_slot_state"].rows;
            let settings = Settings { session_id: SessionIdMode::Off, ..Settings::default() };
            let rules = RowRules::new(&settings, RasaDecoder::new);
            let mut ingest = Ingest::new(&rules, 0);
            old.begin_rebuild(&settings).await.unwrap();
            let senders = old.senders(None, 100).await.unwrap();
            ingest.rebuild(&mut old, &senders, Some("x")).await.unwrap();
            old.end_rebuild(&settings).await.unwrap();
            assert_eq!(old.digests().await.unwrap().tables["rasa_session_slot_state"].rows, rows);
        });
    }
}

#[test]
fn what_an_interrupted_migration_has_left_is_finished() {
    let Some(mut schemas) = Schemas::new() else { return };
    block_on(async {
        let present = filled(&mut schemas, 1, 2).await;
        let mut old = of_version_1(&mut schemas, &present);
        // Leaves an unfinished index, a finished one, a dropped one of an earlier version, and half
        // of the keys.
        let schema = old.settings().schema().to_owned();
        schemas.execute(
            &schema,
            "CREATE INDEX idx_rasa_event_session_seq ON rasa_event (session_id, sequence_number); \
             UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_rasa_event_session_seq'::regclass; \
             CREATE INDEX idx_rasa_markers_session ON rasa_markers (session_id); \
             DROP INDEX idx_rasa_event_stack_query; ALTER TABLE rasa_slot DROP CONSTRAINT rasa_slot_event_id_fkey",
        );
        open(&mut old).await.unwrap();
        assert_eq!(catalog(&schemas, &old), catalog(&schemas, &present));
        let valid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid";
        assert_eq!(schemas.execute(&schema, valid), ["0"]);
    });
}

#[test]
fn foreign_keys_can_be_added_and_dropped_later() {
    let Some(mut schemas) = Schemas::new() else { return };
    block_on(async {
        let store = filled(&mut schemas, 3, 20).await;
        let with = |keys| PostgresStore::new(store.settings().clone().with_foreign_keys(keys));
        let fresh = PostgresStore::new(schemas.next().with_foreign_keys(ForeignKeys::Declared));
        let mut fresh = fresh;
        open(&mut fresh).await.unwrap();
        let plain = catalog(&schemas, &store);
        let to_come = with(ForeignKeys::Declared).survey().await.unwrap().to_arrange;
        let done = with(ForeignKeys::Declared).arrange().await.unwrap();
        assert_eq!(to_come, done);
        assert!(done.iter().any(|line| line.contains("foreign keys, checked")), "{done:?}");
        assert_eq!(catalog(&schemas, &store), catalog(&schemas, &fresh));
        assert!(with(ForeignKeys::Declared).arrange().await.unwrap().is_empty());
        with(ForeignKeys::None).arrange().await.unwrap();
        with(ForeignKeys::Auto).arrange().await.unwrap();
        assert_eq!(catalog(&schemas, &store), plain);
        // A row that refers to nothing is named, and what was begun can be taken back.
        let schema = store.settings().schema().to_owned();
        schemas.execute(&schema, "UPDATE rasa_slot SET event_id = 'nowhere' WHERE name = 'amount'");
        let message = fatal(with(ForeignKeys::Declared).arrange().await);
        assert!(
            message.contains("rasa_slot_event_id_fkey") && message.contains("turnmill verify"),
            "{message}"
        );
        with(ForeignKeys::Auto).arrange().await.unwrap();
        assert_eq!(catalog(&schemas, &store), plain);
    });
}

#[test]
fn a_view_that_is_in_the_way_is_named() {
    let Some(mut schemas) = Schemas::english() else { return };
    block_on(async {
        let present = filled(&mut schemas, 1, 2).await;
        let mut old = of_version_1(&mut schemas, &present);
        let schema = old.settings().schema().to_owned();
        schemas.execute(&schema, "CREATE VIEW last_values AS SELECT id, value FROM rasa_session_slot_state");
        let message = fatal(open(&mut old).await);
        assert!(message.contains("last_values") && message.contains("drop"), "{message}");
        schemas.execute(&schema, "DROP VIEW last_values");
        open(&mut old).await.unwrap();
    });
}

//! Rows that the database refuses, and the error of a transaction that fails.

use std::sync::Arc;

use turnmill_engine::Patterns;
use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::testkit::{NoLetters, conversation};
use turnmill_ingest::{Accounting, Arrivals, Ingest, RemadeSender, RowRules};
use turnmill_model::{Record, SenderId, Settings};
use turnmill_sink::{Claim, Inspect, SenderClaim, Store, Upkeep};
use turnmill_sink_postgres::{ForeignKeys, PostgresSettings, PostgresStore};

use crate::support::{Schemas, block_on, execute, fatal, opened};

/// Ingests conversations of which some messages are refused, in one batch.
async fn ingested(store: &mut PostgresStore, senders: usize, turns: usize, refused: usize) -> (i64, i64) {
    let settings = Settings::default();
    let rules = RowRules::new(&settings, RasaDecoder::new);
    let mut ingest = Ingest::new(&rules, 1 << 20);
    let mut left = refused;
    let lines: Vec<String> = (0..senders)
        .flat_map(|number| conversation(&format!("u{number}"), turns, 1_656_382_549.5 + number as f64))
        .map(|line| {
            let hit = left > 0 && line.contains(r#""text": "ok""#);
            left -= usize::from(hit);
            if hit { line.replace(r#""text": "ok""#, r#""text": "refuse me""#) } else { line }
        })
        .collect();
    let mut arrivals = Arrivals::default();
    for line in &lines {
        arrivals.push(rules.decoders(), Record { payload: line.as_bytes(), ..Record::default() });
    }
    // Ingests once, without retries.
    let report = ingest.ingest(store, &arrivals, &[], &Accounting::Source("test"), &NoLetters).await.unwrap();
    (report.counts.dead_letters, report.counts.events)
}

#[test]
fn a_refused_row_costs_its_record_at_the_first_attempt_however_many_rows_there_are() {
    // With few rows an INSERT is refused, with or without a COPY of another table after it; with
    // many a COPY.
    for (senders, turns, refused) in
        [(1, 40, 1), (1, 64, 1), (1, 200, 1), (20, 1, 1), (20, 10, 7), (64, 1, 3)]
    {
        for keys in [ForeignKeys::Auto, ForeignKeys::Declared] {
            let Some(schemas) = Schemas::new() else { return };
            let mut schemas = schemas.with_foreign_keys(keys);
            block_on(async {
                let mut store = opened(&mut schemas).await;
                let schema = store.settings().schema().to_owned();
                schemas.execute(&schema, "ALTER TABLE rasa_bot_message ADD CHECK (text <> 'refuse me')");
                let (letters, events) = ingested(&mut store, senders, turns, refused).await;
                assert_eq!(letters, refused as i64);
                let all = conversation("u", turns, 1.0).len() * senders;
                assert_eq!(events as usize, all - refused, "{senders} senders, {turns} turns");
                assert_eq!(store.dead_letters(0, 100).await.unwrap().len(), refused);
                assert_eq!(store.digests().await.unwrap().tables["rasa_event"].rows, events as u64);
            });
        }
    }
}

#[test]
fn a_character_that_the_encoding_lacks_costs_its_record() {
    let options = "TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'";
    let Some(url) = turnmill_testbed::postgres::database_with(options) else { return };
    block_on(async {
        let mut store = PostgresStore::new(url.parse().unwrap());
        store.open(&Settings::default()).await.unwrap();
        let settings = Settings::default();
        let rules = RowRules::new(&settings, RasaDecoder::new);
        let mut ingest = Ingest::new(&rules, 1 << 20);
        let lines = conversation("u1", 80, 1_656_382_549.5);
        let mut arrivals = Arrivals::default();
        let lines: Vec<String> = lines.iter().map(|line| line.replace("message 40", "\u{1F600}")).collect();
        for line in &lines {
            arrivals.push(rules.decoders(), Record { payload: line.as_bytes(), ..Record::default() });
        }
        let report =
            ingest.ingest(&mut store, &arrivals, &[], &Accounting::Source("test"), &NoLetters).await.unwrap();
        assert_eq!((report.counts.dead_letters, report.counts.events), (1, lines.len() as i64 - 1));
    });
}

#[test]
fn the_first_error_of_a_transaction_is_told() {
    let Some(mut schemas) = Schemas::new() else { return };
    block_on(async {
        let mut store = opened(&mut schemas).await;
        ingested(&mut store, 1, 3, 0).await;
        let role = format!("reader_{}", schemas.url.rsplit_once('/').unwrap().1);
        let weak = schemas.url.replacen("postgres:turnmill-secret@", &format!("{role}:word@"), 1);
        if weak == schemas.url {
            return turnmill_testbed::skip("the server has another superuser than the tests know");
        }
        let schema = store.settings().schema().to_owned();
        schemas.execute(
            &schema,
            &format!(
                "CREATE ROLE \"{role}\" LOGIN PASSWORD 'word'; GRANT USAGE ON SCHEMA \"{schema}\" TO \"{role}\"; \
                 GRANT SELECT, UPDATE, DELETE ON ALL TABLES IN SCHEMA \"{schema}\" TO \"{role}\""
            ),
        );
        let settings: PostgresSettings = weak.parse().unwrap();
        let mut reader = PostgresStore::new(settings.with_schema(schema));
        reader.open(&Settings::default()).await.unwrap();
        let claim = Claim {
            senders: vec![SenderClaim { sender: SenderId::new(None, "new"), cached: None }],
            ..Claim::default()
        };
        let message = fatal(reader.begin(&claim).await.map(drop));
        assert!(message.contains("42501") && message.contains("_turnmill_timeline"), "{message}");
        // A survey needs no more than read privileges.
        schemas.execute(
            reader.settings().schema(),
            &format!(
                "REVOKE INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA \"{}\" FROM \"{role}\"",
                reader.settings().schema()
            ),
        );
        let mut looking = PostgresStore::new(reader.settings().clone().with_read_only(true));
        let settings = looking.open_as_it_is().await.unwrap();
        looking.open(&settings).await.unwrap();
        let rules = RowRules::new(&settings, RasaDecoder::new);
        let ingest = Ingest::new(&rules, 0);
        let senders = looking.senders(None, 100).await.unwrap();
        let mut events = 0;
        let mut show = |look: RemadeSender<'_>| events += look.events;
        ingest.remake_rows(&mut looking, &senders, Arc::new(Patterns::default()), &mut show).await.unwrap();
        assert_eq!(events, looking.digests().await.unwrap().tables["rasa_event"].rows);
        assert!(events > 20);
        drop((reader, looking));
        execute(&schemas.url, &format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\"")).unwrap();
    });
}

#[test]
fn a_state_that_lacks_stored_rows_is_damage_at_the_first_attempt() {
    let Some(mut schemas) = Schemas::new() else { return };
    block_on(async {
        let mut store = opened(&mut schemas).await;
        let schema = store.settings().schema().to_owned();
        let rules = RowRules::new(&Settings::default(), RasaDecoder::new);
        let mut arrivals = Arrivals::default();
        let lines = conversation("u1", 2, 1_656_382_549.5);
        for line in &lines {
            arrivals.push(rules.decoders(), Record { payload: line.as_bytes(), ..Record::default() });
        }
        let mut ingest = Ingest::new(&rules, 1 << 20);
        let accounting = Accounting::Source("test");
        ingest.ingest(&mut store, &arrivals, &[], &accounting, &NoLetters).await.unwrap();
        schemas.execute(&schema, "DELETE FROM _turnmill_timeline");
        ingest.clear_cache();
        let text = fatal(ingest.ingest(&mut store, &arrivals, &[], &accounting, &NoLetters).await);
        assert!(text.contains("turnmill verify"), "{text}");
    });
}

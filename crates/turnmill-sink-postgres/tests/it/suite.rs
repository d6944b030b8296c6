//! Runs the conformance suite under either order of texts, with checked references and with the
//! default ones.

use turnmill_ingest::testkit::{outbox_suite, suite, upkeep_suite};
use turnmill_sink_postgres::ForeignKeys;

use crate::support::{Schemas, block_on};

fn conforms(schemas: Option<Schemas>, foreign_keys: ForeignKeys) {
    let Some(schemas) = schemas else { return };
    let mut schemas = schemas.with_foreign_keys(foreign_keys);
    block_on(suite(&mut schemas));
    block_on(upkeep_suite(&mut schemas));
    block_on(outbox_suite(&mut schemas));
    let rows: usize = schemas
        .made()
        .map(|schema| schemas.execute(&schema, "SELECT count(*) FROM rasa_event"))
        .map(|rows| rows[0].parse::<usize>().unwrap())
        .sum();
    assert!(rows > 1000, "the suite has written something: {rows}");
}

#[test]
fn the_store_conforms() {
    conforms(Schemas::new(), ForeignKeys::Auto);
}

#[test]
fn the_store_conforms_with_checked_references() {
    conforms(Schemas::new(), ForeignKeys::Declared);
}

#[test]
fn the_store_conforms_under_the_order_of_a_language() {
    conforms(Schemas::english(), ForeignKeys::Auto);
}

#[test]
fn the_store_conforms_under_the_order_of_a_language_with_checked_references() {
    conforms(Schemas::english(), ForeignKeys::Declared);
}

#[test]
fn the_store_conforms_under_a_collation_of_icu() {
    conforms(Schemas::icu(), ForeignKeys::Auto);
}

#[test]
fn the_store_conforms_under_a_collation_of_icu_with_checked_references() {
    conforms(Schemas::icu(), ForeignKeys::Declared);
}

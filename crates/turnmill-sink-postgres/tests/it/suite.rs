//! The conformance suite.

use turnmill_sink::testkit::{suite, upkeep_suite};

use crate::support::{Schemas, block_on};

#[test]
fn the_store_conforms() {
    let Some(mut schemas) = Schemas::new() else { return };
    block_on(suite(&mut schemas));
    block_on(upkeep_suite(&mut schemas));
    let rows: usize = schemas
        .made()
        .map(|schema| schemas.execute(&schema, "SELECT count(*) FROM rasa_event"))
        .map(|rows| rows[0].parse::<usize>().unwrap())
        .sum();
    assert!(rows > 1000, "the suite has written something: {rows}");
}

//! The memory store and the conformance suite.

use turnmill_ingest::testkit::{Memory, outbox_suite, suite, upkeep_suite};

#[test]
fn the_memory_store_passes_the_suite() {
    pollster::block_on(suite(&mut Memory));
    pollster::block_on(upkeep_suite(&mut Memory));
    pollster::block_on(outbox_suite(&mut Memory));
}

//! The memory store, as the suite takes stores.

use super::Fixture;
use turnmill_sink::MemoryStore;

/// The fixture of [`MemoryStore`]: for its own tests, and to compare other stores with.
#[derive(Debug)]
pub struct Memory;

impl Fixture for Memory {
    type Store = MemoryStore;

    fn create(&mut self) -> MemoryStore {
        MemoryStore::default()
    }

    fn connect(&mut self, store: &MemoryStore) -> MemoryStore {
        store.clone()
    }

    fn fail_after(&mut self, store: &mut MemoryStore, statements: Option<u64>) {
        store.fail_after(statements);
    }

    fn refuse_text(&mut self, store: &mut MemoryStore, text: Option<&str>) {
        store.refuse_text(text);
    }
}

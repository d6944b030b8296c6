//! Packs the history of records that arrived, before their transaction.

use std::collections::HashMap;

use turnmill_model::Decoders;

use crate::arrivals::{Arrivals, Packed};
use crate::groups::{Item, grouped};
use crate::history::{Entries, Entry};

impl Arrivals<'_> {
    /// Packs the events as the history will keep them. Without this call
    /// [`ingest`](crate::Ingest::ingest) packs them. A call on the decoding thread saves that time
    /// on the writing one.
    pub fn pack(&mut self, decoders: &Decoders) {
        let nothing = HashMap::new();
        let mut chunks = HashMap::new();
        for mut group in grouped(self, |_| true) {
            group.settle(self, decoders, &nothing);
            let entries: Vec<Entry<'_>> = group.items.iter().map(Item::entry).collect();
            let events = entries.len();
            let packed = Entries(entries).chunks();
            chunks.insert(group.sender, (events, packed));
        }
        self.packed = Some(Packed { chunks });
    }
}

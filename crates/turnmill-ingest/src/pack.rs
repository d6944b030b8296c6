//! Packing what the history keeps of records that arrived, ahead of their transaction.

use std::collections::HashMap;

use turnmill_model::Decoder;

use crate::arrivals::{Arrivals, Packed};
use crate::groups::{Item, grouped};
use crate::history::{Entries, Entry};

impl Arrivals<'_> {
    /// Packs what the history will keep of them, as read by `decoder`. [`ingest`](crate::Ingest::ingest) does it unless it is done;
    /// on the thread that decodes it costs the one that writes nothing.
    pub fn pack(&mut self, decoder: &dyn Decoder) {
        let nothing = HashMap::new();
        let mut chunks = HashMap::new();
        for mut group in grouped(self, |_| true) {
            group.settle(self, decoder, &nothing);
            let entries: Vec<Entry<'_>> = group.items.iter().map(Item::entry).collect();
            let events = entries.len();
            let packed = Entries { decoder: decoder.name(), entries }.chunks();
            chunks.insert(group.sender, (events, packed));
        }
        self.packed = Some(Packed { decoder: decoder.name(), chunks });
    }
}

//! Uses a store without a database. Records come in arbitrary order and twice, and one of them is
//! broken. The tables are those of the records in order.
//!
//! ```text
//! cargo run -p turnmill-ingest --example memory_store
//! ```
//!
//! Everything here works with any [`Store`]; `MemoryStore` is the one that needs no set-up.
//! `turnmill-pipeline` adds reading files, reading ahead and retries.

#![allow(clippy::print_stdout, reason = "it is a program that prints")]

use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::{Accounting, Arrivals, Ingest, MakeDeadLetter, RowRules};
use turnmill_model::{PartitionId, Record, Refused, Settings};
use turnmill_sink::{Advance, DeadLetter, Inspect, LedgerEntry, MemoryStore, Store, StoreError};

const RECORDS: [&str; 6] = [
    r#"{"sender_id": "ada", "event": "user", "timestamp": 1656382550.30, "text": "where is my parcel?"}"#,
    r#"{"sender_id": "ada", "event": "bot", "timestamp": 1656382550.41, "text": "What is its code?"}"#,
    r#"{"sender_id": "ada", "event": "user", "timestamp": 1656382560.02, "text": "PX-17"}"#,
    // Late: its time is before that of all the others.
    r#"{"sender_id": "ada", "event": "action", "timestamp": 1656382549.10, "name": "action_session_start"}"#,
    // A duplicate.
    r#"{"sender_id": "ada", "event": "bot", "timestamp": 1656382550.41, "text": "What is its code?"}"#,
    "half a rec",
];

/// Knows where the records of a batch came from, for their dead letters.
struct Here<'r> {
    key: &'r PartitionId,
    /// Number of the batch's first record.
    first: usize,
}

impl MakeDeadLetter for Here<'_> {
    fn dead_letter(&self, record: usize, refused: &Refused) -> DeadLetter {
        let record = self.first + record;
        let payload = RECORDS[record].as_bytes();
        let given = Record { payload, ..Record::default() };
        DeadLetter::new(self.key, &record.to_string(), &given, refused)
    }
}

async fn run() -> Result<(), StoreError> {
    let settings = Settings::default();
    let rules = RowRules::new(&settings, RasaDecoder::new);
    let mut store = MemoryStore::default();
    let opened = store.open(&settings).await?;
    let mut ingest = Ingest::new(&rules, 1 << 20);

    // One transaction for each record, so that the late one finds the others stored already.
    let key = PartitionId { source: "example".into(), partition: "records".into() };
    let mut from = opened.position(&key).map(str::to_owned);
    for (number, record) in RECORDS.iter().enumerate() {
        let mut arrivals = Arrivals::default();
        arrivals.push(rules.decoders(), Record { payload: record.as_bytes(), ..Record::default() });
        let to = (number + 1).to_string();
        // The step is committed only onto this position. A second writer with another position is
        // fenced.
        let advance = Advance { key: key.clone(), from: from.take(), to: to.clone() };
        let letters = Here { key: &key, first: number };
        let accounting = Accounting::Source(&key.source);
        let report = ingest.ingest(&mut store, &arrivals, &[advance], &accounting, &letters).await?;
        println!(
            "record {to}: {} tables change, late: {}, {:?}",
            report.rows.len(),
            report.late,
            report.counts
        );
        from = Some(to);
    }

    println!();
    for (name, table) in store.digests().await?.tables {
        if table.rows > 0 {
            println!("{:>3}  {name:<24} {table}", table.rows);
        }
    }
    for letter in store.dead_letters(0, 10).await? {
        println!(
            "dead letter {} ({}): {}",
            letter.id,
            letter.reason,
            String::from_utf8_lossy(&letter.payload)
        );
    }
    for LedgerEntry { source, counts } in store.ledger().await? {
        println!("{source}: {counts:?}; adds up: {}", counts.adds_up());
    }
    Ok(())
}

fn main() -> Result<(), StoreError> {
    pollster::block_on(run())
}

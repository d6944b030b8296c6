//! A store of your own: one JSON file, which each transaction replaces.
//!
//! ```text
//! cargo run -p turnmill-examples --bin custom_store -- rasa_event.log rasa.json
//! ```
//!
//! A transaction works on a copy of the file's map, and commits by renaming a new file over the old
//! one. The store allows one writer at a time. It keeps no checkpoints, so a late event replays the
//! sender's whole history. The loader handles duplicates, late events and retries, as for every
//! store.
#![allow(clippy::print_stdout, reason = "it is a program that prints")]

use serde::{Deserialize, Deserializer};
use serde_json::{Value as Json, json};
use turnmill_embed::model::tables::{RASA_USER, Value};
use turnmill_embed::model::{Key, SenderId, SessionId, TableChanges};
use turnmill_embed::sink::{
    Batch, Chunk, Claim, EventLookup, HistoryPage, HistoryRequest, Locked, Opened, StoredCopies,
    StoredPosition,
};
use turnmill_embed::{Loader, PartitionId, Settings, Store, StoreError, Transaction};

type Map = std::collections::BTreeMap<String, Json>;
type Result<T, E = StoreError> = std::result::Result<T, E>;

struct JsonStore(std::path::PathBuf, Map, Settings);
struct JsonTransaction<'s>(Map, &'s mut JsonStore, &'s Claim);

fn away(error: std::io::Error) -> StoreError {
    StoreError::Unavailable { detail: "the JSON file".into(), source: Some(error.into()) }
}

fn read<'j, T: Deserialize<'j>>(json: impl Deserializer<'j, Error = serde_json::Error>) -> Result<T> {
    T::deserialize(json).map_err(|error| StoreError::Damaged { detail: error.to_string() })
}

fn below(map: &Map, prefix: String) -> impl Iterator<Item = &Json> {
    map.range(prefix.clone()..).take_while(move |(key, _)| key.starts_with(&prefix)).map(|(_, json)| json)
}

impl Store for JsonStore {
    type Tx<'s> = JsonTransaction<'s>;

    async fn open(&mut self, settings: &Settings) -> Result<Opened> {
        if self.0.exists() {
            self.1 = read(&mut serde_json::Deserializer::from_slice(&std::fs::read(&self.0).map_err(away)?))?;
        }
        // Rows of other settings would not fit the stored ones.
        let stored = self.1.entry("settings".into()).or_insert(json!(settings));
        turnmill_embed::sink::check_settings(&read(&*stored)?, settings)?;
        self.2 = settings.clone();
        let stored = |json| {
            let (source, partition, position) = read(json)?;
            Ok(StoredPosition { key: PartitionId { source, partition }, position })
        };
        Ok(Opened { positions: below(&self.1, "position/".into()).map(stored).collect::<Result<_>>()? })
    }

    async fn patterns(&mut self) -> Result<turnmill_embed::sink::PatternSet> {
        Ok(turnmill_embed::sink::PatternSet::default())
    }

    async fn begin<'s>(&'s mut self, claim: &'s Claim) -> Result<JsonTransaction<'s>> {
        for advance in &claim.advances {
            advance.check(
                self.1.get(&format!("position/{}", advance.key)).and_then(|stored| stored[2].as_str()),
            )?;
        }
        Ok(JsonTransaction(self.1.clone(), self, claim))
    }
}

fn write_rows(map: &mut Map, changes: &TableChanges<'_>) {
    let key = |id: &str| format!("row/{}/{id}", changes.table.name);
    for rows in [changes.inserts, changes.updates] {
        for row in 0..rows.len() {
            let columns = 0..changes.table.columns.len();
            let mut row: Vec<Json> = columns.map(|column| json_of(rows.value(row, column))).collect();
            let key = key(row[0].as_str().unwrap_or_default());
            // Senders may share a user, whose row widens. The times sort as texts.
            if let (true, Some(stored)) = (*changes.table == RASA_USER, map.get(&key)) {
                row[2] = json!(stored[2].as_str().min(row[2].as_str()));
                row[3] = json!(stored[3].as_str().max(row[3].as_str()));
            }
            map.insert(key, Json::Array(row));
        }
    }
    for end in changes.ends {
        let column = changes.table.column("end_sequence_number").unwrap_or_default();
        map.entry(key(&end.id.to_string())).and_modify(|row| row[column] = json!(end.end_sequence_number));
    }
    for deleted in changes.deletes {
        map.remove(&match deleted {
            Key::Id(id) => key(&id.to_string()),
            Key::Path(path) => key(changes.texts.get(*path)),
        });
    }
}

fn json_of(value: Value<'_>) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Id(id) => json!(id.to_string()),
        Value::Text(text) => json!(text),
        Value::Integer(integer) => json!(integer),
        Value::Float(float) => json!(float),
        Value::DateTime(time) => json!(time.to_string()),
        Value::Boolean(boolean) => json!(boolean),
    }
}

impl Transaction for JsonTransaction<'_> {
    fn settings(&self) -> &Settings {
        &self.1.2
    }

    fn patterns_revision(&self) -> u64 {
        0
    }

    async fn timelines(&mut self) -> Result<Vec<Locked>> {
        let stored = self.2.senders.iter().map(|claim| self.0.get(&format!("timeline/{}", claim.sender)));
        let loaded = |json| read(json).map(|(version, state)| Locked::Loaded { version, state });
        stored.map(|json| json.map_or(Ok(Locked::Absent), loaded)).collect()
    }

    async fn known(&mut self, lookups: &[EventLookup]) -> Result<Vec<StoredCopies>> {
        let key = |id| format!("row/rasa_event/{id}");
        let known = |EventLookup { sender, key: event }: &EventLookup| {
            let rows = self.0.range(key(event.first())..=key(event.last())).map(|(_, row)| row);
            let mine = rows.filter(|row| row[1] == json!(sender));
            Ok(StoredCopies { ids: mine.map(|row| read(&row[0])).collect::<Result<_>>()? })
        };
        lookups.iter().map(known).collect()
    }

    async fn session_owners(&mut self, ids: &[SessionId]) -> Result<Vec<Option<SenderId>>> {
        let row = |id| self.0.get(&format!("row/rasa_session/{id}"));
        ids.iter().map(|id| row(id).map(|row| read(&row[1])).transpose()).collect()
    }

    async fn histories(&mut self, requests: &[HistoryRequest]) -> Result<Vec<HistoryPage>> {
        let chunk = |json| {
            read(json).map(|(number, least, greatest, bytes)| Chunk { number, least, greatest, bytes })
        };
        let page = |sender| {
            let mut chunks: Vec<_> =
                below(&self.0, format!("chunk/{sender}/")).map(chunk).collect::<Result<_>>()?;
            chunks.sort_by_key(|chunk| (chunk.least, chunk.number));
            Ok(HistoryPage { chunks, ..HistoryPage::default() })
        };
        requests.iter().map(|request| page(request.sender)).collect()
    }

    async fn write(&mut self, batch: &Batch) -> Result<()> {
        let map = &mut self.0;
        batch.changes.for_each_table(|changes| write_rows(map, &changes));
        for write in &batch.timelines {
            map.insert(format!("timeline/{}", write.sender), json!((write.version, &write.state)));
        }
        for write in &batch.history {
            let Chunk { number, least, greatest, bytes } = &write.chunk;
            map.insert(format!("chunk/{}/{number}", write.sender), json!((number, least, greatest, bytes)));
        }
        for (id, letter) in (below(map, "letter/".into()).count()..).zip(&batch.dead_letters) {
            map.insert(format!("letter/{id}"), json!((letter.reason.as_str(), &letter.payload)));
        }
        for (source, added) in &batch.ledger {
            let count = map.entry(format!("records/{source}")).or_default();
            *count = json!(count.as_i64().unwrap_or_default() + added.records);
        }
        for advance in &self.2.advances {
            let (key, to) = (&advance.key, &advance.to);
            map.insert(format!("position/{key}"), json!((&key.source, &key.partition, to)));
        }
        Ok(())
    }

    async fn commit(self) -> Result<()> {
        let Self(map, JsonStore(path, stored, _), _) = self;
        std::fs::write(path.with_extension("new"), json!(map).to_string()).map_err(away)?;
        std::fs::rename(path.with_extension("new"), path).map_err(away)?;
        *stored = map;
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, input, output] = &arguments[..] else { return Err("usage: custom_store INPUT OUTPUT".into()) };
    let loaded = Loader::new(JsonStore(output.into(), Map::new(), Settings::default())).load_file(input)?;
    let (counts, late) = (loaded.report.counts, loaded.report.late);
    println!("{} new events, {} duplicates, {late} late", counts.events, counts.duplicates);
    Ok(())
}

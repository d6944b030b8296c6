//! The memory store as a fixture.

use turnmill_ingest::testkit::{Memory, outbox_suite, suite, upkeep_suite};
use turnmill_oracle::Tables;
use turnmill_sink::{MemoryStore, OwnedValue};

/// The store's public tables, as the oracle has them.
pub(crate) fn tables(store: &MemoryStore) -> Tables {
    let mut tables = Tables::new();
    for table in turnmill_model::tables::PUBLIC {
        let mut rows: Vec<Vec<turnmill_oracle::OwnedValue>> = store
            .rows(table.name)
            .into_values()
            .map(|row| {
                row.iter()
                    .zip(table.columns)
                    .map(|(value, column)| match (value, column.ty) {
                        (OwnedValue::Text(id), turnmill_model::tables::ColumnType::Id) => {
                            turnmill_oracle::OwnedValue::Id(uuid::Uuid::parse_str(id).unwrap())
                        }
                        (value, _) => value.as_value().into(),
                    })
                    .collect()
            })
            .collect();
        rows.sort();
        tables.insert(table.name, rows);
    }
    tables
}

#[test]
fn the_memory_store_passes_the_suite() {
    pollster::block_on(suite(&mut Memory));
    pollster::block_on(upkeep_suite(&mut Memory));
    pollster::block_on(outbox_suite(&mut Memory));
}

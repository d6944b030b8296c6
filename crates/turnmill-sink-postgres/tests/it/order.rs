//! The order in which a batch's rows reach the server.

use crate::arrange::filled_from;
use crate::support::{Schemas, block_on};

/// Counts the rows whose id is less than that of the row stored before it: `0 of 512`.
fn descents(table: &str) -> String {
    format!(
        "SELECT count(*) FILTER (WHERE id < before) || ' of ' || count(*) FROM \
         (SELECT id COLLATE \"C\" AS id, lag(id COLLATE \"C\") OVER (ORDER BY ctid) AS before FROM {table}) AS rows"
    )
}

#[test]
fn the_rows_of_a_batch_are_written_in_the_order_of_their_ids() {
    let Some(mut schemas) = Schemas::new() else { return };
    block_on(async {
        // Writes eight simultaneous conversations in one batch. Sender by sender, the order of time
        // would break seven times.
        let store = filled_from(&mut schemas, 8, 12, 0).await;
        let schema = store.settings().schema().to_owned();
        for table in ["rasa_event", "rasa_action", "rasa_slot"] {
            let found = schemas.execute(&schema, &descents(table)).concat();
            let rows: u32 =
                found.strip_prefix("0 of ").unwrap_or_else(|| panic!("{table}: {found}")).parse().unwrap();
            assert!(rows >= 64, "{table} has {rows} rows, which are not copied");
        }
    });
}

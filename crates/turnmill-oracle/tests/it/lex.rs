//! The reference of Lex on generated logs: what they cover, and that order does not show.

use std::collections::BTreeSet;

use turnmill_model::{Record, Settings, tables};
use turnmill_oracle::generate::OwnedRecord;
use turnmill_oracle::{OwnedValue, Tables, diff, lex};

fn of(records: &[OwnedRecord]) -> turnmill_oracle::Oracle {
    let borrowed: Vec<Record<'_>> = records.iter().map(OwnedRecord::as_record).collect();
    lex::tables(&Settings::default(), &borrowed)
}

fn values(tables: &Tables, table: &str, column: &str, into: &mut BTreeSet<String>) {
    let place = tables::public(table).unwrap().column(column).unwrap();
    into.extend(tables[table].iter().map(|row| match &row[place] {
        OwnedValue::Text(text) => text.clone(),
        other => format!("{other:?}"),
    }));
}

#[test]
fn generated_logs_have_every_kind_of_row() {
    let columns = [
        ("ext_dialog_run", "kind"),
        ("ext_dialog_run", "status"),
        ("ext_session", "outcome"),
        ("ext_message", "qna_found"),
        ("ext_turn", "form_took"),
        ("ext_slot", "kind"),
        ("rasa_event", "event_type"),
    ];
    let mut found = vec![BTreeSet::new(); columns.len()];
    for seed in 0..40 {
        let oracle = of(&lex::generate::logs(seed, 60));
        assert!(oracle.ledger.adds_up(), "{:?}", oracle.ledger);
        for ((table, column), found) in columns.iter().zip(&mut found) {
            values(&oracle.tables, table, column, found);
        }
    }
    let counts: Vec<usize> = found.iter().map(BTreeSet::len).collect();
    assert_eq!(counts, [2, 4, 4, 3, 3, 2, 6], "{found:?}");
}

#[test]
fn the_order_of_arrival_does_not_show() {
    for seed in 0..20 {
        let mut records = lex::generate::logs(seed, 40);
        let expected = of(&records);
        records.reverse();
        let reversed = of(&records);
        assert_eq!(diff(&expected.tables, &reversed.tables), None, "seed {seed}");
        assert_eq!(expected.ledger, reversed.ledger);
    }
}

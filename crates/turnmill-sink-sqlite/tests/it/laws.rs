//! The laws, on files.

use turnmill_oracle::store_laws;

use crate::support::Files;

#[test]
fn tables_do_not_depend_on_how_records_arrive() {
    store_laws::tables_do_not_depend_on_how_records_arrive(&mut Files::new(), 60);
}

#[test]
fn markers_do_not_depend_on_how_records_and_patterns_arrive() {
    store_laws::markers_do_not_depend_on_how_records_and_patterns_arrive(&mut Files::new(), 40);
}

#[test]
fn long_lives_in_any_order() {
    store_laws::long_lives_in_any_order(&mut Files::new(), 10);
}

#[test]
fn real_captures_in_any_order() {
    store_laws::real_captures_in_any_order(&mut Files::new(), &[400, 31]);
}

#[test]
fn lex_logs_in_any_order() {
    store_laws::lex_logs_in_any_order(&mut Files::new(), 0..24, 60);
}

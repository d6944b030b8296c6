//! The laws, on a server.

use turnmill_oracle::store_laws;

use crate::support::{Schemas, runtime};

/// Calls `law` with a fresh database.
fn on_a_server(law: impl FnOnce(&mut Schemas)) {
    let Some(mut schemas) = Schemas::new() else { return };
    let runtime = runtime();
    let _inside = runtime.enter();
    law(&mut schemas);
}

#[test]
fn tables_do_not_depend_on_how_records_arrive() {
    on_a_server(|schemas| store_laws::tables_do_not_depend_on_how_records_arrive(schemas, 24));
}

#[test]
fn markers_do_not_depend_on_how_records_and_patterns_arrive() {
    on_a_server(|schemas| store_laws::markers_do_not_depend_on_how_records_and_patterns_arrive(schemas, 16));
}

#[test]
fn long_lives_in_any_order() {
    on_a_server(|schemas| store_laws::long_lives_in_any_order(schemas, 3));
}

#[test]
fn real_captures_in_any_order() {
    on_a_server(|schemas| store_laws::real_captures_in_any_order(schemas, &[1500, 310]));
}

#[test]
fn lex_logs_in_any_order() {
    on_a_server(|schemas| store_laws::lex_logs_in_any_order(schemas, 0..4, 60));
}

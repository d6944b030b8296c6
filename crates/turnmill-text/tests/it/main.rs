//! Tests of the printable forms of addresses and data.

mod addresses;
mod characters;

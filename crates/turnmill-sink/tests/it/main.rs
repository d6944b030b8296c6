//! Integration tests of the store contract on the memory store.

mod captures;
mod laws;
mod memory;

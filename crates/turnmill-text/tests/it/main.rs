//! What is shown of addresses and of data.

mod addresses;
mod characters;

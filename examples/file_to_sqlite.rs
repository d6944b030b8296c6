//! Loads a file of events into Rasa's analytics tables in a SQLite file.
//!
//! ```text
//! cargo run -p turnmill-examples --bin file_to_sqlite -- rasa_event.log rasa.sqlite
//! ```

#![allow(clippy::print_stdout, reason = "it is a program that prints")]

use turnmill_embed::{Loader, sqlite::SqliteStore};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(input), Some(output)) = (arguments.next(), arguments.next()) else {
        return Err("usage: file_to_sqlite INPUT OUTPUT".into());
    };
    let mut loader = Loader::new(SqliteStore::file(output));
    let loaded = loader.load_file(input)?;
    println!("{} new events, {} duplicates", loaded.report.counts.events, loaded.report.counts.duplicates);
    Ok(loader.into_store().finish()?)
}

//! turnmill's tables as files: JSON lines, CSV or Parquet.
//!
//! What is absent here: a store, events, and any rule of rows. Rows come from a store, which stays
//! the truth.
//!
//! A snapshot has one folder for each table, and a [manifest](Manifest) beside them.
//!
//! ```text
//! tables/
//!   turnmill.json                  the manifest: which files count
//!   rasa_event/000001.parquet
//!   rasa_session/000001.parquet
//!   …
//! ```
//!
//! | column of the table | Parquet | JSON lines | CSV |
//! | --- | --- | --- | --- |
//! | id, text | UTF-8 | string | text |
//! | integer | 64 bits | number | number |
//! | float | double | number | number, the shortest form |
//! | time, UTC without zone | timestamp of microseconds, without zone | `YYYY-MM-DD HH:MM:SS.ffffff` | the same |
//! | truth value | boolean | `true`, `false` | `true`, `false` |
//! | NULL | NULL | `null` | an empty field; an empty text is `""` |

mod columns;
mod error;
mod format;
mod manifest;
mod snapshot;
mod writer;

pub use error::FileError;
pub use format::{BadAddress, FileAddress, Format, UnknownFormat};
pub use manifest::{Content, DataFile, MANIFEST, Manifest};
pub use snapshot::write_snapshot;

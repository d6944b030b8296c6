//! Forms of output that several tools have: cells, CSV, JSON, columns for a terminal.
//!
//! Texts of the data are hostile until they are escaped: a terminal interprets control characters,
//! and a spreadsheet calculates formulas.

mod cells;
pub(crate) mod csv;
mod grid;
mod json;

pub(crate) use cells::{cell, short};
pub(crate) use grid::grid;
pub(crate) use json::line as json_line;

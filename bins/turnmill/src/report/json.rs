//! Answers as JSON: one object a line for each metric.

use std::io::{Result, Write};

use turnmill_analytics::Answer;

pub(crate) fn write(out: &mut impl Write, answers: &[Answer]) -> Result<()> {
    for answer in answers {
        serde_json::to_writer(&mut *out, answer)?;
        writeln!(out)?;
    }
    Ok(())
}

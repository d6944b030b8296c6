//! Answers as JSON: one object a line for each metric.

use std::io::{Result, Write};

use turnmill_analytics::Answer;

use crate::output::json_line;

pub(crate) fn write(out: &mut impl Write, answers: &[Answer]) -> Result<()> {
    answers.iter().try_for_each(|answer| json_line(out, answer))
}

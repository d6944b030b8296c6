//! `turnmill markers check`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};
use turnmill_markers::Diagnostic;
use turnmill_pipeline::counted;
use turnmill_text::escaped;

use super::Failure;
use crate::console;
use crate::definitions::Definitions;

/// Arguments of `turnmill markers check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Marker files, or directories of marker files; together they form one set.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print the errors as a JSON list of objects with `kind`, `message`, `name`, `file`, `line`
    /// and `column`.
    #[arg(long)]
    json: bool,
}

/// Prints all errors, or the number of markers if there are none.
pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let mut out = std::io::stdout().lock();
    let checked = Definitions::read(&args.files);
    let errors = checked.as_ref().err().map(Vec::as_slice).unwrap_or_default();
    if args.json {
        writeln!(out, "{}", Value::Array(errors.iter().map(as_json).collect()))?;
    } else {
        errors.iter().try_for_each(|error| writeln!(out, "{}", escaped(&error.to_string())))?;
    }
    if let Ok(definitions) = &checked {
        for warning in &definitions.warnings {
            console::message(&format!("warning: {warning}"));
        }
        if !args.json {
            writeln!(out, "{}, no errors", counted(definitions.markers.markers().len() as u64, "marker"))?;
        }
    }
    Ok(if checked.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn as_json(error: &Diagnostic) -> Value {
    let hint = error.suggestion.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
    json!({
        "kind": error.kind,
        "message": format!("{}{hint}", error.message),
        "name": error.name,
        "file": error.file,
        "line": error.location.line,
        "column": error.location.column,
    })
}

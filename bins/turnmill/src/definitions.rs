//! Reads marker definitions from files.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use turnmill_markers::{Diagnostic, MarkerSet, SourceFile, Warning, files};
use turnmill_model::Micros;

/// Markers from files, with warnings about them.
#[derive(Debug)]
pub(crate) struct Definitions {
    pub(crate) markers: MarkerSet,
    pub(crate) warnings: Vec<Warning>,
}

impl Definitions {
    /// Reads files, and the YAML files in directories.
    pub(crate) fn read<P: AsRef<Path>>(paths: &[P]) -> Result<Self, Vec<Diagnostic>> {
        let (mut sources, mut errors) = (Vec::<SourceFile<'_>>::new(), Vec::new());
        for path in paths {
            match files::read_path(path.as_ref()) {
                Ok(mut found) => sources.append(&mut found),
                Err(mut found) => {
                    // The argument may be an address with a password, given in the wrong position.
                    found.iter_mut().for_each(|error| error.file = turnmill_text::redact(&error.file));
                    errors.append(&mut found);
                }
            }
        }
        match MarkerSet::parse(&sources) {
            Ok((markers, warnings)) if errors.is_empty() => Ok(Self { markers, warnings }),
            Ok(_) => Err(errors),
            Err(mut found) => {
                errors.append(&mut found);
                Err(errors)
            }
        }
    }
}

/// Returns the current time.
pub(crate) fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

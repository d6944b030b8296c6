//! Marker files below a path. The only module that reads files, with the feature `files`.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::diagnostic::{Diagnostic, ErrorKind, Location};
use crate::load::SourceFile;

/// Reads one file, or every `.yml` and `.yaml` file below a directory, in the order of their paths.
///
/// Links are followed. A directory that several links lead to is read once.
///
/// # Errors
///
/// [`PathNotFound`](ErrorKind::PathNotFound), [`WrongFileEnding`](ErrorKind::WrongFileEnding) or
/// [`NoYamlFiles`](ErrorKind::NoYamlFiles).
pub fn read_path(path: &Path) -> Result<Vec<SourceFile<'static>>, Vec<Diagnostic>> {
    let mut errors = Vec::new();
    let mut found = Vec::new();
    match fs::metadata(path) {
        Err(error) => errors.push(refused(path, ErrorKind::PathNotFound, error.to_string())),
        Ok(metadata) if metadata.is_dir() => {
            walk(path, &mut BTreeSet::new(), &mut found, &mut errors);
            if found.is_empty() && errors.is_empty() {
                let message = "no file in here ends in `.yml` or `.yaml`".to_owned();
                errors.push(refused(path, ErrorKind::NoYamlFiles, message));
            }
        }
        Ok(_) if is_yaml(path) => found.push(path.to_owned()),
        Ok(_) => {
            let message = "a marker file ends in `.yml` or `.yaml`".to_owned();
            errors.push(refused(path, ErrorKind::WrongFileEnding, message));
        }
    }
    found.sort();
    let mut files = Vec::with_capacity(found.len());
    for path in found {
        match read(&path) {
            Ok(bytes) => files.push(SourceFile::new(path.display().to_string(), bytes)),
            Err(error) => errors.push(refused(&path, ErrorKind::PathNotFound, error.to_string())),
        }
    }
    if errors.is_empty() { Ok(files) } else { Err(errors) }
}

/// Reads a file, at most one byte more than a marker file may have. The length then shows that it
/// is too long.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = crate::MAX_FILE_BYTES as u64 + 1;
    fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn walk(folder: &Path, seen: &mut BTreeSet<PathBuf>, found: &mut Vec<PathBuf>, errors: &mut Vec<Diagnostic>) {
    let entries = fs::canonicalize(folder)
        .and_then(|real| if seen.insert(real) { fs::read_dir(folder).map(Some) } else { Ok(None) });
    let entries = match entries {
        Ok(entries) => entries.into_iter().flatten(),
        Err(error) => {
            errors.push(refused(folder, ErrorKind::PathNotFound, error.to_string()));
            return;
        }
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            walk(&path, seen, found, errors);
        } else if is_yaml(&path) {
            found.push(path);
        }
    }
}

fn is_yaml(path: &Path) -> bool {
    let name = path.as_os_str().as_encoded_bytes();
    name.ends_with(b".yml") || name.ends_with(b".yaml")
}

fn refused(path: &Path, kind: ErrorKind, message: String) -> Diagnostic {
    Diagnostic {
        kind,
        message,
        name: None,
        file: path.display().to_string(),
        location: Location::START,
        suggestion: None,
    }
}

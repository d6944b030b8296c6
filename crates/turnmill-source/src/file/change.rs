//! Detection of changes to the file that is being followed.

use std::fs::{File, Metadata};
use std::io::Read;

use super::FileSource;

/// What happened to the followed file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FileChange {
    Same,
    /// The path names another file. The old one can still be read to its end.
    Moved,
    /// The file is shorter than what was read, or begins with other bytes.
    Overwritten,
}

impl FileSource {
    /// Compares the file at the path with the one that is being read.
    pub(super) fn file_change(&self) -> FileChange {
        let (Some(path), Some(file)) = (&self.path, self.input.plain_file()) else { return FileChange::Same };
        // While a file is being replaced the path may not exist for a moment.
        let (Ok(there), Ok(here)) = (path.metadata(), file.metadata()) else { return FileChange::Same };
        if !same_file(&there, &here) {
            return FileChange::Moved;
        }
        if there.len() < self.input.offset {
            return FileChange::Overwritten;
        }
        let mut prefix = Vec::with_capacity(self.input.prefix.len());
        let wanted = self.input.prefix.len() as u64;
        match File::open(path).and_then(|file| file.take(wanted).read_to_end(&mut prefix)) {
            Ok(_) if prefix != self.input.prefix => FileChange::Overwritten,
            _ => FileChange::Same,
        }
    }
}

#[cfg(unix)]
fn same_file(a: &Metadata, b: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(not(unix))]
fn same_file(_: &Metadata, _: &Metadata) -> bool {
    // There is no inode to compare: only shorter or other content shows a replacement.
    true
}

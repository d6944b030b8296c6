//! Reads the rows of a downloaded table.

/// Returns the cells of the first row of `bytes` and its length with the line break. `None` if the
/// row goes on after the bytes, which it cannot if these are `all`.
pub(super) fn row(bytes: &[u8], all: bool) -> Option<(Vec<Vec<u8>>, usize)> {
    let (mut cells, mut cell, mut at, mut quoted) = (Vec::new(), Vec::new(), 0, false);
    loop {
        match (bytes.get(at).copied(), quoted) {
            (None, _) if !all => return None,
            (None, _) => {
                cells.push(cell);
                return Some((cells, at));
            }
            (Some(b'"'), true) => match bytes.get(at + 1) {
                Some(b'"') => {
                    cell.push(b'"');
                    at += 1;
                }
                None if !all => return None,
                _ => quoted = false,
            },
            (Some(byte), true) => cell.push(byte),
            // Quotes count only at the start of a cell.
            (Some(b'"'), false) if cell.is_empty() => quoted = true,
            (Some(b','), false) => cells.push(std::mem::take(&mut cell)),
            (Some(b'\n'), false) => {
                if cell.last() == Some(&b'\r') {
                    cell.pop();
                }
                cells.push(cell);
                return Some((cells, at + 1));
            }
            (Some(byte), false) => cell.push(byte),
        }
        at += 1;
    }
}

/// Tells what a head says about the rows after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// The columns of the log message, and of its time.
    Log { message: usize, time: Option<usize> },
    /// The columns are fields of log messages, without the messages.
    Fields,
}

/// Returns what the head of a table says, or `None` if it is no head of a table of logs.
pub(super) fn head(cells: &[Vec<u8>]) -> Option<Head> {
    let names: Vec<String> =
        cells.iter().map(|cell| String::from_utf8_lossy(cell).trim_ascii().to_owned()).collect();
    let named = |wanted: [&str; 2]| names.iter().position(|name| wanted.contains(&name.as_str()));
    if let Some(message) = named(["@message", "message"]) {
        return Some(Head::Log { message, time: named(["@timestamp", "timestamp"]) });
    }
    let of_lex = |name: &String| {
        let begins = ["@", "bot.", "sessionState.", "interpretations."];
        begins.iter().any(|start| name.starts_with(start))
            || matches!(name.as_str(), "sessionId" | "inputTranscript" | "missedUtterance")
    };
    let is_name = |name: &String| {
        !name.is_empty() && name.len() < 200 && !name.contains(['{', '}', '"', '\n']) && !name.contains("  ")
    };
    (names.iter().all(is_name) && names.iter().any(of_lex)).then_some(Head::Fields)
}

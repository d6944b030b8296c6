//! Formats numbers and durations for people.

use std::time::Duration;

/// Returns a count with its noun, singular or plural.
///
/// ```
/// use turnmill_pipeline::counted;
/// assert_eq!(counted(1, "record"), "1 record");
/// assert_eq!(counted(0, "record"), "0 records");
/// assert_eq!(counted(12_345, "dead letter"), "12345 dead letters");
/// assert_eq!(counted(2, "duplicate of a reply"), "2 duplicates of a reply");
/// assert_eq!(counted(2, "query"), "2 queries");
/// ```
#[must_use]
pub fn counted(count: u64, noun: &str) -> String {
    let mut text = format!("{count} ");
    let (head, rest) = noun.split_once(" of ").map_or((noun, None), |(head, rest)| (head, Some(rest)));
    match head.strip_suffix('y') {
        Some(stem) if count != 1 => text.extend([stem, "ies"]),
        _ if count != 1 => text.extend([head, "s"]),
        _ => text.push_str(head),
    }
    if let Some(rest) = rest {
        text.extend([" of ", rest]);
    }
    text
}

/// Returns a duration rounded to the digits that matter.
///
/// ```
/// use std::time::Duration;
/// use turnmill_pipeline::rounded;
/// assert_eq!(rounded(Duration::from_micros(412_345)), "412 ms");
/// assert_eq!(rounded(Duration::from_millis(1_249)), "1.2 s");
/// assert_eq!(rounded(Duration::from_millis(9_960)), "10 s");
/// assert_eq!(rounded(Duration::from_secs(119)), "119 s");
/// assert_eq!(rounded(Duration::from_secs(754)), "13 min");
/// assert_eq!(rounded(Duration::from_secs(7_300)), "2.0 h");
/// ```
#[must_use]
pub fn rounded(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        ..0.9995 => format!("{:.0} ms", seconds * 1000.0),
        ..9.95 => format!("{seconds:.1} s"),
        ..120.0 => format!("{seconds:.0} s"),
        ..7_200.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

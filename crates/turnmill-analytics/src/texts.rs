//! Texts of users, made comparable.

use std::collections::BTreeSet;

use turnmill_sql::Dialect;

use crate::draft::Draft;

/// Returns the condition that a column holds a text, in any case.
///
/// The databases agree about the case of ASCII only. Other letters are found as written, in lower
/// and in upper case.
pub(crate) fn holds(draft: &mut Draft<'_>, column: &str, text: &str) -> String {
    let written = [text.to_owned(), text.to_lowercase(), text.to_uppercase()];
    let patterns: BTreeSet<String> = written.iter().map(|text| like(text)).collect();
    let lower = match draft.dialect() {
        Dialect::Sqlite => format!("lower({column})"),
        Dialect::Postgres => format!("lower({column} COLLATE \"C\")"),
    };
    let either: Vec<String> = patterns
        .iter()
        .map(|pattern| format!("{lower} LIKE {} ESCAPE '!'", draft.bind(pattern.as_str())))
        .collect();
    format!("({})", either.join(" OR "))
}

/// Returns a pattern for a part of a text, with `!` before what is special.
fn like(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.to_ascii_lowercase().chars() {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c);
    }
    pattern + "%"
}

/// Similarity from which two texts are the same said again.
pub(crate) const ALIKE: f64 = 0.8;

/// Returns a text in lower case, without space around it, with single spaces inside.
pub(crate) fn normal(text: &str) -> String {
    text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the runs of three characters of a text; the whole text if it is shorter.
pub(crate) fn shingles(text: &str) -> BTreeSet<String> {
    let characters: Vec<char> = text.chars().collect();
    if characters.len() < 3 {
        return BTreeSet::from([text.to_owned()]);
    }
    characters.windows(3).map(|run| run.iter().collect()).collect()
}

/// Returns the share of shingles that two texts have in common, of those that either has.
pub(crate) fn likeness(one: &str, other: &str) -> f64 {
    let (one, other) = (shingles(one), shingles(other));
    let common = one.intersection(&other).count();
    common as f64 / (one.len() + other.len() - common) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_text_is_no_pattern() {
        assert_eq!(like("50%_!A"), "%50!%!_!!a%");
    }

    #[test]
    fn texts_are_alike_whatever_their_case_and_space() {
        assert_eq!(normal("  Where\t is MY  parcel "), "where is my parcel");
        assert!((likeness("where is my parcel", "where is my parcel?") - 16.0 / 17.0).abs() < 1e-12);
        assert!((likeness("no", "no") - 1.0).abs() < 1e-12);
        assert!(likeness("yes", "no") < ALIKE);
    }
}

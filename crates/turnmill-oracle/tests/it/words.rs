//! Checks of the house style: the width of prose, words and type names that are not used.
//!
//! This file spells the banned words, so it is the only one that they are not searched in.

use crate::tidy::{assert_none, files};

/// Columns that a line of a comment or of Markdown prose may have.
const MAX_COLUMNS: usize = 100;

/// Folders and files that do not follow the style yet. Remove an entry to have it checked.
const NOT_YET: &[&str] = &["CHANGELOG.md"];

/// Words and phrases that no comment, document or string literal uses, each with what to write.
const BANNED_WORDS: &[(&str, &str)] = &[
    ("somebody", "name the process or the role"),
    ("nobody", "name the process or the role"),
    ("everybody", "name the process or the role"),
    ("anybody", "name the process or the role"),
    ("whoever", "name the process or the role"),
    ("no say", "write what it must not do"),
    ("owes", "write what is missing"),
    ("is told", "write receives, is given or is notified"),
    ("are told", "write receive, are given or are notified"),
    ("so long", "write while, or name the duration"),
    ("anew", "write again or recreated"),
    ("behind", "write before, or lag on the same line"),
];

/// Names that say nothing of their type.
const BANNED_TYPES: &[&str] =
    &["Again", "Ask", "Door", "Letters", "Look", "Means", "Say", "Says", "Task", "Told", "What"];

/// A file's text, split by what a reader takes it for. Line numbers start at 1.
#[derive(Debug, Default, PartialEq)]
struct Parts {
    /// Lines of a comment or a paragraph: those that can be broken anywhere.
    wrapped: Vec<(usize, String)>,
    /// Words of comments, documents and string literals.
    prose: Vec<(usize, String)>,
    /// Words of the program.
    code: Vec<(usize, String)>,
}

/// Splits a file into its parts. Returns `None` if its kind is not checked.
fn parts(name: &str, text: &str) -> Option<Parts> {
    match name.rsplit_once('.')?.1 {
        "rs" => Some(rust(text)),
        "md" => Some(markdown(text)),
        _ => None,
    }
}

/// Appends the text's words, with the number of the line that each is in.
fn push_words(words: &mut Vec<(usize, String)>, mut line: usize, text: &str) {
    for part in text.split_inclusive('\n') {
        let split = part.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-');
        words.extend(split.filter(|word| !word.is_empty()).map(|word| (line, word.to_owned())));
        line += usize::from(part.ends_with('\n'));
    }
}

/// Returns the length of the token at the start of `rest`, and whether it is prose.
///
/// Tokens are comments, literals and single characters of code. `'a` of a lifetime is no literal.
fn token(rest: &str) -> (usize, bool) {
    let until = |start: usize, end: &str| {
        rest[start..].find(end).map_or(rest.len(), |found| start + found + end.len())
    };
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), true);
    }
    if rest.starts_with("/*") {
        return (until(2, "*/"), true);
    }
    if rest.starts_with('"') {
        let mut escaped = false;
        for (at, c) in rest.char_indices().skip(1) {
            match c {
                '"' if !escaped => return (at + 1, true),
                _ => escaped = c == '\\' && !escaped,
            }
        }
        return (rest.len(), true);
    }
    // `r#name` is an identifier, `r#"text"#` a literal.
    if let Some(raw) = rest.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            return (until(hashes + 2, &format!("\"{}", "#".repeat(hashes))), true);
        }
    }
    if rest.starts_with("'\\") {
        return (until(3, "'"), false);
    }
    let mut chars = rest.chars();
    let first = chars.next().map_or(0, char::len_utf8);
    if rest.starts_with('\'')
        && let Some(literal) = chars.next()
        && chars.next() == Some('\'')
    {
        return (first + literal.len_utf8() + 1, false);
    }
    // An identifier is one token, or the `r` at its end would start a raw string.
    let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    (word.max(first), false)
}

fn rust(text: &str) -> Parts {
    let mut parts = Parts::default();
    let (mut at, mut line, mut fenced) = (0, 1, false);
    while at < text.len() {
        let (length, is_prose) = token(&text[at..]);
        let token = &text[at..at + length];
        push_words(if is_prose { &mut parts.prose } else { &mut parts.code }, line, token);
        line += token.matches('\n').count();
        at += length;
    }
    for (number, line) in text.lines().enumerate() {
        let Some(comment) = line.trim_start().strip_prefix("//") else {
            fenced = false;
            continue;
        };
        let comment = comment.trim_start_matches(['/', '!']).trim_start();
        fenced ^= comment.starts_with("```");
        if !fenced && !is_unbreakable(comment) {
            parts.wrapped.push((number + 1, line.to_owned()));
        }
    }
    parts
}

fn markdown(text: &str) -> Parts {
    let mut parts = Parts::default();
    let mut fenced = false;
    for (number, line) in text.lines().enumerate() {
        let start = line.trim_start();
        if start.starts_with("```") || start.starts_with("~~~") {
            fenced = !fenced;
        } else if !fenced {
            push_words(&mut parts.prose, number + 1, line);
            if !is_unbreakable(start) {
                parts.wrapped.push((number + 1, line.to_owned()));
            }
        }
    }
    parts
}

/// Returns whether a line cannot be broken: a row of a table, the target of a link, or one word.
fn is_unbreakable(start: &str) -> bool {
    let item = start.trim_start_matches(['-', '*', '>', ' ']);
    start.starts_with('|') || (start.starts_with('[') && start.contains("]: ")) || !item.contains(' ')
}

fn wide_lines(parts: &Parts) -> Vec<(usize, String)> {
    let wide = |(number, line): &(usize, String)| {
        let columns = line.chars().count();
        (columns > MAX_COLUMNS).then(|| (*number, format!("{columns} columns")))
    };
    parts.wrapped.iter().filter_map(wide).collect()
}

fn banned_words(parts: &Parts) -> Vec<(usize, String)> {
    let prose: Vec<(usize, String)> =
        parts.prose.iter().map(|(number, word)| (*number, word.to_lowercase())).collect();
    let mut found = Vec::new();
    for (phrase, instead) in BANNED_WORDS {
        let phrase_words: Vec<&str> = phrase.split(' ').collect();
        for window in prose.windows(phrase_words.len()) {
            let (first, last) = (window[0].0, window[window.len() - 1].0);
            let same = window.iter().map(|(_, word)| word.as_str()).eq(phrase_words.iter().copied());
            let lag = || prose.iter().any(|(number, word)| *number == first && word.starts_with("lag"));
            if same && last <= first + 1 && !(*phrase == "behind" && lag()) {
                found.push((first, format!("\"{phrase}\": {instead}")));
            }
        }
    }
    found
}

fn banned_types(parts: &Parts) -> Vec<(usize, String)> {
    let named = |pair: &[(usize, String)]| {
        let [(_, keyword), (number, name)] = pair else { return None };
        let names = matches!(keyword.as_str(), "struct" | "enum" | "union" | "trait" | "type" | "as");
        (names && BANNED_TYPES.contains(&name.as_str())).then(|| (*number, format!("a type named {name}")))
    };
    parts.code.windows(2).filter_map(named).collect()
}

/// Runs a check on every file that follows the style, and fails with the lines it found.
fn check(what: &str, check: impl Fn(&Parts) -> Vec<(usize, String)>) {
    let mut found = Vec::new();
    for (name, text) in files() {
        let skipped = NOT_YET.iter().any(|start| name.starts_with(start)) || name.ends_with("/words.rs");
        if let (false, Some(parts)) = (skipped, parts(&name, &text)) {
            found.extend(check(&parts).iter().map(|(number, finding)| format!("{name}:{number}: {finding}")));
        }
    }
    assert_none(what, &found);
}

#[test]
fn prose_has_at_most_100_columns() {
    check("lines to break", wide_lines);
}

#[test]
fn prose_has_no_banned_words() {
    check("words to replace", banned_words);
}

#[test]
fn no_type_has_a_banned_name() {
    check("types to rename", banned_types);
}

#[test]
fn comments_and_literals_are_separated_from_code() {
    let source = "let r#raw = r#\"a \"b\" c\"#; // one /* two\nlet c: &'s str = \"d \\\" // e\"; '\\'' /* f\ng */ 'h' for\"i\"";
    let words = |words: &[(usize, String)]| {
        words.iter().map(|(line, word)| format!("{line}{word}")).collect::<Vec<_>>().join(" ")
    };
    let parts = rust(source);
    assert_eq!(words(&parts.prose), "1r 1a 1b 1c 1one 1two 2d 2e 2f 3g 3i");
    assert_eq!(words(&parts.code), "1let 1r 1raw 1let 2c 2s 2str 3h 3for".replace("1let 2c", "2let 2c"));
}

#[test]
fn each_check_finds_what_it_is_for() {
    let lines = |found: Vec<(usize, String)>| found.into_iter().map(|(line, _)| line).collect::<Vec<_>>();
    let wide = "word ".repeat(21);
    let text = format!("//! {wide}\n//! ```text\n//! {wide}\n//! ```\n//! | {wide}\nlet a = \"{wide}\";\n");
    assert_eq!(lines(wide_lines(&rust(&text))), [1]);
    let link = format!("[name]: https://{}\n", "a".repeat(100));
    let text = format!("{wide}\n```\n{wide}\n```\n| {wide} |\n{link}- https://{}\n", "a".repeat(100));
    assert_eq!(lines(wide_lines(&markdown(&text))), [1]);

    let text = "/// The reader is\n/// told.\nlet behind = \"Behind it\"; // behind: the lag\nlet told = 1;";
    assert_eq!(lines(banned_words(&rust(text))), [1]);
    let text = "/// The reader is\n/// told.\nlet behind = \"Behind it\";\nlet told = 1; // behind: the lag";
    assert_eq!(lines(banned_words(&rust(text))), [1, 3]);
    let text = "/// An enum Ask.\npub(crate) enum Ask { What }\nuse other::Thing as Look;\nstruct Asked;";
    assert_eq!(lines(banned_types(&rust(text))), [2, 3]);
}

//! Commands and outputs in Markdown documents, so that tests can run the commands and compare.

use std::path::Path;
use std::process::Command;

/// The commands of one `sh` block, and the `text` block after it, which shows their output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snippet {
    /// Line at which the block begins, from 1.
    pub line: usize,
    /// The commands, for a shell.
    pub commands: String,
    /// The shown output; `None` if there is no such block.
    pub output: Option<String>,
}

impl Snippet {
    /// Runs the commands in a folder with this `PATH`, and returns their output.
    ///
    /// # Panics
    ///
    /// If a command fails. `location` names the block in the message.
    #[must_use]
    #[track_caller]
    pub fn run(&self, location: &str, folder: &Path, path: &str) -> String {
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", &self.commands]).current_dir(folder).env("PATH", path);
        let output = command.output().unwrap_or_else(|error| panic!("{location}: bash: {error}"));
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{location} fails: {complaint}{printed}");
        printed
    }
}

/// Returns the snippets of a Markdown document in their order.
///
/// Only prose may be between commands and output: no heading and no other block.
///
/// ```
/// let found = turnmill_testbed::documents::snippets("So:\n\n```sh\nprintf a\n```\n\ngives\n\n```text\na\n```\n");
/// assert_eq!((found[0].line, found[0].commands.as_str(), found[0].output.as_deref()), (3, "printf a", Some("a")));
/// ```
#[must_use]
pub fn snippets(document: &str) -> Vec<Snippet> {
    let mut snippets: Vec<Snippet> = Vec::new();
    let mut follows_commands = false;
    let mut lines = document.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            follows_commands &= !line.starts_with('#');
            continue;
        };
        let block: Vec<&str> =
            lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
        let block = block.join("\n");
        match (language, snippets.last_mut()) {
            ("sh", _) => snippets.push(Snippet { line: number + 1, commands: block, output: None }),
            ("text", Some(last)) if follows_commands => last.output = Some(block),
            _ => {}
        }
        follows_commands = language == "sh";
    }
    snippets
}

/// Compares the output of a command with the one in a document.
///
/// A line `...` in the document matches any number of lines. `stable` replaces what differs from
/// run to run.
///
/// # Panics
///
/// If they differ. `location` names the block in the message.
#[track_caller]
pub fn assert_shown(location: &str, shown: &str, printed: &str, stable: impl Fn(&str) -> String) {
    let shown: Vec<String> = shown.lines().map(&stable).collect();
    let printed: Vec<String> = printed.trim_end().lines().map(&stable).collect();
    let mut parts: Vec<&[String]> = shown.split(|line| line == "...").collect();
    let last = parts.pop().unwrap_or_default();
    let mut at = 0;
    for (number, part) in parts.iter().enumerate() {
        let rest = printed.get(at..).unwrap_or_default();
        // The first part is at the start of the output, the others at their first occurrence.
        let starts = if number == 0 { 0..1 } else { 0..rest.len() + 1 };
        let found =
            starts.into_iter().find(|from| rest.get(*from..).is_some_and(|rest| rest.starts_with(part)));
        assert_shown_part(location, part, found.is_some(), rest);
        at += found.unwrap_or_default() + part.len();
    }
    let rest = printed.get(at..).unwrap_or_default();
    let ends = if parts.is_empty() { rest == last } else { rest.ends_with(last) };
    assert_shown_part(location, last, ends, rest);
}

#[track_caller]
fn assert_shown_part(location: &str, part: &[String], found: bool, rest: &[String]) {
    assert!(found, "{location} shows\n{}\n\nwhich is missing in\n{}", part.join("\n"), rest.join("\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shows(shown: &str, printed: &str) -> bool {
        let compare = || assert_shown("here", shown, printed, str::to_owned);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(compare)).is_ok()
    }

    #[test]
    fn dots_stand_for_any_lines() {
        for (shown, printed, as_shown) in [
            ("a\nb", "a\nb\n", true),
            ("a\nb", "a\nb\nc\n", false),
            ("a\nb", "a\n", false),
            ("a\n...", "a\nb\nc\n", true),
            ("a\n...", "a\n", true),
            ("b\n...", "a\nb\n", false),
            ("a\n...\nd", "a\nb\nc\nd\n", true),
            ("a\n...\nd", "a\nd\n", true),
            ("a\n...\nd", "a\nd\ne\n", false),
            ("a\n...\nc\nd\n...\ne", "a\nc\nb\nc\nd\ne\n", true),
            ("a\n...\nd\n...\nb", "a\nb\nc\nd\n", false),
            // One line of output does not match two lines.
            ("a\n...\na", "a\n", false),
        ] {
            assert_eq!(shows(shown, printed), as_shown, "{shown:?} for {printed:?}");
        }
    }

    #[test]
    fn output_belongs_to_the_commands_right_before_it() {
        let document =
            "```sh\na\n```\n# Other\n```text\nb\n```\n```sh\nc\n```\n```toml\nd\n```\n```text\ne\n```\n";
        let outputs: Vec<_> = snippets(document).into_iter().map(|snippet| snippet.output).collect();
        assert_eq!(outputs, [None, None]);
    }
}

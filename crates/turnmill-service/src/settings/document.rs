//! Generates documentation of the settings: a table in Markdown, and an example `turnmill.toml`.

use super::table::{Kind, SETTINGS, Support};

/// Maximum width of a comment in the example file.
const WIDTH: usize = 100;

/// Returns a Markdown table of all settings.
#[must_use]
pub fn markdown() -> String {
    let mut text =
        "| variable | in `turnmill.toml` | type | default | meaning |\n| --- | --- | --- | --- | --- |\n"
            .to_owned();
    for setting in SETTINGS {
        let key = if setting.allowed_in.file { format!("`{}`", setting.key) } else { String::new() };
        let default = setting.default.map(|default| format!("`{default}`")).unwrap_or_default();
        let why = match setting.support {
            Support::Supported => String::new(),
            Support::Ignored(why) => format!(" Ignored: {why}."),
            Support::Unsupported(why) => format!(" {why}."),
        };
        let row = [
            format!("`{}`", setting.variable),
            key,
            setting.kind.describe(),
            default,
            format!("{}{why}", setting.doc),
        ];
        text.push_str(&format!("| {} |\n", row.join(" | ")));
    }
    text
}

/// Returns a `turnmill.toml` with every setting commented out.
#[must_use]
pub fn example() -> String {
    let mut text =
        "# turnmill.toml: all settings, with their defaults. Environment variables take precedence over\n\
                    # this file, and flags over both. Generated; see docs/configuration.md.\n"
            .to_owned();
    let mut section = "";
    let mut in_file: Vec<_> = SETTINGS.iter().filter(|setting| setting.allowed_in.file).collect();
    // TOML requires keys without a section first. Keys of one section follow each other.
    let rank = |key: &str| {
        let section = |key: &str| key.split_once('.').map_or("", |(section, _)| section).to_owned();
        let own = section(key);
        if own.is_empty() {
            return 0;
        }
        SETTINGS.iter().position(|setting| section(setting.key) == own).unwrap_or_default()
    };
    in_file.sort_by_key(|setting| rank(setting.key));
    for setting in in_file {
        let (own, name) = setting.key.split_once('.').unwrap_or(("", setting.key));
        if own != section {
            section = own;
            text.push_str(&format!("\n[{section}]\n"));
        }
        text.push('\n');
        text.push_str(&comment(&format!("{} ({})", setting.doc, setting.variable)));
        let value = match (setting.kind, setting.default) {
            (
                Kind::Switch | Kind::Integer(..) | Kind::Millis(..) | Kind::Seconds(..) | Kind::Share,
                Some(plain),
            ) => plain.to_owned(),
            (Kind::Names, default) => {
                let names: Vec<String> = default
                    .into_iter()
                    .flat_map(|names| names.split(','))
                    .map(|name| format!("{name:?}"))
                    .collect();
                format!("[{}]", names.join(", "))
            }
            (Kind::Properties, _) => "{ \"fetch.wait.max.ms\" = 100 }".to_owned(),
            (_, default) => format!("\"{}\"", default.unwrap_or_default()),
        };
        text.push_str(&format!("# {name} = {value}\n"));
    }
    text
}

/// Returns `text` as comment lines of at most [`WIDTH`] characters.
fn comment(text: &str) -> String {
    let mut lines = String::new();
    let mut line = "#".to_owned();
    for word in text.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push_str(&line);
            lines.push('\n');
            line = "#".to_owned();
        }
        line.push(' ');
        line.push_str(word);
    }
    lines + &line + "\n"
}

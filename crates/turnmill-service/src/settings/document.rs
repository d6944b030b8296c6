//! The settings as documentation: a table in Markdown, and an example of `turnmill.toml`.

use super::table::{Kind, SETTINGS, Use};

/// A Markdown table of every setting.
#[must_use]
pub fn markdown() -> String {
    let mut text =
        "| variable | in `turnmill.toml` | type | default | meaning |\n| --- | --- | --- | --- | --- |\n"
            .to_owned();
    for setting in SETTINGS {
        let key = if setting.places.file { format!("`{}`", setting.key) } else { String::new() };
        let default = setting.default.map(|default| format!("`{default}`")).unwrap_or_default();
        let why = match setting.obeyed {
            Use::Obeyed => String::new(),
            Use::Ignored(why) => format!(" Read and not obeyed: {why}."),
            Use::Unsupported(why) => format!(" Not supported: {why}."),
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

/// A `turnmill.toml` with every setting, each commented out.
#[must_use]
pub fn example() -> String {
    let mut text = "# turnmill.toml: every setting, with its default. The environment wins over this file, flags win over both.\n\
                    # Generated; docs/configuration.md says more.\n"
        .to_owned();
    let mut section = "";
    let mut in_file: Vec<_> = SETTINGS.iter().filter(|setting| setting.places.file).collect();
    // Keys of no section come first, as TOML wants it; those of one section together.
    let place = |key: &str| {
        let section = |key: &str| key.split_once('.').map_or("", |(section, _)| section).to_owned();
        let own = section(key);
        if own.is_empty() {
            return 0;
        }
        SETTINGS.iter().position(|setting| section(setting.key) == own).unwrap_or_default()
    };
    in_file.sort_by_key(|setting| place(setting.key));
    for setting in in_file {
        let (own, name) = setting.key.split_once('.').unwrap_or(("", setting.key));
        if own != section {
            section = own;
            text.push_str(&format!("\n[{section}]\n"));
        }
        text.push_str(&format!("\n# {} ({})\n", setting.doc, setting.variable));
        let value = match (setting.kind, setting.default) {
            (
                Kind::Switch | Kind::Integer(..) | Kind::Millis(..) | Kind::Seconds(..) | Kind::Share,
                Some(plain),
            ) => plain.to_owned(),
            (Kind::Properties, _) => "{ \"fetch.wait.max.ms\" = 100 }".to_owned(),
            (_, default) => format!("\"{}\"", default.unwrap_or_default()),
        };
        text.push_str(&format!("# {name} = {value}\n"));
    }
    text
}

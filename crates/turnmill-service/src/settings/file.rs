//! Reads `turnmill.toml`.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::origin::Origin;
use super::problem::Problem;
use super::suggest::hint;
use super::table::{Kind, SETTINGS, SettingId};

/// Values of a layer as text in the notation of environment variables, with their origin.
pub(crate) type GivenValues = Vec<(SettingId, String, Origin)>;

/// Reads the text of a settings file. Adds all errors to `problems`.
pub(crate) fn read(path: &Path, text: &str, problems: &mut Vec<Problem>) -> GivenValues {
    let mut reader = Reader { path: path.to_owned(), text, given: Vec::new(), problems };
    match DeTable::parse(text) {
        Ok(table) => reader.table("", table.get_ref()),
        Err(error) => {
            let line = reader.line(error.span().map_or(0, |span| span.start));
            // Only the message: the whole error quotes the line, which may hold a password.
            reader.problem(line, format!("invalid TOML: {}", error.message()));
        }
    }
    reader.given
}

struct Reader<'r> {
    path: PathBuf,
    text: &'r str,
    given: GivenValues,
    problems: &'r mut Vec<Problem>,
}

impl Reader<'_> {
    fn line(&self, offset: usize) -> usize {
        1 + self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
    }

    fn problem(&mut self, line: usize, detail: String) {
        self.problems.push(Problem::at(&Origin::File { path: self.path.clone(), line }, detail));
    }

    fn table(&mut self, section: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let key = if section.is_empty() {
                name.get_ref().to_string()
            } else {
                format!("{section}.{}", name.get_ref())
            };
            let line = self.line(name.span().start);
            self.entry(&key, line, value);
        }
    }

    fn entry(&mut self, key: &str, line: usize, value: &Spanned<DeValue<'_>>) {
        let in_file = || SETTINGS.iter().filter(|setting| setting.allowed_in.file);
        if let Some(setting) = in_file().find(|setting| setting.key == key) {
            match text_of(setting.kind, value.get_ref()) {
                Ok(text) => {
                    self.given.push((setting.id, text, Origin::File { path: self.path.clone(), line }));
                }
                Err(expected) => {
                    self.problem(line, format!("{key}: {expected}, found {}", value.get_ref().type_str()));
                }
            }
            return;
        }
        let is_section =
            in_file().any(|setting| setting.key.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')));
        match value.get_ref() {
            DeValue::Table(table) if is_section => self.table(key, table),
            _ if is_section => self.problem(line, format!("`{key}` is a section: expected a table")),
            DeValue::Table(_) if !key.contains('.') => {
                let sections =
                    in_file().filter_map(|setting| setting.key.split_once('.')).map(|(section, _)| section);
                self.problem(line, format!("unknown section `[{key}]`{}", hint(key, sections)));
            }
            _ => {
                let near = hint(key, in_file().map(|setting| setting.key));
                self.problem(line, format!("unknown setting `{key}`{near}"));
            }
        }
    }
}

/// Returns the value in the notation of environment variables.
fn text_of(kind: Kind, value: &DeValue<'_>) -> Result<String, &'static str> {
    match (kind, value) {
        (Kind::Properties, DeValue::Table(table)) => {
            let mut pairs = Vec::new();
            for (name, value) in table {
                let value =
                    scalar(value.get_ref()).ok_or("expected strings, numbers or booleans as values")?;
                if value.contains(',') {
                    return Err("values with a comma are not supported");
                }
                pairs.push(format!("{}={value}", name.get_ref()));
            }
            Ok(pairs.join(","))
        }
        (Kind::Text | Kind::Brokers | Kind::Names, DeValue::Array(texts)) => {
            let texts: Option<Vec<String>> = texts.iter().map(|text| scalar(text.get_ref())).collect();
            texts.map(|texts| texts.join(",")).ok_or("expected a list of strings")
        }
        (_, value) => scalar(value).ok_or("expected a string, a number or a boolean"),
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(on) => Some(on.to_string()),
        DeValue::Integer(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

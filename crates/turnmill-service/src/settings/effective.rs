//! The effective configuration, as it may be printed.

use std::fmt;

use turnmill_text::{HIDDEN, escaped, redact};

use super::load::Values;
use super::origin::Origin;
use super::properties::print_properties;
use super::table::{Id, Kind, SETTINGS};
use super::value::Value;

/// One setting's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveValue {
    /// Which setting.
    pub id: Id,
    /// Its value; secrets are hidden. Empty if it has none.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

/// Every setting that is obeyed, with its value and where that came from. `Display` gives a line for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effective(Vec<EffectiveValue>);

impl Effective {
    pub(crate) fn new(values: &Values) -> Self {
        let print = |setting: &'static super::table::Setting| {
            let found = values.get(setting.id);
            // What is not obeyed is in the notes.
            let obeyed = setting.obeyed == super::table::Use::Obeyed;
            (obeyed || found.is_some_and(|(_, origin)| *origin > Origin::Default)).then(|| EffectiveValue {
                id: setting.id,
                value: found.map(|(value, _)| print(setting.id, value)).unwrap_or_default(),
                origin: values.origin(setting.id),
            })
        };
        Self(SETTINGS.iter().filter_map(print).collect())
    }

    /// The values.
    pub fn iter(&self) -> impl Iterator<Item = &EffectiveValue> {
        self.0.iter()
    }

    /// As a JSON object: variable to value.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let entry =
            |entry: &EffectiveValue| (entry.id.setting().variable.to_owned(), entry.value.clone().into());
        serde_json::Value::Object(self.0.iter().map(entry).collect())
    }
}

fn print(id: Id, value: &Value) -> String {
    match value {
        Value::Secret(url) if id.setting().kind == Kind::DatabaseUrl => {
            escaped(&redact(url.expose())).to_string()
        }
        Value::Secret(_) => HIDDEN.to_owned(),
        // `user:password`, where only the user belongs.
        Value::Text(text) if matches!(id, Id::SaslUsername | Id::DatabaseUser) => {
            match text.split_once(':') {
                Some((user, _)) => escaped(&format!("{user}:{HIDDEN}")).to_string(),
                None => escaped(text).to_string(),
            }
        }
        // It is refused if it is used, and shown also if it is not.
        Value::Text(text) if matches!(id, Id::Brokers | Id::DatabaseHost) && text.contains('@') => {
            HIDDEN.to_owned()
        }
        Value::Text(text) => escaped(&redact(text)).to_string(),
        Value::Switch(on) => on.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Duration(duration) => match id.setting().kind {
            Kind::Seconds(..) => duration.as_secs().to_string(),
            _ => duration.as_millis().to_string(),
        },
        Value::Share(share) => share.to_string(),
        Value::Choice(name) => (*name).to_owned(),
        Value::Address(address) => address.to_string(),
        Value::Properties(properties) => print_properties(properties),
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, entry) in self.0.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            write!(f, "{} = {}", entry.id.setting().variable, entry.value)?;
            match &entry.origin {
                Origin::Default => {}
                Origin::Variable(_) => write!(f, "  (environment)")?,
                origin @ (Origin::Endpoints { .. }
                | Origin::EndpointsDefault { .. }
                | Origin::File { .. }
                | Origin::Flag(_)) => {
                    write!(f, "  ({origin})")?;
                }
            }
        }
        Ok(())
    }
}

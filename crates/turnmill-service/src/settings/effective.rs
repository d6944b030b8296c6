//! The effective configuration in printable form, without secrets.

use std::fmt;

use turnmill_text::{HIDDEN, escaped, redact};

use super::load::Values;
use super::origin::Origin;
use super::properties::print_properties;
use super::table::{Kind, SETTINGS, SettingId};
use super::value::Value;

/// The effective value of one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveValue {
    /// The setting.
    pub id: SettingId,
    /// The value, with secrets hidden. Empty if the setting has no value.
    pub value: String,
    /// The layer that the value came from.
    pub origin: Origin,
}

/// Every supported setting with its value and origin. `Display` writes one line per setting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effective(Vec<EffectiveValue>);

impl Effective {
    pub(crate) fn new(values: &Values) -> Self {
        let print = |setting: &'static super::table::Setting| {
            let found = values.get(setting.id);
            // Settings without effect appear only if they are set; a note says why they are
            // ignored.
            let supported = setting.support == super::table::Support::Supported;
            (supported || found.is_some_and(|(_, origin)| *origin > Origin::Default)).then(|| {
                EffectiveValue {
                    id: setting.id,
                    value: found.map(|(value, _)| print(setting.id, value)).unwrap_or_default(),
                    origin: values.origin(setting.id),
                }
            })
        };
        Self(SETTINGS.iter().filter_map(print).collect())
    }

    /// Returns the values, in the order of [`SETTINGS`].
    pub fn iter(&self) -> impl Iterator<Item = &EffectiveValue> {
        self.0.iter()
    }

    /// Returns a JSON object that maps each environment variable to its value.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let entry =
            |entry: &EffectiveValue| (entry.id.setting().variable.to_owned(), entry.value.clone().into());
        serde_json::Value::Object(self.0.iter().map(entry).collect())
    }
}

fn print(id: SettingId, value: &Value) -> String {
    match value {
        Value::Secret(url) if id.setting().kind == Kind::DatabaseUrl => {
            escaped(&redact(url.expose())).to_string()
        }
        Value::Secret(_) => HIDDEN.to_owned(),
        // A user name with a colon may be `user:password`, so what follows the colon is hidden.
        Value::Text(text) if matches!(id, SettingId::SaslUsername | SettingId::DatabaseUser) => {
            match text.split_once(':') {
                Some((user, _)) => escaped(&format!("{user}:{HIDDEN}")).to_string(),
                None => escaped(text).to_string(),
            }
        }
        // An address with `@` may contain a password. It is refused if it is used, but printed even
        // if it is not.
        Value::Text(text)
            if matches!(id, SettingId::Brokers | SettingId::DatabaseHost) && text.contains('@') =>
        {
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

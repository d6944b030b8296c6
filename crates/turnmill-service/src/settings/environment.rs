//! A snapshot of the environment variables.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use super::suggest::hint;
use super::table::SETTINGS;

/// The environment variables of a process. `Debug` shows names only.
///
/// ```
/// use turnmill_service::settings::Environment;
/// let environment = Environment::from([("KAFKA_TOPIC", "rasa-events")]);
/// assert_eq!(environment.get("KAFKA_TOPIC"), Some("rasa-events"));
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    unreadable: Vec<String>,
}

impl Environment {
    /// Returns the environment of this process.
    #[must_use]
    pub fn of_process() -> Self {
        std::env::vars_os().collect()
    }

    /// Returns the value of a variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Returns the names of variables whose value is not UTF-8.
    pub(crate) fn unreadable(&self) -> &[String] {
        &self.unreadable
    }

    /// Returns unknown variables that start with `TURNMILL_`, each with a hint.
    pub(crate) fn unknown(&self) -> impl Iterator<Item = (&str, String)> {
        let ours = |(name, value): &(&String, &String)| {
            name.starts_with("TURNMILL_")
                // Used by the test suite.
                && !name.starts_with("TURNMILL_TEST_")
                && !is_service_link(name, value)
                && !known().any(|variable| variable == name.as_str())
        };
        self.variables.iter().filter(ours).map(|(name, _)| {
            let candidates = known().filter(|variable| variable.starts_with("TURNMILL_"));
            (name.as_str(), hint(name, candidates))
        })
    }
}

fn known() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().map(|setting| setting.variable)
}

/// Returns whether Kubernetes set this variable.
///
/// Kubernetes sets variables such as `TURNMILL_SERVICE_HOST` in every pod for each service of the
/// namespace, and a service may be named `turnmill`.
fn is_service_link(name: &str, value: &str) -> bool {
    if name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_") {
        return true;
    }
    let is_link = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let after_port = name.split("_PORT_").skip(1).any(|rest| {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        digits > 0 && ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| rest[digits..].starts_with(protocol))
    });
    after_port || (name.ends_with("_PORT") && is_link)
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

impl FromIterator<(OsString, OsString)> for Environment {
    fn from_iter<I: IntoIterator<Item = (OsString, OsString)>>(variables: I) -> Self {
        let mut environment = Self::default();
        for (name, value) in variables {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => {
                    environment.variables.insert(name, value);
                }
                Err(_) => environment.unreadable.push(name),
            }
        }
        environment
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(variables: [(&str, &str); N]) -> Self {
        variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
    }
}

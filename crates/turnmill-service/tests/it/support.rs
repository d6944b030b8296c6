//! Loading settings from texts.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use turnmill_service::settings::{Environment, Flags, Loaded, RequiredSettings, SettingId, SettingsError};

/// The layers of one case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Case {
    pub(crate) files: BTreeMap<String, String>,
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) flags: Flags,
}

impl Case {
    /// What is required, and nothing else.
    pub(crate) fn minimal() -> Self {
        Self::default()
            .variable("KAFKA_BROKER_ADDRESS", "kafka:9092")
            .variable("RASA_ANALYTICS_DB_URL", "postgresql://rasa:pw@db/analytics")
    }

    pub(crate) fn file(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.to_owned(), text.to_owned());
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self
    }

    pub(crate) fn flag(mut self, id: SettingId, text: &str) -> Self {
        self.flags = self.flags.with(id, text);
        self
    }

    pub(crate) fn load(&self) -> Result<Loaded, SettingsError> {
        self.load_for(RequiredSettings::Service)
    }

    pub(crate) fn load_for(&self, required: RequiredSettings) -> Result<Loaded, SettingsError> {
        let variables = self.variables.iter().map(|(name, value)| (name.into(), value.into()));
        let environment: Environment = variables.collect();
        let read = |path: &Path| {
            let text = self.files.get(path.to_str().unwrap()).cloned();
            text.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
        };
        Loaded::read(&self.flags, &environment, &read, required)
    }

    /// The value of a setting as it is printed, and its origin.
    pub(crate) fn shown(&self, id: SettingId) -> (String, String) {
        let loaded = self.load().unwrap();
        let entry = loaded.effective.iter().find(|entry| entry.id == id).unwrap();
        (entry.value.clone(), entry.origin.to_string())
    }

    /// The message about what is wrong.
    pub(crate) fn error(&self) -> String {
        self.load().unwrap_err().to_string()
    }

    /// The notes about a variable.
    pub(crate) fn notes(&self, variable: &str) -> Vec<String> {
        let notes = self.load().unwrap().notes;
        notes.into_iter().filter(|note| note.setting == variable).map(|note| note.text).collect()
    }
}

//! Reads all layers: defaults, `endpoints.yml`, `turnmill.toml`, environment, flags.
//!
//! Each layer takes precedence over those before it.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use turnmill_text::{Secret, escaped, redact};

use super::effective::Effective;
use super::environment::Environment;
use super::file::GivenValues;
use super::flags::Flags;
use super::origin::Origin;
use super::problem::{Note, Problem, SettingsError, Severity};
use super::table::{Kind, SETTINGS, Setting, SettingId, Support};
use super::typed::ServiceSettings;
use super::value::Value;
use super::{assemble, endpoints, file};

/// The settings file that is read if it exists and no other is named.
const DEFAULT_FILE: &str = "turnmill.toml";

/// The settings that a command requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequiredSettings {
    /// Brokers and a database.
    Service,
    /// A database. Settings of Kafka may be missing.
    Database,
}

/// The settings, with notes about them.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The settings.
    pub settings: ServiceSettings,
    /// Notes to log at start.
    pub notes: Vec<Note>,
    /// Every setting with its value and origin, without secrets.
    pub effective: Effective,
    /// Topics in `anonymization_topics` of the assistant's `endpoints.yml`.
    pub anonymization_topics: Vec<String>,
}

impl Loaded {
    /// Reads the settings of this process from its environment, `flags`, and the files they name.
    ///
    /// # Errors
    ///
    /// Returns all problems at once.
    pub fn of_process(flags: &Flags, required: RequiredSettings) -> Result<Self, SettingsError> {
        let open = RefCell::new(Vec::new());
        let read = |path: &Path| {
            let text = std::fs::read_to_string(path)?;
            if can_be_written_by_all(path) {
                open.borrow_mut().push(path.to_owned());
            }
            Ok(text)
        };
        let mut loaded = Self::read(flags, &Environment::of_process(), &read, required)?;
        for path in open.take() {
            let path = escaped(&path.to_string_lossy()).to_string();
            let text = format!("{path} is writable by every user of this machine; run chmod o-w {path}");
            loaded.notes.push(Note {
                severity: Severity::Warning,
                setting: SettingId::Config.setting().variable,
                text,
            });
        }
        Ok(loaded)
    }

    /// Reads the settings from `flags`, `environment`, and the files they name. `read_file` returns
    /// the text of a file.
    ///
    /// ```
    /// use turnmill_service::settings::{Environment, Flags, Loaded, RequiredSettings};
    /// let environment = Environment::from([
    ///     ("KAFKA_BROKER_ADDRESS", "kafka:9092"),
    ///     ("RASA_ANALYTICS_DB_URL", "postgresql://rasa:secret@db/analytics"),
    /// ]);
    /// let none = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
    /// let loaded = Loaded::read(&Flags::default(), &environment, &none, RequiredSettings::Service)?;
    /// assert_eq!(loaded.settings.kafka.topic, "rasa_core_events");
    /// assert!(!loaded.effective.to_string().contains("secret"));
    /// # Ok::<(), turnmill_service::settings::SettingsError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns all problems at once.
    pub fn read(
        flags: &Flags,
        environment: &Environment,
        read_file: &ReadFile<'_>,
        required: RequiredSettings,
    ) -> Result<Self, SettingsError> {
        let (given, problems, notes, anonymised) = Default::default();
        let mut layers = Layers { environment, required, given, problems, notes, anonymised };
        layers.files(flags, read_file);
        layers.variables();
        for setting in SETTINGS {
            if let (Some(text), Some(flag)) = (flags.get(setting.id), setting.flag()) {
                layers.given.push((setting.id, text.to_owned(), Origin::Flag(format!("--{flag}"))));
            }
        }
        let Layers { given, mut problems, mut notes, anonymised, .. } = layers;
        let mut values = Values::resolve(given, &mut problems);
        let anonymization_topics = match anonymised {
            Some(anonymised) => {
                anonymised.into_topics(values.is_given(SettingId::Topic), &mut problems, &mut notes)
            }
            None => Vec::new(),
        };
        values.note_settings_without_effect(&mut notes);
        let settings = assemble::settings(&mut values, required, &mut problems, &mut notes);
        match settings {
            Some(mut settings) if problems.is_empty() => {
                settings.source.anonymised |= anonymization_topics.contains(&settings.kafka.topic);
                Ok(Self { settings, notes, effective: Effective::new(&values), anonymization_topics })
            }
            _ => Err(SettingsError { problems }),
        }
    }
}

/// Reads the settings whose key is in `section`, for commands that need no others. All problems of
/// the file count; those of other settings' variables do not.
pub(crate) fn section(
    section: &str,
    flags: &Flags,
    environment: &Environment,
    read_file: &ReadFile<'_>,
) -> Result<Values, SettingsError> {
    let required = RequiredSettings::Database;
    let (given, problems, notes, anonymised) = Default::default();
    let mut layers = Layers { environment, required, given, problems, notes, anonymised };
    layers.files(flags, read_file);
    let is_in = |setting: &Setting| setting.key.split_once('.').is_some_and(|(own, _)| own == section);
    layers.given.retain(|(id, ..)| is_in(id.setting()));
    for setting in SETTINGS.iter().filter(|setting| is_in(setting)) {
        layers.variable(setting);
    }
    let Layers { given, mut problems, .. } = layers;
    let prefix = format!("TURNMILL_{}_", section.to_ascii_uppercase());
    for (name, hint) in environment.unknown().filter(|(name, _)| name.starts_with(&prefix)) {
        problems.push(Problem::new(format!("{name}: unknown variable{hint}")));
    }
    let values = Values::resolve(given, &mut problems);
    if problems.is_empty() { Ok(values) } else { Err(SettingsError { problems }) }
}

#[cfg(unix)]
fn can_be_written_by_all(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o002 != 0)
}

#[cfg(not(unix))]
fn can_be_written_by_all(_: &Path) -> bool {
    false
}

/// Returns the text of a file.
pub type ReadFile<'r> = dyn Fn(&Path) -> io::Result<String> + 'r;

struct Layers<'e> {
    environment: &'e Environment,
    required: RequiredSettings,
    /// In ascending order of precedence.
    given: GivenValues,
    problems: Vec<Problem>,
    notes: Vec<Note>,
    anonymised: Option<endpoints::AnonymizationTopics>,
}

impl Layers<'_> {
    /// Returns the path in a setting, from the layers that take precedence over files.
    fn path(&self, flags: &Flags, id: SettingId) -> Option<(PathBuf, Origin)> {
        let setting = id.setting();
        if let (Some(path), Some(flag)) = (flags.get(id), setting.flag()) {
            return Some((path.into(), Origin::Flag(format!("--{flag}"))));
        }
        let path = self.environment.get(setting.variable).filter(|path| !path.trim().is_empty())?;
        Some((path.trim().into(), Origin::Variable(setting.variable)))
    }

    fn text(&mut self, path: &Path, origin: &Origin, read_file: &ReadFile<'_>) -> Option<String> {
        match read_file(path) {
            Ok(text) => Some(text),
            Err(error) => {
                let path = escaped(&redact(&path.to_string_lossy())).to_string();
                self.problems.push(Problem::at(origin, format!("cannot read {path}: {error}")));
                None
            }
        }
    }

    fn files(&mut self, flags: &Flags, read_file: &ReadFile<'_>) {
        let config = self.path(flags, SettingId::Config);
        let text = match &config {
            Some((path, origin)) => self.text(path, origin, read_file),
            None => match read_file(Path::new(DEFAULT_FILE)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                // An existing file must be readable.
                result => {
                    let origin = Origin::File { path: DEFAULT_FILE.into(), line: 1 };
                    self.text(Path::new(DEFAULT_FILE), &origin, &|_| match &result {
                        Ok(text) => Ok(text.clone()),
                        Err(error) => Err(error.kind().into()),
                    })
                }
            },
        };
        let path = config.map_or_else(|| PathBuf::from(DEFAULT_FILE), |(path, _)| path);
        let given = text.map(|text| file::read(&path, &text, &mut self.problems)).unwrap_or_default();
        let in_file = given.iter().find(|(id, path, _)| *id == SettingId::Endpoints && !path.is_empty());
        let in_file = in_file.map(|(_, path, origin)| (PathBuf::from(path), origin.clone()));
        // `endpoints.yml` holds no settings of the database.
        if self.required == RequiredSettings::Service
            && let Some((path, origin)) = self.path(flags, SettingId::Endpoints).or(in_file)
            && let Some(text) = self.text(&path, &origin, read_file)
        {
            let endpoints =
                endpoints::read(&path, &text, self.environment, &mut self.problems, &mut self.notes);
            self.given.extend(endpoints.given);
            self.anonymised = endpoints.anonymised;
        }
        self.given.extend(given);
    }

    fn variable(&mut self, setting: &Setting) {
        let variable = setting.variable;
        if self.environment.unreadable().iter().any(|name| name == variable) {
            self.problems.push(Problem::at(&Origin::Variable(variable), "the value is not valid UTF-8"));
        }
        if let Some(text) = self.environment.get(variable) {
            self.given.push((setting.id, text.to_owned(), Origin::Variable(variable)));
        }
    }

    fn variables(&mut self) {
        SETTINGS.iter().for_each(|setting| self.variable(setting));
        for (name, hint) in self.environment.unknown() {
            self.problems.push(Problem::new(format!("{name}: unknown variable{hint}")));
        }
    }
}

/// The values of all settings after precedence, each with its origin.
#[derive(Clone)]
pub(crate) struct Values(Vec<Option<(Value, Origin)>>);

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `Secret` hides itself.
        f.debug_list().entries(&self.0).finish()
    }
}

impl Values {
    /// Keeps the last value of each setting. An invalid value is a problem even if a later layer
    /// replaces it.
    fn resolve(given: GivenValues, problems: &mut Vec<Problem>) -> Self {
        let mut values = Self(vec![None; SETTINGS.len()]);
        for setting in SETTINGS {
            if let Some(text) = setting.default {
                values.put(setting, text, Origin::Default, problems);
            }
        }
        for (id, text, origin) in given {
            let setting = id.setting();
            // Many deployments set variables to an empty text, which counts as not set. The
            // exceptions are the dead letter topic, where it means that there is none, and an
            // empty list in the file.
            let is_list = setting.kind == Kind::Names && matches!(origin, Origin::File { .. });
            if !text.trim().is_empty() || id == SettingId::DeadLetterTopic || is_list {
                values.put(setting, &text, origin, problems);
            }
        }
        values
    }

    fn put(&mut self, setting: &Setting, text: &str, origin: Origin, problems: &mut Vec<Problem>) {
        match Value::read(setting.kind, text) {
            Ok(value) => {
                if let Some(slot) = self.0.get_mut(setting.id as usize) {
                    *slot = Some((value, origin));
                }
            }
            Err(expected) => {
                // For files, the origin does not include the name of the setting.
                let detail = match &origin {
                    Origin::File { .. } => format!("{}: {expected}", setting.key),
                    Origin::Endpoints { .. } | Origin::EndpointsDefault { .. } => {
                        format!("{} (from event_broker): {expected}", setting.variable)
                    }
                    Origin::Default | Origin::Variable(_) | Origin::Flag(_) => expected,
                };
                problems.push(Problem::at(&origin, detail));
            }
        }
    }

    fn note_settings_without_effect(&self, notes: &mut Vec<Note>) {
        for setting in SETTINGS {
            let (severity, why) = match setting.support {
                Support::Supported => continue,
                Support::Ignored(why) => (Severity::Info, why),
                Support::Unsupported(why) => (Severity::Warning, why),
            };
            if self.is_given(setting.id) && self.switch(setting.id) != Some(false) {
                let text = format!("ignored: {why}");
                notes.push(Note { severity, setting: setting.variable, text });
            }
        }
    }

    pub(crate) fn get(&self, id: SettingId) -> Option<&(Value, Origin)> {
        self.0.get(id as usize)?.as_ref()
    }

    /// Returns whether any layer but the defaults sets it.
    pub(crate) fn is_given(&self, id: SettingId) -> bool {
        self.origin(id) > Origin::Default
    }

    pub(crate) fn origin(&self, id: SettingId) -> Origin {
        self.get(id).map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    pub(crate) fn text(&self, id: SettingId) -> Option<String> {
        match self.get(id)? {
            (Value::Text(text), _) => Some(text.clone()),
            _ => None,
        }
    }

    pub(crate) fn path(&self, id: SettingId) -> Option<PathBuf> {
        self.text(id).map(PathBuf::from)
    }

    pub(crate) fn secret(&self, id: SettingId) -> Option<Secret> {
        match self.get(id)? {
            (Value::Secret(secret), _) => Some(secret.clone()),
            _ => None,
        }
    }

    pub(crate) fn switch(&self, id: SettingId) -> Option<bool> {
        match self.get(id)? {
            (Value::Switch(on), _) => Some(*on),
            _ => None,
        }
    }

    pub(crate) fn integer(&self, id: SettingId) -> Option<u64> {
        match self.get(id)? {
            (Value::Integer(number), _) => Some(*number),
            _ => None,
        }
    }

    pub(crate) fn duration(&self, id: SettingId) -> Option<Duration> {
        match self.get(id)? {
            (Value::Duration(duration), _) => Some(*duration),
            _ => None,
        }
    }

    pub(crate) fn choice(&self, id: SettingId) -> Option<&'static str> {
        match self.get(id)? {
            (Value::Choice(name), _) => Some(name),
            _ => None,
        }
    }
}

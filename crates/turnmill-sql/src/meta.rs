//! Facts about a store, kept in `_turnmill_meta` as names and values.

use std::collections::BTreeMap;

use turnmill_model::{SenderId, Settings};
use turnmill_sink::{StoreError, check_settings};

/// Version of the schema, see [`migrations`](crate::migrations).
pub const SCHEMA_VERSION: &str = "schema_version";
/// Version of the engine that made the rows.
pub const ENGINE_VERSION: &str = "engine_version";
/// The settings that change rows or ids, as JSON.
pub const SETTINGS: &str = "settings";

/// Revision of the patterns; 0 if there are none.
pub const PATTERNS_REVISION: &str = "patterns_revision";
/// Revision of the patterns that the marker rows of all senders are known to be made with; 0 if
/// there is none.
pub const SWEPT_PATTERNS: &str = "swept_patterns";
/// A running rebuild, see [`Rebuild`].
pub const REBUILD: &str = "rebuild";

/// State of a running rebuild.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Rebuild {
    /// Settings of the rebuild.
    pub settings: Settings,
    /// Version of the engine that rebuilds.
    pub engine_version: String,
    /// Last sender that is finished.
    pub after: Option<SenderId>,
}

impl Rebuild {
    /// Returns the rebuild with `settings` by this engine: the running one, or one that starts now.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if the stored text cannot be read.
    pub fn resume(meta: &BTreeMap<String, String>, settings: &Settings) -> Result<Self, StoreError> {
        let engine_version = turnmill_engine::VERSION.to_string();
        let fresh = Self { settings: settings.clone(), engine_version, after: None };
        let same = |noted: &Self| Self { after: None, ..noted.clone() } == fresh;
        Ok(Self::read(meta)?.filter(same).unwrap_or(fresh))
    }

    /// Returns the running rebuild, if there is one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if the stored text cannot be read.
    pub fn read(meta: &BTreeMap<String, String>) -> Result<Option<Self>, StoreError> {
        let damaged =
            |error| StoreError::Damaged { detail: format!("the note of a rebuild cannot be read: {error}") };
        meta.get(REBUILD).map(|json| serde_json::from_str(json)).transpose().map_err(damaged)
    }

    /// Encodes the state for the store.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Returns the facts of a new store.
#[must_use]
pub fn initial(settings: &Settings) -> [(&'static str, String); 2] {
    [(ENGINE_VERSION, turnmill_engine::VERSION.to_string()), (SETTINGS, to_json(settings))]
}

/// Returns the version of the schema, 0 if there is none.
///
/// # Errors
///
/// [`StoreError::Damaged`] if the stored text is no number.
pub fn schema_version(meta: &BTreeMap<String, String>) -> Result<u32, StoreError> {
    let Some(version) = meta.get(SCHEMA_VERSION) else { return Ok(0) };
    let damaged = |_| StoreError::Damaged { detail: format!("schema version `{version}` is no number") };
    version.parse().map_err(damaged)
}

/// Decodes the revision of the patterns.
///
/// # Errors
///
/// [`StoreError::Damaged`] if the stored text is no number.
pub fn patterns_revision(text: &str) -> Result<u64, StoreError> {
    let damaged = |_| StoreError::Damaged { detail: format!("patterns' revision `{text}` is no number") };
    text.parse().map_err(damaged)
}

/// Returns the settings that filled the store.
///
/// # Errors
///
/// [`StoreError::Damaged`] if there are none; [`StoreError::Unusable`] if some are not known here.
pub fn settings(meta: &BTreeMap<String, String>) -> Result<Settings, StoreError> {
    let missing =
        || StoreError::Damaged { detail: "the settings that it was filled with are missing".into() };
    let json = meta.get(SETTINGS).ok_or_else(missing)?;
    let read = |json: &str| -> Result<Settings, serde_json::Error> {
        let mut settings: serde_json::Value = serde_json::from_str(json)?;
        if let Some(settings) = settings.as_object_mut() {
            settings.remove(ASSISTANT);
        }
        serde_json::from_value(settings)
    };
    read(json).map_err(|error| StoreError::Unusable {
        detail: format!("the settings that the store was filled with cannot be read; use the turnmill that filled it: {json}"),
        source: Some(Box::new(error)),
    })
}

/// A setting that stores of engine version 1 had: the assistant of all senders. It is a fact of
/// each source now.
const ASSISTANT: &str = "assistant";

/// Returns the assistant of all senders, for a store that an engine of version 1 filled with one.
#[must_use]
pub fn assistant(meta: &BTreeMap<String, String>) -> Option<String> {
    let settings: serde_json::Value = serde_json::from_str(meta.get(SETTINGS)?).ok()?;
    settings.get(ASSISTANT)?.as_str().map(Into::into)
}

/// Returns the remedy for a store whose schema is older than that of this turnmill.
#[must_use]
pub fn way_forward(meta: &BTreeMap<String, String>) -> &'static str {
    if meta.get(ENGINE_VERSION) == Some(&turnmill_engine::VERSION.to_string()) {
        "open it once for writing"
    } else {
        "run `turnmill rebuild`, or use the turnmill that made it"
    }
}

/// Checks that rows made now fit those in the store.
///
/// # Errors
///
/// [`StoreError::Settings`] if other settings made them, [`StoreError::Unusable`] if another engine
/// did.
pub fn check(meta: &BTreeMap<String, String>, configured: &Settings) -> Result<(), StoreError> {
    if let Some(rebuild) = Rebuild::read(meta)?
        && (rebuild.settings != settings(meta)? || Some(&rebuild.engine_version) != meta.get(ENGINE_VERSION))
    {
        return Err(StoreError::rebuild_under_way());
    }
    check_settings(&settings(meta)?, configured)?;
    check_engine(meta)
}

/// Checks that this version of the engine made the rows.
///
/// # Errors
///
/// [`StoreError::Unusable`] if another one did. A rebuild then makes the rows again, and fills the
/// tables that are new.
pub fn check_engine(meta: &BTreeMap<String, String>) -> Result<(), StoreError> {
    let present = turnmill_engine::VERSION.to_string();
    match meta.get(ENGINE_VERSION) {
        Some(stored) if *stored == present => Ok(()),
        Some(stored) => Err(StoreError::Unusable {
            detail: format!(
                "the rows were made by engine version {stored} and this turnmill has version {present}: \
                 run `turnmill rebuild`, or use the turnmill that made them"
            ),
            source: None,
        }),
        None => Err(StoreError::Damaged { detail: "the engine version is missing".into() }),
    }
}

fn to_json(settings: &Settings) -> String {
    // Serialising plain data cannot fail. Reading would refuse an empty text.
    serde_json::to_string(settings).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use turnmill_sink::Class;

    use super::*;

    fn meta(settings: &Settings) -> BTreeMap<String, String> {
        initial(settings).into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    #[test]
    fn settings_and_engine_must_be_those_of_the_store() {
        let settings = Settings { bare_slot_strings: true, ..Settings::default() };
        let mut meta = meta(&settings);
        check(&meta, &settings).unwrap();
        let error = check(&meta, &Settings::default()).unwrap_err();
        assert!(error.to_string().contains("bare_slot_strings = true"), "{error}");
        meta.insert(ENGINE_VERSION.into(), "0".into());
        let error = check(&meta, &settings).unwrap_err();
        assert_eq!(error.class(), Class::Fatal);
        assert!(error.to_string().contains("turnmill rebuild"), "{error}");
    }

    #[test]
    fn settings_of_engine_version_1_name_an_assistant() {
        let json = r#"{"assistant":"bank","session_id":"uuid","bare_slot_strings":true,"stack_events":true}"#;
        let meta = BTreeMap::from([(SETTINGS.to_owned(), json.to_owned())]);
        assert_eq!(settings(&meta).unwrap(), Settings { bare_slot_strings: true, ..Settings::default() });
        assert_eq!(assistant(&meta).as_deref(), Some("bank"));
        assert_eq!(assistant(&self::meta(&Settings::default())), None);
    }

    #[test]
    fn an_older_store_is_brought_forward_by_who_can() {
        let mut meta = meta(&Settings::default());
        assert_eq!(way_forward(&meta), "open it once for writing");
        meta.insert(ENGINE_VERSION.into(), "1".into());
        assert!(way_forward(&meta).contains("turnmill rebuild"));
    }

    #[test]
    fn nonsense_is_damage() {
        let mut meta = meta(&Settings::default());
        assert_eq!(schema_version(&meta).unwrap(), 0);
        meta.insert(SCHEMA_VERSION.into(), "one".into());
        assert!(matches!(schema_version(&meta), Err(StoreError::Damaged { .. })));
        assert!(matches!(settings(&BTreeMap::new()), Err(StoreError::Damaged { .. })));
    }
}

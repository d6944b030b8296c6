//! What metrics are asked with: the section `[analytics]`.

use std::path::Path;

use turnmill_analytics::{Definitions, Zone};

use super::environment::Environment;
use super::flags::Flags;
use super::load::{ReadFile, Values, section};
use super::problem::SettingsError;
use super::table::SettingId;

/// What metrics are asked with, unless a question says otherwise.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnalyticsSettings {
    /// The lists that say what metrics mean.
    pub definitions: Definitions,
    /// Time zone of days, hours and weekdays.
    pub zone: Zone,
}

impl AnalyticsSettings {
    /// Reads the section of this process from its environment and the file that `flags` or the
    /// environment name. Without a file there are the defaults.
    ///
    /// # Errors
    ///
    /// Returns all problems of the file and of the section's variables at once.
    pub fn of_process(flags: &Flags) -> Result<Self, SettingsError> {
        let read = |path: &Path| std::fs::read_to_string(path);
        Self::read(flags, &Environment::of_process(), &read)
    }

    /// Reads the section. `read_file` returns the text of a file.
    ///
    /// ```
    /// use turnmill_service::settings::{AnalyticsSettings, Environment, Flags};
    /// let file = "[analytics]\ngreetings = [\"hi\", \"hello\"]\ntime_zone = \"Europe/Berlin\"\n";
    /// let read = |_: &std::path::Path| Ok(file.to_owned());
    /// let settings = AnalyticsSettings::read(&Flags::default(), &Environment::default(), &read)?;
    /// assert_eq!(settings.definitions.greetings, ["hi", "hello"]);
    /// assert_eq!(settings.zone.to_string(), "Europe/Berlin");
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
    ) -> Result<Self, SettingsError> {
        Ok(Self::of(&section("analytics", flags, environment, read_file)?))
    }

    fn of(values: &Values) -> Self {
        let list = |id| names(values, id).unwrap_or_default();
        let default = Definitions::default();
        let idle = values.integer(SettingId::IdleTimeout).and_then(|minutes| u32::try_from(minutes).ok());
        let zone = values.text(SettingId::AnalyticsTimeZone).and_then(|zone| zone.parse().ok());
        Self {
            definitions: Definitions {
                handover_intents: names(values, SettingId::HandoverIntents),
                handover_actions: list(SettingId::HandoverActions),
                fallback_intents: list(SettingId::FallbackIntents),
                fallback_responses: list(SettingId::FallbackResponses),
                abandon_responses: list(SettingId::AbandonResponses),
                greetings: list(SettingId::Greetings),
                error_responses: list(SettingId::ErrorResponses),
                goal_markers: list(SettingId::GoalMarkers),
                escalation_markers: list(SettingId::EscalationMarkers),
                idle_minutes: idle.unwrap_or(default.idle_minutes),
                ..default
            },
            zone: zone.unwrap_or_default(),
        }
    }
}

/// Returns the names of a list, `None` if nothing sets it.
fn names(values: &Values, id: SettingId) -> Option<Vec<String>> {
    let text = values.text(id)?;
    // An empty list, and not the name without characters.
    if text.is_empty() {
        return Some(Vec::new());
    }
    Some(text.split(',').map(|name| name.trim().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str, variables: &Environment) -> Result<AnalyticsSettings, String> {
        let read = |_: &Path| Ok(file.to_owned());
        AnalyticsSettings::read(&Flags::default(), variables, &read).map_err(|error| error.to_string())
    }

    #[test]
    fn without_settings_the_lists_are_the_defaults() {
        assert_eq!(read("", &Environment::default()).unwrap(), AnalyticsSettings::default());
    }

    #[test]
    fn lists_are_lists_in_the_file_and_commas_in_a_variable() {
        let file = "[analytics]\nabandon_responses = []\nhandover_intents = [\"help*\", \"human\"]\n\
                    idle_timeout_mins = 30\n[kafka]\ntopic = \"events\"\n";
        let environment = Environment::from([
            ("TURNMILL_ANALYTICS_GOAL_MARKERS", "ordered, paid"),
            // Others are not this section's business.
            ("RASA_ANALYTICS_DB_PORT", "many"),
        ]);
        let settings = read(file, &environment).unwrap();
        let expected = Definitions {
            abandon_responses: Vec::new(),
            handover_intents: Some(vec!["help*".into(), "human".into()]),
            goal_markers: vec!["ordered".into(), "paid".into()],
            idle_minutes: 30,
            ..Definitions::default()
        };
        assert_eq!(settings.definitions, expected);
    }

    #[test]
    fn a_wrong_name_gets_a_suggestion() {
        let error = read("[analytics]\nfallback_response = [\"a\"]\n", &Environment::default()).unwrap_err();
        assert!(error.contains("turnmill.toml:2") && error.contains("fallback_responses"), "{error}");
        let error = read("[analytic]\n", &Environment::default()).unwrap_err();
        assert!(error.contains("analytics"), "{error}");
        let environment = Environment::from([("TURNMILL_ANALYTICS_GREETING", "a")]);
        let error = read("", &environment).unwrap_err();
        assert!(error.contains("TURNMILL_ANALYTICS_GREETINGS"), "{error}");
        let error = read("[analytics]\ntime_zone = \"Berlin\"\n", &Environment::default()).unwrap_err();
        assert!(error.contains("expected a time zone"), "{error}");
    }
}

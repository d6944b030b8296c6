//! Command line flags, one for each setting that may be given there.

use std::collections::BTreeMap;
use std::fmt;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::table::{Kind, SETTINGS, SettingId};

/// The flags that were given. Include them in a command line with `#[command(flatten)]`. `Debug`
/// shows names only.
///
/// ```
/// use clap::Parser;
/// use turnmill_service::settings::{Flags, SettingId};
///
/// #[derive(Parser)]
/// struct Args {
///     #[command(flatten)]
///     settings: Flags,
/// }
/// let args = Args::parse_from(["run", "--kafka-topic", "rasa-events"]);
/// assert_eq!(args.settings.get(SettingId::Topic), Some("rasa-events"));
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Flags(BTreeMap<SettingId, String>);

impl Flags {
    /// Returns the text given for a setting.
    #[must_use]
    pub fn get(&self, id: SettingId) -> Option<&str> {
        self.0.get(&id).map(String::as_str)
    }

    /// Sets a flag as if it had been given.
    #[must_use]
    pub fn with(mut self, id: SettingId, text: impl Into<String>) -> Self {
        self.0.insert(id, text.into());
        self
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl clap::FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for setting in SETTINGS.iter().filter(|setting| setting.allowed_in.flag) {
            if let Ok(Some(text)) = matches.try_get_one::<String>(setting.key) {
                self.0.insert(setting.id, text.clone());
            }
        }
        Ok(())
    }
}

impl clap::Args for Flags {
    fn augment_args(command: Command) -> Command {
        let with_flag = SETTINGS.iter().filter_map(|setting| setting.flag().map(|flag| (setting, flag)));
        command.args(with_flag.map(|(setting, flag)| {
            let name = match setting.kind {
                Kind::Choice(_) | Kind::Text | Kind::Names | Kind::TimeZone => "VALUE",
                Kind::Brokers => "HOST:PORT,…",
                Kind::Secret | Kind::DatabaseUrl => "URL",
                Kind::Path => "PATH",
                Kind::Switch => "BOOL",
                Kind::Integer(..) => "N",
                Kind::Millis(..) => "MS",
                Kind::Seconds(..) => "SECS",
                Kind::Bytes(_) => "BYTES",
                Kind::Share => "SHARE",
                Kind::Address => "ADDRESS",
                Kind::Properties => "NAME=VALUE,…",
            };
            let arg = Arg::new(setting.key)
                .long(flag)
                .value_name(name)
                .help(format!("{} [{}]", setting.doc.replace('`', ""), setting.variable))
                .help_heading("Settings")
                .allow_hyphen_values(true)
                .action(ArgAction::Set);
            // `--log-json` without a value means true.
            if setting.kind == Kind::Switch {
                arg.num_args(0..=1).require_equals(true).default_missing_value("true")
            } else {
                arg
            }
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

//! `turnmill check`.

mod brokers;
mod sample;

use std::fmt::Display;
use std::io::Write;
use std::path::Path;

use turnmill_pipeline::{counted, explain};
use turnmill_service::settings::{Flags, Loaded, RequiredSettings, ServiceSettings, SettingsError, Severity};
use turnmill_sink::{StoreError, check_settings};
use turnmill_sink_postgres::{PostgresStore, SchemaFound};
use turnmill_sink_sqlite::SqliteStore;
use turnmill_text::escaped_message;

use crate::connect::{self, Target};
use crate::definitions::Definitions;
use crate::failure::Failure;

/// Arguments of `turnmill check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    settings: Flags,
    /// Connect to the brokers and the database, and check them too.
    #[arg(long)]
    connect: bool,
}

/// Prints findings, and remembers whether any of them is a problem.
struct Findings<W> {
    out: W,
    is_ok: bool,
}

impl<W: Write> Findings<W> {
    /// Writes a finding. Names of settings, topics and assistants are data, so they are escaped.
    fn line(&mut self, kind: &str, text: &dyn Display) -> std::io::Result<()> {
        writeln!(self.out, "{kind:<8} {}", escaped_message(&text.to_string()))
    }

    fn ok(&mut self, text: impl Display) -> std::io::Result<()> {
        self.line("ok", &text)
    }

    fn note(&mut self, text: impl Display) -> std::io::Result<()> {
        self.line("note", &text)
    }

    fn problem(&mut self, text: impl Display) -> std::io::Result<()> {
        self.is_ok = false;
        self.line("PROBLEM", &text)
    }
}

/// Prints the configuration and the findings. Returns `false` if there is a problem.
pub(crate) async fn run(args: &Args) -> Result<bool, Failure> {
    let mut findings = Findings { out: std::io::stdout().lock(), is_ok: true };
    let loaded = match Loaded::of_process(&args.settings, RequiredSettings::Service) {
        Ok(loaded) => loaded,
        Err(SettingsError { problems }) => {
            problems.iter().try_for_each(|problem| findings.problem(problem))?;
            return Ok(false);
        }
    };
    writeln!(findings.out, "{}\n", loaded.effective)?;
    for note in &loaded.notes {
        match note.severity {
            Severity::Info => findings.note(note)?,
            Severity::Warning => findings.note(format_args!("warning: {note}"))?,
        }
    }
    let settings = &loaded.settings;
    let kafka = connect::kafka(settings, 0);
    if let Err(error) = kafka.validate().and_then(|()| connect::producer(settings).validate()) {
        findings.problem(error)?;
    }
    let target = match Target::new(&settings.database) {
        Ok(target) => Some(target),
        Err(error) => {
            findings.problem(format_args!("RASA_ANALYTICS_DB_URL: {}", explain(&error)))?;
            None
        }
    };
    // Invalid markers do not prevent a connection.
    let can_connect = findings.is_ok;
    if let Some(path) = &settings.markers {
        markers(path, &mut findings)?;
    }
    if !can_connect {
        return Ok(false);
    }
    if !args.connect {
        findings.note("brokers and database not checked; use --connect")?;
        return Ok(findings.is_ok);
    }
    brokers::check(&loaded, &kafka, &mut findings)?;
    if let Some(target) = target {
        database(settings, &target, &mut findings).await?;
    }
    Ok(findings.is_ok)
}

/// Checks the marker files, as `turnmill markers check` does.
fn markers(path: &Path, findings: &mut Findings<impl Write>) -> std::io::Result<()> {
    match Definitions::read(&[path]) {
        Ok(Definitions { markers, warnings }) => {
            for warning in &warnings {
                findings.note(format_args!("warning: TURNMILL_MARKERS: {warning}"))?;
            }
            let count = counted(markers.markers().len() as u64, "marker");
            findings.ok(format_args!("TURNMILL_MARKERS: {count}, no errors"))
        }
        Err(errors) => {
            errors.iter().try_for_each(|error| findings.problem(format_args!("TURNMILL_MARKERS: {error}")))
        }
    }
}

async fn database(
    settings: &ServiceSettings,
    target: &Target,
    findings: &mut Findings<impl Write>,
) -> std::io::Result<()> {
    match target {
        Target::Postgres(postgres) => {
            let survey = match PostgresStore::new((**postgres).clone()).survey().await {
                Ok(survey) => survey,
                Err(error) => return store_problem(&error, findings),
            };
            let encrypted = if survey.encrypted { "encrypted" } else { "not encrypted" };
            findings.ok(format_args!("PostgreSQL {} reachable, connection {encrypted}", survey.server))?;
            let schema = postgres.schema();
            let migrate = settings.database.migrate;
            match survey.schema {
                SchemaFound::Missing | SchemaFound::Empty if !migrate => findings.problem(format_args!(
                    "RUN_ANALYTICS_DB_MIGRATIONS is false, but schema `{schema}` has no turnmill tables"
                ))?,
                SchemaFound::Missing => {
                    findings.note(format_args!("schema `{schema}` and its tables will be created"))?;
                }
                SchemaFound::Empty => {
                    findings.note(format_args!("the tables will be created in schema `{schema}`"))?;
                }
                SchemaFound::Store { settings: stored, pending } => {
                    match (pending.is_empty(), migrate) {
                        (true, _) => findings.ok(format_args!("schema `{schema}` is up to date"))?,
                        (false, true) => findings.note(format_args!(
                            "schema `{schema}` will be migrated: {}",
                            pending.join(", ")
                        ))?,
                        (false, false) => findings.problem(format_args!(
                            "RUN_ANALYTICS_DB_MIGRATIONS is false, but schema `{schema}` needs migration: {}",
                            pending.join(", ")
                        ))?,
                    }
                    if let Err(error) = check_settings(&stored, &settings.rows) {
                        store_problem(&error, findings)?;
                    }
                }
            }
            for problem in survey.problems {
                findings.problem(format_args!("RASA_ANALYTICS_DB_URL: {problem}"))?;
            }
            for step in survey.to_arrange {
                findings.note(format_args!(
                    "TURNMILL_DB_FOREIGN_KEYS: the tables differ from the setting; `turnmill foreign-keys` {step}"
                ))?;
            }
            for privilege in survey.lacking {
                findings.problem(format_args!("the database user lacks {privilege}"))?;
            }
            Ok(())
        }
        Target::Sqlite { url, .. } => {
            let path = url.trim_start_matches("sqlite:").trim_start_matches("///");
            let exists = std::fs::metadata(path).is_ok_and(|file| file.len() > 0);
            if !exists {
                return match settings.database.migrate {
                    true => findings.note(format_args!("`{path}` will be created")),
                    false => findings.problem(format_args!(
                        "RUN_ANALYTICS_DB_MIGRATIONS is false, but `{path}` does not exist"
                    )),
                };
            }
            let survey = match SqliteStore::file(path).read_only().survey() {
                Ok(survey) => survey,
                Err(error) => return store_problem(&error, findings),
            };
            let pending = survey.pending.join(", ");
            match (survey.problem, pending.is_empty()) {
                (Some(problem), _) => {
                    findings.problem(format_args!("RASA_ANALYTICS_DB_URL: `{path}`: {problem}"))?;
                }
                (None, true) => findings.ok(format_args!("store `{path}` is up to date"))?,
                (None, false) => {
                    findings.note(format_args!("store `{path}` will be migrated: {pending}"))?;
                }
            }
            match check_settings(&survey.settings, &settings.rows) {
                Ok(()) => Ok(()),
                Err(error) => store_problem(&error, findings),
            }
        }
    }
}

fn store_problem(error: &StoreError, findings: &mut Findings<impl Write>) -> std::io::Result<()> {
    match connect::setting_of(error) {
        Some(setting) => findings.problem(format_args!("{setting}: {}", explain(error))),
        None => findings.problem(explain(error)),
    }
}

//! `turnmill check`.

use std::fmt::Display;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use turnmill_pipeline::explain;
use turnmill_service::settings::{
    DeadLetterTopic, Flags, Loaded, Needs, ServiceSettings, SettingsError, Severity,
};
use turnmill_sink::{StoreError, check_settings};
use turnmill_sink_postgres::{PostgresStore, SchemaFound};
use turnmill_source::{GroupLimits, GroupProgress, GroupSource, RecordBatch};
use turnmill_source_kafka::{KafkaError, KafkaGroup, KafkaRange, KafkaSettings, check_connectivity};

use crate::Failure;
use crate::connect::{self, Target};
use crate::markers::Definitions;

/// How long brokers may take to answer.
const BROKERS: Duration = Duration::from_secs(10);
/// How long to read for records, to see whether they have keys.
const RECORDS: Duration = Duration::from_secs(5);

/// Arguments of `turnmill check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    settings: Flags,
    /// Connect to the brokers and to the database, and look whether everything is as it has to be.
    #[arg(long)]
    connect: bool,
}

/// What was found, and whether any of it is a problem.
struct Findings<W> {
    out: W,
    sound: bool,
}

impl<W: Write> Findings<W> {
    fn ok(&mut self, text: impl Display) -> std::io::Result<()> {
        writeln!(self.out, "ok       {text}")
    }

    fn note(&mut self, text: impl Display) -> std::io::Result<()> {
        writeln!(self.out, "note     {text}")
    }

    fn problem(&mut self, text: impl Display) -> std::io::Result<()> {
        self.sound = false;
        writeln!(self.out, "PROBLEM  {text}")
    }
}

/// Prints what is configured and what was found; false if something is wrong.
pub(crate) async fn run(args: &Args) -> Result<bool, Failure> {
    let mut findings = Findings { out: std::io::stdout().lock(), sound: true };
    let loaded = match Loaded::of_process(&args.settings, Needs::Service) {
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
            findings.problem(format_args!("RASA_ANALYTICS_DB_URL: {error}"))?;
            None
        }
    };
    // Bad markers are no reason not to connect.
    let connectable = findings.sound;
    if let Some(path) = &settings.markers {
        markers(path, &mut findings)?;
    }
    if !connectable {
        return Ok(false);
    }
    if !args.connect {
        findings.note("nothing was connected to; --connect does")?;
        return Ok(findings.sound);
    }
    brokers(settings, &kafka, &mut findings)?;
    if let Some(target) = target {
        database(settings, &target, &mut findings).await?;
    }
    Ok(findings.sound)
}

/// Looks at the marker files, as `turnmill markers check` does.
fn markers(path: &Path, findings: &mut Findings<impl Write>) -> std::io::Result<()> {
    match Definitions::read(&[path]) {
        Ok(Definitions { markers, warnings }) => {
            for warning in &warnings {
                findings.note(format_args!("warning: TURNMILL_MARKERS: {warning}"))?;
            }
            let count = markers.markers().len();
            findings.ok(format_args!("TURNMILL_MARKERS: {count} markers, nothing is wrong"))
        }
        Err(errors) => {
            errors.iter().try_for_each(|error| findings.problem(format_args!("TURNMILL_MARKERS: {error}")))
        }
    }
}

fn brokers(
    settings: &ServiceSettings,
    kafka: &KafkaSettings,
    findings: &mut Findings<impl Write>,
) -> std::io::Result<()> {
    let mirror = match &settings.dead_letters.topic {
        DeadLetterTopic::IfPresent(topic) | DeadLetterTopic::Wanted(topic) => Some(topic.as_str()),
        DeadLetterTopic::None => None,
    };
    let others: Vec<&str> = mirror.into_iter().collect();
    let found = match check_connectivity(kafka, &others, BROKERS) {
        Ok(found) => found,
        Err(KafkaError::Unreachable { brokers, problem }) => {
            return findings
                .problem(format_args!("KAFKA_BROKER_ADDRESS: no broker of {brokers} answers: {problem}"));
        }
        Err(error) => return findings.problem(explain(&error)),
    };
    findings.ok(format_args!("Kafka cluster {} answers, {} brokers", found.cluster, found.brokers))?;
    for topic in &found.topics {
        let name = &topic.topic;
        match topic.partitions {
            Some(count) if Some(name.as_str()) == mirror => {
                findings.ok(format_args!("dead-letter topic `{name}` is there, {count} partitions"))?;
            }
            Some(count) => {
                findings.ok(format_args!("topic `{name}` is there, {count} partitions"))?;
                if connect::consumers(settings) > count {
                    findings.note(format_args!(
                        "RASA_ANALYTICS_CONSUMER_COUNT: more consumers than the topic has partitions have nothing to do"
                    ))?;
                }
                keys(kafka, findings)?;
            }
            None if matches!(&settings.dead_letters.topic, DeadLetterTopic::Wanted(wanted) if wanted == name) =>
            {
                findings.problem(format_args!(
                    "RASA_ANALYTICS_DLQ: there is no topic `{name}`; it is never created, and the table keeps the dead letters"
                ))?;
            }
            None if Some(name.as_str()) == mirror => {
                findings.note(format_args!("there is no dead-letter topic `{name}`; the table keeps all"))?;
            }
            None => findings.problem(format_args!(
                "KAFKA_TOPIC: there is no topic `{name}`; the service would wait for it"
            ))?,
        }
    }
    Ok(())
}

/// Looks at a few records.
fn keys(kafka: &KafkaSettings, findings: &mut Findings<impl Write>) -> std::io::Result<()> {
    let mut settings = kafka.clone();
    settings.range = Some(KafkaRange::default());
    settings.group_instance_id = None;
    let seen = KafkaGroup::start(&settings).map_err(|error| explain(&error)).and_then(|mut group| {
        let (control, mut batch) = (group.control(), RecordBatch::new());
        let limits = GroupLimits { records: 100, ..GroupLimits::default() };
        let end = Instant::now() + RECORDS;
        while Instant::now() < end {
            match group.next(&limits, &mut batch).map_err(|error| explain(&error))? {
                GroupProgress::Assigned(assignment) => {
                    let partitions =
                        assignment.partitions.into_iter().map(|assigned| (assigned.partition, None));
                    control.start(assignment.generation, partitions.collect());
                }
                GroupProgress::Batch if !batch.is_empty() => {
                    return Ok(Some(batch.iter().all(|record| record.key.is_some())));
                }
                GroupProgress::Revoked { generation, .. } => control.released(generation),
                GroupProgress::Batch | GroupProgress::Idle => {}
                GroupProgress::End => return Ok(None),
            }
        }
        Ok(None)
    });
    match seen {
        Ok(Some(true)) => findings.ok("its records can be read and have keys"),
        Ok(Some(false)) => findings
            .ok("its records can be read and have no keys: the tables are right all the same; \
             `partition_by_sender: true` in the assistant's event_broker is faster"),
        Ok(None) => findings.note("it has no records yet"),
        Err(problem) => findings.problem(format_args!("KAFKA_TOPIC: its records cannot be read: {problem}")),
    }
}

async fn database(
    settings: &ServiceSettings,
    target: &Target,
    findings: &mut Findings<impl Write>,
) -> std::io::Result<()> {
    match target {
        Target::Postgres(place) => {
            let place = (**place).clone();
            let survey = match PostgresStore::new(place.clone()).survey().await {
                Ok(survey) => survey,
                Err(error) => return complain(&error, findings),
            };
            let encrypted = if survey.encrypted { "encrypted" } else { "not encrypted" };
            findings.ok(format_args!("PostgreSQL {} answers, {encrypted}", survey.server))?;
            let schema = place.schema();
            let migrate = settings.database.migrate;
            match survey.schema {
                SchemaFound::Missing | SchemaFound::Empty if !migrate => findings.problem(format_args!(
                    "RUN_ANALYTICS_DB_MIGRATIONS is false, and the schema `{schema}` has no tables of turnmill"
                ))?,
                SchemaFound::Missing => findings.note(format_args!("the schema `{schema}` is to be created"))?,
                SchemaFound::Empty => {
                    findings.note(format_args!("the tables are to be created in the schema `{schema}`"))?;
                }
                SchemaFound::Store { settings: stored, pending } => {
                    match (pending.is_empty(), migrate) {
                        (true, _) => findings.ok(format_args!("the schema `{schema}` is up to date"))?,
                        (false, true) => findings
                            .note(format_args!("the schema `{schema}` lacks migration {}", pending.join(", ")))?,
                        (false, false) => findings.problem(format_args!(
                            "RUN_ANALYTICS_DB_MIGRATIONS is false, and the schema `{schema}` lacks migration {}",
                            pending.join(", ")
                        ))?,
                    }
                    if let Err(error) = check_settings(&stored, &settings.rows) {
                        complain(&error, findings)?;
                    }
                }
            }
            for problem in survey.problems {
                findings.problem(format_args!("RASA_ANALYTICS_DB_URL: {problem}"))?;
            }
            for step in survey.to_arrange {
                findings.note(format_args!(
                    "TURNMILL_DB_FOREIGN_KEYS: the tables are not as it says; `turnmill foreign-keys` {step}"
                ))?;
            }
            for privilege in survey.lacking {
                findings.problem(format_args!("the database's user lacks {privilege}"))?;
            }
            Ok(())
        }
        Target::Sqlite { url, .. } => {
            let path = url.trim_start_matches("sqlite:").trim_start_matches("///");
            let there = std::fs::metadata(path).is_ok_and(|file| file.len() > 0);
            if !there {
                return match settings.database.migrate {
                    true => findings.note(format_args!("`{path}` is to be created")),
                    false => findings.problem(format_args!(
                        "RUN_ANALYTICS_DB_MIGRATIONS is false, and there is no store at `{path}`"
                    )),
                };
            }
            let stored = match target.store() {
                Ok(store) => store.read_only().open_as_it_is().await,
                Err(error) => Err(error),
            };
            match stored.and_then(|stored| check_settings(&stored, &settings.rows)) {
                Ok(()) => findings.ok(format_args!("`{path}` is a store and up to date")),
                Err(error) => complain(&error, findings),
            }
        }
    }
}

fn complain(error: &StoreError, findings: &mut Findings<impl Write>) -> std::io::Result<()> {
    match connect::setting_of(error) {
        Some(setting) => findings.problem(format_args!("{setting}: {}", explain(error))),
        None => findings.problem(explain(error)),
    }
}

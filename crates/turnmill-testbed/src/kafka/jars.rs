//! Kafka's programs, which are downloaded once per user.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Unavailable, find};

/// The release of Apache Kafka that tests run against.
pub const VERSION: &str = "4.3.1";

/// The version of the logging library in that release. Without it, a broker that fails prints no
/// reason.
const SLF4J: &str = "1.7.36";

/// The oldest Java version that supports this release.
const JAVA: u32 = 17;

/// How to start a Java program of Kafka.
#[derive(Clone, Debug)]
pub(super) struct Java {
    program: PathBuf,
    class_path: String,
}

impl Java {
    /// Finds Java, and downloads Kafka from Maven Central if necessary.
    pub(super) fn find() -> Result<Self, Unavailable> {
        let home = std::env::var_os("JAVA_HOME").map(|home| Path::new(&home).join("bin/java"));
        let program = home.filter(|file| file.is_file()).or_else(|| find::program("java"));
        let Some(program) = program else {
            return Err(missing(format!("Java {JAVA} is missing: install Debian's `default-jre-headless`")));
        };
        let folder = cache()?.join(format!("kafka-{VERSION}")).join("lib");
        if !folder.is_dir() {
            // Check only before the download: the check takes a moment, and a downloaded Kafka has
            // run before.
            require_version(&program)?;
            fetch(&folder)?;
        }
        Ok(Self { program, class_path: format!("{}/*", folder.display()) })
    }

    /// Returns the command that runs a class, with options of the virtual machine.
    pub(super) fn command(&self, options: &[&str], class: &str) -> Vec<String> {
        let mut command = vec![self.program.display().to_string()];
        command
            .extend(["-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"].map(str::to_owned));
        command.extend(options.iter().copied().map(str::to_owned));
        command.extend(["-cp".to_owned(), self.class_path.clone(), class.to_owned()]);
        command
    }

    /// Returns the command of a short-lived program.
    pub(super) fn tool(&self, class: &str) -> Command {
        // The optimising compiler does not pay off within a second.
        let words = self.command(&["-XX:TieredStopAtLevel=1"], class);
        let mut command = Command::new(&self.program);
        command.args(words.iter().skip(1));
        command
    }
}

fn require_version(java: &Path) -> Result<(), Unavailable> {
    // The first line is like `openjdk 17.0.15 2025-04-15`, or like `java version "1.8.0"` in old
    // versions.
    let printed = find::output(Command::new(java).arg("--version")).unwrap_or_default();
    let digits = printed.split_whitespace().nth(1).unwrap_or_default();
    let major: u32 = digits
        .split(|digit: char| !digit.is_ascii_digit())
        .next()
        .and_then(|major| major.parse().ok())
        .unwrap_or(0);
    if major < JAVA {
        let java = java.display();
        return Err(missing(format!("`{java}` is too old: Kafka {VERSION} needs Java {JAVA}")));
    }
    Ok(())
}

/// Returns `$TURNMILL_TEST_CACHE`, or a folder in the user's cache.
fn cache() -> Result<PathBuf, Unavailable> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("TURNMILL_TEST_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|folder| folder.join("turnmill-test")))
        .or_else(|| variable("HOME").map(|folder| folder.join(".cache/turnmill-test")))
        .ok_or_else(|| missing("there is no folder for Kafka: set TURNMILL_TEST_CACHE".to_owned()))
}

/// Downloads Kafka to `folder`, which appears only when it is complete.
fn fetch(folder: &Path) -> Result<(), Unavailable> {
    let Some(maven) = find::program("mvn") else {
        return Err(missing("Maven is missing, which fetches Kafka: install Debian's `maven`".to_owned()));
    };
    let parent = folder.parent().unwrap_or(folder);
    let failed = |error: std::io::Error| {
        Unavailable::failed("Kafka", format!("filling `{}`: {error}", folder.display()))
    };
    fs::create_dir_all(parent).map_err(failed)?;
    let lock = File::create(parent.join("lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    if folder.is_dir() {
        return Ok(());
    }
    let work = tempfile::Builder::new().prefix("fetching-").tempdir_in(parent).map_err(failed)?;
    fs::write(work.path().join("pom.xml"), pom()).map_err(failed)?;
    let complete = work.path().join("lib");
    let mut command = Command::new(maven);
    command.current_dir(work.path()).args([
        "--batch-mode",
        "--no-transfer-progress",
        "dependency:copy-dependencies",
    ]);
    // Do not use the user's repository: Maven's own plugins are deleted with this folder.
    command.arg(format!("-Dmaven.repo.local={}", work.path().join("repository").display()));
    command.arg("-DincludeScope=runtime").arg(format!("-DoutputDirectory={}", complete.display()));
    find::output(&mut command).map_err(|error| {
        // The first problem that Maven prints, sometimes in two lines, is nearest to the cause.
        let wrong = |line: &&str| line.starts_with("[WARNING] ") || line.starts_with("[ERROR] ");
        let lines = error.lines().map(str::trim_end);
        let complaint: Vec<&str> = lines.skip_while(|line| !wrong(line)).take(2).collect();
        let complaint = if complaint.is_empty() { error } else { complaint.join(" ") };
        missing(format!("fetching Kafka {VERSION}: {complaint}"))
    })?;
    fs::rename(complete, folder).map_err(failed)
}

fn pom() -> String {
    let dependency = |group: &str, artifact: &str, version: &str| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></dependency>"
        )
    };
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
         <groupId>turnmill</groupId><artifactId>testbed</artifactId><version>0</version>\
         <dependencies>{}{}</dependencies></project>\n",
        dependency("org.apache.kafka", "kafka_2.13", VERSION),
        dependency("org.slf4j", "slf4j-simple", SLF4J)
    )
}

fn missing(reason: String) -> Unavailable {
    Unavailable::Missing(reason)
}

//! The server that all tests share, and databases on it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::server::{Options, Server};
use super::tools::Tools;
use crate::{Unavailable, find, or_skip};

/// Options of a database with ICU's English collation.
const ICU: &str = "LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C'";

/// Creates an empty database on the server that all tests share, and returns its URL. Returns
/// `None` if there is no server, which is [noted](crate::skip).
///
/// # Panics
///
/// If a server exists and does not work.
#[must_use]
#[track_caller]
pub fn database() -> Option<String> {
    Some(shared()?.create_database(&fresh_name()))
}

/// Like [`database`], with texts that compare by the rules of English instead of as bytes, as on
/// most systems.
///
/// The collation is glibc's `en_US.UTF-8` or an ICU one. Returns `None` if the server has neither,
/// which is noted.
///
/// # Panics
///
/// If a server exists and does not work.
#[must_use]
#[track_caller]
pub fn english_database() -> Option<String> {
    let shared = shared()?;
    let name = fresh_name();
    if let Some(url) = shared.create_english_database(&name) {
        return Some(url);
    }
    crate::skip("PostgreSQL has neither the locale en_US.UTF-8 (Debian's `locales`, `localedef`) nor ICU");
    None
}

/// Like [`english_database`], under an ICU collation whatever locales the system has.
///
/// Returns `None` before PostgreSQL 15, whose databases have no ICU collation. Also `None` if the
/// server was built without ICU, which is noted.
///
/// # Panics
///
/// If an installed server does not work.
#[must_use]
#[track_caller]
pub fn icu_database() -> Option<String> {
    let shared = shared()?;
    let version: u32 = shared.execute(shared.url(), "SHOW server_version_num").trim().parse().unwrap_or(0);
    if version < 150_000 {
        return None;
    }
    let created = shared.try_create(&fresh_name(), &format!("TEMPLATE template0 ENCODING 'UTF8' {ICU}"));
    if let Err(error) = &created {
        crate::skip(&format!("PostgreSQL has no ICU: {error}"));
    }
    created.ok()
}

/// Like [`database`], with options of `CREATE DATABASE`.
///
/// # Panics
///
/// If the server refuses.
#[must_use]
#[track_caller]
pub fn database_with(options: &str) -> Option<String> {
    let created = shared()?.try_create(&fresh_name(), options);
    Some(created.unwrap_or_else(|error| panic!("TURNMILL_TEST_POSTGRES_URL: {error}")))
}

/// Returns an unused name of a database. Other processes use the same server.
fn fresh_name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("turnmill_{}_{number}_{:08x}", std::process::id(), fastrand::u32(..))
}

/// Returns the server that all tests share: the one in `TURNMILL_TEST_POSTGRES_URL`, or one that is
/// started for this process. Returns `None` if there is no server, which is [noted](crate::skip).
///
/// # Panics
///
/// If a server is installed and does not start.
#[must_use]
#[track_caller]
pub fn shared() -> Option<&'static Shared> {
    static SHARED: OnceLock<Result<Shared, Unavailable>> = OnceLock::new();
    or_skip(SHARED.get_or_init(Shared::find).as_ref().map_err(Clone::clone))
}

/// A server that tests share. Tests must not stop it: those that stop a server start their own.
#[derive(Debug)]
pub struct Shared {
    url: String,
    psql: Tools,
    /// `None` if the server is external.
    _server: Option<Server>,
}

impl Shared {
    fn find() -> Result<Self, Unavailable> {
        match std::env::var("TURNMILL_TEST_POSTGRES_URL") {
            Ok(url) if !url.is_empty() => Ok(Self { url, psql: Tools::find_client()?, _server: None }),
            _ => {
                let server = Server::start(&Options::default())?;
                Ok(Self { url: server.url(), psql: server.tools.clone(), _server: Some(server) })
            }
        }
    }

    /// Returns the URL of an existing database, for a user who may create others.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Creates an empty database and returns its URL. It is never removed from an external server.
    ///
    /// # Panics
    ///
    /// If the server refuses.
    #[track_caller]
    pub fn create_database(&self, name: &str) -> String {
        self.try_create(name, "").unwrap_or_else(|error| panic!("TURNMILL_TEST_POSTGRES_URL: {error}"))
    }

    /// Creates an empty database with English collation. Returns `None` if the server has no such
    /// collation.
    #[must_use]
    pub fn create_english_database(&self, name: &str) -> Option<String> {
        let options = [
            "LC_COLLATE 'en_US.UTF-8' LC_CTYPE 'en_US.UTF-8'",
            "LC_COLLATE 'en_US.utf8' LC_CTYPE 'en_US.utf8'",
            ICU,
        ];
        let mut attempts = options
            .iter()
            .map(|options| self.try_create(name, &format!("TEMPLATE template0 ENCODING 'UTF8' {options}")));
        attempts.find_map(Result::ok)
    }

    /// Executes statements in one of its databases.
    ///
    /// # Panics
    ///
    /// If a statement fails.
    #[track_caller]
    pub fn execute(&self, url: &str, statements: &str) -> String {
        let mut command = self.psql.psql();
        command.args(["-d", url, "-c", statements]);
        find::output(&mut command).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Runs a script in one of its databases, with psql's variables.
    ///
    /// # Panics
    ///
    /// If a statement fails.
    #[track_caller]
    pub fn run_file(&self, url: &str, script: &str, variables: &[(&str, &str)]) -> String {
        let mut command = self.psql.psql();
        command.args(["-d", url, "-f", script]);
        for (name, value) in variables {
            command.arg(format!("--set={name}={value}"));
        }
        find::output(&mut command).unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_create(&self, name: &str, options: &str) -> Result<String, String> {
        let mut command = self.psql.psql();
        command.args(["-d", &self.url, "-c", &format!("CREATE DATABASE \"{name}\" {options}")]);
        find::output(&mut command)?;
        Ok(with_database(&self.url, name))
    }
}

/// Returns the URL with another database.
fn with_database(url: &str, database: &str) -> String {
    let (address, query) = match url.split_once('?') {
        Some((address, query)) => (address, format!("?{query}")),
        None => (url, String::new()),
    };
    let host = address.find("://").map_or(0, |at| at + 3);
    let end = address[host..].find('/').map_or(address.len(), |at| host + at);
    format!("{}/{database}{query}", &address[..end])
}

#[cfg(test)]
mod tests {
    use super::with_database;

    #[test]
    fn the_database_of_a_url_is_replaced() {
        for (url, expected) in [
            ("postgres://u:p@h:5432/old", "postgres://u:p@h:5432/new"),
            ("postgres://u:p@h:5432", "postgres://u:p@h:5432/new"),
            ("postgres://u@h/old?sslmode=require&x=/y", "postgres://u@h/new?sslmode=require&x=/y"),
            ("postgresql://h?connect_timeout=3", "postgresql://h/new?connect_timeout=3"),
        ] {
            assert_eq!(with_database(url, "new"), expected);
        }
    }
}

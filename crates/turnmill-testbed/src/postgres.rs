//! PostgreSQL servers.
//!
//! ```
//! use turnmill_testbed::postgres;
//!
//! # fn main() {
//! // A new database on the server that all tests share; or the test is skipped.
//! let Some(url) = postgres::database() else { return };
//! assert!(url.starts_with("postgres://"));
//! # }
//! ```

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::supervisor::Supervisor;
use crate::tls::{Authority, Files, write_private};
use crate::{Unavailable, find, or_skip};

/// The superuser.
pub const USER: &str = "postgres";
/// The superuser's password, for every connection without a certificate.
pub const PASSWORD: &str = "turnmill-secret";

/// Options of a database with ICU's English collation.
const ICU: &str = "LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C'";

/// Settings of a new server.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whether commits are forced to disk, as by default. A killed server keeps its commits either
    /// way, because the operating system still has them. Forcing is slower.
    pub durable: bool,
    /// More lines for `postgresql.conf`, such as `max_connections = 20`.
    pub settings: Vec<String>,
    /// The access over TCP.
    pub access: Access,
}

/// Access over TCP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Password (SCRAM), without TLS.
    #[default]
    Plain,
    /// Password, with or without TLS.
    Tls,
    /// Password, with TLS only.
    TlsOnly,
    /// TLS and a client certificate with the user as its common name; no password.
    Certificate,
}

/// A private PostgreSQL server. Its data are deleted when it is dropped.
#[derive(Debug)]
pub struct Server {
    supervisor: Supervisor,
    port: u16,
    tools: Tools,
    tls: Option<Files>,
}

impl Server {
    /// Creates a cluster and starts a server on it.
    ///
    /// # Errors
    ///
    /// If PostgreSQL is not installed, or does not start.
    pub fn start(options: &Options) -> Result<Self, Unavailable> {
        find::on_free_ports(|| Self::try_start(options))
    }

    fn try_start(options: &Options) -> Result<Self, Unavailable> {
        let tools = Tools::find()?;
        let folder = tempfile::Builder::new().prefix("turnmill-postgres-").tempdir().map_err(failed)?;
        let path = folder.path();
        let account = Account::for_files_of(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(failed)?;
        account.own(path)?;

        initialise(&tools, &account, path)?;
        let data = path.join("data");
        let tls = match options.access {
            Access::Plain => None,
            Access::Tls | Access::TlsOnly | Access::Certificate => Some(certificates(path, &account)?),
        };
        let port = find::free_port();
        let mut conf =
            fs::OpenOptions::new().append(true).open(data.join("postgresql.conf")).map_err(failed)?;
        conf.write_all(configuration(options, path, port).as_bytes()).map_err(failed)?;
        fs::write(data.join("pg_hba.conf"), access_rules(options.access)).map_err(failed)?;

        Self::run(folder, &account, port, tools, tls)
    }

    /// Starts a read-only copy that follows this server: a hot standby.
    ///
    /// # Errors
    ///
    /// If `pg_basebackup` is not installed, or the standby does not start.
    pub fn standby(&self) -> Result<Self, Unavailable> {
        find::on_free_ports(|| self.try_standby())
    }

    fn try_standby(&self) -> Result<Self, Unavailable> {
        let program = self.tools.initdb.with_file_name("pg_basebackup");
        if !program.is_file() {
            let reason = "pg_basebackup is missing: install Debian's `postgresql-client`";
            return Err(Unavailable::Missing(reason.to_owned()));
        }
        let folder = tempfile::Builder::new().prefix("turnmill-standby-").tempdir().map_err(failed)?;
        let place = folder.path();
        let account = Account::for_files_of(place)?;
        fs::set_permissions(place, fs::Permissions::from_mode(0o755)).map_err(failed)?;
        account.own(place)?;
        let data = place.join("data");
        let mut copy = account.command(&program);
        copy.current_dir(place).env("PGPASSWORD", PASSWORD);
        copy.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", USER]);
        copy.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "-D"]).arg(&data);
        find::output(&mut copy).map_err(failed)?;
        let port = find::free_port();
        let mut conf =
            fs::OpenOptions::new().append(true).open(data.join("postgresql.conf")).map_err(failed)?;
        // The last value counts; the other settings are copied.
        let own = format!("\nport = {port}\nunix_socket_directories = '{}'\n", place.display());
        conf.write_all(own.as_bytes()).map_err(failed)?;
        Self::run(folder, &account, port, self.tools.clone(), None)
    }

    /// Waits until a standby has everything that is committed here.
    ///
    /// # Panics
    ///
    /// If that takes more than a minute.
    #[track_caller]
    pub fn wait_for(&self, standby: &Self) {
        let here = self.psql("postgres", "SELECT pg_current_wal_lsn()");
        let there = format!("SELECT pg_last_wal_replay_lsn() >= '{}'", here.trim());
        let end = Instant::now() + Duration::from_secs(60);
        while standby.psql("postgres", &there).trim() != "t" {
            assert!(Instant::now() < end, "the standby does not follow: {}", standby.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn run(
        folder: TempDir,
        account: &Account,
        port: u16,
        tools: Tools,
        tls: Option<Files>,
    ) -> Result<Self, Unavailable> {
        let data = folder.path().join("data");
        let mut command = account.prefix.clone();
        command.extend([tools.server.display().to_string(), "-D".to_owned(), data.display().to_string()]);
        let supervisor = Supervisor::new("PostgreSQL", folder, "QUIT", &command)?;
        let server = Self { supervisor, port, tools, tls };
        server.boot()?;
        Ok(server)
    }

    fn boot(&self) -> Result<(), Unavailable> {
        let pid = self.supervisor.start()?;
        let status = self.supervisor.folder().join("data/postmaster.pid");
        // The first line is the process, the eighth its state. Both may be those of a killed
        // server.
        self.supervisor.wait_until(|| {
            let text = fs::read_to_string(&status).unwrap_or_default();
            let mut lines = text.lines();
            lines.next() == Some(pid.to_string().as_str())
                && lines.nth(6).is_some_and(|state| state.trim() == "ready")
        })
    }

    /// Returns the URL of the database `postgres` for the superuser.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// Returns the URL of a database for the superuser. Append `?sslmode=...` for TLS.
    #[must_use]
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// Creates an empty database and returns its URL.
    ///
    /// # Panics
    ///
    /// If the server refuses.
    #[track_caller]
    pub fn create_database(&self, name: &str) -> String {
        self.psql("postgres", &format!("CREATE DATABASE \"{name}\""));
        self.url_of(name)
    }

    /// Executes statements as superuser with `psql` on a local connection, whatever the access over
    /// TCP is. Returns one line per row, with `|` between columns.
    ///
    /// # Panics
    ///
    /// If a statement fails.
    #[track_caller]
    pub fn psql(&self, database: &str, statements: &str) -> String {
        let mut command = self.tools.psql();
        command.arg("-h").arg(self.supervisor.folder());
        command.args(["-p", &self.port.to_string(), "-U", USER, "-d", database, "-c", statements]);
        find::output(&mut command).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Returns the port on 127.0.0.1. It never changes.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the folder of the Unix socket, where the superuser needs no password.
    #[must_use]
    pub fn socket_folder(&self) -> &Path {
        self.supervisor.folder()
    }

    /// Returns the id of the first process while the server runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.supervisor.pid()
    }

    /// Returns the certificates for clients, if the server has TLS.
    #[must_use]
    pub fn tls(&self) -> Option<&Files> {
        self.tls.as_ref()
    }

    /// Returns the server's output.
    #[must_use]
    pub fn log(&self) -> String {
        self.supervisor.log()
    }

    /// Shuts the server down and closes its connections (a "fast" shutdown).
    ///
    /// # Panics
    ///
    /// If the server does not end.
    #[track_caller]
    pub fn stop(&self) {
        self.supervisor.end("INT");
    }

    /// Kills all processes of the server. The next start recovers from the log.
    ///
    /// # Panics
    ///
    /// If the server does not end.
    #[track_caller]
    pub fn kill(&self) {
        self.supervisor.end("QUIT");
    }

    /// Starts a stopped or killed server with the same port and data.
    ///
    /// # Panics
    ///
    /// If the server does not start.
    #[track_caller]
    pub fn start_again(&self) {
        if let Err(error) = self.boot() {
            panic!("{error}");
        }
    }
}

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

/// PostgreSQL's programs.
#[derive(Clone, Debug)]
struct Tools {
    initdb: PathBuf,
    server: PathBuf,
    psql: PathBuf,
}

impl Tools {
    fn find() -> Result<Self, Unavailable> {
        // Allows tests with another version than the installed one.
        let named = std::env::var_os("TURNMILL_TESTBED_POSTGRES").filter(|folder| !folder.is_empty());
        let on_path = find::program("initdb").and_then(|file| file.parent().map(Path::to_owned));
        let folders = named
            .map(PathBuf::from)
            .into_iter()
            .chain(on_path)
            .chain(find::versioned("/usr/lib/postgresql", ""))
            .chain(find::versioned("/usr", "pgsql-"))
            .chain(find::versioned("/opt/homebrew/opt", "postgresql@"));
        let tools = |folder: PathBuf| Self {
            initdb: folder.join("initdb"),
            server: folder.join("postgres"),
            psql: Some(folder.join("psql")).filter(|file| file.is_file()).unwrap_or_else(|| "psql".into()),
        };
        folders.map(tools).find(|tools| tools.initdb.is_file() && tools.server.is_file()).ok_or_else(|| {
            Unavailable::Missing("PostgreSQL is missing: install Debian's `postgresql`".to_owned())
        })
    }

    /// Finds only what a server that runs elsewhere requires.
    fn find_client() -> Result<Self, Unavailable> {
        Self::find().or_else(|_| {
            find::program("psql")
                .map(|psql| Self { initdb: PathBuf::new(), server: PathBuf::new(), psql })
                .ok_or_else(|| {
                    Unavailable::Missing("psql is missing: install `postgresql-client`".to_owned())
                })
        })
    }

    fn psql(&self) -> Command {
        let mut command = Command::new(&self.psql);
        // No personal settings, stop at the first error, bare rows only.
        command.args(["--no-psqlrc", "--no-password", "--quiet", "--tuples-only", "--no-align"]);
        command.args(["-v", "ON_ERROR_STOP=1"]);
        command
    }
}

/// The account of the server: PostgreSQL refuses to run as root.
struct Account {
    prefix: Vec<String>,
    ids: Option<(u32, u32)>,
}

impl Account {
    /// `file` was just created by this process, so its owner is this process's user.
    fn for_files_of(file: &Path) -> Result<Self, Unavailable> {
        if fs::metadata(file).map_err(failed)?.uid() != 0 {
            return Ok(Self { prefix: Vec::new(), ids: None });
        }
        let id = |flag: &str| {
            find::output(Command::new("id").args([flag, USER]))
                .ok()
                .and_then(|printed| printed.trim().parse().ok())
                .ok_or_else(|| {
                    Unavailable::Missing(format!(
                        "PostgreSQL cannot run as root, and there is no user `{USER}`"
                    ))
                })
        };
        let Some(setpriv) = find::program("setpriv") else {
            let reason = "PostgreSQL cannot run as root, and setpriv is missing: install `util-linux`";
            return Err(Unavailable::Missing(reason.to_owned()));
        };
        let ids = (id("-u")?, id("-g")?);
        let prefix = vec![
            setpriv.display().to_string(),
            format!("--reuid={}", ids.0),
            format!("--regid={}", ids.1),
            "--init-groups".to_owned(),
            "--".to_owned(),
        ];
        Ok(Self { prefix, ids: Some(ids) })
    }

    fn own(&self, path: &Path) -> Result<(), Unavailable> {
        let Some((user, group)) = self.ids else { return Ok(()) };
        chown(path, Some(user), Some(group)).map_err(failed)
    }

    fn command(&self, program: &Path) -> Command {
        match self.prefix.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        }
    }
}

fn initialise(tools: &Tools, account: &Account, folder: &Path) -> Result<(), Unavailable> {
    let password = folder.join("password");
    write_private(&password, PASSWORD).map_err(failed)?;
    account.own(&password)?;
    let mut command = account.command(&tools.initdb);
    command.current_dir(folder).args(["-U", USER, "--encoding=UTF8", "--locale=C", "--no-sync"]);
    command.arg("--auth=scram-sha-256").arg("--pwfile").arg(&password).arg("-D").arg(folder.join("data"));
    find::output(&mut command).map_err(failed)?;
    Ok(())
}

fn certificates(folder: &Path, account: &Account) -> Result<Files, Unavailable> {
    let authority = Authority::new("turnmill-testbed");
    let server = authority.server();
    for (name, text) in [("server.pem", &server.certificate), ("server.key", &server.key)] {
        let path = folder.join(name);
        write_private(&path, text).map_err(failed)?;
        account.own(&path)?;
    }
    let files = Files::write(folder, &authority, USER).map_err(failed)?;
    // The clients' files stay readable here. The server reads this file too.
    let authority_for_server = folder.join("clients-ca.pem");
    write_private(&authority_for_server, &authority.certificate()).map_err(failed)?;
    account.own(&authority_for_server)?;
    Ok(files)
}

fn configuration(options: &Options, folder: &Path, port: u16) -> String {
    let folder = folder.display();
    let mut lines = vec![
        "listen_addresses = '127.0.0.1'".to_owned(),
        format!("port = {port}"),
        format!("unix_socket_directories = '{folder}'"),
        "max_connections = 200".to_owned(),
    ];
    if !options.durable {
        // Without `synchronous_commit` a killed server would lose commits that it has confirmed.
        for setting in ["fsync", "full_page_writes"] {
            lines.push(format!("{setting} = off"));
        }
    }
    if options.access != Access::Plain {
        lines.push("ssl = on".to_owned());
        for (setting, file) in [
            ("ssl_cert_file", "server.pem"),
            ("ssl_key_file", "server.key"),
            ("ssl_ca_file", "clients-ca.pem"),
        ] {
            lines.push(format!("{setting} = '{folder}/{file}'"));
        }
    }
    lines.extend(options.settings.iter().cloned());
    format!("\n{}\n", lines.join("\n"))
}

fn access_rules(access: Access) -> String {
    let (kind, method) = match access {
        Access::Plain | Access::Tls => ("host", "scram-sha-256"),
        Access::TlsOnly => ("hostssl", "scram-sha-256"),
        Access::Certificate => ("hostssl", "cert"),
    };
    // The socket is for administration only, in a private folder.
    format!(
        "local all all trust\n\
         {kind} all all 127.0.0.1/32 {method}\n\
         {kind} replication all 127.0.0.1/32 {method}\n"
    )
}

fn failed(error: impl std::fmt::Display) -> Unavailable {
    Unavailable::failed("PostgreSQL", error)
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

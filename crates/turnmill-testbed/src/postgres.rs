//! PostgreSQL servers.
//!
//! ```
//! use turnmill_testbed::postgres;
//!
//! # fn main() {
//! // A database of its own on the server that all tests share; or the test is skipped.
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
/// The superuser's password, needed on every connection but those with a certificate.
pub const PASSWORD: &str = "turnmill-secret";

/// Options of a database whose texts compare as ICU has it for English.
const ICU: &str = "LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C'";

/// How to set up a server.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whether commits are forced to the disk, as PostgreSQL does by default. A server that is only killed keeps its
    /// commits without that, as the operating system still has them; they just become slower.
    pub durable: bool,
    /// Further lines for `postgresql.conf`, such as `max_connections = 20`.
    pub settings: Vec<String>,
    /// Who may connect, and how.
    pub access: Access,
}

/// Who may connect over TCP, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// By password (SCRAM), without TLS.
    #[default]
    Plain,
    /// By password, with or without TLS.
    Tls,
    /// By password, with TLS only.
    TlsOnly,
    /// With TLS and a client certificate, whose common name is the user; no password.
    Certificate,
}

/// A PostgreSQL server of our own, whose data are gone when it is dropped.
#[derive(Debug)]
pub struct Server {
    supervisor: Supervisor,
    port: u16,
    tools: Tools,
    tls: Option<Files>,
}

impl Server {
    /// Makes a new cluster and starts a server on it.
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
        let place = folder.path();
        let account = Account::for_files_of(place)?;
        fs::set_permissions(place, fs::Permissions::from_mode(0o755)).map_err(failed)?;
        account.own(place)?;

        initialise(&tools, &account, place)?;
        let data = place.join("data");
        let tls = match options.access {
            Access::Plain => None,
            Access::Tls | Access::TlsOnly | Access::Certificate => Some(certificates(place, &account)?),
        };
        let port = find::free_port();
        let mut conf =
            fs::OpenOptions::new().append(true).open(data.join("postgresql.conf")).map_err(failed)?;
        conf.write_all(configuration(options, place, port).as_bytes()).map_err(failed)?;
        fs::write(data.join("pg_hba.conf"), access_rules(options.access)).map_err(failed)?;

        Self::run(folder, &account, port, tools, tls)
    }

    /// Makes a copy of this server that follows it and can only be read: a hot standby.
    ///
    /// # Errors
    ///
    /// If `pg_basebackup` is not installed, or the copy does not start.
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
        // The last value counts; the rest is as it is there.
        let own = format!("\nport = {port}\nunix_socket_directories = '{}'\n", place.display());
        conf.write_all(own.as_bytes()).map_err(failed)?;
        Self::run(folder, &account, port, self.tools.clone(), None)
    }

    /// Waits until a standby has what is committed here now.
    ///
    /// # Panics
    ///
    /// If it does not come within a minute.
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
        // The first line is the process, the eighth its state; they may be those of a server that was killed.
        self.supervisor.wait_until(|| {
            let text = fs::read_to_string(&status).unwrap_or_default();
            let mut lines = text.lines();
            lines.next() == Some(pid.to_string().as_str())
                && lines.nth(6).is_some_and(|state| state.trim() == "ready")
        })
    }

    /// The URL of the database `postgres`, for the superuser.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The URL of a database, for the superuser. It says nothing about TLS: append `?sslmode=...` and the like.
    #[must_use]
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes an empty database and returns its URL.
    ///
    /// # Panics
    ///
    /// If the server does not.
    #[track_caller]
    pub fn create_database(&self, name: &str) -> String {
        self.psql("postgres", &format!("CREATE DATABASE \"{name}\""));
        self.url_of(name)
    }

    /// Executes statements as superuser by `psql` on a local connection, whatever access over TCP is like. Returns the rows:
    /// a line each, with `|` between the columns.
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

    /// Its port of 127.0.0.1, which it keeps.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of its Unix socket, by which the superuser comes in without a password.
    #[must_use]
    pub fn socket_folder(&self) -> &Path {
        self.supervisor.folder()
    }

    /// Its first process, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.supervisor.pid()
    }

    /// The certificates for clients, if it has TLS.
    #[must_use]
    pub fn tls(&self) -> Option<&Files> {
        self.tls.as_ref()
    }

    /// What the server has printed.
    #[must_use]
    pub fn log(&self) -> String {
        self.supervisor.log()
    }

    /// Shuts the server down in order, with its connections (a "fast" shutdown).
    ///
    /// # Panics
    ///
    /// If it does not end.
    #[track_caller]
    pub fn stop(&self) {
        self.supervisor.end("INT");
    }

    /// Ends all its processes at once, in the middle of whatever they do; the next start recovers from the log.
    ///
    /// # Panics
    ///
    /// If it does not end.
    #[track_caller]
    pub fn kill(&self) {
        self.supervisor.end("QUIT");
    }

    /// Starts a server that was stopped or killed, on the same port and data.
    ///
    /// # Panics
    ///
    /// If it does not start.
    #[track_caller]
    pub fn start_again(&self) {
        if let Err(error) = self.boot() {
            panic!("{error}");
        }
    }
}

/// A database of its own, empty, on the server that all tests share; `None` if there can be no server, which is
/// [noted](crate::skip).
///
/// # Panics
///
/// If a server is there and does not work.
#[must_use]
#[track_caller]
pub fn database() -> Option<String> {
    Some(shared()?.create_database(&fresh_name()))
}

/// As [`database`], with texts that compare by the rules of English, as databases of most systems have it, and not as bytes:
/// under glibc's `en_US.UTF-8`, else under an ICU collation. `None` as well if the server has neither, which is noted.
///
/// # Panics
///
/// If a server is there and does not work.
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

/// As [`english_database`], under an ICU collation whatever locales the system has. `None` before PostgreSQL 15, whose databases
/// have none; also if the server was built without ICU, which is noted.
///
/// # Panics
///
/// If a server is there and does not work.
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

/// As [`database`], made with further options of `CREATE DATABASE`.
///
/// # Panics
///
/// If the server does not.
#[must_use]
#[track_caller]
pub fn database_with(options: &str) -> Option<String> {
    let created = shared()?.try_create(&fresh_name(), options);
    Some(created.unwrap_or_else(|error| panic!("TURNMILL_TEST_POSTGRES_URL: {error}")))
}

/// The name of a database that there is not. Other processes use the same server.
fn fresh_name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("turnmill_{}_{number}_{:08x}", std::process::id(), fastrand::u32(..))
}

/// The server that all tests share: the one that `TURNMILL_TEST_POSTGRES_URL` names, else one that is started for this
/// process and ends with it. `None` if there can be none, which is [noted](crate::skip).
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

/// A server that tests share. They must not end it; those that do, start one of their own.
#[derive(Debug)]
pub struct Shared {
    url: String,
    psql: Tools,
    /// Unless the server is somebody else's.
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

    /// The URL of a database that is there, for a user who may create others.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Makes an empty database and returns its URL. Nothing removes it from a server that is not ours.
    ///
    /// # Panics
    ///
    /// If the server does not.
    #[track_caller]
    pub fn create_database(&self, name: &str) -> String {
        self.try_create(name, "").unwrap_or_else(|error| panic!("TURNMILL_TEST_POSTGRES_URL: {error}"))
    }

    /// Makes an empty database in which texts compare by the rules of English; none if the server knows no such rules.
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
    /// If one fails.
    #[track_caller]
    pub fn execute(&self, url: &str, statements: &str) -> String {
        let mut command = self.psql.psql();
        command.args(["-d", url, "-c", statements]);
        find::output(&mut command).unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_create(&self, name: &str, options: &str) -> Result<String, String> {
        let mut command = self.psql.psql();
        command.args(["-d", &self.url, "-c", &format!("CREATE DATABASE \"{name}\" {options}")]);
        find::output(&mut command)?;
        Ok(with_database(&self.url, name))
    }
}

/// The URL with another database in it.
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
        // Of another version than the one that is installed, to look whether that works as well.
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

    /// For a server that runs elsewhere.
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
        // No settings of whoever runs the tests; the first error ends it; bare rows only.
        command.args(["--no-psqlrc", "--no-password", "--quiet", "--tuples-only", "--no-align"]);
        command.args(["-v", "ON_ERROR_STOP=1"]);
        command
    }
}

/// Under which account the server runs: PostgreSQL refuses to be root.
struct Account {
    prefix: Vec<String>,
    ids: Option<(u32, u32)>,
}

impl Account {
    /// `place` is a file that this process has just made, so it is owned by this process's user.
    fn for_files_of(place: &Path) -> Result<Self, Unavailable> {
        if fs::metadata(place).map_err(failed)?.uid() != 0 {
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

fn initialise(tools: &Tools, account: &Account, place: &Path) -> Result<(), Unavailable> {
    let password = place.join("password");
    write_private(&password, PASSWORD).map_err(failed)?;
    account.own(&password)?;
    let mut command = account.command(&tools.initdb);
    command.current_dir(place).args(["-U", USER, "--encoding=UTF8", "--locale=C", "--no-sync"]);
    command.arg("--auth=scram-sha-256").arg("--pwfile").arg(&password).arg("-D").arg(place.join("data"));
    find::output(&mut command).map_err(failed)?;
    Ok(())
}

fn certificates(place: &Path, account: &Account) -> Result<Files, Unavailable> {
    let authority = Authority::new("turnmill-testbed");
    let server = authority.server();
    for (name, text) in [("server.pem", &server.certificate), ("server.key", &server.key)] {
        let path = place.join(name);
        write_private(&path, text).map_err(failed)?;
        account.own(&path)?;
    }
    let files = Files::write(place, &authority, USER).map_err(failed)?;
    // The clients' files stay ours; this one the server reads, too.
    let authority_for_server = place.join("clients-ca.pem");
    write_private(&authority_for_server, &authority.certificate()).map_err(failed)?;
    account.own(&authority_for_server)?;
    Ok(files)
}

fn configuration(options: &Options, place: &Path, port: u16) -> String {
    let place = place.display();
    let mut lines = vec![
        "listen_addresses = '127.0.0.1'".to_owned(),
        format!("port = {port}"),
        format!("unix_socket_directories = '{place}'"),
        "max_connections = 200".to_owned(),
    ];
    if !options.durable {
        // Without `synchronous_commit` a killed server forgets what it has told to be committed.
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
            lines.push(format!("{setting} = '{place}/{file}'"));
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
    // The socket is for administration only, in a folder of this test.
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

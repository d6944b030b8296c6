//! Private servers.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::TempDir;

use super::tools::{Account, Tools};
use super::{PASSWORD, USER, failed};
use crate::supervisor::Supervisor;
use crate::tls::{Authority, Files, write_private};
use crate::{Unavailable, find};

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
    pub(super) port: u16,
    pub(super) tools: Tools,
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

    pub(super) fn run(
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

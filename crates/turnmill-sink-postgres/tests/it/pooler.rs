//! A pooler that does not keep the session is reported.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use turnmill_sink::Class;
use turnmill_sink_postgres::{PostgresSettings, PostgresStore};

use crate::support::{Schemas, block_on, fatal, open};

/// PgBouncer in front of a server; it ends when this is dropped.
struct Pooler {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Pooler {
    /// Starts PgBouncer. Returns `None` and notes it if it is not installed.
    fn start(url: &str, mode: &str) -> Option<Self> {
        let program =
            ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].into_iter().find(|path| fs::exists(path).unwrap());
        let Some(program) = program else {
            turnmill_testbed::skip("PgBouncer is missing: install Debian's `pgbouncer`");
            return None;
        };
        let server: tokio_postgres::Config = url.parse().unwrap();
        let (port, user) = (server.get_ports()[0], server.get_user().unwrap());
        let password = String::from_utf8(server.get_password().unwrap_or_default().to_vec()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let own = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let configuration = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={port} user={user} password={password}\n[pgbouncer]\nauth_type = any\n\
             listen_addr = 127.0.0.1\nlisten_port = {own}\nunix_socket_dir =\npool_mode = {mode}\ndefault_pool_size = 5\n"
        );
        fs::write(&configuration, text).unwrap();
        let mut command = Command::new(program);
        // PgBouncer refuses to run as root.
        if std::os::unix::fs::MetadataExt::uid(&fs::metadata(folder.path()).unwrap()) == 0 {
            let owner = Command::new("chown").args(["-R", "postgres"]).arg(folder.path()).status().unwrap();
            assert!(owner.success());
            command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--", program]);
        }
        let child = command.arg(&configuration).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let pooler = Self { child, port: own, _folder: folder };
        for _ in 0..100 {
            if std::net::TcpStream::connect(("127.0.0.1", own)).is_ok() {
                return Some(pooler);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("PgBouncer does not start");
    }
}

#[test]
fn only_a_pooler_that_keeps_the_session_will_do() {
    for (mode, problem) in [("session", false), ("transaction", true)] {
        let Some(mut schemas) = Schemas::new() else { return };
        let Some(pooler) = Pooler::start(&schemas.url, mode) else { return };
        let (_, database) = schemas.url.rsplit_once('/').unwrap();
        let url = format!("postgres://postgres@127.0.0.1:{}/{database}", pooler.port);
        let place: PostgresSettings = url.parse().unwrap();
        let place = place.with_schema(schemas.next().schema());
        block_on(async {
            // A statement that was prepared on another connection may be missing before the survey
            // begins.
            let problems = match PostgresStore::new(place).survey().await {
                Ok(survey) => survey.problems,
                error => vec![fatal(error)],
            };
            assert_eq!(problems.len(), usize::from(problem), "{mode}: {problems:?}");
            assert!(problems.iter().all(|text| text.contains("pool_mode = session")), "{problems:?}");
        });
    }
}

#[test]
fn a_pooler_that_knows_no_transactions_ends_it() {
    let Some(schemas) = Schemas::new() else { return };
    let Some(pooler) = Pooler::start(&schemas.url, "statement") else { return };
    let (_, database) = schemas.url.rsplit_once('/').unwrap();
    let url = format!("postgres://postgres@127.0.0.1:{}/{database}", pooler.port);
    let place: PostgresSettings = url.parse().unwrap();
    block_on(async {
        // The pooler closes the connection after its message, and either may arrive first. So the
        // test retries, as a pipeline does.
        let mut attempts = 0;
        let opened = loop {
            let opened = open(&mut PostgresStore::new(place.clone())).await;
            let lost = matches!(&opened, Err(error) if matches!(error.class(), Class::Retryable { .. }));
            attempts += 1;
            if !lost || attempts == 10 {
                break opened;
            }
        };
        for message in [fatal(PostgresStore::new(place).survey().await), fatal(opened)] {
            assert!(message.contains("pool_mode = session"), "{message}");
        }
    });
}

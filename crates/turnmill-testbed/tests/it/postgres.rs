//! PostgreSQL starts, keeps what was committed, and speaks TLS.

use std::process::Command;

use turnmill_testbed::or_skip;
use turnmill_testbed::postgres::{Access, Options, Server, database, shared};

/// Returns the rows that a client gets over TCP, or the error.
fn query(url: &str, statement: &str) -> Result<String, String> {
    let mut command = Command::new("psql");
    command
        .args(["-XAtw", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", statement])
        .env("PGCONNECT_TIMEOUT", "10");
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout).trim().to_owned()) } else { Err(text(output.stderr)) }
}

#[test]
fn every_test_has_a_database_of_its_own() {
    let (Some(one), Some(other)) = (database(), database()) else { return };
    assert_ne!(one, other);
    query(&one, "CREATE TABLE t (n INT)").unwrap();
    assert_eq!(query(&one, "SELECT count(*) FROM t").unwrap(), "0");
    assert!(query(&other, "SELECT count(*) FROM t").unwrap_err().contains("does not exist"));
    assert!(query(shared().unwrap().url(), "SELECT 1").is_ok());
}

#[test]
fn a_killed_server_keeps_what_was_committed() {
    let options = Options {
        durable: true,
        settings: vec!["application_name = 'turnmill'".to_owned()],
        ..Options::default()
    };
    let Some(server) = or_skip(Server::start(&options)) else { return };
    let url = server.create_database("kept");
    assert_eq!(query(&url, "SHOW fsync").unwrap(), "on");
    query(&url, "CREATE TABLE t (n INT)").unwrap();
    for (number, end) in [Server::kill, Server::stop, Server::kill].into_iter().enumerate() {
        query(&url, &format!("INSERT INTO t VALUES ({number})")).unwrap();
        let (port, pid) = (server.port(), server.pid());
        end(&server);
        assert_eq!(server.pid(), None);
        assert!(query(&url, "SELECT 1").is_err());
        server.start_again();
        assert_eq!(server.port(), port);
        assert_ne!(server.pid(), pid);
        assert_eq!(query(&url, "SELECT count(*) FROM t").unwrap(), (number + 1).to_string());
    }
    assert_eq!(server.psql("kept", "SELECT sum(n) FROM t").trim(), "3");
    assert!(server.log().contains("automatic recovery in progress"), "{}", server.log());
}

#[test]
fn tls_and_passwords() {
    for access in [Access::Tls, Access::TlsOnly] {
        let Some(server) = or_skip(Server::start(&Options { access, ..Options::default() })) else { return };
        let files = server.tls().unwrap();
        let (url, encrypted) = (server.url(), "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
        let verified =
            |ca: &std::path::Path| format!("{url}?sslmode=verify-full&sslrootcert={}", ca.display());
        assert_eq!(query(&verified(&files.ca), encrypted).unwrap(), "t");
        let refused = query(&verified(&files.stranger_ca), encrypted).unwrap_err();
        assert!(refused.contains("certificate verify failed"), "{refused}");
        assert_eq!(query(&format!("{url}?sslmode=disable"), encrypted).is_ok(), access == Access::Tls);
        let wrong = query(&verified(&files.ca).replace("secret", "guess"), encrypted).unwrap_err();
        assert!(wrong.contains("password authentication failed"), "{wrong}");
    }
}

#[test]
fn client_certificates() {
    let options = Options { access: Access::Certificate, ..Options::default() };
    let Some(server) = or_skip(Server::start(&options)) else { return };
    let files = server.tls().unwrap();
    let base = format!("postgres://postgres@localhost:{}/postgres", server.port());
    let base = format!("{base}?hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert={}", files.ca.display());
    let with = |certificate: &std::path::Path, key: &std::path::Path| {
        format!("{base}&sslcert={}&sslkey={}", certificate.display(), key.display())
    };
    let user = "SELECT current_user";
    assert_eq!(query(&with(&files.client_certificate, &files.client_key), user).unwrap(), "postgres");
    assert!(query(&with(&files.stranger_certificate, &files.stranger_key), user).is_err());
    assert!(query(&base, user).unwrap_err().contains("certificate"));
    assert!(query(&server.url(), user).is_err());
}

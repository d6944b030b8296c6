//! What each `sslmode` accepts, on servers that offer TLS, insist on it, or do not have it.

use turnmill_sink::Class;
use turnmill_sink_postgres::{PostgresSettings, PostgresStore, RootCert, SslMode};
use turnmill_testbed::postgres::{Access, Options, Server};
use turnmill_testbed::{or_skip, tls::Files};

use crate::support::{Schemas, block_on, execute, fatal, open};

/// Connects. Returns whether the connection is encrypted, or the message of the fatal error.
fn connect(url: &str) -> Result<bool, String> {
    block_on(async {
        let settings: PostgresSettings = url.parse().unwrap();
        let mut store = PostgresStore::new(settings);
        if let Err(error) = open(&mut store).await {
            assert_eq!(error.class(), Class::Fatal, "{url}: {error}");
            return Err(error.to_string());
        }
        Ok(())
    })
    .map(|()| {
        // Asks the server about the connection itself.
        block_on(async {
            let settings: PostgresSettings = url.parse().unwrap();
            let mut store = PostgresStore::new(settings);
            open(&mut store).await.unwrap();
            store.is_encrypted().await.unwrap()
        })
    })
}

fn server(access: Access) -> Option<Server> {
    or_skip(Server::start(&Options { access, ..Options::default() }))
}

fn files(server: &Server) -> &Files {
    server.tls().unwrap()
}

#[test]
fn a_server_with_tls() {
    let Some(server) = server(Access::Tls) else { return };
    let (url, files) = (server.create_database("tls"), files(&server));
    let by_name = url.replace("127.0.0.1", "localhost");
    let ca = format!("sslrootcert={}", files.ca.display());
    let stranger = format!("sslrootcert={}", files.stranger_ca.display());
    for (query, encrypted) in [
        ("sslmode=disable", false),
        ("sslmode=allow", false),
        ("", true),
        ("sslmode=prefer", true),
        ("sslmode=require", true),
        ("sslmode=require&channel_binding=require", true),
        (&format!("sslmode=require&{ca}"), true),
        (&format!("sslmode=verify-ca&{ca}"), true),
        (&format!("sslmode=verify-full&{ca}"), true),
        (&format!("sslmode=verify-full&{ca}&channel_binding=require"), true),
    ] {
        for url in [&url, &by_name] {
            assert_eq!(connect(&format!("{url}?{query}")), Ok(encrypted), "{query}");
        }
    }
    for query in [
        format!("sslmode=require&{stranger}"),
        format!("sslmode=verify-ca&{stranger}"),
        format!("sslmode=verify-full&{stranger}"),
    ] {
        let message = connect(&format!("{url}?{query}")).unwrap_err();
        assert!(message.contains("sslrootcert"), "{query}: {message}");
    }
    // The same server under a name that its certificate does not have.
    let other = url.replace("127.0.0.1", "other.example");
    let other = |query: &str| format!("{other}?hostaddr=127.0.0.1&{ca}&{query}");
    for mode in ["require", "verify-ca"] {
        assert_eq!(connect(&other(&format!("sslmode={mode}"))), Ok(true));
    }
    let message = connect(&other("sslmode=verify-full")).unwrap_err();
    assert!(message.contains("other.example") && message.contains("sslrootcert"), "{message}");
    // The setters replace the URL's parameters.
    block_on(async {
        let settings: PostgresSettings = format!("{url}?sslmode=disable").parse().unwrap();
        let settings = settings
            .with_ssl_mode(SslMode::VerifyFull)
            .with_ssl_root_cert(RootCert::File(files.stranger_ca.clone()));
        fatal(open(&mut PostgresStore::new(settings)).await);
    });
}

#[test]
fn a_server_that_insists_on_tls() {
    let Some(server) = server(Access::TlsOnly) else { return };
    let url = server.create_database("tls");
    for mode in ["allow", "prefer", "require"] {
        assert_eq!(connect(&format!("{url}?sslmode={mode}")), Ok(true), "{mode}");
    }
    assert!(connect(&format!("{url}?sslmode=disable")).unwrap_err().contains("pg_hba"));
}

#[test]
fn a_server_without_tls() {
    let Some(schemas) = Schemas::new() else { return };
    if execute(&schemas.url, "SHOW ssl").unwrap() != ["off"] {
        return turnmill_testbed::skip("the shared server has TLS");
    }
    for mode in ["disable", "allow", "prefer"] {
        assert_eq!(connect(&format!("{}?sslmode={mode}", schemas.url)), Ok(false), "{mode}");
    }
    assert!(connect(&format!("{}?sslmode=require", schemas.url)).unwrap_err().contains("`sslmode`"));
}

#[test]
fn a_server_that_knows_users_by_their_certificates() {
    let Some(server) = server(Access::Certificate) else { return };
    let (url, files) = (server.create_database("tls"), files(&server));
    let identity = |cert: &std::path::Path, key: &std::path::Path| {
        format!(
            "{url}?sslmode=verify-full&sslrootcert={}&sslcert={}&sslkey={}",
            files.ca.display(),
            cert.display(),
            key.display()
        )
    };
    assert_eq!(connect(&identity(&files.client_certificate, &files.client_key)), Ok(true));
    let message = connect(&format!("{url}?sslmode=require")).unwrap_err();
    assert!(message.contains("certificate"), "{message}");
}

#[test]
fn settings_that_do_not_go_together_are_named() {
    for (query, part) in [
        ("sslmode=verify-ca", "`sslrootcert`"),
        ("sslmode=verify-full", "`sslrootcert`"),
        ("sslmode=verify-ca&sslrootcert=system", "verify-full"),
        ("sslmode=verify-full&sslrootcert=/no/such/file", "/no/such/file"),
        ("sslcert=/tmp/x", "`sslkey`"),
        ("sslcert=/no/such/file&sslkey=/no/such/file", "`sslcert`"),
    ] {
        let message = connect(&format!("postgres://user@127.0.0.1:1/none?{query}")).unwrap_err();
        assert!(message.contains(part), "{query}: {message}");
    }
}

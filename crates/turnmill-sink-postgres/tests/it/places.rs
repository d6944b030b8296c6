//! Where a server may be: at a Unix socket, or at one of several hosts.

use std::net::TcpListener;

use turnmill_sink_postgres::{PostgresSettings, PostgresStore};
use turnmill_testbed::or_skip;
use turnmill_testbed::postgres::{Options, Server, USER};

use crate::support::{block_on, open};

fn opens(url: &str) -> Result<(), String> {
    let mut store = PostgresStore::new(url.parse::<PostgresSettings>().unwrap());
    block_on(open(&mut store)).map(drop).map_err(|error| error.to_string())
}

#[test]
fn a_socket_is_named_as_host_or_in_the_query() {
    let Some(server) = or_skip(Server::start(&Options::default())) else { return };
    let (folder, port) = (server.socket_folder().display().to_string(), server.port());
    let encoded = folder.replace('/', "%2F");
    for url in [
        format!("postgres://{USER}@{encoded}/postgres?port={port}"),
        format!("postgresql://{USER}@/postgres?host={folder}&port={port}"),
        format!("postgresql:///postgres?host={folder}&port={port}&user={USER}"),
    ] {
        opens(&url).unwrap_or_else(|error| panic!("{url}: {error}"));
    }
    let error = opens(&format!("postgres://{USER}@%2Fnowhere/postgres?port={port}")).unwrap_err();
    assert!(error.contains("/nowhere"), "{error}");
}

#[test]
fn the_first_host_that_answers_is_taken() {
    let Some(server) = or_skip(Server::start(&Options::default())) else { return };
    // A port without a listener, because it was just released.
    let closed_port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = server.url();
    let (user, place) = url.rsplit_once('@').unwrap();
    let (host, database) = place.split_once('/').unwrap();
    opens(&format!("{user}@127.0.0.1:{closed_port},{host}/{database}")).unwrap();
    opens(&format!("{user}@{host},127.0.0.1:{closed_port}/{database}")).unwrap();
    opens(&format!("{user}@127.0.0.1:{closed_port},{host}/{database}?load_balance_hosts=random")).unwrap();
    let error = opens(&format!("{user}@127.0.0.1:{closed_port}/{database}")).unwrap_err();
    assert!(error.contains(&closed_port.to_string()), "{error}");
}

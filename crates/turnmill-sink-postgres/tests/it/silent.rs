//! A server that keeps the connection open and says nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use turnmill_sink::{Claim, Inspect, Store, Transaction};
use turnmill_sink_postgres::{PostgresSettings, PostgresStore};

use crate::contract::{senders, write};
use crate::support::{Schemas, block_on, open, retryable};

/// Hands bytes on in both directions, until it is frozen: then it reads and says nothing, as a pooler that hangs.
struct Proxy {
    port: u16,
    frozen: Arc<AtomicBool>,
}

impl Proxy {
    async fn start(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let frozen = Arc::new(AtomicBool::new(false));
        let state = Arc::clone(&frozen);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&target).await else { continue };
                let (client_in, client_out) = client.into_split();
                let (server_in, server_out) = server.into_split();
                tokio::spawn(pass(client_in, server_out, Arc::clone(&state)));
                tokio::spawn(pass(server_in, client_out, Arc::clone(&state)));
            }
        });
        Self { port, frozen }
    }

    fn freeze(&self, frozen: bool) {
        self.frozen.store(frozen, Ordering::SeqCst);
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    frozen: Arc<AtomicBool>,
) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        while frozen.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

#[test]
fn a_server_that_says_nothing_is_given_up_and_found_again() {
    let Some(mut schemas) = Schemas::new() else { return };
    block_on(async {
        let plain = schemas.next();
        let (_, address) = schemas.url.rsplit_once('@').unwrap();
        let proxy = Proxy::start(address.split('/').next().unwrap().to_owned()).await;
        let (before, rest) = schemas.url.split_once(address).unwrap();
        assert_eq!(rest, "");
        let (_, database) = address.split_once('/').unwrap();
        let url = format!("{before}127.0.0.1:{}/{database}?connect_timeout=1", proxy.port);
        let place: PostgresSettings = url.parse().unwrap();
        let place = place.with_schema(plain.schema()).with_statement_timeout(Duration::from_secs(1));
        let mut store = PostgresStore::new(place.clone());
        open(&mut store).await.unwrap();
        write(&mut store, senders(1, 1, "a")).await.unwrap();
        let in_time =
            |began: Instant| assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());

        // At a transaction's beginning, in the middle of one, and at its end.
        proxy.freeze(true);
        let (claim, began) = (Claim::default(), Instant::now());
        let message = retryable(store.begin(&claim).await.map(drop));
        assert!(message.contains("no answer for"), "{message}");
        in_time(began);
        // Connecting: neither the greeting nor the log-in comes.
        let began = Instant::now();
        let message = retryable(store.begin(&claim).await.map(drop));
        assert!(message.contains("connecting") && message.contains("no answer"), "{message}");
        in_time(began);
        let began = Instant::now();
        retryable(open(&mut PostgresStore::new(place)).await);
        in_time(began);
        proxy.freeze(false);
        let mut tx = store.begin(&claim).await.unwrap();
        proxy.freeze(true);
        let began = Instant::now();
        retryable(tx.write(&senders(1000, 500, "b")).await);
        in_time(began);
        drop(tx);
        proxy.freeze(false);
        let mut tx = store.begin(&claim).await.unwrap();
        tx.write(&senders(2000, 1, "c")).await.unwrap();
        proxy.freeze(true);
        let began = Instant::now();
        retryable(tx.commit().await);
        in_time(began);
        proxy.freeze(false);
        // What is read without a limit is looked after by another connection, which gets no word either.
        store.begin(&claim).await.unwrap();
        proxy.freeze(true);
        let began = Instant::now();
        let message = retryable(store.digests().await);
        assert!(message.contains("no answer"), "{message}");
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        proxy.freeze(false);
        // The commit may have got through, the others have not.
        let rows = store.digests().await.unwrap().tables["rasa_sender"].rows;
        assert!((1..=2).contains(&rows), "{rows}");
        write(&mut store, senders(3000, 100, "d")).await.unwrap();
    });
}

//! A server that keeps the connection open and sends nothing.

use std::time::{Duration, Instant};

use turnmill_sink::{Claim, Inspect, Store, Transaction};
use turnmill_sink_postgres::{PostgresSettings, PostgresStore};
use turnmill_testbed::proxy::Proxy;

use crate::contract::{senders, write};
use crate::support::{Schemas, block_on, open, retryable};

#[test]
fn a_server_that_says_nothing_is_given_up_and_found_again() {
    let Some(mut schemas) = Schemas::new() else { return };
    block_on(async {
        let plain = schemas.next();
        let proxy = Proxy::before(&schemas.url);
        let separator = if proxy.url().contains('?') { '&' } else { '?' };
        let url = format!("{}{separator}connect_timeout=1", proxy.url());
        let place: PostgresSettings = url.parse().unwrap();
        let place = place.with_schema(plain.schema()).with_statement_timeout(Duration::from_secs(1));
        let mut store = PostgresStore::new(place.clone());
        open(&mut store).await.unwrap();
        write(&mut store, senders(1, 1, "a")).await.unwrap();
        let in_time =
            |began: Instant| assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());

        // The server falls silent at a transaction's beginning, in its middle, and at its end.
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
        // A read without a limit is checked through another connection, which gets no answer
        // either.
        store.begin(&claim).await.unwrap();
        proxy.freeze(true);
        let began = Instant::now();
        let message = retryable(store.digests().await);
        assert!(message.contains("no answer"), "{message}");
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
        proxy.freeze(false);
        // The last commit may have been executed, the others were not.
        let rows = store.digests().await.unwrap().tables["rasa_sender"].rows;
        assert!((1..=2).contains(&rows), "{rows}");
        write(&mut store, senders(3000, 100, "d")).await.unwrap();
    });
}

//! A small HTTP/1.1 server that answers whatever others do to it.
//!
//! Connections have places. When all are taken, a new connection takes the place of the one that has waited longest for its
//! caller: for a request, or for an answer to be read. So a caller that holds connections open loses them, and a probe gets in.
//! Some places are kept for callers of this machine.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower_service::Service;

use super::door::Peer;
use super::places::{Place, Places};
use super::stall::StallLimit;
use crate::lifecycle::Shutdown;

/// Time a caller has for a request's headers, and for sending another request on the same connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Time from a request's headers to its answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for which a caller may read nothing of an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time after which a connection ends with the answer under way.
const LIFE: Duration = Duration::from_secs(300);
/// Time for an answer under way when a connection's life or the server ends.
const LAST_ANSWER: Duration = Duration::from_secs(1);

/// Why the server cannot serve.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} (TURNMILL_HTTP_ADDRESS)")]
pub struct ServerError {
    address: SocketAddr,
    source: io::Error,
}

/// Listens, and answers once it runs.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Listens on `address`; port 0 takes any.
    ///
    /// # Errors
    ///
    /// The address is in use, or not this machine's.
    pub async fn bind(address: SocketAddr) -> Result<Self, ServerError> {
        let failed = |source| ServerError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `site` until `shutdown` is requested, and then still finishes answers under way.
    ///
    /// The service's own shutdown is the wrong one to pass: probes want an answer until the very end. Let the server run as a
    /// [background](crate::Lifecycle::background) task with a `Shutdown::default()` of its own, and end it with the runtime.
    pub async fn run(self, site: Router, shutdown: Shutdown) {
        let places = Places::default();
        let (ending, ended) = watch::channel(false);
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = shutdown.requested() => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let place = places.take(peer.ip().to_canonical());
                    connections.spawn(connection(stream, peer, site.clone(), place, ended.clone()));
                }
                Err(error) => {
                    // Out of file handles, mostly: a connection that waits for its caller has one.
                    tracing::warn!("cannot accept a connection: {error}");
                    places.free_one();
                    sleep(Duration::from_millis(100)).await;
                }
            }
            while connections.try_join_next().is_some() {}
        }
        drop(self.listener);
        // A caller that keeps a connection open without asking anything is not waited for.
        let _ = ending.send(true);
        let last = async { while connections.join_next().await.is_some() {} };
        let _ = timeout(LAST_ANSWER, last).await;
    }
}

/// Serves one connection until its caller, its place or the server ends it.
async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    site: Router,
    place: Place,
    mut ended: watch::Receiver<bool>,
) {
    let requests = place.requests();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        let mut site = site.clone();
        request.extensions_mut().insert(Peer(peer));
        // From here to its answer the connection waits for us and not for its caller.
        let answering = requests.begin();
        async move {
            // A caller that sends many requests at once lets others come in between.
            tokio::task::yield_now().await;
            let answer = timeout(REQUEST_TIMEOUT, site.call(request.map(Body::new))).await;
            drop(answering);
            answer.unwrap_or_else(|_| Ok(StatusCode::GATEWAY_TIMEOUT.into_response()))
        }
    });
    let stream = TokioIo::new(StallLimit::new(stream, WRITE_TIMEOUT));
    let mut serving = pin!(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(64 << 10)
            .serve_connection(stream, service)
    );
    let result = tokio::select! {
        result = serving.as_mut() => result,
        // Its place is another's: closed at once.
        () = place.lost() => return,
        () = sleep(LIFE) => last_answer(serving).await,
        () = async { drop(ended.wait_for(|ended| *ended).await) } => last_answer(serving).await,
    };
    if let Err(error) = result {
        tracing::debug!(%peer, "connection ended: {error}");
    }
}

/// Ends a connection with the answer under way, if there is one and its caller reads it.
async fn last_answer<S>(
    mut serving: std::pin::Pin<&mut hyper::server::conn::http1::Connection<TokioIo<StallLimit>, S>>,
) -> hyper::Result<()>
where
    S: hyper::service::HttpService<Incoming, ResBody = Body>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    serving.as_mut().graceful_shutdown();
    timeout(LAST_ANSWER, serving).await.unwrap_or(Ok(()))
}

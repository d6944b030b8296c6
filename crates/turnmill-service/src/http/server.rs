//! A small HTTP/1.1 server.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tower_service::Service;

use super::door::Peer;
use crate::lifecycle::Shutdown;

/// Connections at once at most; others wait to be accepted.
const MAX_CONNECTIONS: usize = 256;
/// A caller has so long for a request's headers, and for sending another request on the same connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A request has so long from its headers to its answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// An answer under way has so long to be sent when the server ends.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

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
        let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let graceful = GracefulShutdown::new();
        loop {
            let next = async {
                let permit = Arc::clone(&connections).acquire_owned().await;
                (permit, self.listener.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                next = next => next,
                () = shutdown.requested() => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file handles, mostly: it passes, and must not become a busy loop.
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let connection = graceful.watch(connection(stream, peer, site.clone()));
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%peer, "connection ended: {error}");
                }
                drop(permit);
            });
        }
        drop(self.listener);
        // Whoever keeps a connection open without asking anything is not waited for.
        let _ = timeout(LAST_ANSWERS, graceful.shutdown()).await;
    }
}

/// One connection.
fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    site: Router,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = hyper::Error> {
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        let mut site = site.clone();
        request.extensions_mut().insert(Peer(peer));
        async move {
            let answer = timeout(REQUEST_TIMEOUT, site.call(request.map(Body::new))).await;
            answer.unwrap_or_else(|_| Ok(StatusCode::GATEWAY_TIMEOUT.into_response()))
        }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), service)
}

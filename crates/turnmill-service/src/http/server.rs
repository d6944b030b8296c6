//! A small HTTP/1.1 server that stays reachable for probes, whatever other clients do.
//!
//! Each connection occupies a slot. If all slots are occupied, a new connection replaces the one
//! that has been waiting longest for its client: for a request, or for a response to be read. So a
//! client that holds connections open loses them, and a probe is accepted. Some slots are reserved
//! for clients on this machine.

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

use super::access::Peer;
use super::connections::{ConnectionSlot, ConnectionSlots};
use super::stall::StallLimit;
use crate::lifecycle::Shutdown;

/// Time a client has to send the headers of a request, and to send another request on the same
/// connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Time from the headers of a request to its response.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for which a client may read nothing of a response.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum lifetime of a connection; it then closes after the response in progress.
const MAX_LIFETIME: Duration = Duration::from_secs(300);
/// Time for the response in progress when a connection reaches its lifetime or the server stops.
const LAST_RESPONSE: Duration = Duration::from_secs(1);

/// Error of listening on an address.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct ServerError {
    address: SocketAddr,
    source: io::Error,
}

/// An HTTP server. It listens from [`bind`](Self::bind) on, and responds while [`run`](Self::run)
/// runs.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Listens on `address`. Port 0 selects a free port.
    ///
    /// # Errors
    ///
    /// Fails if the address is in use, or not an address of this machine.
    pub async fn bind(address: SocketAddr) -> Result<Self, ServerError> {
        let failed = |source| ServerError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Returns the address the server listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `site` until `shutdown` is requested, then finishes the responses in progress.
    ///
    /// Do not pass the service's own shutdown: probes need a response until the process exits. Run
    /// the server as a [background](crate::Lifecycle::background) task with its own
    /// `Shutdown::default()`, and end it with the runtime.
    pub async fn run(self, site: Router, shutdown: Shutdown) {
        let slots = ConnectionSlots::default();
        let (ending, ended) = watch::channel(false);
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = shutdown.requested() => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let slot = slots.acquire(peer.ip().to_canonical());
                    connections.spawn(connection(stream, peer, site.clone(), slot, ended.clone()));
                }
                Err(error) => {
                    // The usual cause is a lack of file descriptors. Closing an idle connection
                    // frees one.
                    tracing::warn!("connection not accepted, closing an idle one: {error}");
                    slots.evict_one();
                    sleep(Duration::from_millis(100)).await;
                }
            }
            while connections.try_join_next().is_some() {}
        }
        drop(self.listener);
        // Idle connections close at once; only responses in progress are waited for.
        let _ = ending.send(true);
        let last = async { while connections.join_next().await.is_some() {} };
        let _ = timeout(LAST_RESPONSE, last).await;
    }
}

/// Serves one connection until the client closes it, its slot is given away, or the server stops.
async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    site: Router,
    slot: ConnectionSlot,
    mut ended: watch::Receiver<bool>,
) {
    let requests = slot.requests();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        let mut site = site.clone();
        request.extensions_mut().insert(Peer(peer));
        // From here to the response, the connection waits for us and not for its client.
        let in_progress = requests.begin();
        async move {
            // Yields so that a client with many pipelined requests does not delay other
            // connections.
            tokio::task::yield_now().await;
            let response = timeout(REQUEST_TIMEOUT, site.call(request.map(Body::new))).await;
            drop(in_progress);
            response.unwrap_or_else(|_| Ok(StatusCode::GATEWAY_TIMEOUT.into_response()))
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
        // The slot was given to another connection, so this one closes at once.
        () = slot.evicted() => return,
        () = sleep(MAX_LIFETIME) => last_response(serving).await,
        () = async { drop(ended.wait_for(|ended| *ended).await) } => last_response(serving).await,
    };
    if let Err(error) = result {
        tracing::debug!(%peer, "connection ended: {error}");
    }
}

/// Closes a connection after the response in progress, if there is one and the client reads it in
/// time.
async fn last_response<S>(
    mut serving: std::pin::Pin<&mut hyper::server::conn::http1::Connection<TokioIo<StallLimit>, S>>,
) -> hyper::Result<()>
where
    S: hyper::service::HttpService<Incoming, ResBody = Body>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    serving.as_mut().graceful_shutdown();
    timeout(LAST_RESPONSE, serving).await.unwrap_or(Ok(()))
}

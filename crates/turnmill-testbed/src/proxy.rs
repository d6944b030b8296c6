//! A proxy that can stop forwarding.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Forwards connections to a server. Once frozen, it reads and forwards nothing, like a pooler or a
/// load balancer that hangs. Connections stay open.
///
/// ```
/// use turnmill_testbed::{postgres, proxy::Proxy};
///
/// # fn main() {
/// let Some(url) = postgres::database() else { return };
/// let proxy = Proxy::before(&url);
/// proxy.freeze(true);
/// // A client of `proxy.url()` now waits for the server's greeting.
/// assert!(proxy.url().contains("@127.0.0.1:"));
/// # }
/// ```
#[derive(Debug)]
pub struct Proxy {
    url: String,
    frozen: Arc<AtomicBool>,
}

impl Proxy {
    /// Starts a proxy for the server of this URL, which must have a host and a port.
    ///
    /// # Panics
    ///
    /// If the URL has no host or no port, or if no port is free.
    #[must_use]
    #[track_caller]
    pub fn before(url: &str) -> Self {
        let start = url.rfind('@').map_or_else(|| url.find("://").map_or(0, |at| at + 3), |at| at + 1);
        let end = url[start..].find(['/', '?']).map_or(url.len(), |at| start + at);
        let (server, front, rest) = (url[start..end].to_owned(), &url[..start], &url[end..]);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("a proxy: {error}"));
        let own = listener.local_addr().unwrap_or_else(|error| panic!("a proxy: {error}"));
        let frozen = Arc::new(AtomicBool::new(false));
        let state = Arc::clone(&frozen);
        // The threads end with the process or with their connections.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&server) else { continue };
                let (Ok(client_out), Ok(server_out)) = (client.try_clone(), server.try_clone()) else {
                    continue;
                };
                let (up, down) = (Arc::clone(&state), Arc::clone(&state));
                thread::spawn(move || pass(client, server_out, &up));
                thread::spawn(move || pass(server, client_out, &down));
            }
        });
        Self { url: format!("{front}{own}{rest}"), frozen }
    }

    /// The URL by which clients come through the proxy.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops handing on, or goes on with what has come meanwhile.
    pub fn freeze(&self, frozen: bool) {
        self.frozen.store(frozen, Ordering::SeqCst);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, frozen: &AtomicBool) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        while frozen.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(20));
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    // Each side hears of the other's end; it may be gone already.
    let _ = to.shutdown(std::net::Shutdown::Write);
}

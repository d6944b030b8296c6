//! Clients that hold connections open do not keep others from the port. Everything stays on this
//! machine and ends within seconds.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::http::Site;

/// More connections than there are slots.
const CALLERS: usize = 400;
/// Time for a probe. Kubernetes gives it a second, which a busy machine that runs tests may exceed
/// without any attack; an attack that succeeds takes the place of the probe for ever.
const PROBE: Duration = Duration::from_secs(20);

/// One request to `/healthcheck` on a new connection, within the time that a probe has.
fn probe(address: SocketAddr) -> Result<Duration, String> {
    let began = Instant::now();
    let failed = |error: std::io::Error| format!("{error} after {:?}", began.elapsed());
    let mut stream = TcpStream::connect_timeout(&address, PROBE).map_err(failed)?;
    stream.set_read_timeout(Some(PROBE)).map_err(failed)?;
    stream.write_all(b"GET /healthcheck HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").map_err(failed)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(failed)?;
    let took = began.elapsed();
    if answer.starts_with("HTTP/1.1 200") && took < PROBE {
        Ok(took)
    } else {
        Err(format!("{answer:?} after {took:?}"))
    }
}

/// Returns the first probe without an answer in time, if there is one.
fn probes(address: SocketAddr, times: usize) -> Result<(), String> {
    (0..times).try_for_each(|number| {
        std::thread::sleep(Duration::from_millis(50));
        probe(address).map(drop).map_err(|error| format!("probe {number}: {error}"))
    })
}

fn connect(site: &Site) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&site.address, Duration::from_secs(5)).ok()?;
    stream.set_nonblocking(true).ok()?;
    Some(stream)
}

#[test]
fn callers_that_read_nothing() {
    let site = Site::start(None);
    let requests = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2_000);
    let mut callers: Vec<(TcpStream, usize)> =
        (0..CALLERS).filter_map(|_| Some((connect(&site)?, 0))).collect();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (ended, requests, callers) = (&ended, &requests, &mut callers);
        scope.spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                for (stream, sent) in callers.iter_mut() {
                    if let Ok(bytes) = stream.write(&requests[*sent..]) {
                        *sent = (*sent + bytes) % requests.len();
                    }
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        std::thread::sleep(Duration::from_millis(300));
        let outcome = probes(site.address, 20);
        ended.store(true, Ordering::Relaxed);
        outcome.unwrap();
    });
}

/// Probes while clients open connections, send this, and connect again.
#[track_caller]
fn probed_while_callers_send(sent: &[u8]) {
    let site = Site::start(None);
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (ended, site) = (&ended, &site);
        for _ in 0..2 {
            scope.spawn(move || {
                let mut callers: Vec<TcpStream> = Vec::new();
                while !ended.load(Ordering::Relaxed) {
                    let Some(mut stream) = connect(site) else { continue };
                    let _ = stream.write(sent);
                    callers.push(stream);
                    if callers.len() > CALLERS / 2 {
                        callers.remove(0);
                    }
                    std::thread::sleep(Duration::from_micros(500));
                }
            });
        }
        std::thread::sleep(Duration::from_millis(300));
        let outcome = probes(site.address, 40);
        ended.store(true, Ordering::Relaxed);
        outcome.unwrap();
    });
}

#[test]
fn callers_that_send_half_a_request_and_come_again() {
    probed_while_callers_send(b"GET /healthcheck HTTP/1.1\r\nHost: x\r\nX-Half:");
}

#[test]
fn callers_that_send_half_a_body_and_come_again() {
    let head = "PUT /api/v1/patterns HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n{";
    probed_while_callers_send(head.as_bytes());
}

#[test]
fn callers_that_ask_much_and_come_again() {
    probed_while_callers_send(&b"GET /healthcheck HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1_000));
}

#[test]
fn callers_that_hold_connections() {
    let site = Site::start(None);
    let callers: Vec<TcpStream> = (0..CALLERS).filter_map(|_| connect(&site)).collect();
    probes(site.address, 5).unwrap();
    // The oldest connections have lost their slots.
    std::thread::sleep(Duration::from_millis(100));
    let gone = callers.iter().filter(|stream| match Read::read(&mut &**stream, &mut [0; 8]) {
        Ok(0) => true,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
        Ok(_) => false,
    });
    let gone = gone.count();
    assert!(gone >= CALLERS - 384, "{gone} of {CALLERS} were closed");
    assert!(gone < CALLERS / 2, "{gone} of {CALLERS} were closed");
}

//! HTTP over real sockets.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use turnmill_service::http::{HttpAccess, MAX_BODY, Server, router};
use turnmill_service::metrics::{BatchCommitted, PartitionProgress, ServiceMetrics};
use turnmill_service::settings::Secret;
use turnmill_service::{Health, Phase, Shutdown};

const TOKEN: &str = "a-token-of-some-length";

/// A running site, which stops when this is dropped.
pub(crate) struct Site {
    metrics: ServiceMetrics,
    pub(crate) address: SocketAddr,
    shutdown: Shutdown,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Site {
    pub(crate) fn start(token: Option<&str>) -> Self {
        Self::with_access(HttpAccess::new(token.map(Secret::new).as_ref()))
    }

    fn with_access(access: HttpAccess) -> Self {
        let metrics = ServiceMetrics::new(Health::default());
        let pages = Router::new()
            .route("/api/v1/patterns", get(|| async { "[]" }))
            .route("/api/v1/upload", post(|body: String| async move { body.len().to_string() }));
        let site = router(metrics.clone(), access, pages);
        let shutdown = Shutdown::default();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let server = runtime.block_on(Server::bind("0.0.0.0:0".parse().unwrap())).unwrap();
        let address = SocketAddr::new([127, 0, 0, 1].into(), server.address().port());
        let stop = shutdown.clone();
        let thread = std::thread::spawn(move || runtime.block_on(server.run(site, stop)));
        Self { metrics, address, shutdown, thread: Some(thread) }
    }

    /// Returns code, headers and body of the response to a request with these header lines.
    fn ask(&self, address: SocketAddr, request: &str, headers: &str, body: &[u8]) -> (u16, String, String) {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let length = body.len();
        write!(
            stream,
            "{request} HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
        )
        .unwrap();
        // A server that refuses a large body need not read it.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        (code, head.to_ascii_lowercase(), body.to_owned())
    }

    fn get(&self, path: &str, headers: &str) -> (u16, String) {
        let headers = if headers.contains("Host:") {
            headers.to_owned()
        } else {
            format!("Host: localhost\r\n{headers}")
        };
        let (code, _, body) = self.ask(self.address, &format!("GET {path}"), &headers, b"");
        (code, body)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.shutdown.request();
        self.thread.take().unwrap().join().unwrap();
    }
}

#[test]
fn the_health_check_has_the_documented_body_and_codes() {
    let site = Site::start(None);
    let health = site.metrics.health().clone();
    let body = |alive: u32, healthy: bool| {
        format!(
            r#"{{"details": {{"analytics-consumer": {{"alive": {alive}, "isHealthy": {healthy}}}}}, "isHealthy": {healthy}}}"#
        )
    };
    let check = |code, alive, healthy| {
        assert_eq!(site.get("/healthcheck", "Host: elsewhere.example\r\n"), (code, body(alive, healthy)));
    };
    health.enter(Phase::Migrating);
    check(200, 0, true);
    let consumers = [health.consumer(), health.consumer()];
    health.enter(Phase::Running);
    check(200, 2, true);
    health.set_waiting(Some("database".into()));
    check(200, 2, true);
    drop(consumers);
    check(503, 0, false);
    let _consumer = health.consumer();
    check(200, 1, true);
    health.enter(Phase::Stopping);
    check(503, 1, false);
    let (code, head, _) = site.ask(site.address, "HEAD /healthcheck", "Host: x\r\n", b"");
    assert_eq!(code, 503);
    assert!(head.contains("content-type: application/json"), "{head}");
}

#[test]
fn metrics_are_open_and_in_the_format_that_is_asked_for() {
    let site = Site::start(None);
    site.metrics.committed(&BatchCommitted { source: "kafka", events: 3, ..BatchCommitted::default() });
    let (code, head, text) = site.ask(site.address, "GET /metrics", "Host: elsewhere.example\r\n", b"");
    assert_eq!(code, 200);
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    assert!(text.contains("# TYPE turnmill_records_total counter") && !text.contains("# EOF"), "{text}");
    let accept = "Host: x\r\nAccept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";
    let (_, head, text) = site.ask(site.address, "GET /metrics", accept, b"");
    assert!(head.contains("application/openmetrics-text"), "{head}");
    assert!(text.contains("# TYPE turnmill_records counter") && text.contains("# EOF"), "{text}");
}

#[test]
fn all_else_is_for_those_with_the_token_and_for_this_machine_while_none_is_set() {
    let (closed, open) = (Site::start(None), Site::start(Some(TOKEN)));
    let trusting = Site::with_access(HttpAccess::new(Some(&Secret::new(TOKEN))).trusting_loopback(true));
    let stranger = "X-Forwarded-Host: elsewhere.example\r\n";
    let page = "Host: evil.example\r\n";
    let mine = format!("Authorization: Bearer {TOKEN}\r\n");
    let wrong = format!("{stranger}Authorization: Bearer {TOKEN}x\r\n");
    let right = format!("{stranger}Authorization: Bearer {TOKEN}\r\n");
    for path in ["/api/v1/patterns", "/api/v1/status", "/no/such/page"] {
        let there = if path.starts_with("/api/v1/") { 200 } else { 404 };
        for (headers, without, with, with_trust) in [
            ("", there, 401, there),
            (mine.as_str(), there, there, there),
            (stranger, 403, 401, 401),
            ("Via: 1.1 proxy\r\n", 403, 401, 401),
            (page, 403, 401, 401),
            ("Host: [::1]evil.example\r\n", 400, 400, 400),
            ("Host: localhost:x@evil\r\n", 400, 400, 400),
            (wrong.as_str(), 403, 401, 401),
            (right.as_str(), 403, there, there),
        ] {
            assert_eq!(closed.get(path, headers).0, without, "{path} {headers}, no token is set");
            assert_eq!(open.get(path, headers).0, with, "{path} {headers}, a token is set");
            assert_eq!(trusting.get(path, headers).0, with_trust, "{path} {headers}, loopback is trusted");
        }
    }
    let (_, head, _) = open.ask(open.address, "GET /api/v1/status", "Host: localhost\r\n", b"");
    assert!(head.contains("www-authenticate: bearer"), "{head}");
}

#[test]
fn the_target_of_a_request_counts_as_its_host_does() {
    let site = Site::start(None);
    let ask = |target: &str, headers: &str| site.ask(site.address, &format!("GET {target}"), headers, b"").0;
    assert_eq!(ask("http://localhost/api/v1/status", "Host: localhost\r\n"), 200);
    assert_eq!(ask("http://evil.example/api/v1/status", "Host: localhost\r\n"), 400);
    assert_eq!(ask("http://evil.example/api/v1/status", ""), 403);
}

#[test]
fn the_front_page_says_what_is_there_to_everybody() {
    let site = Site::start(Some(TOKEN));
    let (code, text) = site.get("/", "Host: elsewhere.example\r\nX-Forwarded-For: 10.0.0.9\r\n");
    assert_eq!(code, 200);
    let html = site.get("/", "Accept: text/html\r\n").1;
    for path in ["/healthcheck", "/metrics", "/api/v1/status", "/api/v1/patterns"] {
        assert!(text.contains(path), "{text}");
        assert!(html.contains(&format!("href=\"{path}\"")), "{html}");
    }
    assert!(!text.contains(TOKEN) && !html.contains(TOKEN));
}

/// Returns the value of a header of a response's head, in lower case.
fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")))
}

#[test]
fn browsers_log_in_with_the_token_and_get_a_cookie() {
    let site = Site::start(Some(TOKEN));
    let own = "Host: turnmill:8732\r\nOrigin: http://turnmill:8732\r\n";
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let ask =
        |request: &str, headers: &str, body: &str| site.ask(site.address, request, headers, body.as_bytes());

    // A page leads to the log-in page and back, with its address; nothing else does.
    let (code, head, _) = ask("GET /api/v1/status?a=b%20c", "Host: turnmill\r\nAccept: text/html\r\n", "");
    assert_eq!((code, header(&head, "location")), (303, Some("/login?next=/api/v1/status%3fa%3db%2520c")));
    assert_eq!(ask("GET /api/v1/status", "Host: turnmill\r\nAccept: */*\r\n", "").0, 401);
    assert_eq!(ask("PUT /api/v1/status", "Host: turnmill\r\nAccept: text/html\r\n", "").0, 401);
    let (code, head, page) = ask("GET /login?next=/api/v1/status%3Fa%3D%22%3E", "Host: turnmill\r\n", "");
    assert_eq!(code, 200);
    assert!(page.contains(r#"value="/"#) && !page.contains(r#"a=">"#), "{page}");
    let policy = header(&head, "content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );

    let right = format!("next=%2Fapi%2Fv1%2Fstatus&token={TOKEN}");
    for (headers, body, expected) in [
        (format!("{own}{form}"), "token=guess".to_owned(), 403),
        (format!("{own}{form}"), String::new(), 403),
        // Log-in forms of other sites, ports and unknown origin.
        (format!("Host: turnmill:8732\r\nOrigin: http://evil.example\r\n{form}"), right.clone(), 403),
        (format!("Host: turnmill:8732\r\nOrigin: http://turnmill:9\r\n{form}"), right.clone(), 403),
        (format!("Host: turnmill:8732\r\n{form}"), right.clone(), 403),
        (format!("{own}Sec-Fetch-Site: cross-site\r\n{form}"), right.clone(), 403),
    ] {
        let (code, head, page) = ask("POST /login", &headers, &body);
        assert_eq!((code, header(&head, "set-cookie")), (expected, None), "{headers}{body}");
        assert!(!page.contains(TOKEN), "{page}");
    }
    let (code, head, _) = ask("POST /login", &format!("{own}{form}"), &right);
    assert_eq!((code, header(&head, "location")), (303, Some("/api/v1/status")));
    let cookie = header(&head, "set-cookie").unwrap();
    assert!(cookie.ends_with("; path=/; max-age=604800; httponly; samesite=strict"), "{cookie}");
    assert!(!cookie.contains(TOKEN));
    let cookie = format!("Cookie: other=1; {}\r\n", cookie.split(';').next().unwrap());

    // The cookie counts for pages of this service only.
    for (request, headers, expected) in [
        ("GET /api/v1/status", "Host: turnmill:8732\r\n", 200),
        ("GET /api/v1/status", "Host: turnmill:8732\r\nSec-Fetch-Site: same-origin\r\n", 200),
        ("GET /api/v1/status", "Host: turnmill:8732\r\nSec-Fetch-Site: same-site\r\n", 401),
        ("POST /api/v1/upload", "Host: turnmill:8732\r\nOrigin: http://turnmill:8732\r\n", 200),
        ("POST /api/v1/upload", "Host: turnmill:8732\r\nOrigin: http://turnmill:9\r\n", 401),
        ("POST /api/v1/upload", "Host: turnmill:8732\r\n", 401),
        ("GET /api/v1/status", "Host: localhost:x@evil\r\n", 400),
        ("GET /login?next=/api/v1/status", "Host: turnmill:8732\r\n", 303),
    ] {
        assert_eq!(ask(request, &format!("{headers}{cookie}"), "").0, expected, "{request} {headers}");
    }
    // After a link on another site, the page asks once more, so that the browser sends its cookie.
    let (code, _, page) =
        ask("GET /login?next=/overview", "Host: turnmill\r\nSec-Fetch-Site: cross-site\r\n", "");
    assert!(code == 200 && page.contains("url=/login?next=/overview") && !page.contains("<form"), "{page}");
    // Another token makes cookies of its own.
    let other = Site::start(Some("another-token-of-some-length"));
    let headers = format!("Host: turnmill:8732\r\n{cookie}");
    assert_eq!(other.ask(other.address, "GET /api/v1/status", &headers, b"").0, 401);
    // Without a token there is no log-in, and for strangers nothing else either.
    let closed = Site::start(None);
    assert_eq!(closed.get("/login", "X-Real-IP: 10.0.0.9\r\n").0, 403);
    assert_eq!(closed.get("/login", "").0, 404);

    let (code, head, _) = ask("POST /logout", &format!("{own}{cookie}"), "");
    assert_eq!((code, header(&head, "location")), (303, Some("/login")));
    assert!(header(&head, "set-cookie").unwrap().contains("max-age=0"), "{head}");
}

/// Returns the address of this machine in its network, if it has one. Sends nothing.
fn outer_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_loopback())
}

#[test]
fn a_caller_is_known_by_its_address() {
    let site = Site::start(None);
    // Without a network there is only this machine.
    let (address, expected) = outer_address().map_or((site.address.ip(), 200), |address| (address, 403));
    let address = SocketAddr::new(address, site.address.port());
    assert_eq!(site.ask(address, "GET /api/v1/status", "Host: localhost\r\n", b"").0, expected);
    let site = Site::start(Some(TOKEN));
    let address = SocketAddr::new(address.ip(), site.address.port());
    let bearer = format!("Host: turnmill\r\nAuthorization: bearer {TOKEN}\r\n");
    assert_eq!(site.ask(address, "GET /api/v1/status", &bearer, b"").0, 200);
}

#[test]
fn the_status_tells_positions_lag_and_counts() {
    let site = Site::start(None);
    let _consumer = site.metrics.health().consumer();
    site.metrics.health().enter(Phase::Running);
    let at = PartitionProgress { position: Some(7), end: Some(10), event_time: Some(1_700_000_000.0) };
    site.metrics.partition("rasa", 0, &at);
    site.metrics.partition(
        "rasa",
        1,
        &PartitionProgress { position: Some(4), end: Some(4), event_time: None },
    );
    site.metrics.committed(&BatchCommitted {
        source: "k",
        events: 5,
        repeated: 2,
        ..BatchCommitted::default()
    });
    let status: serde_json::Value = serde_json::from_str(&site.get("/api/v1/status", "").1).unwrap();
    assert_eq!(status["phase"], "running");
    assert_eq!(status["consumers"], 1);
    assert_eq!(status["partitions"][0]["lag_events"], 3);
    assert!(status["partitions"][0]["lag_seconds"].as_f64().unwrap() > 1e7);
    assert_eq!(status["partitions"][1]["lag_seconds"], 0.0);
    assert_eq!(status["since_start"]["records"], 7);
    site.metrics.partition_gone("rasa", 0);
    assert!(!site.metrics.encode().contains("partition=\"0\""));
}

#[test]
fn bodies_have_a_limit() {
    let site = Site::start(None);
    let post =
        |bytes| site.ask(site.address, "POST /api/v1/upload", "Host: localhost\r\n", &vec![b'x'; bytes]);
    let (code, _, body) = post(1000);
    assert_eq!((code, body.as_str()), (200, "1000"));
    assert_eq!(post(MAX_BODY + 1).0, 413);
}

#[test]
fn an_address_in_use_is_named() {
    let site = Site::start(None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let address = SocketAddr::new([0, 0, 0, 0].into(), site.address.port());
    let error = runtime.block_on(Server::bind(address)).unwrap_err().to_string();
    assert!(error.contains(&address.to_string()), "{error}");
}

#[test]
fn an_idle_connection_does_not_hold_up_the_end() {
    let site = Site::start(None);
    let _idle = TcpStream::connect(site.address).unwrap();
    let began = std::time::Instant::now();
    drop(site);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

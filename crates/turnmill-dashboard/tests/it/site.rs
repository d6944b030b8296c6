//! The router, called as the HTTP server calls it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use serde_json::{Value, json};
use tower_service::Service;
use turnmill_dashboard::{AnswerFuture, Answers, Filter, QUESTIONS, Refusal, Subject, router, site};

/// Answers with the subject, and refuses the conversations named after refusals.
struct Echo;

impl Answers for Echo {
    fn answer(&self, subject: Subject) -> AnswerFuture<'_> {
        Box::pin(async move {
            let echo = json!(format!("{subject:?}")).to_string();
            let Subject::Conversation { session } = &subject else { return Ok(echo) };
            let message = "why".to_owned();
            match session.as_str() {
                "late" => Err(Refusal::TimedOut { limit: Duration::from_secs(10) }),
                "gone" => Err(Refusal::Unavailable { message }),
                "unset" => Err(Refusal::NotSetUp { message, command: Some("do".into()) }),
                "absent" => Err(Refusal::NotGiven { message }),
                "unknown" => Err(Refusal::NotFound { name: "conversation unknown".into() }),
                _ => Ok(echo),
            }
        })
    }
}

/// Returns status, headers and body of the response.
#[expect(clippy::unwrap_used, reason = "only tests call it")]
async fn get(site: &mut Router, path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, Vec<u8>) {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = site.call(request.body(Body::empty()).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    (head.status, head.headers, to_bytes(body, usize::MAX).await.unwrap().to_vec())
}

#[tokio::test]
async fn pages_and_assets_are_served_with_a_strict_policy() {
    let mut site = site(Arc::new(Echo), QUESTIONS);
    let (_, _, page) = get(&mut site, "/overview", &[]).await;
    let page = String::from_utf8(page).unwrap();
    // Everything that the page names exists.
    let assets: Vec<&str> = page.split('"').filter(|text| text.starts_with("/assets/")).collect();
    assert!(assets.len() >= 3, "{assets:?}");
    for path in ["/", "/conversations/0b7e", "/quality", "/nowhere", "/assets/nothing.js", "/api/v1/store"]
        .iter()
        .chain(&assets)
    {
        let (status, headers, body) = get(&mut site, path, &[]).await;
        let found = !["/nowhere", "/assets/nothing.js"].contains(path);
        assert_eq!(status == StatusCode::OK, found, "{path}");
        assert_eq!(body.is_empty(), !found, "{path}");
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'self';") && !policy.contains("unsafe"), "{path}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
    }
    // No script or style inside the page, which the policy would refuse.
    assert!(!page.contains("<style") && !page.contains("style=") && !page.contains(" on"), "{page}");
}

#[tokio::test]
async fn known_assets_are_not_sent_again() {
    let mut site = site(Arc::new(Echo), QUESTIONS);
    for path in ["/assets/style.css", "/"] {
        let (_, headers, body) = get(&mut site, path, &[]).await;
        let etag = headers["etag"].to_str().unwrap().to_owned();
        assert!(!body.is_empty());
        for given in [etag.clone(), format!("\"other\", W/{etag}")] {
            let (status, headers, body) = get(&mut site, path, &[("if-none-match", &given)]).await;
            assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0), "{given}");
            assert_eq!(headers["etag"], *etag);
        }
        let (status, ..) = get(&mut site, path, &[("if-none-match", "\"other\"")]).await;
        assert_eq!(status, StatusCode::OK);
    }
}

#[tokio::test]
async fn questions_have_the_parameters_of_the_address() {
    let mut site = site(Arc::new(Echo), QUESTIONS);
    let (status, headers, body) =
        get(&mut site, "/api/v1/metrics/R3_sessions?from=2026-11-02&channel=web&channel=a%20b", &[]).await;
    assert_eq!((status, &headers["content-type"]), (StatusCode::OK, &"application/json".parse().unwrap()));
    assert_eq!(headers["cache-control"], "no-store");
    let asked = serde_json::from_slice::<Value>(&body).unwrap().as_str().unwrap().to_owned();
    for part in ["R3_sessions", r#"channels: [Some("web"), Some("a b")]"#, "from: Some("] {
        assert!(asked.contains(part), "{asked}");
    }
    let subjects = [
        ("store", Subject::Store),
        ("values/channel", Subject::Values { filter: Filter::Channel }),
        ("conversations/a%2Fb", Subject::Conversation { session: "a/b".into() }),
        ("conversations/a/events", Subject::Events { session: "a".into() }),
    ];
    for (path, subject) in subjects {
        let (_, _, body) = get(&mut site, &format!("/api/v1/{path}"), &[]).await;
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), json!(format!("{subject:?}")), "{path}");
    }
}

#[tokio::test]
async fn every_metric_is_described() {
    let (_, _, body) = get(&mut site(Arc::new(Echo), QUESTIONS), "/api/v1/metrics", &[]).await;
    let all = serde_json::from_slice::<Value>(&body).unwrap();
    let ids: Vec<&str> =
        all["metrics"].as_array().unwrap().iter().map(|metric| metric["id"].as_str().unwrap()).collect();
    assert_eq!(ids, turnmill_analytics::METRICS.iter().map(|metric| metric.id).collect::<Vec<_>>());
}

#[tokio::test]
async fn refusals_have_a_status_and_a_reason() {
    let mut site = site(Arc::new(Echo), QUESTIONS);
    let expected = [
        (
            "conversations/late",
            504,
            json!({"kind": "timed_out", "message": "the store did not answer within 10 s"}),
        ),
        ("conversations/gone", 503, json!({"kind": "unavailable", "message": "why"})),
        ("conversations/unset", 200, json!({"kind": "not_set_up", "message": "why", "command": "do"})),
        ("conversations/absent", 200, json!({"kind": "not_given", "message": "why"})),
        (
            "conversations/unknown",
            404,
            json!({"kind": "not_found", "message": "there is no conversation unknown"}),
        ),
        ("metrics/R99", 404, json!({"kind": "not_found", "message": "there is no metric R99"})),
        ("values/colour", 404, json!({"kind": "not_found", "message": "there is no filter colour"})),
        (
            "metrics/R3_sessions?last=x",
            400,
            json!({
                "kind": "invalid",
                "message": "last: `x` is no length: write a number with h, d, w or m, for example 28d",
                "parameter": "last",
            }),
        ),
    ];
    for (path, code, error) in expected {
        let (status, _, body) = get(&mut site, &format!("/api/v1/{path}"), &[]).await;
        assert_eq!(status, code, "{path}");
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), json!({ "error": error }), "{path}");
    }
}

#[tokio::test]
async fn pages_of_other_sites_cannot_ask() {
    let mut site = site(Arc::new(Echo), QUESTIONS);
    for (value, expected) in [("same-origin", 200), ("none", 200), ("cross-site", 403), ("same-site", 403)] {
        let (status, ..) = get(&mut site, "/api/v1/store", &[("sec-fetch-site", value)]).await;
        assert_eq!(status, expected, "{value}");
    }
}

#[tokio::test]
async fn markers_are_previewed_from_yaml_only() {
    let mut site = site(Arc::new(Echo), QUESTIONS);
    let large = "x".repeat(70_000);
    for (kind, markers, expected) in [
        ("application/yaml", "a: {intent: b}", 200),
        ("text/plain", "a: {intent: b}", 415),
        ("application/x-www-form-urlencoded", "a=b", 415),
        ("application/yaml", &large, 413),
    ] {
        let request = Request::post("/api/v1/markers/preview").header("content-type", kind);
        let response = site.call(request.body(Body::from(markers.to_owned())).unwrap()).await.unwrap();
        assert_eq!(response.status().as_u16(), expected, "{kind}");
    }
}

#[tokio::test]
async fn the_first_page_is_of_the_site_only() {
    let (mut alone, mut beside) = (site(Arc::new(Echo), QUESTIONS), router(Arc::new(Echo), QUESTIONS));
    assert_eq!(get(&mut alone, "/", &[]).await.0, StatusCode::OK);
    assert_eq!(get(&mut beside, "/", &[]).await.0, StatusCode::NOT_FOUND);
    assert_eq!(get(&mut beside, "/overview", &[]).await.0, StatusCode::OK);
}

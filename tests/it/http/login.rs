//! Browsers exchange the control token for a cookie.

use super::*;

/// From elsewhere, as a reverse proxy tells it.
const FAR: [(&str, &str); 2] = [("host", "box.example"), ("x-forwarded-for", "192.0.2.7")];

async fn log_in(server: &Server, headers: &[(&str, &str)], token: &str) -> Response {
    let headers = [&FAR[..], &[("content-type", "application/json")], headers].concat();
    server.ask(Method::POST, "/api/session", &headers, &json!({ "token": token }).to_string()).await
}

async fn may(server: &Server, headers: &[(&str, &str)]) -> Value {
    server.ask(Method::GET, "/api/session", headers, "").await.json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_shows_the_token_once_and_gives_its_cookie_back() {
    let server = Server::with(Limits::default(), Some("s3cret")).await;
    assert_eq!(
        may(&server, &[]).await,
        json!({"may_control": true, "token_helps": true, "logged_in": false})
    );
    assert_eq!(
        may(&server, &FAR).await,
        json!({"may_control": false, "token_helps": true, "logged_in": false})
    );

    problem(log_in(&server, &[], "guess").await, 401).await;
    problem(log_in(&server, &[("origin", "https://evil.example")], "s3cret").await, 403).await;
    let plain = [&FAR[..], &[("content-type", "text/plain")]].concat();
    problem(server.ask(Method::POST, "/api/session", &plain, "{\"token\":\"s3cret\"}").await, 415).await;

    let granted = log_in(&server, &[("x-forwarded-proto", "https")], "s3cret").await;
    assert_eq!(granted.status(), StatusCode::NO_CONTENT);
    let cookie = header(&granted, "set-cookie").to_owned();
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/api", "Max-Age=43200", "Secure"] {
        assert!(cookie.contains(attribute) && !cookie.contains("s3cret"), "{attribute} in {cookie}");
    }
    let cookie = cookie.split(';').next().unwrap();
    let held = [&FAR[..], &[("cookie", cookie)]].concat();
    assert_eq!(
        may(&server, &held).await,
        json!({"may_control": true, "token_helps": true, "logged_in": true})
    );
    let done = server.ask(Method::POST, "/api/control/start", &held, "").await;
    assert_eq!(done.status(), StatusCode::OK);
    assert_eq!(server.ask(Method::GET, "/api/logs", &held, "").await.status(), StatusCode::OK);
    let crossed = [&held[..], &[("origin", "http://box.example:3000")]].concat();
    problem(server.ask(Method::POST, "/api/control/start", &crossed, "").await, 401).await;

    let out = server.ask(Method::DELETE, "/api/session", &held, "").await;
    assert!(header(&out, "set-cookie").contains("Max-Age=0"), "{out:?}");
    problem(server.ask(Method::POST, "/api/control/start", &held, "").await, 401).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_is_slowed_down_and_a_box_without_a_token_says_so() {
    let server = Server::with(Limits::default(), Some("s3cret")).await;
    let mut last = log_in(&server, &[], "guess").await;
    for _ in 0..30 {
        last = log_in(&server, &[], "guess").await;
    }
    assert!(header(&last, "retry-after").parse::<u64>().unwrap() > 0, "{last:?}");
    problem(last, 429).await;
    problem(log_in(&server, &[], "s3cret").await, 429).await;

    let tokenless = Server::start().await;
    let refused = problem(log_in(&tokenless, &[], "s3cret").await, 403).await;
    assert!(refused["hint"].as_str().unwrap().contains("control_token_file"), "{refused}");
    assert_eq!(may(&tokenless, &FAR).await["token_helps"], false);
}

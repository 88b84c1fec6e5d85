//! What is told, served and obeyed, and to whom.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_health_and_metrics_tell_the_truth() {
    let server = Server::start().await;
    let status: Value = server.get("/api/status").await.json().await.unwrap();
    assert_eq!((&status["state"], &status["version"]), (&json!("starting"), &json!("1.2.3")));
    for key in ["uptime_s", "profile", "capture", "encode", "outputs", "streams", "queues"] {
        assert!(status.get(key).is_some(), "{key} is missing in {status}");
    }
    assert_eq!(server.get("/healthz").await.status(), StatusCode::OK);
    problem(server.get("/readyz").await, 503).await;
    server.state.send_modify(|state| {
        let mut on_air = State::clone(state);
        on_air.summary = Summary::OnAir;
        on_air.words = "on air: 0 viewers".to_owned();
        *state = Arc::new(on_air);
    });
    let ready = server.get("/readyz").await;
    assert_eq!(
        (ready.status(), ready.text().await.unwrap()),
        (StatusCode::OK, "on air: 0 viewers\n".to_owned())
    );
    let metrics = server.get("/metrics").await;
    assert!(header(&metrics, "content-type").starts_with("application/openmetrics-text"));
    let page = metrics.text().await.unwrap();
    assert!(page.contains("capcast_state{state=\"on_air\"} 1.0\n"), "{page}");
    let profiles: Value = server.get("/api/profiles").await.json().await.unwrap();
    assert_eq!(profiles, json!([profile()]));
    let devices = problem(server.get("/api/devices").await, 500).await;
    assert_eq!(devices["detail"], "the driver hangs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_are_strict_and_everything_else_is_a_problem() {
    let server = Server::start().await;
    for path in ["/", "/live", "/a-room_2"] {
        let page = server.get(path).await;
        assert_eq!(page.status(), StatusCode::OK, "{path}");
        assert!(header(&page, "content-type").starts_with("text/html"));
        let policy = header(&page, "content-security-policy").to_owned();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(header(&page, "x-content-type-options"), "nosniff");
        let etag = header(&page, "etag").to_owned();
        let again = server.ask(Method::GET, path, &[("if-none-match", &etag)], "").await;
        assert_eq!((again.status(), again.bytes().await.unwrap().len()), (StatusCode::NOT_MODIFIED, 0));
    }
    for path in ["/%ff", "/assets/%ff"] {
        problem(server.get(path).await, 400).await;
    }
    for path in ["/panel/x", "/api/nothing", "/assets/..%2f..%2fCargo.toml", "/assets/none.js", "/no%20name"]
    {
        problem(server.get(path).await, 404).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_is_for_this_host_and_for_the_token() {
    let server = Server::start().await;
    let set = |headers: &'static [(&'static str, &'static str)], body: &'static str| {
        let server = &server;
        async move {
            let headers = [headers, &[("content-type", "application/json")]].concat();
            server.ask(Method::POST, "/api/control/bitrate", &headers, body).await
        }
    };
    let good = r#"{"bitrate": "2 Mbit/s"}"#;
    let done: Value = set(&[], good).await.json().await.unwrap();
    assert_eq!(done, json!({"done": "now 2 Mbit/s"}));
    for foreign in [
        &[("host", "capcast.example")][..],
        &[("x-forwarded-for", "192.0.2.1")],
        &[("origin", "https://evil.example")],
        &[("sec-fetch-site", "cross-site")],
        &[("authorization", "Bearer guess")],
    ] {
        let refused = problem(set(foreign, good).await, 403).await;
        assert!(refused["hint"].as_str().unwrap().contains("http.control_token_file"), "{refused}");
    }
    let done = server.ask(Method::POST, "/api/outputs/one/start", &[], "").await;
    assert_eq!(done.json::<Value>().await.unwrap(), json!({"done": "`one` starts"}));
    problem(server.ask(Method::POST, "/api/outputs/one/stop", &[], "").await, 404).await;
    assert_eq!(server.get("/api/outputs").await.json::<Value>().await.unwrap(), json!([]));
    // What outputs are watched at may be secret.
    for (method, path) in [(Method::GET, "/api/outputs"), (Method::POST, "/api/outputs/one/start")] {
        problem(server.ask(method, path, &[("x-forwarded-for", "192.0.2.1")], "").await, 403).await;
    }
    let refused = problem(set(&[], r#"{"bitrate": "10 Mbit/s"}"#).await, 422).await;
    assert_eq!((&refused["detail"], &refused["hint"]), (&json!("too much"), &json!("less")));
    problem(set(&[], r#"{"bitrate": "fast"}"#).await, 422).await;
    for body in ["", "{}", "[]", r#"{"bitrate": 5}"#, r#"{"bitrate": "1 Mbit/s", "x": 1}"#] {
        problem(set(&[], body).await, 400).await;
    }
    problem(server.ask(Method::POST, "/api/control/bitrate", &[], good).await, 415).await;
    let large = "x".repeat(70_000);
    let json = [("content-type", "application/json")];
    problem(server.ask(Method::POST, "/api/control/bitrate", &json, &large).await, 413).await;
    problem(server.ask(Method::POST, "/api/control/keyframe", &[], "").await, 409).await;
    let switch = |profile: &'static str| {
        let (server, json) = (&server, &json);
        async move {
            let body = format!("{{\"profile\": \"{profile}\"}}");
            server.ask(Method::POST, "/api/control/switch", json, &body).await
        }
    };
    let done: Value = switch("vp8-720p30").await.json().await.unwrap();
    assert_eq!(done, json!({"done": "`vp8-720p30` is on air"}));
    assert_eq!(problem(switch("busy").await, 409).await["detail"], "a switch is under way");
    problem(server.ask(Method::POST, "/api/control/switch", &json, r#"{"name": "x"}"#).await, 400).await;
    for (path, done) in [("start", "Start"), ("stop", "Stop"), ("restart", "Restart"), ("reload", "Reload")] {
        let path = format!("/api/control/{path}");
        let answer = server.ask(Method::POST, &path, &[], "").await;
        assert_eq!(answer.json::<Value>().await.unwrap(), json!({"done": done}));
        problem(server.ask(Method::POST, &path, &[("x-forwarded-for", "192.0.2.1")], "").await, 403).await;
    }
    problem(server.get("/api/control/keyframe").await, 405).await;

    let guarded = Server::with(Limits::default(), Some("s3cret")).await;
    let far = [("host", "capcast.example"), ("content-type", "application/json")];
    let refused = guarded.ask(Method::POST, "/api/control/bitrate", &far, good).await;
    assert_eq!(header(&refused, "www-authenticate"), "Bearer");
    problem(refused, 401).await;
    let with = |token: &'static str| [far[0], far[1], ("authorization", token)];
    problem(guarded.ask(Method::POST, "/api/control/bitrate", &with("Bearer S3cret"), good).await, 401).await;
    let let_in = guarded.ask(Method::POST, "/api/control/bitrate", &with("Bearer s3cret"), good).await;
    assert_eq!(let_in.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_comes_when_called_and_the_last_report_stays() {
    let server = Server::with(Limits::default(), Some("s3cret")).await;
    let none = problem(server.get("/api/doctor").await, 404).await;
    assert!(none["detail"].as_str().unwrap().contains("/api/control/doctor"), "{none}");
    let foreign = [("Origin", "https://evil.example")];
    for (method, path) in [(Method::POST, "/api/control/doctor"), (Method::GET, "/api/doctor")] {
        problem(server.ask(method, path, &foreign, "").await, 401).await;
    }
    let made: Value = server.ask(Method::POST, "/api/control/doctor", &[], "").await.json().await.unwrap();
    assert_eq!(made, report("1.2.3"));
    let kept = server.get("/api/doctor").await;
    assert_eq!(header(&kept, "cache-control"), "no-store");
    assert_eq!(kept.json::<Value>().await.unwrap(), made);
}

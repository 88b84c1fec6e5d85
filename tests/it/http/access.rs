//! View keys, signed tokens and a webhook, over real HTTP.

use std::sync::Mutex;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::StatusCode as Code;
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use capcast::http::{TokenKey, Webhook};
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;

use super::*;

async fn server(rules: Rules) -> Server {
    let mut server = Server::ruled(Limits::default(), Some("control"), FeedLimits::default(), rules).await;
    server.go_live().await;
    server
}

fn view_key() -> Rules {
    Rules { view: vec![("live".parse().unwrap(), "look at me".to_owned())], ..rules(true) }
}

/// Makes a request that does not begin on this host, as far as the server can tell.
const ELSEWHERE: (&str, &str) = ("x-forwarded-for", "192.0.2.7");

async fn watch(server: &Server, path: &str, bearer: Option<&str>) -> Response {
    let bearer = bearer.map(|bearer| format!("Bearer {bearer}"));
    let headers: Vec<_> = [Some(ELSEWHERE), bearer.as_deref().map(|bearer| ("authorization", bearer))]
        .into_iter()
        .flatten()
        .collect();
    server.offer(path, &headers, &offer()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_with_a_view_key_is_watched_with_it_alone() {
    let server = server(view_key()).await;
    for (path, bearer, status) in [
        ("/api/whep", None, 401),
        ("/api/whep/live", None, 401),
        ("/api/whep", Some("live"), 401),
        ("/api/whep/live", Some("live"), 401),
        ("/api/whep/live", Some("another key"), 401),
        ("/api/whep/live", Some("s3cret"), 401),
        ("/api/whep/live", Some("control"), 401),
        // What else there is stays open: known, and not live.
        ("/api/whep/cam", None, 409),
        ("/api/whep", Some("cam"), 409),
        ("/api/whep/nothing", None, 404),
    ] {
        let refused = watch(&server, path, bearer).await;
        let challenge = header(&refused, "www-authenticate").to_owned();
        let document = problem(refused, status).await;
        assert_eq!(challenge.starts_with("Bearer"), status == 401, "{path} {bearer:?}: {document}");
    }
    for (path, bearer) in [("/api/whep", "look at me"), ("/api/whep/live", "look at me")] {
        let watching = watch(&server, path, Some(bearer)).await;
        assert_eq!(watching.status(), StatusCode::CREATED, "{path}: {:?}", watching.text().await);
        let location = header(&watching, "location").to_owned();
        assert_eq!(server.ask(Method::DELETE, &location, &[], "").await.status(), StatusCode::OK);
    }
    // Whoever may control the box sees what it shows: its panel needs no key.
    let own = server.offer("/api/whep", &[], &offer()).await;
    assert_eq!(own.status(), StatusCode::CREATED);
    let page = server.offer("/api/whep", &[("origin", "https://evil.example")], &offer()).await;
    problem(page, 401).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn view_keys_cannot_be_guessed_for_long() {
    let server = server(view_key()).await;
    let mut statuses = Vec::new();
    for n in 0..25 {
        statuses.push(watch(&server, "/api/whep", Some(&format!("guess-{n}"))).await.status().as_u16());
    }
    assert_eq!((statuses[0], statuses[24]), (404, 404), "as names they name nothing: {statuses:?}");
    let refused = watch(&server, "/api/whep/live", Some("look at me")).await;
    assert!(header(&refused, "retry-after").parse::<u64>().unwrap() > 0);
    problem(refused, 429).await;
    problem(watch(&server, "/api/whep/cam", None).await, 409).await;
    // Who else comes by the same proxy, or from the box itself, is nobody's guesser.
    for forwarded in [Some("203.0.113.9"), None] {
        let headers: Vec<_> =
            [forwarded.map(|from| ("x-forwarded-for", from)), Some(("authorization", "Bearer look at me"))]
                .into_iter()
                .flatten()
                .collect();
        let watching = server.offer("/api/whep/live", &headers, &offer()).await;
        assert_eq!(watching.status(), StatusCode::CREATED, "{forwarded:?}: {:?}", watching.text().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_control_token_cannot_be_guessed_for_long() {
    let server = server(view_key()).await;
    let ask = async |bearer: &str, from: &str| {
        let headers = [("authorization", bearer), ("x-forwarded-for", from)];
        server.ask(Method::POST, "/api/control/bitrate", &headers, r#"{"bitrate": "1 Mbit/s"}"#).await
    };
    let mut statuses = Vec::new();
    for n in 0..25 {
        // The body is of another type than is expected: whoever may control hears of that, a guesser never.
        statuses.push(ask(&format!("Bearer guess-{n}"), "192.0.2.7").await.status().as_u16());
    }
    assert_eq!((statuses[0], statuses[24]), (401, 429), "{statuses:?}");
    problem(ask("Bearer control", "192.0.2.7").await, 429).await;
    problem(ask("Bearer control", "192.0.2.8").await, 415).await;
}

fn token(key: &PKey<Private>, claims: &Value) -> String {
    let text = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", text(&json!({"alg": "EdDSA", "typ": "JWT"})), text(claims));
    let signature = Signer::new_without_digest(key).unwrap().sign_oneshot_to_vec(message.as_bytes()).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_token_names_the_stream_and_what_may_be_done() {
    let key = PKey::generate_ed25519().unwrap();
    let public = String::from_utf8(key.public_key_to_pem().unwrap()).unwrap();
    let server = server(Rules { tokens: TokenKey::ed_dsa(&public).ok(), ..rules(true) }).await;
    let claims = |stream: &str, publish, view, exp: u64| {
        token(&key, &json!({"stream": stream, "publish": publish, "view": view, "exp": exp}))
    };
    let (far, past) = (9_999_999_999, 1_000_000_000);
    for (bearer, status) in [
        (claims("live", false, true, past), 401),
        (claims("live", true, false, far), 401),
        (claims("cam", false, true, far), 401),
        (
            token(&PKey::generate_ed25519().unwrap(), &json!({"stream": "live", "view": true, "exp": far})),
            401,
        ),
        (String::new(), 401),
    ] {
        problem(
            watch(&server, "/api/whep/live", Some(bearer.as_str()).filter(|b| !b.is_empty())).await,
            status,
        )
        .await;
    }
    let watching = watch(&server, "/api/whep", Some(&claims("live", false, true, far))).await;
    assert_eq!(watching.status(), StatusCode::CREATED, "{:?}", watching.text().await);

    // A stream that the configuration does not name is published, and ended with the same right alone.
    let bearer = |token: &str| format!("Bearer {token}");
    let publisher = bearer(&claims("show", true, false, far));
    let published = server.offer("/api/whip", &[("authorization", &publisher)], &sending()).await;
    assert_eq!(published.status(), StatusCode::CREATED, "{:?}", published.text().await);
    let location = header(&published, "location").to_owned();
    let other = bearer(&claims("cam", true, false, far));
    let delete =
        async |bearer: &str| server.ask(Method::DELETE, &location, &[("authorization", bearer)], "").await;
    problem(delete(&other).await, 404).await;
    problem(delete("Bearer nothing").await, 401).await;
    let since_expired = bearer(&claims("show", true, false, past));
    assert_eq!(delete(&since_expired).await.status(), StatusCode::OK, "its session was there already");
    problem(server.offer("/api/whip", &[("authorization", &since_expired)], &sending()).await, 401).await;
}

/// What was asked of the webhook, and what it says to a question.
#[derive(Default)]
struct Asked {
    questions: Mutex<Vec<Value>>,
}

/// By what it is asked: says yes to `good`, names a stream for `nameless`, fails at `broken`, and says no otherwise.
async fn verdict(Shared(asked): Shared<Arc<Asked>>, body: String) -> (Code, String) {
    let question: Value = serde_json::from_str(&body).unwrap();
    let token = question["token"].as_str().unwrap_or_default().to_owned();
    asked.questions.lock().unwrap().push(question);
    match token.as_str() {
        "good" | "cam" => (Code::OK, String::new()),
        "nameless" => (Code::OK, json!({"stream": "fresh"}).to_string()),
        "page" => (Code::OK, "<html>".to_owned()),
        "long" => (Code::OK, " ".repeat(100_000)),
        "broken" => (Code::INTERNAL_SERVER_ERROR, String::new()),
        "moved" => (Code::TEMPORARY_REDIRECT, String::new()),
        _ => (Code::FORBIDDEN, String::new()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_has_the_last_word() {
    let asked = Arc::new(Asked::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/ask", listener.local_addr().unwrap());
    let app = Router::new().route("/ask", post(verdict)).with_state(asked.clone());
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let until = async move { ended.await.unwrap_or_default() };
    let answering =
        tokio::spawn(async move { axum::serve(listener, app).with_graceful_shutdown(until).await });
    let webhook = |url: &str| Webhook::new(url.to_owned(), Duration::from_secs(5)).ok();
    let server = server(Rules { webhook: webhook(&url), ..rules(true) }).await;
    for _ in 0..3 {
        let watching = watch(&server, "/api/whep/live", Some("good")).await;
        assert_eq!(watching.status(), StatusCode::CREATED, "{:?}", watching.text().await);
        let location = header(&watching, "location").to_owned();
        assert_eq!(server.ask(Method::DELETE, &location, &[], "").await.status(), StatusCode::OK);
    }
    let expected = json!({"action": "view", "stream": "live", "token": "good", "address": "192.0.2.7"});
    assert_eq!(*asked.questions.lock().unwrap(), [expected], "the second and third were not asked about");

    // What is open without a webhook is closed by it, and so is what a key opens.
    problem(watch(&server, "/api/whep/live", None).await, 401).await;
    for (token, status) in [("bad", 401), ("broken", 503), ("page", 503), ("long", 503), ("moved", 503)] {
        problem(watch(&server, "/api/whep/live", Some(token)).await, status).await;
    }
    let publish = async |path: &str, token: &str| {
        let bearer = format!("Bearer {token}");
        server.offer(path, &[("authorization", bearer.as_str())], &sending()).await
    };
    problem(publish("/api/whip", "s3cret").await, 401).await;
    // It opens what nothing else would, and names the stream where nothing does.
    problem(publish("/api/whip", "good").await, 404).await;
    for (path, token) in [("/api/whip/another", "good"), ("/api/whip", "nameless")] {
        let published = publish(path, token).await;
        assert_eq!(published.status(), StatusCode::CREATED, "{path}: {:?}", published.text().await);
        let location = header(&published, "location").to_owned();
        let bearer = format!("Bearer {token}");
        let ended = server.ask(Method::DELETE, &location, &[("authorization", bearer.as_str())], "").await;
        assert_eq!(ended.status(), StatusCode::OK, "{path}");
    }
    // Its connections as well: one that is kept would be asked on.
    drop(end);
    answering.await.unwrap().unwrap();
    let gone = watch(&server, "/api/whep/live", Some("later")).await;
    assert!(header(&gone, "retry-after").parse::<u64>().unwrap() > 0);
    problem(gone, 503).await;
}

/// An offer to send a picture.
fn sending() -> String {
    let mut rtc = Rtc::builder().set_rtp_mode(true).build(now());
    rtc.add_local_candidate(Candidate::host("127.0.0.1:9".parse().unwrap(), "udp").unwrap());
    let mut api = rtc.sdp_api();
    api.add_media(MediaKind::Video, Direction::SendOnly, None, None, None);
    api.apply().unwrap().0.to_sdp_string()
}

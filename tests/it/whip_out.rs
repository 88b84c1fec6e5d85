//! WHIP outputs of the real daemon: to aiortc as an independent server, and to servers that misbehave.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::appliance::{Appliance, turn};
use crate::watcher::Watcher;

pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
pub(crate) const KEY: &str = "a secret key";
/// Base64 of the key, as a URL that ends in `/api/whip` gets it.
pub(crate) const BEARER: &str = "Bearer YSBzZWNyZXQga2V5";

pub(crate) const PROFILE: &str = "summary = \"tried by a test\"\n[video]\ncodec = \"h264\"\nencoder = \"x264\"\n\
                       size = \"640x360\"\nframerate = \"30\"\nbitrate = \"1 Mbit/s\"\n";

/// A daemon with these outputs (name, URL); and where its key is.
pub(crate) fn publishing(outputs: &[(&str, String)]) -> (Appliance, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, format!("{KEY}\n")).unwrap();
    let mut config = "profile = \"tried\"\n[capture]\nvideo = \"test\"\naudio = \"test\"\n".to_owned();
    for (name, url) in outputs {
        config += &format!(
            "[[output]]\nname = \"{name}\"\nkind = \"whip\"\nurl = \"{url}\"\ntoken_file = {key:?}\n"
        );
    }
    (Appliance::start(&config, &[("tried", PROFILE)]), folder)
}

pub(crate) fn output<'a>(state: &'a Value, name: &str) -> &'a Value {
    let outputs = state["outputs"].as_array().map(Vec::as_slice).unwrap_or_default();
    outputs.iter().find(|output| output["name"] == name).unwrap_or(&Value::Null)
}

/// Nothing that the daemon says holds the key, in any form.
pub(crate) fn keeps_the_secret(appliance: &Appliance) {
    let said = [
        appliance.log().join("\n"),
        String::from_utf8_lossy(&appliance.cli(&["status", "--json"]).stdout).into_owned(),
    ];
    for text in said {
        for secret in [KEY, "YSBzZWNyZXQga2V5", "a_secret_key", "a%20secret%20key"] {
            assert!(!text.contains(secret), "`{secret}` is in {text}");
        }
    }
}

#[test]
fn aiortc_decodes_what_is_published_and_is_found_again_after_it_died() {
    let _turn = turn();
    let mut server = Watcher::whip_server(&["--frames", "60"]);
    let port = server.expect("listening", None, PATIENCE).to_string();
    let (mut appliance, _key) = publishing(&[("one", format!("http://127.0.0.1:{port}/api/whip"))]);

    server.expect("session", None, PATIENCE);
    let session = server.last();
    assert_eq!(session["bearer"], BEARER);
    let offer = session["offer"].as_str().unwrap();
    for line in [
        "a=sendonly",
        "a=rtcp-fb:96 nack pli",
        "a=rtcp-fb:96 transport-cc",
        "profile-level-id=42e01f",
        "packetization-mode=1",
        "a=rtpmap:111 OPUS/48000/2",
        "a=candidate:",
        "a=group:BUNDLE",
    ] {
        assert!(offer.contains(line), "no `{line}` in the offer:\n{offer}");
    }
    assert!(server.expect("frames", None, PATIENCE).as_u64() >= Some(60));
    let seen = server.last();
    println!("{}", serde_json::json!({ "seen": seen }));
    assert_eq!(seen["size"], serde_json::json!([640, 360]), "{seen}");
    assert!(seen["contrast"].as_u64() > Some(50), "the picture is one colour: {seen}");
    assert!(seen["audio_peak"].as_u64() > Some(500), "silence: {seen}");
    let state = appliance.until_state("the numbers of the output are there", PATIENCE, |state| {
        let one = output(state, "one");
        one["state"] == "live" && one["bitrate_bps"].as_u64() > Some(100_000) && one["rtt_ms"].is_number()
    });
    println!("{:#}", output(&state, "one"));
    assert_eq!(state["state"], "on_air");
    assert_eq!(output(&state, "one")["dropped"], 0, "{state:#}");

    // It dies without a word; a new one answers at the same place.
    server.kill();
    let mut server = Watcher::whip_server(&["--frames", "60", "--port", &port]);
    server.expect("listening", None, PATIENCE);
    assert!(server.expect("frames", None, PATIENCE).as_u64() >= Some(60), "{}", server.last());
    let state = appliance.until_state("it is live again", PATIENCE, |state| {
        output(state, "one")["state"] == "live" && output(state, "one")["reconnects"].as_u64() >= Some(1)
    });
    assert_eq!(state["encode"]["restarts"], 0, "the encoder has nothing to do with it");

    // Stopped by command, and started again.
    let stopped = appliance.cli(&["output", "one", "stop"]);
    assert!(stopped.status.success(), "{stopped:?}");
    server.expect("deleted", None, PATIENCE);
    assert_eq!(server.last()["bearer"], BEARER);
    let state =
        appliance.until_state("it is stopped", PATIENCE, |state| output(state, "one")["state"] == "stopped");
    assert_eq!(state["state"], "on_air", "an output that was stopped is no trouble");
    assert!(appliance.cli(&["output", "one", "start"]).status.success());
    server.expect("frames", None, PATIENCE);
    let listed = appliance.cli(&["outputs"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.starts_with("one  live  whip, "), "{listed}");
    let unknown = appliance.cli(&["output", "nobody", "start"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("no output `nobody`"), "{unknown:?}");
    keeps_the_secret(&appliance);

    let (took, log) = appliance.end();
    server.expect("deleted", None, PATIENCE);
    println!("it ended within {took:?}");
    assert!(!log.iter().any(|line| line.contains("left behind")), "{log:#?}");
}

#[test]
fn one_encode_serves_several_servers_and_the_end_of_one_is_nothing_to_another() {
    let _turn = turn();
    let mut plain = Watcher::whip_server(&["--frames", "60"]);
    let mut broadcast = Watcher::whip_server(&["--frames", "60", "--broadcast-box"]);
    let ports = [&mut plain, &mut broadcast].map(|server| server.expect("listening", None, PATIENCE));
    let url = |index: usize| format!("http://127.0.0.1:{}/api/whip", ports[index]);
    let (mut appliance, _key) = publishing(&[("plain", url(0)), ("box", url(1))]);
    for server in [&mut plain, &mut broadcast] {
        server.expect("frames", None, PATIENCE);
        assert_eq!(server.last()["lost"], 0, "{}", server.last());
    }
    assert_eq!(broadcast.expect("status_of", None, PATIENCE), "a_secret_key");
    let says = |state: &Value| output(state, "box")["server"] == "the server has the stream, 1 viewer";
    let state = appliance.until_state("the server's own word is shown", PATIENCE, says);
    assert!(output(&state, "plain")["server"].is_null());
    // Where it is watched holds the key: told by the socket alone.
    let listed = String::from_utf8_lossy(&appliance.cli(&["outputs"]).stdout).into_owned();
    assert!(listed.contains(&format!("watch at http://127.0.0.1:{}/a_secret_key\n", ports[1])), "{listed}");
    keeps_the_secret(&appliance);

    // One hangs: it takes HTTP connections and datagrams, and answers neither.
    let before = broadcast.expect("so_far", None, PATIENCE).as_u64().unwrap();
    let viewed = state["streams"][0]["packets_in"].as_u64().unwrap();
    plain.hang();
    appliance.until_state("the hanging one is noticed", PATIENCE, |state| {
        output(state, "plain")["state"] != "live"
    });
    while broadcast.expect("so_far", None, PATIENCE).as_u64().unwrap() < before + 60 {}
    plain.kill();
    let state = appliance.until_state("the loss of one is noticed", PATIENCE, |state| {
        output(state, "plain")["state"] == "backing_off"
            && output(state, "plain")["reconnects"].as_u64() >= Some(1)
    });
    let stream = &state["streams"][0];
    assert!(stream["packets_in"].as_u64().unwrap() > viewed + 60, "the SFU gets everything: {stream}");
    assert_eq!((&stream["dropped"], &output(&state, "box")["dropped"]), (&0.into(), &0.into()), "{state:#}");
    println!("{}", state["words"]);
    assert_eq!(state["state"], "degraded");
    let other = output(&state, "box");
    assert_eq!((&other["state"], &other["reconnects"]), (&"live".into(), &0.into()), "{other}");
    assert_eq!(state["encode"]["restarts"], 0);
    appliance.end();
    broadcast.expect("deleted", None, PATIENCE);
    assert_eq!(broadcast.last()["deleted"], 1, "its first and only session");
}

/// A server that answers every request alike; `{port}` in the answer is its own. An empty answer is none at all.
struct Faulty {
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// Method, path and bearer of a request.
type Asked = (String, String, Option<String>);

impl Faulty {
    fn start(answer: impl Fn(&str) -> &'static str + Send + Sync + 'static) -> Faulty {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (heard, answer) = (Arc::clone(&asked), Arc::new(answer));
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming().map_while(Result::ok) {
                let Some((method, path, bearer)) = request(&stream) else { continue };
                let reply = answer(&path).replace("{port}", &port.to_string());
                heard.lock().unwrap().push((method, path, bearer));
                if reply.is_empty() {
                    silent.push(stream);
                } else {
                    let _ = (&stream).write_all(reply.as_bytes());
                }
            }
        });
        Faulty { port, asked }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/api/whip", self.port)
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn request(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut length, mut bearer) = (0, None);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().ok()?;
            }
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                bearer = Some(value.to_owned());
            }
            Some(_) => {}
            None => break,
        }
    }
    reader.read_exact(&mut vec![0; length]).ok()?;
    Some((method, path, bearer))
}

/// Closes the connection, so that the next request comes by another.
macro_rules! answer {
    ($status:literal, $headers:literal, $body:literal) => {
        concat!("HTTP/1.1 ", $status, "\r\nConnection: close\r\n", $headers, "\r\n", $body)
    };
}

#[test]
fn each_fault_of_a_server_has_its_state_and_its_words_and_harms_nothing_else() {
    let _turn = turn();
    let fault = |reply: &'static str| Faulty::start(move |_| reply);
    let redirecting = Faulty::start(|path| match path {
        "/api/whip" => answer!("307 Temporary Redirect", "Location: /elsewhere/api/whip\r\n", ""),
        _ => answer!("403 Forbidden", "", ""),
    });
    let circling = Faulty::start(|_| answer!("307 Temporary Redirect", "Location: /api/whip\r\n", ""));
    let cut = answer!("201 Created", "Content-Type: application/sdp\r\nContent-Length: 2000\r\n", "v=0\r\n");
    let expected = [
        ("unauthorised", fault(answer!("401 Unauthorized", "", "")), "refused", "key"),
        ("redirected", redirecting, "refused", "key"),
        ("nowhere", fault(answer!("404 Not Found", "", "")), "wrong_url", "404"),
        (
            "page",
            fault(answer!("200 OK", "Content-Type: text/html\r\n", "<html>")),
            "wrong_url",
            "a web page",
        ),
        ("circling", circling, "wrong_url", "more than 5 redirects"),
        ("full", fault(answer!("503 Busy", "Retry-After: 60\r\n", "")), "backing_off", "503"),
        (
            "taken",
            fault(answer!("400 Bad Request", "", "session already has a host\n")),
            "host_busy",
            "a publisher",
        ),
        ("choosy", fault(answer!("400 Bad Request", "", "invalid offer: x\n")), "invalid_offer", "the offer"),
        ("garbage", fault("\u{1}\u{2}garbage\r\n\r\n"), "backing_off", "was cut"),
        ("cut", fault(cut), "backing_off", "was cut before the whole answer"),
        (
            "nonsense",
            fault(answer!("201 Created", "Content-Type: application/sdp\r\n", "v=0")),
            "backing_off",
            "does not fit",
        ),
        ("silent", fault(""), "backing_off", "did not answer in time"),
    ];
    let outputs: Vec<_> = expected.iter().map(|(name, server, ..)| (*name, server.url())).collect();
    let (mut appliance, _key) = publishing(&outputs);
    for (name, server, state, words) in &expected {
        let limit = Duration::from_secs(40);
        let seen = appliance.until_state(&format!("{name} is {state}"), limit, |seen| {
            let output = output(seen, name);
            output["state"] == *state && output["reason"].as_str().is_some_and(|said| said.contains(words))
        });
        let output = output(&seen, name);
        if *name == "full" {
            let wait = output["retry_in_s"].as_f64().unwrap();
            assert!(wait > 15.0, "Retry-After was not heeded: {wait}");
        }
        println!("{name}: {} {} {}", output["state"], output["reason"], output["retry_in_s"]);
        assert!(!output["reason"].as_str().unwrap().is_empty(), "no words for {name}");
        let asked = server.asked();
        assert_eq!(asked[0].2.as_deref(), Some(BEARER), "{name}");
        assert!(
            output["retry_in_s"].is_number() != matches!(*state, "refused" | "wrong_url" | "invalid_offer")
        );
    }
    let state = appliance.until_state("the numbers are there", PATIENCE, |state| {
        state["state"] == "degraded" && state["encode"]["fps"].as_f64() > Some(1.0)
    });
    assert!(state["words"].as_str().unwrap().contains("output nowhere wrong url"), "{}", state["words"]);
    assert_eq!((&state["encode"]["restarts"], &state["capture"]["restarts"]), (&0.into(), &0.into()));
    let halted = |name: &str| expected.iter().find(|(other, ..)| *other == name).unwrap().1.asked().len();
    assert_eq!((halted("unauthorised"), halted("nowhere"), halted("choosy"), halted("page")), (1, 1, 1, 1));
    assert_eq!(halted("circling"), 6, "five redirects are followed");
    let redirected = expected[1].1.asked();
    assert_eq!(redirected.len(), 2, "{redirected:?}");
    assert_eq!(redirected[1].1, "/elsewhere/api/whip");
    keeps_the_secret(&appliance);
    let (took, _) = appliance.end();
    println!("it ended within {took:?}");
}

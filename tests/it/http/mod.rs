//! The HTTP server on a real port, with the real SFU behind it.

mod access;
mod answers;
mod connections;
pub(crate) mod contract;
mod feeds;
mod login;
mod rooms;
mod schema;
mod sessions;
mod tls;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use capcast::control::{self, Command, CommandError, Done, State, Summary};
use capcast::http::{
    Access, ControlToken, Doctor, Document, Documents, FeedLimits, Feeds, History, Limits, Listener, Rules,
    Site, Tls, Trust, router, serve,
};
use capcast::media::{Bitrate, Codec, Frame, MediaTime, Packet, RtpTime};
use capcast::sfu::{self, LocalFeed};
use capcast::telemetry::LogRing;
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use str0m::media::{Direction, MediaKind};
use str0m::{Candidate, Rtc};
use tokio::sync::watch;

/// STUN servers that sessions are told of.
const ICE: [&str; 2] = ["stun:stun.example.net", "stun:two.example.net"];

const PATIENCE: Duration = Duration::from_secs(20);
const ROOM: sfu::Room = sfu::Room { frames: 64, time: Duration::from_millis(500), bytes: 8_000_000 };

#[expect(clippy::disallowed_methods, reason = "tests live in real time")]
fn now() -> Instant {
    Instant::now()
}

/// A server on a free port, and the daemon's end of its commands: answers like a daemon that is on air.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    client: Client,
    pub(super) sfu: sfu::Handle,
    /// Plain HTTP until it has an identity.
    tls: Tls,
    feed: Option<LocalFeed>,
    state: watch::Sender<Arc<State>>,
    logs: LogRing,
    close: watch::Sender<bool>,
}

/// A picture of one packet.
fn push(feed: &LocalFeed, sequence: u64) {
    let packet = Packet { sequence, rtp_time: RtpTime(0), marker: true, payload: Arc::from([0x90_u8; 20]) };
    let (codec, pts) = (Codec::Vp8, MediaTime::from_nanos(sequence * 1_000_000));
    feed.push(Frame { codec, pts, keyframe: true, packets: vec![packet] });
}

impl Server {
    pub(super) async fn start() -> Server {
        Server::with(Limits::default(), None).await
    }

    /// Like [`Server::start`], but publishers that are there stay.
    pub(super) async fn keeping_publishers() -> Server {
        Server::built(Limits::default(), None, FeedLimits::default(), false).await
    }

    async fn with(limits: Limits, token: Option<&str>) -> Server {
        Server::with_feeds(limits, token, FeedLimits::default()).await
    }

    async fn with_feeds(limits: Limits, token: Option<&str>, feeds: FeedLimits) -> Server {
        Server::built(limits, token, feeds, true).await
    }

    async fn built(limits: Limits, token: Option<&str>, feeds: FeedLimits, replace: bool) -> Server {
        Server::ruled(limits, token, feeds, rules(replace)).await
    }

    async fn ruled(limits: Limits, token: Option<&str>, feeds: FeedLimits, rules: Rules) -> Server {
        let logs = LogRing::new(7);
        let media = "127.0.0.1:0".parse().unwrap();
        let sfu = sfu::start(sfu::Options {
            media,
            public_addresses: Vec::new(),
            max_viewers: 2,
            sealed_by: Default::default(),
        })
        .unwrap();
        let (handle, mut inbox) = control::channel(State::starting("1.2.3", "test".to_owned()));
        let state = inbox.state;
        tokio::spawn(async move {
            while let Some(order) = inbox.orders.recv().await {
                let _ = order.reply.send(match order.command {
                    Command::Ping => Ok(Done("alive".to_owned())),
                    Command::Keyframe => Err(CommandError::NotOnAir("nothing is on air".to_owned())),
                    Command::SetBitrate(bitrate) if bitrate > Bitrate::from_bits(9_000_000) => {
                        Err(CommandError::Refused {
                            reason: "too much".to_owned(),
                            hint: Some("less".to_owned()),
                        })
                    }
                    Command::SetBitrate(bitrate) => Ok(Done(format!("now {bitrate}"))),
                    Command::Switch(name) if name == "busy" => {
                        Err(CommandError::Conflict("a switch is under way".to_owned()))
                    }
                    Command::Switch(name) => Ok(Done(format!("`{name}` is on air"))),
                    Command::Start | Command::Stop | Command::Restart | Command::Reload => {
                        Ok(Done(format!("{:?}", order.command)))
                    }
                    Command::OutputStart(name) => Ok(Done(format!("`{name}` starts"))),
                    Command::OutputStop(name) => Err(CommandError::Unknown(format!("no `{name}`"))),
                });
            }
        });
        let listener = Listener::tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let tls = Tls::default();
        let site = Site {
            control: handle,
            sfu: Some(sfu.clone()),
            listen: address,
            tls: tls.clone(),
            default_stream: "live".parse().unwrap(),
            ice_servers: Arc::new(ArcSwap::from_pointee(ICE.map(str::to_owned).to_vec())),
            access: Access::new(rules),
            trust: Trust::new(token.and_then(ControlToken::new)),
            history: History::default(),
            feeds: Feeds::new(feeds),
            logs: logs.clone(),
            documents: Arc::new(Documents {
                profiles: Document::new(|| Ok(json!([profile()]))),
                devices: Document::new(|| Err("the driver hangs".to_owned())),
                recordings: Document::new(|| Ok(json!([]))),
                recording: Box::new(|_, _| None),
                doctor: Doctor::new(Box::new(|state| Ok(report(state.version)))),
            }),
        };
        for stream in ["obs", "cam"] {
            sfu.declare(stream.parse().unwrap());
        }
        let (close, closing) = watch::channel(false);
        tokio::spawn(serve(listener.speaking(tls.clone()), router(site), limits, closing));
        let client = Client::builder().timeout(PATIENCE).build().unwrap();
        Server { address, client, sfu, tls, feed: None, state, logs, close }
    }

    /// Makes `live` known, and live for as long as the server is there.
    pub(super) async fn go_live(&mut self) {
        let feed = self.know();
        let deadline = now() + PATIENCE;
        let mut sequence = 0;
        while !self.sfu.stats().streams.iter().any(|stream| stream.live) {
            assert!(now() < deadline, "the SFU never saw the stream: {:?}", self.sfu.stats());
            push(&feed, sequence);
            sequence += 1;
            tokio::task::yield_now().await;
        }
        let mut closed = self.close.subscribe();
        tokio::spawn(async move {
            // A stream that brings nothing for seconds is not live any more.
            let mut often = tokio::time::interval(Duration::from_millis(200));
            while closed.has_changed().is_ok() {
                tokio::select! { _ = often.tick() => {}, _ = closed.changed() => return }
                push(&feed, sequence);
                sequence += 1;
            }
        });
    }

    /// Makes `live` known.
    fn know(&mut self) -> LocalFeed {
        let feed = self.sfu.local_feed("live".parse().unwrap(), now(), [ROOM; 2], Box::new(|_| {}));
        self.feed = Some(feed.clone());
        feed
    }

    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response {
        let mut request = self.client.request(method.clone(), format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.body(body.to_owned()).send().await.unwrap();
        contract::checked(&method, path, response).await
    }

    pub(super) async fn get(&self, path: &str) -> Response {
        self.ask(Method::GET, path, &[], "").await
    }

    pub(super) async fn offer(&self, path: &str, headers: &[(&str, &str)], sdp: &str) -> Response {
        let headers = [headers, &[("content-type", "application/sdp")]].concat();
        self.ask(Method::POST, path, &headers, sdp).await
    }
}

/// As `/api/profiles` has one.
pub(super) fn profile() -> Value {
    json!({
        "name": "test", "summary": "one", "codec": "vp8", "encoder": null, "size": null, "framerate": "30", "bitrate": 1,
        "runs": false, "tried": false, "missing": [{"message": "no encoder", "hint": null}], "active": true,
    })
}

/// As the doctor makes one.
pub(super) fn report(version: &str) -> Value {
    let counts = json!({"ok": 0, "skip": 0, "warn": 0, "fail": 0});
    json!({"version": version, "at": 1, "well": true, "counts": counts, "checks": []})
}

/// `obs` and `cam` may be published; `live` is the box's own. With `replace`, a publisher takes over from an earlier one.
pub(super) fn rules(replace: bool) -> Rules {
    let key = |stream: &str, key: &str| (stream.parse().unwrap(), key.to_owned());
    let publish = vec![key("obs", "s3cret"), key("cam", "other"), key("live", "never")];
    Rules { publish, replace, ..Rules::default() }
}

pub(crate) fn offer() -> String {
    let mut rtc = Rtc::builder().set_rtp_mode(true).build(now());
    rtc.add_local_candidate(Candidate::host("127.0.0.1:9".parse().unwrap(), "udp").unwrap());
    let mut api = rtc.sdp_api();
    api.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
    api.apply().unwrap().0.to_sdp_string()
}

pub(super) fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    let values: Vec<&str> = response.headers().get_all(name).iter().map(|v| v.to_str().unwrap()).collect();
    assert!(values.len() < 2, "{name} is there {} times", values.len());
    values.first().copied().unwrap_or_default()
}

/// Checks that a refusal is a problem document (RFC 9457) of this status, and gives it.
#[track_caller]
fn assert_problem(response: &Response, status: u16) {
    assert_eq!(response.status().as_u16(), status, "{response:?}");
    assert_eq!(header(response, "content-type"), "application/problem+json");
    assert_eq!(header(response, "location"), "", "no session, no Location");
}

pub(super) async fn problem(response: Response, status: u16) -> Value {
    assert_problem(&response, status);
    let document: Value = response.json().await.unwrap();
    assert_eq!(document["status"], status);
    assert!(document["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{document}");
    document
}

//! GStreamer's own publisher: `webrtcbin` as it comes, with its RSA certificate, and the HTTP of WHIP around it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_sdp as gst_sdp;
use gstreamer_webrtc as gst_webrtc;
use reqwest::header::{CONTENT_TYPE, LOCATION};
use tokio::runtime::Runtime;

/// OBS gives up after this; so do we.
const PATIENCE: Duration = Duration::from_secs(8);

/// Sound is 111 because `webrtcbin` may give 97 to the picture's retransmissions before it knows of it.
const PIPELINE: &str = "webrtcbin name=peer bundle-policy=max-bundle \
     videotestsrc is-live=true pattern=smpte ! video/x-raw,width=480,height=270,framerate=30/1 ! \
     x264enc name=encoder tune=zerolatency speed-preset=ultrafast bitrate=800 ! \
     video/x-h264,profile=constrained-baseline ! rtph264pay aggregate-mode=zero-latency config-interval=-1 ! \
     application/x-rtp,media=video,encoding-name=H264,payload=96,clock-rate=90000 ! peer. \
     audiotestsrc is-live=true volume=0.3 ! opusenc ! rtpopuspay ! \
     application/x-rtp,media=audio,encoding-name=OPUS,payload=111,clock-rate=48000,encoding-params=(string)2 ! peer.";

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Habits {
    /// All candidates in the offer; a keyframe when one is asked for.
    Gstreamer,
    /// No candidates in the offer and none later; keyframes at its own pace.
    Obs,
}

/// It publishes until it is stopped or dropped.
pub(super) struct Publisher {
    pipeline: gst::Pipeline,
    requests: Arc<AtomicU64>,
    web: Runtime,
    client: reqwest::Client,
    resource: reqwest::Url,
    key: String,
}

impl Publisher {
    /// Publishes, and is answered.
    pub(super) fn start(endpoint: &str, key: &str, habits: Habits) -> Publisher {
        gst::init().unwrap();
        let pipeline = gst::parse::launch(PIPELINE).unwrap().downcast::<gst::Pipeline>().unwrap();
        let peer = pipeline.by_name("peer").unwrap();
        let encoder = pipeline.by_name("encoder").unwrap();
        encoder.set_property("key-int-max", if habits == Habits::Obs { 60_u32 } else { 3_000 });
        let requests = Arc::new(AtomicU64::new(0));
        for pad in peer.sink_pads() {
            let transceiver = pad.property::<gst_webrtc::WebRTCRTPTransceiver>("transceiver");
            transceiver.set_property("direction", gst_webrtc::WebRTCRTPTransceiverDirection::Sendonly);
            if habits == Habits::Gstreamer {
                transceiver.set_property("do-nack", true);
            }
            let requests = Arc::clone(&requests);
            pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, probe| {
                let named = |event: &gst::Event| {
                    event.structure().is_some_and(|structure| structure.name() == "GstForceKeyUnit")
                };
                match &probe.data {
                    Some(gst::PadProbeData::Event(event)) if named(event) => {
                        requests.fetch_add(1, Ordering::Relaxed);
                        if habits == Habits::Obs {
                            gst::PadProbeReturn::Drop
                        } else {
                            gst::PadProbeReturn::Ok
                        }
                    }
                    _ => gst::PadProbeReturn::Ok,
                }
            });
        }
        let (tell, told) = std::sync::mpsc::channel();
        peer.connect_notify(Some("ice-gathering-state"), move |peer, _| {
            let state = peer.property::<gst_webrtc::WebRTCICEGatheringState>("ice-gathering-state");
            if state == gst_webrtc::WebRTCICEGatheringState::Complete {
                let _ = tell.send(());
            }
        });
        pipeline.set_state(gst::State::Playing).unwrap();
        let made = reply(&peer, "create-offer", None).expect("an offer");
        let made = made.get::<gst_webrtc::WebRTCSessionDescription>("offer").unwrap();
        reply(&peer, "set-local-description", Some(&made));
        told.recv_timeout(PATIENCE).expect("candidates are gathered");
        let local = peer.property::<gst_webrtc::WebRTCSessionDescription>("local-description");
        let mut offer = local.sdp().as_text().unwrap();
        assert!(offer.contains("a=candidate:"), "{offer}");
        if habits == Habits::Obs {
            let kept = offer
                .lines()
                .filter(|line| !line.starts_with("a=candidate:") && !line.starts_with("a=end-of-candidates"));
            offer = kept.map(|line| format!("{line}\r\n")).collect();
        }

        let web = Runtime::new().unwrap();
        let client = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
        let (resource, answer) = web.block_on(async {
            let request = client.post(endpoint).bearer_auth(key).header(CONTENT_TYPE, "application/sdp");
            let created = request.body(offer).send().await.unwrap();
            // No other success will do for OBS.
            assert_eq!(created.status(), 201, "{created:?}");
            let location = created.headers()[LOCATION].to_str().unwrap();
            (created.url().join(location).unwrap(), created.text().await.unwrap())
        });
        let answer = gst_sdp::SDPMessage::parse_buffer(answer.as_bytes()).unwrap();
        let answer = gst_webrtc::WebRTCSessionDescription::new(gst_webrtc::WebRTCSDPType::Answer, answer);
        reply(&peer, "set-remote-description", Some(&answer));
        Publisher { pipeline, requests, web, client, resource, key: key.to_owned() }
    }

    /// How often a keyframe was asked for.
    pub(super) fn keyframe_requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Ends the session; the server's status.
    pub(super) fn stop(self) -> u16 {
        let request = self.client.delete(self.resource.clone()).bearer_auth(&self.key);
        self.web.block_on(async { request.send().await }).unwrap().status().as_u16()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// Has `webrtcbin` do something, and waits until it is done.
fn reply(
    peer: &gst::Element,
    signal: &str,
    argument: Option<&gst_webrtc::WebRTCSessionDescription>,
) -> Option<gst::Structure> {
    let promise = gst::Promise::new();
    match argument {
        Some(description) => peer.emit_by_name::<()>(signal, &[description, &promise]),
        None => peer.emit_by_name::<()>(signal, &[&None::<gst::Structure>, &promise]),
    }
    let result = promise.wait();
    assert_eq!(result, gst::PromiseResult::Replied, "{signal}");
    let reply = promise.get_reply().map(ToOwned::to_owned);
    let failed = reply.as_ref().and_then(|reply| reply.get::<glib::Error>("error").ok());
    assert!(failed.is_none(), "{signal}: {failed:?}");
    reply
}

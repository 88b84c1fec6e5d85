//! The transport on `webrtcbin`: its pipeline, its negotiation, its end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_rtp as gst_rtp;
use gstreamer_rtp::prelude::*;
use gstreamer_sdp as gst_sdp;
use gstreamer_video as gst_video;
use gstreamer_webrtc as gst_webrtc;

use crate::engine::build::{self, BuildError};
use crate::engine::bus::words;
use crate::engine::teardown::Teardown;
use crate::engine::{Departure, Engine, Subscription};
use crate::media::{Bitrate, MediaKind};

use super::caps;
use super::certificate::{Certificate, with_fingerprint};
use super::parts::{element, payloader, webrtcbin};
use super::report::Shelf;
use super::resend::Resender;
use super::{Lane, Relay, Transport, TransportEvent, TransportSink, TransportStats};
use crate::engine::intake::Intake;

/// What the estimator may say at the least.
const LEAST_ESTIMATE: u64 = 100_000;

/// Why no transport could be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// An element is missing or refuses its properties.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// An element of GStreamer's own WebRTC is missing.
    #[error("GStreamer has no element `{element}` here (Debian package `{package}`)")]
    Missing {
        /// The factory.
        element: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// The parts do not fit together, or the pipeline does not start.
    #[error("the WebRTC pipeline cannot be built: {0}")]
    Pipeline(String),
}

impl From<glib::BoolError> for PublishError {
    fn from(error: glib::BoolError) -> Self {
        PublishError::Pipeline(error.message.to_string())
    }
}

impl Engine {
    /// Makes a transport that publishes `lanes`, and has it make its offer. Takes up to some hundred milliseconds, for a
    /// certificate is made: not for an async thread.
    ///
    /// # Errors
    /// When GStreamer lacks something.
    pub fn webrtc(
        &self,
        name: &str,
        lanes: &[Lane],
        relays: &[Relay],
        events: TransportSink,
    ) -> Result<Box<dyn Transport>, PublishError> {
        let pipeline = gst::Pipeline::with_name(&format!("output-{name}"));
        self.shared.timebase.apply(&pipeline);
        let webrtcbin = webrtcbin(relays)?;
        let certificate =
            Certificate::new().map_err(|error| PublishError::Pipeline(format!("no certificate: {error}")))?;
        pipeline.add(&webrtcbin)?;
        // From here on dropping it takes the pipeline down, whatever fails.
        let mut publisher = Publisher {
            name: name.to_owned(),
            pipeline,
            webrtcbin,
            intakes: Vec::new(),
            subscriptions: Vec::new(),
            estimator: Arc::default(),
            resenders: Arc::default(),
            shelf: Shelf::default(),
            feedback: Arc::default(),
            keyframe_requests: Arc::default(),
            events: Arc::new(Events {
                sink: events,
                fingerprint: certificate.fingerprint,
                closed: AtomicBool::new(false),
            }),
            teardown: self.shared.teardown.clone(),
            departed: false,
        };
        publisher.watch_inside(certificate.pem);
        publisher.estimate(lanes.iter().map(|lane| lane.bitrate.bits()).sum());
        for lane in lanes {
            publisher.add(self, lane)?;
        }
        publisher.listen();
        publisher
            .pipeline
            .set_state(gst::State::Playing)
            .map_err(|error| PublishError::Pipeline(format!("it does not start: {error}")))?;
        publisher.offer();
        Ok(Box::new(publisher))
    }
}

/// One session. Callbacks hold nothing of it strongly but counters.
struct Publisher {
    name: String,
    pipeline: gst::Pipeline,
    webrtcbin: gst::Element,
    intakes: Vec<Arc<Intake>>,
    subscriptions: Vec<Subscription>,
    estimator: Arc<std::sync::OnceLock<glib::WeakRef<gst::Element>>>,
    /// What answers NACKs.
    resenders: Arc<Mutex<Vec<Resender>>>,
    shelf: Shelf,
    feedback: Arc<AtomicU64>,
    keyframe_requests: Arc<AtomicU64>,
    events: Arc<Events>,
    teardown: Teardown,
    departed: bool,
}

/// Where events go, until the end.
struct Events {
    sink: TransportSink,
    /// Of the session's certificate; `webrtcbin` offers that of its own.
    fingerprint: String,
    closed: AtomicBool,
}

impl Events {
    fn tell(&self, event: TransportEvent) {
        if !self.closed.load(Ordering::Acquire) {
            (self.sink)(event);
        }
    }
}

impl Transport for Publisher {
    fn answer(&mut self, sdp: &str) {
        let fail = |words: &str| self.events.tell(TransportEvent::Failed(words.to_owned()));
        let Ok(answer) = gst_sdp::SDPMessage::parse_buffer(sdp.as_bytes()) else {
            return fail("the server's answer is no SDP");
        };
        if answer.medias_len() as usize != self.intakes.len() {
            return fail("the server's answer does not fit the offer: it has another number of media");
        }
        for (media, intake) in answer.medias().zip(&self.intakes) {
            let what = match intake.kind() {
                MediaKind::Video => "picture",
                MediaKind::Audio => "sound",
            };
            let refused = media.port() == 0 && media.attribute_val("bundle-only").is_none();
            if refused || media.attribute_val("inactive").is_some() {
                return fail(&format!("the server does not take the {what}, or not its codec"));
            }
        }
        let answer = gst_webrtc::WebRTCSessionDescription::new(gst_webrtc::WebRTCSDPType::Answer, answer);
        let events = Arc::clone(&self.events);
        let promise = gst::Promise::with_change_func(move |reply| {
            if let Some(words) = refusal(reply) {
                events.tell(TransportEvent::Failed(format!("the server's answer cannot be used: {words}")));
            }
        });
        self.webrtcbin.emit_by_name::<()>("set-remote-description", &[&answer, &promise]);
    }

    fn stats(&self) -> TransportStats {
        let now = self.intakes.first().map(|intake| intake.now()).unwrap_or_default();
        let mut stats = TransportStats {
            keyframe_requests: self.keyframe_requests.load(Ordering::Relaxed),
            feedback: self.feedback.load(Ordering::Relaxed),
            ..TransportStats::default()
        };
        for intake in &self.intakes {
            let flow = intake.flow();
            let (rate, bits) = flow.rates(now);
            stats.units += flow.frames();
            stats.bytes += flow.bytes();
            stats.bitrate += bits;
            stats.dropped += intake.dropped();
            stats.reordered += intake.reordered();
            if intake.kind() == MediaKind::Video {
                stats.fps = rate;
                stats.waiting = intake.waiting();
            }
        }
        let reports = self.shelf.last();
        (stats.rtt, stats.packets_lost, stats.loss) = (reports.rtt, reports.packets_lost, reports.loss);
        stats.estimate =
            self.estimator.get().and_then(glib::WeakRef::upgrade).map(|estimator| {
                Bitrate::from_bits(u64::from(estimator.property::<u32>("estimated-bitrate")))
            });
        let resenders = self.resenders.lock().unwrap_or_else(PoisonError::into_inner);
        for (asked, sent) in resenders.iter().map(Resender::counts) {
            stats.nacks += asked;
            stats.resent += sent;
        }
        drop(resenders);
        if stats.units > 0 {
            self.shelf.renew(&self.webrtcbin);
        }
        stats
    }

    fn close(mut self: Box<Self>) -> Departure {
        self.depart()
    }
}

impl Publisher {
    /// Media of one lane: `appsrc`, payloader, the caps that we fix, and a transceiver that only sends.
    fn add(&mut self, engine: &Engine, lane: &Lane) -> Result<(), PublishError> {
        let ssrc = getrandom::u32().map_err(|error| PublishError::Pipeline(error.to_string()))?.max(1);
        let rtp = caps::rtp(lane.codec, lane.picture, ssrc);
        let appsrc = gst_app::AppSrc::builder()
            .is_live(true)
            .format(gst::Format::Time)
            .caps(&caps::units(lane.codec))
            .max_buffers(lane.limits.buffers)
            .max_bytes(lane.limits.bytes)
            .build();
        appsrc.set_property("block", false);
        appsrc.set_property("emit-signals", false);
        let payloader = build::make(&payloader(lane, ssrc))?;
        let extension =
            gst_rtp::RTPHeaderExtension::create_from_uri(caps::TWCC).ok_or(PublishError::Missing {
                element: "rtphdrexttwcc",
                package: "gstreamer1.0-plugins-good",
            })?;
        extension.set_id(caps::TWCC_ID);
        payloader.emit_by_name::<()>("add-extension", &[&extension]);
        let setter = element("capssetter", "gstreamer1.0-plugins-good")?;
        setter.set_property("replace", true);
        setter.set_property("join", false);
        setter.set_property("caps", &rtp);
        let chain = [appsrc.upcast_ref::<gst::Element>(), &payloader, &setter];
        self.pipeline.add_many(chain)?;
        gst::Element::link_many(chain)?;
        let entry = self
            .webrtcbin
            .request_pad_simple("sink_%u")
            .ok_or_else(|| PublishError::Pipeline("webrtcbin takes no further medium".to_owned()))?;
        let exit = setter.static_pad("src");
        let exit = exit.ok_or_else(|| PublishError::Pipeline("capssetter has no source pad".to_owned()))?;
        exit.link(&entry).map_err(|error| PublishError::Pipeline(error.to_string()))?;
        let transceiver = entry.property::<gst_webrtc::WebRTCRTPTransceiver>("transceiver");
        transceiver.set_property("direction", gst_webrtc::WebRTCRTPTransceiverDirection::Sendonly);
        transceiver.set_property("codec-preferences", &rtp);
        let intake = Intake::new(
            &appsrc,
            lane.outlet.clone(),
            lane.codec,
            lane.limits,
            engine.shared.timebase.clone(),
        );
        if lane.codec.kind() == MediaKind::Video {
            transceiver.set_property("do-nack", true);
            self.forward_keyframe_requests(&appsrc, lane);
        }
        let taking = Arc::clone(&intake);
        self.subscriptions.push(lane.outlet.subscribe_units(move |unit| taking.take(unit)));
        self.intakes.push(intake);
        Ok(())
    }

    /// PLI and FIR come out of the payloader as upstream events.
    fn forward_keyframe_requests(&self, appsrc: &gst_app::AppSrc, lane: &Lane) {
        let Some(pad) = appsrc.static_pad("src") else { return };
        let (outlet, asked) = (lane.outlet.clone(), Arc::clone(&self.keyframe_requests));
        pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, probe| {
            if let Some(gst::PadProbeData::Event(event)) = &probe.data
                && gst_video::UpstreamForceKeyUnitEvent::parse(event).is_ok()
            {
                asked.fetch_add(1, Ordering::Relaxed);
                // Merged with those of viewers, and throttled.
                outlet.request_keyframe();
            }
            gst::PadProbeReturn::Ok
        });
    }

    /// Gives the DTLS element the session's certificate; counts what comes into the RTP session as RTCP, which is the
    /// only sign that the server still listens.
    fn watch_inside(&self, pem: String) {
        let Some(bin) = self.webrtcbin.downcast_ref::<gst::Bin>() else { return };
        let (feedback, resenders) = (Arc::clone(&self.feedback), Arc::clone(&self.resenders));
        bin.connect_deep_element_added(move |_, _, element| {
            match element.factory().map(|factory| factory.name().to_string()).as_deref() {
                Some("dtlsdec" | "dtlssrtpdec") => return element.set_property("pem", &pem),
                Some("rtprtxsend") => {
                    let mut resenders = resenders.lock().unwrap_or_else(PoisonError::into_inner);
                    return resenders.push(Resender::new(element));
                }
                Some("rtpsession") => {}
                _ => return,
            }
            let feedback = Arc::clone(&feedback);
            element.connect_pad_added(move |_, pad| {
                if pad.name() != "recv_rtcp_sink" {
                    return;
                }
                let feedback = Arc::clone(&feedback);
                let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
                pad.add_probe(kinds, move |_, _| {
                    feedback.fetch_add(1, Ordering::Relaxed);
                    gst::PadProbeReturn::Ok
                });
            });
        });
    }

    /// Puts the bandwidth estimator in, which paces too: it never holds back more than 30 ms.
    fn estimate(&self, target: u64) {
        let bits = |bits: u64| u32::try_from(bits).unwrap_or(u32::MAX);
        let place = Arc::clone(&self.estimator);
        // To begin with, everything that is to be sent is believed to fit, what is sent again included.
        let first = target * 4 / 3;
        self.webrtcbin.connect("request-aux-sender", false, move |_| {
            let estimator = gst::ElementFactory::make("rtpgccbwe")
                .property("min-bitrate", bits(LEAST_ESTIMATE))
                .property("max-bitrate", bits((target * 2).max(2 * LEAST_ESTIMATE)))
                .property("estimated-bitrate", bits(first.max(LEAST_ESTIMATE)))
                .build();
            match estimator {
                Ok(estimator) => {
                    let _ = place.set(estimator.downgrade());
                    Some(estimator.to_value())
                }
                Err(error) => {
                    tracing::warn!(%error, "no bandwidth estimate for this output");
                    None
                }
            }
        });
    }

    /// Candidates, states and errors become events.
    fn listen(&self) {
        let events = Arc::clone(&self.events);
        self.webrtcbin.connect("on-ice-candidate", false, move |values| {
            let (m_line, line) = (values.get(1)?.get::<u32>().ok()?, values.get(2)?.get::<String>().ok()?);
            // From 1.26 on an empty one says that there are no more; the gathering state says that too, on every version.
            if !line.is_empty() {
                events.tell(TransportEvent::Candidate { m_line: m_line as usize, line });
            }
            None
        });
        let events = Arc::clone(&self.events);
        self.webrtcbin.connect_notify(Some("ice-gathering-state"), move |webrtcbin, _| {
            let state = webrtcbin.property::<gst_webrtc::WebRTCICEGatheringState>("ice-gathering-state");
            if state == gst_webrtc::WebRTCICEGatheringState::Complete {
                tell_offer(webrtcbin, &events, true);
            }
        });
        let (events, intakes) = (Arc::clone(&self.events), self.intakes.clone());
        self.webrtcbin.connect_notify(Some("connection-state"), move |webrtcbin, _| {
            use gst_webrtc::WebRTCPeerConnectionState as State;
            match webrtcbin.property::<State>("connection-state") {
                State::Connected => {
                    intakes.iter().for_each(|intake| intake.open());
                    events.tell(TransportEvent::Connected);
                }
                State::Disconnected => events.tell(TransportEvent::Disconnected),
                State::Failed | State::Closed => events.tell(TransportEvent::Lost),
                _ => {}
            }
        });
        let Some(bus) = self.pipeline.bus() else { return };
        let (events, pipeline) = (Arc::clone(&self.events), self.pipeline.downgrade());
        bus.set_sync_handler(move |_, message| {
            match message.view() {
                gst::MessageView::Latency(_) => {
                    if let Some(pipeline) = pipeline.upgrade() {
                        pipeline.call_async(|pipeline| {
                            let _ = pipeline.recalculate_latency();
                        });
                    }
                }
                gst::MessageView::Error(error) => {
                    let words = words(&error.error(), error.debug().as_deref());
                    events.tell(TransportEvent::Failed(words));
                }
                _ => {}
            }
            gst::BusSyncReply::Drop
        });
    }

    /// Has the offer made: told at once, and again with all candidates.
    fn offer(&self) {
        let (webrtcbin, events) = (self.webrtcbin.downgrade(), Arc::clone(&self.events));
        let promise = gst::Promise::with_change_func(move |reply| {
            let Some(webrtcbin) = webrtcbin.upgrade() else { return };
            let offer = match &reply {
                Ok(Some(fields)) => fields.get::<gst_webrtc::WebRTCSessionDescription>("offer").ok(),
                _ => None,
            };
            match offer {
                Some(offer) => {
                    let (bin, events) = (webrtcbin.downgrade(), Arc::clone(&events));
                    let set = gst::Promise::with_change_func(move |_| {
                        if let Some(webrtcbin) = bin.upgrade() {
                            tell_offer(&webrtcbin, &events, false);
                        }
                    });
                    webrtcbin.emit_by_name::<()>("set-local-description", &[&offer, &set]);
                }
                None => {
                    let words = refusal(reply).unwrap_or_else(|| "no reason given".to_owned());
                    events.tell(TransportEvent::Failed(format!("no offer could be made: {words}")));
                }
            }
        });
        self.webrtcbin.emit_by_name::<()>("create-offer", &[&None::<gst::Structure>, &promise]);
    }

    fn depart(&mut self) -> Departure {
        self.departed = true;
        self.events.closed.store(true, Ordering::Release);
        self.subscriptions.clear();
        self.intakes.iter().for_each(|intake| intake.close());
        self.teardown.send(self.pipeline.clone(), self.name.clone(), Arc::new(|_| {}))
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        if !self.departed {
            drop(self.depart());
        }
    }
}

/// The local description as it is now.
fn tell_offer(webrtcbin: &gst::Element, events: &Events, complete: bool) {
    let offer = webrtcbin.property::<Option<gst_webrtc::WebRTCSessionDescription>>("local-description");
    match offer.map(|offer| offer.sdp().as_text()) {
        Some(Ok(sdp)) => {
            let sdp = with_fingerprint(&sdp, &events.fingerprint);
            events.tell(TransportEvent::Offer { sdp, complete });
        }
        Some(Err(error)) => events.tell(TransportEvent::Failed(format!("the offer is no text: {error}"))),
        None => {}
    }
}

/// Why a promise was not kept, if it was not.
fn refusal(reply: Result<Option<&gst::StructureRef>, gst::PromiseError>) -> Option<String> {
    match reply {
        Ok(None) => None,
        Ok(Some(fields)) => fields.get::<glib::Error>("error").ok().map(|error| error.message().to_owned()),
        Err(_) => Some("it was interrupted".to_owned()),
    }
}

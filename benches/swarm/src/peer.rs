//! One WebRTC session: a socket, a str0m engine and what it is for.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::format::Codec as Format;
use str0m::media::{Direction, MediaKind, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc, RtcConfig};

use crate::clock;
use crate::codec::Codec;
use crate::http::Answer;
use crate::publisher::{Media, Out, Publisher};
use crate::udp::{Datagram, Udp};
use crate::viewer::Viewer;

/// Stats are only read for NACK counts.
const STATS_INTERVAL: Duration = Duration::from_secs(1);
const H264_PROFILE: u32 = 0x42e01f;
/// A lost connectivity check must not cost half a second, as it would with the
/// default of 250 ms: libwebrtc repeats checks every 48 ms while it connects.
const STUN_RTO: Duration = Duration::from_millis(25);

#[derive(Clone)]
pub enum Plan {
    Publish { codec: Codec, media: Arc<Media> },
    View { codecs: Vec<Format> },
}

pub enum Role {
    Publish(Publisher),
    View(Viewer),
}

/// CLOCK_REALTIME nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    pub posted: Option<u64>,
    pub answered: Option<u64>,
    pub connected: Option<u64>,
}

pub struct Peer {
    rtc: Rtc,
    pub udp: Udp,
    pub role: Role,
    mids: Vec<(bool, Mid)>,
    offer: Option<SdpPendingOffer>,
    pub session: Option<String>,
    pub times: Times,
    pub failure: Option<String>,
    deadline: Instant,
}

impl Peer {
    /// A peer and the offer to send for it.
    pub fn new(plan: &Plan, ip: IpAddr) -> Result<(Peer, String)> {
        let udp = Udp::bind(ip)?;
        let mut config =
            RtcConfig::new().set_rtp_mode(true).set_stats_interval(Some(STATS_INTERVAL)).clear_codecs();
        config.set_initial_stun_rto(STUN_RTO);
        let (direction, audio, video) = match plan {
            Plan::Publish { codec, media } => {
                let audio = media.audio_bytes.is_some();
                config = config.enable_opus(audio, false);
                let codecs = config.codec_config();
                match codec {
                    Codec::H264 => codecs.add_h264(108.into(), Some(109.into()), true, H264_PROFILE),
                    Codec::Vp8 => codecs.enable_vp8(true),
                    Codec::Vp9 => codecs.enable_vp9(true),
                    Codec::Opus => {}
                }
                (Direction::SendOnly, audio, media.clip.is_some())
            }
            Plan::View { codecs } => {
                let on = |f| codecs.contains(&f);
                config = config
                    .enable_opus(on(Format::Opus), false)
                    .enable_vp8(on(Format::Vp8))
                    .enable_h264(on(Format::H264))
                    .enable_vp9(on(Format::Vp9))
                    .enable_av1(on(Format::Av1));
                (Direction::RecvOnly, on(Format::Opus), codecs.iter().any(|f| f.is_video()))
            }
        };
        let now = Instant::now();
        let mut rtc = config.build(now);
        rtc.add_local_candidate(Candidate::host(udp.local, "udp")?);
        let mut api = rtc.sdp_api();
        let mut mids = Vec::new();
        for (kind, wanted) in [(MediaKind::Audio, audio), (MediaKind::Video, video)] {
            if wanted {
                mids.push((kind.is_video(), api.add_media(kind, direction, None, None, None)));
            }
        }
        let (offer, pending) = api.apply().context("nothing to offer")?;
        let role = match plan {
            Plan::Publish { media, .. } => Role::Publish(Publisher::new(media.clone())),
            Plan::View { .. } => Role::View(Viewer::new()),
        };
        let mut peer = Peer {
            rtc,
            udp,
            role,
            mids,
            offer: Some(pending),
            session: None,
            times: Times::default(),
            failure: None,
            deadline: now,
        };
        peer.drain(0)?;
        Ok((peer, offer.to_sdp_string()))
    }

    pub fn answer(&mut self, answer: Answer) {
        self.times.posted = Some(answer.posted_ns);
        self.times.answered = Some(answer.answered_ns);
        self.session = answer.session;
        let result = self.accept(&answer.sdp);
        self.note(result);
    }

    fn accept(&mut self, sdp: &str) -> Result<()> {
        let answer = SdpAnswer::from_sdp_string(sdp).with_context(|| format!("in answer {sdp}"))?;
        let offer = self.offer.take().context("a second answer")?;
        self.rtc.sdp_api().accept_answer(offer, answer)?;
        self.drain(0)?;
        // ICE starts when it is told the time.
        self.rtc.handle_input(Input::Timeout(Instant::now()))?;
        self.drain(0)
    }

    pub fn fail(&mut self, why: String) {
        self.failure.get_or_insert(why);
    }

    fn note(&mut self, result: Result<()>) {
        if let Err(e) = result {
            self.fail(format!("{e:#}"));
        }
    }

    /// Can take input: not failed, not closed.
    pub fn alive(&self) -> bool {
        self.failure.is_none() && self.rtc.is_alive()
    }

    /// Joining: neither failed nor, for a viewer, showing a picture (or sound).
    pub fn ready(&self) -> bool {
        match &self.role {
            Role::Publish(_) => self.times.connected.is_some(),
            Role::View(v) => {
                let video = self.mids.iter().any(|(video, mid)| {
                    *video && self.rtc.media(*mid).is_some_and(|m| !m.disabled() && !m.stopped())
                });
                if video { v.first_keyframe_ns().is_some() } else { v.first_rtp_ns.is_some() }
            }
        }
    }

    pub fn datagram(&mut self, d: &Datagram, now: Instant) {
        let result = self.receive(d, now).and_then(|()| {
            if let Role::View(v) = &mut self.role
                && v.map_unknown(&mut self.rtc, d.data, &self.mids)
            {
                self.drain(d.at_ns)?;
                self.receive(d, now)?;
            }
            Ok(())
        });
        self.note(result);
    }

    fn receive(&mut self, d: &Datagram, now: Instant) -> Result<()> {
        let Ok(input) = Receive::new(Protocol::Udp, d.from, self.udp.local, d.data) else {
            return Ok(()); // not anything WebRTC
        };
        self.rtc.handle_input(Input::Receive(now, input))?;
        self.drain(d.at_ns)
    }

    /// When `tick` wants to be called.
    pub fn due(&self) -> Instant {
        let own = match &self.role {
            Role::Publish(p) => p.due(),
            Role::View(v) => v.due(),
        };
        own.map_or(self.deadline, |own| own.min(self.deadline))
    }

    pub fn tick(&mut self, now: Instant) {
        let result = self.advance(now);
        self.note(result);
    }

    fn advance(&mut self, now: Instant) -> Result<()> {
        if self.deadline <= now {
            self.rtc.handle_input(Input::Timeout(now))?;
            self.drain(0)?;
        }
        if let Role::View(v) = &mut self.role {
            v.tick(&mut self.rtc, now);
            return self.drain(0);
        }
        while let Role::Publish(p) = &mut self.role
            && let Some(packets) = p.take(now)
        {
            for out in packets {
                self.send(out, now)?;
            }
        }
        Ok(())
    }

    fn send(&mut self, out: Out, now: Instant) -> Result<()> {
        let mut api = self.rtc.direct_api();
        let stream = api.stream_tx_by_mid(out.mid, None).context("no stream to send on")?;
        stream.write_rtp(
            RtpWrite::new(out.pt, out.seq.into(), out.time, now, out.payload)
                .marker(out.marker)
                .nackable(out.video),
        );
        self.drain(0)
    }

    /// Runs the engine until it has nothing more to say. `at_ns` is when the
    /// datagram that caused this arrived.
    fn drain(&mut self, at_ns: u64) -> Result<()> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(at) => {
                    self.deadline = at;
                    return Ok(());
                }
                Output::Transmit(t) => {
                    self.udp.send(t.destination, &t.contents);
                }
                Output::Event(event) => self.event(event, at_ns)?,
            }
        }
    }

    fn event(&mut self, event: Event, at_ns: u64) -> Result<()> {
        match (event, &mut self.role) {
            (Event::RtpPacket(p), Role::View(v)) => v.packet(&mut self.rtc, &p, at_ns),
            (Event::MediaIngressStats(s), Role::View(v)) => {
                v.nacks.insert(s.mid, s.nacks);
            }
            (Event::KeyframeRequest(_), Role::Publish(p)) => p.keyframe_request(),
            (Event::MediaEgressStats(s), Role::Publish(p)) => {
                p.sent.nacks_received = p.sent.nacks_received.max(s.nacks);
            }
            (Event::Connected, _) => {
                self.times.connected = Some(clock::realtime_ns());
                self.connected()?;
            }
            (Event::IceConnectionStateChange(IceConnectionState::Disconnected), _) => {
                return Err(anyhow!("ICE disconnected"));
            }
            (Event::Closed, _) => return Err(anyhow!("closed by the server")),
            _ => {}
        }
        Ok(())
    }

    fn connected(&mut self) -> Result<()> {
        let Role::Publish(p) = &mut self.role else { return Ok(()) };
        let line = |video: bool| -> Option<(Mid, Pt)> {
            let (_, mid) = self.mids.iter().find(|(v, _)| *v == video)?;
            let media = self.rtc.media(*mid).filter(|m| !m.disabled() && !m.stopped())?;
            // What the server accepted, less anything that is only for resends.
            let main = |pt: &&Pt| self.rtc.codec_config().params().iter().any(|p| p.pt() == **pt);
            Some((*mid, *media.remote_pts().iter().find(main)?))
        };
        let (video, audio) = (line(true), line(false));
        ensure!(video.is_some() || audio.is_some(), "the server accepted no media");
        p.start(Instant::now(), video, audio);
        Ok(())
    }

    /// Tells the server that this is over (RTCP BYE, DTLS close_notify).
    pub fn close(&mut self) {
        let _ = self.rtc.close();
        let _ = self.drain(0);
    }
}

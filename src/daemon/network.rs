//! A source that arrives over the network: opened while the capture reads it, closed when it does not.

use std::time::Duration;

use super::appliance::Appliance;
use super::secret;
use crate::config::{SecretSource, SrtConfig, VideoInput};
use crate::control::{ArrivalState, Passthrough, RelayState, SrtState};
use crate::engine::{Arrivals, Departure, Pacing, Reception, SrtReceiver, StageCounters};
use crate::lifecycle::{Event, Phase};
use crate::media::{Bitrate, MediaKind, SourceHealth};
use crate::plan::{Upstream, relay_url, srt_url};
use crate::relay::Protocol;
use crate::relay::shell::{self, Reader, Sink};

/// What is received now.
pub(super) struct Receiving {
    url: String,
    /// As it was configured then; another passphrase or stream under the same address is another source.
    source: VideoInput,
    reception: Reception,
    receiver: Receiver,
    /// What a plan was last made for, of whether its picture can be passed on as it is.
    planned_for: Option<Result<(), String>>,
}

/// Who brings it. Dropping it ends that.
enum Receiver {
    Srt(SrtReceiver),
    Relay(Reader),
}

/// What is shown of a playlist's stream lags behind its arrival by this, so that a segment may be late by as much.
const LEAD: Duration = Duration::from_millis(500);

impl Receiving {
    pub(super) fn reception(&self) -> &Reception {
        &self.reception
    }

    /// Whether its picture can be passed on as it is, where that is known.
    pub(super) fn known(&self) -> Option<(String, Result<(), String>)> {
        Some((self.url.clone(), self.reception.forwardable()?))
    }

    /// Ends it; gives what to wait for.
    pub(super) fn end(self) -> Option<Departure> {
        match self.receiver {
            Receiver::Srt(receiver) => Some(receiver.stop()),
            Receiver::Relay(_) => None,
        }
    }

    /// What arrives, and how.
    pub(super) fn arrival(&self, passthrough: Option<Passthrough>) -> ArrivalState {
        let report = self.reception.report();
        ArrivalState {
            picture: report.picture,
            sound: report.sound,
            streams: report.sessions,
            bytes: report.bytes,
            bitrate: report.bitrate,
            broken: report.lost,
            garbage: report.garbage,
            dropped: report.dropped,
            moved: report.moved,
            turned_away: report.turned_away,
            passthrough,
            srt: report.link.map(|link| SrtState {
                rtt: link.rtt,
                latency: link.latency,
                packets: link.packets,
                packets_lost: link.lost,
                loss: link.loss,
                nacks: link.nacks,
                estimate: Bitrate::from_bits(link.estimate),
            }),
        }
    }

    /// How a stream that comes in segments fares, with the capture that shows it.
    pub(super) fn relay_state(&self, stage: &StageCounters) -> Option<RelayState> {
        let Receiver::Relay(reader) = &self.receiver else { return None };
        let (facts, ahead) = (reader.facts(), self.reception.report().ahead);
        let numbers = facts.numbers;
        Some(RelayState {
            protocol: facts.protocol.map(Protocol::as_str),
            trouble: facts.trouble,
            segments: numbers.segments,
            skipped: numbers.skipped,
            discontinuities: numbers.discontinuities,
            failures: numbers.failures,
            bytes: numbers.bytes,
            queued_segments: (numbers.queued_segments, facts.limits.segments),
            queued_bytes: (numbers.queued_bytes, facts.limits.waiting),
            ahead,
            segments_per_second: numbers.segments_per_second,
            latency: numbers.wait + ahead + stage.latency_p50.unwrap_or_default(),
        })
    }
}

impl Appliance {
    /// Opens what the capture is to read, and closes what it does not.
    pub(super) fn mind_network(&mut self) {
        let wanted = match &self.capture.plan().upstream {
            Upstream::Network { url } if !self.stopped => Some(url.clone()),
            _ => None,
        };
        let wanted = wanted.and_then(|url| Some((self.configured(&url)?, url)));
        let present = self.watched.receiving.as_ref().map(|present| (&present.source, &present.url));
        if present != wanted.as_ref().map(|(source, url)| (source, url)) {
            // Its port must be free for the next one.
            self.watched.receiving = None;
            self.watched.receiving = wanted.and_then(|(source, url)| self.receive(url, source));
        }
        self.begin_network_sound();
        self.mind_passthrough();
    }

    /// Plans anew when what arrives can be passed on as it is, or cannot any more.
    fn mind_passthrough(&mut self) {
        let wanted = self.config.capture.passthrough && !self.stopped && self.change.is_none();
        let Some(receiving) = self.watched.receiving.as_mut().filter(|_| wanted) else { return };
        let known = receiving.reception.forwardable();
        if known == receiving.planned_for {
            return;
        }
        if let Some(Err(reason)) = &known {
            tracing::warn!("{} is encoded anew: {reason}", receiving.url);
        }
        receiving.planned_for = known;
        self.replan_source();
    }

    /// What arrives is passed on as it is, and need not be decoded.
    pub(super) fn passes_through(&self) -> bool {
        let passed = matches!(self.encode.plan().upstream, Upstream::Network { .. });
        let arrives = self.watched.receiving.as_ref().and_then(|receiving| receiving.reception.forwardable());
        passed && self.encode.is_on_air() && arrives == Some(Ok(())) && self.change.is_none()
    }

    /// What the files say of a source that a plan names; those of a change under way count as well.
    fn configured(&self, url: &str) -> Option<VideoInput> {
        let coming = self.change.as_ref().and_then(|change| change.source());
        let is = |input: &&VideoInput| match input {
            VideoInput::Srt(srt) => srt_url(&srt.peer) == url,
            VideoInput::Url { url: configured, .. } => relay_url(configured) == url,
            _ => false,
        };
        coming.into_iter().chain([&self.config.capture.video]).find(is).cloned()
    }

    fn receive(&self, url: String, source: VideoInput) -> Option<Receiving> {
        let (peer, passphrase) = match source.clone() {
            VideoInput::Srt(SrtConfig { peer, passphrase }) => (peer, passphrase),
            VideoInput::Url { url: configured, token } => {
                let (reception, arrivals) = self.engine.receive(&url, Pacing::Ahead(LEAD));
                let reader = relay(&configured, token, arrivals);
                let reader =
                    reader.inspect_err(|error| tracing::warn!("{url} cannot be read: {error}")).ok()?;
                return Some(Receiving {
                    url,
                    source,
                    reception,
                    receiver: Receiver::Relay(reader),
                    planned_for: None,
                });
            }
            _ => return None,
        };
        let passphrase = move || match &passphrase {
            Some(source) => {
                secret::read("passphrase_file", source).map(Some).map_err(|error| error.to_string())
            }
            None => Ok(None),
        };
        let received = self.engine.receive_srt(&url, peer, passphrase);
        let (reception, receiver) =
            received.inspect_err(|error| tracing::warn!("{url} cannot be received: {error}")).ok()?;
        Some(Receiving { url, source, reception, receiver: Receiver::Srt(receiver), planned_for: None })
    }

    /// The sound of a stream is captured as soon as there is some.
    fn begin_network_sound(&mut self) {
        let now = self.now();
        let Some(part) = &mut self.audio_capture else { return };
        let here = self.watched.receiving.as_ref().is_some_and(|receiving| {
            matches!(&part.plan().upstream, Upstream::Network { url } if *url == receiving.url)
                && receiving.reception.missing(MediaKind::Audio).is_none()
        });
        if here && part.phase() == Phase::WaitingForDevice && !part.is_leaving() {
            part.drive(now, Event::DeviceBack);
        }
    }
}

/// Reads a playlist or a channel.
fn relay(url: &str, token: Option<SecretSource>, arrivals: Arrivals) -> Result<Reader, String> {
    let url = url.parse().map_err(|_| "it is not a URL".to_owned())?;
    let token = token.map(|source| -> shell::Token {
        Box::new(move || secret::read("token_file", &source).map_err(|error| error.to_string()))
    });
    shell::read(shell::Source { url, token }, Relayed(arrivals))
}

struct Relayed(Arrivals);

impl Sink for Relayed {
    fn comes_by(&mut self, protocol: Protocol) {
        self.0.pace(match protocol {
            Protocol::Hls => Pacing::Ahead(LEAD),
            Protocol::Trickle => Pacing::Live,
        });
    }

    fn push(&mut self, bytes: &[u8], cut: bool) {
        if cut {
            self.0.cut();
        }
        self.0.push(bytes);
    }

    fn serve(&mut self) {
        self.0.serve();
    }

    fn ahead(&self) -> Duration {
        self.0.ahead()
    }

    fn lose(&mut self, health: SourceHealth) {
        self.0.lose(health);
    }
}

//! What a publisher sends, as far as it is not [`Ingest`]'s alone.

use std::time::{Duration, Instant};

use str0m::rtp::{Extension, ExtensionMap};

use super::{Disconnect, Out, Peer, viewer};
use crate::media::{Codec, MediaKind};
use crate::sfu::ingest::{Ingest, Run};

/// How often a publisher's receive statistics are looked at.
pub(super) const STATS_EVERY: Duration = Duration::from_secs(1);

impl Peer {
    /// A kind that the publisher wants to send although nothing it offers can be forwarded, with what it offers.
    pub(in crate::sfu) fn missing(&self) -> Option<(MediaKind, Vec<String>)> {
        let ingest = self.ingest.as_ref()?;
        let codecs = [Codec::H264, Codec::Opus].into_iter();
        let mut missing = codecs.filter(|c| self.offer.asks_for(c.kind()) && !ingest.takes(c.kind()));
        missing.next().map(|codec| (codec.kind(), self.offer.encodings(codec)))
    }

    /// What it sends, if it is a publisher.
    pub(in crate::sfu) fn ingest(&self) -> Option<&Ingest> {
        self.ingest.as_ref()
    }

    /// What a publisher has sent since the last call.
    pub(in crate::sfu) fn take_runs(&mut self) -> Vec<Run> {
        self.ingest.as_mut().map(Ingest::take_ready).unwrap_or_default()
    }

    /// Packets of a publisher that waited long enough for a missing one go on; `true` where there were any.
    pub(in crate::sfu) fn give_up_holes(&mut self, now: Instant) -> bool {
        self.ingest.as_mut().is_some_and(|ingest| ingest.give_up_holes(now))
    }

    /// Nothing more of a publisher is there to read.
    pub(in crate::sfu) fn end_runs(&mut self) {
        if let Some(ingest) = &mut self.ingest {
            ingest.end_runs();
        }
    }

    /// Asks a publisher for a keyframe.
    pub(in crate::sfu) fn request_keyframes(
        &mut self,
        layers: u8,
        now: Instant,
        out: &mut Out<'_>,
    ) -> Result<(), Disconnect> {
        if let Some(ingest) = &self.ingest {
            ingest.request_keyframes(layers, &mut self.rtc);
        }
        self.timeout(now, out)
    }
}

/// Which header extensions are negotiated with publishers: what tells streams and layers apart, the feedback by which the
/// publisher finds its bitrate, and what viewers are told again.
pub(super) fn extensions() -> ExtensionMap {
    let mut map = viewer::extensions();
    map.set(10, Extension::RtpStreamId);
    map.set(11, Extension::RepairedRtpStreamId);
    map
}

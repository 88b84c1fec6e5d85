//! How much is sent again. `rtprtxsend` answers every request, and on a way that loses what it cannot carry each answer
//! makes it worse: so a share of what is sent is all that is sent again.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

/// One packet may be sent again for so many new ones: what the estimator's first word leaves room for.
const SHARE: i64 = 3;
/// Packets that may be sent again at once: a burst that got lost.
const BURST: i64 = 100;

/// What is left to send again.
struct Budget {
    /// In parts of a packet.
    left: AtomicI64,
    /// Packets asked for again, answered or not.
    asked: AtomicU64,
}

impl Budget {
    const fn new() -> Budget {
        Budget { left: AtomicI64::new(BURST * SHARE), asked: AtomicU64::new(0) }
    }

    /// So many new packets go out.
    fn sent(&self, packets: usize) {
        let more = i64::try_from(packets).unwrap_or(i64::MAX);
        let fill = |left: i64| Some(left.saturating_add(more).min(BURST * SHARE));
        // Always some.
        let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fill);
    }

    /// A packet is asked for again; whether it may be sent.
    fn ask(&self) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let take = |left: i64| (left >= SHARE).then_some(left - SHARE);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

/// An `rtprtxsend` that is kept within its share.
pub(super) struct Resender {
    element: glib::WeakRef<gst::Element>,
    budget: Arc<Budget>,
}

impl Resender {
    /// Bounds this `rtprtxsend`.
    pub(super) fn new(element: &gst::Element) -> Resender {
        let budget = Arc::new(Budget::new());
        if let Some(pad) = element.static_pad("sink") {
            let budget = Arc::clone(&budget);
            let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
            pad.add_probe(kinds, move |_, probe| {
                budget.sent(match &probe.data {
                    Some(gst::PadProbeData::BufferList(list)) => list.len(),
                    _ => 1,
                });
                gst::PadProbeReturn::Ok
            });
        }
        if let Some(pad) = element.static_pad("src") {
            let budget = Arc::clone(&budget);
            // One event for each packet that a NACK names.
            pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, probe| match &probe.data {
                Some(gst::PadProbeData::Event(event))
                    if event
                        .structure()
                        .is_some_and(|fields| fields.name() == "GstRTPRetransmissionRequest")
                        && !budget.ask() =>
                {
                    gst::PadProbeReturn::Drop
                }
                _ => gst::PadProbeReturn::Ok,
            });
        }
        Resender { element: element.downgrade(), budget }
    }

    /// Packets that were asked for again, and that were sent again.
    pub(super) fn counts(&self) -> (u64, u64) {
        let sent = self.element.upgrade().map_or(0, |element| element.property::<u32>("num-rtx-packets"));
        (self.budget.asked.load(Ordering::Relaxed), sent.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_sent_again_and_then_one_packet_for_three() {
        let budget = Budget::new();
        let granted = |asked: u32| (0..asked).filter(|_| budget.ask()).count();
        assert_eq!(granted(1_000), 100);
        budget.sent(2);
        assert_eq!(granted(10), 0);
        budget.sent(1);
        assert_eq!(granted(10), 1);
        budget.sent(usize::MAX);
        assert_eq!(granted(1_000), 100, "no more than a burst is saved up");
        assert_eq!(budget.asked.load(Ordering::Relaxed), 2_020);
    }
}

//! A source that comes over the network, as metrics.

use std::fmt;

use super::{Sheet, Snapshot, flag, plain};
use crate::control::Passthrough;

impl Snapshot {
    pub(super) fn arrival(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let Some(arrival) = &self.state.capture.arrival else { return Ok(()) };
        let one = |count: u64| vec![(Vec::new(), count)];
        sheet.counters("capcast_source_bytes", "Bytes that arrived over the network", one(arrival.bytes))?;
        sheet.counters("capcast_source_streams", "Streams that began to arrive", one(arrival.streams))?;
        sheet.gauges(
            "capcast_source_bitrate_bits_per_second",
            "Bits that arrive per second",
            plain(arrival.bitrate as f64),
        )?;
        let help = "Pictures and pieces of sound that arrived with holes in them";
        sheet.counters("capcast_source_broken", help, one(arrival.broken))?;
        let help = "Pictures and pieces of sound that there was no room for";
        sheet.counters("capcast_source_dropped", help, one(arrival.dropped))?;
        let help = "Bytes that arrived and are no MPEG-TS";
        sheet.counters("capcast_source_garbage_bytes", help, one(arrival.garbage))?;
        let help = "SRT senders that called while there was one, or with another passphrase";
        sheet.counters("capcast_source_turned_away", help, one(arrival.turned_away))?;
        if let Some(passthrough) = &arrival.passthrough {
            let help = "1 when the picture is passed on as it arrives";
            let passed = plain(flag(*passthrough == Passthrough::Passed));
            sheet.gauges("capcast_source_passed_through", help, passed)?;
        }
        let Some(srt) = &arrival.srt else { return Ok(()) };
        // Gauges: they begin anew with each connection.
        let help = "Round trip to the sender";
        sheet.gauges("capcast_source_rtt_seconds", help, plain(srt.rtt.as_secs_f64()))?;
        let help = "Packets of the present connection that had not come when later ones did";
        sheet.gauges("capcast_source_packets_lost", help, plain(srt.packets_lost as f64))?;
        let help = "The share of packets that was lost lately";
        sheet.gauges("capcast_source_loss_ratio", help, srt.loss.map(plain).unwrap_or_default())?;
        let help = "Times in the present connection that the sender was told what is missing";
        sheet.gauges("capcast_source_nacks", help, plain(srt.nacks as f64))?;
        let help = "What the way from the sender is believed to carry";
        sheet.gauges("capcast_source_estimate_bits_per_second", help, plain(srt.estimate.bits() as f64))
    }
}

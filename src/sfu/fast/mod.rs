//! A viewer's RTP and RTCP without str0m: str0m does its SDP, ICE and DTLS, and all that is sealed with its keys is
//! sealed here, straight into the buffer that one system call sends.
//!
//! ```text
//!  str0m: DTLS ─> keys ──┐
//!                        v
//!  packet ─> Header ─> Seal ─> Batcher        Open ─> rtcp ─> Ring (what is sent again), Sent (transport-wide feedback)
//! ```
//!
//! str0m holds the same keys. So that no nonce is ever used twice, it is left nothing to seal with them: its senders are
//! removed when it connects, and whatever it would send beside STUN and DTLS is dropped. Every SSRC's indices have one
//! owner here, which seals none twice.

mod egress;
mod header;
mod keys;
mod resend;
pub(super) mod rtcp;
mod srtp;
mod twcc;
mod window;

pub(super) use self::egress::{Fast, Line, Media, Outgoing, Resent};
pub(super) use self::header::Extensions;
pub(super) use self::keys::{Capture, PROBE};
pub(super) use self::twcc::Told;

/// Has a viewer's feedback read that has been sent some packets.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzzed_feedback(feedback: &[u8], now: std::time::Instant) {
    let mut sent = twcc::Sent::new(now);
    for _ in 0..300 {
        sent.note(1_200, now);
    }
    let mut count = 0;
    sent.read(feedback, now, |_| count += 1);
    assert!(count <= 300, "{count} of 300 packets were told of");
}

//! Into the bundled SFU, in this process.

use std::sync::Arc;
use std::time::Instant;

use crate::engine::{Outlet, Subscription};
use crate::media::StreamName;
use crate::sfu;

/// The box's own stream at the SFU: frames in, viewers' keyframe requests out. Ends when dropped.
pub struct Local {
    _picture: Subscription,
    _sound: Option<Subscription>,
}

impl Local {
    /// Publishes `picture` and `sound` as `stream`. `epoch` is the instant at which
    /// [`MediaTime`](crate::media::MediaTime) is zero, `rooms` what the hand-over holds of picture and of sound.
    pub fn publish(
        sfu: &sfu::Handle,
        stream: StreamName,
        epoch: Instant,
        rooms: [sfu::Room; 2],
        picture: &Outlet,
        sound: Option<&Outlet>,
    ) -> Local {
        // The outlet merges and throttles: at most one forced keyframe per half second, the rest deferred.
        let asked = picture.clone();
        let feed = sfu.local_feed(stream, epoch, rooms, Box::new(move || asked.request_keyframe()));
        let hand_over = |outlet: &Outlet| {
            let feed = feed.clone();
            outlet.subscribe(move |frame| feed.push(Arc::clone(frame)))
        };
        Local { _picture: hand_over(picture), _sound: sound.map(hand_over) }
    }
}

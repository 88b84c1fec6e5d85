//! Into the bundled SFU, in this process.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;

use crate::engine::{Outlet, Subscription};
use crate::media::StreamName;
use crate::sfu;

/// The box's own stream at the SFU: frames in, viewers' keyframe requests out. Ends when dropped.
pub struct Local {
    feed: sfu::LocalFeed,
    /// Every version of the picture, the best one first: whom to ask for keyframes.
    pictures: Arc<ArcSwap<Vec<Outlet>>>,
    _picture: Subscription,
    smaller: Vec<(Outlet, Subscription)>,
    _sound: Option<Subscription>,
}

impl Local {
    /// Publishes `picture` and `sound` as `stream`. `epoch` is the instant at which
    /// [`MediaTime`](crate::media::MediaTime) is zero, `rooms` what the hand-over holds of each version of the picture and
    /// of sound.
    pub fn publish(
        sfu: &sfu::Handle,
        stream: StreamName,
        epoch: Instant,
        rooms: [sfu::Room; 2],
        picture: &Outlet,
        sound: Option<&Outlet>,
    ) -> Local {
        let pictures = Arc::new(ArcSwap::from_pointee(vec![picture.clone()]));
        let asked = Arc::clone(&pictures);
        let ask = move |layer: u8| {
            // The outlet merges and throttles: at most one forced keyframe per half second, the rest deferred.
            if let Some(outlet) = asked.load().get(usize::from(layer)) {
                outlet.request_keyframe();
            }
        };
        let feed = sfu.local_feed(stream, epoch, rooms, Box::new(ask));
        let hand_over = |outlet: &Outlet| {
            let feed = feed.clone();
            outlet.subscribe(move |frame| feed.push(Arc::clone(frame)))
        };
        let (_picture, _sound) = (hand_over(picture), sound.map(hand_over));
        Local { feed, pictures, _picture, smaller: Vec::new(), _sound }
    }

    /// Publishes smaller versions of the picture as further layers, the best one first, in place of those there were.
    /// `names` are those of all layers, the picture's own first.
    pub fn publish_layers(&mut self, names: Vec<String>, smaller: &[Outlet]) {
        let picture = self.pictures.load().first().cloned();
        self.pictures.store(Arc::new(picture.into_iter().chain(smaller.iter().cloned()).collect()));
        // Before any frame of theirs comes.
        self.feed.name_layers(if smaller.is_empty() { Vec::new() } else { names });
        // What stays is left as it is: a frame that came twice, or not at all, would be seen.
        let same =
            self.smaller.iter().zip(smaller).take_while(|((before, _), outlet)| before == *outlet).count();
        self.smaller.truncate(same);
        for (layer, outlet) in (1..).zip(smaller).skip(same) {
            let feed = self.feed.clone();
            let subscription = outlet.subscribe(move |frame| feed.push_layer(layer, Arc::clone(frame)));
            self.smaller.push((outlet.clone(), subscription));
        }
    }
}

//! Sound cards that are plugged in while the box runs.

use tokio::sync::mpsc;

use super::appliance::Appliance;
use super::source::News;
use super::target::{Wanted, aim};
use crate::lifecycle::Event;

impl Appliance {
    /// A sound card came: it is taken where it is waited for, and looked for where any is good.
    pub(super) fn take_sound_card(&mut self) {
        let now = self.now();
        match &mut self.audio_capture {
            Some(part) => part.drive(now, Event::DeviceBack),
            None if self.audio_encode.is_some() => self.look_for_sound(self.watched.teller()),
            None => {}
        }
    }

    /// Makes a plan of what there is now, on a thread of its own; one with a sound card is told.
    fn look_for_sound(&self, tell: mpsc::Sender<News>) {
        let (loaded, wanted, held) = (self.loaded.clone(), Wanted::named(&self.profile.name), self.held());
        tokio::task::spawn_blocking(move || match aim(&loaded, wanted, &held) {
            Ok(target) if target.plan.audio_capture.is_some() => {
                // A full queue means that the loop stands still; the next card to come is looked at again.
                let _ = tell.try_send(News::SoundFound(Box::new(target.plan)));
            }
            Ok(_) => {}
            Err(error) => tracing::debug!("no sound was found: {error}"),
        });
    }
}

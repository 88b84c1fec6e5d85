//! ALSA: every sound card that captures.

use std::path::{Path, PathBuf};

use alsa::card::Iter;
use alsa::ctl::{Ctl, DeviceIter};
use alsa::{Card, Direction};

use super::{Devices, Trouble, sysfs};
use crate::plan::SoundCard;

/// Adds every card that captures to `devices`.
pub(super) fn list(devices: &mut Devices) {
    for card in Iter::new() {
        let (path, reason) = match card {
            Ok(card) => match ask(&card) {
                Ok(found) => {
                    devices.sound.extend(found);
                    continue;
                }
                Err(error) => (PathBuf::from(format!("hw:{}", card.get_index())), error),
            },
            Err(error) => (PathBuf::from("/proc/asound/cards"), error),
        };
        devices.troubles.push(Trouble { path, reason: error_text(&reason) });
    }
}

/// Nothing for a card that only plays.
fn ask(card: &Card) -> alsa::Result<Option<SoundCard>> {
    let ctl = Ctl::from_card(card, true)?;
    let said = ctl.card_info()?;
    let captures = |device: &i32| {
        u32::try_from(*device).is_ok_and(|device| ctl.pcm_info(device, 0, Direction::Capture).is_ok())
    };
    let Some(device) = DeviceIter::new(&ctl).find(captures) else { return Ok(None) };
    let id = said.get_id()?.to_owned();
    let hw = if device == 0 { format!("hw:CARD={id}") } else { format!("hw:CARD={id},DEV={device}") };
    let class = Path::new("/sys/class/sound").join(format!("card{}", card.get_index()));
    Ok(Some(SoundCard { hw, name: said.get_name()?.to_owned(), bus: sysfs::bus(&class), id }))
}

fn error_text(error: &alsa::Error) -> String {
    nix::errno::Errno::from_raw(error.errno().abs()).desc().to_owned()
}

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

/// Whether a card that an ALSA name speaks of (`hw:CARD=Capture`, `plughw:2,0`) is not there. Names that speak of no card,
/// such as `default`, are never missing.
pub fn is_missing(name: &str) -> bool {
    let Some(card) = card_of(name) else { return false };
    let entry = match card.parse::<u32>() {
        Ok(number) => format!("card{number}"),
        Err(_) => card.to_owned(),
    };
    // Without a list there is no ALSA in this kernel, or not yet.
    !Path::new("/proc/asound").join(entry).exists()
}

/// `Capture` of `plughw:CARD=Capture,DEV=0` and of `hw:Capture`; `1` of `hw:1,0`.
fn card_of(name: &str) -> Option<&str> {
    let (_, arguments) = name.split_once(':')?;
    let first = match arguments.split_once("CARD=") {
        Some((_, named)) => named,
        None => arguments,
    };
    let card = first.split(',').next().unwrap_or(first).trim();
    (!card.is_empty() && !card.contains('=')).then_some(card)
}

fn error_text(error: &alsa::Error) -> String {
    nix::errno::Errno::from_raw(error.errno().abs()).desc().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_card_that_a_name_speaks_of_is_found_in_it() {
        for (name, card) in [
            ("hw:CARD=Capture", Some("Capture")),
            ("plughw:CARD=Capture,DEV=1", Some("Capture")),
            ("hw:Loopback,1", Some("Loopback")),
            ("sysdefault:CARD=PCH", Some("PCH")),
            ("hw:2,0", Some("2")),
            ("default", None),
            ("dsnoop:", None),
            ("dsnoop:DEV=0", None),
        ] {
            assert_eq!(card_of(name), card, "{name}");
        }
        assert!(is_missing("hw:CARD=NobodyCallsACardThis") && !is_missing("default"));
    }
}

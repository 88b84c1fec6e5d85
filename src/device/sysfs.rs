//! Where a device is plugged in, from the kernel's device tree in `/sys`.

use std::fs;
use std::path::{Path, PathBuf};

/// The USB device that a class device (such as `/sys/class/video4linux/video0`) belongs to.
fn usb_device(class_device: &Path) -> Option<PathBuf> {
    let path = fs::canonicalize(class_device).ok()?;
    path.ancestors().find(|folder| folder.join("idVendor").is_file()).map(Path::to_owned)
}

/// Speed of a class device's USB link, in Mbit/s (1.5 counts as 1).
pub(super) fn usb_speed(class_device: &Path) -> Option<u32> {
    let speed = fs::read_to_string(usb_device(class_device)?.join("speed")).ok()?;
    speed.trim().split('.').next()?.parse().ok()
}

/// A class device's place, in the words V4L2 drivers use for theirs: `usb-0000:00:14.0-2`, `PCI:0000:03:00.0`,
/// `platform:snd_aloop.0`. Empty where it has none.
pub(super) fn bus(class_device: &Path) -> String {
    if let Some(usb) = usb_device(class_device) {
        // As usb_make_path() does: the host controller's name, and the path of ports to the device.
        let ports = fs::read_to_string(usb.join("devpath")).unwrap_or_default();
        let root_hub = usb.ancestors().find(|folder| name(folder).starts_with("usb"));
        let controller = root_hub.and_then(Path::parent).map(name).unwrap_or_default();
        return format!("usb-{controller}-{}", ports.trim());
    }
    let Ok(device) = fs::canonicalize(class_device.join("device")) else { return String::new() };
    match fs::canonicalize(device.join("subsystem")).map(|subsystem| name(&subsystem)).as_deref() {
        Ok("pci") => format!("PCI:{}", name(&device)),
        Ok(subsystem) => format!("{subsystem}:{}", name(&device)),
        Err(_) => String::new(),
    }
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A tree as the kernel makes it for a USB capture card with a picture and a sound function.
    fn usb_card(root: &Path) -> (PathBuf, PathBuf) {
        let usb = root.join("devices/pci0000:00/0000:00:14.0/usb2/2-1/2-1.4");
        let (video, sound) = (usb.join("2-1.4:1.0/video4linux/video0"), usb.join("2-1.4:1.2/sound/card1"));
        for folder in [&video, &sound, &root.join("class")] {
            fs::create_dir_all(folder).unwrap();
        }
        for (file, content) in [("idVendor", "534d\n"), ("speed", "480\n"), ("devpath", "1.4\n")] {
            fs::write(usb.join(file), content).unwrap();
        }
        let (video_class, sound_class) = (root.join("class/video0"), root.join("class/card1"));
        symlink(video, &video_class).unwrap();
        symlink(sound, &sound_class).unwrap();
        (video_class, sound_class)
    }

    #[test]
    fn picture_and_sound_of_one_usb_card_are_at_one_place() {
        let root = tempfile::tempdir().unwrap();
        let (video, sound) = usb_card(root.path());
        assert_eq!(bus(&video), "usb-0000:00:14.0-1.4");
        assert_eq!(bus(&sound), bus(&video));
        assert_eq!(usb_speed(&video), Some(480));
    }

    #[test]
    fn what_is_not_on_usb_has_no_speed_and_is_named_by_its_subsystem() {
        let root = tempfile::tempdir().unwrap();
        let device = root.path().join("devices/platform/snd_aloop.0");
        let class = device.join("sound/card0");
        fs::create_dir_all(&class).unwrap();
        fs::create_dir_all(root.path().join("bus/platform")).unwrap();
        symlink(root.path().join("bus/platform"), device.join("subsystem")).unwrap();
        symlink(&device, class.join("device")).unwrap();
        assert_eq!(bus(&class), "platform:snd_aloop.0");
        assert_eq!(usb_speed(&class), None);
        assert_eq!(bus(&root.path().join("nowhere")), "");
    }
}

//! What a verdict depends on. When any of it changes, the encoder is tried anew.

use std::fmt::Write as _;
use std::path::Path;

use crate::engine;
use crate::plan::Fragment;
use crate::plan::Fragments;

/// A digest of Capcast's and GStreamer's versions, the encoder's fragment and the fragment behind it, the plugins of its
/// elements; where hardware does the work, also of the kernel and the devices.
pub(super) fn of(encoder: &Fragment, fragments: &Fragments) -> String {
    let mut text = format!("capcast {}\n", env!("CARGO_PKG_VERSION"));
    let output = encoder.codec.and_then(|codec| fragments.outputs.get(&format!("rtp-{codec}")));
    let parts = [Some(encoder), output];
    for fragment in parts.into_iter().flatten() {
        let _ = writeln!(text, "fragment {}\n{}", fragment.name, fragment.source.text());
        for factory in fragment.elements.iter().flat_map(|part| part.factories()) {
            let Some(origin) = engine::origin(factory) else { continue };
            let changed = origin.file.as_deref().map_or(0, modified);
            let _ = writeln!(text, "{factory} {} {} {changed}", origin.plugin, origin.version);
        }
    }
    if let Ok(version) = engine::init() {
        let _ = writeln!(text, "gstreamer {version}");
    }
    if encoder.hardware.is_some() {
        text += &devices();
    }
    let digest = openssl::sha::sha256(text.as_bytes());
    digest.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// Seconds; 0 where it is not known.
fn modified(file: &Path) -> u64 {
    let time = std::fs::metadata(file).and_then(|metadata| metadata.modified()).ok();
    time.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok()).map_or(0, |since| since.as_secs())
}

/// Kernel, graphics devices with their drivers, codec devices that are no USB camera.
fn devices() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let mut text = read("/proc/sys/kernel/osrelease") + &read("/proc/driver/nvidia/version");
    for (folder, prefix) in [("/sys/class/drm", "renderD"), ("/sys/class/video4linux", "video")] {
        let mut nodes: Vec<String> = std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.path().canonicalize().ok())
            .map(|path| path.display().to_string())
            .filter(|path| path.rsplit('/').next().is_some_and(|name| name.starts_with(prefix)))
            .filter(|path| !path.contains("/usb"))
            .collect();
        nodes.sort();
        for node in nodes {
            let driver = std::fs::read_link(format!("{node}/device/driver")).unwrap_or_default();
            let ids = read(&format!("{node}/device/vendor")) + &read(&format!("{node}/device/device"));
            let _ = writeln!(text, "{node} {} {ids}{}", driver.display(), read(&format!("{node}/name")));
        }
    }
    text
}

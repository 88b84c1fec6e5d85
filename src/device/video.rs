//! V4L2: asks every node in `/dev` that captures video.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use v4l::Device;
use v4l::capability::Flags;
use v4l::format::{FieldOrder, FourCC};
use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::FrameSizeEnum;
use v4l::video::Capture;

use super::modes::{self, Interval, Sizes};
use super::{Camera, Devices, Signal, Trouble, ioctl, sysfs};
use crate::media::FrameSize;
use crate::plan::{DeviceAccess, Rates, VideoDevice, VideoMode};

/// Adds every capture device to `devices`.
pub(super) fn list(devices: &mut Devices) {
    for node in nodes() {
        let opened = Device::with_path(&node);
        let access = match &opened {
            Ok(_) => DeviceAccess::Free,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => DeviceAccess::Denied,
            Err(error) if error.raw_os_error() == Some(Errno::EBUSY as i32) => DeviceAccess::Busy,
            // Unplugged since its node was seen.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => {
                devices.troubles.push(Trouble { path: node, reason: error.to_string() });
                continue;
            }
        };
        let class = Path::new("/sys/class/video4linux").join(node.file_name().unwrap_or_default());
        let mut camera = Camera {
            device: VideoDevice {
                links: LINKS.map(|folder| links(folder, &node)).concat(),
                card: fs::read_to_string(class.join("name")).unwrap_or_default().trim().to_owned(),
                driver: String::new(),
                bus: sysfs::bus(&class),
                modes: Vec::new(),
                access,
                node,
            },
            signal: Signal::Unknown,
            link: sysfs::usb_speed(&class),
        };
        match opened {
            Ok(device) => match ask(&device, &mut camera) {
                Ok(true) => devices.video.push(camera),
                Ok(false) => {}
                Err(errno) => {
                    devices
                        .troubles
                        .push(Trouble { path: camera.device.node, reason: errno.desc().to_owned() });
                }
            },
            Err(_) => devices.video.push(camera),
        }
    }
}

/// `/dev/video0`, `/dev/video1`, …, by number.
fn nodes() -> Vec<PathBuf> {
    let number = |path: &Path| path.file_name()?.to_str()?.strip_prefix("video")?.parse::<u32>().ok();
    let entries = fs::read_dir("/dev").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut nodes: Vec<_> = entries.filter_map(|path| Some((number(&path)?, path))).collect();
    nodes.sort();
    nodes.into_iter().map(|(_, path)| path).collect()
}

/// Where udev puts stable names; the last are of `udev/70-capcast.rules`.
const LINKS: [&str; 3] = ["/dev/v4l/by-id", "/dev/v4l/by-path", "/dev/capcast"];

/// Links in `folder` that point to `node`.
fn links(folder: &str, node: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut links: Vec<_> =
        entries.filter(|link| fs::canonicalize(link).is_ok_and(|target| target == node)).collect();
    links.sort();
    links
}

/// Fills in what an open node says of itself; false where it does not capture video.
fn ask(device: &Device, camera: &mut Camera) -> Result<bool, Errno> {
    let capability = ioctl::capability(device)?;
    let flags = Flags::from(capability.flags);
    // Metadata nodes of USB cards, outputs, codecs and radios have nodes of the same name.
    if !flags.intersects(Flags::VIDEO_CAPTURE | Flags::VIDEO_CAPTURE_MPLANE)
        || flags.intersects(Flags::VIDEO_M2M | Flags::VIDEO_M2M_MPLANE)
    {
        return Ok(false);
    }
    camera.device.card = capability.card;
    camera.device.driver = capability.driver;
    camera.device.bus = capability.bus;
    if ioctl::busy(device) {
        camera.device.access = DeviceAccess::Busy;
    }
    camera.signal = match ioctl::arriving_timings(device) {
        Ok(timings) => timings.signal(),
        Err(Errno::ENOLINK) => Signal::None,
        Err(Errno::ENOLCK) => Signal::Unstable,
        Err(Errno::ERANGE) => Signal::OutOfRange,
        Err(_) => ioctl::input_status(device).map_or(Signal::Unknown, |status| status.signal()),
    };
    camera.device.modes = modes_of(device);
    Ok(true)
}

fn modes_of(device: &Device) -> Vec<VideoMode> {
    let current = device.format().ok();
    let interlaced = current
        .is_some_and(|format| !matches!(format.field_order, FieldOrder::Any | FieldOrder::Progressive));
    let mut all = Vec::new();
    for format in device.enum_formats().unwrap_or_default() {
        let Ok(fourcc) = format.fourcc.str() else { continue };
        let mut sizes = modes::sizes(&enumerated_sizes(device, format.fourcc));
        if sizes.is_empty() {
            // Receivers of HDMI and SDI have the signal's size, and enumerate none.
            sizes.extend(current.map(|format| FrameSize::new(format.width, format.height)));
        }
        for size in sizes {
            let rates = match modes::rates(&enumerated_intervals(device, format.fourcc, size)) {
                Rates::List(list) if list.is_empty() => current_rate(device),
                rates => rates,
            };
            all.push(VideoMode { fourcc: fourcc.trim().to_owned(), size, rates, interlaced });
        }
    }
    all
}

fn enumerated_sizes(device: &Device, fourcc: FourCC) -> Vec<Sizes> {
    let sizes = device.enum_framesizes(fourcc).unwrap_or_default();
    let sizes = sizes.into_iter().map(|size| match size.size {
        FrameSizeEnum::Discrete(one) => Sizes::One(FrameSize::new(one.width, one.height)),
        FrameSizeEnum::Stepwise(range) => Sizes::Range {
            least: FrameSize::new(range.min_width, range.min_height),
            most: FrameSize::new(range.max_width, range.max_height),
            step: FrameSize::new(range.step_width, range.step_height),
        },
    });
    sizes.collect()
}

fn enumerated_intervals(device: &Device, fourcc: FourCC, size: FrameSize) -> Vec<Interval> {
    let intervals = device.enum_frameintervals(fourcc, size.width, size.height).unwrap_or_default();
    let pair = |fraction: v4l::Fraction| (fraction.numerator, fraction.denominator);
    let intervals = intervals.into_iter().map(|interval| match interval.interval {
        FrameIntervalEnum::Discrete(one) => Interval::One(one.numerator, one.denominator),
        FrameIntervalEnum::Stepwise(range) => Interval::Range(pair(range.min), pair(range.max)),
    });
    intervals.collect()
}

/// The rate a device is set to, for those that enumerate none: by its timings, or else as it says.
fn current_rate(device: &Device) -> Rates {
    if let Some(rate) = ioctl::set_timings(device).ok().and_then(|timings| timings.framerate()) {
        return Rates::List(vec![rate]);
    }
    let interval = device.params().ok().map(|params| params.interval);
    modes::rates(&interval.map(|i| Interval::One(i.numerator, i.denominator)).into_iter().collect::<Vec<_>>())
}

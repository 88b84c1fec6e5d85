//! What is plugged in and out, as udev tells it once its rules have run: then names and permissions are as they will be.

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::thread;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use udev::{EventType, MonitorBuilder};

/// One device came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plugged {
    /// A V4L2 node is there, and can be opened by whoever may.
    VideoCame(PathBuf),
    /// A V4L2 node is not there any more.
    VideoWent(PathBuf),
    /// A sound card can capture from now on. ALSA's number, which is not its id.
    SoundCame(u32),
    /// A sound card is not there any more.
    SoundWent(u32),
}

/// Tells what comes and goes from now on, on a thread of its own. Where udev does not run (a container) nothing is ever
/// told: whoever waits for a device must look by itself as well, if seldom.
///
/// # Errors
/// When the system gives no thread. That udev cannot be heard is told in the log.
pub fn watch_plugs(mut tell: impl FnMut(Plugged) + Send + 'static) -> io::Result<()> {
    // udev's types are bound to one thread, so the socket is opened there.
    let run = move || {
        if let Err(error) = listen(&mut tell) {
            tracing::warn!("udev cannot be heard, so devices are found more slowly: {error}");
        }
    };
    thread::Builder::new().name("hotplug".to_owned()).spawn(run).map(drop)
}

fn listen(tell: &mut impl FnMut(Plugged)) -> io::Result<()> {
    let socket = MonitorBuilder::new()?.match_subsystem("video4linux")?.match_subsystem("sound")?.listen()?;
    loop {
        match poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        for event in socket.iter() {
            let name = event.sysname().to_string_lossy().into_owned();
            let node = event.devnode().map(PathBuf::from);
            if let Some(news) = read(event.event_type(), &name, node) {
                tell(news);
            }
        }
    }
}

/// What an event means; most of a sound card's mean nothing here.
fn read(what: EventType, name: &str, node: Option<PathBuf>) -> Option<Plugged> {
    let came = matches!(what, EventType::Add | EventType::Change);
    let went = what == EventType::Remove;
    if name.starts_with("video") {
        let node = node.unwrap_or_else(|| PathBuf::from("/dev").join(name));
        return match (came, went) {
            (true, _) => Some(Plugged::VideoCame(node)),
            (_, true) => Some(Plugged::VideoWent(node)),
            _ => None,
        };
    }
    if let Some(number) = name.strip_prefix("card").and_then(|number| number.parse().ok()) {
        // A card changes when the last of its nodes is there.
        return match what {
            EventType::Change => Some(Plugged::SoundCame(number)),
            EventType::Remove => Some(Plugged::SoundWent(number)),
            _ => None,
        };
    }
    // `pcmC1D0c`: the node that captures.
    let number = name.strip_prefix("pcmC")?.strip_suffix('c')?.split('D').next()?.parse().ok()?;
    (what == EventType::Add).then_some(Plugged::SoundCame(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_nodes_that_capture_are_read_and_others_are_not() {
        let read = |what, name: &str| read(what, name, None);
        let node = PathBuf::from("/dev/video3");
        assert_eq!(read(EventType::Add, "video3"), Some(Plugged::VideoCame(node.clone())));
        assert_eq!(read(EventType::Remove, "video3"), Some(Plugged::VideoWent(node)));
        assert_eq!(read(EventType::Bind, "video3"), None);
        assert_eq!(read(EventType::Change, "card1"), Some(Plugged::SoundCame(1)));
        assert_eq!(read(EventType::Add, "card1"), None, "it has no nodes yet");
        assert_eq!(read(EventType::Remove, "card1"), Some(Plugged::SoundWent(1)));
        assert_eq!(read(EventType::Add, "pcmC12D0c"), Some(Plugged::SoundCame(12)));
        for name in ["pcmC1D0p", "controlC1", "timer", "cardX", "pcmCxD0c", "v4l-subdev0"] {
            assert_eq!(read(EventType::Add, name), None, "{name}");
        }
    }
}

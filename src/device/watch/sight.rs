//! What arrives at the capture device in use, while it is used.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use v4l::Device;

use super::super::{Signal, ioctl, sysfs};
use crate::media::{SourceHealth, SourceState};

/// How often it is looked at. Drivers that tell of changes are heard at once; many do not.
const LOOK_MS: u16 = 400;

/// What one look at a device found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The device's node.
    pub node: PathBuf,
    /// What speaks against a picture; `live` where nothing does, which is no promise that one comes.
    pub health: SourceHealth,
    /// What arrives, as far as the driver says.
    pub signal: Signal,
    /// The card is set to what arrives. False: another size or rate arrives than it is set to.
    pub fits: bool,
    /// Somebody has the device's buffers: Capcast itself, while it captures, or another program.
    pub taken: bool,
    /// It is a USB 3 device on a USB 2 link, or a USB 2 device.
    pub slow_link: bool,
}

/// Watches one capture device at a time.
pub struct SightWatch {
    orders: Sender<Option<PathBuf>>,
    wake: Mutex<PipeWriter>,
}

impl SightWatch {
    /// Watches nothing yet. What is found is told when it differs from what was told last, and after each
    /// [`SightWatch::follow`].
    ///
    /// # Errors
    /// When the system gives no pipe or no thread.
    pub fn start(tell: impl FnMut(Sight) + Send + 'static) -> io::Result<SightWatch> {
        let (orders, inbox) = mpsc::channel();
        let (woken, wake) = io::pipe()?;
        let watcher = Watcher { inbox, woken, tell: Box::new(tell), device: None, node: None, told: None };
        thread::Builder::new().name("signal".to_owned()).spawn(move || watcher.run())?;
        Ok(SightWatch { orders, wake: Mutex::new(wake) })
    }

    /// Watches this device from now on, and tells at once how it is. None: it lets go of what it watches.
    pub fn follow(&self, node: Option<PathBuf>) {
        // A watcher that hangs in its driver hears nothing, and tells nothing.
        let _ = self.orders.send(node);
        if let Ok(mut wake) = self.wake.lock() {
            let _ = wake.write(&[0]);
        }
    }
}

struct Watcher {
    inbox: Receiver<Option<PathBuf>>,
    woken: PipeReader,
    tell: Box<dyn FnMut(Sight) + Send>,
    node: Option<PathBuf>,
    /// Kept open for its events.
    device: Option<Device>,
    told: Option<Sight>,
}

impl Watcher {
    fn run(mut self) {
        while self.wait() {
            loop {
                match self.inbox.try_recv() {
                    Ok(node) => {
                        self.node = node;
                        (self.device, self.told) = (None, None);
                    }
                    Err(mpsc::TryRecvError::Empty) => break,
                    Err(mpsc::TryRecvError::Disconnected) => return,
                }
            }
            let Some(node) = self.node.clone() else { continue };
            let sight = self.look(&node);
            if self.told.as_ref() != Some(&sight) {
                self.told = Some(sight.clone());
                (self.tell)(sight);
            }
        }
    }

    /// Until an order, an event of the device, or the next look is due. False when there is nothing more to wait for.
    fn wait(&mut self) -> bool {
        let patience = match self.node {
            Some(_) => PollTimeout::from(LOOK_MS),
            None => PollTimeout::NONE,
        };
        let mut waiting = vec![PollFd::new(self.woken.as_fd(), PollFlags::POLLIN)];
        waiting.extend(
            self.device.as_ref().map(|device| PollFd::new(ioctl::descriptor(device), PollFlags::POLLPRI)),
        );
        if let Err(errno) = poll(&mut waiting, patience) {
            return errno == Errno::EINTR;
        }
        let flags = |at: usize| waiting.get(at).and_then(PollFd::revents).unwrap_or(PollFlags::empty());
        let (ordered, device) = (flags(0), flags(1));
        if device.contains(PollFlags::POLLPRI)
            && let Some(device) = &self.device
        {
            ioctl::drain_events(device);
        }
        if device.intersects(PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL)
            && !device.contains(PollFlags::POLLPRI)
        {
            // Unplugged, or a driver that has no events: it is opened anew at each look.
            self.device = None;
            if ordered.is_empty() {
                let _ = poll(&mut [PollFd::new(self.woken.as_fd(), PollFlags::POLLIN)], LOOK_MS);
            }
        }
        if ordered.contains(PollFlags::POLLIN) {
            let mut bytes = [0; 64];
            return self.woken.read(&mut bytes).is_ok_and(|count| count > 0);
        }
        !ordered.intersects(PollFlags::POLLHUP | PollFlags::POLLERR)
    }

    fn look(&mut self, node: &Path) -> Sight {
        let sight = |health, fits, taken, slow_link| Sight {
            node: node.to_owned(),
            health,
            signal: Signal::Unknown,
            fits,
            taken,
            slow_link,
        };
        // A device that was plugged in again is another one behind the same name.
        if !node.exists() {
            self.device = None;
            return sight(gone(node), true, false, false);
        }
        let device = match self.device.take() {
            Some(device) => device,
            None => match Device::with_path(node) {
                Ok(device) => device,
                Err(error) => return sight(unopened(node, &error), true, false, false),
            },
        };
        let class = Path::new("/sys/class/video4linux").join(node.file_name().unwrap_or_default());
        let slow = sysfs::usb_speed(&class).is_some_and(|megabits| megabits <= 480);
        let mut signal = Signal::Unknown;
        let (state, fits) = match ioctl::arriving_timings(&device) {
            Ok(arriving) => {
                signal = arriving.signal();
                (SourceState::Live, ioctl::set_timings(&device).is_ok_and(|set| set.like(&arriving)))
            }
            Err(Errno::ENOLINK) => (SourceState::NoSignal, true),
            Err(Errno::ENOLCK) => (SourceState::NoLock, true),
            Err(Errno::ERANGE) => (SourceState::OutOfRange, true),
            Err(Errno::ENODEV) => return sight(gone(node), true, false, slow),
            Err(_) => match ioctl::input_status(&device) {
                Some(status) if status.no_signal => (SourceState::NoSignal, true),
                Some(status) if status.no_lock => (SourceState::NoLock, true),
                _ => (SourceState::Live, true),
            },
        };
        let taken = ioctl::busy(&device);
        // Only what can tell of changes is kept open: an open node keeps a driver from being unloaded.
        if ioctl::subscribe_to_changes(&device).is_ok() {
            self.device = Some(device);
        }
        Sight { signal, ..sight(SourceHealth::of(state), fits, taken, slow) }
    }
}

fn gone(node: &Path) -> SourceHealth {
    SourceHealth::with(SourceState::Gone, &node.display().to_string())
}

/// Why a device that is there cannot be opened.
fn unopened(node: &Path, error: &io::Error) -> SourceHealth {
    let state = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EACCES | Errno::EPERM) => SourceState::Denied,
        Some(Errno::EBUSY) => SourceState::Busy,
        Some(Errno::ENOENT | Errno::ENODEV | Errno::ENXIO) => return gone(node),
        _ => return SourceHealth::with(SourceState::Stalled, &error.to_string()),
    };
    SourceHealth::with(state, &node.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_way_not_to_open_a_device_has_its_word() {
        let node = Path::new("/dev/video7");
        let state = |errno: Errno| unopened(node, &io::Error::from_raw_os_error(errno as i32)).state;
        assert_eq!(state(Errno::EACCES), SourceState::Denied);
        assert_eq!(state(Errno::EBUSY), SourceState::Busy);
        assert_eq!(state(Errno::ENOENT), SourceState::Gone);
        assert_eq!(state(Errno::ENODEV), SourceState::Gone);
        assert_eq!(state(Errno::EIO), SourceState::Stalled);
    }

    #[test]
    fn what_is_not_there_is_told_at_once_and_once() {
        let (tell, told) = mpsc::channel();
        let watch = SightWatch::start(move |sight| drop(tell.send(sight))).unwrap();
        for _ in 0..2 {
            watch.follow(Some(PathBuf::from("/dev/no-such-video")));
            let sight = told.recv_timeout(Duration::from_secs(20)).unwrap();
            assert_eq!((sight.health.state, sight.taken), (SourceState::Gone, false));
            assert!(sight.health.reason.contains("/dev/no-such-video"), "{sight:?}");
        }
        watch.follow(None);
        drop(watch);
        assert!(told.recv_timeout(Duration::from_secs(20)).is_err(), "the thread has ended");
    }
}

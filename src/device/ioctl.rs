//! V4L2 ioctls that the `v4l` crate does not wrap (<https://docs.kernel.org/userspace-api/media/v4l/>): names of any
//! bytes, the input's status, DV timings, and whether somebody streams. And one more question to the kernel that no crate
//! asks: is the clock kept right?
#![expect(
    unsafe_code,
    reason = "ioctls; each takes a zeroed struct of the kernel's own layout and a live descriptor"
)]

use std::ffi::c_int;
use std::mem::zeroed;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::libc::{STA_UNSYNC, TIME_ERROR, adjtimex, timex};
use v4l::Device;
use v4l::v4l_sys::{
    V4L2_IN_ST_NO_H_LOCK, V4L2_IN_ST_NO_POWER, V4L2_IN_ST_NO_SIGNAL, V4L2_IN_ST_NO_SYNC,
    V4L2_IN_ST_NO_V_LOCK, v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE as VIDEO_CAPTURE, v4l2_capability,
    v4l2_dv_timings, v4l2_event, v4l2_event_subscription, v4l2_input, v4l2_memory_V4L2_MEMORY_MMAP as MMAP,
    v4l2_requestbuffers,
};

use super::signal::{InputStatus, Timings};

/// `V4L2_EVENT_SOURCE_CHANGE`
const SOURCE_CHANGE: u32 = 5;

mod raw {
    use super::{
        c_int, v4l2_capability, v4l2_dv_timings, v4l2_event, v4l2_event_subscription, v4l2_input,
        v4l2_requestbuffers,
    };

    nix::ioctl_read!(query_capability, b'V', 0, v4l2_capability);
    nix::ioctl_readwrite!(request_buffers, b'V', 8, v4l2_requestbuffers);
    nix::ioctl_readwrite!(enumerate_input, b'V', 26, v4l2_input);
    nix::ioctl_read!(get_input, b'V', 38, c_int);
    nix::ioctl_readwrite!(set_dv_timings, b'V', 87, v4l2_dv_timings);
    nix::ioctl_readwrite!(get_dv_timings, b'V', 88, v4l2_dv_timings);
    nix::ioctl_read!(dequeue_event, b'V', 89, v4l2_event);
    nix::ioctl_write_ptr!(subscribe_event, b'V', 90, v4l2_event_subscription);
    nix::ioctl_read!(query_dv_timings, b'V', 99, v4l2_dv_timings);
}

/// What `VIDIOC_QUERYCAP` says of this node.
pub(super) struct Capability {
    pub(super) driver: String,
    pub(super) card: String,
    pub(super) bus: String,
    /// `V4L2_CAP_*` of this node, not of the whole device.
    pub(super) flags: u32,
}

/// `VIDIOC_QUERYCAP`. Drivers cut names at 31 bytes, amid a character if it so falls.
pub(super) fn capability(device: &Device) -> Result<Capability, Errno> {
    // SAFETY: plain data, valid when zeroed.
    let mut capability: v4l2_capability = unsafe { zeroed() };
    // SAFETY: the descriptor lives as long as `device`; the struct is the ioctl's own.
    unsafe { raw::query_capability(device.handle().fd(), &mut capability) }?;
    let flags = match capability.device_caps {
        0 => capability.capabilities,
        own => own,
    };
    Ok(Capability {
        driver: text(&capability.driver),
        card: text(&capability.card),
        bus: text(&capability.bus_info),
        flags,
    })
}

/// Whether another program holds the buffers: asking for none of our own fails with EBUSY then, and does nothing else.
pub(super) fn busy(device: &Device) -> bool {
    // SAFETY: plain data, valid when zeroed.
    let mut request: v4l2_requestbuffers = unsafe { zeroed() };
    request.type_ = VIDEO_CAPTURE;
    request.memory = MMAP;
    // SAFETY: as above; a count of 0 allocates nothing.
    let answer = unsafe { raw::request_buffers(device.handle().fd(), &mut request) };
    answer == Err(Errno::EBUSY)
}

/// The selected input's status, where the device has inputs.
pub(super) fn input_status(device: &Device) -> Option<InputStatus> {
    let mut index: c_int = 0;
    // SAFETY: as above.
    unsafe { raw::get_input(device.handle().fd(), &mut index) }.ok()?;
    // SAFETY: plain data, valid when zeroed.
    let mut input: v4l2_input = unsafe { zeroed() };
    input.index = u32::try_from(index).ok()?;
    // SAFETY: as above.
    unsafe { raw::enumerate_input(device.handle().fd(), &mut input) }.ok()?;
    Some(InputStatus {
        no_signal: input.status & (V4L2_IN_ST_NO_POWER | V4L2_IN_ST_NO_SIGNAL) != 0,
        no_lock: input.status & (V4L2_IN_ST_NO_H_LOCK | V4L2_IN_ST_NO_V_LOCK | V4L2_IN_ST_NO_SYNC) != 0,
    })
}

/// The timings of what arrives now. ENOLINK: nothing; ENOLCK: not stable; ERANGE: more than the card takes; ENOTTY and
/// ENODATA: this input has no such timings.
pub(super) fn arriving_timings(device: &Device) -> Result<Timings, Errno> {
    // SAFETY: plain data, valid when zeroed.
    let mut timings: v4l2_dv_timings = unsafe { zeroed() };
    // SAFETY: as above.
    unsafe { raw::query_dv_timings(device.handle().fd(), &mut timings) }?;
    bt(&timings)
}

/// The timings the card is set to.
pub(super) fn set_timings(device: &Device) -> Result<Timings, Errno> {
    // SAFETY: plain data, valid when zeroed.
    let mut timings: v4l2_dv_timings = unsafe { zeroed() };
    // SAFETY: as above.
    unsafe { raw::get_dv_timings(device.handle().fd(), &mut timings) }?;
    bt(&timings)
}

/// Sets the card to what arrives now; false if it was already. EBUSY while somebody captures.
pub(super) fn adopt_timings(device: &Device) -> Result<bool, Errno> {
    // SAFETY: plain data, valid when zeroed.
    let mut timings: v4l2_dv_timings = unsafe { zeroed() };
    // SAFETY: as above.
    unsafe { raw::query_dv_timings(device.handle().fd(), &mut timings) }?;
    let arriving = bt(&timings)?;
    if set_timings(device).is_ok_and(|set| set.like(&arriving)) {
        return Ok(false);
    }
    // SAFETY: as above; what is set is what the driver itself just gave.
    unsafe { raw::set_dv_timings(device.handle().fd(), &mut timings) }?;
    Ok(true)
}

/// Asks for word of every change of what arrives; the descriptor then has priority data (POLLPRI).
pub(super) fn subscribe_to_changes(device: &Device) -> Result<(), Errno> {
    // SAFETY: plain data, valid when zeroed.
    let mut wanted: v4l2_event_subscription = unsafe { zeroed() };
    wanted.type_ = SOURCE_CHANGE;
    // SAFETY: as above.
    unsafe { raw::subscribe_event(device.handle().fd(), &wanted) }.map(drop)
}

/// Takes every event that waits; how many there were. Only after POLLPRI: else it may wait for one.
pub(super) fn drain_events(device: &Device) -> usize {
    let mut taken = 0;
    loop {
        // SAFETY: plain data, valid when zeroed.
        let mut event: v4l2_event = unsafe { zeroed() };
        // SAFETY: as above.
        if unsafe { raw::dequeue_event(device.handle().fd(), &mut event) }.is_err() {
            return taken;
        }
        taken += 1;
        if event.pending == 0 {
            return taken;
        }
    }
}

/// The device's descriptor, to be polled.
pub(super) fn descriptor(device: &Device) -> BorrowedFd<'_> {
    // SAFETY: `device` keeps it open as long as it is borrowed.
    unsafe { BorrowedFd::borrow_raw(device.handle().fd()) }
}

fn bt(timings: &v4l2_dv_timings) -> Result<Timings, Errno> {
    if timings.type_ != v4l::v4l_sys::V4L2_DV_BT_656_1120 {
        return Err(Errno::ENOTTY);
    }
    // SAFETY: the type says that this member of the union is filled; all its fields are integers.
    let bt = unsafe { timings.__bindgen_anon_1.bt };
    Ok(Timings {
        width: bt.width,
        height: bt.height,
        interlaced: bt.interlaced != 0,
        pixel_clock: bt.pixelclock,
        horizontal_blanking: [bt.hfrontporch, bt.hsync, bt.hbackporch]
            .into_iter()
            .fold(0, u32::saturating_add),
        vertical_blanking: [
            [bt.vfrontporch, bt.vsync, bt.vbackporch],
            if bt.interlaced == 0 { [0; 3] } else { [bt.il_vfrontporch, bt.il_vsync, bt.il_vbackporch] },
        ]
        .into_iter()
        .flatten()
        .fold(0, u32::saturating_add),
    })
}

/// Whether a time server keeps the system clock right, and by how many microseconds it may be off, as the kernel was told
/// (adjtimex(2)).
pub(super) fn clock() -> Result<(bool, i64), Errno> {
    // SAFETY: plain data, valid when zeroed; no mode is set, so nothing is changed.
    let mut answer: timex = unsafe { zeroed() };
    // SAFETY: the struct is the call's own.
    let state = Errno::result(unsafe { adjtimex(&mut answer) })?;
    Ok((state != TIME_ERROR && answer.status & STA_UNSYNC == 0, answer.maxerror))
}

/// A C string of any bytes.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim().to_owned()
}

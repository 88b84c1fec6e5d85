//! One run of the encoder, from its start to its end: pictures in, packets out.
#![expect(unsafe_code, reason = "pictures and packets cross to SVT-AV1 by pointer")]

use std::ptr::{self, NonNull};
use std::slice;
use std::time::Duration;

use super::abi::{
    BufferHeader, Component, FLAG_END, Generation, InputFrame, InputPictureOne, InputPictureTwo, KIND_FREE,
    KIND_KEY, NODE_RATE, NOTHING_YET, OK, PrivateNode, RateChange,
};
use super::error::SvtError;
use super::library::{Library, one_at_a_time};

/// How often 1.4 is asked whether a packet is ready.
const LOOK: Duration = Duration::from_micros(250);

/// So many looks without a packet, and the encoder is given up: five seconds at the least.
const LOOKS: u32 = 20_000;

/// What an encoder is started with.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Parameters {
    pub(super) width: u32,
    pub(super) height: u32,
    /// Frames a second, as a fraction.
    pub(super) rate: (u32, u32),
    /// 8 or 10
    pub(super) depth: u32,
    /// bit/s
    pub(super) bitrate: u32,
    /// In frames.
    pub(super) keyframe_interval: u32,
    pub(super) preset: u32,
    pub(super) threads: u32,
    /// Codes of ITU-T H.273: primaries, transfer, matrix.
    pub(super) color: [u32; 3],
    pub(super) full_range: bool,
}

/// A picture in 4:2:0, its rows without gaps: luma, blue, red.
pub(super) struct Picture<'a> {
    pub(super) planes: [&'a [u8]; 3],
}

/// One temporal unit.
#[derive(Debug)]
pub(super) struct Packet {
    /// The number that its picture went in with.
    pub(super) number: u32,
    pub(super) keyframe: bool,
    pub(super) bytes: Vec<u8>,
}

/// A running encoder.
pub(super) struct Session {
    library: &'static Library,
    component: NonNull<Component>,
    parameters: Parameters,
    sent: u64,
    received: u64,
    ended: bool,
}

// SAFETY: the library does not care which thread calls, as long as it is one at a time; `&mut self` sees to that.
unsafe impl Send for Session {}

impl Session {
    pub(super) fn start(library: &'static Library, parameters: &Parameters) -> Result<Session, SvtError> {
        let _alone = one_at_a_time();
        let (component, mut configuration) = library.handle(0)?;
        let started = (|| {
            for (name, value) in words(library.generation, parameters) {
                library.parse(&mut configuration, name, &value)?;
            }
            check((library.set_parameter)(component.as_ptr(), &mut *configuration), "take its parameters")?;
            check((library.init)(component.as_ptr()), "start")
        })();
        if let Err(error) = started {
            (library.deinit)(component.as_ptr());
            (library.deinit_handle)(component.as_ptr());
            return Err(error);
        }
        leave_real_time();
        let parameters = parameters.clone();
        Ok(Session { library, component, parameters, sent: 0, received: 0, ended: false })
    }

    /// Whether the next picture can be a keyframe, or have another bitrate, without a new session.
    pub(super) fn can_change(&self) -> bool {
        self.library.generation == Generation::Two
    }

    /// No picture went in yet: the next one is a keyframe anyway.
    pub(super) fn is_fresh(&self) -> bool {
        self.sent == 0
    }

    pub(super) fn bitrate(&self) -> u32 {
        self.parameters.bitrate
    }

    /// Encodes a picture. Gives its packet, or with 1.4 the packet of the picture before, once that has come.
    ///
    /// `keyframe`, and a `bitrate` (bit/s) for it and those after it, need [`can_change`](Session::can_change).
    pub(super) fn encode(
        &mut self,
        picture: &Picture<'_>,
        number: u32,
        keyframe: bool,
        bitrate: Option<u32>,
    ) -> Result<Option<Packet>, SvtError> {
        self.send(picture, number, keyframe, bitrate)?;
        match self.library.generation {
            Generation::Two => self.take(false)?.map(Some).ok_or(SvtError::Silent),
            Generation::One if self.sent - self.received < 2 => Ok(None),
            Generation::One => self.wait().map(Some),
        }
    }

    /// Tells the encoder that there is no more, and waits for what it still has.
    pub(super) fn end(&mut self) -> Result<Vec<Packet>, SvtError> {
        let mut rest = Vec::new();
        if self.ended {
            return Ok(rest);
        }
        self.ended = true;
        let unused = self.sent == 0;
        if unused {
            if self.library.generation == Generation::Two {
                return Ok(rest);
            }
            // Without a picture 1.4 would wait for its own end for ever.
            let Parameters { width, height, .. } = self.parameters;
            let any = vec![0; (width * height) as usize * 2];
            self.send(&Picture { planes: [&any, &any, &any] }, 0, false, None)?;
        }
        let mut end = BufferHeader { flags: FLAG_END, kind: KIND_FREE, ..empty() };
        check((self.library.send_picture)(self.component.as_ptr(), &mut end), "take the end")?;
        // Waits within the library, which knows now that the end will come.
        while let Some(packet) = self.take(true)? {
            rest.push(packet);
        }
        if unused {
            rest.clear();
        }
        Ok(rest)
    }

    fn send(
        &mut self,
        picture: &Picture<'_>,
        number: u32,
        keyframe: bool,
        bitrate: Option<u32>,
    ) -> Result<(), SvtError> {
        let Parameters { width, height, depth, .. } = self.parameters;
        let sample: u32 = if depth > 8 { 2 } else { 1 };
        let (luma, chroma) = ((width * height) as usize, (width / 2 * height / 2) as usize);
        let bytes = [luma, chroma, chroma].map(|samples| samples * sample as usize);
        assert!(
            picture.planes.iter().zip(bytes).all(|(plane, size)| plane.len() >= size),
            "planes are whole"
        );

        // It reads from them only.
        let planes = picture.planes.map(|plane| plane.as_ptr().cast_mut());
        let frame = InputFrame {
            strides: [width, width / 2, width / 2],
            width,
            height,
            origin: [0, 0],
            color_format: 1,
            bit_depth: depth,
        };
        let mut one = InputPictureOne { planes, low_bits: [ptr::null_mut(); 3], frame };
        let mut two = InputPictureTwo { planes, frame };
        let mut change = RateChange { quantizer: 0, bitrate: bitrate.unwrap_or_default() };
        let mut node = PrivateNode {
            kind: NODE_RATE,
            content: ptr::from_mut(&mut change).cast(),
            size: size_of::<RateChange>() as u32,
            next: ptr::null_mut(),
        };
        let mut header = BufferHeader {
            buffer: match self.library.generation {
                Generation::One => ptr::from_mut(&mut one).cast(),
                Generation::Two => ptr::from_mut(&mut two).cast(),
            },
            filled: bytes.iter().sum::<usize>() as u32,
            private: match bitrate {
                Some(_) => ptr::from_mut(&mut node).cast(),
                None => ptr::null_mut(),
            },
            pts: i64::from(number),
            kind: if keyframe || bitrate.is_some() { KIND_KEY } else { KIND_FREE },
            ..empty()
        };
        // The library copies all of it before it returns.
        check((self.library.send_picture)(self.component.as_ptr(), &mut header), "take a picture")?;
        self.sent += 1;
        self.parameters.bitrate = bitrate.unwrap_or(self.parameters.bitrate);
        Ok(())
    }

    /// Looks until there is a packet: 1.4 has no call that waits while pictures are still to come.
    fn wait(&mut self) -> Result<Packet, SvtError> {
        for _ in 0..LOOKS {
            if let Some(packet) = self.take(false)? {
                return Ok(packet);
            }
            #[expect(clippy::disallowed_methods, reason = "SVT-AV1 1.4 tells nobody when a packet is ready")]
            std::thread::sleep(LOOK);
        }
        Err(SvtError::Silent)
    }

    /// The next packet. `last`: waits for it until the end has come.
    fn take(&mut self, last: bool) -> Result<Option<Packet>, SvtError> {
        let mut header: *mut BufferHeader = ptr::null_mut();
        let code = (self.library.get_packet)(self.component.as_ptr(), &mut header, last.into());
        if header.is_null() {
            return match code {
                OK | NOTHING_YET => Ok(None),
                code => Err(SvtError::Failed { what: "encode", code }),
            };
        }
        // SAFETY: a packet of the library's, ours until it is released below; `filled` bytes of it are written.
        let (packet, end) = unsafe {
            let packet = &*header;
            let bytes = match packet.buffer.is_null() {
                true => Vec::new(),
                false => slice::from_raw_parts(packet.buffer, packet.filled as usize).to_vec(),
            };
            let keyframe = packet.kind == KIND_KEY;
            (Packet { number: packet.pts as u32, keyframe, bytes }, packet.flags & FLAG_END != 0)
        };
        (self.library.release_packet)(&mut header);
        check(code, "encode")?;
        if packet.bytes.is_empty() {
            // The end by itself. After it, another call would wait for ever in some versions; `end` asks no more.
            return Ok(None);
        }
        self.received += 1;
        self.ended |= end;
        Ok(Some(packet))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A session that failed would not come to its end.
        let _rest = self.end();
        let _alone = one_at_a_time();
        (self.library.deinit)(self.component.as_ptr());
        (self.library.deinit_handle)(self.component.as_ptr());
    }
}

/// The parameters in the library's words.
fn words(generation: Generation, parameters: &Parameters) -> Vec<(&'static str, String)> {
    let number = |number: u32| number.to_string();
    // 1.4 takes no more in low delay, and says so each time.
    let threads = match generation {
        Generation::One => parameters.threads.min(3),
        Generation::Two => parameters.threads.min(6),
    };
    let [primaries, transfer, matrix] = parameters.color;
    vec![
        ("preset", number(parameters.preset)),
        ("width", number(parameters.width)),
        ("height", number(parameters.height)),
        ("fps-num", number(parameters.rate.0)),
        ("fps-denom", number(parameters.rate.1)),
        ("input-depth", number(parameters.depth)),
        ("rc", "2".to_owned()),
        ("pred-struct", "1".to_owned()),
        ("tbr", format!("{}b", parameters.bitrate)),
        ("intra-period", number(parameters.keyframe_interval - 1)),
        ("irefresh-type", "2".to_owned()),
        ("lp", number(threads)),
        ("color-primaries", number(primaries)),
        ("transfer-characteristics", number(transfer)),
        ("matrix-coefficients", number(matrix)),
        ("color-range", number(parameters.full_range.into())),
    ]
}

fn empty() -> BufferHeader {
    BufferHeader {
        size: size_of::<BufferHeader>() as u32,
        buffer: ptr::null_mut(),
        filled: 0,
        allocated: 0,
        private: ptr::null_mut(),
        wrapper: ptr::null_mut(),
        ticks: 0,
        dts: 0,
        pts: 0,
        qp: 0,
        kind: KIND_FREE,
        luma_error: 0,
        red_error: 0,
        blue_error: 0,
        flags: 0,
        luma_likeness: 0.0,
        red_likeness: 0.0,
        blue_likeness: 0.0,
        metadata: ptr::null_mut(),
    }
}

fn check(code: u32, what: &'static str) -> Result<(), SvtError> {
    if code == OK { Ok(()) } else { Err(SvtError::Failed { what, code }) }
}

/// As root, 1.4 gives its threads the highest real-time priority, above everything else on the box. This takes it back,
/// unless this thread has one itself: then someone has given it to the whole process.
fn leave_real_time() {
    // SAFETY: a plain system call; 0 is the calling thread.
    if unsafe { libc::sched_getscheduler(0) } == libc::SCHED_FIFO {
        return;
    }
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return };
    let ids = threads.flatten().filter_map(|thread| thread.file_name().to_str()?.parse::<libc::pid_t>().ok());
    for id in ids {
        let usual = libc::sched_param { sched_priority: 0 };
        // SAFETY: as above; a thread that is gone by now is an error that does not matter.
        unsafe {
            if libc::sched_getscheduler(id) == libc::SCHED_FIFO {
                libc::sched_setscheduler(id, libc::SCHED_OTHER, &usual);
            }
        }
    }
}

//! What one forwarded packet costs the SFU's thread, beside what it must cost: sealing it and sending it.
//!
//! `cargo bench --bench sfu_forward [-- SECONDS [VIEWERS…]]`. Viewers live in this process on loopback. Up to 100 of them
//! are real to the last: they open what they get and tell what arrived; of more, the sockets are only drained. Capcast's
//! own sealing, str0m's and the limit are measured in turn, three times, and the medians are shown. The limit is that of
//! packets of video, nine to a system call; with the sound, whose packets go alone, it is "all" of what is forwarded. Under `valgrind --tool=callgrind --toggle-collect='*SfuThread*turn*'` it counts instructions instead.
//! CPU time is that of the thread `sfu` alone, from `/proc/self/task/*/schedstat`.

#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::net::UdpSocket;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use capcast::media::{Codec, Frame, MediaTime, Packet, RtpTime, StreamName};
use capcast::sfu::{Handle, LocalFeed, Options, Room, SealedBy};
use openssl::cipher::Cipher;
use openssl::cipher_ctx::CipherCtx;
use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};
use str0m::change::SdpAnswer;
use str0m::media::{Direction, MediaKind};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Input, Output, Rtc};

/// 30 frames a second of nine packets of 1157 bytes, 2.5 Mbit/s, and 50 packets of sound.
const ROOM: Room = Room { frames: 64, time: Duration::from_millis(500), bytes: 8_000_000 };
const FRAME_TIME: Duration = Duration::from_micros(33_333);
const PACKETS: u64 = 9;
const PAYLOAD: usize = 1_157;
const SOUND_TIME: Duration = Duration::from_millis(20);
const SOUND: usize = 160;
/// Measurements of each.
const ROUNDS: u32 = 3;
/// Viewers that one thread can play to the last.
const REAL: u32 = 100;
/// The same with header, extensions and tag.
const SEALED: usize = 1_200;

fn main() {
    // `cargo bench` passes `--bench`.
    let mut numbers = std::env::args().skip(1).filter_map(|word| word.parse().ok());
    let seconds = numbers.next().unwrap_or(5);
    let counts: Vec<u32> = numbers.filter_map(|count| u32::try_from(count).ok()).collect();
    let counts = if counts.is_empty() { vec![10, 50, 100] } else { counts };
    println!("2.5 Mbit/s of H.264 and 64 kbit/s of Opus, {seconds} s each, CPU time of the SFU's thread");
    println!(
        "{:>7} {:>9} {:>11} {:>11} {:>11} {:>11} {:>9} {:>9} {:>9} {:>9} {:>10}",
        "viewers",
        "packets/s",
        "µs: Capcast",
        "str0m",
        "the limit",
        "of all",
        "/ str0m",
        "/ limit",
        "/ of all",
        "lost",
        "kB/viewer"
    );
    for viewers in counts {
        let span = Duration::from_secs(seconds);
        let (mut own, mut reference, mut limits, mut mixed) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut lost, mut rate, mut room) = (0, 0.0, 0.0);
        for _ in 0..ROUNDS {
            for (sealed_by, costs) in [(SealedBy::Capcast, &mut own), (SealedBy::Str0m, &mut reference)] {
                let before = resident();
                let run = Run::new(viewers, sealed_by);
                let grown = resident() - before;
                let run = run.measure(viewers, span);
                costs.push(run.cpu.as_secs_f64() * 1e6 / run.packets as f64);
                lost += run.lost;
                if sealed_by == SealedBy::Capcast {
                    rate = run.packets as f64 / run.wall.as_secs_f64();
                    room = grown / f64::from(viewers);
                }
            }
            let video = seal(PAYLOAD) + send(viewers, PACKETS as usize, SEALED);
            let sound = seal(SOUND) + send(viewers, 1, SOUND + SEALED - PAYLOAD);
            let (videos, sounds) =
                (PACKETS as f64 / FRAME_TIME.as_secs_f64(), 1.0 / SOUND_TIME.as_secs_f64());
            limits.push(video);
            mixed.push((video * videos + sound * sounds) / (videos + sounds));
        }
        let [own, reference, limit, mixed] = [own, reference, limits, mixed].map(median);
        println!(
            "{viewers:>7} {rate:>9.0} {own:>11.2} {reference:>11.2} {limit:>11.2} {mixed:>11.2} {:>9.2} {:>9.2} {:>9.2} {lost:>9} {room:>10.0}",
            own / reference,
            own / limit,
            own / mixed,
        );
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Memory of this process in kB; viewers' own is in it.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
}

struct Measured {
    packets: u64,
    lost: u64,
    wall: Duration,
    cpu: Duration,
}

struct Run {
    handle: Handle,
    feed: LocalFeed,
    epoch: Instant,
    frames: u64,
    sounds: u64,
    received: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    viewers: Option<std::thread::JoinHandle<()>>,
}

impl Run {
    #[expect(clippy::disallowed_methods, reason = "a benchmark lives in real time")]
    fn new(count: u32, sealed_by: SealedBy) -> Run {
        let media = "127.0.0.1:0".parse().expect("an address");
        let options = Options { media, public_addresses: Vec::new(), max_viewers: count, sealed_by };
        let handle = capcast::sfu::start(options).expect("the SFU starts");
        let epoch = Instant::now();
        let feed = handle.local_feed(stream(), epoch, [ROOM; 2], Box::new(|_| {}));
        let (received, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let mut run = Run { handle, feed, epoch, frames: 0, sounds: 0, received, stop, viewers: None };
        run.play(5);
        let (received, stop) = (run.received.clone(), run.stop.clone());
        let (joined, joins) = std::sync::mpsc::channel();
        run.viewers = Some(std::thread::spawn(move || drain(&joins, &received, &stop, count <= REAL)));
        for joining in 1..=count {
            joined.send(Viewer::join(&run.handle)).expect("the viewers' thread");
            // Few may be connecting at a time.
            while joining.is_multiple_of(20) && run.handle.stats().viewers < joining {
                run.play(1);
            }
            run.play(1);
        }
        while run.handle.stats().viewers < count {
            run.play(1);
        }
        run
    }

    fn measure(mut self, count: u32, span: Duration) -> Measured {
        self.play(60);
        let frames = (span.as_secs_f64() / FRAME_TIME.as_secs_f64()) as u64;
        let (cpu, wall, sounds) = (cpu_of_sfu(), self.epoch.elapsed(), self.sounds);
        self.play(frames);
        let (cpu, wall) = (cpu_of_sfu() - cpu, self.epoch.elapsed() - wall);
        // Sent counters are up to a quarter of a second old: let everything arrive and be counted.
        let settled = self.epoch.elapsed() + Duration::from_millis(600);
        while let Some(wait) = settled.checked_sub(self.epoch.elapsed()) {
            std::thread::park_timeout(wait);
        }
        let sent = self.handle.stats().streams[0].packets_out;
        let lost = sent.saturating_sub(self.received.load(Ordering::Relaxed));
        self.stop.store(true, Ordering::Relaxed);
        if let Some(viewers) = self.viewers.take() {
            viewers.join().expect("viewers");
        }
        let packets = (frames * PACKETS + self.sounds - sounds) * u64::from(count);
        Measured { packets, lost, wall, cpu }
    }

    /// Pushes frames, each at its time, with the sound that is due before it; every sixtieth is a keyframe.
    fn play(&mut self, frames: u64) {
        for _ in 0..frames {
            let due = FRAME_TIME * self.frames as u32;
            while SOUND_TIME * self.sounds as u32 <= due {
                self.wait_for(SOUND_TIME * self.sounds as u32);
                let (sequence, rtp_time) = (self.sounds, RtpTime((self.sounds * 960) as u32));
                let packet = Packet { sequence, rtp_time, marker: false, payload: vec![7; SOUND].into() };
                self.push(Codec::Opus, false, vec![packet]);
                self.sounds += 1;
            }
            self.wait_for(due);
            let packet = |index| Packet {
                sequence: self.frames * PACKETS + index,
                rtp_time: RtpTime((self.frames * 3_000) as u32),
                marker: index + 1 == PACKETS,
                payload: vec![index as u8; PAYLOAD].into(),
            };
            self.push(Codec::H264, self.frames.is_multiple_of(60), (0..PACKETS).map(packet).collect());
            self.frames += 1;
        }
    }

    fn wait_for(&self, due: Duration) {
        while let Some(wait) = due.checked_sub(self.epoch.elapsed()).filter(|wait| !wait.is_zero()) {
            std::thread::park_timeout(wait);
        }
    }

    fn push(&self, codec: Codec, keyframe: bool, packets: Vec<Packet>) {
        let pts = MediaTime::from_nanos(self.epoch.elapsed().as_nanos() as u64);
        self.feed.push(Frame { codec, pts, keyframe, packets });
    }
}

fn stream() -> StreamName {
    "live".parse().expect("a name")
}

struct Viewer {
    rtc: Rtc,
    socket: UdpSocket,
    timeout: Instant,
}

impl Viewer {
    #[expect(clippy::disallowed_methods, reason = "a benchmark lives in real time")]
    fn join(handle: &Handle) -> Viewer {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_nonblocking(true).expect("non-blocking");
        let now = Instant::now();
        let mut rtc = Rtc::builder().set_rtp_mode(true).build(now);
        let local = socket.local_addr().expect("bound");
        rtc.add_local_candidate(Candidate::host(local, "udp").expect("a candidate"));
        let mut api = rtc.sdp_api();
        api.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
        api.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None);
        let (offer, pending) = api.apply().expect("an offer");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let answer =
            runtime.block_on(handle.whep(&stream(), offer.to_sdp_string(), None)).expect("an answer");
        let answer = SdpAnswer::from_sdp_string(&answer.sdp).expect("SDP");
        rtc.sdp_api().accept_answer(pending, answer).expect("accepted");
        Viewer { rtc, socket, timeout: now }
    }

    /// Takes what is there. Where they are not `real`, RTP is counted but not opened.
    fn turn(&mut self, now: Instant, buffer: &mut [u8], received: &AtomicU64, real: bool) {
        let local = self.socket.local_addr().expect("bound");
        let mut input = false;
        while let Ok((length, source)) = self.socket.recv_from(buffer) {
            let rtp = (128..192).contains(&buffer[0]) && !(192..224).contains(&buffer[1]);
            if rtp {
                received.fetch_add(1, Ordering::Relaxed);
                if !real {
                    continue;
                }
            }
            if let Ok(receive) = Receive::new(Protocol::Udp, source, local, &buffer[..length]) {
                self.rtc.handle_input(Input::Receive(now, receive)).expect("alive");
                input = true;
                // str0m hands over one packet per poll, and holds few.
                if rtp {
                    self.poll();
                }
            }
        }
        if input || self.timeout <= now {
            self.rtc.handle_input(Input::Timeout(now)).expect("alive");
            self.poll();
        }
    }

    fn poll(&mut self) {
        loop {
            match self.rtc.poll_output().expect("alive") {
                Output::Timeout(at) => {
                    self.timeout = at;
                    break;
                }
                Output::Transmit(sent) => {
                    let _ = self.socket.send_to(&sent.contents, sent.destination);
                }
                Output::Event(_) => {}
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark lives in real time")]
fn drain(joins: &Receiver<Viewer>, received: &AtomicU64, stop: &AtomicBool, real: bool) {
    let mut viewers = Vec::new();
    let mut buffer = vec![0; 2_000];
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        viewers.extend(joins.try_iter());
        for viewer in &mut viewers {
            viewer.turn(now, &mut buffer, received, real);
        }
        std::thread::park_timeout(Duration::from_millis(4));
    }
}

/// CPU time of the newest thread called `sfu`.
fn cpu_of_sfu() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let named = tasks.flatten().filter(|task| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "sfu")
    });
    let newest = named.max_by_key(|task| task.file_name().to_string_lossy().parse::<u32>().unwrap_or(0));
    cpu_of(&newest.expect("an SFU").path())
}

/// CPU time of this thread.
fn cpu() -> Duration {
    cpu_of(Path::new("/proc/thread-self"))
}

fn cpu_of(task: &Path) -> Duration {
    let stat = std::fs::read_to_string(task.join("schedstat")).expect("schedstat");
    Duration::from_nanos(stat.split(' ').next().and_then(|nanos| nanos.parse().ok()).expect("nanoseconds"))
}

/// µs to seal one packet of so many bytes with AES-128-GCM, the copy into place included.
fn seal(payload: usize) -> f64 {
    const ROUNDS: u32 = 200_000;
    let mut context = CipherCtx::new().expect("OpenSSL");
    context.encrypt_init(Some(Cipher::aes_128_gcm()), Some(&[7; 16]), None).expect("a key");
    let (payload, mut out, mut tag) = (vec![1; payload + 7], vec![0; SEALED * PACKETS as usize], [0; 16]);
    let start = cpu();
    for round in 0..ROUNDS {
        let at = (round as usize % PACKETS as usize) * SEALED;
        let mut iv = [0; 12];
        iv[..4].copy_from_slice(&round.to_be_bytes());
        context.encrypt_init(None, None, Some(&iv)).expect("an IV");
        context.cipher_update(&[9; 20], None).expect("the header");
        context.cipher_update(&payload, Some(&mut out[at..at + SEALED])).expect("room");
        context.cipher_final(&mut []).expect("sealed");
        context.tag(&mut tag).expect("a tag");
    }
    (cpu() - start).as_secs_f64() * 1e6 / f64::from(ROUNDS)
}

/// µs to send one packet of so many bytes to `count` sockets that are drained, so many at a time (UDP_SEGMENT).
fn send(count: u32, together: usize, bytes: usize) -> f64 {
    let receivers: Vec<UdpSocket> =
        (0..count).map(|_| UdpSocket::bind("127.0.0.1:0").expect("a socket")).collect();
    let destinations: Vec<_> = receivers.iter().map(|socket| socket.local_addr().expect("bound")).collect();
    let stop = Arc::<AtomicBool>::default();
    let stopped = stop.clone();
    let drained = std::thread::spawn(move || {
        let mut buffer = vec![0; 2_000];
        for receiver in &receivers {
            receiver.set_nonblocking(true).expect("non-blocking");
        }
        while !stopped.load(Ordering::Relaxed) {
            for receiver in &receivers {
                while receiver.recv(&mut buffer).is_ok() {}
            }
            std::thread::park_timeout(Duration::from_millis(4));
        }
    });
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let state = UdpSocketState::new(UdpSockRef::from(&socket)).expect("options");
    let contents = vec![1; bytes * together];
    let before = cpu();
    const FRAMES: u32 = 60;
    for _ in 0..FRAMES {
        for destination in &destinations {
            let segment_size = Some(bytes).filter(|_| together > 1);
            let transmit = Transmit {
                destination: *destination,
                ecn: None,
                contents: &contents,
                segment_size,
                src_ip: None,
            };
            let _ = state.try_send(UdpSockRef::from(&socket), &transmit);
        }
        std::thread::park_timeout(Duration::from_millis(33));
    }
    let busy = cpu() - before;
    stop.store(true, Ordering::Relaxed);
    drained.join().expect("drained");
    busy.as_secs_f64() * 1e6 / f64::from(FRAMES) / f64::from(count) / together as f64
}

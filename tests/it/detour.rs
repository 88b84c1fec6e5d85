//! A way to a WHIP server that a test can narrow, make lossy, cut, and spoil the answers of.
//!
//! HTTP goes through it, and so does media: the candidates in offer and answer are replaced by sockets of its own.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The longest that a narrowed way holds a packet before it drops what comes.
const QUEUE: Duration = Duration::from_millis(200);

/// How one POST is answered instead of, or on top of, what the server says.
#[derive(Clone, Debug)]
pub(crate) enum Spoil {
    /// These bytes; the server hears nothing.
    Instead(String),
    /// The server's answer, cut in its middle.
    Cut,
    /// The server's answer so much later.
    Late(Duration),
    /// Without `Location`.
    Nameless,
    /// With `Location` as a whole URL.
    Absolute,
    /// Sent on so often by 307 before the server's answer comes.
    Hops(u32),
}

/// How questions that change nothing are answered, GET and OPTIONS.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Mood {
    /// As the server does.
    #[default]
    Honest,
    /// Not at all: the connection is cut.
    Mute,
    /// 404.
    Forgetful,
}

#[derive(Default)]
struct Knobs {
    /// Bit/s towards the server, and from it; 0 is no limit.
    rates: [AtomicU64; 2],
    /// Of 1000 packets of RTP and RTCP, in both directions.
    loss: AtomicU64,
    dark: AtomicBool,
    ended: AtomicBool,
    lost: AtomicU64,
    missed: AtomicU64,
    carried: AtomicU64,
    client: Mutex<Option<SocketAddr>>,
    server: Mutex<Option<SocketAddr>>,
    spoils: Mutex<VecDeque<Spoil>>,
    mood: Mutex<Mood>,
    posts: AtomicU64,
    deletes: AtomicU64,
    questions: AtomicU64,
}

/// The way. It ends when dropped.
pub(crate) struct Detour {
    pub(crate) port: u16,
    knobs: Arc<Knobs>,
    _held: Sender<()>,
}

impl Detour {
    /// To the WHIP server at this port of loopback.
    pub(crate) fn to(server: u16) -> Detour {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let knobs = Arc::new(Knobs::default());
        // Neither libnice nor aiortc speaks from loopback, and libnice pairs it with nothing else.
        let own = own_address();
        let [front, back] = [(); 2].map(|()| UdpSocket::bind((own, 0)).unwrap());
        let places = [&front, &back].map(|socket| socket.local_addr().unwrap());
        let ways = [(front.try_clone().unwrap(), back.try_clone().unwrap(), true), (back, front, false)];
        for (from, to, up) in ways {
            let knobs = Arc::clone(&knobs);
            std::thread::spawn(move || carry(&from, &to, up, &knobs));
        }
        let (held, ended) = mpsc::channel();
        let ended = Arc::new(Mutex::new(ended));
        let mine = Arc::clone(&knobs);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if mine.ended.load(Relaxed) {
                    return;
                }
                let (mine, ended) = (Arc::clone(&mine), Arc::clone(&ended));
                std::thread::spawn(move || drop(pass(stream, (port, server), places, &mine, &ended)));
            }
        });
        Detour { port, knobs, _held: held }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/api/whip", self.port)
    }

    /// No more than so many bit/s towards the server; 0 is no limit.
    pub(crate) fn narrow(&self, rate: u64) {
        self.knobs.rates[0].store(rate, Relaxed);
    }

    /// No more than so many bit/s from the server; 0 is no limit.
    pub(crate) fn narrow_down(&self, rate: u64) {
        self.knobs.rates[1].store(rate, Relaxed);
    }

    /// Of 1000 packets of RTP and RTCP, so many are lost.
    pub(crate) fn lose(&self, per_mille: u64) {
        self.knobs.loss.store(per_mille, Relaxed);
    }

    /// No datagram gets through any more, or all again.
    pub(crate) fn darken(&self, dark: bool) {
        self.knobs.dark.store(dark, Relaxed);
    }

    /// What the next POSTs get, one each.
    pub(crate) fn spoil(&self, spoils: impl IntoIterator<Item = Spoil>) {
        self.knobs.spoils.lock().unwrap().extend(spoils);
    }

    /// POSTs that came, DELETEs that came.
    pub(crate) fn asked(&self) -> (u64, u64) {
        (self.knobs.posts.load(Relaxed), self.knobs.deletes.load(Relaxed))
    }

    /// How the next questions are answered.
    pub(crate) fn answer(&self, mood: Mood) {
        *self.knobs.mood.lock().unwrap() = mood;
    }

    /// Questions that were answered, or cut off.
    pub(crate) fn questions(&self) -> u64 {
        self.knobs.questions.load(Relaxed)
    }

    /// Packets that got through towards the server, and that were lost.
    pub(crate) fn packets(&self) -> (u64, u64) {
        (self.knobs.carried.load(Relaxed), self.knobs.lost.load(Relaxed))
    }

    /// Packets that were lost on their way from the server.
    pub(crate) fn missed(&self) -> u64 {
        self.knobs.missed.load(Relaxed)
    }
}

impl Drop for Detour {
    fn drop(&mut self) {
        self.knobs.ended.store(true, Relaxed);
        // Wakes the thread that listens.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// By which this machine would speak to others. Nothing is sent.
pub(crate) fn own_address() -> IpAddr {
    let probe = UdpSocket::bind("0.0.0.0:0").unwrap();
    let known = probe.connect("192.0.2.1:9").and_then(|()| probe.local_addr());
    known.map_or(IpAddr::from([127, 0, 0, 1]), |address| address.ip())
}

/// Datagrams of one direction, each when it is its turn.
fn carry(from: &UdpSocket, to: &UdpSocket, up: bool, knobs: &Knobs) {
    let (mine, other) = if up { (&knobs.client, &knobs.server) } else { (&knobs.server, &knobs.client) };
    let mut waiting: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut free_at = Instant::now();
    let mut random: u64 = 0x5eed;
    let mut buffer = [0; 2048];
    while !knobs.ended.load(Relaxed) {
        while waiting.front().is_some_and(|(due, _)| *due <= Instant::now()) {
            let Some((_, packet)) = waiting.pop_front() else { break };
            if let Some(address) = *other.lock().unwrap() {
                let _ = to.send_to(&packet, address);
            }
            if up {
                knobs.carried.fetch_add(1, Relaxed);
            }
        }
        let next = waiting.front().map(|(due, _)| due.saturating_duration_since(Instant::now()));
        let wait = next.unwrap_or(Duration::from_millis(50)).max(Duration::from_millis(1));
        from.set_read_timeout(Some(wait)).unwrap();
        let Ok((length, address)) = from.recv_from(&mut buffer) else { continue };
        if up {
            *mine.lock().unwrap() = Some(address);
        }
        // RFC 7983 §7: 128 to 191 is RTP or RTCP.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let unlucky = (128..192).contains(&buffer[0]) && (random >> 33) % 1000 < knobs.loss.load(Relaxed);
        let rate = knobs.rates[usize::from(!up)].load(Relaxed);
        let now = Instant::now();
        let start = free_at.max(now);
        let narrow = rate > 0;
        if knobs.dark.load(Relaxed) || unlucky || (narrow && start - now > QUEUE) {
            let gone = if up { &knobs.lost } else { &knobs.missed };
            gone.fetch_add(1, Relaxed);
            continue;
        }
        if narrow {
            free_at = start + Duration::from_secs_f64(length as f64 * 8.0 / rate as f64);
        }
        let due = if narrow { free_at } else { now };
        waiting.push_back((due, buffer[..length].to_vec()));
    }
}

/// One HTTP exchange.
fn pass(
    mut client: TcpStream,
    (own, server): (u16, u16),
    [front, back]: [SocketAddr; 2],
    knobs: &Knobs,
    ended: &Mutex<Receiver<()>>,
) -> std::io::Result<()> {
    let (head, body) = read(&mut client)?;
    let posts = head.starts_with("POST");
    if head.starts_with("DELETE") {
        knobs.deletes.fetch_add(1, Relaxed);
    }
    let asks = head.starts_with("GET") || head.starts_with("OPTIONS");
    if asks {
        knobs.questions.fetch_add(1, Relaxed);
        let mood = *knobs.mood.lock().unwrap();
        match mood {
            Mood::Honest => {}
            Mood::Mute => return Ok(()),
            Mood::Forgetful => {
                let words = "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
                return client.write_all(words.as_bytes());
            }
        }
    }
    let mut spoil = None;
    if posts {
        knobs.posts.fetch_add(1, Relaxed);
        let mut spoils = knobs.spoils.lock().unwrap();
        spoil = spoils.pop_front();
        if let Some(Spoil::Hops(hops @ 1..)) = spoil {
            spoils.push_front(Spoil::Hops(hops - 1));
            let words = "HTTP/1.1 307 Temporary Redirect\r\nConnection: close\r\nContent-Length: 0\r\n";
            return client.write_all(format!("{words}Location: /api/whip?hop={hops}\r\n\r\n").as_bytes());
        }
    }
    if let Some(Spoil::Instead(answer)) = &spoil {
        return client.write_all(answer.as_bytes());
    }
    let body = if posts { through(&body, back).0 } else { body };
    let mut upstream = TcpStream::connect(("127.0.0.1", server))?;
    upstream.write_all(with_length(&head, &body).as_bytes())?;
    let (mut head, mut body) = read(&mut upstream)?;
    if posts && head.contains(" 201 ") {
        let (changed, address) = through(&body, front);
        *knobs.server.lock().unwrap() = address;
        body = changed;
    }
    let location = head.lines().find(|line| line.to_ascii_lowercase().starts_with("location:"));
    let location = location.map(str::to_owned).unwrap_or_default();
    match spoil {
        Some(Spoil::Nameless) => head = head.replace(&format!("{location}\r\n"), ""),
        Some(Spoil::Absolute) => {
            let path = location.split_once(": ").map_or("", |(_, path)| path);
            head = head.replace(&location, &format!("Location: http://127.0.0.1:{own}{path}"));
        }
        Some(Spoil::Late(span)) => drop(ended.lock().unwrap().recv_timeout(span)),
        _ => {}
    }
    let answer = with_length(&head, &body);
    let length = if matches!(spoil, Some(Spoil::Cut)) { answer.len() / 2 } else { answer.len() };
    client.write_all(&answer.as_bytes()[..length])
}

/// Head without its empty line, and body.
fn read(stream: &mut TcpStream) -> std::io::Result<(String, String)> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&bytes[..end + 2]).into_owned();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().ok())?
            });
            if bytes.len() >= end + 4 + length.unwrap_or(0) {
                return Ok((head, String::from_utf8_lossy(&bytes[end + 4..]).into_owned()));
            }
        }
        match stream.read(&mut chunk)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => bytes.extend_from_slice(&chunk[..count]),
        }
    }
}

/// The message with the length that its body has by now, on a connection that ends with it.
fn with_length(head: &str, body: &str) -> String {
    let kept = head.split_inclusive("\r\n").filter(|line| {
        let line = line.to_ascii_lowercase();
        !line.starts_with("content-length:") && !line.starts_with("connection:")
    });
    format!("{}Connection: close\r\nContent-Length: {}\r\n\r\n{body}", kept.collect::<String>(), body.len())
}

/// The description with our port in place of every candidate, and the first of those that was IPv4 and UDP.
fn through(sdp: &str, place: SocketAddr) -> (String, Option<SocketAddr>) {
    let mut found = None;
    let mut last_had_one = false;
    let mut text = String::new();
    for line in sdp.lines() {
        if line.starts_with("m=") {
            last_had_one = false;
        }
        let Some(candidate) = line.strip_prefix("a=candidate:") else {
            text += &format!("{line}\r\n");
            continue;
        };
        let words: Vec<&str> = candidate.split(' ').collect();
        let udp = words.get(2).is_some_and(|word| word.eq_ignore_ascii_case("udp"));
        let address = words.get(4).zip(words.get(5)).and_then(|(ip, port)| {
            Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?)).filter(SocketAddr::is_ipv4)
        });
        if let (true, Some(address), false) = (udp, address, last_had_one) {
            found.get_or_insert(address);
            last_had_one = true;
            text += &format!("a=candidate:1 1 udp 2130706431 {} {} typ host\r\n", place.ip(), place.port());
        }
    }
    (text, found)
}

//! An HLS server: a playlist that is live, segments that ffmpeg made, and faults that a test asks for.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path as Part, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::{StreamExt, stream};

/// Segments that there are; after the last one the first one comes again, with a discontinuity.
const FILES: u64 = 8;

/// Segments that a playlist names.
const WINDOW: u64 = 5;

/// What is wrong with the server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// The playlist is answered with this.
    Playlist(u16),
    /// It stands still.
    Still,
    /// It says that it is over.
    Ended,
    /// It begins anew at 0 each four segments.
    Loops,
    /// It says that segments are encrypted.
    Encrypted,
    /// Segments are answered with this.
    Segments(u16),
    /// A segment is a page, and says so.
    Page,
    /// A segment is fragmented MP4.
    FragmentedMp4,
    /// A segment has 100 MB, most of them stuffing.
    Huge,
    /// A segment never ends: so many packets every tenth of a second.
    Drips(usize),
    /// Every other segment is cut in the middle of a packet.
    Torn,
    /// Every other segment ends with the connection, before it is complete.
    Cut,
    /// Every third segment is missing.
    Holes,
}

struct Shared {
    files: Vec<Vec<u8>>,
    began: Instant,
    fault: Mutex<(Fault, u64)>,
    asked: Mutex<Vec<String>>,
    key: Option<String>,
}

/// The server. It and all its connections end when it is dropped.
pub(crate) struct Lists {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    _runtime: tokio::runtime::Runtime,
}

/// Segments of a second each: a moving picture, and a tone.
fn made(folder: &Path) -> Vec<Vec<u8>> {
    let source = format!("testsrc2=size=640x360:rate=25:duration={FILES}");
    let tone = format!("sine=frequency=440:sample_rate=48000:duration={FILES}");
    let done = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", &source, "-f", "lavfi", "-i", &tone])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "25", "-bf", "2"])
        .args(["-c:a", "aac", "-f", "hls", "-hls_time", "1", "-hls_list_size", "0"])
        .arg("-hls_segment_filename")
        .arg(folder.join("%d.ts"))
        .arg(folder.join("made.m3u8"))
        .status()
        .unwrap();
    assert!(done.success());
    (0..FILES).map(|number| std::fs::read(folder.join(format!("{number}.ts"))).unwrap()).collect()
}

impl Lists {
    pub(crate) fn start(key: Option<&str>) -> Lists {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let shared = Arc::new(Shared {
            files: made(folder.path()),
            began: Instant::now(),
            fault: Mutex::new((Fault::None, 0)),
            asked: Mutex::default(),
            key: key.map(str::to_owned),
        });
        let router = Router::new().route("/live/{name}", get(answer)).with_state(Arc::clone(&shared));
        let listener = runtime.block_on(tokio::net::TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, router).await });
        Lists { address, shared, _runtime: runtime }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/live/x.m3u8", self.address)
    }

    pub(crate) fn set(&self, fault: Fault) {
        let next = self.shared.next();
        *self.shared.fault.lock().unwrap() = (fault, next);
    }

    /// What was asked for since this was called last.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.asked.lock().unwrap())
    }
}

impl Shared {
    /// The number that is written next: one a second, and five were there at the start.
    fn next(&self) -> u64 {
        WINDOW + self.began.elapsed().as_secs()
    }

    fn list(&self, fault: Fault, since: u64) -> String {
        let next = match fault {
            Fault::Still | Fault::Ended => since,
            Fault::Loops => WINDOW + (self.next() - since) % 4,
            _ => self.next(),
        };
        let first = next - WINDOW;
        let mut text =
            format!("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:{first}\n");
        if fault == Fault::Encrypted {
            text += "#EXT-X-KEY:METHOD=AES-128,URI=\"key\"\n";
        }
        for number in first..next {
            if number % FILES == 0 {
                text += "#EXT-X-DISCONTINUITY\n";
            }
            text += &format!("#EXTINF:1.000,\n{number}.ts\n");
        }
        if fault == Fault::Ended {
            text += "#EXT-X-ENDLIST\n";
        }
        text
    }
}

async fn answer(State(shared): State<Arc<Shared>>, Part(name): Part<String>, headers: HeaderMap) -> Response {
    let token = headers.get("authorization").and_then(|value| value.to_str().ok());
    if shared.key.is_some() && token != shared.key.as_ref().map(|key| format!("Bearer {key}")).as_deref() {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    shared.asked.lock().unwrap().push(name.clone());
    let (fault, since) = *shared.fault.lock().unwrap();
    let Some(number) = name.strip_suffix(".ts").and_then(|number| number.parse::<u64>().ok()) else {
        return match fault {
            Fault::Playlist(status) => StatusCode::from_u16(status).unwrap().into_response(),
            _ => ([("content-type", "application/vnd.apple.mpegurl")], shared.list(fault, since))
                .into_response(),
        };
    };
    let whole = shared.files[(number % FILES) as usize].clone();
    let ts = [("content-type", "video/mp2t")];
    match fault {
        Fault::Segments(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Fault::Page => ([("content-type", "text/html")], "<!doctype html>".repeat(100)).into_response(),
        Fault::FragmentedMp4 => (ts, b"\0\0\0\x18stypmsdh".repeat(100)).into_response(),
        Fault::Huge => {
            let stuffing = [&[0x47, 0x1f, 0xff, 0x10][..], &[0xff; 184]].concat().repeat(300);
            let pieces = (100_000_000 - whole.len()) / stuffing.len();
            let all = stream::iter([whole]).chain(stream::repeat(stuffing).take(pieces));
            (ts, Body::from_stream(all.map(Ok::<_, std::io::Error>))).into_response()
        }
        Fault::Drips(packets) => (ts, Body::from_stream(drops(whole, packets))).into_response(),
        Fault::Torn if number % 2 == 0 => (ts, whole[..whole.len() / 2 + 77].to_vec()).into_response(),
        Fault::Cut if number % 2 == 0 => {
            let half = whole[..whole.len() / 2].to_vec();
            let cut = std::io::Error::other("cut");
            (ts, Body::from_stream(stream::iter([Ok(half), Err(cut)]))).into_response()
        }
        Fault::Holes if number % 3 == 0 => StatusCode::NOT_FOUND.into_response(),
        _ => (ts, whole).into_response(),
    }
}

fn drops(
    whole: Vec<u8>,
    packets: usize,
) -> impl futures_util::Stream<Item = Result<Vec<u8>, std::io::Error>> {
    let ticks = tokio::time::interval(Duration::from_millis(100));
    stream::unfold((ticks, 0), move |(mut ticks, at)| {
        let piece: Vec<u8> = whole.iter().copied().cycle().skip(at).take(packets * 188).collect();
        async move {
            ticks.tick().await;
            let next = at + piece.len();
            Some((Ok(piece), (ticks, next)))
        }
    })
}

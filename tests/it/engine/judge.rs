//! What an independent decoder says of access units: ffmpeg's own of H.264, VP8 and VP9, dav1d of AV1.

use std::path::Path;
use std::process::{Command, Stdio};

use capcast::media::{Codec, MediaTime};

/// One access unit, as an outlet gives it.
pub(super) struct Unit {
    pub(super) pts: MediaTime,
    pub(super) keyframe: bool,
    pub(super) bytes: Vec<u8>,
}

/// Of a whole stream.
#[derive(Debug, PartialEq)]
pub(super) struct Verdict {
    /// Width and height of all of them.
    pub(super) size: (u32, u32),
    /// That were decoded and shown.
    pub(super) pictures: usize,
    /// Which of them are keyframes, by number.
    pub(super) keyframes: Vec<usize>,
    /// Some picture is shown before one that was decoded earlier, or is decoded and not shown.
    pub(super) reordered: bool,
}

/// Fails the test when the decoder finds anything to complain about.
pub(super) fn judge(codec: Codec, units: &[Unit]) -> Verdict {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(if codec == Codec::H264 { "stream.h264" } else { "stream.ivf" });
    let bytes = if codec == Codec::H264 {
        units.iter().flat_map(|unit| unit.bytes.iter().copied()).collect()
    } else {
        ivf(codec, units)
    };
    std::fs::write(&path, bytes).unwrap();
    let entries = "frame=key_frame,pkt_pos,width,height,pict_type";
    let (frames, _) = ffmpeg("ffprobe", &path, &["-show_entries", entries, "-of", "csv=p=0"]);
    // `1,4096,320,180,I`: a keyframe, where its packet begins in the file, its size and its kind.
    // What hangs on a frame, such as x264's words about itself, leaves lines of its own.
    let lines = frames.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let seen: Vec<Vec<&str>> = lines.filter(|words| words.len() >= 5).collect();
    let number = |word: &str| word.parse::<u32>().unwrap_or_else(|_| panic!("{frames}"));
    let places: Vec<u32> = seen.iter().map(|frame| number(frame[1])).collect();
    let mut sizes: Vec<(u32, u32)> = seen.iter().map(|frame| (number(frame[2]), number(frame[3]))).collect();
    sizes.dedup();
    assert_eq!(sizes.len(), 1, "pictures of several sizes: {sizes:?}");
    let bidirectional = seen.iter().any(|frame| frame[4].starts_with('B'));
    Verdict {
        size: sizes[0],
        pictures: seen.len(),
        keyframes: (0..seen.len()).filter(|number| seen[*number][0] == "1").collect(),
        reordered: bidirectional
            || places.windows(2).any(|pair| pair[0] >= pair[1])
            || !hides_nothing(codec, units, &path),
    }
}

/// Every picture is shown where it is coded, by the words of its headers.
fn hides_nothing(codec: Codec, units: &[Unit], path: &Path) -> bool {
    match codec {
        // RFC 6386 §9.1: bit 4 of the frame tag.
        Codec::Vp8 => units.iter().all(|unit| unit.bytes[0] >> 4 & 1 == 1),
        Codec::Vp9 | Codec::Av1 => {
            let copy = ["-nostats", "-c", "copy", "-bsf:v", "trace_headers", "-f", "null", "-"];
            let headers = ffmpeg("ffmpeg", path, &copy).1;
            let count = |name: &str, value: &str| {
                let fits = |line: &&str| line.contains(name) && line.ends_with(value);
                headers.lines().filter(fits).count()
            };
            count(" show_frame ", " = 1") == units.len()
                && count(" show_frame ", " = 0") == 0
                && count(" show_existing_frame ", " = 1") == 0
        }
        // Slices that need later pictures are B.
        _ => true,
    }
}

/// What it prints, and what it says on the other channel: for `ffprobe`, that must be nothing.
fn ffmpeg(program: &str, path: &Path, options: &[&str]) -> (String, String) {
    let quiet = if program == "ffprobe" { "warning" } else { "info" };
    let mut command = Command::new(program);
    command.args(["-hide_banner", "-v", quiet, "-probesize", "100M", "-i"]).arg(path).args(options);
    let done = command.stdin(Stdio::null()).output();
    let done = done.unwrap_or_else(|error| panic!("`{program}` (setup/packages.txt): {error}"));
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{command:?}: {said}");
    assert!(program != "ffprobe" || said.is_empty(), "{command:?} complains: {said}");
    (String::from_utf8_lossy(&done.stdout).into_owned(), said)
}

/// IVF: 32 bytes, then 12 bytes before each unit.
fn ivf(codec: Codec, units: &[Unit]) -> Vec<u8> {
    let name: &[u8; 4] = match codec {
        Codec::Vp8 => b"VP80",
        Codec::Vp9 => b"VP90",
        _ => b"AV01",
    };
    let mut bytes = [&b"DKIF"[..], &[0, 0, 32, 0], name].concat();
    // No size: what is in the stream counts. One unit a second.
    bytes.extend([0; 4]);
    for number in [1, 1, units.len() as u32, 0] {
        bytes.extend(number.to_le_bytes());
    }
    for (number, unit) in units.iter().enumerate() {
        bytes.extend((unit.bytes.len() as u32).to_le_bytes());
        bytes.extend((number as u64).to_le_bytes());
        bytes.extend(&unit.bytes);
    }
    bytes
}

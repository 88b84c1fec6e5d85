//! What a fragment makes of a film, beside what the encoder's own program makes of it with the same settings: frames,
//! bitrate, likeness. A fragment with one awful setting fails. SVT-AV1's is held so in `engine::svt`, where its element is.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use capcast::daemon::survey;
use capcast::plan::{render, resolve};

use crate::plans::boxes::{config, shipped, written};

const FRAMES: usize = 120;

/// In kbit/s.
const BITRATE: f64 = 800.0;

/// In dB. Two runs of one encoder with other thread counts differ by a tenth of it.
const MOST_WORSE: f64 = 1.0;

/// Runs it to its end, which must be good; all that it says.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let done = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let done = done.unwrap_or_else(|error| panic!("`{program}` (setup/packages.txt): {error}"));
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8_lossy(&done.stdout).into_owned() + &said
}

/// A real clip as raw pictures, 640x360 at 30.
fn film(folder: &Path) -> PathBuf {
    let setup = concat!(env!("CARGO_MANIFEST_DIR"), "/setup/clips");
    let clip = format!("{}/bigbuckbunny.mp4", run(setup, &[]).lines().next().unwrap());
    let film = folder.join("film.y4m");
    let frames = FRAMES.to_string();
    let picture = ["-vf", "scale=640:360,fps=30", "-pix_fmt", "yuv420p", "-frames:v", &frames];
    let arguments = [&["-v", "error", "-i", &clip][..], &picture, &[film.to_str().unwrap()]].concat();
    run("ffmpeg", &arguments);
    film
}

/// What the fragment's part of the plan makes of the film, in `gst-launch-1.0`.
fn ours(encoder: &str, codec: &str, film: &Path, into: &Path) {
    let profile = written(&format!(
        "summary = \"s\"\n[video]\ncodec = \"{codec}\"\nencoder = \"{encoder}\"\nsize = \"640x360\"\nframerate = \"30\"\n\
         bitrate = \"800 kbit/s\"\nkeyframe_interval = \"2 s\"\nspeed = \"realtime\"\n"
    ));
    let mut inventory = survey(&shipped().fragments, false).unwrap();
    // One thread, whatever the box: libx264's and libaom's output depends on how many there are.
    inventory.cores = 1;
    let source = "[capture]\nvideo = \"test\"\nmode = \"640x360@30\"\naudio = \"none\"\n";
    let plan = resolve(&config(source), &profile, &shipped().fragments, &shipped().queues, &inventory);
    let line = render::launch(&plan.unwrap_or_else(|errors| panic!("{errors:#?}")), &inventory);
    // From the link to where access units branch off.
    let line = &line[line.find("queue ").expect("a link")..line.find(" ! tee ").expect("a fork")];
    // What a recording needs of H.264; nothing is encoded anew.
    let parser = if codec == "h264" { " ! h264parse" } else { "" };
    let (film, into) = (film.display(), into.display());
    run(
        "sh",
        &[
            "-c",
            &format!(
                "exec gst-launch-1.0 -q filesrc location={film} ! y4mdec ! {line}{parser} ! matroskamux ! filesink location={into}"
            ),
        ],
    );
}

/// Frames, kbit/s, PSNR of luma in dB and SSIM of luma of an encoded film.
#[derive(Debug)]
struct Seen {
    frames: usize,
    rate: f64,
    psnr: f64,
    ssim: f64,
}

/// By ffmpeg, whose decoders are none of the encoders' own but for dav1d, which is nobody's.
fn seen(coded: &Path, film: &Path) -> Seen {
    let (coded, film) = (coded.to_str().unwrap(), film.to_str().unwrap());
    let packets = run("ffprobe", &["-v", "error", "-show_entries", "packet=size", "-of", "csv=p=0", coded]);
    let sizes: Vec<f64> =
        packets.lines().filter_map(|line| line.trim_end_matches(',').parse().ok()).collect();
    let compare =
        "[0:v]settb=1/30,setpts=N,split[a][c];[1:v]settb=1/30,setpts=N,split[b][d];[a][b]psnr;[c][d]ssim";
    let said = run("ffmpeg", &["-v", "info", "-i", coded, "-i", film, "-lavfi", compare, "-f", "null", "-"]);
    let after = |line: &str, key: &str| -> f64 {
        let line = said.lines().rfind(|text| text.contains(line)).unwrap_or_else(|| panic!("{said}"));
        let number = line.split_whitespace().find_map(|word| word.strip_prefix(key));
        number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{line}"))
    };
    Seen {
        frames: sizes.len(),
        rate: sizes.iter().sum::<f64>() * 8.0 * 30.0 / sizes.len() as f64 / 1000.0,
        psnr: after("PSNR ", "y:"),
        ssim: after("SSIM ", "Y:"),
    }
}

/// `arguments` of the encoder's own program, in which `{film}` and `{into}` stand for files.
fn as_good_as(encoder: &str, codec: &str, suffix: &str, program: &str, arguments: &str) {
    let folder = tempfile::tempdir().unwrap();
    let film = film(folder.path());
    let (our, their) = (folder.path().join("ours.mkv"), folder.path().join(format!("theirs.{suffix}")));
    ours(encoder, codec, &film, &our);
    let filled =
        arguments.replace("{film}", film.to_str().unwrap()).replace("{into}", their.to_str().unwrap());
    run(program, &filled.split_whitespace().collect::<Vec<_>>());
    let (our, their) = (seen(&our, &film), seen(&their, &film));
    println!("{encoder}: {our:.2?}, its own program: {their:.2?}");
    assert_eq!((our.frames, their.frames), (FRAMES, FRAMES), "{encoder}");
    assert!((our.rate / BITRATE - 1.0).abs() < 0.15, "{encoder}: {our:?} of {BITRATE} kbit/s");
    assert!(
        our.rate < their.rate * 1.15,
        "{encoder} takes more bits than its own program: {our:?}, {their:?}"
    );
    assert!(our.psnr > their.psnr - MOST_WORSE, "{encoder}: {our:?}, its own program: {their:?}");
    assert!(our.ssim > their.ssim - 0.01, "{encoder}: {our:?}, its own program: {their:?}");
}

#[test]
fn x264_looks_as_by_its_own_program() {
    let settings = "--preset superfast --tune zerolatency --profile baseline --bitrate 800 --vbv-maxrate 800 \
                    --vbv-bufsize 160 --keyint 60 --scenecut 0 --threads 1 --quiet -o {into} {film}";
    as_good_as("x264", "h264", "264", "x264", settings);
}

/// What libvpx's programs for VP8 and VP9 have in common.
const VPX: &str = "--rt --passes=1 --end-usage=cbr --target-bitrate=800 --lag-in-frames=0 --buf-sz=600 \
                   --buf-initial-sz=400 --buf-optimal-sz=500 --undershoot-pct=95 --overshoot-pct=15 --min-q=4 \
                   --max-q=63 --max-intra-rate=250 --kf-max-dist=60 --threads=1 --quiet --ivf -o {into} {film}";

#[test]
fn vp9_looks_as_by_its_own_program() {
    as_good_as(
        "vp9",
        "vp9",
        "ivf",
        "vpxenc",
        &format!("--codec=vp9 --cpu-used=8 --aq-mode=3 --row-mt=1 {VPX}"),
    );
}

#[test]
fn vp8_looks_as_by_its_own_program() {
    as_good_as("vp8", "vp8", "ivf", "vpxenc", &format!("--codec=vp8 --cpu-used=-12 --token-parts=2 {VPX}"));
}

#[test]
fn aom_looks_as_by_its_own_program() {
    let settings = "--rt --passes=1 --cpu-used=10 --end-usage=cbr --target-bitrate=800 --lag-in-frames=0 --buf-sz=600 \
                    --buf-initial-sz=400 --buf-optimal-sz=500 --undershoot-pct=95 --overshoot-pct=15 --min-q=8 \
                    --max-q=58 --kf-max-dist=60 --row-mt=1 --threads=1 --quiet --ivf -o {into} {film}";
    as_good_as("aom", "av1", "ivf", "aomenc", settings);
}

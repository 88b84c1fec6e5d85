//! The element by itself, with every SVT-AV1 of this box, and with those that `$CAPCAST_TEST_SVT` names (paths, joined by
//! colons): frames, delay, keyframes, bitrate, and whether another's decoder takes what comes out.

use std::sync::{Arc, Mutex};

use gst::prelude::*;
use gst_video::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::library;
use super::session::{Parameters, Picture, Session};

/// One encode of a test picture.
#[derive(Clone, Copy)]
struct Job {
    library: &'static str,
    /// What makes the pictures.
    source: &'static str,
    format: &'static str,
    size: (u32, u32),
    frames: u32,
    bitrate: u32,
    keyframe_interval: u32,
    /// Further properties of the encoder.
    further: &'static str,
    /// Frames that are to be keyframes.
    forced: &'static [u32],
    /// From this frame on, another bitrate.
    change: Option<(u32, u32)>,
}

const JOB: Job = Job {
    library: "",
    source: "videotestsrc pattern=zone-plate kx2=14 ky2=10 kt=11 kxt=3",
    format: "I420",
    size: (640, 360),
    frames: 60,
    bitrate: 1_000_000,
    keyframe_interval: 1000,
    further: "",
    forced: &[],
    change: None,
};

struct Unit {
    pts: gst::ClockTime,
    keyframe: bool,
    bytes: Vec<u8>,
    /// Pictures that had gone in when it came out.
    after: usize,
}

struct Done {
    units: Vec<Unit>,
    /// Luma of the pictures that went in, one of fifteen.
    luma: Vec<Vec<u8>>,
    version: String,
}

fn libraries() -> Vec<&'static str> {
    let own = ["libSvtAv1Enc.so.1", "libSvtAv1Enc.so.2"].into_iter().map(str::to_owned);
    let further = std::env::var("CAPCAST_TEST_SVT").unwrap_or_default();
    let further = further.split(':').filter(|path| !path.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let usable = |name: &String| match library::load(name) {
        Ok(_) => true,
        Err(error) => {
            println!("{name}: {error}");
            false
        }
    };
    let found: Vec<String> = own.chain(further).filter(usable).collect();
    assert!(!found.is_empty(), "no SVT-AV1 here (Debian 12: libsvtav1enc1, Debian 13: libsvtav1enc2)");
    found.into_iter().map(|name| &*name.leak()).collect()
}

/// Runs a pipeline to its end; its error is the test's.
fn finish(pipeline: &gst::Pipeline) -> Result<(), String> {
    let bus = pipeline.bus().unwrap();
    let started = pipeline.set_state(gst::State::Playing);
    let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(120), &wanted);
    let _ = pipeline.set_state(gst::State::Null);
    match message.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Eos(_)) => Ok(()),
        Some(gst::MessageView::Error(error)) => Err(error.error().message().to_owned()),
        _ => Err(format!("nothing came; starting it was {started:?}")),
    }
}

/// A picture's luma, row by row.
fn luma(pad: &gst::Pad, probe: &gst::PadProbeInfo<'_>) -> Vec<u8> {
    let info = gst_video::VideoInfo::from_caps(&pad.current_caps().unwrap()).unwrap();
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(probe.buffer().unwrap(), &info).unwrap();
    let stride = frame.plane_stride()[0] as usize;
    let rows = frame.plane_data(0).unwrap().chunks(stride).take(info.height() as usize);
    rows.flat_map(|row| &row[..info.width() as usize]).copied().collect()
}

fn encode(job: Job) -> Result<Done, String> {
    crate::engine::init().unwrap();
    let (width, height) = job.size;
    let line = format!(
        "{} ! identity eos-after={} ! video/x-raw,format={},width={width},height={height},framerate=30/1 ! \
         capcastsvtav1enc name=encoder library=\"{}\" bitrate={} keyframe-interval={} {} ! fakesink name=out sync=false",
        job.source,
        job.frames + 1,
        job.format,
        job.library,
        job.bitrate,
        job.keyframe_interval,
        job.further
    );
    let pipeline = gst::parse::launch(&line).unwrap().downcast::<gst::Pipeline>().unwrap();
    let encoder = pipeline.by_name("encoder").unwrap();
    let inputs = Arc::new(Mutex::new((0, Vec::new())));
    let (counted, controlled) = (Arc::clone(&inputs), encoder.downgrade());
    encoder.static_pad("sink").unwrap().add_probe(gst::PadProbeType::BUFFER, move |pad, probe| {
        let (encoder, mut counted) = (controlled.upgrade().unwrap(), counted.lock().unwrap());
        let number = counted.0;
        if job.format == "I420" && number % 15 == 0 {
            counted.1.push(luma(pad, probe));
        }
        counted.0 += 1;
        drop(counted);
        if job.forced.contains(&(number as u32)) {
            let event = gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(false).build();
            assert!(encoder.static_pad("src").unwrap().send_event(event));
        }
        if let Some((_, bitrate)) = job.change.filter(|(at, _)| *at == number as u32) {
            encoder.set_property("bitrate", bitrate);
        }
        gst::PadProbeReturn::Ok
    });
    let units = Arc::new(Mutex::new(Vec::new()));
    let (collected, counted) = (Arc::clone(&units), Arc::clone(&inputs));
    encoder.static_pad("src").unwrap().add_probe(gst::PadProbeType::BUFFER, move |_, probe| {
        let buffer = probe.buffer().unwrap();
        collected.lock().unwrap().push(Unit {
            pts: buffer.pts().unwrap(),
            keyframe: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
            bytes: buffer.map_readable().unwrap().to_vec(),
            after: counted.lock().unwrap().0,
        });
        gst::PadProbeReturn::Ok
    });
    let version = Arc::new(Mutex::new(String::new()));
    let told = Arc::clone(&version);
    encoder.static_pad("src").unwrap().add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |pad, _| {
        let encoder = pad.parent_element().unwrap();
        *told.lock().unwrap() = encoder.property::<String>("version");
        gst::PadProbeReturn::Ok
    });
    finish(&pipeline)?;
    drop((encoder, pipeline));
    let units = std::mem::take(&mut *units.lock().unwrap());
    let luma = std::mem::take(&mut inputs.lock().unwrap().1);
    let version = version.lock().unwrap().clone();
    Ok(Done { units, luma, version })
}

/// Decodes with libaom: the pictures' luma, one of fifteen, and how many there were.
fn decode(units: &[Unit], size: (u32, u32), format: &str) -> (Vec<Vec<u8>>, usize) {
    let (width, height) = size;
    let line = format!(
        "appsrc name=in format=time caps=video/x-av1,stream-format=obu-stream,alignment=tu,width={width},height={height} \
         ! av1parse ! av1dec ! video/x-raw,format={format},width={width},height={height} ! fakesink name=out sync=false"
    );
    let pipeline = gst::parse::launch(&line).unwrap().downcast::<gst::Pipeline>().unwrap();
    let input = pipeline.by_name("in").unwrap().downcast::<gst_app::AppSrc>().unwrap();
    for unit in units {
        let mut buffer = gst::Buffer::from_slice(unit.bytes.clone());
        buffer.get_mut().unwrap().set_pts(unit.pts);
        input.push_buffer(buffer).unwrap();
    }
    input.end_of_stream().unwrap();
    let seen = Arc::new(Mutex::new((Vec::new(), 0)));
    let seeing = Arc::clone(&seen);
    let out = pipeline.by_name("out").unwrap().static_pad("sink").unwrap();
    out.add_probe(gst::PadProbeType::BUFFER, move |pad, probe| {
        let mut seen = seeing.lock().unwrap();
        if seen.1 % 15 == 0 {
            seen.0.push(luma(pad, probe));
        }
        seen.1 += 1;
        gst::PadProbeReturn::Ok
    });
    finish(&pipeline).unwrap();
    let mut seen = seen.lock().unwrap();
    (std::mem::take(&mut seen.0), seen.1)
}

/// In dB.
fn likeness(one: &[Vec<u8>], other: &[Vec<u8>]) -> f64 {
    assert_eq!(one.len(), other.len());
    let pairs = one.iter().flatten().zip(other.iter().flatten());
    let (sum, count) =
        pairs.fold((0u64, 0u64), |(sum, count), (a, b)| (sum + u64::from(a.abs_diff(*b)).pow(2), count + 1));
    10.0 * (255.0 * 255.0 * count as f64 / (sum.max(1)) as f64).log10()
}

/// kbit/s of some of the units.
fn rate(units: &[Unit]) -> f64 {
    units.iter().map(|unit| unit.bytes.len()).sum::<usize>() as f64 * 8.0 * 30.0 / units.len() as f64 / 1000.0
}

fn keyframes(done: &Done) -> Vec<usize> {
    (0..done.units.len()).filter(|at| done.units[*at].keyframe).collect()
}

/// How many pictures it holds back.
fn held(done: &Done) -> usize {
    if done.version.starts_with("1.") { 1 } else { 0 }
}

#[test]
fn every_picture_comes_out_in_time_and_decodes() {
    for library in libraries() {
        for (format, size) in [("I420", (640, 360)), ("I420", (322, 178)), ("I420_10LE", (322, 178))] {
            let done = encode(Job { library, format, size, ..JOB }).unwrap();
            let of = format!("SVT-AV1 {}, {format}, {size:?}", done.version);
            assert_eq!(done.units.len(), 60, "{of}");
            for (at, unit) in done.units.iter().enumerate() {
                assert!(
                    unit.after <= at + 1 + held(&done),
                    "{of}: {at} came out after {} pictures",
                    unit.after
                );
                assert_eq!(unit.pts, gst::ClockTime::SECOND.mul_div_floor(at as u64, 30).unwrap(), "{of}");
            }
            assert_eq!(keyframes(&done), [0], "{of}");
            let (pictures, count) = decode(&done.units, size, format);
            assert_eq!(count, 60, "{of}");
            if format == "I420" {
                let likeness = likeness(&done.luma, &pictures);
                assert!(likeness > 25.0, "{of}: {likeness:.1} dB");
            }
        }
    }
}

#[test]
fn keyframes_come_when_they_are_due_and_when_asked_for() {
    for library in libraries() {
        let done =
            encode(Job { library, size: (320, 180), keyframe_interval: 20, forced: &[27], ..JOB }).unwrap();
        let of = format!("SVT-AV1 {}", done.version);
        assert_eq!(done.units.len(), 60, "{of}");
        assert_eq!(keyframes(&done), [0, 20, 27, 47], "{of}");
        assert!(done.units[27].after <= 28 + held(&done), "{of}");
        assert_eq!(decode(&done.units, (320, 180), "I420").1, 60, "{of}");
        // The stream can be entered at the forced one.
        assert_eq!(decode(&done.units[27..], (320, 180), "I420").1, 33, "{of}");
    }
}

#[test]
fn the_bitrate_is_kept_and_changes_at_once() {
    for library in libraries() {
        let job = Job { library, frames: 300, bitrate: 2_000_000, change: Some((150, 800_000)), ..JOB };
        let done = encode(job).unwrap();
        let of = format!("SVT-AV1 {}", done.version);
        assert_eq!(done.units.len(), 300, "{of}");
        let (before, after) = (rate(&done.units[..150]), rate(&done.units[150..]));
        assert!((1700.0..2300.0).contains(&before), "{of}: {before:.0} kbit/s of 2000");
        assert!((680.0..920.0).contains(&after), "{of}: {after:.0} kbit/s of 800");
        let two_seconds_later = rate(&done.units[210..]);
        assert!((680.0..920.0).contains(&two_seconds_later), "{of}: {two_seconds_later:.0} kbit/s of 800");
        assert_eq!(keyframes(&done), [0, 150], "{of}");
        let (pictures, count) = decode(&done.units, job.size, "I420");
        assert_eq!(count, 300, "{of}");
        assert!(likeness(&done.luma, &pictures) > 25.0, "{of}");
    }
}

#[test]
fn noise_passes_frame_by_frame() {
    for library in libraries() {
        let done =
            encode(Job { library, source: "videotestsrc pattern=snow", size: (320, 180), ..JOB }).unwrap();
        let of = format!("SVT-AV1 {}", done.version);
        assert_eq!((done.units.len(), keyframes(&done)), (60, vec![0]), "{of}");
        assert_eq!(decode(&done.units, (320, 180), "I420").1, 60, "{of}");
    }
}

#[test]
fn a_library_that_is_not_there_is_an_error_in_words() {
    let error = encode(Job { library: "/nonexistent/libSvtAv1Enc.so.2", ..JOB }).err();
    assert_eq!(
        error.as_deref(),
        Some("SVT-AV1 is not installed: there is no `/nonexistent/libSvtAv1Enc.so.2`")
    );
    let unusable = super::unusable("/nonexistent/libSvtAv1Enc.so.2").unwrap();
    assert_eq!(Some(unusable.reason), error);
    assert!(unusable.package.is_some_and(|package| package.starts_with("libsvtav1enc")));
}

/// A library of another's making, which has what `code` says.
fn forged(folder: &std::path::Path, code: &str) -> String {
    let (source, library) = (folder.join("forged.c"), folder.join("libSvtAv1Enc.so.2"));
    std::fs::write(&source, code).unwrap();
    let cc = std::process::Command::new("cc")
        .args(["-shared", "-fPIC", "-w", "-o"])
        .args([&library, &source])
        .status();
    assert!(cc.unwrap().success());
    library.to_str().unwrap().to_owned()
}

#[test]
fn a_library_of_another_version_is_not_called() {
    crate::engine::init().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let library = forged(folder.path(), "char *svt_av1_get_version(void) { return \"v3.1.2\"; }");
    let unusable = super::unusable(&library).unwrap();
    assert_eq!(unusable.reason, "SVT-AV1 3.1.2 is installed, and Capcast can call 1.4 and 2.3 only");
    assert_eq!(unusable.package, None);
    let error = encode(Job { library: library.leak(), ..JOB }).err();
    assert_eq!(error, Some(unusable.reason));
}

/// What calls itself 2.3.0 and has its structures otherwise is found out before it gets a picture.
#[test]
fn a_library_of_another_layout_is_not_called() {
    crate::engine::init().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let other = [
        "parse_parameter",
        "set_parameter",
        "init",
        "send_picture",
        "get_packet",
        "release_out_buffer",
        "deinit",
    ];
    let other: String =
        other.iter().map(|name| format!("int svt_av1_enc_{name}(void) {{ __builtin_trap(); }}\n")).collect();
    let code = format!(
        "char *svt_av1_get_version(void) {{ return \"v2.3.0\"; }}\n\
         int svt_av1_enc_init_handle(void **h, void *a, char *c) {{ static int x; *h = &x; for (int i = 0; i < 600; i++) c[i] = 10; return 0; }}\n\
         int svt_av1_enc_deinit_handle(void *h) {{ return 0; }}\n{other}"
    );
    let unusable = super::unusable(&forged(folder.path(), &code)).unwrap();
    assert_eq!(
        unusable.reason,
        "the SVT-AV1 installed says it is 2.3.0, but its `intra_period_length` is not where that version has it"
    );
}

/// SVT-AV1's own program with the same settings makes nothing better of a film.
#[test]
fn a_film_looks_as_it_does_by_the_librarys_own_program() {
    crate::engine::init().unwrap();
    let setup = concat!(env!("CARGO_MANIFEST_DIR"), "/setup/clips");
    let clips = std::process::Command::new(setup).output().unwrap();
    let clips = String::from_utf8(clips.stdout).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (film, coded) = (folder.path().join("film.y4m"), folder.path().join("coded.ivf"));
    let raw = format!(
        "filesrc location={}/bigbuckbunny.mp4 ! decodebin ! videoconvertscale ! \
         video/x-raw,format=I420,width=640,height=360 ! videorate ! video/x-raw,framerate=30/1 ! \
         y4menc ! filesink location={}",
        clips.trim(),
        film.display()
    );
    finish(&gst::parse::launch(&raw).unwrap().downcast::<gst::Pipeline>().unwrap()).unwrap();
    let source = format!("filesrc location={} ! y4mdec", film.display());
    let job = Job { source: source.leak(), frames: 90, bitrate: 800_000, keyframe_interval: 60, ..JOB };
    let ours = encode(job).unwrap();
    let program = std::process::Command::new("SvtAv1EncApp")
        .args([
            "--preset",
            "12",
            "--rc",
            "2",
            "--pred-struct",
            "1",
            "--tbr",
            "800",
            "--keyint",
            "59",
            "-n",
            "90",
            "-i",
        ])
        .args([&film, std::path::Path::new("-b"), &coded])
        .output()
        .expect("SvtAv1EncApp of the Debian package svt-av1");
    assert!(program.status.success(), "{}", String::from_utf8_lossy(&program.stderr));
    let theirs = unpacked(&std::fs::read(&coded).unwrap());
    let likeness = |units: &[Unit]| likeness(&ours.luma, &decode(units, job.size, job.format).0);
    let (our, their) = (likeness(&ours.units), likeness(&theirs));
    println!(
        "SVT-AV1 {}: {our:.2} dB at {:.0}, its own {their:.2} dB at {:.0} kbit/s",
        ours.version,
        rate(&ours.units),
        rate(&theirs)
    );
    assert!(
        our > their - 1.0,
        "{our:.2} dB at {:.0} kbit/s, its own program {their:.2} dB",
        rate(&ours.units)
    );
    assert!((680.0..920.0).contains(&rate(&ours.units)), "{:.0} kbit/s of 800", rate(&ours.units));
}

/// The units of an IVF file.
fn unpacked(file: &[u8]) -> Vec<Unit> {
    let mut rest = &file[32..];
    let mut units = Vec::new();
    while let Some((head, behind)) = rest.split_at_checked(12) {
        let size = u32::from_le_bytes(head[..4].try_into().unwrap()) as usize;
        let pts = gst::ClockTime::SECOND.mul_div_floor(units.len() as u64, 30).unwrap();
        units.push(Unit { pts, keyframe: false, bytes: behind[..size].to_vec(), after: 0 });
        rest = &behind[size..];
    }
    units
}

/// Threads of this process with a real-time policy; field 41 of `/proc/…/stat`.
fn real_time() -> usize {
    let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let stats = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
    let policy = |stat: String| stat.rsplit(')').next()?.split_whitespace().nth(38).map(str::to_owned);
    stats.filter_map(policy).filter(|policy| policy != "0").count()
}

/// 1.4 would take it for itself as root, for its own threads and for the one that calls it.
#[test]
fn no_thread_gets_a_real_time_priority() {
    for name in libraries() {
        let library = library::load(name).unwrap();
        let session = Session::start(library, &SMALL).unwrap();
        let alone = library::one_at_a_time();
        assert_eq!(real_time(), 0, "SVT-AV1 {}", library.version);
        drop(alone);
        drop(session);
    }
}

const SMALL: Parameters = Parameters {
    width: 320,
    height: 180,
    rate: (30, 1),
    depth: 8,
    bitrate: 500_000,
    keyframe_interval: 60,
    preset: 12,
    threads: 2,
    color: [1, 1, 1],
    full_range: false,
};

/// 1.4 gives a keyframe by a new session, so there are many in a day: none leaves anything behind.
#[test]
#[ignore = "the long form, for `make soak`"]
fn soak_sessions_leave_nothing_behind() {
    crate::engine::init().unwrap();
    let plane = vec![77; 320 * 180];
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let number = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
        };
        (number("VmRSS"), number("Threads"))
    };
    for name in libraries() {
        let library = library::load(name).unwrap();
        let mut first = (0, 0);
        for round in 0..2000 {
            let mut session = Session::start(library, &SMALL).unwrap();
            let mut packets = 0;
            for number in 0..2 {
                let picture = Picture { planes: [&plane, &plane, &plane] };
                packets += session.encode(&picture, number, false, None).unwrap().iter().count();
            }
            packets += session.end().unwrap().len();
            assert_eq!(packets, 2);
            drop(session);
            if round == 200 {
                first = resident();
            }
        }
        let last = resident();
        println!("SVT-AV1 {}: {first:?} {last:?} kB and threads", library.version);
        assert!(last.0 < first.0 + 8_000 && last.1 <= first.1, "{first:?} kB and threads, then {last:?}");
    }
}

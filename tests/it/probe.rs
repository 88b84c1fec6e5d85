//! Encoders are tried in processes of their own: one that works, fails, hangs, crashes.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use capcast::daemon::files::{Loaded, Sources};
use capcast::daemon::survey;
use capcast::engine::TRIAL_FRAMES;
use capcast::plan::{Inventory, Verdict, resolve};
use capcast::probe::{Cache, Prober, Step};

const CAPCAST: &str = env!("CARGO_BIN_EXE_capcast");

#[expect(clippy::disallowed_methods, reason = "tests live in real time")]
fn now() -> Instant {
    Instant::now()
}

/// Fragments from a folder over the shipped ones.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn with(fragments: &[(&str, &str)]) -> Place {
        let folder = tempfile::tempdir().unwrap();
        let encoders = folder.path().join("pipelines/encoder");
        std::fs::create_dir_all(&encoders).unwrap();
        for (name, text) in fragments {
            std::fs::write(encoders.join(format!("{name}.toml")), text).unwrap();
        }
        Place { folder }
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("encoders.json")
    }

    fn loaded(&self) -> Loaded {
        let mut sources = Sources::shipped();
        sources.overlay(self.folder.path());
        let (loaded, problems) = sources.load(&[]);
        loaded.unwrap_or_else(|| panic!("{}", problems.render(capcast::config::Look::PLAIN)))
    }

    fn prober(&self) -> Prober {
        Prober::new(CAPCAST.into(), Cache::read(self.cache()))
    }

    /// What comes of one encoder, and which were really tried.
    fn verdict(&self, prober: &Prober, name: &str) -> (Option<Verdict>, Vec<String>) {
        let loaded = self.loaded();
        let inventory = survey(&loaded.fragments, false).unwrap();
        let tried = Mutex::new(Vec::new());
        let told = |step: Step<'_>| {
            if let Step::Trying(name) = step {
                tried.lock().unwrap().push(name.to_owned());
            }
        };
        let encoder = &loaded.fragments.encoders[name];
        let mut verdicts =
            prober.verdicts(&[encoder], (&loaded.fragments, &loaded.queues), &inventory, &told);
        (verdicts.remove(name), tried.into_inner().unwrap())
    }

    fn fails(&self, prober: &Prober, name: &str) -> String {
        match self.verdict(prober, name) {
            (Some(Verdict::Fails(reason)), _) => reason,
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// VP8 behind an element that makes trouble.
fn behind(trouble: &str) -> String {
    format!(
        "summary = \"trouble\"\ncodec = \"vp8\"\nrank = 900\nformats = [\"I420\"]\n{trouble}\
         [[element]]\nfactory = \"vp8enc\"\nrole = \"encoder\"\n[element.properties]\ndeadline = 1\n\
         [control]\nkeyframe = \"event\"\n"
    )
}

fn identity(property: &str) -> String {
    behind(&format!("[[element]]\nfactory = \"identity\"\n[element.properties]\n{property}\n"))
}

/// Its rate control asserts, and the library aborts the process (libaom 3.6 with the element's own quantizer bounds).
const CRASHES: &str = "summary = \"crash\"\ncodec = \"av1\"\nrank = 900\nformats = [\"I420\"]\n\
    [[element]]\nfactory = \"av1enc\"\nrole = \"encoder\"\n[element.properties]\nusage-profile = \"realtime\"\n\
    cpu-used = 10\nend-usage = \"cbr\"\ntarget-bitrate = 500\nlag-in-frames = 0\n[control]\nkeyframe = \"event\"\n";

#[test]
fn a_working_encoder_runs_and_is_remembered() {
    let own = Place::with(&[("mine", &identity("sync = false"))]);
    let (verdict, tried) = own.verdict(&own.prober(), "mine");
    assert!(matches!(verdict, Some(Verdict::Runs { frames: TRIAL_FRAMES.., .. })), "{verdict:?}");
    assert_eq!(tried, ["mine"]);
    assert_eq!(own.verdict(&own.prober(), "mine"), (verdict, vec![]), "it was remembered");

    // Another text is another encoder.
    std::fs::write(
        own.folder.path().join("pipelines/encoder/mine.toml"),
        identity("sync = false\nsilent = true"),
    )
    .unwrap();
    assert_eq!(own.verdict(&own.prober(), "mine").1, ["mine"]);

    // What is remembered may break; it is made anew.
    std::fs::write(own.cache(), "{ broken").unwrap();
    let prober = own.prober();
    assert_eq!(own.verdict(&prober, "mine").1, ["mine"]);
    assert_eq!(own.verdict(&own.prober(), "mine").1, Vec::<String>::new());
}

/// What is linked with a plugin or opened by an element is upgraded without it.
#[test]
fn the_libraries_of_an_encoder_are_remembered_with_it() {
    let own = Place::with(&[]);
    for (encoder, library) in [("x264", "/libx264.so"), ("svt", "/libSvtAv1Enc.so")] {
        let (verdict, _) = own.verdict(&own.prober(), encoder);
        assert!(matches!(verdict, Some(Verdict::Runs { .. })), "{encoder}: {verdict:?}");
        let cache: serde_json::Value = serde_json::from_slice(&std::fs::read(own.cache()).unwrap()).unwrap();
        let libraries = cache["encoders"][encoder]["libraries"].as_object().unwrap();
        assert!(libraries.keys().any(|path| path.contains(library)), "{encoder}: {libraries:#?}");
    }
}

#[test]
fn what_is_wrong_with_an_encoder_is_said_in_words() {
    let own = Place::with(&[
        ("fails", &identity("error-after = 8")),
        ("hangs", &identity("sleep-time = 60000000")),
        ("empty", &identity("drop-probability = 1.0")),
        ("crashes", CRASHES),
    ]);
    let mut prober = own.prober();
    let failed = own.fails(&prober, "fails");
    assert!(failed.contains("identity` failed after") && failed.contains("frames: "), "{failed}");
    let empty = own.fails(&prober, "empty");
    assert_eq!(empty, "it gave no frame of 120 pictures");
    prober.patience = Duration::from_secs(1);
    let hung = own.fails(&prober, "hangs");
    assert_eq!(hung, "it gave no frame in 1 s");
    prober.patience = Duration::from_secs(5);
    let loaded = own.loaded();
    let inventory = survey(&loaded.fragments, false).unwrap();
    // Later versions of the library no longer crash.
    if inventory.gstreamer < capcast::plan::GstVersion(1, 24, 0) {
        let crashed = own.fails(&prober, "crashes");
        assert!(crashed.starts_with("it crashed (signal 6, SIGABRT): "), "{crashed}");
        assert!(crashed.contains("Assertion"), "{crashed}");
    }
}

#[test]
fn a_child_that_is_no_capcast_is_said_in_words() {
    let own = Place::with(&[]);
    let said = |program: &str| own.fails(&Prober::new(program.into(), Cache::default()), "vp8");
    assert!(said("/nonexistent/capcast").starts_with("`/nonexistent/capcast` cannot be started: "));
    assert_eq!(said("false"), "it ended the process with code 1");
}

/// A stand-in for a driver that dies otherwise or sticks, where a real one is not to be had: a shell.
#[test]
fn signals_and_silence_of_a_child_are_told_apart() {
    let own = Place::with(&[]);
    let script = |name: &str, text: &str| -> PathBuf {
        let path = own.folder.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        path
    };
    let said = |program: &Path| {
        let mut prober = Prober::new(program.into(), Cache::default());
        prober.patience = Duration::from_secs(1);
        own.fails(&prober, "vp8")
    };
    assert_eq!(said(&script("segv", "kill -SEGV $$")), "it crashed (signal 11, SIGSEGV)");
    // It and what it started are gone when the verdict is there.
    let pids = own.folder.path().join("pids");
    let stuck = format!("tail -f /dev/null & echo $! $$ > {}\nwait", pids.display());
    assert_eq!(said(&script("stuck", &stuck)), "it hung: no answer in 4 s");
    for pid in std::fs::read_to_string(&pids).unwrap().split_whitespace() {
        let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let deadline = now() + Duration::from_secs(20);
        // Killed it is; the kernel takes it away in its own time.
        while !(state().is_empty() || state().contains(") Z ")) {
            assert!(now() < deadline, "{pid} still runs: {}", state());
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_plan_passes_over_an_encoder_that_does_not_run_and_says_why() {
    let own = Place::with(&[("fails", &identity("error-after = 8"))]);
    let loaded = own.loaded();
    let mut inventory: Inventory = survey(&loaded.fragments, false).unwrap();
    let mut profile = loaded.profiles["vp8-720p30"].clone();
    profile.video.encoder = capcast::config::EncoderChoice::Auto;
    let mut config = loaded.config.clone();
    config.capture.video = capcast::config::VideoInput::Test;
    let plan = |inventory: &Inventory| {
        resolve(&config, &profile, &loaded.fragments, &loaded.queues, inventory)
            .unwrap_or_else(|errors| panic!("{errors:?}"))
    };
    assert_eq!(plan(&inventory).video_encode[0].fragment, "fails", "by its rank");
    let encoders = [&loaded.fragments.encoders["fails"], &loaded.fragments.encoders["vp8"]];
    inventory.verdicts =
        own.prober().verdicts(&encoders, (&loaded.fragments, &loaded.queues), &inventory, &|_| ());
    let plan = plan(&inventory);
    assert_eq!(plan.video_encode[0].fragment, "vp8");
    let reasons: Vec<(&str, bool, &str)> = plan
        .choices
        .iter()
        .filter(|choice| choice.subject == "encoder")
        .map(|choice| (choice.candidate.as_str(), choice.taken, choice.reason.as_str()))
        .collect();
    assert!(
        matches!(reasons[0], ("fails", false, reason) if reason.contains("identity` failed")),
        "{reasons:?}"
    );
    assert!(
        matches!(reasons[1], ("vp8", true, reason) if reason.contains("; tried here with 1")),
        "{reasons:?}"
    );
}

#[test]
fn a_start_tries_hardware_that_was_never_tried_and_nothing_else() {
    let hardware = |property: &str, rank: u32| {
        identity(property).replace("rank = 900", &format!("rank = {rank}\nhardware = \"a box of tests\""))
    };
    let own = Place::with(&[
        ("broken", &hardware("error-after = 4", 990)),
        ("sound", &hardware("silent = true", 980)),
        ("never", &hardware("silent = true", 970)),
    ]);
    let loaded = own.loaded();
    let inventory = survey(&loaded.fragments, false).unwrap();
    let files = (&loaded.fragments, &loaded.queues);
    let candidates =
        |names: &[&str]| names.iter().map(|name| &loaded.fragments.encoders[*name]).collect::<Vec<_>>();

    let known =
        own.prober().before_start(&candidates(&["broken", "sound", "never", "vp8"]), files, &inventory);
    let ends: Vec<(&str, bool)> = known
        .iter()
        .map(|(name, verdict)| (name.as_str(), matches!(verdict, Verdict::Runs { .. })))
        .collect();
    assert_eq!(ends, [("broken", false), ("sound", true)], "up to the first that runs");
    // The next start does not wait: a program that could try nothing is not asked.
    let blind = Prober::new("/nonexistent/capcast".into(), Cache::read(own.cache()));
    assert_eq!(blind.before_start(&candidates(&["broken", "sound"]), files, &inventory), known);
    // Software is trusted.
    assert!(blind.before_start(&candidates(&["vp8"]), files, &inventory).is_empty());
}

//! Bad files, each with its expected report: `tests/data/diagnostics/NAME.toml` and `NAME.snap`.
//!
//! What a file is read as shows in its name (`box-…`, `profile-…`, `fragment-…`, `queues-…`); a folder is a whole tree.
//! After a wanted change: `INSTA_UPDATE=always cargo test --test it diagnostics::`, then read the difference.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use capcast::config::{Diagnostics, KnownEncoders, Look, Source, parse_box_with, parse_profile_among};
use capcast::daemon::files::Sources;
use capcast::media::Codec;
use capcast::plan::{FragmentKind, parse_fragment, parse_queues};

/// Relative, as tests run in the package's folder and reports name what they read.
const FOLDER: &str = "tests/data/diagnostics";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER)
}

/// Name and path of every case.
fn cases() -> Vec<(String, PathBuf)> {
    let mut cases: Vec<_> = fs::read_dir(folder())
        .expect("the folder of cases is there")
        .map(|entry| entry.expect("the folder of cases is readable").path())
        .filter(|path| path.is_dir() || path.extension().is_some_and(|extension| extension == "toml"))
        .filter_map(|path| Some((path.file_stem()?.to_str()?.to_owned(), path)))
        .collect();
    cases.sort();
    cases
}

fn diagnose(name: &str, path: &Path) -> Diagnostics {
    if path.is_dir() {
        let mut sources = Sources::shipped();
        sources.read_folder(&Path::new(FOLDER).join(name));
        let (loaded, diagnostics) = sources.load(&[]);
        assert_eq!(loaded.is_none(), diagnostics.has_errors(), "{name}");
        return diagnostics;
    }
    let text = fs::read_to_string(path).expect("a case is UTF-8");
    let source = Source::new(format!("{name}.toml"), &text);
    match name.split('-').next() {
        Some("box") => {
            let profiles = [("vp9-720p60", Codec::Vp9), ("h264-x264-720p30", Codec::H264)];
            let profiles = profiles.map(|(name, codec)| (name.to_owned(), Some(codec))).into();
            let (config, diagnostics) = parse_box_with(source, &[], Some(&profiles));
            assert_eq!(config.is_none(), diagnostics.has_errors(), "{name}");
            diagnostics
        }
        Some("profile") => {
            let encoders: KnownEncoders = [
                ("x264".to_owned(), Some(Codec::H264)),
                ("vp9".to_owned(), Some(Codec::Vp9)),
                ("vp8".to_owned(), Some(Codec::Vp8)),
            ]
            .into();
            let (profile, diagnostics) = parse_profile_among(name, source, Some(&encoders));
            assert_eq!(profile.is_none(), diagnostics.has_errors(), "{name}");
            diagnostics
        }
        Some("fragment") => {
            let kind = match name.split('-').nth(1) {
                Some("encoder") => FragmentKind::Encoder,
                Some("output") => FragmentKind::Output,
                _ => FragmentKind::Source,
            };
            let (fragment, diagnostics) = parse_fragment(kind, name, source);
            assert_eq!(fragment.is_none(), diagnostics.has_errors(), "{name}");
            diagnostics
        }
        Some("queues") => {
            let (queues, diagnostics) = parse_queues(source);
            assert_eq!(queues.is_none(), diagnostics.has_errors(), "{name}");
            diagnostics
        }
        _ => panic!("{name}: the name must say what it is"),
    }
}

#[test]
fn every_bad_file_has_its_expected_report() {
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path(folder());
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for (name, path) in cases() {
            let diagnostics = diagnose(&name, &path);
            assert!(!diagnostics.is_empty(), "{name}: nothing was found wrong with it");
            insta::assert_snapshot!(name, diagnostics.render(Look::PLAIN));
        }
    });
}

#[test]
fn there_are_many_cases_and_no_orphaned_reports() {
    let names: BTreeSet<String> = cases().into_iter().map(|(name, _)| name).collect();
    assert!(names.len() >= 60, "only {} cases", names.len());
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "snap") {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            assert!(names.contains(&name), "{} has no case", path.display());
        }
    }
}

/// Every form of the report names the same place, and every place lies in its text.
#[test]
fn places_agree_between_report_and_json_and_lie_in_the_text() {
    for (name, path) in cases() {
        let diagnostics = diagnose(&name, &path);
        let report = diagnostics.render(Look::PLAIN);
        for (diagnostic, json) in diagnostics.iter().zip(diagnostics.to_json().as_array().unwrap()) {
            let Some(span) = &diagnostic.span else { continue };
            let text = diagnostic.source.text();
            assert!(text.get(span.clone()).is_some(), "{name}: {span:?} is not in the text");
            let header = format!("--> {}:{}:{}\n", diagnostic.source.name(), json["line"], json["column"]);
            assert!(report.contains(&header), "{name}: {header} is not in\n{report}");
        }
    }
}

#[test]
fn a_report_in_colour_says_the_same() {
    for (name, path) in cases() {
        let diagnostics = diagnose(&name, &path);
        let coloured = diagnostics.render(Look { colour: true, ..Look::PLAIN });
        assert!(coloured.contains("\u{1b}["), "{name}");
        let mut plain = String::new();
        let mut rest = coloured.as_str();
        while let Some((before, after)) = rest.split_once("\u{1b}[") {
            plain.push_str(before);
            rest = after.split_once('m').map_or("", |(_, rest)| rest);
        }
        plain.push_str(rest);
        assert_eq!(plain, diagnostics.render(Look::PLAIN), "{name}");
    }
}

/// Exit code, stdout, stderr of `capcast check` with these arguments.
fn check(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_capcast")).arg("check").args(arguments).output();
    let output = output.expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it speaks UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn check_reports_on_stderr_and_fails() {
    let tree = format!("{FOLDER}/tree-all-at-once");
    let (code, stdout, stderr) = check(&[&tree]);
    assert_eq!((code, &*stdout), (Some(1), ""), "{stderr}");
    let expected = diagnose("tree-all-at-once", Path::new(&tree)).render(Look::PLAIN);
    assert_eq!(stderr, expected, "as the library, and without colour into a pipe");
}

#[test]
fn check_gives_json_on_stdout() {
    let file = format!("{FOLDER}/box-unicode-columns.toml");
    let (code, stdout, stderr) = check(&["--json", &file]);
    assert_eq!((code, &*stderr), (Some(1), ""));
    let problems: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(problems[1]["file"], serde_json::json!(file));
    assert_eq!(
        (&problems[1]["line"], &problems[1]["column"]),
        (&serde_json::json!(4), &serde_json::json!(9))
    );
    assert_eq!(problems[1]["severity"], "error");
    let (code, stdout, _) = check(&["--json", "packaging/capcast.toml"]);
    assert_eq!((code, &*stdout), (Some(0), "[]\n"));
}

#[test]
fn check_says_what_was_right() {
    let (code, stdout, stderr) = check(&["packaging/capcast.toml", "pipelines", "profiles/vp9-720p60.toml"]);
    assert_eq!((code, &*stderr), (Some(0), ""));
    assert!(stdout.starts_with("ok: 1 configuration, 1 profile, "), "{stdout}");
    let warned = format!("{FOLDER}/box-views-warning.toml");
    let (code, stdout, stderr) = check(&[&warned]);
    assert_eq!((code, &*stdout), (Some(0), "ok: 1 configuration\n"));
    assert!(
        stderr.starts_with("warning: nobody can publish `obz`") && stderr.ends_with("1 warning\n"),
        "{stderr}"
    );
}

#[test]
fn check_of_nothing_fails() {
    for nothing in ["no/such/file.toml", "tests/it", "/dev/null"] {
        let (code, stdout, stderr) = check(&[nothing]);
        assert_eq!((code, &*stdout), (Some(1), ""), "{nothing}");
        assert!(stderr.contains(&format!("--> {nothing}\n")) && stderr.contains("hint: "), "{stderr}");
    }
}

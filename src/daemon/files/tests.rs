//! Real folders, read.

use std::fs;
use std::path::{Path, PathBuf};

use super::read::{MAX_BYTES, kind_by_text};
use super::*;
use crate::config::Look;
use crate::config::parse::Override;

fn write(folder: &Path, path: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

fn report(sources: &Sources) -> String {
    sources.load(&[]).1.render(Look::PLAIN)
}

const PROFILE: &str =
    "[video]\ncodec = \"vp9\"\nsize = \"640x360\"\nframerate = \"30\"\nbitrate = \"1 Mbit/s\"\n";

#[test]
fn what_is_built_in_is_valid() {
    let (loaded, problems) = Sources::shipped().load(&[]);
    assert!(problems.is_empty(), "{}", problems.render(Look::PLAIN));
    let loaded = loaded.unwrap();
    assert_eq!(loaded.config, BoxConfig::default());
    assert!(loaded.profiles.contains_key("h264-x264-720p30"), "{:?}", loaded.profiles.keys());
    assert!(loaded.fragments.encoders.contains_key("x264"));
    assert!(loaded.fragments.sources.contains_key("test"));
}

#[test]
fn later_files_replace_earlier_ones_by_name() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "profiles/vp9-720p60.toml", PROFILE);
    write(folder.path(), "profiles/mine.toml", PROFILE);
    for left_over in
        ["profiles/.mine.toml", "profiles/mine.toml~", "profiles/mine.toml.dpkg-new", "profiles/README.md"]
    {
        write(folder.path(), left_over, "nonsense");
    }
    let shipped = Sources::shipped();
    let mut sources = shipped.clone();
    sources.overlay(folder.path());
    assert_eq!(sources.counted().profiles, shipped.counted().profiles + 1);
    let loaded =
        sources.load(&[Override::new("profile=mine")]).0.unwrap_or_else(|| panic!("{}", report(&sources)));
    assert_eq!(loaded.profiles["vp9-720p60"].video.bitrate.bits(), 1_000_000);
}

#[test]
fn names_across_files_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let config = write(folder.path(), "capcast.toml", "profile = \"vp9-720p6\"\n");
    write(folder.path(), "profiles/mine.toml", format!("{PROFILE}encoder = \"x264\"\n"));
    let report = report(&Sources::of_system(Some(&config)));
    assert!(report.contains("capcast.toml:1:11") && report.contains("did you mean `vp9-720p60`"), "{report}");
    assert!(report.contains("mine.toml:6:11") && report.contains("`x264` makes H.264, not VP9"), "{report}");
    assert!(report.ends_with("2 errors\n"), "{report}");
}

#[test]
fn what_cannot_be_read_is_said() {
    let folder = tempfile::tempdir().unwrap();
    for (path, bytes, words) in [
        ("profiles/large.toml", vec![b'#'; MAX_BYTES as usize + 1], "larger than 1 MiB"),
        ("profiles/latin.toml", b"# gut\nsummary = \"gr\xfc\xdfe\"\n".to_vec(), "latin.toml:2:14"),
        ("profiles/utf16.toml", b"\xff\xfes\0u\0".to_vec(), "utf16.toml:1:1"),
        ("profiles/bom.toml", b"\xef\xbb\xbf\xff".to_vec(), "bom.toml:1:1"),
        ("profiles/auto.toml", PROFILE.into(), "no profile can be called `auto`"),
        ("profiles/a b.toml", PROFILE.into(), "this file's name cannot be"),
        ("pipelines/mine.toml", PROFILE.into(), "no place in a configuration"),
    ] {
        let path = write(folder.path(), path, bytes);
        let mut sources = Sources::shipped();
        sources.overlay(folder.path());
        let (loaded, problems) = sources.load(&[]);
        let report = problems.render(Look::PLAIN);
        assert!(loaded.is_none() && report.contains(words), "{words}:\n{report}");
        assert!(report.contains(&path.display().to_string()) && report.ends_with("\n1 error\n"), "{report}");
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_named_configuration_must_be_there_and_be_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let absent = report(&Sources::of_system(Some(&folder.path().join("none.toml"))));
    assert!(absent.contains("there is no such file"), "{absent}");
    let not_a_file = report(&Sources::of_system(Some(folder.path())));
    assert!(not_a_file.contains("not a regular file"), "{not_a_file}");
}

#[test]
fn a_file_outside_a_tree_is_known_by_its_text() {
    let kind = |path: &str, text: &str| kind_by_text(Path::new(path), text);
    let shipped = |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let fragment = |kind| Some(FileKind::Fragment(kind, "x".to_owned()));
    assert_eq!(kind("x.toml", &shipped("pipelines/encoder/x264.toml")), fragment(FragmentKind::Encoder));
    assert_eq!(kind("x.toml", &shipped("pipelines/output/rtp-vp9.toml")), fragment(FragmentKind::Output));
    assert_eq!(kind("x.toml", &shipped("pipelines/source/v4l2.toml")), fragment(FragmentKind::Source));
    assert_eq!(kind("x.toml", &shipped("pipelines/source/test.toml")), fragment(FragmentKind::Source));
    assert_eq!(kind("x.toml", &shipped("pipelines/queues.toml")), Some(FileKind::Queues));
    assert_eq!(kind("x.toml", PROFILE), Some(FileKind::Profile("x".to_owned())));
    assert_eq!(kind("x.toml", "[capture]\n"), Some(FileKind::Box));
}

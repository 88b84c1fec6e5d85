//! One file: its text, and what it is.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::FileKind;
use crate::config::parse::top_level_keys;
use crate::config::{Complaint, Diagnostic, Source};
use crate::plan::FragmentKind;

/// The most that is read of one file.
pub(super) const MAX_BYTES: u64 = 1024 * 1024;

/// The folders of `pipelines/`.
pub(super) const KINDS: [(FragmentKind, &str); 3] =
    [(FragmentKind::Source, "source"), (FragmentKind::Encoder, "encoder"), (FragmentKind::Output, "output")];

/// Not editors' and package managers' left-overs (`.x.toml.swp`, `x.toml~`, `x.toml.dpkg-new`).
pub(super) fn is_toml(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    path.extension().is_some_and(|extension| extension == "toml") && !hidden
}

/// What a file in a configuration tree is, by its name and folder.
pub(super) fn kind_by_place(path: &Path) -> Option<FileKind> {
    let name = name_of(path)?;
    let mut folders = path.parent()?.components().rev().map(|part| part.as_os_str().to_string_lossy());
    let (folder, above) = (folders.next(), folders.next());
    let (folder, above) = (folder.as_deref().unwrap_or_default(), above.as_deref().unwrap_or_default());
    let kind = KINDS.iter().find(|(_, word)| *word == folder);
    match (kind, folder) {
        (Some((kind, _)), _) if above == "pipelines" => Some(FileKind::Fragment(*kind, name)),
        (_, "pipelines") if name == "queues" => Some(FileKind::Queues),
        (_, "profiles") if name != "auto" => Some(FileKind::Profile(name)),
        (_, "profiles" | "pipelines") => None,
        _ if name == "capcast" => Some(FileKind::Box),
        _ => None,
    }
}

/// What a file outside any configuration tree is, by its top-level keys.
pub(super) fn kind_by_text(path: &Path, text: &str) -> Option<FileKind> {
    let name = name_of(path)?;
    let keys = top_level_keys(text);
    let has = |words: &[&str]| keys.iter().any(|key| words.contains(&key.as_str()));
    Some(match () {
        () if has(&["element"]) && has(&["modes"]) => FileKind::Fragment(FragmentKind::Source, name),
        () if has(&["element"]) && has(&["control", "formats"]) => {
            FileKind::Fragment(FragmentKind::Encoder, name)
        }
        () if has(&["element"]) && has(&["codec"]) => FileKind::Fragment(FragmentKind::Output, name),
        () if has(&["element"]) => FileKind::Fragment(FragmentKind::Source, name),
        () if has(&["video-low", "video-mid", "video-high", "rtp"]) => FileKind::Queues,
        () if has(&["video"]) => FileKind::Profile(name),
        () => FileKind::Box,
    })
}

/// A file's name without `.toml`, where it can name a profile or fragment.
fn name_of(path: &Path) -> Option<String> {
    let name = path.file_stem()?.to_str()?;
    let fits = (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    fits.then(|| name.to_owned())
}

/// Why [`kind_by_place`] knows no kind for a file.
pub(super) fn misplaced(path: &Path) -> Complaint {
    let folder = path.parent().and_then(Path::file_name).is_some_and(|folder| folder == "profiles");
    match name_of(path) {
        None => Complaint::new("this file's name cannot be a profile's or fragment's")
            .hint("up to 64 letters, digits, `-`, `_` and `.`, then `.toml`"),
        Some(name) if folder && name == "auto" => Complaint::new("no profile can be called `auto`")
            .hint("`profile = \"auto\"` takes what runs here; give the file another name"),
        Some(_) => Complaint::new("this file has no place in a configuration")
            .hint("fragments stand in `pipelines/source/`, `pipelines/encoder/` or `pipelines/output/`"),
    }
}

pub(super) fn read_text(path: &Path) -> Result<Source, Box<Diagnostic>> {
    let name = path.display().to_string();
    let refuse = |complaint| Box::new(Diagnostic::whole_file(&Source::new(&*name, ""), complaint));
    let read = || -> io::Result<Option<Vec<u8>>> {
        // A pipe or device would be waited for.
        if !fs::metadata(path)?.is_file() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    };
    match read() {
        Ok(Some(bytes)) if bytes.len() as u64 > MAX_BYTES => {
            Err(refuse(Complaint::new("larger than 1 MiB").hint("is this a configuration file?")))
        }
        Ok(Some(bytes)) => text_of(&name, &bytes),
        Ok(None) => Err(refuse(Complaint::new("not a regular file").hint("name a `.toml` file"))),
        Err(error) => Err(refuse(unreadable(&error))),
    }
}

pub(super) fn unreadable(error: &io::Error) -> Complaint {
    match error.kind() {
        io::ErrorKind::NotFound => Complaint::new("there is no such file").hint("is the path right?"),
        io::ErrorKind::PermissionDenied => Complaint::new("it may not be read by this user")
            .hint("`ls -l` shows who may; the daemon runs as user `capcast`"),
        _ => Complaint::new(format!("it cannot be read: {error}")),
    }
}

pub(super) fn text_of(name: &str, bytes: &[u8]) -> Result<Source, Box<Diagnostic>> {
    let error = match std::str::from_utf8(bytes) {
        Ok(text) => return Ok(Source::new(name, text)),
        Err(error) => error,
    };
    // Up to the first bad byte the lossy text is the file's own.
    let source = Source::new(name, &String::from_utf8_lossy(bytes));
    let bom = bytes.len().min(3);
    let shift = if bytes[..bom] == *b"\xef\xbb\xbf" { 3 } else { 0 };
    let at = error.valid_up_to() - shift.min(error.valid_up_to());
    let complaint = Complaint::new("not UTF-8 text")
        .label(format!("byte 0x{:02x}", bytes[error.valid_up_to()]))
        .hint("save it as UTF-8");
    Err(Box::new(Diagnostic::error(&source, at..at + char::REPLACEMENT_CHARACTER.len_utf8(), complaint)))
}

//! The configuration tree on disk: which files there are, which replace which, and what they say together.

mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::AddAssign;
use std::path::{Path, PathBuf};

use crate::config::parse::Override;
use crate::config::{
    BoxConfig, Complaint, Diagnostic, Diagnostics, KnownEncoders, KnownProfiles, Profile, Severity, Source,
    parse_box_with, parse_profile_among,
};
use crate::plan::{FragmentKind, Fragments, Queues, parse_fragment, parse_queues};
use read::{KINDS, is_toml, kind_by_place, kind_by_text, misplaced, read_text, text_of, unreadable};

/// Read when no other file is named; may be absent.
pub const DEFAULT_CONFIG: &str = "/etc/capcast/capcast.toml";

/// Folders whose `profiles` and `pipelines` are laid over the built-in ones, later over earlier.
const SYSTEM_FOLDERS: [&str; 2] = ["/usr/share/capcast", "/etc/capcast"];

/// The most files that are read of one folder.
const MAX_FILES: usize = 1000;

#[derive(rust_embed::Embed)]
#[folder = "$CARGO_MANIFEST_DIR/profiles"]
struct ShippedProfiles;

#[derive(rust_embed::Embed)]
#[folder = "$CARGO_MANIFEST_DIR/pipelines"]
struct ShippedPipelines;

/// What one configuration file is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// `capcast.toml`
    Box,
    /// `profiles/NAME.toml`
    Profile(String),
    /// `pipelines/KIND/NAME.toml`
    Fragment(FragmentKind, String),
    /// `pipelines/queues.toml`
    Queues,
}

/// Everything that configures a box, typed.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// `capcast.toml`
    pub config: BoxConfig,
    /// By name.
    pub profiles: BTreeMap<String, Profile>,
    /// By folder and name.
    pub fragments: Fragments,
    /// The queue sizes.
    pub queues: Queues,
}

/// How many files of each kind were looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// `capcast.toml`
    pub configurations: usize,
    /// `profiles/*.toml`
    pub profiles: usize,
    /// `pipelines/*/*.toml`
    pub fragments: usize,
    /// `queues.toml`
    pub queues: usize,
}

impl AddAssign for Counted {
    fn add_assign(&mut self, other: Counted) {
        self.configurations += other.configurations;
        self.profiles += other.profiles;
        self.fragments += other.fragments;
        self.queues += other.queues;
    }
}

/// The texts of a configuration tree, and what was wrong with reading them.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: BTreeMap<FileKind, Source>,
    problems: Diagnostics,
}

impl Sources {
    /// What is built into the program, and nothing from disk.
    pub fn shipped() -> Sources {
        let mut sources = Sources::default();
        let mut add = |kind: Option<FileKind>, path: String, bytes: &[u8]| {
            let name = format!("<built-in>/{path}");
            match (kind, text_of(&name, bytes)) {
                (Some(kind), Ok(source)) => drop(sources.files.insert(kind, source)),
                (Some(_), Err(diagnostic)) => sources.problems.push(*diagnostic),
                (None, _) => sources.refuse(&name, misplaced(Path::new(&path))),
            }
        };
        for path in ShippedProfiles::iter().filter(|path| is_toml(Path::new(&**path))) {
            if let Some(file) = ShippedProfiles::get(&path) {
                let path = format!("profiles/{path}");
                add(kind_by_place(Path::new(&path)), path, &file.data);
            }
        }
        for path in ShippedPipelines::iter().filter(|path| is_toml(Path::new(&**path))) {
            if let Some(file) = ShippedPipelines::get(&path) {
                let path = format!("pipelines/{path}");
                add(kind_by_place(Path::new(&path)), path, &file.data);
            }
        }
        sources
    }

    /// This machine's: built-in files, those under `/usr/share/capcast` and `/etc/capcast`, and `config` with the
    /// folders beside it. Without `config`, [`DEFAULT_CONFIG`] is read if it is there.
    pub fn of_system(config: Option<&Path>) -> Sources {
        let mut sources = Sources::shipped();
        for folder in SYSTEM_FOLDERS {
            sources.overlay(Path::new(folder));
        }
        match config {
            None if !Path::new(DEFAULT_CONFIG).exists() => {}
            None => sources.read(FileKind::Box, Path::new(DEFAULT_CONFIG)),
            Some(config) => {
                let beside = config.parent().filter(|parent| !parent.as_os_str().is_empty());
                let beside = beside.unwrap_or(Path::new("."));
                if !SYSTEM_FOLDERS.iter().any(|folder| Path::new(folder) == beside) {
                    sources.overlay(beside);
                }
                sources.read(FileKind::Box, config);
            }
        }
        sources
    }

    /// Lays `FOLDER/profiles` and `FOLDER/pipelines` over what is there; either may be absent.
    pub fn overlay(&mut self, folder: &Path) {
        self.overlay_folder(&folder.join("profiles"));
        self.overlay_pipelines(&folder.join("pipelines"));
    }

    fn overlay_pipelines(&mut self, pipelines: &Path) {
        self.overlay_folder(pipelines);
        for kind in KINDS.map(|(_, word)| word) {
            self.overlay_folder(&pipelines.join(kind));
        }
    }

    /// Reads one file as what it is said to be, in place of one of the same kind and name.
    pub fn read(&mut self, kind: FileKind, path: &Path) {
        match read_text(path) {
            Ok(source) => drop(self.files.insert(kind, source)),
            Err(diagnostic) => self.problems.push(*diagnostic),
        }
    }

    /// Reads one file whose kind shows in its place or else in its text.
    pub fn read_any(&mut self, path: &Path) {
        let source = match read_text(path) {
            Ok(source) => source,
            Err(diagnostic) => return self.problems.push(*diagnostic),
        };
        let whole = fs::canonicalize(path);
        match kind_by_place(whole.as_deref().unwrap_or(path)).or_else(|| kind_by_text(path, source.text())) {
            Some(kind) => drop(self.files.insert(kind, source)),
            None => self.refuse(source.name(), misplaced(path)),
        }
    }

    /// Reads a folder's `capcast.toml`, `profiles` and `pipelines`, one of which must be there; or such a folder itself.
    pub fn read_folder(&mut self, folder: &Path) {
        let before = (self.files.len(), self.problems.count(Severity::Error));
        let config = folder.join("capcast.toml");
        if config.exists() {
            self.read(FileKind::Box, &config);
        }
        self.overlay(folder);
        let own = fs::canonicalize(folder).unwrap_or_default();
        match own.file_name().map(|name| name.to_string_lossy()).as_deref() {
            Some("profiles") => self.overlay_folder(&own),
            Some("pipelines") => self.overlay_pipelines(&own),
            _ => {}
        }
        if before == (self.files.len(), self.problems.count(Severity::Error)) {
            let complaint = Complaint::new("this folder holds no configuration")
                .hint("expected `capcast.toml`, `profiles/` or `pipelines/` in it");
            self.refuse(&folder.display().to_string(), complaint);
        }
    }

    /// Takes over the files of `other`, in place of those of the same kind and name.
    pub fn extend(&mut self, other: &Sources) {
        self.files.extend(other.files.clone());
    }

    /// How many files there are of each kind.
    pub fn counted(&self) -> Counted {
        let mut counted = Counted::default();
        for kind in self.files.keys() {
            match kind {
                FileKind::Box => counted.configurations += 1,
                FileKind::Profile(_) => counted.profiles += 1,
                FileKind::Fragment(..) => counted.fragments += 1,
                FileKind::Queues => counted.queues += 1,
            }
        }
        counted
    }

    /// Everything, with `overrides` laid over `capcast.toml`; nothing if anything is wrong anywhere, and all that is.
    pub fn load(&self, overrides: &[Override]) -> (Option<Loaded>, Diagnostics) {
        self.load_among(&Sources::default(), overrides)
    }

    /// Every problem of these files; names they mention may also be in `others`.
    pub fn check_among(&self, others: &Sources) -> Diagnostics {
        self.load_among(others, &[]).1
    }

    fn load_among(&self, others: &Sources, overrides: &[Override]) -> (Option<Loaded>, Diagnostics) {
        let mut fragments = Fragments::default();
        let mut encoders = KnownEncoders::new();
        let mut fragment_problems = Diagnostics::default();
        let mut queues = None;
        for (kind, source, own) in others.each(false).chain(self.each(true)) {
            let problems = match kind {
                FileKind::Fragment(kind, name) => {
                    let (fragment, problems) = parse_fragment(*kind, name, source.clone());
                    if *kind == FragmentKind::Encoder {
                        encoders.insert(name.clone(), fragment.as_ref().and_then(|fragment| fragment.codec));
                    }
                    if let Some(fragment) = fragment {
                        let folder = match kind {
                            FragmentKind::Source => &mut fragments.sources,
                            FragmentKind::Encoder => &mut fragments.encoders,
                            FragmentKind::Output => &mut fragments.outputs,
                        };
                        folder.insert(name.clone(), fragment);
                    }
                    problems
                }
                FileKind::Queues => {
                    let (parsed, problems) = parse_queues(source.clone());
                    queues = parsed;
                    problems
                }
                FileKind::Box | FileKind::Profile(_) => continue,
            };
            if own {
                fragment_problems.append(problems);
            }
        }
        let mut profiles = BTreeMap::new();
        let mut known = KnownProfiles::new();
        let mut profile_problems = Diagnostics::default();
        for (kind, source, own) in others.each(false).chain(self.each(true)) {
            let FileKind::Profile(name) = kind else { continue };
            let (profile, problems) = parse_profile_among(name, source.clone(), Some(&encoders));
            known.insert(name.clone(), profile.as_ref().map(|profile| profile.video.codec));
            if own {
                profile_problems.append(problems);
                profiles.extend(profile.map(|profile| (name.clone(), profile)));
            }
        }
        let text = self.files.get(&FileKind::Box).cloned();
        let text = text.unwrap_or_else(|| Source::new(DEFAULT_CONFIG, ""));
        let (config, mut problems) = parse_box_with(text, overrides, Some(&known));
        for more in [profile_problems, fragment_problems, self.problems.clone()] {
            problems.append(more);
        }
        let loaded = config.zip(queues).filter(|_| !problems.has_errors()).map(|(config, queues)| Loaded {
            config,
            profiles,
            fragments,
            queues,
        });
        (loaded, problems)
    }

    fn each(&self, own: bool) -> impl Iterator<Item = (&FileKind, &Source, bool)> {
        self.files.iter().map(move |(kind, source)| (kind, source, own))
    }

    /// Every `.toml` file directly in `folder`, which may be absent.
    fn overlay_folder(&mut self, folder: &Path) {
        let shown = folder.display().to_string();
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.refuse(&shown, unreadable(&error)),
        };
        let mut paths: Vec<PathBuf> =
            entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| is_toml(path)).collect();
        paths.sort();
        if paths.len() > MAX_FILES {
            let complaint = Complaint::new(format!("{} files in one folder", paths.len()))
                .hint(format!("at most {MAX_FILES} are read"));
            return self.refuse(&shown, complaint);
        }
        for path in paths {
            match kind_by_place(&path) {
                Some(kind) => self.read(kind, &path),
                None => self.refuse(&path.display().to_string(), misplaced(&path)),
            }
        }
    }

    fn refuse(&mut self, name: &str, complaint: Complaint) {
        self.problems.push(Diagnostic::whole_file(&Source::new(name, ""), complaint));
    }
}

//! A recording's files, for whoever wants to see or fetch them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::names::Names;

/// Where a recording's files are.
pub struct Shelf {
    names: Names,
}

/// One of its files; it may still grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shelved {
    /// Without the folder.
    pub name: String,
    /// Its length now.
    pub bytes: u64,
    /// When it was last written.
    pub written: SystemTime,
}

impl Shelf {
    /// Of the recording of `stream` with this `path`.
    pub fn new(path: &str, stream: &str) -> Shelf {
        Shelf { names: Names::new(path, stream) }
    }

    /// All files that this recording's path makes, the newest first.
    pub fn files(&self) -> Vec<Shelved> {
        let Ok(entries) = fs::read_dir(self.names.folder()) else { return Vec::new() };
        let mut files: Vec<_> = entries.flatten().filter_map(|entry| self.shelved(&entry.path())).collect();
        files.sort_by(|one, other| other.written.cmp(&one.written).then_with(|| other.name.cmp(&one.name)));
        files
    }

    /// The file of this name, if it is one of this recording's.
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        // First, because nothing but a plain name is one of ours.
        let path = self.names.is_ours(name).then(|| self.names.folder().join(name))?;
        self.shelved(&path).map(|_| path)
    }

    fn shelved(&self, path: &Path) -> Option<Shelved> {
        let name = path.file_name()?.to_str().filter(|name| self.names.is_ours(name))?.to_owned();
        // A link could lead anywhere.
        let about = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?;
        Some(Shelved { name, bytes: about.len(), written: about.modified().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shelf_holds_its_own_files_and_leads_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: usize| fs::write(folder.path().join(name), vec![0; bytes]).unwrap();
        write("live-2026-03-29_02-30-00.mkv", 3);
        write("live-2026-03-29_02-30-00-2.mkv", 5);
        write("other-2026-03-29_02-30-00.mkv", 7);
        write("live.mkv", 1);
        let link = folder.path().join("live-2026-03-29_02-30-01.mkv");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        fs::create_dir(folder.path().join("live-2026-03-29_02-30-02.mkv")).unwrap();
        let shelf = Shelf::new(&format!("{}/{{stream}}-{{time}}.mkv", folder.path().display()), "live");
        let found: Vec<_> = shelf.files().into_iter().map(|file| (file.name, file.bytes)).collect();
        let expected = [
            ("live-2026-03-29_02-30-00.mkv".to_owned(), 3),
            ("live-2026-03-29_02-30-00-2.mkv".to_owned(), 5),
        ];
        assert!(found.len() == 2 && expected.iter().all(|one| found.contains(one)), "{found:?}");
        assert_eq!(shelf.find(&expected[0].0), Some(folder.path().join(&expected[0].0)));
        for name in [
            "live-2026-03-29_02-30-01.mkv",
            "live-2026-03-29_02-30-02.mkv",
            "live-2026-03-29_02-30-03.mkv",
            "other-2026-03-29_02-30-00.mkv",
            "../live-2026-03-29_02-30-00.mkv",
            "/etc/passwd",
            "",
        ] {
            assert_eq!(shelf.find(name), None, "{name}");
        }
        assert!(Shelf::new("/nowhere/at/all/{time}.mkv", "live").files().is_empty());
    }
}

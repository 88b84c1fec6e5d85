//! Names of recordings: how they are made, which files are an output's own, and which of those go.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How `{time}` is filled in, with the host's own time: `2026-03-29_02-30-00`.
pub(super) const TIME: &str = "%Y-%m-%d_%H-%M-%S";

/// The configured path with the stream's name in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    folder: PathBuf,
    /// What stands before and after `{time}`; without it, the second is none.
    before: String,
    after: Option<String>,
}

/// A finished recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finished {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    /// When it was last written.
    pub(super) written: SystemTime,
}

impl Names {
    /// `path` ends in `.mkv` and has no `{…}` in a folder's name.
    pub(super) fn new(path: &str, stream: &str) -> Names {
        let path = Path::new(path);
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().replace("{stream}", stream);
        match name.split_once("{time}") {
            Some((before, after)) => {
                Names { folder, before: before.to_owned(), after: Some(after.replace("{time}", "")) }
            }
            None => Names { folder, before: name, after: None },
        }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file that is not there yet. `time` is now, written as [`TIME`].
    pub(super) fn fresh(&self, time: &str, exists: impl Fn(&Path) -> bool) -> PathBuf {
        let name = match &self.after {
            Some(after) => format!("{}{time}{after}", self.before),
            None => self.before.clone(),
        };
        let first = self.folder.join(format!("{name}.mkv"));
        if !exists(&first) {
            return first;
        }
        let numbered = (2_u32..).map(|number| self.folder.join(format!("{name}-{number}.mkv")));
        numbered.into_iter().find(|path| !exists(path)).unwrap_or(first)
    }

    /// Whether a file's name is one that [`fresh`](Names::fresh) makes. Nobody else's file is ever touched.
    pub(super) fn is_ours(&self, name: &str) -> bool {
        let Some(rest) = name.strip_suffix(".mkv").and_then(|name| name.strip_prefix(&self.before)) else {
            return false;
        };
        let number = |rest: &str| {
            let digits = rest.strip_prefix('-').unwrap_or_default();
            rest.is_empty() || (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let Some(after) = &self.after else { return number(rest) };
        let Some((time, rest)) = rest.split_at_checked("2026-03-29_02-30-00".len()) else { return false };
        let shape = time.bytes().zip("dddd-dd-dd_dd-dd-dd".bytes());
        let is_time = shape.into_iter().all(|(byte, as_)| byte.is_ascii_digit() == (as_ == b'd'));
        let separators = time.bytes().filter(|byte| !byte.is_ascii_digit()).eq(*b"--_--");
        is_time && separators && rest.strip_prefix(after.as_str()).is_some_and(number)
    }
}

/// Which of `finished` go: those older than `keep`, and the oldest until all of them and `growing` bytes fit `most`.
pub(super) fn surplus(
    mut finished: Vec<Finished>,
    growing: u64,
    (keep, most): (Option<Duration>, Option<u64>),
    now: SystemTime,
) -> Vec<PathBuf> {
    finished.sort_by_key(|file| file.written);
    let mut total = growing + finished.iter().map(|file| file.bytes).sum::<u64>();
    let mut gone = Vec::new();
    for file in finished {
        let age = now.duration_since(file.written).unwrap_or_default();
        let old = keep.is_some_and(|keep| age > keep);
        if old || most.is_some_and(|most| total > most) {
            total -= file.bytes;
            gone.push(file.path);
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-03-29_02-30-00";

    #[test]
    fn files_get_names_of_their_own() {
        let names = Names::new("/srv/{stream}-{time}.mkv", "live");
        assert_eq!(names.fresh(NOW, |_| false), Path::new("/srv/live-2026-03-29_02-30-00.mkv"));
        let taken = |path: &Path| !path.to_string_lossy().ends_with("-3.mkv");
        assert_eq!(names.fresh(NOW, taken), Path::new("/srv/live-2026-03-29_02-30-00-3.mkv"));
        let fixed = Names::new("/srv/show.mkv", "live");
        assert_eq!(fixed.fresh(NOW, |path| path.ends_with("show.mkv")), Path::new("/srv/show-2.mkv"));
    }

    #[test]
    fn nobody_elses_file_is_ours() {
        let names = Names::new("/srv/{stream}-{time}-a.mkv", "live");
        for ours in ["live-2026-03-29_02-30-00-a.mkv", "live-2026-03-29_02-30-00-a-12.mkv"] {
            assert!(names.is_ours(ours), "{ours}");
        }
        for other in [
            "live-2026-03-29_02-30-00.mkv",
            "live-2026-03-29_02-30-00-a.mp4",
            "live-2026-03-29 02-30-00-a.mkv",
            "live-2026-03-29_02-30-0x-a.mkv",
            "live-2026-03-29_02-30-00-a-.mkv",
            "live-2026-03-29_02-30-00-a-x.mkv",
            "my-live-2026-03-29_02-30-00-a.mkv",
            "live-holiday.mkv",
            "live-ä2026-03-29_02-30-00.mkv",
            "live-.mkv",
        ] {
            assert!(!names.is_ours(other), "{other}");
        }
        let fixed = Names::new("/srv/show.mkv", "live");
        assert!(fixed.is_ours("show.mkv") && fixed.is_ours("show-2.mkv") && !fixed.is_ours("showdown.mkv"));
    }

    #[test]
    fn the_oldest_go_first_and_no_more_than_must() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100_000);
        let file = |name: &str, bytes, age| Finished {
            path: PathBuf::from(name),
            bytes,
            written: now - Duration::from_secs(age),
        };
        let files = || vec![file("b", 50, 200), file("a", 40, 300), file("c", 60, 100)];
        let gone = |growing, keep, most| {
            let gone = surplus(files(), growing, (keep, most), now);
            gone.iter().map(|path| path.display().to_string()).collect::<String>()
        };
        assert_eq!(gone(1_000, None, None), "");
        assert_eq!(gone(0, None, Some(150)), "");
        assert_eq!(gone(1, None, Some(150)), "a");
        assert_eq!(gone(40, None, Some(150)), "a");
        assert_eq!(gone(41, None, Some(150)), "ab");
        assert_eq!(gone(1_000, None, Some(150)), "abc", "what grows is never touched");
        assert_eq!(gone(0, Some(Duration::from_secs(250)), None), "a");
        assert_eq!(gone(0, Some(Duration::from_secs(250)), Some(100)), "ab");
        // A file from the future is new.
        assert_eq!(
            surplus(vec![file("f", 1, 0)], 0, (Some(Duration::ZERO), None), now - Duration::from_secs(9))
                .len(),
            0
        );
    }
}

//! Verdicts on disk, so that a start does not try encoders anew.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::libraries;
use super::run::Outcome;
use crate::plan::Verdict;

/// Changes with the file's format: another one is not read.
const FORMAT: u64 = 2;

/// Longer than any such file.
const LONGEST: u64 = 1024 * 1024;

/// Encoders that are remembered; with more in it, it is not a file of ours.
const MOST: usize = 1000;

/// How long a failure is remembered: its cause may be gone by then, such as a driver that was not loaded yet.
const FAILURE_HOLDS: u64 = 3600;

/// What is remembered, and where.
#[derive(Debug, Default)]
pub struct Cache {
    file: Option<PathBuf>,
    entries: BTreeMap<String, Entry>,
    trouble: Option<String>,
}

#[derive(Clone, Debug)]
struct Entry {
    key: String,
    verdict: Verdict,
    /// The libraries it worked with, each as it was then.
    libraries: BTreeMap<String, String>,
    /// Seconds since 1970.
    at: u64,
}

impl Cache {
    /// The file in `$CACHE_DIRECTORY` (systemd sets it), `$XDG_CACHE_HOME/capcast` or `~/.cache/capcast`. Without such a
    /// place nothing is remembered.
    pub fn of_system() -> Cache {
        let set = |name: &str| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
        let own = set("CACHE_DIRECTORY").and_then(|all| std::env::split_paths(&all).next());
        let home =
            || set("XDG_CACHE_HOME").map(PathBuf::from).or(Some(PathBuf::from(set("HOME")?).join(".cache")));
        let folder = own.or_else(|| Some(home()?.join("capcast")));
        folder.map_or_else(Cache::default, |folder| Cache::read(folder.join("encoders.json")))
    }

    /// From a file, which may be absent. A broken one is as good as none, and [`Cache::trouble`] tells.
    pub fn read(file: PathBuf) -> Cache {
        let (entries, trouble) = match entries(&file) {
            Ok(entries) => (entries, None),
            Err(reason) => (
                BTreeMap::new(),
                Some(format!(
                    "what was remembered of encoders in `{}` is not used: {reason}",
                    file.display()
                )),
            ),
        };
        Cache { file: Some(file), entries, trouble }
    }

    /// What was wrong with the file, in words.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    pub(super) fn get(&self, encoder: &str, key: &str, now: u64) -> Option<Verdict> {
        let entry = self.entries.get(encoder).filter(|entry| entry.key == key)?;
        if entry.libraries.iter().any(|(path, stamp)| libraries::stamp(path) != *stamp) {
            return None;
        }
        // A clock that was set back makes nothing older than it is.
        let old = now.checked_sub(entry.at).is_none_or(|age| age >= FAILURE_HOLDS);
        match &entry.verdict {
            Verdict::Fails(_) if old => None,
            verdict => Some(verdict.clone()),
        }
    }

    pub(super) fn put(&mut self, encoder: &str, key: String, outcome: &Outcome, at: u64) {
        let libraries = libraries::stamped(outcome.libraries.iter().cloned());
        self.entries
            .insert(encoder.to_owned(), Entry { key, verdict: outcome.verdict.clone(), libraries, at });
    }

    /// Written whole or not at all. Where it cannot be written, encoders are tried again next time, and that is all.
    pub(super) fn save(&self) {
        let Some(file) = &self.file else { return };
        if let Err(error) = write(file, &self.json()) {
            tracing::debug!("verdicts on encoders cannot be kept in `{}`: {error}", file.display());
        }
    }

    fn json(&self) -> Json {
        let entry = |(name, entry): (&String, &Entry)| {
            let mut json = json!({ "key": entry.key, "at": entry.at });
            match &entry.verdict {
                Verdict::Runs { frames, took } => {
                    json["frames"] = (*frames).into();
                    json["took_us"] = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).into();
                }
                Verdict::Fails(reason) => json["fails"] = reason.as_str().into(),
            }
            if !entry.libraries.is_empty() {
                json["libraries"] = entry.libraries.clone().into_iter().collect::<Json>();
            }
            (name.clone(), json)
        };
        let entries: serde_json::Map<String, Json> = self.entries.iter().map(entry).collect();
        json!({ "format": FORMAT, "encoders": entries })
    }
}

fn entries(file: &Path) -> Result<BTreeMap<String, Entry>, String> {
    let mut text = String::new();
    let read = File::open(file).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.to_string()),
    }
    let json: Json = serde_json::from_str(&text).map_err(|error| format!("it is no JSON: {error}"))?;
    match json["format"].as_u64() {
        Some(FORMAT) => {}
        // An older Capcast's, which judged by less.
        Some(1..FORMAT) => return Ok(BTreeMap::new()),
        Some(other) => return Err(format!("its format is {other}, not {FORMAT}")),
        None => return Err("it says no format".to_owned()),
    }
    let encoders = json["encoders"].as_object().filter(|all| all.len() <= MOST);
    let encoders = encoders.ok_or("it lists no encoders")?;
    let entry = |(name, json): (&String, &Json)| Some((name.clone(), entry(json)?));
    let entries: Option<_> = encoders.iter().map(entry).collect();
    entries.ok_or_else(|| "an entry in it is incomplete".to_owned())
}

fn entry(json: &Json) -> Option<Entry> {
    let verdict = match json["fails"].as_str() {
        Some(reason) => Verdict::Fails(reason.to_owned()),
        None => Verdict::Runs {
            frames: u32::try_from(json["frames"].as_u64()?).ok()?,
            took: Duration::from_micros(json["took_us"].as_u64()?),
        },
    };
    let library = |(path, stamp): (&String, &Json)| Some((path.clone(), stamp.as_str()?.to_owned()));
    let libraries =
        json["libraries"].as_object().into_iter().flatten().map(library).collect::<Option<_>>()?;
    Some(Entry { key: json["key"].as_str()?.to_owned(), verdict, libraries, at: json["at"].as_u64()? })
}

fn write(file: &Path, json: &Json) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let unfinished = folder.join(format!(".encoders.{}", std::process::id()));
    let written = File::create(&unfinished)
        .and_then(|mut to| to.write_all(format!("{json:#}\n").as_bytes()))
        .and_then(|()| fs::rename(&unfinished, file));
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs() -> Verdict {
        Verdict::Runs { frames: 30, took: Duration::from_millis(40) }
    }

    #[test]
    fn a_verdict_does_not_outlive_a_library_it_was_made_with() {
        let folder = tempfile::tempdir().unwrap();
        let [file, library] = ["encoders.json", "libcodec.so.1"].map(|name| folder.path().join(name));
        fs::write(&library, "one").unwrap();
        let mut cache = Cache::read(file.clone());
        let libraries = vec![library.to_str().unwrap().to_owned()];
        cache.put("x264", "k".to_owned(), &Outcome { verdict: runs(), libraries }, 1);
        cache.save();
        let cache = Cache::read(file);
        assert_eq!(cache.get("x264", "k", 2), Some(runs()));
        fs::write(&library, "upgraded").unwrap();
        assert_eq!(cache.get("x264", "k", 2), None, "{cache:?}");
    }

    #[test]
    fn a_verdict_is_found_again_until_what_it_depends_on_changes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deep/encoders.json");
        let mut cache = Cache::read(file.clone());
        assert!(cache.trouble().is_none(), "{cache:?}");
        cache.put("x264", "k".to_owned(), &runs().into(), 1000);
        cache.put("nvenc", "k".to_owned(), &Verdict::Fails("no card".to_owned()).into(), 1000);
        cache.save();

        let again = Cache::read(file);
        assert!(again.trouble().is_none(), "{again:?}");
        assert_eq!(again.get("x264", "k", u64::MAX), Some(runs()));
        assert_eq!(again.get("x264", "other", 1001), None);
        assert_eq!(again.get("vp8", "k", 1001), None);
        assert_eq!(again.get("nvenc", "k", 1001), Some(Verdict::Fails("no card".to_owned())));
        assert_eq!(again.get("nvenc", "k", 1000 + FAILURE_HOLDS), None, "its cause may be gone");
        assert_eq!(again.get("nvenc", "k", 999), None, "the clock was set back");
        assert_eq!(fs::read_dir(folder.path().join("deep")).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn a_broken_file_is_as_good_as_none_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("encoders.json");
        for (text, words) in [
            ("", "no JSON"),
            ("{\"format\": 2, \"encod", "no JSON"),
            ("[]", "no format"),
            ("{\"format\": 7, \"encoders\": {}}", "its format is 7"),
            ("{\"format\": 2}", "lists no encoders"),
            ("{\"format\": 2, \"encoders\": {\"x264\": {\"key\": 3}}}", "incomplete"),
        ] {
            fs::write(&file, text).unwrap();
            let cache = Cache::read(file.clone());
            let trouble = cache.trouble().unwrap_or_else(|| panic!("{text:?} was taken"));
            assert!(trouble.contains(words) && trouble.contains("encoders.json"), "{text:?}: {trouble}");
            assert_eq!(cache.get("x264", "k", 0), None);
        }
        fs::write(&file, "{\"format\": 1, \"encoders\": 3}").unwrap();
        assert_eq!(Cache::read(file.clone()).trouble(), None, "an older Capcast's is no trouble");
        let mut cache = Cache::read(file.clone());
        cache.put("x264", "k".to_owned(), &runs().into(), 1);
        cache.save();
        assert_eq!(Cache::read(file).get("x264", "k", 2), Some(runs()), "the next save mends it");
    }
}

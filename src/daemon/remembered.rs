//! The profile that was switched to, kept over restarts of the daemon until the configured one changes.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Options;
use crate::config::ProfileChoice;

/// Where a system's daemon keeps its state, unless systemd says otherwise.
const SYSTEM: &str = "/var/lib/capcast";

/// The longest file that is read.
const MOST: u64 = 64 * 1024;

/// The file, and which configuration it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remembered {
    file: PathBuf,
    /// The configuration's own file; a user may have several.
    config: String,
}

impl Remembered {
    /// In `$STATE_DIRECTORY` (systemd), `/var/lib/capcast`, or a user's own state folder. None for a demo, which keeps
    /// nothing, and where there is no place.
    pub(super) fn of(options: &Options) -> Option<Remembered> {
        if options.demo {
            return None;
        }
        let set = |name: &str| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
        let system = || {
            let writable = nix::unistd::access(SYSTEM, nix::unistd::AccessFlags::W_OK).is_ok();
            (writable || nix::unistd::geteuid().is_root()).then(|| PathBuf::from(SYSTEM))
        };
        let given = set("STATE_DIRECTORY").and_then(|folders| std::env::split_paths(&folders).next());
        let folder = given
            .or_else(system)
            .or_else(|| set("XDG_STATE_HOME").map(|home| PathBuf::from(home).join("capcast")))
            .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".local/state/capcast")))?;
        let config = options.config.as_deref().unwrap_or(Path::new(super::files::DEFAULT_CONFIG));
        let config = fs::canonicalize(config).unwrap_or_else(|_| config.to_owned());
        Some(Remembered { file: folder.join("switched.json"), config: config.display().to_string() })
    }

    /// The profile that was switched to while `configured` was configured as it is.
    pub(super) fn profile(&self, configured: &ProfileChoice) -> Option<String> {
        let length = fs::metadata(&self.file).ok()?.len();
        let text = (length <= MOST).then(|| fs::read_to_string(&self.file).ok())??;
        let known: Value = serde_json::from_str(&text).ok()?;
        let ours = known["config"] == self.config.as_str() && known["configured"] == word(configured);
        known["profile"].as_str().filter(|_| ours).map(str::to_owned)
    }

    /// Keeps `profile` while `configured` stays as it is.
    ///
    /// # Errors
    /// When the file cannot be written; what it said before is still there then.
    pub(super) fn remember(&self, configured: &ProfileChoice, profile: &str) -> io::Result<()> {
        let text = json!({ "config": self.config, "configured": word(configured), "profile": profile });
        if let Some(folder) = self.file.parent() {
            fs::create_dir_all(folder)?;
        }
        let fresh = self.file.with_extension("new");
        fs::write(&fresh, format!("{text}\n"))?;
        fs::rename(&fresh, &self.file)
    }
}

/// As `capcast.toml` says it.
fn word(choice: &ProfileChoice) -> &str {
    match choice {
        ProfileChoice::Auto => "auto",
        ProfileChoice::Named(name) => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lasts_until_the_configured_profile_changes_and_for_one_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deeper/switched.json");
        let at = |config: &str| Remembered { file: file.clone(), config: config.to_owned() };
        let named = |name: &str| ProfileChoice::Named(name.to_owned());
        let ours = at("/etc/capcast/capcast.toml");
        assert_eq!(ours.profile(&ProfileChoice::Auto), None);
        ours.remember(&ProfileChoice::Auto, "vp8-720p30").unwrap();
        assert_eq!(ours.profile(&ProfileChoice::Auto).as_deref(), Some("vp8-720p30"));
        assert_eq!(ours.profile(&named("vp9-720p60")), None, "configured anew");
        assert_eq!(at("/home/me/own.toml").profile(&ProfileChoice::Auto), None, "another box");
        ours.remember(&named("vp9-720p60"), "auto").unwrap();
        assert_eq!(ours.profile(&named("vp9-720p60")).as_deref(), Some("auto"));
        for broken in ["", "[1]", "{\"profile\": 3}", &"x".repeat(100_000)] {
            fs::write(&file, broken).unwrap();
            assert_eq!(ours.profile(&ProfileChoice::Auto), None);
        }
    }
}

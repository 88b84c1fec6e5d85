//! Where the daemon's Unix socket is, for the daemon that makes it and the command line that looks for it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A system's daemon.
const SYSTEM: &str = "/run/capcast/capcast.sock";

/// What decides on the path; read once, from the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketPlaces {
    /// `CAPCAST_SOCKET`: this one and no other.
    chosen: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR/capcast/capcast.sock`: a user's own daemon.
    own: Option<PathBuf>,
    root: bool,
}

impl SocketPlaces {
    /// From `CAPCAST_SOCKET`, `XDG_RUNTIME_DIR` and who runs this.
    pub fn from_environment() -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
        SocketPlaces {
            chosen: set("CAPCAST_SOCKET").map(PathBuf::from),
            own: set("XDG_RUNTIME_DIR").map(|directory| Path::new(&directory).join("capcast/capcast.sock")),
            root: nix::unistd::geteuid().is_root(),
        }
    }

    /// Where a daemon makes its socket; none when there is no place that this user could write to.
    pub fn to_listen(&self) -> Option<PathBuf> {
        let system = Path::new(SYSTEM);
        let writable = || {
            system.parent().is_some_and(|directory| {
                nix::unistd::access(directory, nix::unistd::AccessFlags::W_OK).is_ok()
            })
        };
        match &self.chosen {
            Some(chosen) => Some(chosen.clone()),
            None if self.root || writable() => Some(system.to_owned()),
            None => self.own.clone(),
        }
    }

    /// Where the command line looks for a daemon, in this order.
    pub fn to_connect(&self) -> Vec<PathBuf> {
        match &self.chosen {
            Some(chosen) => vec![chosen.clone()],
            None => self.own.iter().cloned().chain([PathBuf::from(SYSTEM)]).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_place_is_the_only_one_and_a_users_own_comes_before_the_systems() {
        let own = Some(PathBuf::from("/run/user/1000/capcast/capcast.sock"));
        let chosen = SocketPlaces { chosen: Some("/tmp/x.sock".into()), own: own.clone(), root: true };
        assert_eq!(chosen.to_listen(), Some("/tmp/x.sock".into()));
        assert_eq!(chosen.to_connect(), [PathBuf::from("/tmp/x.sock")]);
        let user = SocketPlaces { chosen: None, own, root: false };
        assert_eq!(user.to_connect(), ["/run/user/1000/capcast/capcast.sock", SYSTEM].map(PathBuf::from));
        let root = SocketPlaces { chosen: None, own: None, root: true };
        assert_eq!(root.to_listen(), Some(SYSTEM.into()));
    }
}

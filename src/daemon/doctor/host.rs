//! The clock, the folders that the daemon writes to, and who this is.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, User, access, geteuid};

use super::{Check, Level, readable};
use crate::config::{BoxConfig, JwtConfig};
use crate::daemon::SocketPlaces;
use crate::device;

const GROUP: &str = "System";

/// The user that the service runs as.
const SERVICE: &str = "capcast";

/// 2025: no clock is right that says less.
const EARLIEST: u64 = 1_735_689_600;

/// With less room on a disk something will soon fail.
const LEAST_ROOM: u64 = 100 * 1024 * 1024;

pub(super) fn look(config: &BoxConfig, checks: &mut Vec<Check>) {
    checks.push(clock());
    let folders = [("state folder", "STATE_DIRECTORY"), ("cache folder", "CACHE_DIRECTORY")];
    for (name, variable) in folders {
        if let Some(folder) = std::env::var_os(variable).and_then(|all| std::env::split_paths(&all).next()) {
            checks.push(folder_check(name, &folder));
        }
    }
    checks.push(match SocketPlaces::from_environment().to_listen() {
        Some(path) => {
            let folder = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
            folder_check("socket", &folder)
        }
        None => Check::new(GROUP, "socket", Level::Warn, "this user has no place for the daemon's socket")
            .cure("set `CAPCAST_SOCKET`, or run it as a service"),
    });
    let secrets = [("http.control_token_file", config.http.control_token.as_ref())];
    let publishers = config.sfu.publishers.iter().map(|one| ("sfu.publisher.key_file", Some(&one.key)));
    let views = config.sfu.views.iter().map(|one| ("sfu.view.key_file", Some(&one.key)));
    let tokens = config.sfu.jwt.iter().map(|jwt| match jwt {
        JwtConfig::EdDsa(source) => ("sfu.jwt.public_key_file", Some(source)),
        JwtConfig::Hs256(source) => ("sfu.jwt.secret_file", Some(source)),
    });
    for (key, source) in secrets.into_iter().chain(publishers).chain(views).chain(tokens) {
        if let Some(Err(reason)) = source.map(|source| readable(key, source)) {
            checks.push(
                Check::new(GROUP, key, Level::Fail, reason)
                    .cure("put the key alone into that file, readable for the daemon's user"),
            );
        }
    }
    checks.push(user());
}

fn clock() -> Check {
    let name = "clock";
    if wall() < EARLIEST {
        return Check::new(GROUP, name, Level::Fail, "years behind: no certificate is valid by it")
            .cure("`sudo timedatectl set-ntp true`, or set it by hand")
            .package(Some("systemd-timesyncd".to_owned()));
    }
    match device::clock() {
        Some((true, off)) => {
            let words = format!("kept right by a time server, to {} ms at worst", off.as_millis().max(1));
            Check::new(GROUP, name, Level::Ok, words)
        }
        Some((false, _)) => {
            let check = Check::new(GROUP, name, Level::Warn, "not kept right by a time server")
                .package(Some("systemd-timesyncd".to_owned()));
            check.cure(
                "`sudo timedatectl set-ntp true`, or the Debian package `systemd-timesyncd` or `chrony`",
            )
        }
        None => Check::new(GROUP, name, Level::Skip, "the kernel does not say whether it is kept right"),
    }
}

/// Writable, and room on it? A folder that is not there yet is made when it is needed, if it can be.
fn folder_check(name: &str, folder: &Path) -> Check {
    let there = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let shown = folder.display();
    if !there.is_dir() {
        return Check::new(GROUP, name, Level::Fail, format!("{shown}: `{}` is no folder", there.display()))
            .cure("name a folder, or remove what is there");
    }
    if access(there, AccessFlags::W_OK).is_err() {
        return Check::new(GROUP, name, Level::Warn, format!("{shown}: this user may not write there"))
            .cure("run it as a service, or as a user of its own with `XDG_RUNTIME_DIR`");
    }
    match statvfs(there) {
        Ok(room) if room.blocks_available() * room.fragment_size() < LEAST_ROOM => {
            let free = room.blocks_available() * room.fragment_size() / (1024 * 1024);
            Check::new(GROUP, name, Level::Warn, format!("{shown}: only {free} MiB free"))
                .cure("make room on that disk")
        }
        _ => Check::new(GROUP, name, Level::Ok, shown.to_string()),
    }
}

fn user() -> Check {
    let name =
        User::from_uid(geteuid()).ok().flatten().map_or_else(|| geteuid().to_string(), |user| user.name);
    let service = User::from_name(SERVICE).ok().flatten().is_some();
    let check = Check::new(GROUP, "user", Level::Ok, format!("all this holds for the user `{name}`"));
    match service && name != SERVICE {
        true => check.cure(format!("the service is another user: `sudo -u {SERVICE} capcast doctor`")),
        false => check,
    }
}

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "when the report was made, and whether the clock can be right")]
pub(super) fn wall() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

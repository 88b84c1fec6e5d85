//! The shared libraries that an encoder works with: its plugin, what that is linked with, what it opened while it ran (a
//! codec's library, a driver). An upgrade of one of them in place makes another encoder of it.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;

/// More than any encoder has.
const MOST: usize = 500;

/// The shared libraries in this process, by path. Empty where `/proc` does not tell.
pub(super) fn loaded() -> BTreeSet<String> {
    named_in(&std::fs::read_to_string("/proc/self/maps").unwrap_or_default())
}

/// Files with code in them, of `/proc/…/maps` (proc_pid_maps(5)): address, permissions, offset, device, inode, path.
fn named_in(maps: &str) -> BTreeSet<String> {
    let library = |line: &str| {
        let path = &line[line.find('/')?..];
        let code = line.split_whitespace().nth(1)?.contains('x');
        (code && path.contains(".so")).then(|| path.to_owned())
    };
    maps.lines().filter_map(library).take(MOST).collect()
}

/// What tells a file from another one in its place. One that is gone differs from all that were there.
pub(super) fn stamp(path: &str) -> String {
    match std::fs::metadata(path) {
        Ok(file) => format!("{}.{:09} {}", file.mtime(), file.mtime_nsec(), file.len()),
        Err(_) => "gone".to_owned(),
    }
}

/// Each with its stamp.
pub(super) fn stamped(paths: impl IntoIterator<Item = String>) -> BTreeMap<String, String> {
    paths.into_iter().take(MOST).map(|path| (path.clone(), stamp(&path))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_files_with_code() {
        let maps = "\
55d0c0000000-55d0c0001000 r-xp 00001000 fe:01 99 /usr/bin/capcast
7f00a0000000-7f00a0001000 r--p 00000000 fe:01 11 /usr/lib/x86_64-linux-gnu/libx264.so.164
7f00a0001000-7f00a0002000 r-xp 00001000 fe:01 11 /usr/lib/x86_64-linux-gnu/libx264.so.164
7f00a0003000-7f00a0004000 r--p 00000000 fe:01 12 /usr/lib/locale/of.some
7f00a0005000-7f00a0006000 r-xp 00000000 fe:01 13 /opt/a driver/libdriver.so (deleted)
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0 [stack]
";
        let found: Vec<String> = named_in(maps).into_iter().collect();
        assert_eq!(
            found,
            ["/opt/a driver/libdriver.so (deleted)", "/usr/lib/x86_64-linux-gnu/libx264.so.164"]
        );
        assert!(loaded().iter().any(|path| path.contains("/libc.so")), "{:?}", loaded());
    }

    #[test]
    fn a_library_in_anothers_place_is_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("libcodec.so.1").to_str().unwrap().to_owned();
        std::fs::write(&path, "one").unwrap();
        let before = stamped([path.clone()]);
        assert_eq!(before, stamped([path.clone()]));
        std::fs::write(&path, "a newer one").unwrap();
        assert_ne!(before, stamped([path.clone()]));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(stamp(&path), "gone");
    }
}

//! What strangers' bytes reach first: the targets of `fuzz/`, and the test that has them digest what was found so far.

use std::sync::LazyLock;
use std::time::Instant;

use crate::sfu::fuzzed;
use crate::whip::Fragment;

/// Reads the clock once: what is fuzzed counts on from there.
#[expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A target: its name, which its corpus has too, and what takes the bytes.
type Target = (&'static str, fn(&[u8]));

/// All of them. None may panic, whatever it is given.
const TARGETS: [Target; 8] = [
    ("demux", |bytes| fuzzed::datagram(bytes, *START)),
    ("framing", |bytes| fuzzed::framing(bytes)),
    ("offer", |bytes| fuzzed::offer(bytes, *START)),
    ("payload", |bytes| fuzzed::payload(bytes)),
    ("feedback", |bytes| fuzzed::feedback(bytes, *START)),
    ("sdpfrag", sdpfrag),
    ("layer", layer),
    ("token", |bytes| crate::http::fuzzed_token(&String::from_utf8_lossy(bytes))),
];

/// Has a target take bytes.
///
/// # Panics
/// Where something does not hold, or there is no such target.
#[cfg(fuzzing)]
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| target);
    target.unwrap_or_else(|| panic!("there is no target `{name}`"))(bytes);
}

/// A PATCH: the first byte stands for its precondition, the rest is its body.
fn sdpfrag(bytes: &[u8]) {
    let Some((precondition, bytes)) = bytes.split_first() else { return };
    let Ok(fragment) = String::from_utf8_lossy(bytes).parse::<Fragment>() else { return };
    let again = fragment.to_string().parse::<Fragment>();
    if fragment.ufrag.is_some() || !fragment.candidates.is_empty() {
        let again = again.expect("what was written can be read");
        assert_eq!((&again.ufrag, &again.candidates), (&fragment.ufrag, &fragment.candidates));
    }
    let Fragment { ufrag, pwd, candidates, .. } = fragment;
    fuzzed::patch(precondition & 1 == 1, ufrag.as_deref(), pwd.as_deref(), &candidates, *START);
}

/// The body of a POST to the layer API.
fn layer(bytes: &[u8]) {
    let Ok(wanted) = serde_json::from_slice::<crate::http::Wanted>(bytes) else { return };
    fuzzed::layer(wanted.layer().as_deref(), *START);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_digested() {
        let corpora = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        for (name, target) in TARGETS {
            let mut files: Vec<_> =
                std::fs::read_dir(corpora.join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
            files.sort();
            assert!(files.len() > 3, "only {} inputs for `{name}`", files.len());
            for file in files {
                let bytes = std::fs::read(&file).unwrap();
                if std::panic::catch_unwind(|| target(&bytes)).is_err() {
                    panic!("`{name}` does not digest {}", file.display());
                }
            }
        }
    }
}

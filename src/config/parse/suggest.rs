//! "Did you mean".

/// The word that `found` was most likely meant to be: equal but for case and `-`/`_`, or a few slips away.
pub fn nearest<'a>(found: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if found.is_empty() || found.len() > 64 {
        return None;
    }
    let plain = |word: &str| word.to_lowercase().replace(['_', ' ', '.'], "-");
    let found = plain(found);
    words
        .into_iter()
        .map(|word| (strsim::osa_distance(&found, &plain(word)), word))
        .filter(|(slips, word)| *slips <= (word.chars().count() / 3).max(1) && *slips < found.chars().count())
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, word)| word)
}

/// `` `a`, `b` or `c` ``
pub(super) fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let words = ["bitrate", "min_bitrate", "framerate", "size", "av1", "vp9"];
        for (found, meant) in [
            ("bitrat", Some("bitrate")),
            ("Bitrate", Some("bitrate")),
            ("min-bitrate", Some("min_bitrate")),
            ("framrate", Some("framerate")),
            ("sise", Some("size")),
            ("vp8", Some("vp9")),
            ("AV1", Some("av1")),
            ("x", None),
            ("resolution", None),
            ("", None),
        ] {
            assert_eq!(nearest(found, words), meant, "{found}");
        }
        assert_eq!(listed(["a", "b", "c"]), "`a`, `b` or `c`");
    }
}
